"""``crnn-weak report``: one HTML page for a run or a grid, and the model card of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from crnn_weak import cli
from crnn_weak.errors import ConfigError, RunError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN_OR_GRID", help="folder of crnn-weak train or crnn-weak grid")
    parser.add_argument("--out", metavar="FILE", help="default: report.html in the folder")
    text = "grid: whose classes and clips to show (default: best detection F)"
    parser.add_argument("--setting", type=cli.loss_weights, metavar="STRONG:WEAK", help=text)
    parser.add_argument("--clips", type=int, default=3, metavar="N", help="clips per group: best, worst, random")
    repeated: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("--clip", metavar="ID", help="show this clip as well; write --clip=ID for --an_id", **repeated)
    text = "recordings under this folder may be opened, too, not only under the run, --cache and here; repeatable"
    parser.add_argument("--audio", metavar="FOLDER", help=text, **repeated)
    parser.add_argument("--cache", metavar="FOLDER", help="synthetic clips (default: CRNN_WEAK_CACHE, or cache)")
    parser.add_argument("--model-card", metavar="FILE", help="write the model card (Markdown) instead of a page")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file, or a page with players by one without"
    )
    parser.epilog = "example: crnn-weak report runs/loss_weight_grid/street-quick-max_dense --clips 5"


def run(args: argparse.Namespace) -> int:
    from crnn_weak.files import refuse_existing, write_text
    from crnn_weak.report.model_card import model_card
    from crnn_weak.report.page import write_report
    from crnn_weak.runs.folders import Grid, open_any

    if args.clips < 0:
        raise ConfigError(f"--clips {args.clips}: expected a whole number of 0 or more.")
    refuse_existing([name for name in (args.out, args.model_card) if name], overwrite=args.overwrite)
    if args.model_card:
        opened = open_any(args.path)
        if isinstance(opened, Grid):
            if args.setting is None:
                raise RunError(f"{args.path}: is a grid, and a model card is of one run. Add --setting STRONG:WEAK.")
            opened = opened.run(args.setting)
        write_text(Path(args.model_card), model_card(opened))
        cli.say(args.model_card, out=args.model_card)
        return 0
    target = write_report(
        args.path, out=args.out, setting=args.setting, n_clips=args.clips, wanted=args.clip,
        audio_folders=(cli.cache_folder(args), ".", *args.audio), overwrite=args.overwrite,
    )  # fmt: skip
    cli.say(f"{target} ({target.stat().st_size / 1e6:.1f} MB): open it in a browser", out=target)
    return 0
