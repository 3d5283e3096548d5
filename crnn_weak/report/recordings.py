"""The page of ``crnn-weak detect --report`` and of ``crnn-weak demo``: each recording's picture, player and events."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import numpy as np

from crnn_weak import figures
from crnn_weak.audio import STDIN, AudioBlocks
from crnn_weak.detection.windows import FrameStream
from crnn_weak.errors import DataError
from crnn_weak.figures.style import span
from crnn_weak.files import relative_path, write_text
from crnn_weak.labels.events import Event
from crnn_weak.report.media import Picture, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crnn_weak.detection.detector import Detection, Detector

# More columns than a page has dots; a longer recording is averaged down to this.
_MOST_COLUMNS = 4000


class RecordingView(NamedTuple):
    """One recording of the page; `sound` is an address, `error` says why a recording failed."""

    name: str
    seconds: float
    events: Sequence[Event]
    picture: Picture | None = None
    sound: str = ""
    error: str = ""


def recording_view(detection: Detection, page: Path, picture: Picture | None = None) -> RecordingView:
    """Return a detection for `write_recordings_page`; the player opens the recording at its place."""
    source = detection.recording.source
    is_file = isinstance(source, str | Path) and source != STDIN
    sound = _address(source, page) if is_file and detection.error is None else ""
    error = "" if detection.error is None else str(detection.error)
    return RecordingView(detection.recording.name, detection.duration_seconds, detection.events, picture, sound, error)


def write_recordings_page(path: Path, recordings: Sequence[RecordingView], *, title: str) -> Path:
    """Write a page over the recordings and return its path."""
    write_text(path, render("recordings.html.j2", files=True, title=title, kind="detections", recordings=recordings))
    return path


def save_recording_picture(detection: Detection, detector: Detector, path: Path, page: Path) -> Picture:
    """Draw log mel and detected events into a PNG for `page`; the recording is read once more."""
    if detection.recording.source == STDIN:
        raise DataError("a recording on standard input cannot be read twice; save it to a file first.")
    name = detection.recording.name
    figure = figures.recording_figure(
        _log_mel(detection, detector),
        detection.events,
        features=detector.features,
        seconds=detection.duration_seconds,
        title=f"{name}: {len(detection.events)} events",
    )
    figures.save_figure(figure, path, formats=("png",), dpi=120)
    return Picture(_address(path, page), *span(figure.axes[0]))


def _address(path: str | Path, page: Path) -> str:
    return quote(os.fsencode(relative_path(os.path.abspath(path), page.parent.absolute())))


def _log_mel(detection: Detection, detector: Detector) -> np.ndarray:
    """Return the log mel of a recording, averaged down to at most 4,000 rows."""
    features, recording = detector.features, detection.recording
    audio = AudioBlocks(recording.source, features.sample_rate_hz, recording.name)
    frames = np.concatenate(list(FrameStream(audio, detector.extractor, features)))
    n_pooled = math.ceil(len(frames) / _MOST_COLUMNS)
    starts = np.arange(0, len(frames), n_pooled)
    n_frames = np.diff(starts, append=len(frames))
    pooled: np.ndarray = np.add.reduceat(frames, starts, axis=0) / n_frames[:, None]
    return pooled


def write_demo_page(
    path: Path, figure: Figure, *, picture: Path, sound: Path, seconds: float, events: Sequence[Event]
) -> None:
    """Write the page of one clip; `picture` is the file of its figure."""
    drawn = Picture(_address(picture, path), *span(figure.axes[0]))
    view = RecordingView("One street scene, detected", seconds, events, drawn, _address(sound, path))
    write_recordings_page(path, [view], title="crnn-weak demo")
