"""The main job: the paper's seven loss weights, trained, scored and set beside the published table.

``python -m crnn_weak.experiments.loss_weight_grid`` with no argument makes procedural street scenes, computes their
features, trains the seven settings, scores held-out clips and prints the table. Everything it makes is kept, and
everything that is kept is not made again: killed and started once more it goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crnn_weak import config as configuration
from crnn_weak import paper
from crnn_weak.config import Config, LossWeights
from crnn_weak.errors import ConfigError, RunError
from crnn_weak.parallel import run_tasks
from crnn_weak.runs.train_and_score import Cell, cell_metrics, is_complete, run_cell
from crnn_weak.storage import lock, write_text

__all__ = ["SETTINGS", "Grid", "main", "run_grid"]

log = logging.getLogger(__name__)

#: The paper's seven settings of (strong, weak).
SETTINGS: tuple[tuple[float, float], ...] = tuple((row.strong, row.weak) for row in paper.RESULTS)


@dataclass(frozen=True)
class Grid:
    """What a grid is made of.

    Attributes
    ----------
    config : Config
        Of every cell, but for its loss weights and seed.
    folder : Path
        Of the experiment.
    cache : Path
        Of made clips and feature stores, shared by experiments.
    settings : sequence of (strong, weak)
    seeds : sequence of int
    """

    config: Config
    folder: Path
    cache: Path
    settings: Sequence[tuple[float, float]] = SETTINGS
    seeds: Sequence[int] = (0,)

    def cells(self, train_store: Path, test_store: Path, evaluation_store: Path | None = None) -> list[Cell]:
        """Return the cells, all settings of the first seed first."""
        return [
            Cell(
                self.cell_config(setting, seed),
                str(train_store),
                str(test_store),
                str(self.cell_dir(setting, seed)),
                None if evaluation_store is None else str(evaluation_store),
            )
            for seed in self.seeds
            for setting in self.settings
        ]

    def cell_config(self, setting: tuple[float, float], seed: int) -> Config:
        """Return the configuration of one cell."""
        return dataclasses.replace(
            self.config,
            loss_weights=LossWeights(strong=setting[0], weak=setting[1]),
            training=dataclasses.replace(self.config.training, seed=seed),
        )

    def cell_dir(self, setting: tuple[float, float], seed: int) -> Path:
        """Return the run folder of one cell."""
        return self.folder / LossWeights(strong=setting[0], weak=setting[1]).name / f"seed-{seed}"


def run_grid(grid: Grid, *, jobs: int = 1, scheduler: str | None = None, progress: bool = False) -> Any:
    """Run what is not done yet and write table, figure and record.

    Parameters
    ----------
    grid : Grid
    jobs : int
        Processes, for making clips, for features and for cells (one thread each).
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://...``), or ``local``.
    progress : bool
        Show bars.

    Returns
    -------
    crnn_weak.runs.table.ResultsTable
    """
    from crnn_weak.runs.prepare import prepare  # not for --help: it brings NumPy and SciPy

    _refuse_another_grid(grid)
    prepared = prepare(grid.config, grid.cache, grid.folder, jobs=jobs, scheduler=scheduler, progress=progress)
    with lock(grid.folder):
        write_text(grid.folder / "config.toml", configuration.to_toml(grid.config))
        write_text(grid.folder / "data.json", json.dumps(prepared.data, indent=1, ensure_ascii=False))
        cells = grid.cells(prepared.train_store, prepared.test_store, prepared.evaluation_store)
        waiting = [cell for cell in cells if not is_complete(cell.run_dir)]
        if waiting:
            log.info("training: %d of %d cells to do, %d at a time", len(waiting), len(cells), min(jobs, len(waiting)))
            with _GridProgress(waiting, grid.config.training.epochs, progress) as shown:
                options: dict[str, Any] = {} if scheduler is None else {"scheduler": scheduler}
                for index, metrics in run_tasks(run_cell, waiting, jobs=jobs, on_poll=shown.poll, **options):
                    shown.finished(waiting[index], metrics)
        return write_outputs(grid, prepared.test_store, prepared.data)


def _refuse_another_grid(grid: Grid) -> None:
    """Refuse a folder that holds a grid of another configuration."""
    path = grid.folder / "config.toml"
    if not path.exists():
        return
    stored = configuration.load_config(path)
    if stored != grid.config:
        raise RunError(
            f"{grid.folder}: holds a grid of another configuration (see its config.toml). "
            "Choose another folder with --out, or delete this one."
        )


class _GridProgress:
    """One bar over all epochs of all cells; read off the cells' own history files, whoever writes them."""

    def __init__(self, cells: Sequence[Cell], epochs: int, progress: bool) -> None:
        self._cells, self._epochs = cells, epochs
        self._before = {cell.run_dir: self._done(cell) for cell in cells}
        self._total = len(cells) * epochs - sum(self._before.values())
        self._done_now = 0
        self._bar = tqdm(total=self._total, unit="epoch", desc="training", disable=not progress, smoothing=0.1)
        self._began = time.perf_counter()
        self._n_finished = 0

    def __enter__(self) -> _GridProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def _done(self, cell: Cell) -> int:
        try:
            with open(Path(cell.run_dir) / "history.csv", encoding="utf-8") as file:
                return max(0, sum(1 for _ in file) - 1)
        except OSError:
            return 0

    def poll(self) -> None:
        """Read how far the cells are; a cell that stopped early counts as whole."""
        done = 0
        for cell in self._cells:
            epochs = self._epochs if is_complete(cell.run_dir) else self._done(cell)
            done += max(0, epochs - self._before[cell.run_dir])
        self._bar.update(done - self._done_now)
        self._done_now = done

    def finished(self, cell: Cell, metrics: dict[str, Any]) -> None:
        """Log a finished cell and an estimate of the time left, by the epochs done and to do."""
        self.poll()
        self._n_finished += 1
        elapsed = time.perf_counter() - self._began
        left = elapsed / max(1, self._done_now) * (self._total - self._done_now)
        weights, tagging, segment = cell.config.loss_weights, metrics["tagging"], metrics["segment"]
        detection = "" if segment is None else f", SED ER {segment['error_rate']:.2f} F {100 * segment['f_score']:.1f}"
        with _outside(self._bar):
            log.info(
                "strong %g weak %g seed %d: tagging F %.1f%s (%d of %d cells, %.0f s, about %.0f s left)",
                weights.strong, weights.weak, cell.config.training.seed, 100 * tagging["f_score"], detection,
                self._n_finished, len(self._cells), elapsed, left,
            )  # fmt: skip


