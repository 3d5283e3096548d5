"""``crnn-weak report``: one HTML page for a run or a grid, and the model card of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from crnn_weak import options
from crnn_weak.errors import ConfigError, RunError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("path", metavar="RUN_OR_EXPERIMENT", help="folder of crnn-weak train or crnn-weak grid")
    parser.add_argument("--out", metavar="FILE", help="default: report.html in the folder")
    parser.add_argument(
        "--setting",
        type=options.loss_weights,
        metavar="STRONG:WEAK",
        help="grid: whose clips to show (default: best detection F)",
    )
    group = parser.add_argument_group("clips")
    group.add_argument("--clips", type=int, default=3, metavar="N", help="of each of best, worst, random (default: 3)")
    group.add_argument(
        "--clip", action="append", default=[], metavar="ID", help="show this clip as well; write --clip=ID for --an_id"
    )
    group.add_argument(
        "--embed",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="sound in the page (default), or in files beside it",
    )
    group.add_argument(
        "--audio", action="append", default=[], metavar="FOLDER",
        help="recordings under this folder may be opened; repeatable (default: under the run and under --cache)",
    )  # fmt: skip
    group.add_argument("--cache", metavar="FOLDER", help="synthetic clips (default: CRNN_WEAK_CACHE, or cache)")
    group.add_argument("--no-saliency", action="store_true", help="no overlays (no TensorFlow needed)")
    group.add_argument("--method", default="absolute", metavar="NAME", help="of saliency, e.g. talk, smoothgrad")
    parser.add_argument("--model-card", metavar="FILE", help="run: write its model card (Markdown) instead of a page")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out or --model-card")
    parser.epilog = "example: crnn-weak report runs/loss_weight_grid/street-quick-max_dense --clips 5"


def run(args: argparse.Namespace) -> int:
    """Write the page, or the model card, and print where it is."""
    from crnn_weak.report.clips import ClipOptions
    from crnn_weak.report.model_card import write_model_card
    from crnn_weak.report.page import write_report
    from crnn_weak.runs.grid import Experiment, open_any

    if args.clips < 0:
        raise ConfigError(f"--clips {args.clips}: expected a whole number of 0 or more.")
    for name in (args.out, args.model_card):
        if name and Path(name).is_file() and not args.overwrite:
            raise RunError(f"{name} is there already; give --overwrite or another name.")
    if args.model_card:
        opened = open_any(args.path)
        if isinstance(opened, Experiment):
            if args.setting is None:
                raise RunError(
                    f"{args.path}: holds a grid of models, and a model card is of one. "
                    "Name a run's folder, or a setting with --setting STRONG:WEAK."
                )
            opened = opened.run(args.setting)
        print(write_model_card(opened, Path(args.model_card)))
        return 0
    clips = ClipOptions(
        n_clips=args.clips,
        wanted=tuple(args.clip),
        audio_folders=(options.cache_folder(args), *args.audio),
        embed=args.embed,
        saliency=not args.no_saliency,
        method=args.method,
    )
    target = write_report(args.path, out=args.out, setting=args.setting, options=clips)
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB): open it in a browser")
    return 0
