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

from crnn_weak.errors import ConfigError, DataError
from crnn_weak.metrics.counting import Counts, class_rates, plain, rates

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

    level: float
    n_resamples: int
    seed: int
    overall: dict[str, Interval]
    class_average: dict[str, Interval]
    class_wise: dict[str, dict[str, Interval]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return plain(asdict(self))


def interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Return the interval that holds the middle `level` of the values, without those that are NaN."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(float("nan"), float("nan"), len(values))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
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


def bootstrap(
    counts: Counts,
    *,
    classes: Sequence[str] = (),
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Return percentile intervals of every metric of the counts; with `classes`, of every class too.

    >>> ones = np.ones((50, 1), dtype=int)
    >>> bootstrap(Counts(ones, ones, ones)).overall["f_score"].low
    1.0
    """
    if n_resamples < 1:
        raise ConfigError(f"bootstrap: n_resamples = {n_resamples!r}, expected a whole number of 1 or more.")
    if not 0 < level < 1:
        raise ConfigError(f"bootstrap: level = {level!r}, expected a share in (0, 1), e.g. 0.95.")
    if counts.n_clips < 2:
        raise DataError(
            f"bootstrap: {counts.n_clips} clip, but intervals over clips need two or more. Omit the bootstrap."
        )
    columns = [counts.n_reference, counts.n_estimated, counts.n_correct]
    columns += [array[:, None] for array in counts.errors or ()]
    table = np.concatenate(columns, axis=1)
    sums = resampled_sums(table, n_resamples=n_resamples, rng=np.random.default_rng(seed))
    n_classes = counts.n_reference.shape[1]
    n_reference, n_estimated, n_correct = (sums[:, i * n_classes : (i + 1) * n_classes] for i in range(3))
    errors = None if counts.errors is None else (sums[:, -3], sums[:, -2], sums[:, -1])
    overall = rates(n_reference.sum(axis=1), n_estimated.sum(axis=1), n_correct.sum(axis=1), errors)
    by_class = class_rates(n_reference, n_estimated, n_correct, is_detection=errors is not None)
    return Intervals(
        level,
        n_resamples,
        seed,
        {name: interval(values, level) for name, values in overall.items()},
        {name: interval(_defined_mean(values), level) for name, values in by_class.items()},
        {
            label: {name: interval(values[:, index], level) for name, values in by_class.items()}
            for index, label in enumerate(classes)
        },
    )


def _defined_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row over the values that are not NaN; NaN where none is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.where(defined.any(axis=1), total / np.maximum(defined.sum(axis=1), 1), np.nan)
