"""Label files: events and tags by recording, a reference with its estimate, a user's own labels, class lists.

Events become tags where tags are asked for, never the other way round. Recordings of two files match by their paths.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from crnn_weak.errors import ConfigError, DataError, nearest_names
from crnn_weak.labels.events import CLASS_LIST, DCASE2017_TASK4, Event, by_time, class_indices
from crnn_weak.labels.names import canonical_id, check_classes, match_ids, recording_id, without_y
from crnn_weak.labels.tables import KINDS, LabelRow, read_lines, read_table

logger = logging.getLogger(__name__)

#: Events or tags of recordings.
Labels = dict[str, tuple[Any, ...]]
# Files that are looked for in a folder of label files.
_SUFFIXES = (".csv", ".tsv", ".txt")
# What Raven and BirdNET put behind a recording's name.
_ENDINGS = re.compile(r"(\.Table\.\d+)?\.selections?$|\.BirdNET(\.(selection\.table|results))?$")
_SPLITS = {
    **dict.fromkeys(("train", "training", "dev", "development", "validation", "valid", "val"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_Labels = TypeVar("_Labels")


@dataclass(frozen=True)
class LabelFile:
    """A label file; ``kind`` is events, tags, empty, or unclear (times of events, or places in videos)."""

    path: Path
    format: str
    kind: str
    names: dict[str, str]  #: the path of each recording by id, in the file's order
    of_recording: dict[str, list[LabelRow]]  #: the rows of each recording by id

    @property
    def rows(self) -> list[LabelRow]:
        """All rows."""
        return [row for rows in self.of_recording.values() for row in rows]

    def events(self) -> dict[str, tuple[Event, ...]]:
        """Return the events of each recording, in order of time."""
        found = {}
        for identifier, rows in self.of_recording.items():
            events = []
            for row in rows:
                if row.onset is not None and row.offset is not None:
                    events.append(Event(row.onset, row.offset, row.labels[0], row.score))
            found[identifier] = tuple(sorted(events, key=by_time))
        return found

    def tags(self) -> dict[str, tuple[str, ...]]:
        """Return the labels of each recording, each once."""
        return {
            identifier: tuple(dict.fromkeys(label for row in rows for label in row.labels))
            for identifier, rows in self.of_recording.items()
        }

    def scores(self) -> list[float]:
        """Return the scores of the rows that have one."""
        return [row.score for row in self.rows if row.score is not None]


def _read_rows(
    path: Path,
    input_format: str | None,
    kind: str | None,
    classes: frozenset[str],
    min_score: float | None,
    label_column: str | None,
) -> tuple[str, str, list[LabelRow]]:
    """Return format, kind and rows of a label file; recordings whose labels have too low scores stay."""
    name, rows = read_table(path, classes, label_column)
    if input_format is not None and name != "empty":
        if input_format not in ({"dcase", "task4-weak"} if name == "unclear" else {name}):
            raise DataError(f"{path}: has the format {name}; asked for is {input_format}.")
        name = input_format
    found_kind = KINDS.get(name, name)
    if kind == "events" and found_kind == "tags":
        raise DataError(
            f"{path}: holds tags ({name}); times in it, if any, are places in other recordings. Expected a list of "
            "events; `evaluate` scores tags with --tags."
        )
    for row in rows if classes else ():
        if not classes.issuperset(row.labels):
            class_indices(row.labels, sorted(classes), where=row.where)
    found_kind = kind or found_kind
    if found_kind != "tags" and not any(row.labels for row in rows):
        found_kind = "empty"
    if found_kind == "tags":
        rows = [replace(row, onset=None, offset=None) for row in rows]
    if min_score is not None:
        for at, row in enumerate(rows):
            if row.labels and row.score is None:
                raise DataError(f"{row.where}: no score, which --min-score needs in every row.")
            if row.score is not None and row.score < min_score:
                rows[at] = LabelRow(row.where, row.name, split=row.split)
    return name, found_kind, rows


def _files_in(folder: Path) -> list[Path]:
    """Return the label files of a folder and its subfolders; one that cannot be read is an error, not an empty one."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}; expected a folder of label files.") from None

    inside = [Path(place) / name for place, _, names in os.walk(folder, onerror=refuse) for name in names]
    found = [file for file in inside if file.suffix.lower() in _SUFFIXES]
    found = sorted(file for file in found if file.name != CLASS_LIST and not file.name.startswith("."))
    if not found:
        raise DataError(f"{folder}: no label files ({', '.join(_SUFFIXES)}) in this folder.")
    return found


