"""A grid, planned or finished: a folder of runs, ``<strong>_<weak>/seed-<n>``, and a table over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crnn_weak.config import Config, LossWeights, load_config
from crnn_weak.errors import RunError
from crnn_weak.run_files import GridFiles, RunData, RunEnvironment, read_optional
from crnn_weak.runs.results import read_results, table_caption
from crnn_weak.runs.run import Run, Setting, check_folder, open_run
from crnn_weak.runs.table import ResultsTable


@dataclass(frozen=True)
class Grid:
    """Settings and seeds that share a configuration; loss weights and seed vary.

    Documents and the table are read on first use.
    """

    path: Path
    config: Config
    settings: Sequence[Setting]
    seeds: Sequence[int] = (0,)

    @property
    def files(self) -> GridFiles:
        """The names of the folder's files."""
        return GridFiles(self.path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    def run_config(self, setting: Setting, seed: int) -> Config:
        """Return the configuration of one run."""
        return dataclasses.replace(
            self.config,
            loss_weights=LossWeights(strong=setting[0], weak=setting[1]),
            training=dataclasses.replace(self.config.training, seed=seed),
        )

    def planned_runs(self, data: Mapping[str, Any]) -> list[Run]:
        """Return the runs on these data (`RunData`), all settings of the first seed first."""
        return [
            Run(self.files.run(*setting, seed).folder, self.run_config(setting, seed), data, self.path)
            for seed in self.seeds
            for setting in self.settings
        ]

    # --- results -----------------------------------------------------------------------------------------------------

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, devices."""
        return read_optional(self.files.environment, RunEnvironment)

    @cached_property
    def data(self) -> dict[str, Any]:
        """Content of ``data.json``."""
        return read_optional(self.files.data, RunData)

    @cached_property
    def table(self) -> ResultsTable:
        """The results, next to those of the paper and the baselines."""
        lines = read_results(self.files.results)
        caption = table_caption(self.config, self.data, sorted({line.seed for line in lines}))
        baselines = read_optional(self.files.baselines, dict[str, dict[str, float | None]])
        return ResultsTable(lines, caption, baselines)

    @property
    def runs(self) -> dict[tuple[float, float, int], Path]:
        """The folders of the table's runs that exist: (strong weight, weak weight, seed) to path."""
        counted = {(line.strong_weight, line.weak_weight, line.seed) for line in self.table.lines}
        return {key: run.folder for key, run in self.files.runs().items() if key in counted}

    def run(self, setting: Setting, seed: int | None = None) -> Run:
        """Open one run of the table; by default that of the first seed."""
        seed = self.seeds[0] if seed is None else seed
        folder = self.runs.get((*setting, seed))
        if folder is None:
            names = ", ".join(f"{strong:g}:{weak:g} seed {number}" for strong, weak, number in self.runs)
            raise RunError(
                f"{self.path}: has no run of strong {setting[0]:g}, weak {setting[1]:g}, seed {seed}. Runs: {names}."
            )
        return open_run(folder)

    def open_runs(self) -> list[Run]:
        """Open the table's runs that exist, setting by setting."""
        places = [(setting, seed) for setting in self.settings for seed in self.seeds]
        return [self.run(setting, seed) for setting, seed in places if (*setting, seed) in self.runs]

    def best_setting(self) -> Setting:
        """Return the setting with the best mean detection F (tagging F without strong labels)."""
        output = "segment" if any(line.output == "segment" for line in self.table.lines) else "tagging"

        def mean(setting: Setting) -> float:
            values = self.table.values(setting, output, "f_score")
            return sum(values) / len(values) if values else -1.0

        return max((setting for setting in self.settings if (*setting, self.seeds[0]) in self.runs), key=mean)


def open_grid(path: str | Path) -> Grid:
    """Open the folder of a finished grid."""
    check_folder(Path(path))
    files = GridFiles(path)
    if not files.config.is_file():
        raise RunError(f"{path}: holds no {files.config.name}: not a grid. Expected a folder of crnn-weak grid.")
    if not files.results.is_file():
        runs = files.runs().values()
        n_scored = sum(run.metrics.is_file() for run in runs)
        raise RunError(
            f"{path}: the grid is not finished ({n_scored} of {len(runs)} runs scored, no {files.results.name}). "
            "Start the same grid command again to resume it."
        )
    config = load_config(files.config)
    table = Grid(files.folder, config, ()).table
    if not table.lines:
        raise RunError(f"{files.results}: holds no results. Delete it and start the same grid command again.")
    return Grid(files.folder, config, table.settings, sorted({line.seed for line in table.lines}))


def open_any(path: str | Path) -> Run | Grid:
    """Open a run or a grid, whichever the folder holds."""
    check_folder(Path(path))
    files = GridFiles(path)
    return open_grid(path) if files.results.is_file() or files.runs() else open_run(path)
