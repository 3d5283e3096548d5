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
`crnn_weak.data.task4_files`; they can be imported from here as well.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from crnn_weak.data.events import Event, Events
from crnn_weak.data.tables import Row, clip_id, number, read_rows, write_rows
from crnn_weak.data.task4_files import (
    read_durations,
    read_set_csv,
    read_strong_tsv,
    read_weak_tsv,
    write_durations,
    write_set_csv,
    write_strong_tsv,
    write_weak_tsv,
)
from crnn_weak.errors import DataError

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

logger = logging.getLogger(__name__)

_FILE = ("filename", "file", "file_name", "filepath", "path", "audio", "clip", "clip_id", "fname")
_ONSET = ("onset", "event_onset", "start", "start_time", "begin", "begin_time", "start_seconds")
_OFFSET = ("offset", "event_offset", "end", "end_time", "stop", "end_seconds")
_ONE_LABEL = ("event_label", "label", "class", "category", "tag", "event", "sound_event")
_LABELS = ("event_labels", "labels", "classes", "categories", "tags", "events")
_SCORE = ("score", "confidence", "probability")
#: The column names that are understood; DESED's, dcase_util's and what people write by hand.
_HEADER_WORDS = frozenset(
    (*_FILE, *_ONSET, *_OFFSET, *_ONE_LABEL, *_LABELS, *_SCORE, "scene_label", "split", "fold", "identifier")
)


def header_columns(rows: list[Row]) -> dict[str, int] | None:
    """Return the columns by lower-case name when the first row is a header, else None."""
    if not rows:
        return None
    names = [field.lower().replace(" ", "_") for field in rows[0].fields]
    if not any(name in _HEADER_WORDS for name in names) or any(number(field) is not None for field in rows[0].fields):
        return None
    return {name: column for column, name in reversed(list(enumerate(names)))}


def _column(columns: Mapping[str, int], names: Iterable[str]) -> int | None:
    return next((columns[name] for name in names if name in columns), None)


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


def _sorted(events: Mapping[str, list[Event]]) -> dict[str, tuple[Event, ...]]:
    return {
        clip: tuple(sorted(found, key=lambda event: (event.onset, event.offset, event.label)))
        for clip, found in events.items()
    }


# --- event lists ---------------------------------------------------------------------------------------------------


def _times_at(fields: list[str]) -> int | None:
    """Return the column of the first of two neighbouring numbers."""
    return next(
        (i for i in range(len(fields) - 1) if number(fields[i]) is not None and number(fields[i + 1]) is not None),
        None,
    )


def read_events(path: str | Path, *, strip_y: bool = False) -> dict[str, tuple[Event, ...]]:
    """Read an event list of many clips, or of one.

    Understood are ``filename onset offset event_label`` with or without header, dcase_util's form with a scene
    after the file name, and ``onset offset label`` without a file name (Audacity, sed_eval): the clip is then named
    after the file. With a header the columns may stand in any order, and a ``score`` column is read.

    Parameters
    ----------
    path : path
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
    """
    rows = read_rows(path)
    columns = header_columns(rows)
    events: dict[str, list[Event]] = {}
    if columns is not None:
        onset, offset = _column(columns, _ONSET), _column(columns, _OFFSET)
        label = _column(columns, _ONE_LABEL + _LABELS)
        if onset is None or offset is None or label is None:
            raise DataError(
                f"{path}, line {rows[0].line}: the header is {', '.join(rows[0].fields)}; "
                "expected filename, onset, offset, event_label."
            )
        name, score = _column(columns, _FILE), _column(columns, _SCORE)
        for line, fields in rows[1:]:
            fields = fields + [""] * (len(rows[0].fields) - len(fields))
            found = events.setdefault(
                clip_id(fields[name] if name is not None else Path(path).stem, strip_y=strip_y), []
            )
            if fields[onset] or fields[offset] or fields[label]:
                value = number(fields[score]) if score is not None else None
                found.append(_event(path, line, fields[onset], fields[offset], fields[label], value))
        return _sorted(events)
    for line, fields in rows:
        if fields[0].startswith("\\") and fields[0].strip("\\") == "":
            continue  # Audacity: the frequencies of a spectral selection, on a line of their own
        if not any(fields[1:]) and number(fields[0]) is None:
            events.setdefault(clip_id(fields[0], strip_y=strip_y), [])
            continue
        at = _times_at(fields)
        if at is None or at > 2 or len(fields) < at + 3:
            raise DataError(
                f"{path}, line {line}: {len(fields)} columns ({', '.join(fields)[:60]}); expected filename, onset, "
                "offset, event_label, or onset, offset, label."
            )
        name_text = fields[0] if at else Path(path).stem
        event = _event(path, line, fields[at], fields[at + 1], fields[at + 2])
        events.setdefault(clip_id(name_text, strip_y=strip_y), []).append(event)
    return _sorted(events)


def write_events(path: str | Path, events: Events, *, suffix: str = ".wav", scores: bool = False) -> None:
    """Write an event list: tab, header, sorted by file and onset, three decimals.

    A clip without events appears as a row of its name only, as sed_eval and dcase_util read it.

    Parameters
    ----------
    suffix : str
        Put behind each clip id, so that the names are file names.
    scores : bool
        Write a fifth column with the events' scores.
    """
    rows = [["filename", "onset", "offset", "event_label", *(["score"] if scores else [])]]
    for clip in sorted(events):
        if not events[clip]:
            rows.append([clip + suffix])
        for event in sorted(events[clip], key=lambda event: (event.onset, event.offset, event.label)):
            row = [clip + suffix, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label]
            rows.append(row + ([f"{event.score:.4f}" if event.score is not None else ""] if scores else []))
    write_rows(path, rows)


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


