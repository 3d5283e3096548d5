"""One recording in progress through a detector, and its result."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import Decoder
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.windows import ScoreJoiner, WindowPlan
from crnn_weak.errors import DataError
from crnn_weak.labels.events import Event, EventList

__all__ = ["Detection", "Job", "OnScores", "Tag"]

#: Receives a recording's frame scores, shape (n_frames, n_classes), in time order; the recording may still fail.
OnScores = Callable[[Recording, np.ndarray], None]


class Tag(NamedTuple):
    """A class that sounds somewhere in a recording."""

    label: str
    score: float


@dataclass
class Detection:
    """Events and tags of one recording, or the reason why it failed.

    Attributes
    ----------
    recording : Recording
    events : EventList
        Empty where `error` is set.
    tags : tuple of Tag
        Classes whose weak score is above their threshold, the likeliest first.
    weak : np.ndarray of float32, shape (n_classes,)
    duration_seconds : float
    error : DataError or None
        Why the recording failed; then nothing else is valid.
    warnings : tuple of str
    """

    recording: Recording
    events: EventList
    tags: tuple[Tag, ...]
    weak: np.ndarray
    duration_seconds: float
    error: DataError | None = None
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from crnn_weak.detection.notebook import recording_html

        if self.error is not None:
            return f"<p>{html.escape(f'{self.recording.name}: {self.error}')}</p>"
        tags = ", ".join(f"{tag.label} {tag.score:.2f}" for tag in self.tags) or "none"
        picture, table = recording_html(self.recording.source, self.events), self.events._repr_html_()
        return f"{picture}{table}<p>tags: {html.escape(tags)}</p>"


class Job:
    """One recording on its way from frames to events.

    Parameters
    ----------
    recording : Recording
    audio : AudioBlocks
        Its blocks; the job takes length and warnings from it when it has been read.
    point : OperatingPoint
    hop_seconds : float
    plan : WindowPlan
    wanted : tuple of str
        Classes whose events are kept.
    on_scores : callable, optional
        See `Detector.detect_many`.
    """

    def __init__(
        self,
        recording: Recording,
        audio: Any,
        *,
        point: OperatingPoint,
        hop_seconds: float,
        plan: WindowPlan,
        wanted: tuple[str, ...],
        on_scores: OnScores | None = None,
    ) -> None:
        self.recording, self.audio = recording, audio
        self.error: DataError | None = None
        self._point, self._wanted, self._on_scores = point, wanted, on_scores
        self._decoder = Decoder(point, hop_seconds, classes=point.classes)
        self._joiner = ScoreJoiner(plan)
        self._weak = np.zeros(len(point.classes), np.float32)
        self._events: list[Event] = []
        self._ended = False

    @property
    def done(self) -> bool:
        """True if all scores have come, or the recording failed."""
        return self.error is not None or (self._ended and not self._joiner.n_waiting)

    def push(self, frames: np.ndarray, n_valid: int | None) -> list[tuple[int, np.ndarray]]:
        """Take the next frames (see `Detector.frames`); return the windows to be scored, with their first frames."""
        self._joiner.push(frames)
        if n_valid is not None:
            self._joiner.finish(n_valid)
            self._ended = True
        windows = self._joiner.windows()
        if self.done:
            self.collect()  # the last window had been scored before the recording's end was known
        return windows

    def accept(self, first: int, strong: np.ndarray, weak: np.ndarray) -> None:
        """Take the scores of the window that begins at frame `first`."""
        np.maximum(self._weak, weak, out=self._weak)
        self._joiner.accept(first, strong, weak)

    def collect(self) -> None:
        """Decode the scores that no later window can change."""
        strong, weak = self._joiner.take()
        if len(strong):
            self._events += self._decoder.push(strong, weak)[0]
            if self._on_scores is not None:
                self._on_scores(self.recording, strong)

    def take(self) -> list[Event]:
        """Return the events that have become certain since the last call, cut where the recording ends."""
        events, self._events = self._events, []
        if self.done:
            events += self._decoder.finish()[0]
        duration = self.audio.duration_seconds  # the last frame may reach further
        return [
            Event(event.onset, min(event.offset, round(duration, 6)), event.label, event.score)
            for event in events
            if event.label in self._wanted and event.onset < duration
        ]

    def result(self) -> Detection:
        """Return the whole recording's events and tags, or its error."""
        name, weak, classes = self.recording.name, self._weak, self._point.classes
        if self.error is not None:
            return Detection(self.recording, EventList(clip_id=name), (), weak, 0.0, self.error)
        duration = self.audio.duration_seconds
        tags = tuple(
            Tag(classes[i], round(float(weak[i]), 6))
            for i in np.argsort(-weak, kind="stable")
            if weak[i] > np.float32(self._point.tag_thresholds[i]) and classes[i] in self._wanted
        )
        events = EventList(self.take(), clip_id=name, duration_seconds=duration)
        return Detection(self.recording, events, tags, weak, duration, None, tuple(self.audio.warnings))
