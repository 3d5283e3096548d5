"""Label files put together: a reference and an estimate of one kind, or the labels of a user's own folder.

Recordings are matched by their paths (`crnn_weak.labels.names.match_ids`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crnn_weak.errors import DataError, nearest_names
from crnn_weak.labels.events import CLASS_LIST, DCASE2017_TASK4, Event
from crnn_weak.labels.names import match_ids
from crnn_weak.labels.reading import LabelFile, read_classes, read_files, united, without_splits
from crnn_weak.labels.tables import LabelRow

logger = logging.getLogger(__name__)

#: Events or tags of recordings.
Labels = dict[str, tuple[Any, ...]]

_SPLITS = {
    **dict.fromkeys(("train", "training", "dev", "development", "validation", "valid", "val"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


# --- reference and estimate ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelPair:
    """Events or tags of a reference and an estimate by recording, with notes for the reader of the result."""

    kind: str
    reference: Labels
    estimated: Labels
    notes: tuple[str, ...] = ()


def _kind(files: Sequence[LabelFile]) -> str:
    """Return the kind under which the files can be scored together."""
    of_kind = {file.kind: file.path for file in files}
    if "unclear" in of_kind:
        raise DataError(
            f"{of_kind['unclear']}: the times may be those of events, or the clips' places in other recordings. "
            "Say which with --events or --tags."
        )
    if "tags" in of_kind and "events" in of_kind:
        raise DataError(
            f"{of_kind['tags']}: holds tags, the other file events. Score both as tags with --tags, or give two event "
            "lists."
        )
    return "tags" if "tags" in of_kind else "events"


def read_pair(
    reference: str | Path,
    estimated: str | Path | None = None,
    *,
    kind: str | None = None,
    min_score: float | None = None,
    drop_zero_length: bool = False,
    **options: Any,
) -> LabelPair:
    """Read a reference and an estimate, which is empty where it is not given; `read_files` takes the other options.

    `min_score` filters the estimate, `drop_zero_length` events of the reference. The kind is found from the files where
    it is not given.
    """
    references = read_files(reference, kind=kind, **options)
    estimates = [] if estimated is None else read_files(estimated, kind=kind, min_score=min_score, **options)
    files = without_splits([*references, *estimates])
    kind = kind or _kind(files)
    if estimates and not Path(reference).is_dir() and not any(row.name for file in files for row in file.rows):
        # Lists of one recording without its name are named after their files, which differ.
        references = [replace(references[0], rows=references[0].rows or (LabelRow("", ""),))]
        estimates = [replace(estimates[0], recording=references[0].recording)]

    def labels(file: LabelFile) -> Labels:
        return dict(file.tags() if kind == "tags" else file.events())

    expected, found = united(references, labels), united(estimates, labels)
    ids = match_ids(found, expected, where=str(estimated))
    found = {ids[name]: rows for name, rows in found.items()}
    if drop_zero_length and kind == "events":
        expected = without_zero_length(expected)
    notes = []
    missing = 0 if estimated is None else sum(clip not in found for clip in expected)
    if missing:
        notes.append(f"{missing} of {len(expected)} clips have no row in the estimate: counted as empty")
    zero = sum(event.duration == 0 for rows in expected.values() for event in rows) if kind == "events" else 0
    if zero:
        notes.append(
            f"{zero} zero-length rows in the reference (labeled, but not heard): the event-based metrics count them as "
            "events to be found, --drop-zero-length skips them"
        )
    for file in files if min_score is None else ():
        scores = file.scores()
        if scores:
            notes.append(
                f"{file.path} has scores from {min(scores):g} to {max(scores):g}: every row counts; --min-score S "
                "drops lower ones from the estimate"
            )
    return LabelPair(kind, expected, found, tuple(notes))


def without_zero_length(events: Mapping[str, Iterable[Event]]) -> dict[str, tuple[Event, ...]]:
    """Return the events without zero-length rows; their clips stay."""
    return {clip: tuple(event for event in rows if event.offset > event.onset) for clip, rows in events.items()}


def labels_of(lists: Mapping[str, Iterable[Any]]) -> set[str]:
    """Return the labels of an event or tag list."""
    return {row.label if isinstance(row, Event) else str(row) for rows in lists.values() for row in rows}


def class_list(*lists: Mapping[str, Iterable[Any]]) -> tuple[str, ...]:
    """Return the labels of event or tag lists: the task's 17 in its order where all are of them, else sorted."""
    found = set().union(*(labels_of(one) for one in lists))
    return DCASE2017_TASK4 if found and found <= set(DCASE2017_TASK4) else tuple(sorted(found))


# --- a user's own folder ---------------------------------------------------------------------------------------------


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
            split = _SPLITS.get(row.split.lower(), "")
            if row.split and not split:
                raise DataError(f"{row.where}: split {row.split!r} is not known. {nearest_names(row.split, _SPLITS)}")
            if found.setdefault(name, split) != split:
                raise DataError(f"{row.where}: {name} is in two splits.")
    lacking = next((name for name, split in found.items() if not split), None)
    if lacking is not None and any(found.values()):
        raise DataError(f"{lacking} has no split, others have; give all a split or none.")
    return found


def read_labels(
    root: Path, tag_file: Path | None, event_file: Path | None, *, input_format: str | None = None
) -> tuple[tuple[str, ...], list[ListedRecording]]:
    """Return the classes and the labels of the recordings, in the order of the tag file.

    One of tag file and event file must be given; each may be a folder of files. A label that has an event is a tag as
    well. `input_format` is that of the tag file, or without one of the event file.
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
        event_files = without_splits(read_files(event_file, kind="events", classes=classes))
    events = united(event_files, LabelFile.events)
    for path in sorted({file.path for file in (*files, *event_files) if file.scores()}):
        logger.warning("%s: has scores; every row counts. `crnn-weak convert --min-score` drops the low ones.", path)
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
