"""Tagging metrics: precision, recall and F of clip-level tags, micro averaged as by the task's organizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from crnn_weak.errors import DataError, LabelError
from crnn_weak.labels.events import tag_array
from crnn_weak.metrics.counting import Counts, Metrics, check_clips

Tags = Mapping[str, Iterable[str]]


def tagging_counts(reference: np.ndarray, estimated: np.ndarray) -> Counts:
    """Count tags in two boolean arrays of shape (n_clips, n_classes)."""
    reference, estimated = np.asarray(reference, dtype=bool), np.asarray(estimated, dtype=bool)
    if reference.ndim != 2 or reference.shape != estimated.shape:
        raise DataError(
            f"tags: expected two arrays of one shape (clips, classes), received {reference.shape} "
            f"and {estimated.shape}."
        )
    return Counts(reference.astype(np.int64), estimated.astype(np.int64), (reference & estimated).astype(np.int64))


def tag_arrays(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return two boolean arrays of shape (n_clips, n_classes), in the order of the reference's clips."""
    clip_ids = check_clips(reference, estimated)
    arrays = []
    for tags, where in ((reference, "reference"), (estimated, "estimate")):
        try:
            arrays.append(tag_array([tags.get(clip, ()) for clip in clip_ids], classes))
        except LabelError as error:
            raise LabelError(f"{where}: {error}") from None
    return arrays[0], arrays[1]


def count_tags(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> Counts:
    """Count the tags of each clip; see `tagging_metrics` for the parameters."""
    return tagging_counts(*tag_arrays(reference, estimated, classes=classes))


def tagging_metrics(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> Metrics:
    """Score clip-level tags, counted with NumPy.

    Micro averages count every (clip, class) pair once; a tag that a clip carries twice counts once. See
    `crnn_weak.metrics.counting` for 0/0.

    Parameters
    ----------
    reference, estimated : mapping of clip id to iterable of str
        The reference's clips are scored; those that the estimate lacks count as untagged.
    classes : sequence of str

    Returns
    -------
    Metrics

    Raises
    ------
    ClipError, LabelError, DataError
        A clip only in the estimate, a label that is not in `classes`, an empty reference.

    See Also
    --------
    crnn_weak.metrics.sed_eval.reported_tagging_metrics : The same metrics, by scikit-learn.

    Examples
    --------
    >>> tagging_metrics({"a": ["Car"], "b": ["Bus"]}, {"a": ["Car", "Bus"]}, classes=["Car", "Bus"]).f_score
    0.5
    """
    return Metrics.of_counts(count_tags(reference, estimated, classes=classes), classes)