def read_files(
    path: str | Path,
    *,
    input_format: str | None = None,  # that the file must have
    label_column: str | None = None,
    kind: str | None = None,  # wanted: events or tags
    classes: Collection[str] = (),  # other labels are refused
    min_score: float | None = None,  # labels with a lower one are dropped
    strip_y: bool = False,  # of the organizers' names
    splits: bool = False,  # may have a column of splits, whose labels are not to be mixed
) -> list[LabelFile]:
    """Read a label file, or all those of a folder and its subfolders, where empty files are silent recordings."""
    if input_format is not None and input_format not in KINDS:
        raise ConfigError(f"input format {input_format!r} is not known. {nearest_names(input_format, KINDS)}")
    path = Path(path)
    found = []
    for file in _files_in(path) if path.is_dir() else [path]:
        name, found_kind, rows = _read_rows(file, input_format, kind, frozenset(classes), min_score, label_column)
        if not splits and any(row.split for row in rows):
            raise DataError(f"{file}: has a column of splits; keep the rows of one split and remove the column.")
        # Rows that name no recording belong to the one that the file is named after.
        place = file.relative_to(path) if path.is_dir() else Path(file.name)
        own_name = place.with_name(_ENDINGS.sub("", file.stem) or file.stem).as_posix()
        if path.is_dir():
            rows = rows or [LabelRow(str(file), "")]
        names: dict[str, str] = {}
        of_recording: dict[str, list[LabelRow]] = {}
        for row in rows:
            listed = (without_y(row.name) if strip_y else row.name) or own_name
            identifier = recording_id(listed)
            other = names.setdefault(identifier, listed)
            if other != listed:
                raise DataError(f"{file}: {other!r} and {listed!r} differ only in their suffix; rename one of them.")
            of_recording.setdefault(identifier, []).append(row)
        found.append(LabelFile(file, name, found_kind, names, of_recording))
    return found


def united(files: Iterable[LabelFile], read: Callable[[LabelFile], dict[str, _Labels]]) -> dict[str, _Labels]:
    """Return what `read` finds in all files, by recording; one recording in two files is an error."""
    found: dict[str, _Labels] = {}
    sources: dict[str, Path] = {}
    for file in files:
        for name, labels in read(file).items():
            if name in sources:
                raise DataError(f"{file.path} and {sources[name]}: both are of the recording {name!r}; remove one.")
            found[name], sources[name] = labels, file.path
    return found


def read_events(path: str | Path, *, classes: Collection[str] = ()) -> dict[str, tuple[Event, ...]]:
    """Read the events of each recording from a file or a folder of files, in the order of the file."""
    return united(read_files(path, kind="events", classes=classes), LabelFile.events)