class _outside:
    """Write log lines beside a bar without tearing it."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __enter__(self) -> None:
        self._bar.clear()

    def __exit__(self, *exception: object) -> None:
        self._bar.refresh()


def write_outputs(grid: Grid, test_store: Path, data: dict[str, Any]) -> Any:
    """Write results.csv, the tables, the figure, the baselines and the environment of a finished grid."""
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.metrics.baselines import score_baselines, to_plain
    from crnn_weak.runs.results import results_of_cell, table_caption, write_results
    from crnn_weak.runs.table import ResultsTable

    lines = []
    for seed in grid.seeds:
        for setting in grid.settings:
            metrics = cell_metrics(grid.cell_dir(setting, seed))
            name = configuration.fingerprint(grid.cell_config(setting, seed))
            lines += results_of_cell(grid.folder.name, setting, seed, metrics, name)
    with FeatureStore(test_store, grid.config.features) as store:
        tags = {
            clip_id: tuple(label for label, on in zip(store.classes, row, strict=True) if on)
            for clip_id, row in zip(store.clip_ids, store.tags, strict=True)
        }
        baselines = score_baselines(
            tags,
            store.events if store.has_events else None,
            classes=store.classes,
            clip_seconds=grid.config.features.clip_seconds,
            segment_seconds=grid.config.evaluation.segment_seconds,
        )
    table = ResultsTable(lines, table_caption(grid.config, data, grid.seeds), baselines)
    write_text(grid.folder / "results.csv", write_results(lines))
    write_text(grid.folder / "baselines.json", json.dumps(to_plain(baselines), indent=1, ensure_ascii=False))
    for suffix, text in (
        ("txt", table.to_text()), ("csv", table.to_csv()), ("md", table.to_markdown()), ("tex", table.to_latex()),
    ):  # fmt: skip
        write_text(grid.folder / f"table.{suffix}", text)
    first = grid.cell_dir(grid.settings[0], grid.seeds[0]) / "environment.json"
    write_text(grid.folder / "environment.json", first.read_text(encoding="utf-8"))
    _figure(grid, table)
    return table


def _figure(grid: Grid, table: Any) -> None:
    from crnn_weak.figures import loss_weight_figure, save_figure

    save_figure(loss_weight_figure(table), grid.folder / "figure")


# --- command line --------------------------------------------------------------------------------------------------


def _setting(text: str) -> tuple[float, float]:
    parts = text.replace("_", ":").split(":")
    try:
        strong, weak = (float(part) for part in parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected STRONG:WEAK, e.g. 1:0.02") from None
    return strong, weak


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the grid's options."""
    from crnn_weak import options

    options.add_config(parser, preset="quick")
    options.add_work(parser)
    group = parser.add_argument_group("grid")
    group.add_argument("--settings", nargs="+", type=_setting, metavar="STRONG:WEAK", help="default: the paper's seven")
    group.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="mean and sd over them")
    group.add_argument("--out", metavar="FOLDER", help="default: runs/loss_weight_grid/SOURCE-PRESET-HEAD")
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask: tcp://host:port, or local")
    group.add_argument("--no-report", action="store_true", help="do not write report.html")
    group.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on where a run was (default)"
    )
    parser.epilog = "example: crnn-weak grid --set training.epochs=3 --settings 1:1 1:0.002 --seeds 0 1"


