"""Detect events in any recording: `load` a model, then ``.detect()``, ``.tag()`` or ``.scores()``.

A recording is read in blocks and scored in overlapping windows of the model's own clip length (`windows`). Windows of
many short recordings share a batch, and a second thread reads while the model computes.
"""

from __future__ import annotations

import html
import logging
import math
import os
import unicodedata
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crnn_weak.audio import AudioBlocks
from crnn_weak.audio.samples import array_source
from crnn_weak.bundled import EVERYDAY, EVERYDAY_CC
from crnn_weak.config import FeatureConfig
from crnn_weak.detection.postprocessing import OperatingPoint, active_tags, check_classes, find_events, stored_point
from crnn_weak.detection.scores import Scores, predict
from crnn_weak.detection.windows import FrameStream, OverlapAdd, SlidingWindows, Window
from crnn_weak.errors import ConfigError, DataError, ModelFileError, RunError, visible
from crnn_weak.features.log_mel import LogMelExtractor, Scaler
from crnn_weak.labels.events import Event, EventList, class_indices
from crnn_weak.labels.rolls import roll_runs
from crnn_weak.run_files import RunFiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_DEPTH = 4  # batches of windows that wait between the reading thread and the model
_MOST_PLAYED_SECONDS = 60.0  # longer recordings have no player in a notebook, which holds their sound as text
_MOST_SPANS = 5  # without sound, that a warning names
_MOST_COLUMNS = 4000  # of a picture: more than a page has dots; a longer recording is averaged down


def listed_name(path: str) -> str:
    """Return a path as text that every list and terminal can hold: NFC, one line, other characters escaped."""
    return visible(unicodedata.normalize("NFC", path))


@dataclass(frozen=True)
class Recording:
    """One recording: the name under which it is listed, and its source, as `crnn_weak.audio.AudioBlocks` takes it."""

    name: str
    source: Any


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
        """Return for a notebook a player, a lane of events for each label, and their table; or why it failed."""
        if self.error is not None:
            return f"<p>{html.escape(f'{self.recording.name}: {self.error}')}</p>"
        from IPython.display import Audio

        source, scale, parts = self.recording.source, 100 / max(self.duration_seconds, 1e-9), []
        if self.duration_seconds <= _MOST_PLAYED_SECONDS:
            array = array_source(source, self.recording.name)
            if array is not None:
                parts.append(Audio(array[0].T, rate=array[1])._repr_html_())
            elif isinstance(source, str | bytes | os.PathLike) and os.path.isfile(source):
                parts.append(Audio(filename=os.fsdecode(source))._repr_html_())
        for label in self.events.labels:
            bars = ""
            for event in self.events:
                if event.label == label:
                    bars += f'<rect x="{scale * event.onset:.2f}%" width="{scale * event.duration:.2f}%" height="12"/>'
            parts.append(f'<div>{html.escape(label)}</div><svg width="100%" height="12">{bars}</svg>')
        tags = ", ".join(f"{label} {score:.2f}" for label, score in self.tags) or "none"
        return "".join([*parts, self.events._repr_html_(), f"<p>tags: {html.escape(tags)}</p>"])


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


_Batch = list[tuple[_Progress, Window]]


