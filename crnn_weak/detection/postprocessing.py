"""From scores to events and tags.

By default, as in the paper, a frame is active where its score is *above* one threshold, a tag likewise, and nothing is
smoothed. The options, each per class, are applied in this order:

1. median filter over an odd number of frames, zeros beyond the clip (filtering the active frames gives the same, since
   a median and a threshold commute);
2. threshold, or hysteresis: a span above the low threshold is kept whole if it exceeds the threshold somewhere;
3. gaps between two spans that are shorter than a minimum are closed (never at the clip's ends);
4. spans shorter than a minimum are dropped;
5. weak gate: an event stays if the mean of the weak scores over it is above the tag threshold. A clip has one weak
   score; a recording of many windows has a track of them, averaged like the strong scores.

Each step is monotone: a higher threshold never adds an active frame. An event's score is the mean of its frames'.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.operating_point import OperatingPoint, as_operating_point
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import DataError
from crnn_weak.labels.events import Event, tag_names
from crnn_weak.labels.rolls import roll_runs, runs_roll

# Scores that are decoded at once; more would need much memory.
_MAX_SCORES = 30_000_000


class ActiveSpans(NamedTuple):
    """Frames ``[first, last)`` of rows, by row and then by time; arrays of int, shape (n_spans,).

    A row is one class of one clip, classes fastest.
    """

    row: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def select(self, mask: np.ndarray) -> ActiveSpans:
        """Return the spans that a boolean mask selects."""
        return ActiveSpans(self.row[mask], self.first[mask], self.last[mask])

    def close_gaps(self, min_frames: np.ndarray) -> ActiveSpans:
        """Join spans of a row with fewer than `min_frames` frames between them; shape (n_spans,)."""
        is_near = (self.row[1:] == self.row[:-1]) & (self.first[1:] - self.last[:-1] < min_frames[1:])
        begins, ends = np.ones(len(self.row), dtype=bool), np.ones(len(self.row), dtype=bool)
        begins[1:] = ends[:-1] = ~is_near
        return ActiveSpans(self.row[begins], self.first[begins], self.last[ends])

    def means(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean score of each span in [0, 1]; `rows` has shape (n_rows, n_frames)."""
        means = np.zeros(len(self.row))
        starts = np.flatnonzero(np.diff(self.row, prepend=-1)).tolist()
        for begin, end in pairwise([*starts, len(means)]):  # one row after the other, to save memory
            sums = np.zeros(rows.shape[1] + 1)
            np.cumsum(rows[self.row[begin]], dtype=np.float64, out=sums[1:])
            first, last = self.first[begin:end], self.last[begin:end]
            means[begin:end] = (sums[last] - sums[first]) / (last - first)
        return np.clip(means, 0.0, 1.0)


def class_rows(frames: np.ndarray) -> np.ndarray:
    """Return (clips, frames, classes) as rows of frames, one per clip and class, classes fastest."""
    n_clips, n_frames, n_classes = frames.shape
    return np.ascontiguousarray(np.moveaxis(frames, 1, 2)).reshape(n_clips * n_classes, n_frames)


def median_frames(seconds: float, hop_seconds: float) -> int:
    """Return the odd number of frames nearest to a median filter's length; 1 filters nothing.

    >>> median_frames(0.5, 0.1), median_frames(0.0, 0.1)
    (5, 1)
    """
    return 2 * round((seconds / hop_seconds - 1) / 2) + 1 if seconds > hop_seconds else 1


