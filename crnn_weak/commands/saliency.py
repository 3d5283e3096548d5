"""``crnn-weak saliency``: the slides' saliency figure for any clip, and the table of localization."""

from __future__ import annotations

import argparse
import shlex
import sys

from crnn_weak import cli
from crnn_weak.experiments.saliency_maps import Options, saliency_maps
from crnn_weak.saliency.maps import METHODS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("folder", metavar="RUN_OR_GRID", help="a folder of crnn-weak grid or crnn-weak train")
    group = parser.add_argument_group("figures")
    group.add_argument(
        "--clip", action="append", default=[], metavar="ID",
        help="a clip of the test split, again for more; write --clip=ID, for ids may begin with dashes "
        "(default: the best, the median and the worst)",
    )  # fmt: skip
    group.add_argument(
        "--class", dest="labels", action="append", default=[], metavar="NAME", help="default: the clip's true classes"
    )
    group.add_argument("--setting", type=cli.loss_weights, metavar="STRONG:WEAK", help="of a grid (default: the best)")
    group.add_argument("--seed", type=int, metavar="N", help="of a grid (default: the first)")
    group = parser.add_argument_group("maps")
    group.add_argument(
        "--method", action="append", metavar="NAME", help=f"{', '.join(METHODS)}; again for more rows of the table "
        f"(default: {' and '.join(Options.methods)}); the first draws the figures",
    )  # fmt: skip
    group.add_argument("--reduction", default="mean", metavar="NAME", help="over frames: mean (default) or max")
    group.add_argument(
        "--scale", default="score", metavar="NAME", help="score (default), or logit, which does not vanish near 0 and 1"
    )
    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="FOLDER", help="default: saliency inside the folder")
    group.add_argument("--no-statistics", action="store_true", help="no table")
    group.add_argument("--overwrite", action="store_true")
    parser.epilog = "example: crnn-weak saliency runs/train/street-quick-max_dense --clip=--jc0NAxK8M_30.000_40.000"


def run(args: argparse.Namespace) -> int:
    """Run the command and print the table and the names of the files."""
    options = Options(
        clips=tuple(args.clip),
        labels=tuple(args.labels),
        methods=tuple(args.method or Options.methods),
        reduction=args.reduction,
        scale=args.scale,
        setting=args.setting,
        seed=args.seed,
        statistics=not args.no_statistics,
        overwrite=args.overwrite,
        progress=sys.stderr.isatty() and not getattr(args, "quiet", False),
    )
    written = saliency_maps(args.folder, args.out, options)
    for path in written:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
    for path in written:
        print(shlex.quote(str(path)))
    return 0
