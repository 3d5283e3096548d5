"""The list of reported metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

#: Names of rates, in texts.
LABELS = {
    "f_score": "F-score",
    "precision": "precision",
    "recall": "recall",
    "error_rate": "error rate",
    "substitution_rate": "substitutions",
    "deletion_rate": "deletions",
    "insertion_rate": "insertions",
}


class Metric(NamedTuple):
    """One metric of a run: its place in ``metrics.json``, and how tables, figures and pages show it."""

    name: str
    output: str
    heading: str
    scale: float = 100  # from the fraction to the unit shown: 100 for percent, 1 for a ratio
    digits: int = 1
    higher_is_better: bool = True
    in_table: bool = False  # a column of the results table
    published: str = ""  # field of `paper.PaperRow`; that of the challenge has "challenge_" before it

    @property
    def key(self) -> str:
        """Output and name in one text, as in ``baselines.json``."""
        return f"{self.output}/{self.name}"

    @property
    def best(self) -> Callable[[Iterable[float]], float]:
        """The function that picks the best of several values: ``max`` or ``min``."""
        return max if self.higher_is_better else min

    def format(self, value: float | None, sign: str = "", more_digits: int = 0) -> str:
        """Return a fraction in the unit shown; "-" where it is None or NaN. `sign` "+" writes the sign always."""
        if value is None or math.isnan(value):
            return "-"
        return f"{value * self.scale:{sign}.{self.digits + more_digits}f}"


#: What is recorded of every run, in the order of ``results.csv``.
METRICS = (
    Metric("precision", "tagging", "tag P", in_table=True, published="tagging_precision"),
    Metric("recall", "tagging", "tag R", in_table=True, published="tagging_recall"),
    Metric("f_score", "tagging", "tag F", in_table=True, published="tagging_f"),
    Metric("error_rate", "segment", "SED ER", 1, 2, False, in_table=True, published="error_rate"),
    Metric("f_score", "segment", "SED F", in_table=True, published="segment_f"),
    Metric("precision", "segment", "SED P"),
    Metric("recall", "segment", "SED R"),
    Metric("substitution_rate", "segment", "SED S", 1, 2, False),
    Metric("deletion_rate", "segment", "SED D", 1, 2, False),
    Metric("insertion_rate", "segment", "SED I", 1, 2, False),
    Metric("f_score", "event", "event F"),
    Metric("error_rate", "event", "event ER", 1, 2, False),
)
_BY_KEY = {metric.key: metric for metric in METRICS}


def find_metric(output: str, name: str) -> Metric:
    """Return one of `METRICS`."""
    return _BY_KEY[f"{output}/{name}"]
