"""Confidence intervals over clips, by the percentile bootstrap.

Clips are drawn with replacement and every metric is computed again from the sums of their counts. The frames and
classes of a clip stay together, since they are not independent. The interval covers the choice of clips of the same
kind, not other seeds or other data.

Reference: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.metrics.summary import Counts, class_rates, divide, plain, rates

LEVEL = 0.95

# Numbers in memory at a time.
_BLOCK = 20_000_000


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval; `n_undefined` resamples had no value (0/0) and are skipped."""

    low: float
    high: float
    n_undefined: int = 0


@dataclass(frozen=True)
class Intervals:
    """Intervals of the overall metrics, of the class averages, and of every class by label."""

    n_resamples: int
    seed: int
    overall: dict[str, Interval]
    class_average: dict[str, Interval]
    class_wise: dict[str, dict[str, Interval]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return plain({"level": LEVEL, **asdict(self)})


def interval(values: np.ndarray) -> Interval:
    """Return the interval that holds the middle 95 % of the values, without those that are NaN."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(float("nan"), float("nan"), len(values))
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(values) - len(defined))


def resampled_sums(table: np.ndarray, *, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the rows of a table (n_clips, n_columns) with replacement; return the sums, (n_resamples, n_columns).

    Drawing and summing is one matrix product, so a thousand resamples take milliseconds.
    """
    n_clips = len(table)
    shares = np.full(n_clips, 1 / n_clips)
    block = max(1, _BLOCK // n_clips)
    sums = []
    for start in range(0, n_resamples, block):
        n_drawn = rng.multinomial(n_clips, shares, size=min(block, n_resamples - start))
        sums.append(n_drawn.astype(np.float64) @ table.astype(np.float64))
    return np.concatenate(sums)


def bootstrap(counts: Counts, *, classes: Sequence[str] = (), n_resamples: int = 1000, seed: int = 0) -> Intervals:
    """Return percentile intervals of every metric of the counts; with `classes`, of every class too.

    >>> ones = np.ones((50, 1), dtype=int)
    >>> bootstrap(Counts(ones, ones, ones)).overall["f_score"].low
    1.0
    """
    n_clips, n_classes = counts.n_reference.shape
    if n_clips < 2:
        raise DataError(f"bootstrap: {n_clips} clip, but intervals over clips need two or more. Omit the bootstrap.")
    table = np.concatenate([array for array in counts if array is not None], axis=1)
    sums = resampled_sums(table, n_resamples=n_resamples, rng=np.random.default_rng(seed))
    n_reference, n_estimated, n_correct, errors = np.split(sums, [n_classes, 2 * n_classes, 3 * n_classes], axis=1)
    is_detection = counts.errors is not None
    overall = rates(
        n_reference.sum(axis=1), n_estimated.sum(axis=1), n_correct.sum(axis=1), errors if is_detection else None
    )
    by_class = class_rates(n_reference, n_estimated, n_correct, is_detection=is_detection)
    averages = {}
    for name, values in by_class.items():
        averages[name] = interval(divide(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)))
    class_wise = {}
    for index, label in enumerate(classes):
        class_wise[label] = {name: interval(values[:, index]) for name, values in by_class.items()}
    return Intervals(
        n_resamples,
        seed,
        {name: interval(values) for name, values in overall.items()},
        averages,
        class_wise,
    )
