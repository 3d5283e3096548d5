"""``crnn-weak features``: build and describe feature stores."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from crnn_weak import cli

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: crnn-weak features info cache/train.h5"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="compute the log mel energies of one split into an HDF5 file",
        description="Compute the log mel energies of one split into an HDF5 file; rerun it after an interruption.",
        epilog="example: crnn-weak features build --data folder --audio clips --metadata tags.tsv --out train.h5",
    )
    cli.add_config(build)
    cli.add_work(build)
    build.add_argument("--split", default="train", metavar="NAME", help="split of the data set (default: train)")
    build.add_argument("--out", required=True, metavar="FILE", help="the store to write")
    build.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    info = actions.add_parser("info", help="describe a feature store and list the clips that were skipped")
    info.add_argument("file", metavar="FILE")


def run(args: argparse.Namespace) -> int:
    return _info(args) if args.action == "info" else _build(args)


def _build(args: argparse.Namespace) -> int:
    config = cli.read_config(args)
    from crnn_weak.data.base import open_dataset
    from crnn_weak.features.build import build_store

    work = {"jobs": args.jobs, "progress": cli.shows_progress(args)}
    dataset = open_dataset(config, cli.cache_folder(args), **work)
    started = time.monotonic()
    with build_store(dataset, args.split, config.features, args.out, overwrite=args.overwrite, **work) as store:
        cli.say(f"{store.path}: {_summary(store)}, {time.monotonic() - started:.1f} s")
    return 0


def _info(args: argparse.Namespace) -> int:
    from crnn_weak.features.store import FeatureStore

    with FeatureStore(args.file) as store:
        features = store.features
        size = f"{features.n_frames} frames x {features.n_mels} bands"
        cli.say(f"{store.path}: {_summary(store)}")
        cli.say(f"data       {store.provenance}")
        print(f"split      {store.split}; events {'known' if store.has_events else 'not known for every clip'}")
        print(f"features   {size}, {features.clip_seconds:g} s at {features.sample_rate_hz} Hz")
        print(f"classes    {len(store.classes)}, clips per class:")
        for label, count in zip(store.classes, store.tags.sum(axis=0).tolist(), strict=True):
            print(f"  {count:7d}  {label}")
        for clip_id, status, reason in store.skipped:
            cli.say(f"skipped    {clip_id}: {status} ({reason})")
    return 0


def _summary(store: FeatureStore) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in store.counts.items() if count)
    return f"{store.coverage} ({counts}), {store.path.stat().st_size / 1e6:.1f} MB"
