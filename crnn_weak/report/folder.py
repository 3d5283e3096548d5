"""One page over the recordings of a folder: a timeline of each, classes by hour, players.

The page links to the recordings, relative to itself, and holds the rest: the browser builds rows, timelines and
players from a table of numbers, as they come into sight. So a thousand recordings, or one of a day, stay usable.
"""

from __future__ import annotations

import base64
import colorsys
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from crnn_weak.detection.job import Detection
from crnn_weak.detection.recordings import STDIN, Recording
from crnn_weak.errors import DataError
from crnn_weak.files import relative_path, visible, write_text
from crnn_weak.labels.events import Event
from crnn_weak.report.html import render

__all__ = ["FolderReport", "RecordingResult", "ScoreStrip", "write_folder_report"]

# Columns of the picture of a recording's scores, and its gray levels.
_COLUMNS, _LEVELS = 300, 16
_HOUR = 3600.0
# 20240501_063000, 2024-05-01T06-30-00 and the like, as field recorders name their files.
_STAMP = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)[T_ -]?(\d\d)[-:]?(\d\d)[-:]?(\d\d)(?!\d)")
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d")


class RecordingResult(NamedTuple):
    """The result of one recording.

    Attributes
    ----------
    path : path or None
        The audio file; None for a recording that is no file.
    events : sequence of Event
    duration_seconds : float
    scores : np.ndarray, shape (n_columns, n_classes), optional
        Frame scores in [0, 1], at any even spacing, for a small picture; see `ScoreStrip`.
    name : str
        As listed; by default the file's name.
    error : str
        Why the recording failed; then it has no events.
    """

    path: str | Path | None
    events: Sequence[Event]
    duration_seconds: float
    scores: np.ndarray | None = None
    name: str = ""
    error: str = ""


class ScoreStrip:
    """The highest scores of a recording of unknown length, in a bounded number of columns.

    Examples
    --------
    >>> strip = ScoreStrip()
    >>> strip.push(np.array([[0.0], [0.4], [0.2]]))
    >>> strip.columns[:, 0].tolist()
    [0.0, 0.4, 0.2]
    """

    def __init__(self) -> None:
        self._width, self._rest = 1, np.zeros((0, 0), np.float32)
        self._columns: list[np.ndarray] = []

    def push(self, strong: np.ndarray) -> None:
        """Take the next frame scores, shape (n_frames, n_classes)."""
        frames = np.concatenate([self._rest, strong]) if self._rest.size else np.asarray(strong)
        n_whole = len(frames) // self._width
        whole = frames[: n_whole * self._width].reshape(n_whole, self._width, frames.shape[1])
        self._columns += list(whole.max(axis=1))
        self._rest = frames[n_whole * self._width :]
        while len(self._columns) >= 4 * _COLUMNS:
            if len(self._columns) % 2:
                last = np.repeat(self._columns.pop()[None], self._width, axis=0)
                self._rest = np.concatenate([last, self._rest])
            self._columns = [np.maximum(*pair) for pair in zip(self._columns[::2], self._columns[1::2], strict=True)]
            self._width *= 2

    @property
    def columns(self) -> np.ndarray:
        """The scores so far, shape (n_columns, n_classes); fewer than 1,200 columns."""
        rest = [self._rest.max(axis=0)] if len(self._rest) else []
        return np.stack(self._columns + rest) if self._columns or rest else np.zeros((0, 0), np.float32)


