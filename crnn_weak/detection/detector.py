"""Detect events in any recording: `load` a model, then ``.detect()``, ``.tag()`` or ``.scores()``.

A recording may be of any length, rate and channel count. It is read in blocks and scored in overlapping windows of the
model's own clip length (`crnn_weak.detection.windows`). Windows of many short recordings share a batch, and a second
thread reads while the model computes.
"""

from __future__ import annotations

import html
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from crnn_weak.audio import AudioBlocks
from crnn_weak.config import FeatureConfig, OperatingPointConfig
from crnn_weak.detection.cards import recording_card
from crnn_weak.detection.operating_point import OperatingPoint, as_operating_point, stored_point
from crnn_weak.detection.postprocessing import find_events
from crnn_weak.detection.predict import predict
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.windows import FrameStream, OverlapAdd, SlidingWindows, Window
from crnn_weak.errors import ConfigError, DataError, ModelFileError, RunError
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.features.scaler import Scaler
from crnn_weak.labels.events import Event, EventList, class_indices
from crnn_weak.run_files import RunFiles

logger = logging.getLogger(__name__)

#: The model that comes with the package.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.keras"

# Blocks that wait between the reading thread and the model.
_DEPTH = 4

_Item = TypeVar("_Item")


class Tag(NamedTuple):
    """A class that sounds somewhere in a recording, and its score in [0, 1]."""

    label: str
    score: float


@dataclass
class Detection:
    """Events, tags and scores of one recording, or the reason why it failed.

    With an `error`, events and scores are empty. `tags` are the classes whose weak score is above their threshold, most
    likely first.
    """

    recording: Recording
    events: EventList
    tags: tuple[Tag, ...] = ()
    scores: Scores | None = None
    duration_seconds: float = 0.0
    error: DataError | None = None
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        if self.error is not None:
            return f"<p>{html.escape(f'{self.recording.name}: {self.error}')}</p>"
        return recording_card(self.recording.source, self.events, self.tags)


class _Progress:
    """A recording on its way through a detector."""

    def __init__(self, recording: Recording, detector: Detector) -> None:
        features = detector.features
        self.recording = recording
        self.audio = AudioBlocks(recording.source, features.sample_rate_hz, recording.name)
        self.frames = FrameStream(self.audio, detector.extractor, features, min_frames=features.n_frames)
        self.overlap_add = OverlapAdd(detector.windows, len(detector.classes))
        self.weak = np.zeros(len(detector.classes), np.float32)  # of a long recording, the largest of its windows
        self.error: DataError | None = None
        self.is_scored = False

    @property
    def has_ended(self) -> bool:
        """True if all windows are scored, or the recording failed."""
        return self.is_scored or self.error is not None

    def add(self, window: Window, strong: np.ndarray, weak: np.ndarray) -> None:
        """Take the scores of a window."""
        self.overlap_add.add(window, strong, weak)
        np.maximum(self.weak, weak, out=self.weak)
        self.is_scored = window.is_last


