"""Detect events in any recording: `load` a model, then ``.detect()``, ``.tag()`` or ``.scores()``.

>>> import crnn_weak
>>> crnn_weak.load("runs/first").detect("street.wav")           # doctest: +SKIP
EventList(3 events of street.wav)

A recording may be of any length, rate and channel count: it is read in blocks, scored in overlapping windows of the
model's own clip length (`crnn_weak.detection.windows` says how they join), and its scores become events as they come
(`crnn_weak.detection.postprocessing`), so that ten hours take the memory of ten minutes. Windows of many short
recordings share a batch, and reading runs beside the model.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crnn_weak.audio import AudioBlocks
from crnn_weak.config import FeatureConfig, OperatingPointConfig
from crnn_weak.detection.job import Detection, Job, OnScores, Tag
from crnn_weak.detection.model_file import model_file
from crnn_weak.detection.notebook import detector_html
from crnn_weak.detection.operating_point import OperatingPoint, as_operating_point, stored_point
from crnn_weak.detection.predict import predict
from crnn_weak.detection.prefetch import prefetched
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.windows import FrameStream, WindowPlan
from crnn_weak.errors import ConfigError, DataError, ModelFileError
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.features.scaler import Scaler
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.events import EventList

__all__ = ["Detector", "load"]

logger = logging.getLogger(__name__)

# Blocks that wait between the reading thread and the model.
_DEPTH = 4


class Detector:
    """A model with all that is needed to use it.

    Parameters
    ----------
    model : keras.Model
        Or anything with ``predict_on_batch``, or a callable: (n, n_frames, n_mels) -> {"strong", "weak"}.
    classes : sequence of str
    features : FeatureConfig
    scaler : Scaler
    operating_point : OperatingPoint or OperatingPointConfig, optional
        The paper's by default.
    provenance : mapping
        Where the model comes from.
    default_classes : sequence of str, optional
        Classes that are detected if none are named; all by default.
    batch_size : int
        Windows per call of the model; a batch that is not full is filled up, so that few shapes are compiled.
    window_hop_seconds : float, optional
        From one window to the next; by default a hundredth of the window, at least one frame. Computation is
        inversely proportional to it; at one frame the scores of a long recording do not depend on where its windows
        lie (`crnn_weak.detection.windows`).

    See Also
    --------
    load : make a detector from a model file or run folder.
    crnn_weak.detection.live.LiveDetector : detect in a stream that has no end.
    """

    def __init__(
        self,
        model: Any,
        *,
        classes: Sequence[str],
        features: FeatureConfig,
        scaler: Scaler,
        operating_point: OperatingPoint | OperatingPointConfig | None = None,
        provenance: Mapping[str, Any] | None = None,
        default_classes: Sequence[str] | None = None,
        batch_size: int = 32,
        window_hop_seconds: float | None = None,
    ) -> None:
        self.model = model
        self.classes = tuple(classes)
        self.features = features
        self.scaler = scaler
        self.operating_point = as_operating_point(operating_point or OperatingPointConfig(), self.classes)
        self.provenance = dict(provenance or {})
        self.default_classes = self.classes if default_classes is None else tuple(default_classes)
        class_indices(self.default_classes, self.classes, where="default_classes")
        self.batch_size = batch_size
        n_hop = None
        if window_hop_seconds is not None:
            if not 0 < window_hop_seconds <= features.clip_seconds / 2:
                raise ConfigError(
                    f"window hop of {window_hop_seconds:g} s: expected above 0, and at most half a window, "
                    f"{features.clip_seconds / 2:g} s."
                )
            n_hop = max(1, round(window_hop_seconds / features.hop_seconds))
        self.plan = WindowPlan.crossfade(features.n_frames, n_hop)
        self.extractor = LogMelExtractor(features)

    def __repr__(self) -> str:
        return f"Detector({len(self.classes)} classes, windows of {self.features.clip_seconds:g} s)"

    def _repr_html_(self) -> str:
        return detector_html(self.classes, self.features, self.operating_point, self.provenance)

    # --- one recording ----------------------------------------------------------------------------------------------

    def detect(
        self,
        source: Any,
        *,
        operating_point: OperatingPoint | OperatingPointConfig | None = None,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> EventList:
        """Return the events of a recording.

        Parameters
        ----------
        source : path, binary file, or (array, sample_rate_hz)
            Of any length; the array has shape (n_samples,) or (n_samples, n_channels).
        operating_point : OperatingPoint or OperatingPointConfig, optional
            By default the one stored with the model.
        threshold : float, optional
            One threshold for all classes, in place of the operating point's.
        classes : sequence of str, optional
            Only these classes; by default `default_classes`.

        Returns
        -------
        EventList
            Onsets and offsets in seconds, labels, and scores in [0, 1]: the mean of the event's frame scores.

        Raises
        ------
        DataError
            The recording cannot be read to its end (see `crnn_weak.audio`).
        LabelError
            The model does not have a class.

        See Also
        --------
        tag, scores
        detect_many : for more than one recording.
        """
        point = self.operating_point if operating_point is None else as_operating_point(operating_point, self.classes)
        return self._one(source, _at(point, threshold), classes).events

    def tag(self, source: Any, *, threshold: float | None = None) -> tuple[Tag, ...]:
        """Return the classes that sound somewhere in a recording, the likeliest first, with the weak output's scores.

        Of a recording longer than one window each class's score is the largest of the windows'.
        """
        return self._one(source, _at(self.operating_point, threshold)).tags

    def scores(self, source: Any) -> Scores:
        """Return the scores of a recording as one clip, whole in memory (10 h of 20 ms frames, 17 classes: 122 MB)."""
        parts: list[np.ndarray] = []
        result = self._one(source, self.operating_point, on_scores=lambda _, strong: parts.append(strong))
        strong, hop_seconds = np.concatenate(parts), self.features.hop_seconds
        return Scores((result.recording.name,), self.classes, hop_seconds, strong[None], result.weak[None])

    def _one(
        self,
        source: Any,
        point: OperatingPoint,
        classes: Sequence[str] | None = None,
        on_scores: OnScores | None = None,
    ) -> Detection:
        recording = source if isinstance(source, Recording) else Recording.of(source)
        (result,) = self.detect_many([recording], operating_point=point, classes=classes, on_scores=on_scores)
        if result.error is not None:
            raise result.error
        for warning in result.warnings:
            logger.warning("%s: %s", recording.name or "recording", warning)
        return result

    # --- many recordings --------------------------------------------------------------------------------------------

    def detect_many(
        self,
        recordings: Iterable[Recording],
        *,
        operating_point: OperatingPoint | None = None,
        classes: Sequence[str] | None = None,
        on_scores: OnScores | None = None,
    ) -> Iterator[Detection]:
        """Process recordings one after the other; yield a `Detection` for each, failed ones included, in order.

        Parameters
        ----------
        recordings : iterable of Recording
        operating_point : OperatingPoint, optional
            By default the one stored with the model.
        classes : sequence of str, optional
            Only these classes.
        on_scores : callable, optional
            Called with a recording and its next frame scores, as they come; for results that no memory holds.

        Raises
        ------
        LabelError
            The model does not have one of `classes`.
        """
        wanted = self.default_classes if classes is None else tuple(classes)
        class_indices(wanted, self.classes, where="classes")
        point = operating_point or self.operating_point
        options: dict[str, Any] = {
            "point": point,
            "hop_seconds": self.features.hop_seconds,
            "plan": self.plan,
            "wanted": wanted,
        }
        rate = self.features.sample_rate_hz
        jobs = (
            Job(recording, AudioBlocks(recording.source, rate, recording.name), on_scores=on_scores, **options)
            for recording in recordings
        )
        return self._run(prefetched(self._read(jobs), depth=_DEPTH))

    def _read(self, jobs: Iterable[Job]) -> Iterator[_Piece]:
        """Read and compute features; this runs in the second thread."""
        for job in jobs:
            try:
                for frames, n_valid in self.frames(job.audio):
                    yield _Piece(job, frames, n_valid)
            except DataError as error:
                yield _Piece(job, error=error)

    def _run(self, pieces: Generator[_Piece, None, None]) -> Iterator[Detection]:
        """Score windows batch by batch, and finish the recordings in order."""
        jobs: deque[Job] = deque()
        queue: list[tuple[Job, int, np.ndarray]] = []
        try:
            for job, frames, n_valid, error in pieces:
                if not jobs or jobs[-1] is not job:
                    jobs.append(job)
                if error is not None:
                    job.error = error
                    queue = [entry for entry in queue if entry[0] is not job]
                else:
                    queue += [(job, first, window) for first, window in job.push(frames, n_valid)]
                while len(queue) >= self.batch_size:
                    self.score(queue[: self.batch_size])
                    del queue[: self.batch_size]
                while jobs and jobs[0].done:
                    yield jobs.popleft().result()
            self.score(queue)
            while jobs:
                yield jobs.popleft().result()
        finally:
            pieces.close()

    # --- the steps, for files and live streams ----------------------------------------------------------------------

    def frames(self, audio: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int | None]]:
        """Yield standardized log mel frames of mono blocks at the model's rate.

        Parameters
        ----------
        audio : iterable of np.ndarray of float32, shape (n_samples,)

        Yields
        ------
        frames : np.ndarray of float32, shape (n_frames, n_mels)
            A recording shorter than a window is padded to one.
        n_valid : int or None
            With the last frames, the number of all that are not padding.
        """
        stream, n_samples = FrameStream(self.extractor, self.features), 0
        for block in audio:
            n_samples += block.size
            yield self.standardized(stream.push(block)), None
        if n_samples:
            n_valid = max(1, round(n_samples / self.features.n_hop))
            yield self.standardized(stream.finish(at_least=self.plan.n_window)), n_valid

    def standardized(self, frames: np.ndarray) -> np.ndarray:
        """Return log mel frames as the model takes them, shape (n_frames, n_mels)."""
        scaled: np.ndarray = self.scaler.transform(frames).astype(np.float32, copy=False)
        return scaled

    def score(self, windows: Sequence[tuple[Job, int, np.ndarray]]) -> None:
        """Score windows of recordings, each with its first frame, and hand the scores to their jobs."""
        if not windows:
            return
        strong, weak = self.predict(np.stack([frames for _, _, frames in windows]))
        for (job, first, _), strong_scores, weak_scores in zip(windows, strong, weak, strict=True):
            job.accept(first, strong_scores, weak_scores)
        for job in dict.fromkeys(job for job, _, _ in windows):  # each once, in the order of first appearance
            job.collect()

    def predict(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (strong (n, n_frames, n_classes), weak (n, n_classes)) of windows (n, n_frames, n_mels)."""
        n_windows = len(windows)
        size = next((size for size in (1, 4) if n_windows <= size < self.batch_size), self.batch_size)
        if n_windows < size:
            windows = np.concatenate([windows, np.zeros((size - n_windows, *windows.shape[1:]), np.float32)])
        strong, weak = predict(self.model, windows)
        return strong[:n_windows], weak[:n_windows]


