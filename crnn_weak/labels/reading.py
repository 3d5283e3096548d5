"""Label files read by their header, or by one of a few strict layouts without one; never by guessing.

A table with a header is read by the names of its columns, in any order. Without a header a list has tabs, and every
row must have the layout of the first: files with an audio suffix before times and label, or the times and labels of
one recording. The organizers' lists of task 4 are known by their ids. Anything else is refused with its line.

Events become tags where tags are asked for, never the other way round.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from crnn_weak.errors import ConfigError, DataError, nearest_names
from crnn_weak.labels import task4
from crnn_weak.labels.events import CLASS_LIST, Event, by_time, class_indices
from crnn_weak.labels.names import NOTHING, check_label, has_audio_suffix, is_place, recording_id, without_y
from crnn_weak.labels.tables import (
    ROLE_OF,
    LabelRow,
    Row,
    Table,
    header_name,
    label_rows,
    number,
    read_header,
    read_lines,
    seconds,
    split_line,
)

#: Formats of label files by name, for `--input-format`, with what they hold.
INPUT_FORMATS = {
    "desed": "events; header, tabs",
    "csv": "events; header, commas or semicolons",
    "dcase": "events; no header: filename, onset, offset, label",
    "audacity": "events of one recording; no header: onset, offset, label",
    "audioset": "events; AudioSet's strong labels",
    "raven": "events; Raven selection table",
    "birdnet": "events; BirdNET-Analyzer's CSV",
    "desed-tags": "tags; header, tabs",
    "csv-tags": "tags; header, commas or semicolons",
    "one-hot": "tags; a column of 0 and 1 for each class",
    "dcase-tags": "tags; no header: filename, label",
    "task4-weak": "tags; DCASE 2017 task 4, weak list",
    "task4-set": "tags; DCASE 2017 task 4, set file",
    "urbansound8k": "tags; UrbanSound8K's metadata",
    "esc50": "tags; ESC-50's metadata",
}
KINDS = {name: "tags" if text.startswith("tags") else "events" for name, text in INPUT_FORMATS.items()}
# Lists without a header: the roles of their columns.
_LAYOUTS = {
    "audacity": ("onset offset label", "onset offset label score"),
    "dcase": (
        "file onset offset label",
        "file onset offset label score",
        "file scene onset offset label",
        "file scene onset offset label letter id",  # TUT Sound Events
    ),
    "dcase-tags": ("file label", "file scene labels id"),
}
_FITS: dict[str, Callable[[str], bool]] = {
    "file": has_audio_suffix,
    "onset": lambda text: seconds(text) is not None,
    "offset": lambda text: seconds(text) is not None,
    "label": lambda text: seconds(text) is None,  # a number is as likely to be something else
    "labels": lambda text: text.endswith(";"),
    "score": lambda text: number(text) is not None and 0 <= float(text) <= 1,
    "scene": lambda text: bool(text) and seconds(text) is None,
    "letter": lambda text: len(text) == 1,
    "id": bool,
}
# Files that are looked for in a folder of label files.
_SUFFIXES = (".csv", ".tsv", ".txt")
# What Raven and BirdNET put behind a recording's name.
_ENDINGS = re.compile(r"(\.Table\.\d+)?\.selections?$|\.BirdNET(\.(selection\.table|results))?$")
_Labels = TypeVar("_Labels")


@dataclass(frozen=True)
class LabelFile:
    """A label file that was read; ``kind`` is events, tags, empty, or unclear (times of events, or places in videos).

    ``recording`` is the recording of rows that name none.
    """

    path: Path
    format: str
    kind: str
    rows: tuple[LabelRow, ...]
    recording: str

    @cached_property
    def names(self) -> dict[str, str]:
        """The path of each recording by id, in the file's order."""
        paths: dict[str, str] = {}
        for path in dict.fromkeys(row.name or self.recording for row in self.rows):
            other = paths.setdefault(recording_id(path), path)
            if other != path:
                raise DataError(
                    f"{self.path}: {other!r} and {path!r} differ only in their suffix; rename one of the recordings."
                )
        return paths

    def by_recording(self) -> Iterator[tuple[str, LabelRow]]:
        """Yield id and row."""
        ids = {path: identifier for identifier, path in self.names.items()}
        return ((ids[row.name or self.recording], row) for row in self.rows)

    def events(self) -> dict[str, tuple[Event, ...]]:
        """Return the events of each recording, in order of time."""
        found: dict[str, list[Event]] = {}
        for identifier, row in self.by_recording():
            events = found.setdefault(identifier, [])
            if row.onset is not None and row.offset is not None:
                events.append(Event(row.onset, row.offset, row.labels[0], row.score))
        return {identifier: tuple(sorted(events, key=by_time)) for identifier, events in found.items()}

    def tags(self) -> dict[str, tuple[str, ...]]:
        """Return the labels of each recording, each once."""
        return {identifier: tuple(labels) for identifier, labels in self.scored_tags().items()}

    def scored_tags(self) -> dict[str, dict[str, float | None]]:
        """Return the labels of each recording with their scores; of several scores of a label the highest."""
        found: dict[str, dict[str, float | None]] = {}
        for identifier, row in self.by_recording():
            tags = found.setdefault(identifier, {})
            for label in row.labels:
                scores = [score for score in (tags.get(label), row.score) if score is not None]
                tags[label] = max(scores, default=None)
        return found

    def scores(self) -> list[float]:
        """Return the scores of the rows that have one."""
        return [row.score for row in self.rows if row.score is not None]

    def above(self, min_score: float) -> LabelFile:
        """Return the file without the labels of lower scores; their recordings stay."""
        rows = []
        for row in self.rows:
            if row.labels and row.score is None:
                raise DataError(f"{row.where}: no score, which --min-score needs in every row.")
            is_low = row.score is not None and row.score < min_score
            rows.append(LabelRow(row.where, row.name, split=row.split) if is_low else row)
        return replace(self, rows=tuple(rows))


