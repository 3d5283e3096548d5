"""Detect events in any recording: `load` a model, then ``.detect()``, ``.tag()`` or ``.scores()``.

A recording is read in blocks and scored in overlapping windows of the model's own clip length. Windows of many short
recordings share a batch, and a second thread reads while the model computes.
"""

from __future__ import annotations

import html
import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crnn_weak.audio import AudioBlocks
from crnn_weak.config import FeatureConfig
from crnn_weak.detection.operating_point import OperatingPoint, as_operating_point, stored_point
from crnn_weak.detection.postprocessing import active_tags, find_events
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.scores import Scores, predict
from crnn_weak.detection.windows import FrameStream, OverlapAdd, SlidingWindows, Window
from crnn_weak.errors import ConfigError, DataError, ModelFileError, RunError
from crnn_weak.features.log_mel import LogMelExtractor, Scaler
from crnn_weak.labels.events import Event, EventList, class_indices
from crnn_weak.run_files import RunFiles

logger = logging.getLogger(__name__)

#: The model that comes with the package.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.keras"

# Blocks that wait between the reading thread and the model.
_DEPTH = 4
# Longer recordings have no player in a notebook, which holds their sound as text.
_MOST_PLAYED_SECONDS = 60.0


class Tag(NamedTuple):
    """A class that sounds somewhere in a recording, and its score in [0, 1]."""

    label: str
    score: float


@dataclass
class Detection:
    """Events, tags and scores of one recording, or the `error` for which it failed."""

    recording: Recording
    events: EventList
    tags: tuple[Tag, ...] = ()
    scores: Scores | None = None
    duration_seconds: float = 0.0
    error: DataError | None = None
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Return player, picture and table for a notebook, or why it failed."""
        if self.error is not None:
            return f"<p>{html.escape(f'{self.recording.name}: {self.error}')}</p>"
        tags = ", ".join(f"{label} {score:.2f}" for label, score in self.tags) or "none"
        return f"{self._player()}{self._picture()}{self.events._repr_html_()}<p>tags: {html.escape(tags)}</p>"

    def _player(self) -> str:
        from IPython.display import Audio  # only notebooks ask for HTML

        source, player = self.recording.source, ""
        if self.duration_seconds > _MOST_PLAYED_SECONDS:
            return player
        if isinstance(source, tuple):
            player = Audio(np.asarray(source[0]).T, rate=source[1])._repr_html_()
        elif isinstance(source, str | Path) and os.path.isfile(source):
            player = Audio(filename=str(source))._repr_html_()
        return player

    def _picture(self) -> str:
        """Return a lane of the recording's length for each label, with its events as bars."""
        scale = 100 / max(self.duration_seconds, 1e-9)
        lanes = []
        for label in self.events.labels:
            bars = ""
            for event in self.events:
                if event.label == label:
                    bars += f'<rect x="{scale * event.onset:.2f}%" width="{scale * event.duration:.2f}%" height="12"/>'
            lanes.append(f'<div>{html.escape(label)}</div><svg width="100%" height="12">{bars}</svg>')
        return "".join(lanes)


class _Progress:
    """A recording on its way through a detector."""

    def __init__(self, recording: Recording, detector: Detector) -> None:
        features, n_classes = detector.features, len(detector.classes)
        self.recording = recording
        self.audio = AudioBlocks(recording.source, features.sample_rate_hz, recording.name)
        self.frames = FrameStream(self.audio, detector.extractor, features, min_frames=features.n_frames)
        self.overlap_add = OverlapAdd(detector.windows, n_classes)
        self.weak = np.zeros(n_classes, np.float32)  # of a long recording, the largest of its windows
        self.error: DataError | None = None
        self.has_ended = False  # all windows are scored, or the recording failed