def _at(point: OperatingPoint, threshold: float | None) -> OperatingPoint:
    """Return the operating point with one threshold for all frames and tags, where it is given."""
    return point if threshold is None else point.replace(thresholds=threshold, tag_thresholds=threshold)


class _Piece(NamedTuple):
    """Frames of a job on their way from the reading thread, or the reason why there are no more."""

    job: Job
    frames: np.ndarray = np.zeros((0, 0), np.float32)
    n_valid: int | None = None
    error: DataError | None = None


# --- loading ---------------------------------------------------------------------------------------------------------


def load(path: str | Path | None = None, *, batch_size: int = 32, window_hop_seconds: float | None = None) -> Detector:
    """Load a model for use.

    Parameters
    ----------
    path : path, optional
        A ``.keras`` file or a run folder; by default the starter model. Its operating point is the one in
        ``operating_point.json`` beside the model file, or else the model's own.
    batch_size : int
        Windows per call of the model; memory grows with it.
    window_hop_seconds : float, optional
        See `Detector`.

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
    from crnn_weak.model.archive import load_model  # TensorFlow: only once the file is known to be there

    model, metadata = load_model(file)
    stored = stored_point(file.parent, metadata.classes)
    point: OperatingPoint | OperatingPointConfig = metadata.config.operating_point
    if stored is not None:
        point = stored.operating_point
    elif metadata.operating_point:
        point = OperatingPoint.from_dict(metadata.operating_point)
    default_classes = metadata.provenance.get("default_classes")
    known = isinstance(default_classes, list | tuple) and all(label in metadata.classes for label in default_classes)
    if default_classes is not None and not known:
        raise ModelFileError(f"{file}: its default classes are not among its classes. Train or copy the model again.")
    return Detector(
        model,
        classes=metadata.classes,
        features=metadata.config.features,
        scaler=metadata.scaler,
        operating_point=point,
        provenance=metadata.provenance,
        default_classes=default_classes,
        batch_size=batch_size,
        window_hop_seconds=window_hop_seconds,
    )