# --- lists without a header ------------------------------------------------------------------------------------------


def _read_list(rows: list[Row], classes: Collection[str]) -> tuple[str, str, list[LabelRow]]:
    """Return format, kind and rows of a list without a header, whose rows must all have the layout of the first.

    A file name alone is a recording without labels; Audacity's lines of frequencies are skipped.
    """
    rows = [row for at, row in enumerate(rows) if row.fields[0] != "\\" or not at]
    model = next((row for row in rows if len(row.fields) > 1), rows[0])
    for name, layouts in _LAYOUTS.items():
        for roles in map(str.split, layouts):
            if len(roles) == len(model.fields) and all(_FITS[r](x) for r, x in zip(roles, model.fields, strict=True)):
                found = _list_rows(rows, roles, classes)
                return (*_weak_or_strong(found), found) if name == "dcase" else (name, KINDS[name], found)
    raise DataError(
        f"{model.where}: {', '.join(model.fields)[:80]!r} has no layout of a list without a header: "
        "filename, onset, offset, label, or filename, label, or onset, offset, label, with tabs between and no number "
        "as label. Add a header that names the columns."
    )


def _list_rows(rows: list[Row], roles: list[str], classes: Collection[str]) -> list[LabelRow]:
    full = []
    for where, fields in rows:
        is_alone = len(fields) == 1 and roles[0] == "file" and not re.search("[,;|]", fields[0])
        if len(fields) != len(roles) and not is_alone:
            raise DataError(f"{where}: {len(fields)} columns; expected {', '.join(roles)}, as in the rows before.")
        for role, text in zip(roles, fields, strict=False):
            if not _FITS[role](text):
                raise DataError(f"{where}: {text[:60]!r} in the place of the {role}; expected {', '.join(roles)}.")
        full.append(Row(where, fields + [""] * (len(roles) - len(fields))))
    columns = {"label" if role == "labels" else role: at for at, role in enumerate(roles)}
    return label_rows(Table(rows[0], full, columns, classes, plural="labels" in roles))


def _weak_or_strong(rows: list[LabelRow]) -> tuple[str, str]:
    """Return format and kind of a list in the organizers' columns, which weak and strong lists share.

    In weak lists the times are the cut's place in the *video*, as the file's name gives it.
    """
    timed = [row for row in rows if row.onset is not None]
    places = [row for row in timed if is_place(row.name, row.onset, row.offset)]
    late = any(row.onset for row in places)
    if timed and len(places) == len(timed):
        return "task4-weak", "tags" if late else "unclear"
    return "dcase", "unclear" if late else "events"


# --- files -----------------------------------------------------------------------------------------------------------


def _separator(header: str) -> str:
    """Return the separator that gives most known names of columns; a comma where none does."""
    return max(",\t;", key=lambda sign: sum(header_name(text.strip(' "')) in ROLE_OF for text in header.split(sign)))


def _read_table(lines: list[tuple[str, str]], classes: Collection[str]) -> tuple[str, str, list[LabelRow]]:
    """Return format, kind and rows of a file."""
    asked = re.fullmatch(r'"?sep=([,;\t])"?', lines[0][1].strip(" ")) if lines else None
    lines = lines[1:] if asked else lines
    if not lines:
        return "", "empty", []
    rows = [Row(where, [field.strip(" \t") for field in text.rstrip(" \t").split("\t")]) for where, text in lines]
    first = rows[0].fields
    is_file = has_audio_suffix(first[0]) and (len(first) > 1 or not re.search("[,;|]", first[0]))
    is_track = len(first) > 1 and seconds(first[0]) is not None and seconds(first[1]) is not None
    if not asked and (is_file or is_track):
        return _read_list(rows, classes)
    separator = asked[1] if asked else _separator(lines[0][1])
    rows = [Row(where, split_line(text, separator, where)) for where, text in lines]
    if task4.is_set_row(rows[0].fields):
        return "task4-set", "tags", [task4.set_row(row) for row in rows]
    name, found = read_header(rows[0], rows[1:], separator, classes)
    return name, KINDS[name], found


