"""Counts per clip and class, and the rates computed from them.

Conventions
-----------
* All rates are fractions, not percent. The reference defines the clips; a clip that the estimate lacks counts as
  empty, a clip that only the estimate has is an error.
* *Overall* values are micro averages: counts are summed over clips and classes first. *Class averages* are means
  over the classes for which a value is defined; `n_undefined` counts the others.

Edge cases (0/0)
----------------
sed_eval is followed where it defines a value:

==================  =====================  ==========================================================
value               case                   result
==================  =====================  ==========================================================
overall precision   nothing estimated      0 (sed_eval: NaN, or 0 with its option ``zero_score``)
overall F           nothing estimated      0 (the same)
any value           nothing in reference   NaN: recall, F and error rate have no denominator (sed_eval
                                           divides the error rate by 2e-16 there)
class precision, F  class not estimated    NaN, as sed_eval (scikit-learn: F is 0)
==================  =====================  ==========================================================

References
----------
Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6(6):162, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from crnn_weak.errors import ClipError, DataError, nearest_names

__all__ = [
    "ClassMetrics",
    "Counts",
    "DetectionMetrics",
    "EventMetrics",
    "Metrics",
    "SegmentMetrics",
    "check_clips",
    "check_lengths",
    "class_average",
    "class_rates",
    "overall_rates",
    "plain",
]

#: Rates of every task, and those that only detection has.
RATES = ("precision", "recall", "f_score")
ERROR_RATES = ("error_rate", "substitution_rate", "deletion_rate", "insertion_rate")
CLASS_ERROR_RATES = ("error_rate", "deletion_rate", "insertion_rate")


def check_clips(reference: Iterable[str], estimated: Iterable[str]) -> tuple[str, ...]:
    """Return the reference's clips in their order.

    Raises
    ------
    DataError
        The reference is empty.
    ClipError
        The estimate holds a clip that the reference lacks: its events could not be judged.
    """
    clip_ids = tuple(reference)
    if not clip_ids:
        raise DataError("the reference lists no clip: nothing can be scored.")
    known = set(clip_ids)
    foreign = [clip for clip in estimated if clip not in known]
    if foreign:
        raise ClipError(
            f"{len(foreign)} clip(s) of the estimate are not in the reference, the first is {foreign[0]!r}. "
            f"{nearest_names(foreign[0], clip_ids[:5000])} Score the two lists over the same clips."
        )
    return clip_ids


def check_lengths(**seconds: float | None) -> None:
    """Raise a DataError for a length that is not a finite number above 0; None passes."""
    for name, value in seconds.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise DataError(f"{name} = {value!r}: expected seconds above 0.")


@dataclass(frozen=True)
class Counts:
    """Counts of each clip; every rate and every confidence interval follows from them.

    Attributes
    ----------
    n_reference, n_estimated, n_correct : np.ndarray of int, shape (n_clips, n_classes)
        Active segments, events or tags.
    errors : tuple of three np.ndarray of int, shape (n_clips,), or None
        Substitutions, deletions and insertions of detection; tagging has none.
    """

    n_reference: np.ndarray
    n_estimated: np.ndarray
    n_correct: np.ndarray
    errors: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def n_clips(self) -> int:
        """Number of clips."""
        return int(self.n_reference.shape[0])

    @classmethod
    def concatenate(cls, parts: Sequence[Counts]) -> Counts:
        """Return the counts of all parts, clip after clip."""
        joined = cls(
            np.concatenate([part.n_reference for part in parts]),
            np.concatenate([part.n_estimated for part in parts]),
            np.concatenate([part.n_correct for part in parts]),
        )
        errors = [part.errors for part in parts if part.errors is not None]
        if not errors:
            return joined
        first, second, third = (np.concatenate(arrays) for arrays in zip(*errors, strict=True))
        return replace(joined, errors=(first, second, third))


def _divide(numerator: Any, denominator: Any, empty: Any = np.nan) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    result = np.array(np.broadcast_to(np.asarray(empty, dtype=float), shape))
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def overall_rates(
    n_reference: Any, n_estimated: Any, n_correct: Any, errors: tuple[Any, Any, Any] | None = None
) -> dict[str, np.ndarray]:
    """Return the micro-averaged rates of summed counts; arrays give arrays.

    Parameters
    ----------
    n_reference, n_estimated, n_correct : int or array of int
    errors : (substitutions, deletions, insertions), optional

    Returns
    -------
    dict of str to np.ndarray of float
        ``precision, recall, f_score`` and, with `errors`, the four error rates.

    Examples
    --------
    >>> float(overall_rates(4, 0, 0)["f_score"])
    0.0
    """
    undefined = np.where(np.asarray(n_reference) > 0, 0.0, np.nan)
    recall = _divide(n_correct, n_reference)
    f_score = _divide(2 * np.asarray(n_correct), n_reference + n_estimated)
    rates = {
        "precision": _divide(n_correct, n_estimated, undefined),
        "recall": recall,
        "f_score": np.where(np.isnan(recall), np.nan, f_score),
    }
    if errors is not None:
        parts = [_divide(count, n_reference) for count in errors]
        rates |= dict(zip(ERROR_RATES, [parts[0] + parts[1] + parts[2], *parts], strict=True))
    return rates


def class_rates(n_reference: np.ndarray, n_estimated: np.ndarray, n_correct: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rates of each class, classes on the last axis; 0/0 is NaN.

    One class alone has no substitutions: its errors are deletions and insertions.
    """
    precision, recall = _divide(n_correct, n_estimated), _divide(n_correct, n_reference)
    f_score = _divide(2 * n_correct, n_reference + n_estimated)
    deletion, insertion = _divide(n_reference - n_correct, n_reference), _divide(n_estimated - n_correct, n_reference)
    return {
        "precision": precision,
        "recall": recall,
        "f_score": np.where(np.isnan(precision) | np.isnan(recall), np.nan, f_score),
        "error_rate": deletion + insertion,
        "deletion_rate": deletion,
        "insertion_rate": insertion,
    }


