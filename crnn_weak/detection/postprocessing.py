"""From scores to events and tags: one decoder for clips, files and live streams.

The paper's way, and the default: a frame is active where its score is *above* one threshold, a tag likewise, and
nothing is smoothed. The options, each per class, are applied in this order:

1. median filter: the scores' median over an odd number of frames, zeros beyond the clip (filtering the active frames
   gives the same, since a median and a threshold commute);
2. threshold, or hysteresis: with a low threshold, a run above it is kept whole where it rises above the threshold;
3. gaps shorter than a minimum between two runs are closed (never at the clip's ends);
4. runs shorter than a minimum are dropped;
5. weak gate: an event stays where the mean of the weak scores over it is above the tag threshold. A clip has one weak
   score; a recording of many windows has a track of them, joined in time like the strong scores.

Each step is monotone: a higher threshold never adds an active frame. An event's score is the mean of its frames'
strong scores, as they came from the model.

Scores may come in pieces: the events are the same, bit for bit, whatever the pieces. Of the past only a few numbers
per class are kept (where a run began, the running sums there), so memory stays flat however long the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crnn_weak import timing
from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.operating_point import OperatingPoint, as_operating_point
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import DataError
from crnn_weak.labels.classes import tag_names
from crnn_weak.labels.events import Event
from crnn_weak.labels.rolls import roll_runs, runs_roll

__all__ = ["Decoder", "Runs", "binarize", "scores_to_events", "scores_to_tags"]

# Scores that are decoded at once: 240 MB of running sums.
_BLOCK_CELLS = 30_000_000


class Runs(NamedTuple):
    """Runs of active frames, by row and then by time; a row is a clip and a class, classes fastest.

    Attributes
    ----------
    row, first, last : np.ndarray of int, shape (n_runs,)
        Frames ``[first, last)`` of the row.
    rises : np.ndarray of bool, shape (n_runs,)
        The run rises above the threshold, not only above the low one.
    sums_first, sums_last : np.ndarray of float64, shape (n_runs, n_tracks)
        Running sums of the strong (and weak) scores at both ends.
    """

    row: np.ndarray
    first: np.ndarray
    last: np.ndarray
    rises: np.ndarray
    sums_first: np.ndarray
    sums_last: np.ndarray

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray, sums: np.ndarray | None = None, *, begin: int = 0) -> Runs:
        """Return the runs of a roll of shape (n_rows, n_frames) that begins with frame `begin`.

        Parameters
        ----------
        low, high : np.ndarray of bool, shape (n_rows, n_frames)
            Frames above the low threshold, and those above the threshold.
        sums : np.ndarray of float64, shape (n_tracks, n_rows, n_frames + 1), optional
        """
        row, first, last = roll_runs(low)
        if low is high:
            rises = np.ones(len(row), dtype=bool)
        else:
            counted = np.zeros((len(high), high.shape[1] + 1), dtype=np.int32)
            np.cumsum(high, axis=1, out=counted[:, 1:])
            rises = counted[row, last] > counted[row, first]
        if sums is None:
            sums = np.zeros((0, len(low), low.shape[1] + 1))
        return cls(row, first + begin, last + begin, rises, sums[:, row, first].T, sums[:, row, last].T)

    def where(self, chosen: np.ndarray | slice) -> Runs:
        """Return the runs that a mask or an index chooses."""
        return Runs(*(array[chosen] for array in self))

    def merged(self, with_previous: np.ndarray) -> Runs:
        """Join each marked run to the one before it; `with_previous` has shape (n_runs - 1,)."""
        if not with_previous.any():
            return self
        starts = np.flatnonzero(np.concatenate([[True], ~with_previous]))
        ends = np.append(starts[1:], len(self.row)) - 1
        rises = np.logical_or.reduceat(self.rises, starts)
        return Runs(
            self.row[starts], self.first[starts], self.last[ends], rises, self.sums_first[starts], self.sums_last[ends]
        )

    def mean(self, track: int) -> np.ndarray:
        """Return the mean score of each run, in [0, 1]."""
        mean = (self.sums_last[:, track] - self.sums_first[:, track]) / np.maximum(self.last - self.first, 1)
        return np.clip(mean, 0.0, 1.0)

    def roll(self, n_rows: int, n_frames: int) -> np.ndarray:
        """Return the active frames, shape (n_rows, n_frames)."""
        return runs_roll(self.row, self.first, self.last, (n_rows, n_frames))


def by_class(frames: np.ndarray) -> np.ndarray:
    """Return (clips, frames, classes) as rows of frames, one for each clip and class, classes fastest."""
    n_clips, n_frames, n_classes = frames.shape
    return np.ascontiguousarray(np.moveaxis(frames, 1, 2)).reshape(n_clips * n_classes, n_frames)


def median_frames(seconds: float, hop_seconds: float) -> int:
    """Return the odd number of frames nearest to a median filter's length; 1 filters nothing.

    >>> median_frames(0.5, 0.1), median_frames(0.0, 0.1)
    (5, 1)
    """
    return 2 * round((seconds / hop_seconds - 1) / 2) + 1 if seconds > hop_seconds else 1


class Steps:
    """The steps of the module's docstring, on rows of frames: an operating point with its durations in frames.

    Parameters
    ----------
    point : OperatingPoint
    hop_seconds : float
    """

    def __init__(self, point: OperatingPoint, hop_seconds: float) -> None:
        self.point, self.n_classes, self._plain = point, len(point.classes), point.plain_threshold
        self.medians = [median_frames(seconds, hop_seconds) for seconds in point.median_seconds]
        self.gap = _least_frames(point.min_gap_seconds, hop_seconds)
        self.shortest = _least_frames(point.min_duration_seconds, hop_seconds)

    def above(self, rows: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
        """Return where rows of scores are above their class's threshold, after the median filter (steps 1 and 2)."""
        limits = np.asarray(thresholds, dtype=rows.dtype)
        active = rows > np.tile(limits, len(rows) // self.n_classes)[:, None]
        for n in sorted(set(self.medians) - {1}):
            chosen = np.flatnonzero(np.tile(np.asarray(self.medians) == n, len(rows) // self.n_classes))
            active[chosen] = _majority(active[chosen], n)
        return active

    def above_low(self, rows: np.ndarray) -> np.ndarray:
        """Return where rows of scores are above the low threshold, or the threshold of a class without one."""
        pairs = zip(self.point.low_thresholds, self.point.thresholds, strict=True)
        return self.above(rows, [low or high for low, high in pairs])

    def settle(self, runs: Runs, *, end: int | None = None) -> tuple[Runs, Runs]:
        """Carry out steps 2 (hysteresis) to 4.

        Parameters
        ----------
        runs : Runs
            May touch where a piece of the scores ended.
        end : int, optional
            The first frame that is not known yet; by default all are.

        Returns
        -------
        certain, pending : Runs
            Those that no later frame can change, and those that it can.
        """
        same_row = runs.row[1:] == runs.row[:-1]
        runs = runs.merged(same_row & (runs.first[1:] == runs.last[:-1]))
        is_open = runs.last == (-1 if end is None else end)
        if self._plain and end is None:  # the same by fewer steps
            return runs, runs.where(slice(0))
        if self._plain:
            return runs.where(~is_open), runs.where(is_open)
        runs = runs.where(runs.rises | is_open)
        same_row = runs.row[1:] == runs.row[:-1]
        gap = self.gap[runs.row % self.n_classes]
        runs = runs.merged(same_row & (runs.first[1:] - runs.last[:-1] < gap[1:]) & runs.rises[1:])
        pending = np.zeros(len(runs.row), dtype=bool)
        if end is not None and len(runs.row):
            following = np.append(np.where(runs.row[1:] == runs.row[:-1], runs.first[1:], end), end)
            pending = (runs.last == end) | (following - runs.last < self.gap[runs.row % self.n_classes])
        certain = runs.where(~pending)
        long_enough = certain.last - certain.first >= self.shortest[certain.row % self.n_classes]
        return certain.where(long_enough), runs.where(pending)


def _least_frames(seconds: Sequence[float], hop_seconds: float) -> np.ndarray:
    """Return the number of frames that a run needs to be no shorter than each duration."""
    return np.ceil(np.asarray(seconds, dtype=float) / hop_seconds - 1e-6).astype(np.int64)


def _majority(active: np.ndarray, n: int) -> np.ndarray:
    """Return where more than half of the `n` frames round each are active; `n` is odd, rows are filtered alone."""
    n_frames, half = active.shape[1], n // 2
    counted = np.zeros((len(active), n_frames + n), dtype=np.int32)
    np.cumsum(active, axis=1, out=counted[:, half + 1 : half + 1 + n_frames])
    counted[:, half + 1 + n_frames :] = counted[:, half + n_frames, None]
    majority: np.ndarray = counted[:, n:] - counted[:, :-n] > half
    return majority


class Decoder:
    """Turn scores into events, piece by piece or at once.

    Parameters
    ----------
    point : OperatingPoint or OperatingPointConfig
    hop_seconds : float
    classes : sequence of str, length n_classes
    n_clips : int
        Clips that are decoded side by side.

    Attributes
    ----------
    n_delay : int
        Frames by which an event's end must be past before it is handed out, at most. Only where hysteresis and
        gaps are both in use it may take longer: while the scores behind an event stay between the two thresholds,
        it is open whether they rise again and are joined to it.

    Examples
    --------
    >>> decoder = Decoder(OperatingPointConfig(), 0.5, classes=["Car"])
    >>> decoder.push(np.array([[0.1], [0.7]]))
    [[]]
    >>> decoder.finish(np.array([[0.9], [0.2]]))
    [[Event(onset=0.5, offset=1.5, label='Car', score=0.8)]]
    """

    def __init__(
        self,
        point: OperatingPoint | OperatingPointConfig,
        hop_seconds: float,
        *,
        classes: Sequence[str],
        n_clips: int = 1,
    ) -> None:
        self._point = as_operating_point(point, classes)
        self._steps = Steps(self._point, hop_seconds)
        self._hop, self._n_clips, self._n_classes = hop_seconds, n_clips, len(classes)
        self._context = max(self._steps.medians, default=1) // 2
        self.n_delay = self._context + int(max(self._steps.gap, default=0)) + 1
        n_tracks, n_rows = 1 + self._point.weak_gate, n_clips * len(classes)
        self._scores = np.zeros((n_tracks, n_rows, 0), np.float32)  # the frames from self._first on
        self._first = self._done = 0  # frames before self._done are decided
        self._sums = np.zeros((n_tracks, n_rows))  # up to frame self._done
        nothing = np.zeros((n_rows, 0), dtype=bool)
        self._pending = Runs.of(nothing, nothing, self._sums[..., None])

    def push(self, strong: np.ndarray, weak: np.ndarray | None = None) -> list[list[Event]]:
        """Take the next frames; return the events that have become certain, for each clip.

        Parameters
        ----------
        strong : np.ndarray of float, shape (n_frames, n_classes) or (n_clips, n_frames, n_classes)
            In [0, 1].
        weak : np.ndarray of float, optional
            Needed for the weak gate: in time, of the shape of `strong`, or one per clip, without its frames axis.

        Returns
        -------
        list of list of Event
            By onset, offset and class within this call.

        Raises
        ------
        DataError
            The shapes do not fit, or the weak gate is on and `weak` is missing.
        """
        self._take(strong, weak)
        end = self._first + self._scores.shape[2] - self._context
        return self._events(self._advance(end) if end > self._done else self._pending.where(slice(0)))

    def finish(self, strong: np.ndarray | None = None, weak: np.ndarray | None = None) -> list[list[Event]]:
        """Take the last frames, if any; return the remaining events, as `push` does."""
        return self._events(self.finish_runs(strong, weak))

    def finish_runs(self, strong: np.ndarray | None = None, weak: np.ndarray | None = None) -> Runs:
        """Take the last frames, if any; return the remaining events as runs of frames."""
        if strong is not None:
            self._take(strong, weak)
        return self._advance(self._first + self._scores.shape[2], final=True)

    def _take(self, strong: np.ndarray, weak: np.ndarray | None) -> None:
        tracks = [strong]
        if self._point.weak_gate:
            if weak is None:
                raise DataError("weak_gate is on, but no weak scores were given; pass weak=..., or turn the gate off.")
            weak = np.asarray(weak)
            tracks.append(np.broadcast_to(weak[..., None, :] if weak.ndim < strong.ndim else weak, strong.shape))
        expected = (self._n_clips, self._n_classes)
        if (
            strong.ndim not in (2, 3)
            or (*([1] if strong.ndim == 2 else strong.shape[:1]), strong.shape[-1]) != expected
        ):
            raise DataError(f"strong scores: expected ({expected[0]}, frames, {expected[1]}), received {strong.shape}.")
        rows = np.stack([by_class(track[None] if track.ndim == 2 else track) for track in tracks])
        self._scores = np.concatenate([self._scores, rows], axis=2) if self._scores.shape[2] else rows

    def _advance(self, end: int, *, final: bool = False) -> Runs:
        """Decide the frames up to `end`; return the runs that are certain then."""
        begin, inner = self._done, slice(self._done - self._first, end - self._first)
        strong = self._scores[0]
        high = self._steps.above(strong, self._point.thresholds)[:, inner]
        low = self._steps.above_low(strong)[:, inner] if any(self._point.low_thresholds) else high
        # Summing on from the carried sum gives bit for bit the sums of the whole.
        sums = np.concatenate([self._sums[..., None], self._scores[..., inner]], axis=2, dtype=np.float64)
        np.cumsum(sums, axis=2, out=sums)
        runs = Runs.of(low, high, sums, begin=begin)
        if len(self._pending.row):
            runs = Runs(*(np.concatenate(pair) for pair in zip(self._pending, runs, strict=True)))
            runs = runs.where(np.argsort(runs.row, kind="stable"))
        certain, self._pending = self._steps.settle(runs, end=None if final else end)
        self._sums, self._done = sums[..., -1].copy(), end
        keep = max(end - self._context - self._first, 0)
        self._scores, self._first = self._scores[..., keep:].copy(), self._first + keep
        if self._point.weak_gate:
            limits = np.asarray(self._point.tag_thresholds, np.float32)[certain.row % self._n_classes]
            certain = certain.where(certain.mean(1).astype(np.float32) > limits)
        return certain

    def _events(self, runs: Runs) -> list[list[Event]]:
        found: list[list[Event]] = [[] for _ in range(self._n_clips)]
        clip, label = np.divmod(runs.row, self._n_classes)
        order = np.lexsort((label, runs.last, runs.first, clip))
        columns = (clip, label, runs.first, runs.last, runs.mean(0))
        for number, c, first, last, score in zip(*(column[order].tolist() for column in columns), strict=True):
            onset = round(timing.frames_to_seconds(first, self._hop), 6)
            offset = round(timing.frames_to_seconds(last, self._hop), 6)
            found[number].append(Event(onset, offset, self._point.classes[c], round(score, 6)))
        return found


# --- whole clips ---------------------------------------------------------------------------------------------------


def binarize(
    strong: np.ndarray, point: OperatingPoint, *, hop_seconds: float, weak: np.ndarray | None = None
) -> np.ndarray:
    """Return which frames are active after all steps of the module's docstring.

    Parameters
    ----------
    strong : np.ndarray of float, shape (n_frames, n_classes) or (n_clips, n_frames, n_classes)
        In [0, 1].
    point : OperatingPoint
    hop_seconds : float
    weak : np.ndarray of float, shape (n_classes,) or (n_clips, n_classes), optional
        Needed for the weak gate.

    Returns
    -------
    np.ndarray of bool, the shape of `strong`

    Raises
    ------
    DataError
        The shapes do not fit, or the weak gate is on and `weak` is missing.
    """
    n_clips, n_frames = (1 if strong.ndim == 2 else len(strong)), strong.shape[-2]
    if point.plain_threshold and strong.shape[-1] == len(point.classes):  # the same without runs
        roll = Steps(point, hop_seconds).above(by_class(strong.reshape(n_clips, n_frames, -1)), point.thresholds)
    else:
        decoder = Decoder(point, hop_seconds, classes=point.classes, n_clips=n_clips)
        roll = decoder.finish_runs(strong, weak).roll(n_clips * len(point.classes), n_frames)
    return np.moveaxis(roll.reshape(n_clips, -1, n_frames), 2, 1).reshape(strong.shape)


def scores_to_events(scores: Scores, point: OperatingPointConfig | OperatingPoint) -> dict[str, tuple[Event, ...]]:
    """Return the events of every clip, in the scores' order; a clip without events has an empty tuple.

    See Also
    --------
    scores_to_tags : the same from the weak output.

    Examples
    --------
    >>> strong = np.array([[[0.1], [0.7], [0.9], [0.2]]])
    >>> scores_to_events(Scores(("a",), ("Car",), 0.5, strong, np.array([[0.9]])), OperatingPointConfig())
    {'a': (Event(onset=0.5, offset=1.5, label='Car', score=0.8),)}
    """
    events: dict[str, tuple[Event, ...]] = {}
    n_block = max(1, _BLOCK_CELLS // max(int(np.prod(scores.strong.shape[1:])), 1))
    for begin in range(0, len(scores), n_block):
        block = slice(begin, min(begin + n_block, len(scores)))
        decoder = Decoder(point, scores.hop_seconds, classes=scores.classes, n_clips=block.stop - block.start)
        found = decoder.finish(scores.strong[block], scores.weak[block])
        events |= {clip: tuple(rows) for clip, rows in zip(scores.clip_ids[block], found, strict=True)}
    return events


def scores_to_tags(scores: Scores, point: OperatingPointConfig | OperatingPoint) -> dict[str, tuple[str, ...]]:
    """Return the tags of every clip, in the scores' order.

    See Also
    --------
    scores_to_events : the same from the strong output.
    """
    chosen = as_operating_point(point, scores.classes)
    active = scores.weak > np.asarray(chosen.tag_thresholds, dtype=scores.weak.dtype)
    tags = [tag_names(row, chosen.classes) for row in active.tolist()]
    return dict(zip(scores.clip_ids, tags, strict=True))