def _read_file(path: Path, input_format: str | None, kind: str | None, classes: frozenset[str]) -> LabelFile:
    """Read a label file; rows that name no recording belong to the one that the file is named after."""
    if input_format is not None and input_format not in INPUT_FORMATS:
        raise ConfigError(f"input format {input_format!r} is not known. {nearest_names(input_format, INPUT_FORMATS)}")
    name, found_kind, rows = _read_table(read_lines(path), classes)
    if input_format is not None and name:
        if input_format not in ({"dcase", "task4-weak"} if found_kind == "unclear" else {name}):
            raise DataError(
                f"{path}: has the format {name} ({INPUT_FORMATS[name]}); asked for is {input_format} "
                f"({INPUT_FORMATS[input_format]})."
            )
        found_kind = KINDS[input_format]
    if kind == "events" and found_kind == "tags":
        raise DataError(
            f"{path}: holds {INPUT_FORMATS[name]}; times in it, if any, are places in other recordings. Expected a "
            "list of events; `evaluate` scores tags with --tags."
        )
    for row in rows if classes else ():
        if not classes.issuperset(row.labels):
            class_indices(row.labels, sorted(classes), where=row.where)
    found_kind = kind or found_kind
    if found_kind != "tags" and not any(row.labels for row in rows):
        found_kind = "empty"
    if found_kind == "tags":
        rows = [replace(row, onset=None, offset=None) for row in rows]
    return LabelFile(path, name, found_kind, tuple(rows), _ENDINGS.sub("", path.stem))


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
    input_format: str | None = None,
    kind: str | None = None,
    classes: Collection[str] = (),
    min_score: float | None = None,
    strip_y: bool = False,
) -> list[LabelFile]:
    """Read a label file, or all those of a folder and its subfolders, where empty files are recordings without labels.

    `input_format` is a name of `INPUT_FORMATS` that the file must have. `kind` (events or tags) says what is wanted;
    tags are never read as events. Every label must be among `classes`, where they are given. Labels with a score below
    `min_score` are dropped; `strip_y` takes the organizers' ``Y`` from the names.
    """
    path, known = Path(path), frozenset(classes)
    found = []
    for file in _files_in(path) if path.is_dir() else [path]:
        one = _read_file(file, input_format, kind, known)
        if path.is_dir():
            recording = file.relative_to(path).with_name(one.recording).as_posix()
            one = replace(one, recording=recording, rows=one.rows or (LabelRow(str(file), ""),))
        if strip_y:
            one = replace(one, rows=tuple(replace(row, name=without_y(row.name)) for row in one.rows))
        found.append(one if min_score is None else one.above(min_score))
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


def without_splits(files: list[LabelFile]) -> list[LabelFile]:
    """Return the files; refuse a column of splits where labels of all splits would be mixed."""
    for file in files:
        if any(row.split for row in file.rows):
            raise DataError(f"{file.path}: has a column of splits; keep the rows of one split and remove the column.")
    return files


def read_events(path: str | Path, *, classes: Collection[str] = ()) -> dict[str, tuple[Event, ...]]:
    """Read the events of each recording from a file or a folder of files, in the order of the file; see `read_files`.

    A row of a name alone is a recording without events. Without names the recording is named after the file.
    """
    return united(without_splits(read_files(path, kind="events", classes=classes)), LabelFile.events)


def read_tags(path: str | Path, *, classes: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Read which labels each recording has, from tags or events, as `read_events` does; each label once."""
    return united(without_splits(read_files(path, kind="tags", classes=classes)), LabelFile.tags)


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read a class list: one label a line; of several columns (the organizers' list) the last."""
    rows = [text.rstrip().split("\t") for _, text in read_lines(path)]
    if len(rows) > 1 and len(rows[0]) != len(rows[1]):
        rows = rows[1:]  # the header of the organizers' list, which has blanks for tabs
    labels = [check_label(fields[-1].strip(), str(path)) for fields in rows]
    if labels and labels[0].casefold() in ("label", "labels", "class", "classes", "event_label", "class_label"):
        labels = labels[1:]
    if not labels:
        raise DataError(f"{path}: no class in this file; expected one label a line.")
    nothing = next((label for label in labels if label.lower() in NOTHING), None)
    if nothing is not None:
        raise DataError(f"{path}: {nothing!r} stands for recordings without labels and cannot be a class; remove it.")
    twice = next((label for label, n in Counter(labels).items() if n > 1), None)
    if twice is not None:
        raise DataError(f"{path}: class {twice!r} is listed twice; expected distinct labels, one a line.")
    return tuple(labels)