def read_tags(path: str | Path, *, classes: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Read which labels each recording has, from tags or events, as `read_events` does."""
    return united(read_files(path, kind="tags", classes=classes), LabelFile.tags)


def by_clip(path: str | Path, labels: Mapping[str, _Labels]) -> dict[str, _Labels]:
    """Return the labels of a list of the organizers of task 4 by clip id in its canonical form."""
    clips = {canonical_id(name): found for name, found in labels.items()}
    if len(clips) < len(labels):
        ((twice, _),) = Counter(map(canonical_id, labels)).most_common(1)
        raise DataError(f"{path}: two of the names are both the clip {twice!r}.")
    return clips


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read a class list: one label a line; of several columns (the organizers' list) the last."""
    rows = [text.rstrip().split("\t") for _, text in read_lines(path)]
    if len(rows) > 1 and len(rows[0]) != len(rows[1]):
        rows = rows[1:]  # the header of the organizers' list, which has blanks for tabs
    labels = [fields[-1].strip() for fields in rows]
    if labels and labels[0].casefold() in ("label", "labels", "class", "classes", "event_label", "class_label"):
        labels = labels[1:]
    if not labels:
        raise DataError(f"{path}: no class in this file; expected one label a line.")
    return check_classes(labels, str(path))


@dataclass(frozen=True)
class LabelPair:
    """Events or tags of a reference and an estimate by recording, with notes for the reader of the result."""

    kind: str
    reference: Labels
    estimated: Labels
    notes: tuple[str, ...] = ()


def _common_kind(files: Iterable[LabelFile]) -> str:
    """Return the kind under which the files can be scored together."""
    of_kind = {file.kind: file.path for file in files}
    if "unclear" in of_kind:
        raise DataError(
            f"{of_kind['unclear']}: the times may be those of events, or the clips' places in other recordings. "
            "Say which with --events or --tags."
        )
    if "tags" in of_kind and "events" in of_kind:
        advice = "Score both as tags with --tags, or give two event lists."
        raise DataError(f"{of_kind['tags']}: holds tags, the other file events. {advice}")
    return "tags" if "tags" in of_kind else "events"


def read_pair(
    reference: str | Path,
    estimated: str | Path | None = None,
    *,
    kind: str | None = None,
    min_score: float | None = None,  # of the estimate
    drop_zero_length: bool = False,  # of the reference
    **options: Any,
) -> LabelPair:
    """Read a reference and an estimate, empty where not given, of the given kind or the one that the files have."""
    references = read_files(reference, kind=kind, **options)
    estimates = [] if estimated is None else read_files(estimated, kind=kind, min_score=min_score, **options)
    files = [*references, *estimates]
    kind = kind or _common_kind(files)
    are_files = estimated is not None and not (Path(reference).is_dir() or Path(estimated).is_dir())
    if are_files and not any(row.name for file in files for row in file.rows):
        # Lists of one recording without its name are named after their files, which differ.
        name = Path(reference).stem
        references = [replace(references[0], of_recording={name: references[0].rows})]
        estimates = [replace(estimates[0], of_recording={name: estimates[0].rows})]
    read: Callable[[LabelFile], Labels] = LabelFile.tags if kind == "tags" else LabelFile.events
    expected, found = united(references, read), united(estimates, read)
    ids = match_ids(found, expected, where=str(estimated))
    found = {ids[name]: rows for name, rows in found.items()}
    notes = []
    missing = 0 if estimated is None else sum(clip not in found for clip in expected)
    if missing:
        notes.append(f"{missing} of {len(expected)} clips have no row in the estimate: counted as empty")
    if kind == "events":
        heard = {clip: tuple(event for event in rows if event.duration > 0) for clip, rows in expected.items()}
        n_zero = sum(map(len, expected.values())) - sum(map(len, heard.values()))
        if drop_zero_length:
            expected = heard
        elif n_zero:
            notes.append(
                f"{n_zero} zero-length rows in the reference (labeled, but not heard): the event-based metrics count "
                "them as events to be found, --drop-zero-length skips them"
            )
    for file in files if min_score is None else ():
        scores = file.scores()
        if scores:
            notes.append(
                f"{file.path} has scores from {min(scores):g} to {max(scores):g}: every row counts; --min-score S "
                "drops lower ones from the estimate"
            )
    return LabelPair(kind, expected, found, tuple(notes))


def labels_of(lists: Mapping[str, Iterable[Any]]) -> set[str]:
    """Return the labels of an event or tag list."""
    return {row.label if isinstance(row, Event) else str(row) for rows in lists.values() for row in rows}


def class_list(*lists: Mapping[str, Iterable[Any]]) -> tuple[str, ...]:
    """Return the labels of event or tag lists: the task's 17 in its order where all are of them, else sorted."""
    found = set().union(*(labels_of(one) for one in lists))
    return DCASE2017_TASK4 if found and found <= set(DCASE2017_TASK4) else tuple(sorted(found))


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
    for name, rows in united(files, lambda file: file.of_recording).items():
        for row in rows:
            split = _SPLITS.get(row.split.lower(), "")
            if row.split and not split:
                raise DataError(f"{row.where}: split {row.split!r} is not known. {nearest_names(row.split, _SPLITS)}")
            if found.setdefault(name, split) != split:
                raise DataError(f"{row.where}: {name} is in two splits.")
    lacking = next((name for name, split in found.items() if not split), None)
    if lacking is not None and any(found.values()):
        raise DataError(f"{lacking} has no split, others have; give all a split or none.")
    return found


def _check_untagged(
    names: Collection[str], tags: Collection[str], audio: Collection[str], event_file: str, root: Path, is_known: bool
) -> None:
    """Refuse recordings with events and no row of tags that have no audio, or whose other classes are not known."""
    for name in names:
        where = f"{event_file}: recording {name!r}"
        if name not in audio:
            raise DataError(f"{where} is neither in the tag file nor in {root}. {nearest_names(name, tags)}")
        if not is_known:
            raise DataError(f"{where} has no row in the tag file, so its classes beside data.annotated are not known.")
    logger.info("%s: %d recordings have no row in the tag file; their events are used.", event_file, len(names))


def read_labels(
    root: Path,
    tag_file: Path | None,
    event_file: Path | None,
    *,
    audio: Collection[str] = (),  # ids of recordings in `root`, which may have events without a row of tags
    annotated: Collection[str] = (),  # the classes whose tags known events replace, by default all
    **options: Any,
) -> tuple[tuple[str, ...], list[ListedRecording]]:
    """Return the classes and the labels of the recordings, from a file or folder of tags, of events, or both."""
    given = [path for path in (tag_file, event_file) if path is not None]
    folders = [*(path if path.is_dir() else path.parent for path in given), root]
    class_file = next((path for path in (folder / CLASS_LIST for folder in folders) if path.is_file()), None)
    classes = read_classes(class_file) if class_file else ()
    files = read_files(given[0], kind="tags" if tag_file else "events", classes=classes, splits=True, **options)
    tags = united(files, LabelFile.tags)
    if not tags:
        raise DataError(f"{given[0]}: lists no recording; expected rows of file name and label.")
    event_files = files if tag_file is None else []
    if tag_file is not None and event_file is not None:
        event_files = read_files(event_file, kind="events", classes=classes)
    events = united(event_files, LabelFile.events)
    for path in sorted({file.path for file in (*files, *event_files) if file.scores()}):
        logger.warning("%s: has scores; every row counts. `crnn-weak convert --min-score` drops the low ones.", path)
    ids = match_ids(events, tags, where=str(event_file))
    untagged = match_ids([name for name in events if ids[name] not in tags], audio, where=str(event_file))
    events = {(ids | untagged)[name]: found for name, found in events.items()}
    if untagged:
        _check_untagged(untagged.values(), tags, audio, str(event_file), root, is_known=not annotated)
        tags |= dict.fromkeys(untagged.values(), ())
    splits = _splits(files)
    default_split = "train" if any(splits.values()) else ""
    recordings, n_replaced = [], 0
    for name, labels in tags.items():
        # With a file of events, a recording without any label is known to have none.
        known = events.get(name, () if event_file is not None and not labels else None)
        if known is not None:
            kept = [label for label in labels if annotated and label not in annotated]
            found = tuple(dict.fromkeys((*kept, *(event.label for event in known))))
            n_replaced += set(found) != set(labels)
            labels = found
        recordings.append(ListedRecording(name, labels, known, splits.get(name, default_split)))
    if n_replaced:
        logger.info("%s: the events of %d recordings replace their tags, which differ.", event_file, n_replaced)
    classes = classes or tuple(sorted({label for recording in recordings for label in recording.tags}))
    if not classes:
        raise DataError(f"{given[0]}: no clip has a label.")
    return classes, recordings
