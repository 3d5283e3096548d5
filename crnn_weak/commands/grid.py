"""``crnn-weak grid``: the same as ``python -m crnn_weak.experiments.loss_weight_grid``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from crnn_weak import cli
from crnn_weak.config import LossWeights
from crnn_weak.errors import ConfigError

#: The default grid takes five minutes on two cores; `experiments/street.toml` is the longer training. These are few
#: clips and epochs that still show the order of the paper's columns (experiments/results/street-10-epochs).
DEFAULT_SETTINGS = ("data.n_train=1200", "training.epochs=10")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_config(parser, preset="quick", settings=DEFAULT_SETTINGS)
    cli.add_work(parser)
    group = parser.add_argument_group("grid")
    weights, text = cli.loss_weights, "default: the paper's seven"
    group.add_argument("--settings", nargs="+", type=weights, metavar="STRONG:WEAK", help=text)
    group.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="mean and sd over them")
    group.add_argument("--out", metavar="FOLDER", help="default: runs/loss_weight_grid/SOURCE-PRESET-HEAD")
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask: tcp://host:port")
    group.add_argument("--no-report", action="store_true", help="do not write report.html")
    group.add_argument("--overwrite", action="store_true", help="delete the grid in the folder and start over")
    parser.epilog = "example: crnn-weak grid --set training.epochs=3 --settings 1:1 1:0.002 --seeds 0 1"


def run(args: argparse.Namespace) -> int:
    from crnn_weak.experiments.loss_weight_grid import SETTINGS, run_grid
    from crnn_weak.metrics.summary import find_metric, tagging_hint
    from crnn_weak.parallel import Work
    from crnn_weak.run_files import GridFiles, refuse_foreign_page
    from crnn_weak.runs.folders import Grid

    config = cli.read_config(args)
    name = f"{config.data.source}-{config.preset}-{config.model.weak_head}"
    folder = Path(args.out) if args.out else Path("runs") / "loss_weight_grid" / name
    if len(set(args.seeds)) < len(args.seeds) or min(args.seeds) < 0:
        raise ConfigError(f"--seeds {args.seeds}: expected distinct whole numbers of 0 or more.")
    settings = tuple(args.settings or SETTINGS)
    if len(set(settings)) < len(settings):
        raise ConfigError("--settings: one of them is named twice; expected distinct pairs STRONG:WEAK.")
    for strong, weak in settings:
        LossWeights(strong=strong, weak=weak)  # refuse bad weights before anything is made
    if not args.no_report:
        refuse_foreign_page(GridFiles(folder).report, overwrite=args.overwrite)
    began = time.perf_counter()
    cache = cli.cache_folder(args)
    work = Work(args.jobs, args.scheduler, cli.shows_progress(args))
    table = run_grid(Grid(folder, config, settings, tuple(args.seeds)), cache, work, overwrite=args.overwrite)
    print(table.to_text())
    column = find_metric("tagging", "f_score")
    if hint := tagging_hint(table.mean(setting, column) for setting in table.settings):
        print(f"hint: {hint}")
    files = "table.txt .csv .md .tex, table_short.txt .tex, figure.png .pdf, results.csv"
    cli.say(f"{folder}: {files} ({time.perf_counter() - began:.0f} s)")
    if args.no_report:
        return 0
    flags = [flag for flag, is_given in (("--verbose", args.verbose), ("--quiet", args.quiet)) if is_given]
    root = getattr(config.data, "root", "")
    audio = ["--audio", root] if root else []
    return cli.main([*flags, "report", str(folder), "--overwrite", "--cache", str(cache), *audio])
