"""Label files of the field: event lists, tags, Audacity label tracks; read as they come, written in one form.

Conventions
-----------
* Times are seconds from the start of the clip. A zero-length event (``0 0 label`` in the organisers' files: tagged,
  but not heard) is kept.
* Reading: tab, comma or semicolon (found from the file), LF or CRLF, quotes, header or none. A row of a file name
  only is a clip without events or tags. Clips come in the order of the file, events in order of time.
* Clip ids are file names without folder and audio suffix (`clip_id`); they may begin with dashes.
* Writing: tab, one header line, three decimals (Audacity: none, six); what is written reads back equal to the last
  decimal. Files are written under a temporary name first.
* A comma in a label: a list of labels is split at commas that no blank follows, so that "Air horn, truck horn" stays
  one label; "dog, cat" is split where each part is a known label by itself.

The organisers' own forms (``training_set.csv`` and the ``groundtruth_*`` files) have their functions in
`crnn_weak.labels.task4`; they can be imported from here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from crnn_weak.errors import DataError
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.columns import FILE, LABELS, OFFSET, ONE_LABEL, ONSET, SCORE, column, header_columns, times_at
from crnn_weak.labels.events import Event, Events
from crnn_weak.labels.tables import clip_id, number, read_rows, write_rows
from crnn_weak.labels.tags import read_tags, split_labels, write_tags
from crnn_weak.labels.task4 import (
    read_durations,
    read_set_csv,
    read_strong_tsv,
    read_weak_tsv,
    write_durations,
    write_set_csv,
    write_strong_tsv,
    write_weak_tsv,
)

__all__ = [
    "clip_id",
    "read_audacity",
    "read_audacity_folder",
    "read_durations",
    "read_events",
    "read_set_csv",
    "read_strong_tsv",
    "read_tags",
    "read_weak_tsv",
    "split_labels",
    "write_audacity",
    "write_durations",
    "write_events",
    "write_set_csv",
    "write_strong_tsv",
    "write_tags",
    "write_weak_tsv",
]


def _event(path: str | Path, line: int, onset: str, offset: str, label: str, score: float | None = None) -> Event:
    start, end = number(onset), number(offset)
    if start is None or end is None:
        wrong = onset if start is None else offset
        raise DataError(f"{path}, line {line}: {wrong!r} is not a time in seconds.")
    if not label:
        raise DataError(f"{path}, line {line}: the event from {onset} to {offset} has no label.")
    if not 0 <= start <= end:
        raise DataError(
            f"{path}, line {line}: event {label!r} from {onset} to {offset} s, expected 0 <= onset <= offset."
        )
    return Event(start, end, label, score)


def _check_label(path: str | Path, line: int, label: str, classes: Sequence[str] | None) -> None:
    if classes is not None and label:
        class_indices([label], classes, where=f"{path}, line {line}")


def _sorted(events: Mapping[str, list[Event]]) -> dict[str, tuple[Event, ...]]:
    return {
        clip: tuple(sorted(found, key=lambda event: (event.onset, event.offset, event.label)))
        for clip, found in events.items()
    }


# --- event lists ---------------------------------------------------------------------------------------------------


def read_events(
    path: str | Path, *, classes: Sequence[str] | None = None, strip_y: bool = False
) -> dict[str, tuple[Event, ...]]:
    """Read an event list of many clips, or of one.

    Understood are ``filename onset offset event_label`` with or without header, dcase_util's form with a scene
    after the file name, and ``onset offset label`` without a file name (Audacity, sed_eval): the clip is then named
    after the file. With a header the columns may stand in any order, and a ``score`` column is read.

    Parameters
    ----------
    path : path
    classes : sequence of str, optional
        When given, a label that is not among them is an error.
    strip_y : bool
        See `clip_id`.

    Returns
    -------
    dict of str to tuple of Event
        An empty file gives an empty dictionary, a row of a name only a clip without events.

    Raises
    ------
    DataError
        The file is missing or not text, or a row is not an event; the message has file and line.
    LabelError
        A label is not among `classes`.
    """
    rows = read_rows(path)
    columns = header_columns(rows)
    events: dict[str, list[Event]] = {}
    if columns is not None:
        onset, offset = column(columns, ONSET), column(columns, OFFSET)
        label = column(columns, ONE_LABEL + LABELS)
        if onset is None or offset is None or label is None:
            raise DataError(
                f"{path}, line {rows[0].line}: the header is {', '.join(rows[0].fields)}; "
                "expected filename, onset, offset, event_label."
            )
        name, score = column(columns, FILE), column(columns, SCORE)
        for line, fields in rows[1:]:
            fields = fields + [""] * (len(rows[0].fields) - len(fields))
            found = events.setdefault(
                clip_id(fields[name] if name is not None else Path(path).stem, strip_y=strip_y), []
            )
            if fields[onset] or fields[offset] or fields[label]:
                _check_label(path, line, fields[label], classes)
                value = number(fields[score]) if score is not None else None
                found.append(_event(path, line, fields[onset], fields[offset], fields[label], value))
        return _sorted(events)
    for line, fields in rows:
        if fields[0].startswith("\\") and fields[0].strip("\\") == "":
            continue  # Audacity: the frequencies of a spectral selection, on a line of their own
        if not any(fields[1:]) and number(fields[0]) is None:
            events.setdefault(clip_id(fields[0], strip_y=strip_y), [])
            continue
        at = times_at(fields)
        if at is None or at > 2 or len(fields) < at + 3:
            raise DataError(
                f"{path}, line {line}: {len(fields)} columns ({', '.join(fields)[:60]}); expected filename, onset, "
                "offset, event_label, or onset, offset, label."
            )
        name_text = fields[0] if at else Path(path).stem
        _check_label(path, line, fields[at + 2], classes)
        event = _event(path, line, fields[at], fields[at + 1], fields[at + 2])
        events.setdefault(clip_id(name_text, strip_y=strip_y), []).append(event)
    _refuse_video_times(path, events)
    return _sorted(events)


def _refuse_video_times(path: str | Path, events: Mapping[str, list[Event]]) -> None:
    """The organisers' weak files look like event lists, but their times are the cut's place in the video."""
    in_video = False
    for clip, found in events.items():
        parts = clip.rsplit("_", 2)
        place = (number(parts[1]), number(parts[2])) if len(parts) == 3 else (None, None)
        if any((event.onset, event.offset) != place for event in found):
            return
        in_video = in_video or any(event.onset > 0 for event in found)
    if in_video:
        raise DataError(
            f"{path}: every row has the times in its file's name, so this is a list of tags with places in the videos, "
            "not an event list; give the strong file, or read it as tags."
        )


def write_events(
    path: str | Path, events: Events, *, suffix: str = ".wav", scores: bool = False, separator: str = "\t"
) -> None:
    """Write an event list: tab, header, sorted by file and onset, three decimals.

    A clip without events appears as a row of its name only, as sed_eval and dcase_util read it.

    Parameters
    ----------
    suffix : str
        Put behind each clip id, so that the names are file names.
    scores : bool
        Write a fifth column with the events' scores.
    separator : str
        Another than the tab, e.g. a comma; labels that hold it are quoted.
    """
    rows = [["filename", "onset", "offset", "event_label", *(["score"] if scores else [])]]
    for clip in sorted(events):
        if not events[clip]:
            rows.append([clip + suffix])
        for event in sorted(events[clip], key=lambda event: (event.onset, event.offset, event.label)):
            row = [clip + suffix, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label]
            rows.append(row + ([f"{event.score:.4f}" if event.score is not None else ""] if scores else []))
    write_rows(path, rows, separator=separator)


# --- Audacity ------------------------------------------------------------------------------------------------------


def read_audacity(path: str | Path) -> tuple[Event, ...]:
    """Read an Audacity label track: ``onset<TAB>offset<TAB>label``, no header, seconds; points are zero-length.

    Raises
    ------
    DataError
        A row is not a label; the message has file and line. A label without text is an error as well.
    """
    found = []
    for line, fields in read_rows(path, separator="\t"):
        if fields[0].startswith("\\") and fields[0].strip("\\") == "":
            continue  # the frequencies of a spectral selection
        if len(fields) < 3:
            raise DataError(f"{path}, line {line}: {len(fields)} columns; expected onset, offset and label.")
        found.append(_event(path, line, fields[0], fields[1], fields[2]))
    return tuple(sorted(found, key=lambda event: (event.onset, event.offset, event.label)))


def read_audacity_folder(folder: str | Path) -> dict[str, tuple[Event, ...]]:
    """Read the label tracks (``*.txt``) of a folder, one per clip, named as the clips are."""
    paths = sorted(Path(folder).glob("*.txt"))
    if not paths:
        raise DataError(f"{folder}: no label tracks (*.txt) in this folder.")
    return {clip_id(path.stem): read_audacity(path) for path in paths}


def write_audacity(path: str | Path, events: Iterable[Event]) -> None:
    """Write one clip's events as an Audacity label track, six decimals."""
    ordered = sorted(events, key=lambda event: (event.onset, event.offset, event.label))
    write_rows(path, ([f"{e.onset:.6f}", f"{e.offset:.6f}", e.label] for e in ordered))