def run(args: argparse.Namespace) -> int:
    """Run the command and print the table."""
    from crnn_weak import options

    config = options.read_config(args)
    name = f"{config.data.source}-{config.preset}-{config.model.weak_head}"
    folder = Path(args.out) if args.out else Path("runs") / "loss_weight_grid" / name
    if not args.resume and folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: not empty. Choose another folder with --out, or leave out --no-resume.")
    if len(set(args.seeds)) < len(args.seeds) or min(args.seeds) < 0:
        raise ConfigError(f"--seeds {args.seeds}: expected distinct whole numbers of 0 or more.")
    settings = tuple(args.settings or SETTINGS)
    for strong, weak in settings:
        LossWeights(strong=strong, weak=weak)  # refuse bad weights before anything is made
    grid = Grid(config, folder, options.cache_folder(args), settings, tuple(args.seeds))
    began = time.perf_counter()
    table = run_grid(grid, jobs=args.jobs, scheduler=args.scheduler, progress=options.shows_progress(args))
    print(table.to_text())
    print(f"{folder}: table.txt .csv .md .tex, figure.png .pdf, results.csv ({time.perf_counter() - began:.0f} s)")
    if not args.no_report:
        _report(grid)
    return 0


def _report(grid: Grid) -> None:
    from crnn_weak.report.clips import ClipOptions
    from crnn_weak.report.page import write_report

    root = getattr(grid.config.data, "root", "")  # recorded sources have one
    options = ClipOptions(audio_folders=(grid.cache, *([root] if root else [])))
    print(f"{write_report(grid.folder, options=options)}: open it in a browser")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m crnn_weak.experiments.loss_weight_grid``."""
    from crnn_weak.cli import main as command_line

    return command_line(["grid", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
