"""``crnn-weak data``: synthesize clips, check which are on disk, build and describe feature stores."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnn_weak import cli
from crnn_weak.errors import ConfigError
from crnn_weak.files import refuse_existing

if TYPE_CHECKING:
    from crnn_weak.config import Config
    from crnn_weak.data.base import Dataset
    from crnn_weak.features.store import FeatureStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
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
    check.add_argument("--decode", action="store_true", help="decode every file instead of reading its header")
    check.add_argument("--sha256", action="store_true", help="compute the files' checksums")
    check.add_argument("--out", metavar="FILE.tsv", help="list the clips: split, status, seconds, reason, checksum")
    build = add(
        "features",
        help="compute the log mel energies of one split into an HDF5 file",
        description="Compute the log mel energies of one split into an HDF5 file; rerun it after an interruption.",
        epilog="example: crnn-weak data features --data folder --audio clips --metadata tags.tsv --out train.h5",
    )
    build.add_argument("--split", default="train", metavar="NAME", help="split of the data set (default: train)")
    build.add_argument("--out", required=True, metavar="FILE", help="the store to write")
    for action in (make, check, build):
        cli.add_config(action, preset="quick" if action is make else "paper")
        cli.add_work(action)
    for action in (check, build):
        action.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    info = add("info", help="describe a feature store and list the clips that were skipped")
    info.add_argument("file", metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Run the action; 0 when all is well, 1 when a check finds no usable clip."""
    return {"make": _make, "check": _check, "features": _build, "info": _info}[args.action](args)


def _open(args: argparse.Namespace) -> tuple[Config, Dataset, dict[str, Any]]:
    """Return the configuration, its data set, and the options of parallel work."""
    config = cli.read_config(args)
    from crnn_weak.data.base import open_dataset

    work = {"jobs": args.jobs, "progress": cli.shows_progress(args)}
    return config, open_dataset(config, cli.cache_folder(args), **work), work


def _make(args: argparse.Namespace) -> int:
    if args.data not in (None, args.source):
        raise ConfigError(f"data make {args.source} --data {args.data}: name one source.")
    args.data = args.source
    started = time.monotonic()
    _, dataset, _ = _open(args)
    counts = ", ".join(f"{len(dataset.clips(split))} {split}" for split in dataset.splits)
    print(f"{dataset.folder}: {counts}, {len(dataset.classes)} classes, {time.monotonic() - started:.1f} s")
    print(dataset.provenance)
    return 0


def _check(args: argparse.Namespace) -> int:
    if args.data is None and not args.config and (args.metadata or args.events):
        args.data = "dcase2017_task4" if args.metadata and Path(args.metadata).is_dir() else "folder"
    if args.out:
        refuse_existing([args.out], overwrite=args.overwrite)
    config, dataset, work = _open(args)
    from crnn_weak.data.base import COUNTS, check_clips, count_clips, write_clips

    hop = config.features.hop_seconds
    clips = check_clips(
        dataset, splits=args.split, decode=args.decode, checksums=args.sha256, tolerance_seconds=hop, **work
    )
    print(dataset.provenance)
    width = max(map(len, ("all clips", *dataset.classes)))
    for split in dict.fromkeys(checked.clip.split for checked in clips):
        of_split = [checked for checked in clips if checked.clip.split == split]
        n_known = sum(checked.clip.events is not None for checked in of_split)
        events = f"events known of {n_known} clips" if n_known else "no events"
        print(f"\n{split} ({events})\n{'':{width}}  " + "  ".join(f"{name:>10}" for name in COUNTS))
        for label, counts in count_clips(of_split, dataset.classes).items():
            print(f"{label:{width}}  " + "  ".join(f"{count:10d}" for count in counts))
    n_usable = sum(checked.status in ("ok", "short") for checked in clips)
    print(f"\n{n_usable} of {len(clips)} listed clips can be used.")
    if dataset.unlisted:
        print(f"audio files that no split lists: {len(dataset.unlisted)}, e.g. {dataset.unlisted[0].name}")
    unreadable = [checked for checked in clips if checked.status == "unreadable"]
    for checked in unreadable[:5]:  # --out lists all
        print(f"unreadable: {checked.reason}")
    if args.out:
        write_clips(args.out, clips)
        print(f"list of clips: {args.out}")
    return 0 if n_usable else 1


def _build(args: argparse.Namespace) -> int:
    config, dataset, work = _open(args)
    from crnn_weak.features.build import build_store

    started = time.monotonic()
    with build_store(dataset, args.split, config.features, args.out, overwrite=args.overwrite, **work) as store:
        print(f"{store.path}: {_summary(store)}, {time.monotonic() - started:.1f} s")
    return 0


def _info(args: argparse.Namespace) -> int:
    from crnn_weak.features.store import FeatureStore

    with FeatureStore(args.file) as store:
        features = store.features
        size = f"{features.n_frames} frames x {features.n_mels} bands"
        print(f"{store.path}: {_summary(store)}")
        print(f"data       {store.provenance}")
        print(f"split      {store.split}; events {'known' if store.has_events else 'not known for every clip'}")
        print(f"features   {size}, {features.clip_seconds:g} s at {features.sample_rate_hz} Hz")
        print(f"classes    {len(store.classes)}, clips per class:")
        for label, count in zip(store.classes, store.tags.sum(axis=0).tolist(), strict=True):
            print(f"  {count:7d}  {label}")
        for clip_id, status, reason in store.skipped:
            print(f"skipped    {clip_id}: {status} ({reason})")
    return 0


def _summary(store: FeatureStore) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in store.counts.items() if count)
    return f"{store.coverage} ({counts}), {store.path.stat().st_size / 1e6:.1f} MB"
