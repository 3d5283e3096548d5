"""The main job: train and score the paper's seven loss weights, and print the published table beside the result.

``python -m crnn_weak.experiments.loss_weight_grid`` with no argument synthesizes street scenes, computes their
features, trains the seven settings, scores held-out clips and prints the table. Killed and started again, it goes on
where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnn_weak import config as configuration
from crnn_weak import paper
from crnn_weak.config import Config, LossWeights, check_continues
from crnn_weak.errors import ConfigError, RunError
from crnn_weak.files import delete_files, lock, write_json, write_text
from crnn_weak.run_files import GridFiles

if TYPE_CHECKING:
    from crnn_weak.runs.table import ResultsTable
    from crnn_weak.runs.train_and_score import RunTask

__all__ = ["SETTINGS", "Grid", "main", "run_grid"]

#: The paper's seven settings of (strong, weak).
SETTINGS: tuple[tuple[float, float], ...] = tuple((row.strong, row.weak) for row in paper.RESULTS)

#: Street scenes in five minutes on two cores; `experiments/street.toml` is the longer training. Chosen: few clips and
#: epochs that still show the order of the paper's columns (experiments/results/street-main-job).
MAIN_JOB = ("data.n_train=1200", "training.epochs=10")


@dataclass(frozen=True)
class Grid:
    """The settings of a grid.

    Attributes
    ----------
    config : Config
        Of every run, but for its loss weights and seed.
    folder : Path
        Of the results.
    cache : Path
        Of synthetic clips and feature stores, shared by experiments.
    settings : sequence of (strong, weak)
    seeds : sequence of int
    """

    config: Config
    folder: Path
    cache: Path
    settings: Sequence[tuple[float, float]] = SETTINGS
    seeds: Sequence[int] = (0,)

    @property
    def files(self) -> GridFiles:
        """The names of the folder's files."""
        return GridFiles(self.folder)

    def run_config(self, setting: tuple[float, float], seed: int) -> Config:
        """Return the configuration of one run."""
        return dataclasses.replace(
            self.config,
            loss_weights=LossWeights(strong=setting[0], weak=setting[1]),
            training=dataclasses.replace(self.config.training, seed=seed),
        )

    def tasks(self, train_store: Path, test_store: Path, evaluation_store: Path | None = None) -> list[RunTask]:
        """Return the runs, all settings of the first seed first."""
        from crnn_weak.runs.train_and_score import RunTask

        return [
            RunTask(
                self.run_config(setting, seed),
                str(train_store),
                str(test_store),
                str(self.files.run(*setting, seed).folder),
                evaluation_store=None if evaluation_store is None else str(evaluation_store),
            )
            for seed in self.seeds
            for setting in self.settings
        ]


def run_grid(
    grid: Grid, *, jobs: int = 1, scheduler: str | None = None, progress: bool = False, overwrite: bool = False
) -> ResultsTable:
    """Run what is not done yet, and write the table, the figure and the record.

    Parameters
    ----------
    grid : Grid
    jobs : int
        Processes, for making clips, for features and for runs (one thread each).
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://...``), or ``local``.
    progress : bool
        Show bars.
    overwrite : bool
        Delete the grid that the folder holds, and start anew.

    Raises
    ------
    RunError
        The folder holds a grid of another configuration or other data.
    """
    from crnn_weak.runs.prepare import prepare  # not for --help: these bring NumPy and SciPy
    from crnn_weak.runs.train_all import train_all
    from crnn_weak.runs.train_and_score import check_tasks

    files = grid.files
    with lock(grid.folder):
        files.check_own()
        stored = grid.config if overwrite or not files.config.exists() else configuration.load_config(files.config)
        check_continues(stored, grid.config, grid.folder)
        prepared = prepare(grid.config, grid.cache, grid.folder, jobs=jobs, scheduler=scheduler, progress=progress)
        tasks = grid.tasks(prepared.train_store, prepared.test_store, prepared.evaluation_store)
        if overwrite:
            _delete(grid)
        check_tasks(tasks)
        if stored != grid.config:
            delete_files([files.report, files.results])  # of the shorter training
        write_text(files.config, configuration.to_toml(grid.config))
        write_json(files.data, prepared.data)
        train_all(tasks, jobs=jobs, scheduler=scheduler, progress=progress)
        table = make_table(grid, prepared.test_store, prepared.data)
        write_outputs(grid, table)
    return table


def _delete(grid: Grid) -> None:
    delete_files(grid.files.written())
    for run in grid.files.runs().values():
        delete_files(run.written())


