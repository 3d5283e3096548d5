"""Two label files as a reference and an estimate: of which kind they are, and over which clips and classes.

The trap: the organisers' weak files of DCASE 2017 task 4 hold the cut's place in the *video* in columns 2 and 3
(``id_30.000_40.000.wav  30.000  40.000  Car``), and read as an event list they are valid, and wrong. A file is told
by its own rows: where every row's times are those in its name, it holds tags. It is never scored as events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crnn_weak.errors import DataError
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.columns import OFFSET, ONSET, column, header_columns, times_at
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import read_events, read_tags
from crnn_weak.labels.tables import clip_id, number, read_rows, read_text
from crnn_weak.labels.task4 import video_place

__all__ = ["ListPair", "class_list", "drop_zero_length", "file_kind", "labels_of", "read_classes", "read_pair"]


def file_kind(path: str | Path) -> str:
    """Return what a label file holds: ``events``, ``tags``, ``empty``, or ``unclear``.

    ``unclear`` is a file with onsets and offsets of which some, or all and all from 0, are the times in the clips'
    names: such a row may be a tag with its place in the video or an event over the whole clip.

    Raises
    ------
    DataError
        The file is missing or is not text.
    """
    rows = read_rows(path)
    if not rows:
        return "empty"
    columns = header_columns(rows)
    if columns is not None:
        return "events" if column(columns, ONSET) is not None and column(columns, OFFSET) is not None else "tags"
    if len(rows[0].fields) == 5 and rows[0].fields[4][:3] in ("/m/", "/t/", "/g/"):
        return "tags"  # the organisers' set files: places in the videos, AudioSet ids
    timed = [(row.fields, at) for row in rows if (at := times_at(row.fields)) is not None]
    if not timed:
        return "tags"
    at_place = [at == 1 and _is_place(fields) for fields, at in timed]
    if not any(at_place):
        return "events"
    telling = any(number(fields[1]) != 0 for (fields, _), same in zip(timed, at_place, strict=True) if same)
    if all(at_place):
        return "tags" if telling else "unclear"
    # A few whole-clip events of cuts that begin at 0 are nothing unusual in an event list.
    return "unclear" if telling else "events"


def _is_place(fields: Sequence[str]) -> bool:
    """Return whether the times in a row are those in the file's name."""
    try:
        _, start, end = video_place(clip_id(fields[0]))
    except DataError:
        return False
    onset, offset = number(fields[1]), number(fields[2])
    return onset is not None and offset is not None and (onset, offset) == (float(start), float(end))


@dataclass(frozen=True)
class ListPair:
    """A reference and an estimate of one kind.

    Attributes
    ----------
    kind : {"events", "tags"}
    reference, estimated : dict of clip id to tuple of Event, or of str
    notes : tuple of str
        What the reader of the result should know of the files.
    """

    kind: str
    reference: dict[str, tuple[Any, ...]]
    estimated: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...] = field(default=())


def _read(path: str | Path, kind: str, classes: Sequence[str], strip_y: bool) -> dict[str, tuple[Any, ...]]:
    if kind == "tags":
        return dict(read_tags(path, classes=classes or DCASE2017_TASK4, strip_y=strip_y))
    return dict(read_events(path, strip_y=strip_y))


def _kind(paths: Sequence[str | Path], asked: str | None) -> str:
    """Return the kind under which the files can be scored together."""
    found = {str(path): file_kind(path) for path in paths}
    if asked == "tags":
        return "tags"
    for path, kind in found.items():
        if asked == "events" and kind == "tags":
            raise DataError(
                f"{path}: holds tags; its times, if it has any, are the clips' places in their videos. "
                "Score it with --tags."
            )
        if asked is None and kind == "unclear":
            raise DataError(
                f"{path}: rows whose times are those in the clips' names may be tags with a place in the video, or "
                "events. Say which with --tags or --events."
            )
    if asked == "events":
        return "events"
    kinds = {kind for kind in found.values() if kind != "empty"}
    if kinds == {"events", "tags"}:
        tags = [path for path, kind in found.items() if kind == "tags"]
        raise DataError(
            f"{', '.join(tags)}: holds tags, the other file events. Score both as tags with --tags, or give two event "
            "lists."
        )
    return kinds.pop() if kinds else "events"


