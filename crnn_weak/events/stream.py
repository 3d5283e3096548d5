"""From scores to events while the scores are still coming: `postprocess.scores_to_events` in pieces.

The same steps in the same order, with the same result whatever the pieces (proven under test): median filter,
threshold or hysteresis, gaps, minimum duration, weak gate. What an event needs of the past is kept as a few numbers
per class (where it began, the running sum of the scores there), so memory stays flat however long the recording or
the event.

The weak gate has one meaning more here: in a recording of many windows the weak output is a score per window. Joined
like the frame scores it is a track in time, and an event stays where the track's mean over the event is above the
tag threshold. In a recording of one window that is the clip's own weak score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crnn_weak import timing
from crnn_weak.activity import roll_runs
from crnn_weak.config import DecisionConfig
from crnn_weak.events.decode import binarize, median_frames
from crnn_weak.events.operating_point import ClassDecisions, as_class_decisions
from crnn_weak.labels.events import Event

__all__ = ["EventStream"]


@dataclass
class _Run:
    """Frames ``[first, last)`` and the running sums of strong and weak scores at both ends."""

    first: int
    last: int
    at_first: tuple[float, float]
    at_last: tuple[float, float]
    rises: bool = True

    def mean(self, which: int) -> float:
        mean = (self.at_last[which] - self.at_first[which]) / max(self.last - self.first, 1)
        return min(max(mean, 0.0), 1.0)


class EventStream:
    """Make events of scores that arrive in pieces.

    Parameters
    ----------
    classes : sequence of str, length n_classes
    hop_seconds : float
    decisions : ClassDecisions or DecisionConfig

    Attributes
    ----------
    n_delay : int
        Frames by which an event's end must be past before it is handed out, at most. Only where hysteresis and
        gaps are both in use it may take longer: while the scores behind an event stay between the two thresholds,
        it is open whether they rise again and are joined to it.
    """

    def __init__(self, classes: Sequence[str], hop_seconds: float, decisions: ClassDecisions | DecisionConfig) -> None:
        chosen = as_class_decisions(decisions, classes)
        self._decisions = chosen
        self._hop = hop_seconds
        halves = [median_frames(seconds, hop_seconds) // 2 for seconds in chosen.median_seconds]
        self._context = max(halves, default=0)
        self._gaps = self._n_frames(chosen.min_gap_seconds)
        self._shortest = self._n_frames(chosen.min_duration_seconds)
        self.n_delay = self._context + max(self._gaps, default=0) + 1
        # Threshold and median filter alone, once for the threshold and once for hysteresis' lower one.
        n = len(chosen.classes)
        plain = {"min_gap_seconds": 0.0, "min_duration_seconds": 0.0, "low_thresholds": 0.0, "weak_gate": False}
        self._high = chosen.replace(**plain)
        lower = [low or high for low, high in zip(chosen.low_thresholds, chosen.thresholds, strict=True)]
        self._low = self._high.replace(thresholds=tuple(lower)) if any(chosen.low_thresholds) else None
        self._strong = np.zeros((0, n), np.float32)  # the frames from self._first on
        self._weak = np.zeros((0, n), np.float32)
        self._first = 0
        self._done = 0  # frames whose decisions are made
        self._sums = np.zeros((2, n))  # of strong and weak scores, up to frame self._done
        self._open: list[_Run | None] = [None] * n  # a run that reaches up to frame self._done
        self._held: list[_Run | None] = [None] * n  # a run that is over, but may be joined by the next

    def _n_frames(self, seconds: Sequence[float]) -> list[int]:
        return [int(n) for n in np.ceil(np.asarray(seconds, dtype=float) / self._hop - 1e-6)]

    def push(self, strong: np.ndarray, weak: np.ndarray | None = None) -> list[Event]:
        """Take the next frames; return the events that have become certain.

        Parameters
        ----------
        strong : np.ndarray of float, shape (n_frames, n_classes)
            In [0, 1].
        weak : np.ndarray of float, the same shape, optional
            The weak output's track; needed for the weak gate.

        Returns
        -------
        list of Event
            By offset within a class; sorted by onset within this call only.
        """
        if not len(strong):
            return []
        weak = np.zeros_like(strong) if weak is None else weak
        self._strong = np.concatenate([self._strong, strong]) if len(self._strong) else np.asarray(strong)
        self._weak = np.concatenate([self._weak, weak]) if len(self._weak) else np.asarray(weak)
        return self._advance(self._first + len(self._strong) - self._context)

    def finish(self) -> list[Event]:
        """Say that no more frames come; return the remaining events."""
        events = self._advance(self._first + len(self._strong))
        for index, run in enumerate(self._open):
            if run is not None:
                events += self._close(index, run)
            events += self._release(index)
        self._open = [None] * len(self._open)
        return sorted(events)

    def _advance(self, end: int) -> list[Event]:
        """Decide the frames up to `end`."""
        begin = self._done
        if end <= begin:
            return []
        inner = slice(begin - self._first, end - self._first)
        high = binarize(self._strong, self._high, hop_seconds=self._hop)[inner]
        low = high if self._low is None else binarize(self._strong, self._low, hop_seconds=self._hop)[inner]
        # Summing on from the carried sum gives bit for bit the sums of the whole.
        sums = [
            np.cumsum(np.concatenate([carried[None], scores[inner]]), axis=0, dtype=np.float64)
            for carried, scores in zip(self._sums, (self._strong, self._weak), strict=True)
        ]
        self._sums = np.stack([sums[0][-1], sums[1][-1]])
        rises = np.zeros((len(high) + 1, high.shape[1]), dtype=np.int64)
        np.cumsum(high, axis=0, out=rises[1:])
        events: list[Event] = []
        ended = [run is not None for run in self._open]  # unless a run begins with this piece
        for index, first, last in zip(*(array.tolist() for array in roll_runs(low.T)), strict=True):
            at_first = (float(sums[0][first, index]), float(sums[1][first, index]))
            at_last = (float(sums[0][last, index]), float(sums[1][last, index]))
            run = _Run(begin + first, begin + last, at_first, at_last, bool(rises[last, index] > rises[first, index]))
            before = self._open[index]
            if before is not None:
                if first == 0:
                    run = _Run(before.first, run.last, before.at_first, run.at_last, before.rises or run.rises)
                else:
                    events += self._close(index, before)
                self._open[index] = None
            ended[index] = False
            if begin + last == end:
                self._open[index] = run
            else:
                events += self._close(index, run)
        for index, is_over in enumerate(ended):
            before = self._open[index]
            if is_over and before is not None:
                events += self._close(index, before)
                self._open[index] = None
            held, following = self._held[index], self._open[index]
            earliest = end if following is None else following.first
            if held is not None and earliest - held.last >= self._gaps[index]:
                events += self._release(index)
        self._done = end
        keep = max(end - self._context, self._first) - self._first
        self._strong, self._weak = self._strong[keep:].copy(), self._weak[keep:].copy()
        self._first += keep
        return sorted(events)

    def _close(self, index: int, run: _Run) -> list[Event]:
        """Take a run that is over: join it to the held one over a short gap, or hold it in its place."""
        if not run.rises:
            return []
        held = self._held[index]
        if held is not None and run.first - held.last < self._gaps[index]:
            held.last, held.at_last = run.last, run.at_last
            return []
        events = self._release(index)
        self._held[index] = run
        return events

    def _release(self, index: int) -> list[Event]:
        run, self._held[index] = self._held[index], None
        decisions = self._decisions
        if run is None or run.last - run.first < self._shortest[index]:
            return []
        if decisions.weak_gate and np.float32(run.mean(1)) <= np.float32(decisions.tag_thresholds[index]):
            return []
        onset = round(timing.frames_to_seconds(run.first, self._hop), 6)
        offset = round(timing.frames_to_seconds(run.last, self._hop), 6)
        return [Event(onset, offset, decisions.classes[index], round(run.mean(0), 6))]
