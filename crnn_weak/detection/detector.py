"""Detect events in any recording: `load` a model, then ``.detect()``, ``.tag()`` or ``.scores()``.

>>> import crnn_weak
>>> crnn_weak.load("runs/first").detect("street.wav")           # doctest: +SKIP
EventList(3 events of street.wav)

A recording may be of any length, rate and channel count: it is read in blocks, scored in overlapping windows of the
model's own clip length (`crnn_weak.detection.stream` says how they join), and its scores become events as they come
(`crnn_weak.detection.incremental`), so that ten hours take the memory of ten minutes. Windows of many short
recordings share a batch.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from crnn_weak.config import DecisionConfig, FeatureConfig
from crnn_weak.data.events import Event, EventList
from crnn_weak.data.labels import class_indices
from crnn_weak.detection.incremental import EventStream
from crnn_weak.detection.inputs import AudioBlocks, Recording
from crnn_weak.detection.postprocess import ClassDecisions, as_class_decisions
from crnn_weak.detection.prefetch import prefetched
from crnn_weak.detection.stream import FrameStream, ScoreJoiner, WindowPlan
from crnn_weak.errors import DataError, ModelFileError, RunError
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.features.scaler import Scaler

__all__ = ["STARTER_MODEL", "Detection", "Detector", "FrameScores", "Observer", "Tag", "load", "model_file"]

logger = logging.getLogger(__name__)

#: The model that comes with the package, where it was made.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.keras"


class Tag(NamedTuple):
    """A class that sounds somewhere in a recording."""

    label: str
    score: float


@dataclass(frozen=True)
class FrameScores:
    """The frame scores of one recording.

    Attributes
    ----------
    classes : tuple of str
    hop_seconds : float
        Row ``k`` covers ``[k, k + 1) * hop_seconds``.
    strong : np.ndarray of float32, shape (n_frames, n_classes)
        In [0, 1].
    weak : np.ndarray of float32, shape (n_classes,)
        In [0, 1]: of the windows, each class's largest.
    clip_id : str
    duration_seconds : float
    """

    classes: tuple[str, ...]
    hop_seconds: float
    strong: np.ndarray = field(repr=False)
    weak: np.ndarray = field(repr=False)
    clip_id: str = ""
    duration_seconds: float = 0.0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.strong, dtype=dtype)

    @property
    def times(self) -> np.ndarray:
        """The frames' onsets in seconds, shape (n_frames,)."""
        return np.arange(len(self.strong)) * self.hop_seconds