@dataclass(eq=False, repr=False)
class Detector:
    """A model with everything that is needed to use it; `load` makes one from a model file or run folder.

    `model` is a Keras model, anything with ``predict_on_batch``, or a callable: (n, n_frames, n_mels) -> {"strong",
    "weak"}. `provenance` says where it comes from; its ``default_classes`` are detected where none are named.
    `window_hop_seconds` is from one window to the next, by default a hundredth of the window, at least one frame;
    computation is inversely proportional to it (see `crnn_weak.detection.windows`).
    """

    model: Any
    classes: tuple[str, ...]
    features: FeatureConfig
    scaler: Scaler
    operating_point: OperatingPoint
    provenance: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    window_hop_seconds: float | None = None

    def __post_init__(self) -> None:
        as_operating_point(self.operating_point, self.classes)
        self.default_classes = tuple(self.provenance.get("default_classes", self.classes))
        class_indices(self.default_classes, self.classes, where="default_classes")
        n_hop, longest = None, self.features.clip_seconds / 2
        if self.window_hop_seconds is not None:
            if not 0 < self.window_hop_seconds <= longest:
                raise ConfigError(
                    f"window hop of {self.window_hop_seconds:g} s: expected more than 0 and at most half a window, "
                    f"{longest:g} s."
                )
            n_hop = max(1, round(self.window_hop_seconds / self.features.hop_seconds))
        self.windows = SlidingWindows(self.features.n_frames, n_hop)
        self.extractor = LogMelExtractor(self.features)

    def __repr__(self) -> str:
        return f"Detector({len(self.classes)} classes, windows of {self.features.clip_seconds:g} s)"

    def detect(self, source: Any, *, threshold: float | None = None, classes: Sequence[str] | None = None) -> EventList:
        """Return the events of a recording: onsets and offsets in seconds, and the means of their frame scores.

        Parameters
        ----------
        source : path, binary file, or (array, sample_rate_hz)
            Of any length; the array has shape (n_samples,) or (n_samples, n_channels).
        threshold : float, optional
            One threshold for all classes, in place of the operating point's.
        classes : sequence of str, optional
            Only these classes; by default `default_classes`.

        Raises
        ------
        DataError
            The recording cannot be read to its end, or the model does not have a class.
        """
        return self._detect_one(source, threshold, classes).events

    def tag(self, source: Any, *, threshold: float | None = None) -> tuple[Tag, ...]:
        """Return the classes that sound somewhere in a recording, most likely first, with their weak scores.

        For a recording longer than one window, each class's score is the largest over its windows.
        """
        return self._detect_one(source, threshold).tags

    def scores(self, source: Any) -> Scores:
        """Return the scores of a recording as one clip (10 h of 20 ms frames, 17 classes: 122 MB)."""
        scores = self._detect_one(source).scores
        assert scores is not None
        return scores

    def _detect_one(
        self, source: Any, threshold: float | None = None, classes: Sequence[str] | None = None
    ) -> Detection:
        point = self.operating_point
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

        `operating_point` is by default the one stored with the model. `on_progress` is called with the seconds of
        sound by which scoring advanced. A class that the model does not have is a LabelError.
        """
        wanted = self.default_classes if classes is None else tuple(classes)
        class_indices(wanted, self.classes, where="classes")
        point = operating_point or self.operating_point
        blocks = prefetch(self._read(recordings), depth=_DEPTH)
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
                    progress.error, progress.has_ended = error, True
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

    def _read(self, recordings: Iterable[Recording]) -> Iterator[tuple[_Progress, list[Window], DataError | None]]:
        """Read recordings and compute features; this runs in the second thread."""
        for recording in recordings:
            progress = _Progress(recording, self)
            try:
                for windows in self.windows.cut(map(self.scaler.transform, progress.frames)):
                    yield progress, windows, None
            except DataError as error:
                yield progress, [], error

    def _score(self, batch: Sequence[tuple[_Progress, Window]]) -> None:
        """Score windows of recordings; few sizes of batches, since the model is compiled for each."""
        n_windows = len(batch)
        size = next((size for size in (1, 4) if n_windows <= size < self.batch_size), self.batch_size)
        frames = np.zeros((size, self.features.n_frames, self.features.n_mels), np.float32)
        for index, (_, window) in enumerate(batch):
            frames[index] = window.frames
        strong, weak = predict(self.model, frames)
        for index, (progress, window) in enumerate(batch):
            progress.overlap_add.add(window, strong[index], weak[index])
            np.maximum(progress.weak, weak[index], out=progress.weak)
            progress.has_ended = window.is_last

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
        is_tagged = active_tags(weak, point)
        tags = tuple(
            Tag(self.classes[index], round(float(weak[index]), 6))
            for index in np.argsort(-weak, kind="stable")
            if is_tagged[index] and self.classes[index] in wanted
        )
        scores = Scores((recording.name,), self.classes, self.features.hop_seconds, strong[None], weak[None])
        listed = EventList(events, clip_id=recording.name, duration_seconds=duration)
        return Detection(recording, listed, tags, scores, duration, warnings=tuple(progress.audio.warnings))


def prefetch(items: Iterator[Any], *, depth: int) -> Generator[Any, None, None]:
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
                yield item
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def model_file(path: str | Path | None = None) -> Path:
    """Return the model file that a path means: a ``.keras`` file, a run folder (its ``best.keras``), or the starter."""
    if path is None and not STARTER_MODEL.is_file():
        raise ModelFileError("the starter model is missing: python scripts/starter_model.py, or pass a run or a file.")
    path = STARTER_MODEL if path is None else Path(path)
    if not path.exists():
        raise ModelFileError(f"{path}: no such model. Expected a run folder or a .keras file.")
    if not path.is_dir():
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
    batch_size, window_hop_seconds
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
    if stored is not None:
        point = stored.operating_point
    elif metadata.operating_point:
        point = OperatingPoint.from_dict(metadata.operating_point)
    else:
        point = OperatingPoint.from_config(metadata.config.operating_point, metadata.classes)
    return Detector(
        model,
        classes=metadata.classes,
        features=metadata.config.features,
        scaler=metadata.scaler,
        operating_point=point,
        provenance=metadata.provenance,
        batch_size=batch_size,
        window_hop_seconds=window_hop_seconds,
    )
