"""Tagging metrics: precision, recall and F of clip-level tags, micro averaged as by the task's organizers.

Micro averaging counts every (clip, class) pair once; class-wise rates and their average come with it. A tag that a
clip carries twice counts once. See `crnn_weak.metrics.counting` for 0/0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from crnn_weak.errors import DataError, LabelError
from crnn_weak.labels.classes import tag_array
from crnn_weak.metrics.counting import Counts, Metrics, check_clips

__all__ = ["count_tags", "tag_arrays", "tagging_counts", "tagging_metrics"]

Tags = Mapping[str, Iterable[str]]


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


def tag_arrays(
    reference: Tags, estimated: Tags, *, classes: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return the reference's clips and two boolean arrays of shape (n_clips, n_classes); see `tagging_metrics`."""
    clip_ids = check_clips(reference, estimated)
    arrays = []
    for tags, where in ((reference, "reference"), (estimated, "estimate")):
        try:
            arrays.append(tag_array([tags.get(clip, ()) for clip in clip_ids], classes))
        except LabelError as error:
            raise LabelError(f"{where}: {error}") from None
    return clip_ids, arrays[0], arrays[1]


def count_tags(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> tuple[tuple[str, ...], Counts]:
    """Return the reference's clips and the counts of each; see `tagging_metrics`."""
    clip_ids, true, found = tag_arrays(reference, estimated, classes=classes)
    return clip_ids, tagging_counts(true, found)


def tagging_metrics(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> Metrics:
    """Score clip-level tags, counted with NumPy.

    Parameters
    ----------
    reference, estimated : mapping of clip id to iterable of str
        The reference's clips are scored; those that the estimate lacks count as untagged.
    classes : sequence of str

    Raises
    ------
    ClipError, LabelError, DataError
        A clip only in the estimate, a label that is not in `classes`, an empty reference.

    See Also
    --------
    crnn_weak.metrics.official.official_tagging_metrics : The same metrics, by scikit-learn.

    Examples
    --------
    >>> tagging_metrics({"a": ["Car"], "b": ["Bus"]}, {"a": ["Car", "Bus"]}, classes=["Car", "Bus"]).f_score
    0.5
    """
    _, counts = count_tags(reference, estimated, classes=classes)
    return Metrics.from_counts(counts, classes)
