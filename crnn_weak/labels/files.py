"""Event lists, tags and label tracks: read in any form of the field, written in one.

Conventions
-----------
* Times are seconds from the start of the recording. A zero-length event (``0 0 label`` in the organizers' files:
  tagged, but not heard) is kept.
* The form of a file is found from its rows (`crnn_weak.labels.forms`), or named. Recordings come in the order of
  the file, events in order of time.
* Ids are paths without audio suffix (`recording_id`). Two names in one file that differ only in their suffix are
  refused.
* Writing: tab, one header line, three decimals (Audacity: none, six); what is written reads back equal to the last
  decimal. Files appear whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crnn_weak.errors import DataError
from crnn_weak.labels.classes import CLASS_LIST, class_indices
from crnn_weak.labels.events import Event, Events, by_time
from crnn_weak.labels.forms import LabelFile, read_label_file
from crnn_weak.labels.names import check_characters, check_name, recording_id, recording_path
from crnn_weak.labels.rows import split_labels
from crnn_weak.labels.tables import read_lines, write_rows

__all__ = [
    "events_of",
    "file_names",
    "read_audacity",
    "read_classes",
    "read_event_folder",
    "read_events",
    "read_files",
    "read_tags",
    "recording_id",
    "split_labels",
    "tags_of",
    "write_audacity",
    "write_events",
    "write_tags",
]


#: Suffixes of label files that are looked for in a folder.
_SUFFIXES = (".csv", ".jams", ".tsv", ".txt")


def file_names(found: LabelFile, *, strip_y: bool = False) -> dict[str, str]:
    """Return the path that stands for each id of a file, in its order.

    Raises
    ------
    DataError
        Two paths have one id: they differ only in their audio suffix.
    """
    return {identifier: path for path, identifier in _ids(found, strip_y).values()}


def _ids(found: LabelFile, strip_y: bool) -> dict[str, tuple[str, str]]:
    """Return path and id of each name as it stands in a file."""
    ids: dict[str, tuple[str, str]] = {}
    paths: dict[str, str] = {}
    lines = [(row.line, found.name(row)) for row in found.rows]
    for line, name in lines or ([(1, found.recording)] if found.recording else []):
        if name in ids:
            continue
        path = recording_path(name)
        identifier = recording_id(path, strip_y=strip_y)
        if paths.setdefault(identifier, path) != path:
            raise DataError(
                f"{found.path}, line {line}: {paths[identifier]!r} and {path!r} differ only in their suffix; "
                "rename one of the recordings."
            )
        ids[name] = path, identifier
    return ids


def events_of(
    found: LabelFile, *, classes: Sequence[str] | None = None, strip_y: bool = False
) -> dict[str, tuple[Event, ...]]:
    """Return the events of a file that was read, by recording; see `read_events`."""
    ids = _ids(found, strip_y)
    events: dict[str, list[Event]] = {identifier: [] for _, identifier in ids.values()}
    for row in found.rows:
        if row.onset is None or row.offset is None:
            continue
        if classes is not None:
            class_indices(row.labels, classes, where=f"{found.path}, line {row.line}")
        events[ids[found.name(row)][1]].append(Event(row.onset, row.offset, row.labels[0], row.score))
    return {name: tuple(sorted(rows, key=by_time)) for name, rows in events.items()}


def tags_of(
    found: LabelFile, *, classes: Sequence[str] | None = None, strip_y: bool = False
) -> dict[str, tuple[str, ...]]:
    """Return the tags of a file that was read, by recording; see `read_tags`."""
    ids = _ids(found, strip_y)
    tags: dict[str, dict[str, None]] = {identifier: {} for _, identifier in ids.values()}
    for row in found.rows:
        if classes is not None:
            class_indices(row.labels, classes, where=f"{found.path}, line {row.line}")
        tags[ids[found.name(row)][1]].update(dict.fromkeys(row.labels))
    return {name: tuple(labels) for name, labels in tags.items()}


def read_events(
    path: str | Path, *, classes: Sequence[str] | None = None, strip_y: bool = False, form: str | None = None
) -> dict[str, tuple[Event, ...]]:
    """Read an event list of many recordings, or of one.

    Parameters
    ----------
    path : path
    classes : sequence of str, optional
        When given, a label that is not among them is an error.
    strip_y : bool
        See `recording_id`.
    form : str, optional
        A name of `crnn_weak.labels.forms.FORMS`; by default found from the rows.

    Returns
    -------
    dict of str to tuple of Event
        An empty file gives an empty dictionary, a row of a name only a recording without events. In a form without
        names the recording is named after the file.

    Raises
    ------
    DataError
        The file is missing, is not text, or is not read as events; the message has file and line.
    LabelError
        A label is not among `classes`.

    See Also
    --------
    write_events
    """
    return events_of(read_label_file(path, form=form, kind="events"), classes=classes, strip_y=strip_y)


def read_tags(
    path: str | Path,
    *,
    classes: Collection[str] = (),
    strict: bool = False,
    strip_y: bool = False,
    form: str | None = None,
) -> dict[str, tuple[str, ...]]:
    """Read which labels each recording has, from a list of tags or of events.

    Parameters
    ----------
    path : path
    classes : collection of str
        Known labels: they tell a comma in a label from a comma between labels.
    strict : bool
        A label that is not among `classes` is an error.
    strip_y : bool
        See `recording_id`.
    form : str, optional
        A name of `crnn_weak.labels.forms.FORMS`; by default found from the rows.

    Returns
    -------
    dict of str to tuple of str
        In the file's order, each label once. An empty file gives an empty dictionary.

    Raises
    ------
    DataError
        The file is missing, is not text, or fits no form; the message has file and line.
    LabelError
        `strict`, and a label is not among `classes`.

    See Also
    --------
    write_tags
    """
    found = read_label_file(path, form=form, kind="tags", classes=classes)
    return tags_of(found, classes=list(classes) if strict else None, strip_y=strip_y)


def write_events(
    path: str | Path, events: Events, *, suffix: str = ".wav", scores: bool = False, separator: str = "\t"
) -> None:
    """Write an event list: tab, header, sorted by file and onset, three decimals.

    A recording without events appears as a row of its name only, as sed_eval and dcase_util read it.

    Parameters
    ----------
    suffix : str
        Added to each id, so that the names are file names.
    scores : bool
        Write a fifth column with the events' scores.
    separator : str
        Another than the tab, e.g. a comma; labels that hold it are quoted.

    Raises
    ------
    DataError
        A name or label is empty or holds a control character; nothing is written.

    See Also
    --------
    read_events
    """
    rows = [["filename", "onset", "offset", "event_label", *(["score"] if scores else [])]]
    for clip in sorted(events):
        name = check_name(clip + suffix, str(path))
        if not events[clip]:
            rows.append([name])
        for event in sorted(events[clip], key=by_time):
            row = [name, f"{event.onset:.3f}", f"{event.offset:.3f}", check_name(event.label, str(path))]
            rows.append(row + ([f"{event.score:.4f}" if event.score is not None else ""] if scores else []))
    write_rows(path, rows, separator=separator)


def write_tags(path: str | Path, tags: Mapping[str, Iterable[str]], *, suffix: str = ".wav") -> None:
    """Write tags, one a row: tab, header ``filename event_label``, sorted by file; no tag, an empty label.

    See Also
    --------
    read_tags
    """
    rows = [["filename", "event_label"]]
    for clip in sorted(tags):
        name = check_name(clip + suffix, str(path))
        rows += [[name, check_name(label, str(path))] for label in tags[clip]] or [[name, ""]]
    write_rows(path, rows)


# --- class lists ---------------------------------------------------------------------------------------------------


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read a class list: one label a line; of several columns (the organizers' list) the last.

    Raises
    ------
    DataError
        The file is empty, names a class twice, or a label holds a control character.
    """
    rows = [text.rstrip().split("\t") for _, text in read_lines(path)]
    if len(rows) > 1 and len(rows[0]) != len(rows[1]):
        rows = rows[1:]  # the header of the organizers' list, which has blanks for tabs
    labels = [check_characters(fields[-1].strip(), str(path)) for fields in rows]
    if labels and labels[0].casefold() in ("label", "labels", "class", "classes", "event_label", "class_label"):
        labels = labels[1:]
    if not labels:
        raise DataError(f"{path}: no class in this file; expected one label a line.")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise DataError(f"{path}: class {twice[0]!r} is listed twice; expected distinct labels, one a line.")
    return tuple(labels)


