"""A user's own label files, put together: class list, tags with an optional split column, events.

Used by `crnn_weak.data.folder`, whose docstring says which files are understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.errors import DataError, nearest_names
from crnn_weak.labels.classes import CLASS_LIST, class_indices
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import file_names, read_classes, read_event_folder, read_events, tags_of
from crnn_weak.labels.forms import read_label_file
from crnn_weak.labels.names import match_ids, recording_id

__all__ = ["ListedRecording", "read_labels"]

_SPLITS = {
    **dict.fromkeys(("train", "training", "dev", "development", "validation", "valid", "val"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class ListedRecording:
    """Labels of one recording; ``split`` is empty if no column gives it."""

    name: str
    tags: tuple[str, ...]
    events: tuple[Event, ...] | None
    split: str = ""


def _class_file(folders: Iterable[Path]) -> Path | None:
    return next((path for path in (folder / CLASS_LIST for folder in folders) if path.is_file()), None)


def _read_tags(path: Path, classes: tuple[str, ...], form: str | None) -> dict[str, ListedRecording]:
    listed = read_label_file(path, form=form, kind="tags", classes=classes)
    names = file_names(listed)
    tags = tags_of(listed, classes=classes or None)
    if not tags:
        raise DataError(f"{path}: lists no clip; expected rows of file name and label.")
    splits: dict[str, str] = {}
    for row in listed.rows:
        split = _SPLITS.get(row.split.lower(), "") if row.split else ""
        if row.split and not split:
            raise DataError(
                f"{path}, line {row.line}: split {row.split!r} is not known. {nearest_names(row.split, _SPLITS)}"
            )
        name = recording_id(listed.name(row))
        if splits.setdefault(name, split) != split:
            raise DataError(f"{path}, line {row.line}: {names[name]} is in two splits, or has a row without one.")
    if len({bool(split) for split in splits.values()}) == 2:
        lacking = next(name for name, split in splits.items() if not split)
        raise DataError(f"{path}: {lacking} has no split, others have; fill the column or remove it.")
    return {name: ListedRecording(name, labels, None, splits[name]) for name, labels in tags.items()}


def _read_event_files(path: Path, classes: tuple[str, ...], form: str | None) -> dict[str, tuple[Event, ...]]:
    if path.is_dir():
        events = read_event_folder(path, form=form or "audacity")
        for name, found in events.items() if classes else ():
            class_indices((event.label for event in found), classes, where=f"{path}, recording {name!r}")
        return events
    events = read_events(path, classes=classes or None, form=form)
    if not events:
        raise DataError(f"{path}: lists no event; expected filename, onset, offset, event_label.")
    return events


def _unite(
    tags: dict[str, ListedRecording], events: Mapping[str, tuple[Event, ...]], where: str
) -> list[ListedRecording]:
    """Tags and events of one list of recordings; a label that has an event is a tag as well."""
    if not tags:
        tags = {name: ListedRecording(name, (), None) for name in events}
    ids = match_ids(events, tags, where=where)
    events = {ids[name]: found for name, found in events.items()}
    stray = next((name for name in events if name not in tags), None)
    if stray is not None:
        raise DataError(f"{where}: recording {stray!r} is not in the tag file. {nearest_names(stray, tags)}")
    united = []
    for name, recording in tags.items():
        found = events.get(name)
        labels = dict.fromkeys((*recording.tags, *(event.label for event in found or ())))
        united.append(ListedRecording(name, tuple(labels), found, recording.split))
    return united


def read_labels(
    root: Path, tag_file: Path | None, event_file: Path | None, *, form: str | None = None
) -> tuple[tuple[str, ...], list[ListedRecording]]:
    """Read the label files of a folder of recordings.

    Parameters
    ----------
    root : Path
        The folder of audio.
    tag_file : Path or None
    event_file : Path or None
        An event list, or a folder of lists of one recording each (Audacity label tracks, or what `form` names). One of
        the two must be given.
    form : str, optional
        Of the tag file, or of the event list where there is no tag file; by default found from its rows.

    Returns
    -------
    classes : tuple of str
    recordings : list of ListedRecording
        In the order of the tag file.
    """
    given = [path for path in (tag_file, event_file) if path is not None]
    class_file = _class_file([*(path if path.is_dir() else path.parent for path in given), root])
    classes = read_classes(class_file) if class_file else ()
    if tag_file is not None and tag_file.is_dir():
        raise DataError(f"{tag_file}: is a folder; data.metadata is the tag file, e.g. {tag_file / 'tags.csv'}.")
    tags = _read_tags(tag_file, classes, form) if tag_file is not None else {}
    event_form = form if tag_file is None else None
    events = _read_event_files(event_file, classes, event_form) if event_file is not None else {}
    recordings = _unite(tags, events, str(event_file))
    classes = classes or tuple(sorted({label for recording in recordings for label in recording.tags}))
    if not classes:
        raise DataError(f"{given[0]}: no clip has a label.")
    return classes, recordings
