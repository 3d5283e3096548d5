"""Two label files as a reference and an estimate: of which kind they are, and over which clips and classes.

The trap: the organizers' weak files of DCASE 2017 task 4 hold the cut's place in the *video* in columns 2 and 3
(``id_30.000_40.000.wav  30.000  40.000  Car``), and read as an event list they are valid, and wrong. A file is told
by its own rows: where every row's times are those in its name, it holds tags. It is never scored as events.

Recordings are matched by their paths; a shorter path in one of the files is a short form of the only longer one that
ends in it (`crnn_weak.labels.names.match_ids`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crnn_weak.errors import DataError
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import read_events, read_tags
from crnn_weak.labels.forms import read_label_file
from crnn_weak.labels.names import match_ids, recording_id

__all__ = ["ListPair", "class_list", "drop_zero_length", "file_kind", "labels_of", "read_pair"]


def file_kind(path: str | Path, *, form: str | None = None) -> str:
    """Return what a label file holds: ``events``, ``tags``, ``empty`` (no label), or ``unclear``.

    ``unclear`` is a file whose times may be those of events or places in other recordings.

    Raises
    ------
    DataError
        The file is missing, is not text, or fits no form.
    """
    return read_label_file(path, form=form).kind


@dataclass(frozen=True)
class ListPair:
    """A reference and an estimate of one kind.

    Attributes
    ----------
    kind : {"events", "tags"}
    reference, estimated : dict of recording id to tuple of Event, or of str
    notes : tuple of str
        What the reader of the result should know of the files.
    """

    kind: str
    reference: dict[str, tuple[Any, ...]]
    estimated: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...] = field(default=())


def _kind(paths: Sequence[str | Path], asked: str | None, form: str | None) -> str:
    """Return the kind under which the files can be scored together."""
    if asked is not None:
        return asked
    found = {str(path): file_kind(path, form=form) for path in paths}
    unclear = next((path for path, kind in found.items() if kind == "unclear"), None)
    if unclear is not None:
        raise DataError(
            f"{unclear}: the times may be those of events, or the clips' places in other recordings. "
            "Say which with --events or --tags."
        )
    tags = [path for path, kind in found.items() if kind == "tags"]
    if tags and "events" in found.values():
        raise DataError(
            f"{', '.join(tags)}: holds tags, the other file events. Score both as tags with --tags, or give two event "
            "lists."
        )
    return "tags" if tags else "events"


def read_pair(
    reference: str | Path,
    estimated: str | Path | None = None,
    *,
    kind: str | None = None,
    classes: Sequence[str] = (),
    strip_y: bool = False,
    form: str | None = None,
) -> ListPair:
    """Read a reference and an estimate.

    Parameters
    ----------
    reference, estimated : path
        Without an estimate it is empty.
    kind : {"events", "tags"}, optional
        By default found from the files.
    classes : sequence of str
        Known labels, for joined lists of labels with commas in them.
    strip_y : bool
        See `crnn_weak.labels.names.recording_id`.
    form : str, optional
        Of both files, a name of `crnn_weak.labels.forms.FORMS`; by default found from their rows.

    Raises
    ------
    DataError
        A file cannot be read, the kinds differ or cannot be told, or a name in the estimate may be two recordings of
        the reference.
    """
    paths = [reference] if estimated is None else [reference, estimated]
    chosen = _kind(paths, kind, form)

    def read(path: str | Path) -> dict[str, tuple[Any, ...]]:
        if chosen == "tags":
            return dict(read_tags(path, classes=classes or DCASE2017_TASK4, strip_y=strip_y, form=form))
        return dict(read_events(path, strip_y=strip_y, form=form))

    known = read(reference)
    guessed = {} if estimated is None else read(estimated)
    if estimated is not None:
        known, guessed = _one_recording(Path(reference), known, Path(estimated), guessed)
        names = match_ids(guessed, known, where=str(estimated))
        guessed = {names[name]: rows for name, rows in guessed.items()}
    return ListPair(chosen, known, guessed, tuple(_notes(chosen, known, None if estimated is None else guessed)))


def _notes(kind: str, known: Mapping[str, tuple[Any, ...]], guessed: Mapping[str, Any] | None) -> Iterable[str]:
    missing = [clip for clip in known if guessed is not None and clip not in guessed]
    if missing:
        yield f"{len(missing)} of {len(known)} clips have no row in the estimate: counted as empty"
    zero = sum(event.offset == event.onset for rows in known.values() for event in rows) if kind == "events" else 0
    if zero:
        yield (
            f"{zero} zero-length rows in the reference (labeled, but not heard): the event-based metrics count "
            "them as events to be found, --drop-zero-length skips them"
        )


def _one_recording(
    reference: Path,
    known: dict[str, tuple[Any, ...]],
    estimated: Path,
    guessed: dict[str, tuple[Any, ...]],
) -> tuple[dict[str, tuple[Any, ...]], dict[str, tuple[Any, ...]]]:
    """Give lists without file names, which the reader names after their files, one name."""
    stems = [recording_id(path.stem) for path in (reference, estimated)]
    if set(known) <= {stems[0]} and set(guessed) <= {stems[1]}:
        return {stems[0]: known.get(stems[0], ())}, {stems[0]: guessed.get(stems[1], ())}
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
