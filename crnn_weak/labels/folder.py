"""A user's own label files, put together: class list, tags with an optional split column, events."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.errors import DataError, nearest_names
from crnn_weak.labels.classes import CLASS_LIST
from crnn_weak.labels.events import Event
from crnn_weak.labels.names import match_ids
from crnn_weak.labels.reading import LabelFile, read_classes, read_files, refuse_splits, united

logger = logging.getLogger(__name__)

_SPLITS = {
    **dict.fromkeys(("train", "training", "dev", "development", "validation", "valid", "val"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class ListedRecording:
    """Labels of one recording; ``events`` is None where they are unknown, ``split`` "" where no column gives it."""

    name: str
    tags: tuple[str, ...]
    events: tuple[Event, ...] | None
    split: str = ""


def _splits(files: Iterable[LabelFile]) -> dict[str, str]:
    """Return train or test of each recording, or "" for all of them."""
    found: dict[str, str] = {}
    for file in files:
        for name, row in file.by_recording():
            split = _SPLITS.get(row.split.lower(), "") if row.split else ""
            where = f"{file.path}, line {row.line}"
            if row.split and not split:
                raise DataError(f"{where}: split {row.split!r} is not known. {nearest_names(row.split, _SPLITS)}")
            if found.setdefault(name, split) != split:
                raise DataError(f"{where}: {name} is in two splits.")
    lacking = next((name for name, split in found.items() if not split), None)
    if lacking is not None and any(found.values()):
        raise DataError(f"{lacking} has no split, others have; give all a split or none.")
    return found


def read_labels(
    root: Path, tag_file: Path | None, event_file: Path | None, *, input_format: str | None = None
) -> tuple[tuple[str, ...], list[ListedRecording]]:
    """Return the classes and the labels of the recordings, in the order of the tag file.

    One of tag file and event file must be given; each may be a folder of files. A label that has an event is a tag as
    well. `input_format` is that of the tag file, or of the event file where there is no tag file.
    """
    given = [path for path in (tag_file, event_file) if path is not None]
    folders = [*(path if path.is_dir() else path.parent for path in given), root]
    class_file = next((path for path in (folder / CLASS_LIST for folder in folders) if path.is_file()), None)
    classes = read_classes(class_file) if class_file else ()
    files = read_files(given[0], kind="tags" if tag_file else "events", classes=classes, input_format=input_format)
    tags = united(files, LabelFile.tags)
    if not tags:
        raise DataError(f"{given[0]}: lists no recording; expected rows of file name and label.")
    event_files = files if tag_file is None else []
    if tag_file is not None and event_file is not None:
        event_files = read_files(event_file, kind="events", classes=classes)
        refuse_splits(event_files)
    events = united(event_files, LabelFile.events)
    for file in {file.path: file for file in (*files, *event_files)}.values():
        if file.scores():
            logger.warning(
                "%s: has scores; every row counts. `crnn-weak convert --min-score` drops the low ones.", file.path
            )
    ids = match_ids(events, tags, where=str(event_file))
    events = {ids[name]: found for name, found in events.items()}
    stray = next((name for name in events if name not in tags), None)
    if stray is not None:
        raise DataError(f"{event_file}: recording {stray!r} is not in the tag file. {nearest_names(stray, tags)}")
    splits = _splits(files)
    recordings = []
    for name, labels in tags.items():
        united_tags = dict.fromkeys((*labels, *(event.label for event in events.get(name, ()))))
        recordings.append(ListedRecording(name, tuple(united_tags), events.get(name), splits[name]))
    classes = classes or tuple(sorted({label for recording in recordings for label in recording.tags}))
    if not classes:
        raise DataError(f"{given[0]}: no clip has a label.")
    return classes, recordings