class FolderReport:
    """The page of a run of ``crnn-weak detect``: collects detections, then writes.

    Parameters
    ----------
    out : path
        The HTML file.
    classes : sequence of str
    title : str
    overwrite : bool

    Raises
    ------
    DataError
        The file is there and `overwrite` is not given.
    """

    def __init__(self, out: str | Path, *, classes: Sequence[str], title: str, overwrite: bool) -> None:
        if os.path.lexists(out) and not overwrite:
            raise DataError(f"{out}: is there already; choose another --out, or pass --overwrite.")
        self._out, self._classes, self._title = Path(out), classes, title
        self._strips: dict[str, ScoreStrip] = {}
        self._results: list[RecordingResult] = []

    def add_scores(self, recording: Recording, strong: np.ndarray) -> None:
        """Take a recording's next frame scores."""
        self._strips.setdefault(recording.name, ScoreStrip()).push(strong)

    def add(self, detection: Detection) -> None:
        """Take a recording's result, after its scores."""
        name, source = detection.recording.name, detection.recording.source
        path = Path(source) if isinstance(source, str | Path) and source != STDIN else None
        strip, error = self._strips.pop(name, None), detection.error
        columns = None if strip is None else strip.columns
        message = "" if error is None else " ".join(str(error).split())
        self._results.append(
            RecordingResult(path, detection.events, detection.duration_seconds, columns, name, message)
        )

    def write(self) -> Path:
        """Write the page and return its path."""
        return write_folder_report(self._results, self._out, classes=self._classes, title=self._title)


def write_folder_report(
    results: Iterable[RecordingResult], out: str | Path, *, classes: Sequence[str], title: str = "Recordings"
) -> Path:
    """Write a page over many recordings.

    Parameters
    ----------
    results : iterable of RecordingResult
        In the order of the list; consumed once.
    out : path
        The HTML file. Links to the recordings are relative to its folder.
    classes : sequence of str, length n_classes
        In the order of the columns of scores.
    title : str

    Returns
    -------
    Path
        The file; the same bytes for the same results.
    """
    out = Path(out)
    totals = _Totals(classes)
    recordings = []
    for result in results:
        totals.add(result)
        recordings.append(_record(result, classes, out.parent))
    colors = [_color(index) for index in range(len(classes))]
    listed = [{"name": visible(name), "color": color} for name, color in zip(classes, colors, strict=True)]
    content = json.dumps({"classes": listed, "recordings": recordings}, ensure_ascii=False, separators=(",", ":"))
    text = render(
        "folder.html.j2",
        styles=("report.css", "folder.css"),
        scripts=("theme.js", "folder.js"),
        files=True,
        title=visible(title),
        content=_for_script(content),
        colors={entry["name"]: entry["color"] for entry in listed},
        totals=totals,
    )
    write_text(out, text)
    return out


def _for_script(content: str) -> Any:
    """Return JSON for a script element: no text of it can end the element."""
    from markupsafe import Markup

    return Markup(content.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _color(index: int) -> str:
    if index < len(_COLORS):
        return _COLORS[index]
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(index * 0.618034 % 1.0, 0.5, 0.55))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _name(result: RecordingResult) -> str:
    name = result.name or (Path(result.path).name if result.path is not None else "recording")
    return visible(os.fsencode(name).decode("utf-8", "replace"))


def _record(result: RecordingResult, classes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return a recording as the page's script reads it; times in hundredths of a second, scores in percent."""
    column = {name: index for index, name in enumerate(classes)}
    events: list[int] = []
    for event in result.events:
        score = -1 if event.score is None else round(100 * event.score)
        events += [round(100 * event.onset), round(100 * event.duration), column[event.label], score]
    record: dict[str, Any] = {"name": _name(result), "length": round(100 * result.duration_seconds), "events": events}
    if result.path is not None:
        record["link"] = quote(os.fsencode(relative_path(os.path.abspath(result.path), folder.absolute())))
    if result.error:
        record["error"] = visible(result.error)
    shown = sorted(set(events[2::4]))
    if result.scores is not None and len(result.scores) and shown:
        record["picture"] = _picture(result.scores[:, shown])
        record["rows"] = shown
    started = _start(record["name"])
    if started is not None:
        record["start"] = started.strftime("%Y-%m-%d %H:%M:%S")
    return record


def _picture(scores: np.ndarray) -> str:
    """Return scores as a PNG in base64: one row for each class, time to the right, white where the score is 1."""
    from PIL import Image

    edges = np.linspace(0, len(scores), min(_COLUMNS, len(scores)) + 1).astype(int)[:-1]
    pooled = np.maximum.reduceat(scores, edges, axis=0).T
    levels = np.rint(np.clip(pooled, 0.0, 1.0) * (_LEVELS - 1)) * (255 // (_LEVELS - 1))
    buffer = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8), mode="L").save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _start(name: str) -> datetime | None:
    """Return when a recording began, where its file name says so."""
    found = _STAMP.search(name.rsplit("/", 1)[-1])
    try:
        return datetime.strptime(" ".join(found.groups()), "%Y %m %d %H %M %S") if found else None
    except ValueError:
        return None