@dataclass(eq=False, repr=False)
class Detector:
    """A model with everything that is needed to use it; `load` makes one from a model file or run folder.

    `model` has ``predict_on_batch`` or is a callable, of (n, n_frames, n_mels) to "strong" and "weak". `provenance`
    says where it comes from. `window_hop_seconds` is from one window to the next, by default a hundredth of a window;
    computation is inversely proportional to it.
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
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigError(f"batch_size = {self.batch_size!r}: expected a whole number of at least 1.")
        check_classes(self.operating_point, self.classes)
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
        source : path, binary file, (array, sample_rate_hz), or mapping with "array" and "sampling_rate"
            Of any length. The array has shape (n_samples,), (n_samples, n_channels) or (n_channels, n_samples): floats
            in [-1, 1], int16 or uint8.
        threshold : float, optional
            One threshold for all classes, in place of the operating point's.
        classes : sequence of str, optional
            Only these classes; by default all.
        """
        return self._detect_one(source, threshold, classes).events

    def tag(self, source: Any, *, threshold: float | None = None) -> tuple[Tag, ...]:
        """Return the classes that sound somewhere in a recording, most likely first, with their largest weak scores."""
        return self._detect_one(source, threshold).tags

    def scores(self, source: Any) -> Scores:
        """Return the scores of a recording as one clip (10 h of 20 ms frames, 17 classes: 122 MB)."""
        scores = self._detect_one(source).scores
        assert scores is not None
        return scores

    def plot(self, source: Any, *, threshold: float | None = None, classes: Sequence[str] | None = None) -> Figure:
        """Return a figure of a recording, log mel energies above and events below; the arguments are those of `detect`.

        The recording is read twice, so it cannot be a stream.
        """
        return self.draw(self._detect_one(source, threshold, classes))

    def draw(self, detection: Detection) -> Figure:
        """Return the figure of a recording that was detected before; it is read again."""
        from crnn_weak.figures.clip import recording_figure

        name, source, features = detection.recording.name, detection.recording.source, self.features
        frames = FrameStream(AudioBlocks(source, features.sample_rate_hz, name), self.extractor, features)
        log_mel = np.concatenate(list(frames))
        starts = np.arange(0, len(log_mel), math.ceil(len(log_mel) / _MOST_COLUMNS))
        n_frames = np.diff(starts, append=len(log_mel))
        log_mel = np.add.reduceat(log_mel, starts, axis=0) / n_frames[:, None]
        title = f"{name or 'recording'}: {len(detection.events)} events"
        return recording_figure(
            log_mel, detection.events, features=features, seconds=detection.duration_seconds, title=title
        )

    def _detect_one(
        self, source: Any, threshold: float | None = None, classes: Sequence[str] | None = None
    ) -> Detection:
        point = self.operating_point
        if threshold is not None:
            point = point.replace(thresholds=threshold, tag_thresholds=threshold)
        if not isinstance(source, Recording):
            is_path = isinstance(source, str | bytes | os.PathLike)
            name = listed_name(os.path.basename(os.fsdecode(source))) if is_path else ""
            source = Recording(name, source)
        (detection,) = self.detect_many([source], operating_point=point, classes=classes)
        if detection.error is not None:
            raise detection.error
        for warning in detection.warnings:
            logger.warning("%s: %s", source.name or "recording", warning)
        return detection

    def detect_many(
        self,
        recordings: Iterable[Recording],
        *,
        operating_point: OperatingPoint | None = None,
        classes: Sequence[str] | None = None,
        on_progress: Callable[[float], None] | None = None,  # gets the seconds by which scoring advanced
    ) -> Iterator[Detection]:
        """Process recordings one after the other; yield a `Detection` for each, failed ones included, in order."""
        wanted = self.classes if classes is None else classes
        class_indices(wanted, self.classes, where="classes")
        point = operating_point or self.operating_point
        unfinished: deque[_Progress] = deque()
        batches = _prefetch(self._batches(recordings, unfinished))
        try:
            for batch in batches:
                self._score(batch)
                if on_progress is not None:
                    on_progress(len(batch) * self.windows.n_hop * self.features.hop_seconds)
                while unfinished and unfinished[0].has_ended:
                    yield self._detection(unfinished.popleft(), point, wanted)
            while unfinished:
                yield self._detection(unfinished.popleft(), point, wanted)
        finally:
            batches.close()

    def _batches(self, recordings: Iterable[Recording], unfinished: deque[_Progress]) -> Iterator[_Batch]:
        """Read recordings, append them to `unfinished`, and yield their windows; this runs in the second thread."""
        queue: _Batch = []
        for recording in recordings:
            progress = _Progress(recording, self)
            unfinished.append(progress)
            try:
                for windows in self.windows.cut(map(self.scaler.transform, progress.frames)):
                    queue += [(progress, window) for window in windows]
                    while len(queue) >= self.batch_size:
                        yield queue[: self.batch_size]
                        queue = queue[self.batch_size :]
            except DataError as error:
                progress.error, progress.has_ended = error, True
                queue = [entry for entry in queue if entry[0] is not progress]
        if queue:
            yield queue

    def _score(self, batch: _Batch) -> None:
        """Score windows of recordings; few sizes of batches, since the model is compiled for each."""
        size = next((size for size in (1, 4) if len(batch) <= size < self.batch_size), self.batch_size)
        frames = np.zeros((size, self.features.n_frames, self.features.n_mels), np.float32)
        for index, (_, window) in enumerate(batch):
            frames[index] = window.frames
        strong, weak = predict(self.model, frames)
        for index, (progress, window) in enumerate(batch):
            progress.overlap_add.add(window, strong[index], weak[index])
            np.maximum(progress.weak, weak[index], out=progress.weak)
            if window.is_last:
                progress.has_ended = True

    def _detection(self, progress: _Progress, point: OperatingPoint, wanted: Sequence[str]) -> Detection:
        """Return what was found in a recording whose windows are scored, or its error."""
        recording, weak, duration = progress.recording, progress.weak, progress.audio.duration_seconds
        if progress.error is not None:
            return Detection(recording, EventList(clip_id=recording.name), error=progress.error)
        n_frames, silent = progress.frames.n_valid_frames, progress.frames.silent
        strong, weak_in_time = progress.overlap_add.scores(len(silent))
        if silent.any():
            # A network that never saw zeros reports what it likes there, in its weak output as well.
            heard, imagined = (strong[mask].max(axis=0, initial=0.0) for mask in (~silent, silent))
            weak = np.where(imagined > heard, np.minimum(weak, heard), weak)
            strong[silent] = 0.0
        strong, weak_in_time, silent = strong[:n_frames], weak_in_time[:n_frames], silent[:n_frames]
        (found,) = find_events(strong[None], point, self.features.hop_seconds, weak_in_time[None], silent=silent[None])
        events = [
            Event(event.onset, min(event.offset, round(duration, 6)), event.label, event.score)
            for event in found
            if event.label in wanted and event.onset < duration  # the last frame may reach further
        ]
        is_wanted = np.array([label in wanted for label in self.classes])
        if progress.frames.n_valid_frames > self.features.n_frames:
            point = point.replace(min_tags=0)  # a long recording may hold nothing
        (is_tagged,) = active_tags(np.where(is_wanted, weak, np.float32(-1))[None], point) & is_wanted
        tags = tuple(
            Tag(self.classes[index], round(float(weak[index]), 6))
            for index in np.argsort(-weak, kind="stable")
            if is_tagged[index]
        )
        scores = Scores((recording.name,), self.classes, self.features.hop_seconds, strong[None], weak[None])
        listed = EventList(events, clip_id=recording.name, duration_seconds=duration)
        warnings = [*progress.audio.warnings, *self._warnings(progress.audio.rate_hz, silent)]
        return Detection(recording, listed, tags, scores, duration, warnings=tuple(warnings))

    def _warnings(self, rate_hz: int, silent: np.ndarray) -> Iterator[str]:
        """Yield what the recording lacks: a line about its bandwidth, and one about spans without sound."""
        highest, limit = self.features.fmax_hz, rate_hz / 2
        if limit < 0.9 * highest:
            yield f"sample rate {rate_hz} Hz: no sound above {limit:g} Hz; the model hears up to {highest:g} Hz"
        _, first, last = roll_runs(silent[None])
        if len(first) and not silent.all():
            times = np.stack([first, last], axis=1) * self.features.hop_seconds
            spans = ", ".join(f"{begin:.2f} to {end:.2f} s" for begin, end in times[:_MOST_SPANS].tolist())
            more = f" and {len(times) - _MOST_SPANS} more" if len(times) > _MOST_SPANS else ""
            yield f"zeros (padding, dropouts?): {spans}{more}; no events there"


def _prefetch(items: Iterator[Any]) -> Generator[Any, None, None]:
    """Yield the items in order, from a second thread; reading and features need Python's lock for little of it."""
    end = object()
    with ThreadPoolExecutor(1, "crnn-weak-reader") as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(_DEPTH))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def model_file(path: str | Path | None = None) -> Path:
    """Return the model file that is meant: a bundled one, a ``.keras`` file, or a run folder (its ``best.keras``)."""
    bundled: dict[str | Path, Path] = {model.stem: model for model in (EVERYDAY_CC, EVERYDAY)}
    path = EVERYDAY_CC if path is None else bundled.get(path, Path(path))
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
        A ``.keras`` file, a run folder, or a bundled model: ``everyday-cc``, the default, or ``everyday``, which
        knows more classes. Its operating point is the one in ``operating_point.json`` next to the model file, or
        else the model's own.
    batch_size, window_hop_seconds
        See `Detector`.

    Raises
    ------
    ModelFileError, RunError
        The file or run is missing or damaged; nothing in the file is executed (Keras' safe mode).
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
