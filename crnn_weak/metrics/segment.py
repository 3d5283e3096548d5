"""Segment-based detection metrics: error rate and F on segments of fixed length (1 s in the task).

Equal to ``sed_eval.sound_event.SegmentBasedMetrics``, counted for all clips at once. In each segment, over the
classes, with ``N_ref`` active classes in the reference, ``N_est`` in the estimate and ``N_correct`` in both::

    S = min(N_ref, N_est) - N_correct     D = max(0, N_ref - N_est)     I = max(0, N_est - N_ref)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import EventTable, n_segments, table_roll
from crnn_weak.metrics.counting import Counts, Metrics, check_lengths, event_tables

# Values of the rolls in memory at a time: long recordings are counted in blocks of clips.
_BLOCK = 50_000_000


def segment_counts(reference_roll: np.ndarray, estimated_roll: np.ndarray) -> Counts:
    """Count active segments in two boolean rolls of shape (n_clips, n_segments, n_classes).

    >>> reference = np.array([[[1, 1], [1, 0]]], bool)
    >>> estimated = np.array([[[1, 0], [0, 1]]], bool)
    >>> [int(array[0]) for array in segment_counts(reference, estimated).errors]
    [1, 1, 0]
    """
    reference, estimated = np.asarray(reference_roll, dtype=bool), np.asarray(estimated_roll, dtype=bool)
    if reference.ndim != 3 or reference.shape != estimated.shape:
        raise DataError(
            f"rolls: expected two of one shape (clips, segments, classes), received {reference.shape} "
            f"and {estimated.shape}."
        )
    rolls = (reference, estimated, reference & estimated)
    by_class = [_active(roll, axis=1) for roll in rolls]
    n_reference, n_estimated, n_correct = (_active(roll, axis=2) for roll in rolls)
    errors = (
        (np.minimum(n_reference, n_estimated) - n_correct).sum(axis=1),
        np.maximum(0, n_reference - n_estimated).sum(axis=1),
        np.maximum(0, n_estimated - n_reference).sum(axis=1),
    )
    return Counts(by_class[0], by_class[1], by_class[2], errors)


def _active(roll: np.ndarray, axis: int) -> np.ndarray:
    """Return the number of True along an axis, summed as bytes (much faster) where they cannot overflow."""
    kind = np.uint8 if roll.shape[axis] < 256 else np.int32
    return roll.view(np.uint8).sum(axis=axis, dtype=kind).astype(np.int64)


def count_segments(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = 10.0,
    segment_seconds: float = 1.0,
) -> Counts:
    """Count the segments of two event lists; see `segment_metrics` for the parameters."""
    check_lengths(clip_seconds=clip_seconds, segment_seconds=segment_seconds)
    clip_ids, *tables = event_tables(reference, estimated, classes)
    length = max(float(table.offset.max(initial=0.0)) for table in tables) if clip_seconds is None else clip_seconds
    shape = {"n_segments": n_segments(length, segment_seconds), "n_classes": len(classes)}
    block = max(1, _BLOCK // max(1, shape["n_segments"] * len(classes)))
    parts = []
    for start in range(0, len(clip_ids), block):
        stop = min(start + block, len(clip_ids))
        rolls = []
        for table in tables:
            rows = slice(*np.searchsorted(table.clip, (start, stop)))
            part = EventTable(table.clip[rows] - start, *(column[rows] for column in table[1:]))
            rolls.append(table_roll(part, segment_seconds, n_clips=stop - start, **shape))
        parts.append(segment_counts(*rolls))
    return Counts.concatenate(parts)


def segment_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = 10.0,
    segment_seconds: float = 1.0,
) -> Metrics:
    """Score event lists on segments, counted with NumPy.

    Edge cases follow sed_eval: an event of length 0 on a segment boundary (the organizers' ``0 0`` rows) marks
    nothing, and overlapping events of one class count once. See `crnn_weak.metrics.counting` for 0/0.

    Parameters
    ----------
    reference, estimated : mapping of clip id to sequence of Event
        The reference's clips are scored; those that the estimate lacks count as empty.
    classes : sequence of str
    clip_seconds : float > 0 or None
        What lies beyond is cut off; None takes each clip as long as its last offset.
    segment_seconds : float > 0

    Returns
    -------
    Metrics

    Raises
    ------
    ClipError, LabelError, DataError
        A clip only in the estimate, a label that is not in `classes`, an empty reference, a length of 0 or less.

    See Also
    --------
    crnn_weak.metrics.sed_eval.reported_segment_metrics : The same metrics, by sed_eval.

    Examples
    --------
    >>> from crnn_weak.labels.events import Event
    >>> reference = {"a": [Event(0.0, 4.0, "Car")]}
    >>> metrics = segment_metrics(reference, {"a": [Event(1.0, 5.0, "Car")]}, classes=["Car"])
    >>> metrics.f_score, metrics.error_rate
    (0.75, 0.5)
    """
    counts = count_segments(
        reference, estimated, classes=classes, clip_seconds=clip_seconds, segment_seconds=segment_seconds
    )
    return Metrics.of_counts(counts, classes, segment_seconds=segment_seconds)