# --- tags ----------------------------------------------------------------------------------------------------------


def split_labels(text: str, known: Collection[str] = ()) -> list[str]:
    """Split a joined list of labels at semicolons, or at commas that do not belong to a label.

    Parameters
    ----------
    text : str
        ``a;b`` (dcase_util) or ``a,b`` (DESED).
    known : collection of str
        Labels that are known; the longest of them that fits is taken first.

    Examples
    --------
    >>> split_labels("Train,Air horn, truck horn")
    ['Train', 'Air horn, truck horn']
    >>> split_labels("dog, cat", known={"dog", "cat"})
    ['dog', 'cat']
    """
    if ";" in text:
        return [part.strip() for part in text.split(";") if part.strip()]
    parts = text.split(",")
    labels: list[str] = []
    while parts:
        take = next((n for n in range(len(parts), 0, -1) if ",".join(parts[:n]).strip() in known), 0)
        if not take:
            take = 1
            while take < len(parts) and parts[take].startswith(" ") and parts[take].strip() not in known:
                take += 1
        labels.append(",".join(parts[:take]).strip())
        parts = parts[take:]
    return [label for label in labels if label]


def read_tags(path: str | Path, *, classes: Collection[str] = (), strip_y: bool = False) -> dict[str, tuple[str, ...]]:
    """Read which labels each clip has.

    Understood, with or without header:

    ========================================  ===================================================================
    ``filename start end label``              the organisers' weak files (the times are the video's: left out), and
                                              any event list
    ``id,start,end,"label,...","mid,..."``    the organisers' set files, read by their AudioSet ids
    ``filename label``                        long form, one row per pair; an empty label is a clip without tags
    ``filename label,label``                  DESED
    ``filename scene label;label;``           dcase_util
    ``filename,...,label(s),...``             any table with a header that names these columns
    ========================================  ===================================================================

    Parameters
    ----------
    path : path
    classes : collection of str
        Known labels: they tell a comma in a label from a comma between labels.
    strip_y : bool
        See `clip_id`.

    Returns
    -------
    dict of str to tuple of str
        In the file's order, each label once.

    Raises
    ------
    DataError
        The file is missing or not text, or a row has too few columns; the message has file and line.
    """
    rows = read_rows(path)
    columns = header_columns(rows)
    pairs: list[tuple[str, str, bool]] = []  # clip, label text, may be a list
    if columns is not None:
        name = _column(columns, _FILE)
        one, many = _column(columns, _ONE_LABEL), _column(columns, _LABELS)
        label = one if one is not None else many
        if name is None or label is None:
            raise DataError(
                f"{path}, line {rows[0].line}: the header is {', '.join(rows[0].fields)}; "
                "expected the columns filename and event_label (or labels)."
            )
        for line, fields in rows[1:]:
            if len(fields) > len(rows[0].fields):
                raise DataError(
                    f"{path}, line {line}: {len(fields)} columns, the header has {len(rows[0].fields)}; "
                    "put quotes round a field that holds the separator."
                )
            if name >= len(fields) or not fields[name]:
                raise DataError(f"{path}, line {line}: no file name.")
            text = fields[label] if label < len(fields) else ""
            pairs.append((fields[name], text, one is None or ";" in text))
    elif rows and len(rows[0].fields) == 5 and rows[0].fields[4][:3] in ("/m/", "/t/", "/g/"):
        return {row.clip_id: row.labels for row in read_set_csv(path)}
    else:
        for line, fields in rows:
            at = _times_at(fields)
            if at is not None and 1 <= at <= 2 and len(fields) > at + 2:
                pairs.append((fields[0], fields[at + 2], False))
            elif len(fields) == 1:
                pairs.append((fields[0], "", False))
            elif len(fields) == 2:
                pairs.append((fields[0], fields[1], True))
            elif at is None and len(fields) <= 4 and ";" in fields[2]:
                pairs.append((fields[0], fields[2], True))  # dcase_util: file, scene, tags[, recording]
            else:
                raise DataError(
                    f"{path}, line {line}: {len(fields)} columns ({', '.join(fields)[:60]}); expected filename and "
                    "labels, one pair a row or joined by ; or , with tabs or quotes round the list."
                )
    known = set(classes) | {text for _, text, _ in pairs if "," not in text}
    tags: dict[str, dict[str, None]] = {}
    for clip, text, joined in pairs:
        found = tags.setdefault(clip_id(clip, strip_y=strip_y), {})
        labels = split_labels(text, known) if joined and text not in classes else [text]
        found.update(dict.fromkeys(label for label in labels if label))
    return {clip: tuple(found) for clip, found in tags.items()}


def write_tags(path: str | Path, tags: Mapping[str, Iterable[str]], *, suffix: str = ".wav") -> None:
    """Write tags in long form: tab, header ``filename event_label``, sorted by file; no tag, an empty label."""
    rows = [["filename", "event_label"]]
    for clip in sorted(tags):
        rows += [[clip + suffix, label] for label in list(tags[clip]) or [""]]
    write_rows(path, rows)