class ClassTotal(NamedTuple):
    """One class over all recordings: events, seconds of sound, recordings, and the share of each hour."""

    name: str
    n_events: int
    seconds: float
    n_recordings: int
    shares: list[float | None]


class _Totals:
    """Counts over all recordings, and seconds of each class by hour.

    Hours are those of the day where every file name says when its recording began, otherwise those of a recording.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.n_recordings = self.n_failed = self.n_events = 0
        self.seconds = 0.0
        self._classes = {name: index for index, name in enumerate(classes)}
        self._counts = np.zeros((len(classes), 2), int)  # events, recordings
        self._stamped = True
        # (0: by the hour of the recording, 1: of the day) -> hour -> seconds of each class; the last: recorded seconds
        self._hours: tuple[dict[int, np.ndarray], ...] = ({}, {})

    def add(self, result: RecordingResult) -> None:
        self.n_recordings += 1
        self.n_failed += bool(result.error)
        if result.error:
            return
        self.n_events += len(result.events)
        self.seconds += result.duration_seconds
        started = _start(_name(result))
        self._stamped &= started is not None
        begin = 0.0 if started is None else started.hour * _HOUR + started.minute * 60.0 + started.second
        for column in {self._classes[event.label] for event in result.events}:
            self._counts[column, 1] += 1
        self._spread(begin, 0.0, result.duration_seconds, -1)
        for event in result.events:
            column = self._classes[event.label]
            self._counts[column, 0] += 1
            self._spread(begin, event.onset, event.offset, column)

    def _spread(self, begin: float, onset: float, offset: float, column: int) -> None:
        for hours, first, wrap in ((self._hours[0], 0.0, None), (self._hours[1], begin, 24)):
            moment, end = first + onset, first + offset
            while moment < end:
                hour = int(moment // _HOUR)
                until = min(end, (hour + 1) * _HOUR)
                row = hours.setdefault(hour if wrap is None else hour % wrap, np.zeros(len(self._classes) + 1))
                row[column] += until - moment
                moment = until

    @property
    def of_the_day(self) -> bool:
        """True if hours are those of the day."""
        return self._stamped and self.n_recordings > self.n_failed

    @property
    def hours(self) -> list[int]:
        """The hours with any sound recorded; at most 48."""
        return sorted(self._hours[self.of_the_day])[:48]

    @property
    def highest_share(self) -> float:
        """The highest share of any class and hour, which is the darkest; above 0."""
        return max((share or 0.0 for row in self.classes for share in row.shares), default=0.0) or 1.0

    @property
    def classes(self) -> list[ClassTotal]:
        """The classes that were detected, the longest sound first."""
        table = self._hours[self.of_the_day]
        seconds = np.sum(list(table.values()), axis=0) if table else np.zeros(len(self._classes) + 1)
        rows = [
            ClassTotal(
                visible(name),
                int(self._counts[index, 0]),
                float(seconds[index]),
                int(self._counts[index, 1]),
                [float(table[hour][index] / table[hour][-1]) if table[hour][-1] else None for hour in self.hours],
            )
            for name, index in self._classes.items()
            if self._counts[index, 0]
        ]
        return sorted(rows, key=lambda row: (-row.seconds, row.name))