@dataclass
class Detection:
    """What came of one recording.

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


class Observer(Protocol):
    """What may watch while recordings are processed, e.g. to write scores as they come."""

    def frames(self, recording: Recording, first_frame: int, strong: np.ndarray) -> None:
        """Take final scores, shape (n_frames, n_classes), in time order; a recording may still fail afterwards."""
        ...

    def progress(self, recording: Recording, seconds: float) -> None:
        """Take note that so many more seconds were read."""
        ...


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
        self.ended = False
        self.error: DataError | None = None

    @property
    def done(self) -> bool:
        return self.error is not None or (self.ended and not self.n_waiting)


class Detector:
    """A model with all that is needed to use it.

    Parameters
    ----------
    model : keras.Model
        Or anything with ``predict_on_batch``, or a callable: (n, n_frames, n_mels) -> {"strong", "weak"}.
    classes : sequence of str
    features : FeatureConfig
    scaler : Scaler
    decisions : ClassDecisions
    provenance : mapping
        Where the model comes from.
    batch_size : int
        Windows per call of the model; a batch that is not full is filled up, so that few shapes are compiled.
    """

    def __init__(
        self,
        model: Any,
        *,
        classes: Sequence[str],
        features: FeatureConfig,
        scaler: Scaler,
        decisions: ClassDecisions | DecisionConfig | None = None,
        provenance: Mapping[str, Any] | None = None,
        batch_size: int = 32,
    ) -> None:
        self.model = model
        self.classes = tuple(classes)
        self.features = features
        self.scaler = scaler
        self.decisions = as_class_decisions(decisions or DecisionConfig(), self.classes)
        self.provenance = dict(provenance or {})
        self.batch_size = batch_size
        self.plan = WindowPlan.crossfade(features.n_frames)
        self.extractor = LogMelExtractor(features)

    def __repr__(self) -> str:
        return f"Detector({len(self.classes)} classes, windows of {self.features.clip_seconds:g} s)"

    # --- one recording ----------------------------------------------------------------------------------------------

    def detect(
        self,
        source: Any,
        *,
        decisions: ClassDecisions | DecisionConfig | None = None,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> EventList:
        """Return the events of a recording.

        Parameters
        ----------
        source : path, binary file, or (array, sample_rate_hz)
            Of any length; the array has shape (n_samples,) or (n_samples, n_channels).
        decisions : ClassDecisions or DecisionConfig, optional
            By default those stored with the model.
        threshold : float, optional
            One threshold for all classes, in place of the decisions' own.
        classes : sequence of str, optional
            Only these classes.

        Returns
        -------
        EventList
            Onsets and offsets in seconds, labels, and scores in [0, 1]: the mean of the event's frame scores.

        Raises
        ------
        DataError
            The recording cannot be read to its end (see `crnn_weak.detection.inputs`).
        LabelError
            The model does not know a class.
        """
        return self._one(source, self.decide(decisions, threshold=threshold), classes).events

    def tag(self, source: Any, *, threshold: float | None = None) -> tuple[Tag, ...]:
        """Return the classes that sound somewhere in a recording, the likeliest first, with the weak output's scores.

        Of a recording longer than one window each class's score is the largest of the windows'.
        """
        return self._one(source, self.decide(None, threshold=threshold), None).tags

    def scores(self, source: Any) -> FrameScores:
        """Return the frame scores of a recording, whole in memory (10 h of 20 ms frames, 17 classes: 122 MB)."""
        parts: list[np.ndarray] = []

        class Keep:
            def frames(self, recording: Recording, first_frame: int, strong: np.ndarray) -> None:
                parts.append(strong)

            def progress(self, recording: Recording, seconds: float) -> None:
                pass

        result = self._one(source, self.decisions, None, Keep())
        return FrameScores(
            self.classes,
            self.features.hop_seconds,
            np.concatenate(parts),
            result.weak,
            result.recording.name,
            result.duration_seconds,
        )

    def _one(
        self, source: Any, decisions: ClassDecisions, classes: Sequence[str] | None, observer: Observer | None = None
    ) -> Detection:
        name = Path(source).name if isinstance(source, str | Path) else ""
        recording = source if isinstance(source, Recording) else Recording(name, source)
        (result,) = self.detect_many([recording], decisions=decisions, classes=classes, observer=observer)
        if result.error is not None:
            raise result.error
        for warning in result.warnings:
            logger.warning("%s: %s", name or "recording", warning)
        return result

    def decide(
        self, decisions: ClassDecisions | DecisionConfig | None = None, *, threshold: float | None = None
    ) -> ClassDecisions:
        """Return the decisions to use: those given or stored, with one threshold laid over them where given."""
        chosen = self.decisions if decisions is None else as_class_decisions(decisions, self.classes)
        return chosen if threshold is None else chosen.replace(thresholds=threshold, tag_thresholds=threshold)

    # --- many recordings --------------------------------------------------------------------------------------------

    def detect_many(
        self,
        recordings: Iterable[Recording],
        *,
        decisions: ClassDecisions | None = None,
        classes: Sequence[str] | None = None,
        observer: Observer | None = None,
    ) -> Iterator[Detection]:
        """Process recordings one after the other; yield a `Detection` for each, failed ones included, in order.

        Reading and features run in a second thread while the model works.
        """
        decisions = decisions or self.decisions
        wanted = self.classes if classes is None else tuple(classes)
        class_indices(wanted, self.classes, where="classes")
        jobs: deque[_Job] = deque()
        queue: list[tuple[_Job, int, np.ndarray]] = []
        feed = prefetched(self._feed(recordings), depth=4)
        try:
            for kind, payload in feed:
                if kind == "begin":
                    stream = EventStream(self.classes, self.features.hop_seconds, decisions)
                    jobs.append(_Job(payload, self.plan, stream, len(self.classes)))
                    continue
                job = jobs[-1]
                if kind == "error":
                    job.error = payload
                    queue = [entry for entry in queue if entry[0] is not job]
                elif kind == "frames":
                    frames, seconds = payload
                    job.joiner.push(frames)
                    if observer is not None:
                        observer.progress(job.recording, seconds)
                elif kind == "end":
                    job.blocks, n_valid = payload
                    job.joiner.finish(n_valid)
                    job.ended = True
                if job.error is None:
                    for first, frames in job.joiner.windows():
                        queue.append((job, first, frames))
                        job.n_waiting += 1
                while len(queue) >= self.batch_size:
                    self._score(queue[: self.batch_size], observer)
                    del queue[: self.batch_size]
                while jobs and jobs[0].done:
                    yield self._result(jobs.popleft(), decisions, wanted)
            if queue:
                self._score(queue, observer)
            while jobs:
                yield self._result(jobs.popleft(), decisions, wanted)
        finally:
            feed.close()

    def _feed(self, recordings: Iterable[Recording]) -> Iterator[tuple[str, Any]]:
        """Read and compute features (this runs in the second thread)."""
        for recording in recordings:
            yield "begin", recording
            blocks = AudioBlocks(recording, self.features.sample_rate_hz)
            stream = FrameStream(self.extractor, self.features)
            n_samples, seconds = 0, 0.0
            try:
                for audio in blocks:
                    n_samples += audio.size
                    frames = self.standardised(stream.push(audio))
                    if len(frames):
                        yield "frames", (frames, blocks.duration_seconds - seconds)
                        seconds = blocks.duration_seconds
            except DataError as error:
                yield "error", error
                continue
            n_valid = max(1, round(n_samples / self.features.n_hop))
            frames = self.standardised(stream.finish(at_least=self.plan.n_window))
            if len(frames):
                yield "frames", (frames, blocks.duration_seconds - seconds)
            yield "end", (blocks, n_valid)

    def standardised(self, frames: np.ndarray) -> np.ndarray:
        """Return log mel frames as the model takes them."""
        scaled: np.ndarray = self.scaler.transform(frames).astype(np.float32, copy=False)
        return scaled

    def silence(self) -> np.ndarray:
        """Return one window of silence, shape (1, n_frames, n_mels): to compile the model before it is needed."""
        audio = np.zeros(self.plan.n_window * self.features.n_hop, np.float32)
        return self.standardised(self.extractor(audio))[None]

    def predict(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (strong (n, n_frames, n_classes), weak (n, n_classes)) of windows (n, n_frames, n_mels)."""
        n_windows = len(windows)
        size = next((size for size in (1, 4) if n_windows <= size < self.batch_size), self.batch_size)
        if n_windows < size:
            windows = np.concatenate([windows, np.zeros((size - n_windows, *windows.shape[1:]), np.float32)])
        call = getattr(self.model, "predict_on_batch", None) or self.model
        outputs = call(windows)
        return np.asarray(outputs["strong"])[:n_windows], np.asarray(outputs["weak"])[:n_windows]

    def _score(self, entries: list[tuple[_Job, int, np.ndarray]], observer: Observer | None) -> None:
        strong, weak = self.predict(np.stack([frames for _, _, frames in entries]))
        for (job, first, _), strong_scores, weak_scores in zip(entries, strong, weak, strict=True):
            job.n_waiting -= 1
            if job.error is not None:
                continue
            np.maximum(job.weak, weak_scores, out=job.weak)
            repeated = np.broadcast_to(weak_scores, strong_scores.shape)
            job.joiner.accept(first, np.concatenate([strong_scores, repeated], axis=1))
        # Each job once, in the order of first appearance.
        for job in dict.fromkeys(entry[0] for entry in entries):
            if job.error is None:
                self._collect(job, observer)

    def _collect(self, job: _Job, observer: Observer | None) -> None:
        ready = job.joiner.take()
        if not len(ready):
            return
        strong, weak = np.split(ready, 2, axis=1)
        job.events += job.stream.push(strong, weak)
        if observer is not None:
            observer.frames(job.recording, job.n_done, strong)
        job.n_done += len(strong)

    def _result(self, job: _Job, decisions: ClassDecisions, wanted: Sequence[str]) -> Detection:
        name = job.recording.name
        if job.error is not None or job.blocks is None:
            return Detection(job.recording, EventList(clip_id=name), (), job.weak, 0.0, job.error)
        duration = job.blocks.duration_seconds
        events = within(job.events + job.stream.finish(), duration, wanted)
        limits = decisions.tag_thresholds
        order = np.argsort(-job.weak, kind="stable")
        tags = tuple(
            Tag(self.classes[i], round(float(job.weak[i]), 6))
            for i in order
            if job.weak[i] > limits[i] and self.classes[i] in wanted
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


# --- loading ---------------------------------------------------------------------------------------------------------


def model_file(path: str | Path | None = None) -> Path:
    """Return the model file that a path means: a ``.keras`` file, a run folder (its ``best.keras``), or the starter.

    Raises
    ------
    ModelFileError
        There is no such file, or no starter model has been made.
    RunError
        The folder is not that of a finished run.
    """
    if path is None:
        if not STARTER_MODEL.is_file():
            raise ModelFileError(
                "no --model was given and there is no starter model; make one with "
                "`python -m crnn_weak.experiments.starter_model`, or pass a run folder or a .keras file."
            )
        return STARTER_MODEL
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ModelFileError(f"{path}: no such model. Expected a run folder or a .keras file.")
        return path
    best = path / "best.keras"
    if not best.is_file():
        below = sorted(path.glob("**/best.keras"))
        hint = f"Did you mean {below[0].parent}?" if below else "Train one with crnn-weak train."
        raise RunError(f"{path}: the folder holds no best.keras. {hint}")
    return best


def load(path: str | Path | None = None, *, batch_size: int = 32) -> Detector:
    """Load a model for use.

    Parameters
    ----------
    path : path, optional
        A ``.keras`` file or a run folder; by default the starter model.
    batch_size : int
        Windows per call of the model; memory grows with it.

    Raises
    ------
    ModelFileError, RunError
        The file or run is missing or damaged; nothing in the file is executed (Keras' safe mode).

    Examples
    --------
    >>> load("nowhere.keras")
    Traceback (most recent call last):
    crnn_weak.errors.ModelFileError: nowhere.keras: no such model. Expected a run folder or a .keras file.
    """
    file = model_file(path)
    from crnn_weak.model.files import load_model  # TensorFlow: only once the file is known to be there

    model, metadata = load_model(file)
    stored = metadata.decisions
    return Detector(
        model,
        classes=metadata.classes,
        features=metadata.config.features,
        scaler=metadata.scaler,
        decisions=ClassDecisions.from_dict(stored) if stored else metadata.config.decisions,
        provenance=metadata.provenance,
        batch_size=batch_size,
    )
