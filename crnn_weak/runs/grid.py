"""The folder of an experiment, as an object: a grid of runs, ``<strong>_<weak>/seed-<n>``, and a table over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crnn_weak.config import Config, load_config
from crnn_weak.errors import RunError
from crnn_weak.run_files import GridFiles, RunData, RunEnvironment, read_optional
from crnn_weak.runs.results import read_results, table_caption
from crnn_weak.runs.run import Run, Setting, check_folder, open_run
from crnn_weak.runs.table import ResultsTable

__all__ = ["Experiment", "open_any", "open_experiment"]


@dataclass(frozen=True)
class Experiment:
    """A grid of runs and the table over them; made by `open_experiment`.

    Attributes
    ----------
    path : Path
    config : Config
        Of every cell, but for its loss weights and seed.
    environment, data : dict
    table : ResultsTable
    cells : dict of (strong, weak, seed) to Path
        Run folders; those of the table that are there.
    """

    path: Path
    config: Config
    environment: dict[str, Any] = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    table: ResultsTable = field(repr=False)
    cells: dict[tuple[float, float, int], Path] = field(repr=False)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def settings(self) -> list[Setting]:
        """The (strong, weak) weights, in the order of their ratio."""
        return self.table.settings

    @property
    def seeds(self) -> list[int]:
        """The seeds that occur."""
        return sorted({line.seed for line in self.table.lines})

    def run(self, setting: Setting, seed: int | None = None) -> Run:
        """Open one cell's run; by default that of the first seed.

        Raises
        ------
        RunError
            There is no such cell.
        """
        seed = self.seeds[0] if seed is None else seed
        folder = self.cells.get((*setting, seed))
        if folder is None:
            known = ", ".join(f"{strong:g}:{weak:g} seed {number}" for strong, weak, number in self.cells)
            raise RunError(
                f"{self.path}: no run of strong {setting[0]:g}, weak {setting[1]:g}, seed {seed}. Known: {known}."
            )
        return open_run(folder)

    def best_setting(self) -> Setting:
        """Return the setting with the best mean detection F (tagging F where there is no detection)."""
        output = "segment" if any(line.output == "segment" for line in self.table.lines) else "tagging"

        def mean(setting: Setting) -> float:
            values = self.table.values(setting, output, "f_score")
            return sum(values) / len(values) if values else -1.0

        return max((setting for setting in self.settings if (*setting, self.seeds[0]) in self.cells), key=mean)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def open_experiment(path: str | Path) -> Experiment:
    """Open an experiment's folder.

    Raises
    ------
    RunError
        There is no such folder, it holds no experiment, or the experiment is not finished.
    """
    check_folder(Path(path))
    files = GridFiles(path)
    runs = files.runs()
    if not files.config.is_file():
        raise RunError(f"{path}: holds no {files.config.name}: not a grid. Expected a folder of crnn-weak grid.")
    if not files.results.is_file():
        n_done = sum(run.metrics.is_file() for run in runs.values())
        raise RunError(
            f"{path}: the grid is not finished ({n_done} of {len(runs)} runs scored, no {files.results.name}). "
            "Start the same grid command again; it goes on where it stopped."
        )
    config, data = load_config(files.config), read_optional(files.data, RunData)
    lines = read_results(files.results)
    if not lines:
        raise RunError(f"{files.results}: holds no results. Delete it and start the same grid command again.")
    counted = {(line.strong_weight, line.weak_weight, line.seed) for line in lines}
    baselines = files.baselines if files.baselines.exists() else files.old_baselines
    table = ResultsTable(
        lines,
        table_caption(config, data, sorted({line.seed for line in lines})),
        read_optional(baselines, dict[str, dict[str, float | None]]),
    )
    kept = {key: run.folder for key, run in runs.items() if key in counted}
    return Experiment(files.folder, config, read_optional(files.environment, RunEnvironment), data, table, kept)


def open_any(path: str | Path) -> Run | Experiment:
    """Open a run or a grid, whichever the folder holds.

    Raises
    ------
    RunError
        It is neither, or it is not finished.
    """
    check_folder(Path(path))
    files = GridFiles(path)
    return open_experiment(path) if files.results.is_file() or files.runs() else open_run(path)
