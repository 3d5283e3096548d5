"""``crnn-weak beyond``: the same as ``python -m crnn_weak.experiments.beyond``."""

from __future__ import annotations

import argparse
from pathlib import Path

from crnn_weak import cli
from crnn_weak.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_work(parser)
    parser.add_argument("--design", required=True, metavar="FILE", help="TOML, e.g. experiments/beyond.toml")
    parser.add_argument("--out", metavar="FOLDER", help="default: runs/beyond/DESIGN")
    parser.add_argument("--audio", metavar="FOLDER", help="folder of source recordings, for data that need them")
    parser.add_argument(
        "--reuse-results", metavar="FOLDER", help="published DATA/scores.json.gz, whose runs are not trained again"
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask: tcp://host:port")
    parser.add_argument("--only-table", action="store_true", help="train nothing: write the tables of finished runs")
    parser.epilog = "example: crnn-weak beyond --design experiments/beyond.toml --data street"


def run(args: argparse.Namespace) -> int:
    from crnn_weak.experiments.beyond import run_design, write_tables
    from crnn_weak.files import output_folder
    from crnn_weak.parallel import Work
    from crnn_weak.runs.scores import read_design

    design = read_design(args.design)
    if not set(args.data or ()) <= set(design.data):
        raise ConfigError(f"--data {' '.join(args.data)}: expected some of {', '.join(design.data)}.")
    design.data = {name: design.data[name] for name in args.data or design.data}
    published = Path(args.reuse_results) if args.reuse_results else None
    if published is not None and not published.is_dir():
        raise ConfigError(f"--reuse-results {published}: no such folder. Expected one with DATA/scores.json.gz.")
    folder = Path(args.out) if args.out else Path("runs") / "beyond" / Path(args.design).stem
    if not args.only_table:
        work = Work(args.jobs, args.scheduler, cli.shows_progress(args))
        run_design(design, folder, cli.cache_folder(args), work, audio=args.audio, published=published)
    with output_folder(folder):
        for data, text in write_tables(design, folder, published).items():
            print(f"{data}\n\n{text}")
    cli.say(f"{folder}: DATA/table.md, results.csv, figure.png, scores.json.gz")
    return 0
