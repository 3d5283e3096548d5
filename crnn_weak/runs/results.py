"""The results of a grid in long form: ``results.csv``, one line per value, of which every table is a view.

Values are as measured: fractions, not percent; the substitution, deletion and insertion rates add up to the error rate.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crnn_weak import paper
from crnn_weak.config import Config
from crnn_weak.errors import RunError

__all__ = [
    "COLUMNS",
    "Column",
    "Result",
    "measured",
    "read_results",
    "results_of_run",
    "table_caption",
    "write_results",
]


class Column(NamedTuple):
    """One column of the table: its place in ``metrics.json`` and in the paper's rows, and its format."""

    output: str
    metric: str
    title: str
    published: str | None
    scale: float
    digits: int
    split: str = "test"

    def published_value(self, setting: tuple[float, float]) -> float | None:
        """Return the paper's value for a setting, or None where it has none."""
        row = paper.paper_row(*setting)
        return None if row is None or self.published is None else getattr(row, self.published)

    @property
    def challenge_best(self) -> float | None:
        """The best of the challenge; None where the slides name none."""
        return None if self.published is None else paper.CHALLENGE_BEST.get(self.published)

    @property
    def key(self) -> str:
        """The output's name in ``results.csv``."""
        return self.output if self.split == "test" else f"{self.split}_{self.output}"

    @property
    def best(self) -> Any:
        """The function that picks the best of several values: ``min`` of error rates, else ``max``."""
        return min if self.metric == "error_rate" else max


#: The columns of the paper's table; the last two are the challenge submissions, scored on the evaluation set.
COLUMNS: tuple[Column, ...] = (
    Column("tagging", "precision", "tag P", "tagging_precision", 100, 1),
    Column("tagging", "recall", "tag R", "tagging_recall", 100, 1),
    Column("tagging", "f_score", "tag F", "tagging_f", 100, 1),
    Column("segment", "error_rate", "SED ER", "error_rate", 1, 2),
    Column("segment", "f_score", "SED F", "segment_f", 100, 1),
    Column("tagging", "f_score", "challenge tag F", "challenge_tagging_f", 100, 1, "evaluation"),
    Column("segment", "error_rate", "challenge ER", "challenge_error_rate", 1, 2, "evaluation"),
)

_DETECTION = ("error_rate", "f_score", "precision", "recall", "substitution_rate", "deletion_rate", "insertion_rate")
#: What is recorded of each split: output -> metrics.
_RECORDED = {"tagging": ("precision", "recall", "f_score"), "segment": _DETECTION, "event": ("f_score", "error_rate")}


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


def measured(metrics: Mapping[str, Any], column: Column) -> float | None:
    """Return a column's value from the content of ``metrics.json``, or None where it was not measured."""
    of_split = metrics if column.split == "test" else metrics.get(column.split) or {}
    value = (of_split.get(column.output) or {}).get(column.metric)
    return None if value is None else float(value)


def results_of_run(
    experiment: str, weights: tuple[float, float], seed: int, metrics: Mapping[str, Any], config_fingerprint: str
) -> list[Result]:
    """Return the lines of one finished run; outputs that the data lack (no events) are skipped."""
    lines = []
    for prefix, of_split in (("", metrics), ("evaluation_", metrics.get("evaluation") or {})):
        for output, names in _RECORDED.items():
            found = of_split.get(output)
            if found is None:
                continue
            for name in names:
                value = math.nan if found[name] is None else float(found[name])
                place = (experiment, *weights, seed, prefix + output, name)
                lines.append(Result(*place, value, int(of_split["n_clips"]), config_fingerprint))
    return lines


def write_results(lines: Iterable[Result]) -> str:
    """Return the text of ``results.csv``.

    See Also
    --------
    read_results : The inverse.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Result._fields)
    writer.writerows((*line[:6], f"{line.value:.6g}", *line[7:]) for line in lines)
    return text.getvalue()


def read_results(path: str | Path) -> list[Result]:
    """Read ``results.csv``.

    Raises
    ------
    RunError
        The file is missing or is not a results file.

    See Also
    --------
    write_results : The inverse.
    """
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
    """Return the caption of a grid's table: data, clips, preset, head, seeds, scoring.

    Parameters
    ----------
    config : Config
    data : mapping
        The content of ``data.json``.
    seeds : sequence of int
    """
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