class Detector:
    """A model with everything that is needed to use it.

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
        inversely proportional to it; at one frame the scores of a long recording do not depend on the positions of
        its windows (`crnn_weak.detection.windows`).

    See Also
    --------
    load : make a detector from a model file or run folder.
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
            longest = features.clip_seconds / 2
            if not 0 < window_hop_seconds <= longest:
                raise ConfigError(
                    f"window hop of {window_hop_seconds:g} s: expected more than 0 and at most half a window, "
                    f"{longest:g} s."
                )
            n_hop = max(1, round(window_hop_seconds / features.hop_seconds))
        self.windows = SlidingWindows(features.n_frames, n_hop)
        self.extractor = LogMelExtractor(features)

    def __repr__(self) -> str:
        return f"Detector({len(self.classes)} classes, windows of {self.features.clip_seconds:g} s)"

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
        return self._detect_one(source, point, threshold, classes).events

    def tag(self, source: Any, *, threshold: float | None = None) -> tuple[Tag, ...]:
        """Return the classes that sound somewhere in a recording, most likely first, with their weak scores.

        For a recording longer than one window, each class's score is the largest over its windows.
        """
        return self._detect_one(source, self.operating_point, threshold).tags

    def scores(self, source: Any) -> Scores:
        """Return the scores of a recording as one clip (10 h of 20 ms frames, 17 classes: 122 MB)."""
        scores = self._detect_one(source, self.operating_point).scores
        assert scores is not None
        return scores

    def _detect_one(
        self,
        source: Any,
        point: OperatingPoint,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> Detection:
        if threshold is not None:
            point = point.replace(thresholds=threshold, tag_thresholds=threshold)
        recording = source if isinstance(source, Recording) else Recording.of(source)
        (detection,) = self.detect_many([recording], operating_point=point, classes=classes)
        if detection.error is not None:
            raise detection.error
        for warning in detection.warnings:
            logger.warning("%s: %s", recording.name or "recording", warning)
        return detection

    def detect_many(
        self,
        recordings: Iterable[Recording],
        *,
        operating_point: OperatingPoint | None = None,
        classes: Sequence[str] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[Detection]:
        """Process recordings one after the other; yield a `Detection` for each, failed ones included, in order.

        Parameters
        ----------
        recordings : iterable of Recording
        operating_point : OperatingPoint, optional
            By default the one stored with the model.
        classes : sequence of str, optional
            Only these classes.
        on_progress : callable, optional
            Called with the seconds of sound by which scoring advanced.

        Raises
        ------
        LabelError
            The model does not have one of `classes`.
        """
        wanted = self.default_classes if classes is None else tuple(classes)
        class_indices(wanted, self.classes, where="classes")
        point = operating_point or self.operating_point
        return self._run(prefetch(self._read(recordings), depth=_DEPTH), point, wanted, on_progress)

    def _read(self, recordings: Iterable[Recording]) -> Iterator[tuple[_Progress, list[Window], DataError | None]]:
        """Read recordings and compute features; this runs in the second thread."""
        for recording in recordings:
            progress = _Progress(recording, self)
            try:
                for windows in self.windows.cut(map(self.scaler.transform, progress.frames)):
                    yield progress, windows, None
            except DataError as error:
                yield progress, [], error

    def _run(
        self,
        blocks: Generator[tuple[_Progress, list[Window], DataError | None], None, None],
        point: OperatingPoint,
        wanted: Sequence[str],
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Detection]:
        """Score windows batch by batch, and finish the recordings in order."""
        unfinished: deque[_Progress] = deque()
        queue: list[tuple[_Progress, Window]] = []

        def score(n_windows: int) -> None:
            batch = queue[:n_windows]
            del queue[:n_windows]
            self._score(batch)
            if on_progress is not None:
                on_progress(len(batch) * self.windows.n_hop * self.features.hop_seconds)

        try:
            for progress, windows, error in blocks:
                if not unfinished or unfinished[-1] is not progress:
                    unfinished.append(progress)
                queue += [(progress, window) for window in windows]
                if error is not None:
                    progress.error = error
                    queue = [entry for entry in queue if entry[0] is not progress]
                while len(queue) >= self.batch_size:
                    score(self.batch_size)
                while unfinished and unfinished[0].has_ended:
                    yield self._detection(unfinished.popleft(), point, wanted)
            if queue:
                score(len(queue))
            while unfinished:
                yield self._detection(unfinished.popleft(), point, wanted)
        finally:
            blocks.close()

    def _score(self, batch: Sequence[tuple[_Progress, Window]]) -> None:
        """Score windows of recordings; few sizes of batches, since the model is compiled for each."""
        n_windows = len(batch)
        size = next((size for size in (1, 4) if n_windows <= size < self.batch_size), self.batch_size)
        frames = np.zeros((size, self.features.n_frames, self.features.n_mels), np.float32)
        for index, (_, window) in enumerate(batch):
            frames[index] = window.frames
        strong, weak = predict(self.model, frames)
        for index, (progress, window) in enumerate(batch):
            progress.add(window, strong[index], weak[index])

    def _detection(self, progress: _Progress, point: OperatingPoint, wanted: Sequence[str]) -> Detection:
        """Return the events and tags of a recording whose windows are scored, or its error."""
        recording, weak, duration = progress.recording, progress.weak, progress.audio.duration_seconds
        if progress.error is not None:
            return Detection(recording, EventList(clip_id=recording.name), error=progress.error)
        strong, weak_in_time = progress.overlap_add.scores(progress.frames.n_valid_frames)
        (found,) = find_events(strong[None], point, self.features.hop_seconds, weak_in_time[None])
        events = [
            Event(event.onset, min(event.offset, round(duration, 6)), event.label, event.score)
            for event in found
            if event.label in wanted and event.onset < duration  # the last frame may reach further
        ]
        tags = tuple(
            Tag(self.classes[index], round(float(weak[index]), 6))
            for index in np.argsort(-weak, kind="stable")
            if weak[index] > np.float32(point.tag_thresholds[index]) and self.classes[index] in wanted
        )
        scores = Scores((recording.name,), self.classes, self.features.hop_seconds, strong[None], weak[None])
        listed = EventList(events, clip_id=recording.name, duration_seconds=duration)
        return Detection(recording, listed, tags, scores, duration, warnings=tuple(progress.audio.warnings))


def prefetch(items: Iterator[_Item], *, depth: int) -> Generator[_Item, None, None]:
    """Yield the items in order, from a second thread that is at most `depth` of them ahead.

    Reading, resampling and features spend their time outside Python's lock, so they run while the model computes.

    >>> list(prefetch(iter(range(3)), depth=2))
    [0, 1, 2]
    """
    end = object()
    with ThreadPoolExecutor(1, "crnn-weak-reader") as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# --- loading ---------------------------------------------------------------------------------------------------------


def model_file(path: str | Path | None = None) -> Path:
    """Return the model file that a path means: a ``.keras`` file, a run folder (its ``best.keras``), or the starter."""
    if path is None:
        if not STARTER_MODEL.is_file():
            raise ModelFileError(
                "no --model was given and the starter model is missing; make one with "
                "`python scripts/starter_model.py`, or pass a run folder or a .keras file."
            )
        return STARTER_MODEL
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ModelFileError(f"{path}: no such model. Expected a run folder or a .keras file.")
        return path
    best = RunFiles(path).best_model
    if not best.is_file():
        below = sorted(path.glob(f"**/{best.name}"))
        hint = f"Did you mean {below[0].parent}?" if below else "Train one with crnn-weak train."
        raise RunError(f"{path}: the folder holds no {best.name}. {hint}")
    return best


def load(path: str | Path | None = None, *, batch_size: int = 32, window_hop_seconds: float | None = None) -> Detector:
    """Load a model for use.

    Parameters
    ----------
    path : path, optional
        A ``.keras`` file or a run folder; by default the starter model. Its operating point is the one in
        ``operating_point.json`` next to the model file, or else the model's own.
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
    is_valid = isinstance(default_classes, list) and all(label in metadata.classes for label in default_classes)
    if default_classes is not None and not is_valid:
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
