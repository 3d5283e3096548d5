"""Many recordings through one model: windows of several share a batch, reading runs beside the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.events.operating_point import ClassDecisions
from crnn_weak.events.stream import EventStream
from crnn_weak.inference.inputs import AudioBlocks
from crnn_weak.inference.prefetch import prefetched
from crnn_weak.inference.recordings import Recording
from crnn_weak.inference.results import Detection, Observer, Tag
from crnn_weak.inference.windows import FrameStream, ScoreJoiner, WindowPlan
from crnn_weak.labels.events import Event, EventList

__all__ = ["Engine", "within"]

# Blocks that wait between the reading thread and the model.
_DEPTH = 4


class _Job:
    """One recording on its way."""

    def __init__(self, recording: Recording, plan: WindowPlan, events: EventStream, n_classes: int) -> None:
        self.recording = recording
        self.joiner = ScoreJoiner(plan)
        self.stream = events
        self.events: list[Event] = []
        self.weak = np.zeros(n_classes, np.float32)
        self.n_waiting = 0
        self.n_done = 0
        self.blocks: AudioBlocks | None = None
        self.error: DataError | None = None

    @property
    def done(self) -> bool:
        return self.error is not None or (self.blocks is not None and not self.n_waiting)


class Engine:
    """One pass over recordings; see `Detector.detect_many`."""

    def __init__(
        self, detector: Any, decisions: ClassDecisions, wanted: Sequence[str], observer: Observer | None
    ) -> None:
        self._detector, self._decisions, self._wanted, self._observer = detector, decisions, wanted, observer
        self._queue: list[tuple[_Job, int, np.ndarray]] = []

    def run(self, recordings: Iterable[Recording]) -> Iterator[Detection]:
        """Yield what comes of each recording, in order."""
        detector, size = self._detector, self._detector.batch_size
        jobs: deque[_Job] = deque()
        feed = prefetched(self._feed(recordings), depth=_DEPTH)
        try:
            for kind, payload in feed:
                if kind == "begin":
                    stream = EventStream(detector.classes, detector.features.hop_seconds, self._decisions)
                    jobs.append(_Job(payload, detector.plan, stream, len(detector.classes)))
                    continue
                self._take(jobs[-1], kind, payload)
                while len(self._queue) >= size:
                    self._score(self._queue[:size])
                    del self._queue[:size]
                while jobs and jobs[0].done:
                    yield self._result(jobs.popleft())
            if self._queue:
                self._score(self._queue)
            while jobs:
                yield self._result(jobs.popleft())
        finally:
            feed.close()

    def _feed(self, recordings: Iterable[Recording]) -> Iterator[tuple[str, Any]]:
        """Read and compute features; this runs in the second thread."""
        detector = self._detector
        for recording in recordings:
            yield "begin", recording
            blocks = AudioBlocks(recording, detector.features.sample_rate_hz)
            stream = FrameStream(detector.extractor, detector.features)
            n_samples, seconds = 0, 0.0
            try:
                for audio in blocks:
                    n_samples += audio.size
                    frames = detector.standardised(stream.push(audio))
                    if len(frames):
                        yield "frames", (frames, blocks.duration_seconds - seconds)
                        seconds = blocks.duration_seconds
            except DataError as error:
                yield "error", error
                continue
            frames = detector.standardised(stream.finish(at_least=detector.plan.n_window))
            if len(frames):
                yield "frames", (frames, blocks.duration_seconds - seconds)
            yield "end", (blocks, max(1, round(n_samples / detector.features.n_hop)))

    def _take(self, job: _Job, kind: str, payload: Any) -> None:
        if kind == "error":
            job.error = payload
            self._queue = [entry for entry in self._queue if entry[0] is not job]
            return
        if kind == "frames":
            frames, seconds = payload
            job.joiner.push(frames)
            if self._observer is not None:
                self._observer.progress(job.recording, seconds)
        else:
            job.blocks, n_valid = payload
            job.joiner.finish(n_valid)
        windows = job.joiner.windows()
        job.n_waiting += len(windows)
        self._queue += [(job, first, frames) for first, frames in windows]
        if job.blocks is not None and not job.n_waiting:
            self._collect(job)  # the recording's last window had been scored before its end was known

    def _score(self, entries: list[tuple[_Job, int, np.ndarray]]) -> None:
        strong, weak = self._detector.predict(np.stack([frames for _, _, frames in entries]))
        for (job, first, _), strong_scores, weak_scores in zip(entries, strong, weak, strict=True):
            job.n_waiting -= 1
            np.maximum(job.weak, weak_scores, out=job.weak)
            job.joiner.accept(first, strong_scores, weak_scores)
        # Each job once, in the order of first appearance.
        for job in dict.fromkeys(entry[0] for entry in entries):
            self._collect(job)

    def _collect(self, job: _Job) -> None:
        strong, weak = job.joiner.take()
        if not len(strong):
            return
        job.events += job.stream.push(strong, weak)
        if self._observer is not None:
            self._observer.frames(job.recording, job.n_done, strong)
        job.n_done += len(strong)

    def _result(self, job: _Job) -> Detection:
        name = job.recording.name
        if job.error is not None or job.blocks is None:
            return Detection(job.recording, EventList(clip_id=name), (), job.weak, 0.0, job.error)
        duration, classes = job.blocks.duration_seconds, self._detector.classes
        events = within(job.events + job.stream.finish(), duration, self._wanted)
        tags = tuple(
            Tag(classes[i], round(float(job.weak[i]), 6))
            for i in np.argsort(-job.weak, kind="stable")
            if job.weak[i] > np.float32(self._decisions.tag_thresholds[i]) and classes[i] in self._wanted
        )
        listed = EventList(events, clip_id=name, duration_seconds=duration)
        return Detection(job.recording, listed, tags, job.weak, duration, None, tuple(job.blocks.warnings))


def within(events: Iterable[Event], duration_seconds: float, wanted: Sequence[str]) -> list[Event]:
    """Return the events of the wanted classes, cut where the recording ends (its last frame may reach further)."""
    kept = set(wanted)
    return [
        Event(event.onset, min(event.offset, round(duration_seconds, 6)), event.label, event.score)
        for event in events
        if event.label in kept and event.onset < duration_seconds
    ]
