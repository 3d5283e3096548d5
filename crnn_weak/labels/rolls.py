"""Rolls, boolean arrays of where each class is active, and their runs, maximal stretches ``[first, last)`` of frames.

Frame ``k`` covers ``[k * hop, (k + 1) * hop)`` seconds. Segments follow sed_eval: an onset is floored and an offset
ceiled without tolerance; a zero-length row marks its segment, or nothing if it is on a boundary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.labels.events import Event, Events, class_indices

_MOST_SEGMENTS = 10_000_000  # a hundred days in segments of one second
_SLACK = 1e-6  # event times have three to six decimals; a quotient this close to an integer is that integer


def frame_edges(onset: float, offset: float, hop_seconds: float) -> tuple[int, int]:
    """Return the frames ``[first, last)`` that overlap ``[onset, offset)`` seconds; none for a zero-length event."""
    first = math.floor(onset / hop_seconds + _SLACK)
    return first, math.ceil(offset / hop_seconds - _SLACK) if offset > onset else first


def frame_times(n_frames: int, hop_seconds: float) -> np.ndarray:
    """Return when frames begin, and when the last one ends: float64 seconds, shape (n_frames + 1,), to microseconds."""
    return np.round(np.arange(n_frames + 1) * hop_seconds, 6)


class EventTable(NamedTuple):
    """Events of many clips as arrays, one row per event, in the order of the lists."""

    clip: np.ndarray  #: int, index into the clip list
    label: np.ndarray  #: int, index into the class list
    onset: np.ndarray  #: float64, seconds
    offset: np.ndarray  #: float64, seconds


def event_table(events: Events, *, clip_ids: Sequence[str], classes: Sequence[str], where: str) -> EventTable:
    """Flatten the event lists of clips into arrays; `where` names the list where a label is not in `classes`."""
    rows = [events.get(clip_id, ()) for clip_id in clip_ids]
    flat = [event for clip_events in rows for event in clip_events]
    label = class_indices([event.label for event in flat], classes, where=where)
    return EventTable(
        np.repeat(np.arange(len(rows)), [len(clip_events) for clip_events in rows]),
        np.array(label, dtype=np.int64),
        np.array([event.onset for event in flat], dtype=np.float64),
        np.array([event.offset for event in flat], dtype=np.float64),
    )


def event_roll(events: Iterable[Event], classes: Sequence[str], *, hop_seconds: float, n_frames: int) -> np.ndarray:
    """Mark the frames of one clip that each class overlaps, cut off at its end: bool, (n_frames, n_classes)."""
    roll = np.zeros((n_frames, len(classes)), dtype=bool)
    events = list(events)
    for event, column in zip(events, class_indices([e.label for e in events], classes), strict=True):
        first, last = frame_edges(event.onset, event.offset, hop_seconds)
        roll[first:last, column] = True
    return roll


def roll_runs(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the runs of True in each row of a roll (n_rows, n_frames), sorted: arrays of rows, first, last."""
    n_rows, n_frames = roll.shape
    line = np.zeros(n_rows * (n_frames + 1) + 1, dtype=bool)  # all rows in one line, an inactive frame before each
    line[:-1].reshape(n_rows, n_frames + 1)[:, 1:] = roll
    edges = np.flatnonzero(line[1:] != line[:-1])
    first, last = edges[0::2], edges[1::2]
    rows = first // (n_frames + 1)
    begin = rows * (n_frames + 1)
    return rows, first - begin, last - begin


def runs_roll(rows: np.ndarray, first: np.ndarray, last: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the roll, of the given (n_rows, n_frames), of runs that may overlap; the inverse of `roll_runs`."""
    n_rows, n_frames = shape
    begin = rows * (n_frames + 1)
    # Starts minus ends, summed over one line of all rows: every run ends within its row.
    steps = np.zeros(n_rows * (n_frames + 1), dtype=np.int32)
    np.add.at(steps, begin + np.minimum(first, n_frames), 1)
    np.add.at(steps, begin + np.minimum(last, n_frames), -1)
    return (np.cumsum(steps, out=steps) > 0).reshape(n_rows, n_frames + 1)[:, :-1]


def n_segments(clip_seconds: float, segment_seconds: float) -> int:
    """Return the number of evaluation segments that a clip touches."""
    count = clip_seconds / segment_seconds
    if not count <= _MOST_SEGMENTS:
        raise DataError(
            f"{clip_seconds:g} s in segments of {segment_seconds:g} s: expected at most {_MOST_SEGMENTS:,} segments. "
            "Are the times seconds from the start of the recording?"
        )
    return math.ceil(count)


def segment_edges(onset: np.ndarray, offset: np.ndarray, segment_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments ``[first, last)`` that each event touches."""
    return np.floor(onset / segment_seconds).astype(np.int64), np.ceil(offset / segment_seconds).astype(np.int64)


def table_roll(
    table: EventTable, segment_seconds: float, *, n_clips: int, n_segments: int, n_classes: int
) -> np.ndarray:
    """Mark the segments that each class touches, shape (n_clips, n_segments, n_classes)."""
    first, last = segment_edges(table.onset, table.offset, segment_seconds)
    roll = runs_roll(table.clip * n_classes + table.label, first, last, (n_clips * n_classes, n_segments))
    return np.ascontiguousarray(np.moveaxis(roll.reshape(n_clips, n_classes, n_segments), 2, 1))


def segment_roll(
    events: Events, *, clip_ids: Sequence[str], classes: Sequence[str], clip_seconds: float, segment_seconds: float
) -> np.ndarray:
    """Mark the segments that each class touches: bool, shape (n_clips, n_segments, n_classes)."""
    table = event_table(events, clip_ids=clip_ids, classes=classes, where="reference")
    count = n_segments(clip_seconds, segment_seconds)
    return table_roll(table, segment_seconds, n_clips=len(clip_ids), n_segments=count, n_classes=len(classes))


def segment_maximum(
    frames: np.ndarray, hop_seconds: float, *, n_segments: int, segment_seconds: float, axis: int = 1
) -> np.ndarray:
    """Return the highest score of each segment, or whether any of its frames is True; 0 or False without frames."""
    frames = np.moveaxis(frames, axis, -1)
    times = frame_times(frames.shape[-1], hop_seconds)  # frames touch segments as in the metric
    first, last = segment_edges(times[:-1], times[1:], segment_seconds)
    segments = np.arange(n_segments)
    begins, ends = np.searchsorted(last, segments, "right"), np.searchsorted(first, segments, "right")
    highest = np.zeros((*frames.shape[:-1], n_segments), dtype=frames.dtype)
    for segment, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        if begin < end:
            frames[..., begin:end].max(axis=-1, out=highest[..., segment])
    return np.moveaxis(highest, -1, axis)
