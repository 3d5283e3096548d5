"""The results of a grid in long form: ``results.csv``, one line per value, of which every table is a view.

Values are fractions, not percent; the substitution, deletion and insertion rates add up to the error rate.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crnn_weak import paper
from crnn_weak.config import Config
from crnn_weak.errors import RunError
from crnn_weak.files import csv_text
from crnn_weak.metrics.summary import METRICS, Metric

#: The weights of the (strong, weak) loss.
Setting = tuple[float, float]


class Result(NamedTuple):
    """One line of ``results.csv``; `value` is a fraction."""

    experiment: str
    strong_weight: float
    weak_weight: float
    seed: int
    output: str
    metric: str
    value: float
    n_clips: int
    config_fingerprint: str


class Column(NamedTuple):
    """One column of the results table: a metric of a split."""

    metric: Metric
    split: str = "test"

    @property
    def output(self) -> str:
        """The output's name in ``results.csv``."""
        return self.metric.output if self.split == "test" else f"{self.split}_{self.metric.output}"

    @property
    def key(self) -> str:
        """Output and metric in one text, as in ``baselines.json``."""
        return f"{self.output}/{self.metric.name}"

    @property
    def heading(self) -> str:
        """The title of the column."""
        return self.metric.heading if self.split == "test" else f"challenge {self.metric.heading}".replace("SED ", "")

    @property
    def _published(self) -> str:
        return self.metric.published if self.split == "test" else f"challenge_{self.metric.published}"

    def published_value(self, setting: Setting) -> float | None:
        """Return the paper's value for a setting, in the unit shown; None if it has none."""
        row = next((row for row in paper.RESULTS if (row.strong, row.weak) == setting), None)
        return None if row is None or not self.metric.published else getattr(row, self._published)

    @property
    def challenge_best(self) -> float | None:
        """The best of the challenge; None where the slides name none."""
        return paper.CHALLENGE_BEST.get(self._published)


#: The columns of the paper's table; the last are the challenge submissions, scored on the evaluation set.
COLUMNS = (
    *(Column(metric) for metric in METRICS if metric.in_table),
    *(Column(metric, "evaluation") for metric in METRICS if f"challenge_{metric.published}" in paper.CHALLENGE_BEST),
)


def results_of_run(
    grid_name: str, weights: tuple[float, float], seed: int, metrics: Mapping[str, Any], config_fingerprint: str
) -> list[Result]:
    """Return the lines of one finished run; outputs that the data lack (no events) are skipped."""
    lines = []
    for prefix, of_split in (("", metrics), ("evaluation_", metrics.get("evaluation") or {})):
        for metric in METRICS:
            values = of_split.get(metric.output)
            if values is None:
                continue
            value = math.nan if values[metric.name] is None else float(values[metric.name])
            key = (grid_name, *weights, seed, prefix + metric.output, metric.name)
            lines.append(Result(*key, value, int(of_split["n_clips"]), config_fingerprint))
    return lines


def write_results(lines: Iterable[Result]) -> str:
    """Return the text of ``results.csv``."""
    return csv_text(Result._fields, ((*line[:6], f"{line.value:.6g}", *line[7:]) for line in lines))


def read_results(path: str | Path) -> list[Result]:
    """Read ``results.csv``."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                Result(
                    row["experiment"], float(row["strong_weight"]), float(row["weak_weight"]), int(row["seed"]),
                    row["output"], row["metric"], float(row["value"]), int(row["n_clips"]), row["config_fingerprint"],
                )
                for row in csv.DictReader(file)
            ]  # fmt: skip
    except FileNotFoundError:
        raise RunError(f"{path}: no such results file. Finish the grid first (the same command resumes it).") from None
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise RunError(f"{path}: not a results file ({error}).") from None


def table_caption(config: Config, data: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """Return the caption of a grid's table: data, clips, preset, head, seeds, scoring; `data` is `RunData`."""
    clips = ", ".join(
        f"{split} {count['n_clips']:,} of {count['n_listed']:,} clips"
        for split, count in data.get("coverage", {}).items()
    )
    provenance = str(data.get("provenance") or config.data.source).rstrip(".")
    other = config.data.source != "dcase2017_task4"
    note = " The paper's values are of DCASE 2017 task 4, other data." if other else ""
    return (
        f"{provenance}; {clips}; preset {config.preset}, head {config.model.weak_head}, {config.training.epochs} "
        f"epochs at most, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}. "
        f"Tagging scored by scikit-learn, detection by sed_eval.{note}"
    )
