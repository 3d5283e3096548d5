"""Counts per clip and class, and the rates computed from them.

* All rates are fractions, not percent. The reference defines the clips: a clip that the estimate lacks counts as
  empty, and a clip that only the estimate has is an error.
* Overall values are micro averages: counts are summed over clips and classes first. Class averages are means over the
  classes for which a value is defined; `Metrics.n_undefined` counts the others.

Edge cases (0/0), for overall values and for each class:

=====================  ====================================================================================
case                   result
=====================  ====================================================================================
nothing estimated      precision and F are 0, as in scikit-learn (sed_eval: NaN)
nothing in reference   recall, F and error rate are NaN (sed_eval divides the error rate by 2e-16); precision
                       is 0, or NaN where nothing is estimated either
=====================  ====================================================================================

Reference: Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6(6):162, 2016.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crnn_weak.errors import ClipError, DataError, nearest_names
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import EventTable, event_table

COUNTS = ("n_reference", "n_estimated", "n_correct")
ERROR_COUNTS = ("n_substitutions", "n_deletions", "n_insertions")
#: Rates of every output; of detection; of one class in detection, which has no substitutions.
RATES = ("precision", "recall", "f_score")
ERROR_RATES = ("error_rate", "substitution_rate", "deletion_rate", "insertion_rate")
CLASS_ERROR_RATES = ("error_rate", "deletion_rate", "insertion_rate")


def check_clips(reference: Iterable[str], estimated: Iterable[str]) -> tuple[str, ...]:
    """Return the reference's clips in their order; refuse an empty reference and clips that it lacks."""
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


def event_tables(
    reference: Events, estimated: Events, classes: Sequence[str]
) -> tuple[tuple[str, ...], EventTable, EventTable]:
    """Return the reference's clips and both lists as arrays; refuse foreign clips and labels."""
    clip_ids = check_clips(reference, estimated)
    tables = [
        event_table(events, clip_ids=clip_ids, classes=classes, where=where)
        for events, where in ((reference, "reference"), (estimated, "estimate"))
    ]
    return clip_ids, tables[0], tables[1]


def check_lengths(**seconds: float | None) -> None:
    """Refuse a length that is not a finite number above 0; None passes."""
    for name, value in seconds.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise DataError(f"{name} = {value!r}: expected seconds above 0.")


@dataclass(frozen=True)
class Counts:
    """Counts of each clip; every rate and every confidence interval follows from them.

    The first three are int arrays of shape (n_clips, n_classes): active segments, events or tags. `errors` holds the
    substitutions, deletions and insertions of detection, each of shape (n_clips,); tagging has none.
    """

    n_reference: np.ndarray
    n_estimated: np.ndarray
    n_correct: np.ndarray
    errors: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def n_clips(self) -> int:
        """Number of clips."""
        return len(self.n_reference)

    @classmethod
    def concatenate(cls, parts: Sequence[Counts]) -> Counts:
        """Return the counts of all parts, clip after clip."""
        n_reference, n_estimated, n_correct = (
            np.concatenate([getattr(part, name) for part in parts]) for name in COUNTS
        )
        joined = cls(n_reference, n_estimated, n_correct)
        errors = [part.errors for part in parts if part.errors is not None]
        if not errors:
            return joined
        first, second, third = (np.concatenate(arrays) for arrays in zip(*errors, strict=True))
        return dataclasses.replace(joined, errors=(first, second, third))


