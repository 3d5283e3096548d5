"""Confidence intervals over clips, by the percentile bootstrap.

Clips are drawn with replacement and every metric is computed again from the sums of their counts; a clip's frames and
classes stay together, since they are not independent. The interval covers the choice of clips of the same kind, not
other seeds or other data. Drawing and summing is one matrix product, so a thousand resamples take milliseconds.

Reference: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from crnn_weak.errors import ConfigError, DataError
from crnn_weak.metrics.counting import Counts, class_rates, overall_rates, plain

__all__ = ["Interval", "Intervals", "bootstrap"]

_BLOCK_CELLS = 20_000_000


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


def _interval(values: np.ndarray, level: float) -> Interval:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(float("nan"), float("nan"), len(values))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), len(values) - len(defined))


def _resampled_sums(counts: Counts, n_resamples: int, seed: int) -> np.ndarray:
    """Return the summed counts of each resample, shape (n_resamples, 3 * n_classes + 3 of detection)."""
    columns = [counts.n_reference, counts.n_estimated, counts.n_correct]
    columns += [array[:, None] for array in counts.errors or ()]
    table = np.concatenate(columns, axis=1).astype(np.float64)
    rng = np.random.default_rng(seed)
    shares = np.full(counts.n_clips, 1 / counts.n_clips)
    block = max(1, _BLOCK_CELLS // counts.n_clips)
    return np.concatenate(
        [
            rng.multinomial(counts.n_clips, shares, size=min(block, n_resamples - start)).astype(np.float64) @ table
            for start in range(0, n_resamples, block)
        ]
    )


def _defined_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row over the values that are not NaN; NaN where none is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.where(defined.any(axis=1), total / np.maximum(defined.sum(axis=1), 1), np.nan)


def bootstrap(
    counts: Counts,
    *,
    classes: Sequence[str] = (),
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Return percentile intervals of every metric of the counts.

    Parameters
    ----------
    counts : Counts
        Of segments, events or tags, per clip.
    classes : sequence of str, optional
        With the class list, every class gets its own intervals.
    n_resamples : int >= 1
    level : float in (0, 1)
    seed : int >= 0

    Returns
    -------
    Intervals

    Raises
    ------
    ConfigError
        A setting is out of range.
    DataError
        There is only one clip.

    Examples
    --------
    >>> ones = np.ones((50, 1), dtype=int)
    >>> bootstrap(Counts(ones, ones, ones)).overall["f_score"].low
    1.0
    """
    if n_resamples < 1:
        raise ConfigError(f"bootstrap: n_resamples = {n_resamples!r}, expected a whole number of 1 or more.")
    if not 0 < level < 1:
        raise ConfigError(f"bootstrap: level = {level!r}, expected a share in (0, 1), e.g. 0.95.")
    n_clips, n_classes = counts.n_reference.shape
    if n_clips < 2:
        raise DataError(f"bootstrap: {n_clips} clip, but intervals over clips need two or more. Omit the bootstrap.")
    sums = _resampled_sums(counts, n_resamples, seed)
    n_reference, n_estimated, n_correct = (sums[:, i * n_classes : (i + 1) * n_classes] for i in range(3))
    errors = None if counts.errors is None else (sums[:, -3], sums[:, -2], sums[:, -1])
    overall = overall_rates(n_reference.sum(axis=1), n_estimated.sum(axis=1), n_correct.sum(axis=1), errors)
    by_class = {
        name: values for name, values in class_rates(n_reference, n_estimated, n_correct).items() if name in overall
    }
    return Intervals(
        level,
        n_resamples,
        seed,
        {name: _interval(values, level) for name, values in overall.items()},
        {name: _interval(_defined_mean(values), level) for name, values in by_class.items()},
        {
            label: {name: _interval(values[:, index], level) for name, values in by_class.items()}
            for index, label in enumerate(classes)
        },
    )
