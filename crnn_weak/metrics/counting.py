"""Counts per clip and class, and the figures made of them: the one definition behind every metric here.

Conventions
-----------
* All rates are fractions, not percent. The reference's clips are the universe; a clip that the estimate lacks counts
  as empty, a clip that only the estimate has is an error.
* *Overall* figures are micro averages: counts are summed over clips and classes first. *Class averages* are means
  over the classes whose figure is defined; how many are not is given beside them.

What 0/0 means
--------------
sed_eval is followed where it defines a value; the rest is stated here:

==================  =====================  ==========================================================
figure              case                   value
==================  =====================  ==========================================================
overall precision   nothing estimated      0 (sed_eval: NaN, or 0 with its option ``zero_score``)
overall F           nothing estimated      0 (the same)
any figure          nothing in reference   NaN: recall, F and error rate have no denominator (sed_eval
                                           divides the error rate by 2e-16 there)
class precision, F  class not estimated    NaN, as sed_eval
==================  =====================  ==========================================================

References
----------
Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6(6):162, 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crnn_weak.errors import ClipError, DataError, nearest_names

__all__ = [
    "ClassFigures",
    "Counts",
    "DetectionMetrics",
    "check_clips",
    "check_lengths",
    "class_figures",
    "overall_figures",
    "plain",
]

OVERALL = ("precision", "recall", "f_score")
CLASS_FIGURES = ("precision", "recall", "f_score", "error_rate", "deletion_rate", "insertion_rate")
RATES = ("error_rate", "substitution_rate", "deletion_rate", "insertion_rate")


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
    """What was counted in each clip; every figure and every confidence interval follows from it.

    Attributes
    ----------
    n_reference, n_estimated, n_correct : np.ndarray of int, shape (n_clips, n_classes)
        Active segments, events or tags.
    substitutions, deletions, insertions : np.ndarray of int, shape (n_clips,), or None
        Of detection; tagging has none.
    """

    n_reference: np.ndarray
    n_estimated: np.ndarray
    n_correct: np.ndarray
    substitutions: np.ndarray | None = None
    deletions: np.ndarray | None = None
    insertions: np.ndarray | None = None

    @property
    def n_clips(self) -> int:
        """Clips that were counted."""
        return int(self.n_reference.shape[0])

    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return substitutions, deletions, insertions; a DataError for counts of tags."""
        if self.substitutions is None or self.deletions is None or self.insertions is None:
            raise DataError("these counts are of tags: they hold no substitutions, deletions and insertions.")
        return self.substitutions, self.deletions, self.insertions


def _divide(numerator: Any, denominator: Any, empty: Any = np.nan) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    result = np.array(np.broadcast_to(np.asarray(empty, dtype=float), shape))
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def overall_figures(
    n_reference: Any, n_estimated: Any, n_correct: Any, errors: tuple[Any, Any, Any] | None = None
) -> dict[str, np.ndarray]:
    """Return the micro-averaged figures of sums of counts; arrays give arrays.

    Parameters
    ----------
    n_reference, n_estimated, n_correct : int or array of int
    errors : (substitutions, deletions, insertions), optional

    Returns
    -------
    dict of str to np.ndarray of float
        ``precision, recall, f_score`` and, with `errors`, the four rates.

    Examples
    --------
    >>> float(overall_figures(4, 0, 0)["f_score"])
    0.0
    """
    undefined = np.where(np.asarray(n_reference) > 0, 0.0, np.nan)
    recall = _divide(n_correct, n_reference)
    figures = {
        "precision": _divide(n_correct, n_estimated, undefined),
        "recall": recall,
        "f_score": np.where(np.isnan(recall), np.nan, _divide(2 * np.asarray(n_correct), n_reference + n_estimated)),
    }
    if errors is not None:
        substitution, deletion, insertion = (_divide(count, n_reference) for count in errors)
        figures["error_rate"] = substitution + deletion + insertion
        figures |= {"substitution_rate": substitution, "deletion_rate": deletion, "insertion_rate": insertion}
    return figures


def class_figures(n_reference: np.ndarray, n_estimated: np.ndarray, n_correct: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of each class, the last axis being classes; 0/0 is NaN.

    A class alone has no substitutions: what is wrong is deleted or inserted.
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
class ClassFigures:
    """One class: counts, and rates as fractions; NaN where 0/0."""

    n_reference: int
    n_estimated: int
    n_correct: int
    precision: float
    recall: float
    f_score: float
    error_rate: float = math.nan
    deletion_rate: float = math.nan
    insertion_rate: float = math.nan


def class_rows(counts: Counts, classes: Sequence[str]) -> dict[str, ClassFigures]:
    """Return every class's counts and figures, by label."""
    sums = [array.sum(axis=0) for array in (counts.n_reference, counts.n_estimated, counts.n_correct)]
    figures = class_figures(*sums)
    rows = {}
    for index, label in enumerate(classes):
        rates = [float(figures[name][index]) for name in CLASS_FIGURES]
        rows[label] = ClassFigures(int(sums[0][index]), int(sums[1][index]), int(sums[2][index]), *rates)
    return rows


def class_average(rows: Mapping[str, ClassFigures], names: Sequence[str]) -> tuple[dict[str, float], dict[str, int]]:
    """Return the mean over the classes where a figure is defined, and the number of those where it is not."""
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
class DetectionMetrics:
    """Figures of detection, as fractions; `class_average` leaves out the classes counted in `n_undefined`."""

    n_clips: int
    n_reference: int
    n_estimated: int
    n_correct: int
    n_substitutions: int
    n_deletions: int
    n_insertions: int
    precision: float
    recall: float
    f_score: float
    error_rate: float
    substitution_rate: float
    deletion_rate: float
    insertion_rate: float
    class_wise: dict[str, ClassFigures]
    class_average: dict[str, float]
    n_undefined: dict[str, int]

    @classmethod
    def from_counts(cls, counts: Counts, classes: Sequence[str], **settings: Any) -> Any:
        """Make the figures of counts; `settings` are the fields that a subclass adds."""
        sums = [int(array.sum()) for array in (counts.n_reference, counts.n_estimated, counts.n_correct)]
        errors = [int(array.sum()) for array in counts.errors()]
        figures = overall_figures(sums[0], sums[1], sums[2], errors=(errors[0], errors[1], errors[2]))
        rows = class_rows(counts, classes)
        average, undefined = class_average(rows, CLASS_FIGURES)
        return cls(
            n_clips=counts.n_clips,
            n_reference=sums[0],
            n_estimated=sums[1],
            n_correct=sums[2],
            n_substitutions=errors[0],
            n_deletions=errors[1],
            n_insertions=errors[2],
            **{name: float(value) for name, value in figures.items()},
            class_wise=rows,
            class_average=average,
            n_undefined=undefined,
            **settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is undefined is None."""
        return plain(asdict(self))
