"""The page of ``detect --report`` and of ``demo``: picture, player and events of each recording."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from crnn_weak.audio import STDIN
from crnn_weak.figures.style import save_figure
from crnn_weak.files import relative_path, write_text
from crnn_weak.labels.events import Event
from crnn_weak.report.html import Picture, render

if TYPE_CHECKING:
    from crnn_weak.detection.detector import Detection, Detector

log = logging.getLogger(__name__)


class RecordingView(NamedTuple):
    """One recording of a page; `sound` is an address, `error` says why a recording failed."""

    name: str
    seconds: float
    events: Sequence[Event]
    picture: Picture | None = None
    sound: str = ""
    error: str = ""


def write_recordings_page(path: Path, recordings: Sequence[RecordingView], *, title: str) -> None:
    """Write the page into `path`."""
    write_text(path, render("recordings.html.j2", files=True, title=title, kind="detections", recordings=recordings))


def recording_view(detection: Detection, detector: Detector, path: Path, page: Path) -> RecordingView:
    """Draw log mel and events of a recording, read once more, into the PNG `path`; return its view on the page."""
    source, seconds, events = detection.recording.source, detection.duration_seconds, detection.events
    name = detection.recording.name
    if detection.error is not None:
        return RecordingView(name, seconds, events, error=str(detection.error))
    if source == STDIN:
        log.warning("no figure: a recording on standard input cannot be read twice; save it to a file first.")
        return RecordingView(name, seconds, events)
    figure = detector.draw(detection)
    save_figure(figure, path, formats=("png",), dpi=120)
    picture = Picture.of(figure, _address(path, page))
    return RecordingView(name, seconds, events, picture, _address(source, page))


def _address(path: str | Path, page: Path) -> str:
    return quote(os.fsencode(relative_path(os.path.abspath(path), page.parent.absolute())))