def _divide(numerator: Any, denominator: Any, empty: Any = np.nan) -> np.ndarray:
    """Return the quotient as floats, and `empty` where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    result = np.array(np.broadcast_to(empty, np.broadcast_shapes(numerator.shape, denominator.shape)), dtype=float)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def rates(
    n_reference: Any, n_estimated: Any, n_correct: Any, errors: tuple[Any, Any, Any] | None = None
) -> dict[str, np.ndarray]:
    """Return the rates of summed counts, elementwise; `errors` are substitutions, deletions and insertions.

    >>> {name: float(rate) for name, rate in rates(4, 2, 1).items()}
    {'precision': 0.5, 'recall': 0.25, 'f_score': 0.3333333333333333}
    """
    undefined = np.where(np.asarray(n_reference) > 0, 0.0, np.nan)
    found = {
        "precision": _divide(n_correct, n_estimated, empty=undefined),
        "recall": _divide(n_correct, n_reference),
        "f_score": _divide(2 * np.asarray(n_correct), n_reference + n_estimated) + undefined,
    }
    if errors is not None:
        substitutions, deletions, insertions = (_divide(count, n_reference) for count in errors)
        total = substitutions + deletions + insertions
        found |= dict(zip(ERROR_RATES, (total, substitutions, deletions, insertions), strict=True))
    return found


def class_rates(
    n_reference: np.ndarray, n_estimated: np.ndarray, n_correct: np.ndarray, *, is_detection: bool
) -> dict[str, np.ndarray]:
    """Return the rates of each class, classes on the last axis. One class alone has no substitutions."""
    if not is_detection:
        return rates(n_reference, n_estimated, n_correct)
    errors = (np.zeros_like(n_reference), n_reference - n_correct, n_estimated - n_correct)
    found = rates(n_reference, n_estimated, n_correct, errors)
    return {name: found[name] for name in (*RATES, *CLASS_ERROR_RATES)}


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
    """Metrics of one output, as fractions.

    `class_wise` holds counts and rates of each class by name, `class_average` the mean of each rate over the classes
    where it is defined, `n_undefined` the number of the other classes, `settings` the length of the segments or the
    collars. Tags have no errors: their counts are None, their rates NaN.
    """

    n_clips: int
    n_reference: int
    n_estimated: int
    n_correct: int
    precision: float
    recall: float
    f_score: float
    class_wise: dict[str, dict[str, float]]
    class_average: dict[str, float]
    n_undefined: dict[str, int]
    n_substitutions: int | None = None
    n_deletions: int | None = None
    n_insertions: int | None = None
    error_rate: float = math.nan
    substitution_rate: float = math.nan
    deletion_rate: float = math.nan
    insertion_rate: float = math.nan
    settings: dict[str, float | bool] = field(default_factory=dict)

    @classmethod
    def of_counts(cls, counts: Counts, classes: Sequence[str], **settings: float | bool) -> Metrics:
        """Compute the metrics of counts."""
        sums = [array.sum(axis=0) for array in (counts.n_reference, counts.n_estimated, counts.n_correct)]
        overall: dict[str, Any] = {name: int(array.sum()) for name, array in zip(COUNTS, sums, strict=True)}
        errors: Any = None if counts.errors is None else tuple(int(array.sum()) for array in counts.errors)
        found = rates(overall["n_reference"], overall["n_estimated"], overall["n_correct"], errors)
        overall |= dict(zip(ERROR_COUNTS, errors or (), strict=False))
        overall |= {name: float(value) for name, value in found.items()}
        by_class = dict(zip(COUNTS, sums, strict=True)) | class_rates(*sums, is_detection=errors is not None)
        columns = {name: values.tolist() for name, values in by_class.items()}
        rows = {label: {name: values[index] for name, values in columns.items()} for index, label in enumerate(classes)}
        return cls.of_values(counts.n_clips, overall, rows, **settings)

    @classmethod
    def of_values(
        cls, n_clips: int, overall: Mapping[str, Any], rows: dict[str, dict[str, float]], **settings: float | bool
    ) -> Metrics:
        """Add the class averages to overall counts and rates and to the rows of the classes."""
        average, n_undefined = {}, {}
        for name in RATES + (CLASS_ERROR_RATES if "error_rate" in overall else ()):
            values = np.array([row[name] for row in rows.values()], dtype=float)
            defined = values[~np.isnan(values)]
            average[name] = float(defined.mean()) if len(defined) else math.nan
            n_undefined[name] = len(values) - len(defined)
        return cls(
            n_clips=n_clips, **overall, class_wise=rows, class_average=average, n_undefined=n_undefined,
            settings=settings,
        )  # fmt: skip

    @property
    def is_detection(self) -> bool:
        """True if there are error rates."""
        return self.n_substitutions is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; undefined values are None."""
        content = dataclasses.asdict(self)
        settings = content.pop("settings")
        if not self.is_detection:
            for name in (*ERROR_COUNTS, *ERROR_RATES):
                del content[name]
        return plain(content | settings)
