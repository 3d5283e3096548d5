"""Tagging metrics: precision, recall and F of clip-level tags, micro averaged as the task's organisers do.

Micro averaging counts every (clip, class) pair once; class-wise figures and their average stand beside it. A tag
that a clip carries twice counts once. See `crnn_weak.metrics.counting` for 0/0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crnn_weak.errors import DataError, LabelError
from crnn_weak.labels.classes import tag_array
from crnn_weak.metrics.counting import (
    OVERALL,
    ClassFigures,
    Counts,
    check_clips,
    class_average,
    class_rows,
    overall_figures,
    plain,
)

__all__ = ["TaggingMetrics", "count_tags", "tagging_counts", "tagging_metrics"]

Tags = Mapping[str, Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class TaggingMetrics:
    """Figures of tagging, as fractions; `class_average` leaves out the classes counted in `n_undefined`."""

    n_clips: int
    n_reference: int
    n_estimated: int
    n_correct: int
    precision: float
    recall: float
    f_score: float
    class_wise: dict[str, ClassFigures]
    class_average: dict[str, float]
    n_undefined: dict[str, int]

    @classmethod
    def from_counts(cls, counts: Counts, classes: Sequence[str]) -> TaggingMetrics:
        """Make the figures of counts."""
        sums = [int(array.sum()) for array in (counts.n_reference, counts.n_estimated, counts.n_correct)]
        rows = class_rows(counts, classes)
        average, undefined = class_average(rows, OVERALL)
        return cls(
            n_clips=counts.n_clips,
            n_reference=sums[0],
            n_estimated=sums[1],
            n_correct=sums[2],
            **{name: float(value) for name, value in overall_figures(sums[0], sums[1], sums[2]).items()},
            class_wise=rows,
            class_average=average,
            n_undefined=undefined,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is undefined is None."""
        return plain(asdict(self))


def tagging_counts(reference: np.ndarray, estimated: np.ndarray) -> Counts:
    """Count tags.

    Parameters
    ----------
    reference, estimated : np.ndarray of bool, shape (n_clips, n_classes)
    """
    reference, estimated = np.asarray(reference, dtype=bool), np.asarray(estimated, dtype=bool)
    if reference.ndim != 2 or reference.shape != estimated.shape:
        raise DataError(
            f"tags: expected two arrays of one shape (clips, classes), received {reference.shape} "
            f"and {estimated.shape}."
        )
    return Counts(reference.astype(np.int64), estimated.astype(np.int64), (reference & estimated).astype(np.int64))


def count_tags(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> tuple[tuple[str, ...], Counts]:
    """Return the reference's clips and the counts of each; see `tagging_metrics`."""
    clip_ids = check_clips(reference, estimated)
    arrays = []
    for tags, where in ((reference, "reference"), (estimated, "estimate")):
        try:
            arrays.append(tag_array([tags.get(clip, ()) for clip in clip_ids], classes))
        except LabelError as error:
            raise LabelError(f"{where}: {error}") from None
    return clip_ids, tagging_counts(*arrays)


def tagging_metrics(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> TaggingMetrics:
    """Score clip-level tags.

    Parameters
    ----------
    reference, estimated : mapping of clip id to iterable of str
        The reference's clips are scored; those that the estimate lacks count as untagged.
    classes : sequence of str

    Raises
    ------
    ClipError, LabelError, DataError
        A clip only in the estimate, a label that is not in `classes`, an empty reference.

    Examples
    --------
    >>> tagging_metrics({"a": ["Car"], "b": ["Bus"]}, {"a": ["Car", "Bus"]}, classes=["Car", "Bus"]).f_score
    0.5
    """
    _, counts = count_tags(reference, estimated, classes=classes)
    return TaggingMetrics.from_counts(counts, classes)