# --- Audacity ------------------------------------------------------------------------------------------------------


def read_audacity(path: str | Path) -> tuple[Event, ...]:
    """Read an Audacity label track: ``onset<TAB>offset<TAB>label``, no header, seconds; points are zero-length.

    Raises
    ------
    DataError
        A row is not a label; the message has file and line. A label without text is an error as well.

    See Also
    --------
    write_audacity, read_event_folder
    """
    return tuple(event for events in read_events(path, form="audacity").values() for event in events)


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders; one that cannot be read is an error, not an empty one."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}; expected a folder of label files.") from None

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place) / name for name in names)


def read_files(path: str | Path, *, form: str | None = None, suffixes: Collection[str] = _SUFFIXES) -> list[LabelFile]:
    """Read a label file, or all those of a folder and its subfolders.

    In a folder, rows that name no recording belong to the one that their file is named after, and an empty file is a
    recording without labels.

    Raises
    ------
    DataError
        A file is not read (`crnn_weak.labels.forms.read_label_file`), or the folder has none.
    """
    path = Path(path)
    if not path.is_dir():
        return [read_label_file(path, form=form)]
    inside = sorted(file for file in _files_in(path) if file.suffix.lower() in suffixes)
    inside = [file for file in inside if file.name != CLASS_LIST and not file.name.startswith(".")]
    if not inside:
        raise DataError(f"{path}: no label files ({', '.join(sorted(suffixes))}) in this folder.")
    found = []
    for file in inside:
        one = read_label_file(file, form=form)
        found.append(replace(one, recording=file.relative_to(path).with_name(one.own_name).as_posix()))
    return found


def read_event_folder(folder: str | Path, *, form: str = "audacity") -> dict[str, tuple[Event, ...]]:
    """Read the event lists of a folder and its subfolders, one per recording, named as the recordings.

    Parameters
    ----------
    folder : path
    form : str
        A name of `crnn_weak.labels.forms.FORMS`. Of label tracks (``audacity``), only ``.txt`` files are read.

    Raises
    ------
    DataError
        There is none, one is malformed, or two are of one recording.
    """
    suffixes = (".txt",) if form == "audacity" else _SUFFIXES
    tracks: dict[str, tuple[Event, ...]] = {}
    sources: dict[str, Path] = {}
    for track in read_files(folder, form=form, suffixes=suffixes):
        for name, events in events_of(track).items():
            if name in sources:
                raise DataError(f"{track.path} and {sources[name]}: both are of the recording {name!r}; remove one.")
            tracks[name], sources[name] = events, track.path
    return tracks


def write_audacity(path: str | Path, events: Iterable[Event]) -> None:
    """Write one recording's events as an Audacity label track, six decimals.

    See Also
    --------
    read_audacity
    """
    rows = [[f"{e.onset:.6f}", f"{e.offset:.6f}", check_name(e.label, str(path))] for e in sorted(events, key=by_time)]
    write_rows(path, rows)