class PostProcessing:
    """The steps of an operating point on rows of frames (`class_rows`), with durations in frames."""

    def __init__(self, point: OperatingPoint, hop_seconds: float) -> None:
        self.point = point
        self.medians = np.array([median_frames(seconds, hop_seconds) for seconds in point.median_seconds])
        self.min_gaps = _min_frames(point.min_gap_seconds, hop_seconds)
        self.min_durations = _min_frames(point.min_duration_seconds, hop_seconds)

    def per_row(self, values: np.ndarray | Sequence[float], n_rows: int) -> np.ndarray:
        """Repeat one value per class for the rows of all clips."""
        return np.tile(np.asarray(values), n_rows // len(self.point.classes))

    def median_filtered(self, rows: np.ndarray) -> np.ndarray:
        """Apply the median filters to rows of integers, zeros beyond the clip, in place; return them."""
        from scipy import ndimage

        medians = self.per_row(self.medians, len(rows))
        for n_filter in np.unique(medians[medians > 1]):
            filtered = np.flatnonzero(medians == n_filter)
            # All rows in one line, zeros between: SciPy's filter of one dimension is far faster than that of two.
            line = np.pad(rows[filtered], ((0, 0), (0, n_filter // 2)))
            smooth = ndimage.median_filter(line.ravel(), size=n_filter, mode="constant", cval=0)
            rows[filtered] = smooth.reshape(line.shape)[:, : rows.shape[1]]
        return rows

    def apply_threshold(self, rows: np.ndarray, thresholds: np.ndarray | Sequence[float]) -> np.ndarray:
        """Return which frames are above their class's threshold, after the median filter (steps 1 and 2)."""
        # Compared in the scores' own precision.
        active = rows > self.per_row(np.asarray(thresholds, dtype=rows.dtype), len(rows))[:, None]
        return self.median_filtered(active.view(np.uint8)).view(bool)

    def apply_hysteresis(self, low: np.ndarray, high: np.ndarray) -> ActiveSpans:
        """Return the spans of frames above the low threshold that exceed the threshold, after steps 3 and 4."""
        spans = ActiveSpans(*roll_runs(low))
        if low is not high:
            n_high = np.zeros((len(high), high.shape[1] + 1), dtype=np.int32)
            np.cumsum(high, axis=1, out=n_high[:, 1:])
            spans = spans.select(n_high[spans.row, spans.last] > n_high[spans.row, spans.first])
        n_classes = len(self.point.classes)
        if self.min_gaps.any():
            spans = spans.close_gaps(self.min_gaps[spans.row % n_classes])
        if self.min_durations.any():
            spans = spans.select(spans.last - spans.first >= self.min_durations[spans.row % n_classes])
        return spans

    def find_spans(self, rows: np.ndarray, weak: np.ndarray | None) -> ActiveSpans:
        """Return the events of rows of strong scores as spans (all steps); `weak` as in `find_events`."""
        point = self.point
        high = low = self.apply_threshold(rows, point.thresholds)
        if any(point.low_thresholds):  # a class without hysteresis has none
            low = self.apply_threshold(rows, np.where(point.low_thresholds, point.low_thresholds, point.thresholds))
        spans = self.apply_hysteresis(low, high)
        if not point.weak_gate:
            return spans
        if weak is None:
            raise DataError("weak_gate is on, but no weak scores were given; turn the gate off.")
        means = np.ravel(weak)[spans.row] if weak.ndim == 2 else spans.means(class_rows(weak))
        limits = np.asarray(point.tag_thresholds, np.float32)[spans.row % len(point.classes)]
        return spans.select(means.astype(np.float32) > limits)


def _min_frames(seconds: Sequence[float], hop_seconds: float) -> np.ndarray:
    """Return the number of frames that a span needs to be no shorter than each duration."""
    return np.ceil(np.asarray(seconds, dtype=float) / hop_seconds - 1e-6).astype(np.int64)


def find_events(
    strong: np.ndarray, point: OperatingPoint, hop_seconds: float, weak: np.ndarray | None = None
) -> list[list[Event]]:
    """Return the events of each clip, by onset, offset and class; `strong` has shape (n_clips, n_frames, n_classes).

    The weak gate needs `weak`: (n_clips, n_classes), or a track in time of the shape of `strong`.
    """
    rows = class_rows(strong)
    spans = PostProcessing(point, hop_seconds).find_spans(rows, weak)
    clip, label = np.divmod(spans.row, len(point.classes))
    order = np.lexsort((label, spans.last, spans.first, clip))
    columns = (clip, label, spans.first, spans.last, spans.means(rows))
    events: list[list[Event]] = [[] for _ in range(len(strong))]
    for row, index, first, last, score in zip(*(column[order].tolist() for column in columns), strict=True):
        onset = round(first * hop_seconds, 6)
        offset = round(last * hop_seconds, 6)
        events[row].append(Event(onset, offset, point.classes[index], round(score, 6)))
    return events


def active_frames(scores: Scores, point: OperatingPoint) -> np.ndarray:
    """Return which frames are active after all steps, bool of shape (n_clips, n_frames, n_classes)."""
    n_clips, n_frames, n_classes = scores.strong.shape
    rows, steps = class_rows(scores.strong), PostProcessing(point, scores.hop_seconds)
    if point.plain_threshold:  # the same without spans
        roll = steps.apply_threshold(rows, point.thresholds)
    else:
        roll = runs_roll(*steps.find_spans(rows, scores.weak), rows.shape)
    return np.moveaxis(roll.reshape(n_clips, n_classes, n_frames), 2, 1)


def scores_to_events(scores: Scores, point: OperatingPointConfig | OperatingPoint) -> dict[str, tuple[Event, ...]]:
    """Return the events of every clip, in the scores' order; a clip without events has an empty tuple.

    >>> strong = np.array([[[0.1], [0.7], [0.9], [0.2]]])
    >>> scores_to_events(Scores(("a",), ("Car",), 0.5, strong, np.array([[0.9]])), OperatingPointConfig())
    {'a': (Event(onset=0.5, offset=1.5, label='Car', score=0.8),)}
    """
    point = as_operating_point(point, scores.classes)
    n_block = max(1, _MAX_SCORES // max(scores.strong[:1].size, 1))
    events: list[tuple[Event, ...]] = []
    for begin in range(0, len(scores), n_block):
        block = slice(begin, begin + n_block)
        events += map(tuple, find_events(scores.strong[block], point, scores.hop_seconds, scores.weak[block]))
    return dict(zip(scores.clip_ids, events, strict=True))


def active_tags(weak: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Return which classes are tagged, of the shape of `weak` (..., n_classes); compared in the scores' precision."""
    active: np.ndarray = weak > np.asarray(point.tag_thresholds, dtype=weak.dtype)
    return active


def scores_to_tags(scores: Scores, point: OperatingPointConfig | OperatingPoint) -> dict[str, tuple[str, ...]]:
    """Return the tags of every clip, in the scores' order."""
    point = as_operating_point(point, scores.classes)
    active = active_tags(scores.weak, point)
    return {clip: tag_names(row, point.classes) for clip, row in zip(scores.clip_ids, active.tolist(), strict=True)}
