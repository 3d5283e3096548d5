"""``crnn-weak saliency``: the slides' saliency figure for any clip, and the table of localization."""

from __future__ import annotations

import argparse
import dataclasses
import shlex

from crnn_weak import cli
from crnn_weak.experiments.saliency_maps import Options, saliency_maps
from crnn_weak.files import output_folder
from crnn_weak.saliency.localization import short_table
from crnn_weak.saliency.maps import METHODS

# The arguments that have the names of `Options`, which has their defaults.
_OPTIONS = {option.name for option in dataclasses.fields(Options)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN_OR_GRID", help="a folder of crnn-weak grid or crnn-weak train")
    add = parser.add_argument_group("figures").add_argument
    text = "a test clip, repeatable; --clip=ID if it begins with a dash (default: the slides', or best, median, worst)"
    add("--clip", dest="clips", action="append", metavar="ID", help=text)
    text = "default: the clip's true classes"
    add("--class", dest="labels", action="append", metavar="NAME", help=text)
    add("--setting", type=cli.loss_weights, metavar="STRONG:WEAK", help="of a grid (default: 1:1, as in the slides)")
    add("--seed", type=int, metavar="N", help="of a grid (default: the first)")
    add = parser.add_argument_group("maps").add_argument
    methods = f"{', '.join(METHODS)} (default: {' and '.join(Options.methods)}); repeatable"
    add("--method", dest="methods", action="append", metavar="NAME", help=f"{methods}, the first draws the figures")
    add("--reduction", metavar="NAME", help="over frames: mean (default) or max")
    text = "score (default), or logit, which does not vanish near 0 and 1"
    add("--scale", metavar="NAME", help=text)
    add = parser.add_argument_group("output").add_argument
    add("--out", metavar="FOLDER", help="default: saliency inside the folder")
    add("--no-statistics", dest="statistics", action="store_false", help="no table")
    add("--overwrite", action="store_true", help="replace existing files")
    parser.epilog = "example: crnn-weak saliency runs/train/street-quick-max_dense --clip=--jc0NAxK8M_30.000_40.000"


def run(args: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(args).items() if name in _OPTIONS and value is not None}
    options = Options(**given, progress=cli.shows_progress(args))
    with output_folder(args.out or args.folder):
        written = saliency_maps(args.folder, args.out, options)
    for path in written:
        if path.suffix == ".csv":
            print(short_table(path))
    for path in written:
        print(shlex.quote(str(path)))
    return 0