@dataclass(frozen=True)
class ClassMetrics:
    """Counts of one class, and its rates as fractions; NaN where 0/0."""

    n_reference: int
    n_estimated: int
    n_correct: int
    precision: float
    recall: float
    f_score: float
    error_rate: float = math.nan
    deletion_rate: float = math.nan
    insertion_rate: float = math.nan


def class_rows(counts: Counts, classes: Sequence[str]) -> dict[str, ClassMetrics]:
    """Return the counts and rates of every class, by label."""
    sums = [array.sum(axis=0) for array in (counts.n_reference, counts.n_estimated, counts.n_correct)]
    rates = class_rates(*sums)
    return {
        label: ClassMetrics(
            int(sums[0][index]), int(sums[1][index]), int(sums[2][index]),
            **{name: float(values[index]) for name, values in rates.items()},
        )
        for index, label in enumerate(classes)
    }  # fmt: skip


def class_average(rows: Mapping[str, ClassMetrics], names: Sequence[str]) -> tuple[dict[str, float], dict[str, int]]:
    """Return the mean over the classes for which a rate is defined, and the number of the other classes."""
    average, undefined = {}, {}
    for name in names:
        values = np.array([getattr(row, name) for row in rows.values()], dtype=float)
        defined = values[~np.isnan(values)]
        average[name] = float(defined.mean()) if len(defined) else math.nan
        undefined[name] = len(values) - len(defined)
    return average, undefined


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: NaN and infinity become None, NumPy numbers plain ones."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of tagging, as fractions; `class_average` skips the classes counted in `n_undefined`."""

    n_clips: int
    n_reference: int
    n_estimated: int
    n_correct: int
    precision: float
    recall: float
    f_score: float
    class_wise: dict[str, ClassMetrics]
    class_average: dict[str, float]
    n_undefined: dict[str, int]

    @classmethod
    def from_counts(cls, counts: Counts, classes: Sequence[str], **settings: Any) -> Self:
        """Compute the metrics of counts; `settings` are the fields that a subclass adds."""
        n_reference, n_estimated, n_correct = (
            int(array.sum()) for array in (counts.n_reference, counts.n_estimated, counts.n_correct)
        )
        names: tuple[str, ...] = RATES
        errors = None
        if counts.errors is not None:
            substitutions, deletions, insertions = (int(array.sum()) for array in counts.errors)
            errors = (substitutions, deletions, insertions)
            settings |= {"n_substitutions": substitutions, "n_deletions": deletions, "n_insertions": insertions}
            names += CLASS_ERROR_RATES
        rates = overall_rates(n_reference, n_estimated, n_correct, errors)
        rows = class_rows(counts, classes)
        average, undefined = class_average(rows, names)
        return cls(
            n_clips=counts.n_clips,
            n_reference=n_reference,
            n_estimated=n_estimated,
            n_correct=n_correct,
            **{name: float(value) for name, value in rates.items()},
            class_wise=rows,
            class_average=average,
            n_undefined=undefined,
            **settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; undefined values are None."""
        return plain(asdict(self))


@dataclass(frozen=True, kw_only=True)
class DetectionMetrics(Metrics):
    """Metrics of detection: those of tagging, and the error rate with its substitutions, deletions and insertions."""

    n_substitutions: int
    n_deletions: int
    n_insertions: int
    error_rate: float
    substitution_rate: float
    deletion_rate: float
    insertion_rate: float


@dataclass(frozen=True, kw_only=True)
class SegmentMetrics(DetectionMetrics):
    """Segment-based metrics and the length of the segments."""

    segment_seconds: float


@dataclass(frozen=True, kw_only=True)
class EventMetrics(DetectionMetrics):
    """Event-based metrics and their collars."""

    collar_seconds: float
    offset_fraction: float
    onset_only: bool