def read_pair(
    reference: str | Path,
    estimated: str | Path | None = None,
    *,
    kind: str | None = None,
    classes: Sequence[str] = (),
    strip_y: bool = False,
) -> ListPair:
    """Read a reference and an estimate.

    Parameters
    ----------
    reference, estimated : path
        Without an estimate it is empty.
    kind : {"events", "tags"}, optional
        By default told from the files.
    classes : sequence of str
        Known labels, for joined lists of labels with commas in them.
    strip_y : bool
        See `crnn_weak.labels.tables.clip_id`.

    Raises
    ------
    DataError
        A file cannot be read, the kinds differ or cannot be told.
    """
    paths = [reference] if estimated is None else [reference, estimated]
    chosen = _kind(paths, kind)
    known = _read(reference, chosen, classes, strip_y)
    guessed = {} if estimated is None else _read(estimated, chosen, classes, strip_y)
    notes = []
    if estimated is not None and chosen == "events":
        known, guessed = _one_recording(Path(reference), known, Path(estimated), guessed)
    missing = [clip for clip in known if clip not in guessed]
    if estimated is not None and missing:
        notes.append(f"{len(missing)} of {len(known)} clips have no row in the estimate: counted as empty")
    if chosen == "events":
        zero = sum(event.offset == event.onset for rows in known.values() for event in rows)
        if zero:
            notes.append(
                f"{zero} zero-length rows in the reference (labelled, but not heard): the event-based figures count "
                "them as events to be found, --drop-zero-length leaves them out"
            )
    return ListPair(chosen, known, guessed, tuple(notes))


def _one_recording(
    reference: Path,
    known: dict[str, tuple[Event, ...]],
    estimated: Path,
    guessed: dict[str, tuple[Event, ...]],
) -> tuple[dict[str, tuple[Event, ...]], dict[str, tuple[Event, ...]]]:
    """Give lists without file names, which the reader names after their files, one name."""
    if set(known) <= {reference.stem} and set(guessed) <= {estimated.stem}:
        return {reference.stem: known.get(reference.stem, ())}, {reference.stem: guessed.get(estimated.stem, ())}
    return known, guessed


def drop_zero_length(events: Mapping[str, Iterable[Event]]) -> dict[str, tuple[Event, ...]]:
    """Return the events without zero-length rows; their clips stay."""
    return {clip: tuple(event for event in rows if event.offset > event.onset) for clip, rows in events.items()}


def labels_of(lists: Mapping[str, Iterable[Any]]) -> set[str]:
    """Return the labels of an event or tag list."""
    return {row.label if isinstance(row, Event) else str(row) for rows in lists.values() for row in rows}


def class_list(*lists: Mapping[str, Iterable[Any]]) -> tuple[str, ...]:
    """Return the labels of event or tag lists: the task's 17 in its order where all are of them, else sorted."""
    found = set().union(*(labels_of(one) for one in lists))
    return DCASE2017_TASK4 if found and found <= set(DCASE2017_TASK4) else tuple(sorted(found))


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read a class list: one label a line; of several columns (the organisers' list) the last.

    Raises
    ------
    DataError
        The file is empty or names a class twice.
    """
    rows = [line.split("\t") for line in read_text(path).splitlines() if line.strip()]
    if len(rows) > 1 and len(rows[0]) != len(rows[1]):
        rows = rows[1:]  # the header of the organisers' list, which has blanks for tabs
    labels = [fields[-1].strip() for fields in rows]
    if labels and labels[0].casefold() in ("label", "labels", "class", "classes", "event_label", "class_label"):
        labels = labels[1:]
    if not labels:
        raise DataError(f"{path}: no class in this file; expected one label a line.")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise DataError(f"{path}: class {twice[0]!r} stands there twice; expected distinct labels, one a line.")
    return tuple(labels)
