"""``crnn-weak data``: synthesize clips, and check which are on disk."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnn_weak import cli
from crnn_weak.errors import ConfigError
from crnn_weak.files import refuse_existing

if TYPE_CHECKING:
    from crnn_weak.data.base import CheckedClip, Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: crnn-weak data make street"
    add = parser.add_subparsers(dest="action", metavar="ACTION", required=True).add_parser
    make = add(
        "make",
        help="synthesize the clips of a source: street or scenes",
        description="Synthesize clips into the cache, where training finds them; rerun it after an interruption.",
        epilog="example: crnn-weak data make scenes --audio ESC-50 --set data.n_train=2000",
    )
    make.add_argument("source", choices=("street", "scenes"))
    check = add(
        "check",
        help="count the clips that are on disk, per split and class",
        description="Count the clips that are listed, found, missing, short (padded) and unreadable. Without --data, "
        "--metadata is the folder of the organizers' files of DCASE 2017 task 4, or a file of tags of own recordings.",
        epilog="example: crnn-weak data check --metadata task4-metadata --audio task4-audio --out clips.tsv",
    )
    check.add_argument("--split", action="append", metavar="NAME", help="only this split; repeatable")
    check.add_argument("--decode", action="store_true", help="decode every file: finds damage, silence, clipping")
    check.add_argument("--sha256", action="store_true", help="compute the files' checksums")
    check.add_argument("--out", metavar="FILE.tsv", help="list the clips: split, status, seconds, reason, checksum")
    for action in (make, check):
        cli.add_config(action, preset="quick" if action is make else "paper")
        cli.add_work(action)
    check.add_argument("--overwrite", action="store_true", help="replace the file of --out")


def run(args: argparse.Namespace) -> int:
    """Run the action; 0 when all is well, 1 when a check finds no usable clip."""
    if args.action == "make":
        if args.data not in (None, args.source):
            raise ConfigError(f"data make {args.source} --data {args.data}: name one source.")
        args.data = args.source
    else:
        if args.data is None and not args.config and (args.metadata or args.events):
            args.data = "dcase2017_task4" if args.metadata and Path(args.metadata).is_dir() else "folder"
        if args.out:
            refuse_existing([args.out], overwrite=args.overwrite)
    config, started = cli.read_config(args), time.monotonic()
    from crnn_weak.data.base import check_clips, open_dataset

    work: dict[str, Any] = {"jobs": args.jobs, "progress": cli.shows_progress(args)}
    dataset = open_dataset(config, cli.cache_folder(args), **work)
    if args.action == "check":
        work |= {"splits": args.split, "decode": args.decode, "checksums": args.sha256}
        return _report(args, dataset, check_clips(dataset, tolerance_seconds=config.features.hop_seconds, **work))
    counts = ", ".join(f"{len(dataset.clips(split))} {split}" for split in dataset.splits)
    cli.say(f"{dataset.folder}: {counts}, {len(dataset.classes)} classes, {time.monotonic() - started:.1f} s")
    cli.say(dataset.provenance)
    return 0


def _report(args: argparse.Namespace, dataset: Dataset, clips: Sequence[CheckedClip]) -> int:
    from crnn_weak.data.base import COUNTS, count_clips, write_clips

    cli.say(dataset.provenance)
    width = max(map(len, ("all clips", *dataset.classes)))
    names = COUNTS if args.decode else COUNTS[:-1]
    for split in dict.fromkeys(checked.clip.split for checked in clips):
        of_split = [checked for checked in clips if checked.clip.split == split]
        n_known = sum(checked.clip.events is not None for checked in of_split)
        events = f"events known of {n_known} clips" if n_known else "no events"
        print(f"\n{split} ({events})\n{'':{width}}  " + "  ".join(f"{name:>10}" for name in names))
        for label, counts in count_clips(of_split, dataset.classes).items():
            print(f"{label:{width}}  " + "  ".join(f"{count:10d}" for count in counts[: len(names)]))
    n_usable = sum(checked.status in ("ok", "short") for checked in clips)
    print(f"\n{n_usable} of {len(clips)} listed clips can be used.")
    if dataset.unlisted:
        cli.say(f"audio files that no split lists: {len(dataset.unlisted)}, e.g. {dataset.unlisted[0].name}")
    for checked in [one for one in clips if one.status == "unreadable"][:5]:  # --out lists all
        cli.say(f"unreadable: {checked.reason}")
    for checked in [one for one in clips if one.is_odd][:5]:
        cli.say(f"odd: {checked.clip.path}: {checked.reason}")
    if args.out:
        write_clips(args.out, clips)
        cli.say(f"list of clips: {args.out}")
    return 0 if n_usable else 1