def make_table(grid: Grid, test_store: Path, data: dict[str, Any]) -> ResultsTable:
    """Return the results of a finished grid beside the paper's and those of the baselines."""
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.labels.classes import tag_names
    from crnn_weak.metrics.controls import score_baselines
    from crnn_weak.runs.results import results_of_run, table_caption
    from crnn_weak.runs.table import ResultsTable
    from crnn_weak.runs.train_and_score import run_metrics

    lines = []
    for seed in grid.seeds:
        for setting in grid.settings:
            metrics = run_metrics(grid.files.run(*setting, seed))
            name = configuration.fingerprint(grid.run_config(setting, seed))
            lines += results_of_run(grid.folder.name, setting, seed, metrics, name)
    with FeatureStore(test_store, grid.config.features) as store:
        tags = {clip_id: tag_names(row, store.classes) for clip_id, row in zip(store.clip_ids, store.tags, strict=True)}
        baselines = score_baselines(
            tags,
            store.events if store.has_events else None,
            classes=store.classes,
            clip_seconds=grid.config.features.clip_seconds,
            evaluation=grid.config.evaluation,
        )
    return ResultsTable(lines, table_caption(grid.config, data, grid.seeds), baselines)


def write_outputs(grid: Grid, table: ResultsTable) -> None:
    """Write results, tables, figure, baselines and the environment of a finished grid."""
    from crnn_weak.figures import loss_weight_figure, save_figure
    from crnn_weak.metrics.counting import plain
    from crnn_weak.runs.results import write_results

    files = grid.files
    write_json(files.baselines, plain(table.baselines or {}))
    texts = {"txt": table.to_text(), "csv": table.to_csv(), "md": table.to_markdown(), "tex": table.to_latex()}
    for suffix, text in texts.items():
        write_text(files.table(suffix), text)
    first = files.run(*grid.settings[0], grid.seeds[0])
    write_text(files.environment, first.environment.read_text(encoding="utf-8"))
    save_figure(loss_weight_figure(table), files.figure)
    write_text(files.results, write_results(table.lines))  # last: it says that the grid is whole


# --- command line --------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the grid's options."""
    from crnn_weak import cli

    cli.add_config(parser, preset="quick", settings=MAIN_JOB)
    cli.add_work(parser)
    group = parser.add_argument_group("grid")
    group.add_argument(
        "--settings", nargs="+", type=cli.loss_weights, metavar="STRONG:WEAK", help="default: the paper's seven"
    )
    group.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="mean and sd over them")
    group.add_argument("--out", metavar="FOLDER", help="default: runs/loss_weight_grid/SOURCE-PRESET-HEAD")
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask: tcp://host:port, or local")
    group.add_argument("--no-report", action="store_true", help="do not write report.html")
    group.add_argument("--overwrite", action="store_true", help="delete the grid in the folder and start anew")
    group.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on where a run was (default)"
    )
    parser.epilog = "example: crnn-weak grid --set training.epochs=3 --settings 1:1 1:0.002 --seeds 0 1"


def run(args: argparse.Namespace) -> int:
    """Run the command and print the table."""
    from crnn_weak import cli

    config = cli.read_config(args)
    name = f"{config.data.source}-{config.preset}-{config.model.weak_head}"
    folder = Path(args.out) if args.out else Path("runs") / "loss_weight_grid" / name
    if not args.resume and folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: not empty. Choose another folder with --out, or leave out --no-resume.")
    if len(set(args.seeds)) < len(args.seeds) or min(args.seeds) < 0:
        raise ConfigError(f"--seeds {args.seeds}: expected distinct whole numbers of 0 or more.")
    settings = tuple(args.settings or SETTINGS)
    if len(set(settings)) < len(settings):
        raise ConfigError("--settings: one of them is named twice; expected distinct pairs STRONG:WEAK.")
    for strong, weak in settings:
        LossWeights(strong=strong, weak=weak)  # refuse bad weights before anything is made
    grid = Grid(config, folder, cli.cache_folder(args), settings, tuple(args.seeds))
    began = time.perf_counter()
    progress = cli.shows_progress(args)
    table = run_grid(grid, jobs=args.jobs, scheduler=args.scheduler, progress=progress, overwrite=args.overwrite)
    print(table.to_text())
    print(f"{folder}: table.txt .csv .md .tex, figure.png .pdf, results.csv ({time.perf_counter() - began:.0f} s)")
    if not args.no_report:
        _report(grid)
    return 0


def _report(grid: Grid) -> None:
    from crnn_weak.report.page import write_report

    root = getattr(grid.config.data, "root", "")
    folders = [grid.cache, *([root] if root else [])]
    print(f"{write_report(grid.folder, audio_folders=folders)}: open it in a browser")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m crnn_weak.experiments.loss_weight_grid``."""
    from crnn_weak.cli import main as command_line

    return command_line(["grid", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
