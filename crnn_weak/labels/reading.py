"""Label files read by their header, or by one of a few strict layouts without one; never by guessing.

A table with a header is read by the names of its columns, in any order. Without a header a list has tabs, and every
row must have the layout of the first: files with an audio suffix before times and label, or the times and labels of
one recording. The organizers' lists of task 4 are known by their ids. Anything else is refused with its line.

Events become tags where tags are asked for, never the other way round.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TypeVar

from crnn_weak.errors import ConfigError, DataError, nearest_names
from crnn_weak.labels import task4
from crnn_weak.labels.classes import CLASS_LIST, DCASE2017_TASK4, class_indices
from crnn_weak.labels.events import Event, by_time
from crnn_weak.labels.names import (
    MISSING,
    NOTHING,
    check_characters,
    has_audio_suffix,
    nfc,
    recording_id,
    recording_path,
)
from crnn_weak.labels.tables import (
    LabelRow,
    Row,
    checked_label,
    checked_name,
    checked_score,
    checked_time,
    checked_times,
    number,
    read_lines,
    seconds,
    split_line,
)

logger = logging.getLogger(__name__)

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
#: Names of columns by role. Upper and lower case, blanks and underscores, and the unit seconds make no difference.
COLUMNS: dict[str, tuple[str, ...]] = {
    "file": (
        "filename", "file", "file_name", "filepath", "file_path", "path", "audio", "audio_file", "audio_filename",
        "audio_path", "wav", "clip", "clip_id", "fname", "recording", "name", "begin_file", "begin_path",
        "slice_file_name", "segment_id",
    ),
    "onset": ("onset", "event_onset", "start", "start_time", "begin", "begin_time"),
    "offset": ("offset", "event_offset", "end", "end_time", "stop", "stop_time"),
    "duration": ("duration", "event_duration"),
    "label": (
        "event_label", "label", "class", "category", "tag", "event", "sound_event", "species", "common_name",
        "annotation",
    ),
    "labels": ("event_labels", "labels", "classes", "categories", "tags", "events"),
    "score": ("score", "confidence", "probability"),
    "split": ("split", "subset", "set", "partition"),
}  # fmt: skip
_ROLE_OF = {name: role for role, names in COLUMNS.items() for name in names}
# Headers of one tool or data set: the columns that tell it, in lower case, and its column of each role.
_KNOWN_HEADERS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "urbansound8k": (
        ("slice_file_name", "fsid", "start", "end", "fold", "classid", "class"),
        {"file": "slice_file_name", "label": "class"},
    ),
    "esc50": (("filename", "fold", "target", "category", "esc10"), {"file": "filename", "label": "category"}),
    "birdnet": (
        ("start (s)", "end (s)", "scientific name", "common name", "confidence"),
        {"file": "file", "onset": "start (s)", "offset": "end (s)", "label": "common name", "score": "confidence"},
    ),
}
# Columns that may hold 0 and 1 and say nothing about the labels.
_NUMBERS = ("", "unnamed:_0", "index", "id", "fold", "channel", "channels", "target", "take")
_YES, _NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_YES_NO = {*_YES, *_NO, "yes", "no", "present", "not_present"}
# Lists without a header: the roles of their columns.
_LAYOUTS = {
    "audacity": ("onset offset label", "onset offset label score"),
    "dcase": (
        "file onset offset label",
        "file onset offset label score",
        "file scene onset offset label",
        "file scene onset offset label letter",  # TUT Sound Events
        "file scene onset offset label letter id",
    ),
    "dcase-tags": ("file label", "file scene labels", "file scene labels id"),
}
_FITS: dict[str, Callable[[str], bool]] = {
    "file": has_audio_suffix,
    "onset": lambda text: seconds(text) is not None,
    "offset": lambda text: seconds(text) is not None,
    "label": lambda text: number(text) is None,  # a number is as likely to be something else
    "labels": lambda text: text.endswith(";"),
    "score": lambda text: number(text) is not None and 0 <= float(text) <= 1,
    "scene": lambda text: bool(text) and number(text) is None,
    "letter": lambda text: len(text) == 1,
    "id": bool,
}
# Files that are looked for in a folder of label files.
_SUFFIXES = (".csv", ".tsv", ".txt")


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

    def _names(self, strip_y: bool) -> dict[str, tuple[str, str]]:
        """Return path and id of each name as it stands in the file."""
        found: dict[str, tuple[str, str]] = {}
        paths: dict[str, str] = {}
        for row in self.rows:
            name = row.name or self.recording
            if name in found:
                continue
            path = recording_path(name)
            identifier = recording_id(path, strip_y=strip_y)
            if paths.setdefault(identifier, path) != path:
                raise DataError(
                    f"{self.path}, line {row.line}: {paths[identifier]!r} and {path!r} differ only in their suffix; "
                    "rename one of the recordings."
                )
            found[name] = path, identifier
        return found

    def names(self, *, strip_y: bool = False) -> dict[str, str]:
        """Return the path of each recording by id, in the file's order."""
        return {identifier: path for path, identifier in self._names(strip_y).values()}

    def by_recording(self, strip_y: bool = False) -> Iterator[tuple[str, LabelRow]]:
        """Yield id and row."""
        names = self._names(strip_y)
        return ((names[row.name or self.recording][1], row) for row in self.rows)

    def events(self, *, strip_y: bool = False) -> dict[str, tuple[Event, ...]]:
        """Return the events of each recording, in order of time."""
        found: dict[str, list[Event]] = {}
        for identifier, row in self.by_recording(strip_y):
            events = found.setdefault(identifier, [])
            if row.onset is not None and row.offset is not None:
                events.append(Event(row.onset, row.offset, row.labels[0], row.score))
        return {identifier: tuple(sorted(events, key=by_time)) for identifier, events in found.items()}

    def tags(self, *, strip_y: bool = False) -> dict[str, tuple[str, ...]]:
        """Return the labels of each recording, each once."""
        return {identifier: tuple(labels) for identifier, labels in self.scored_tags(strip_y=strip_y).items()}

    def scored_tags(self, *, strip_y: bool = False) -> dict[str, dict[str, float | None]]:
        """Return the labels of each recording with their scores; of several scores of a label the highest."""
        found: dict[str, dict[str, float | None]] = {}
        for identifier, row in self.by_recording(strip_y):
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
        labeled = [row for row in self.rows if row.labels]
        lacking = next((row for row in labeled if row.score is None), None)
        if lacking is not None:
            raise DataError(f"{self.path}, line {lacking.line}: no score, which --min-score needs in every row.")
        rows = [_alone(row) if row.score is not None and row.score < min_score else row for row in self.rows]
        return replace(self, rows=tuple(rows))


def _alone(row: LabelRow) -> LabelRow:
    """Return a row that says of a recording that nothing is in it."""
    return LabelRow(row.line, row.name, split=row.split)


# --- rows of tables --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """A table: its rows, all as long as the first, and the column of each role."""

    path: Path
    first: Row
    rows: list[Row]
    columns: dict[str, int]
    classes: Collection[str] = ()
    plural: bool = False  #: a cell may hold several labels

    def refused(self, why: str) -> DataError:
        """Return the error of a header."""
        shown = ", ".join(self.first.fields)[:120]
        return DataError(f"{self.path}, line {self.first.line}: {why} The line is {shown!r}.")

    def where(self, row: Row) -> str:
        return f"{self.path}, line {row.line}"

    def cell(self, row: Row, role: str) -> str:
        return row.fields[self.columns[role]] if role in self.columns else ""


def _rows(table: _Table) -> list[LabelRow]:
    """Return what the rows of a table with known columns say."""
    end = "offset" if "offset" in table.columns else "duration"
    found, nothing = [], 0
    for row in table.rows:
        where = table.where(row)
        name = checked_name(table.cell(row, "file"), where) if "file" in table.columns else ""
        split = table.cell(row, "split")
        if "split" in table.columns and not split:
            raise DataError(f"{where}: no split, which other rows have; fill the column or remove it.")
        times = [table.cell(row, role) for role in ("onset", end)] if "onset" in table.columns else []
        label = table.cell(row, "label")
        parts = re.split(r";|,(?! )", label) if table.plural else [label]
        if times:
            is_empty = bool(name) and all(text.lower() in MISSING for text in (*times, label))
        else:
            is_empty = label.lower() in ("", "nan", "<na>")
        if is_empty:
            found.append(LabelRow(row.line, name, split=split))
            continue
        onset, offset = checked_times(*times, where, duration=end == "duration") if times else (None, None)
        score = checked_score(table.cell(row, "score"), where)
        labels = tuple(
            dict.fromkeys(checked_label(part.strip(" \t"), where) for part in parts if part or not table.plural)
        )
        if any(label.lower() in NOTHING for label in labels):
            nothing += 1
            labels, onset, offset, score = (), None, None, None
        found.append(LabelRow(row.line, name, labels, onset, offset, score, split))
    if nothing:
        logger.info("%s: %d rows of nothing found (%s): no label.", table.path, nothing, ", ".join(sorted(NOTHING)))
    _refuse_unclear_commas(table, found)
    return found


def _refuse_unclear_commas(table: _Table, rows: Sequence[LabelRow]) -> None:
    """Refuse a label such as ``dog, cat`` where a part of it is a label as well: it may be one label or two.

    In a column of several labels a part that two labels share is enough.
    """
    labels = {label for row in rows for label in row.labels}
    unclear = {label for label in labels.difference(table.classes, DCASE2017_TASK4) if ", " in label}
    parts = Counter(part for label in unclear for part in set(label.split(", ")))
    singles = labels | set(table.classes) | {part for part, n in parts.items() if table.plural and n > 1}
    for row in rows:
        for label in unclear.intersection(row.labels):
            shared = next((part for part in label.split(", ") if part in singles), None)
            if shared is not None:
                raise DataError(
                    f"{table.path}, line {row.line}: {label!r} may be one label or several, since {shared!r} is one as "
                    "well. Put each on a row of its own, or join them with ; in a column named labels."
                )


# --- tables with a header --------------------------------------------------------------------------------------------


def header_name(text: str) -> str:
    """Return a column's name as it is looked up: lower case, underscores, without the unit seconds.

    >>> header_name("Begin Time (s)"), header_name("end_time_seconds")
    ('begin_time', 'end_time')
    """
    name = re.sub(r"[\s_]+", "_", nfc(text).strip().lower())
    return re.sub(r"_?(\((s|sec|seconds)\)|\[(s|sec|seconds)\]|_(s|sec|seconds))$", "", name)


def _body(path: Path, first: Row, rows: Iterable[Row]) -> list[Row]:
    """Return the rows below the header at its length; rows without any content are skipped."""
    header = first.fields
    found = []
    for row in rows:
        fields, where = row.fields, f"{path}, line {row.line}"
        n_filled = sum(map(bool, fields))
        if all(text.lower() in MISSING for text in fields):
            continue
        if n_filled == 1 and fields[0].startswith("#"):
            raise DataError(f"{where}: a comment; remove lines that begin with #.")
        if fields[: len(header)] == header:
            raise DataError(f"{where}: the header is repeated.")
        if any(fields[len(header) :]) or (len(fields) < len(header) and n_filled > 1):
            raise DataError(
                f"{where}: {len(fields)} columns, the header has {len(header)}; put quotes around a field that holds "
                "the separator."
            )
        found.append(Row(row.line, (fields + [""] * len(header))[: len(header)]))
    return found


def _read_header(
    path: Path, first: Row, rows: list[Row], separator: str, classes: Collection[str]
) -> tuple[str, list[LabelRow]]:
    """Return the format of a table with a header, and its rows."""
    if first.fields[0].startswith("#"):
        raise DataError(f"{path}, line {first.line}: a comment; remove lines that begin with #.")
    n_columns = max((at for at, text in enumerate(first.fields, start=1) if text), default=1)
    first = Row(first.line, first.fields[:n_columns])
    table = _Table(path, first, _body(path, first, rows), {}, classes)
    lower = [re.sub(r"\s+", " ", text.lower()) for text in first.fields]
    if {"begin time (s)", "end time (s)"} <= set(lower) and {"selection", "view"} & set(lower):
        return "raven", _read_raven(table, lower)
    for name, (needed, of_role) in _KNOWN_HEADERS.items():
        if set(needed) <= set(lower):
            table.columns.update({role: lower.index(column) for role, column in of_role.items() if column in lower})
            return name, _rows(table)
    plural, others = _find_columns(table)
    columns = table.columns
    if not columns:
        raise table.refused(
            "neither a header with names such as filename, onset, offset, label, nor a row of a list without one: "
            "tabs, and files with an audio suffix or the times of one recording first."
        )
    if "file" not in columns and ("onset" not in columns or others):
        candidate = f", and {first.fields[others[0]]!r} may be one" if others else ""
        raise table.refused(f"no column of the file{candidate}. Known names: {', '.join(COLUMNS['file'])}.")
    if "label" not in columns and "onset" not in columns:
        return "one-hot", _read_one_hot(table, others)
    for role, needed_with in (("label", ("file",)), ("offset", ("onset",)), ("onset", ("offset",))):
        has_role = role in columns or (role == "offset" and "duration" in columns)
        if not has_role and set(needed_with) & set(columns):
            raise table.refused(f"no column of the {role}. Known names: {', '.join(COLUMNS[role])}.")
    _refuse_others(table, others)
    found = _rows(replace(table, plural=plural))
    if lower == ["segment_id", "start_time_seconds", "end_time_seconds", "label"]:
        return "audioset", found
    return ("desed" if separator == "\t" else "csv") + ("" if "onset" in columns else "-tags"), found


def _find_columns(table: _Table) -> tuple[bool, list[int]]:
    """Find the column of each role; return whether labels are joined, and the columns without a role."""
    header = table.first.fields
    plural, others = False, []
    for at, text in enumerate(header):
        name = header_name(text)
        role = _ROLE_OF.get(name)
        if role == "labels":
            role, plural = "label", True
        if role in table.columns:
            raise table.refused(f"the columns {header[table.columns[role]]!r} and {text!r} may both be the {role}.")
        unit = re.fullmatch(r"(.+?)[_ ]*[(\[]?(ms|msec|milliseconds|samples|frames|min|minutes)[)\]]?", name)
        if role is not None:
            table.columns[role] = at
        elif unit and _ROLE_OF.get(unit[1].strip("_")) in ("onset", "offset", "duration"):
            advice = "divide by 1000" if unit[2].startswith(("ms", "milli")) else "convert it"
            raise table.refused(f"the column {text!r} is in {unit[2]}; expected seconds: {advice}.")
        else:
            others.append(at)
    return plural, others


def _refuse_others(table: _Table, others: list[int]) -> None:
    """Refuse columns without a role that may change what a row means; name the rest in the log."""
    header, columns = table.first.fields, table.columns
    for at in others:
        values = {row.fields[at].lower() for row in table.rows} - MISSING
        if values and values <= _YES_NO and header_name(header[at]) not in _NUMBERS:
            raise table.refused(
                f"the column {header[at]!r} holds only {' and '.join(sorted(values))} and may say which rows count; "
                "keep those and remove it."
            )
    ignored = [header[at] for at in others if header[at]]
    if "duration" in columns and ("offset" in columns or "onset" not in columns):
        ignored.append(header[columns["duration"]])
    if ignored:
        logger.info("%s: ignored columns: %s.", table.path, ", ".join(ignored))


def _read_one_hot(table: _Table, others: list[int]) -> list[LabelRow]:
    """Read a table with a column of 0 and 1 for each class."""
    header = table.first.fields
    columns = {header[at]: at for at in others if header_name(header[at]) not in _NUMBERS}
    values = {row.fields[at].lower() for row in table.rows for at in columns.values()}
    if len(columns) < 2 or not values <= _YES | _NO:
        raise table.refused(
            f"no column of the label, nor columns of 0 and 1. Known names: {', '.join(COLUMNS['label'])}."
        )
    if len(set(header)) < len(header):
        raise table.refused("two columns have one name.")
    found = []
    for row, labeled in zip(_rows(table), table.rows, strict=True):
        labels = [name for name, at in columns.items() if labeled.fields[at].lower() in _YES]
        found.append(replace(row, labels=tuple(checked_label(name, table.where(table.first)) for name in labels)))
    return found


_RAVEN_LABELS = ("annotation", "common name", "species", "label", "event_label", "tag", "class", "scientific name")


def _read_raven(table: _Table, header: list[str]) -> list[LabelRow]:
    """Read a Raven selection table; a selection that is listed once per view counts once.

    With ``File Offset (s)`` times count from the start of ``Begin File``, else from that of the only recording.
    """
    labels = [name for name in _RAVEN_LABELS if name in header]
    if not labels:
        raise table.refused(f"a Raven selection table without labels; expected one of {', '.join(_RAVEN_LABELS)}.")
    if len(labels) > 1 and labels[1] != "scientific name":
        raise table.refused(
            f"a Raven selection table whose columns {labels[0]!r} and {labels[1]!r} may both be the label."
        )
    of_role = {"onset": "begin time (s)", "offset": "end time (s)", "label": labels[0], "score": "confidence"}
    of_role["file"] = "begin path" if "begin path" in header else "begin file"
    of_role |= {"selection": "selection", "shift": "file offset (s)"}
    table.columns.update({role: header.index(name) for role, name in of_role.items() if name in header})
    found: dict[tuple[object, ...], LabelRow] = {}
    for row, event in zip(table.rows, _rows(table), strict=True):
        if "shift" in table.columns and event.onset is not None and event.offset is not None:
            start = checked_time(table.cell(row, "shift"), f"{table.where(row)}, File Offset (s)")
            event = replace(event, onset=start, offset=round(start + event.offset - event.onset, 9))
        found.setdefault((table.cell(row, "selection"), event.name, event.labels, event.onset, event.offset), event)
    names = sorted({event.name for event in found.values()})
    if len(names) > 1 and "shift" not in table.columns:
        raise table.refused(
            f"a Raven selection table of several recordings ({names[0]!r}, {names[1]!r}) without the column File "
            "Offset (s): the times may count from the start of the first. Add that column in Raven."
        )
    return list(found.values())


# --- lists without a header ------------------------------------------------------------------------------------------


def _trimmed(row: Row) -> Row:
    fields = list(row.fields)
    while len(fields) > 1 and not fields[-1]:
        fields.pop()
    return Row(row.line, fields)


def _read_list(path: Path, rows: list[Row], classes: Collection[str]) -> tuple[str, list[LabelRow]]:
    """Return the format of a list without a header, and its rows, which must all have the layout of the first.

    A file name alone is a recording without labels; Audacity's lines of frequencies are skipped.
    """
    rows = [_trimmed(row) for row in rows]
    rows = [row for at, row in enumerate(rows) if row.fields[0] != "\\" or not at]
    model = next((row for row in rows if len(row.fields) > 1), rows[0])
    for name, layouts in _LAYOUTS.items():
        for roles in map(str.split, layouts):
            if len(roles) == len(model.fields) and all(_FITS[r](x) for r, x in zip(roles, model.fields, strict=True)):
                return name, _list_rows(path, rows, roles, classes)
    raise DataError(
        f"{path}, line {model.line}: {', '.join(model.fields)[:80]!r} has no layout of a list without a header: "
        "filename, onset, offset, label, or filename, label, or onset, offset, label, with tabs between and no number "
        "as label. Add a header that names the columns."
    )


def _list_rows(path: Path, rows: list[Row], roles: list[str], classes: Collection[str]) -> list[LabelRow]:
    full = []
    for row in rows:
        fields, where = row.fields, f"{path}, line {row.line}"
        is_alone = len(fields) == 1 and roles[0] == "file" and not re.search("[,;|]", fields[0])
        if len(fields) != len(roles) and not is_alone:
            raise DataError(f"{where}: {len(fields)} columns; expected {', '.join(roles)}, as in the rows before.")
        for role, text in zip(roles, fields, strict=False):
            if not _FITS[role](text):
                raise DataError(f"{where}: {text[:60]!r} in the place of the {role}; expected {', '.join(roles)}.")
        full.append(Row(row.line, fields + [""] * (len(roles) - len(fields))))
    columns = {"label" if role == "labels" else role: at for at, role in enumerate(roles)}
    return _rows(_Table(path, rows[0], full, columns, classes, plural="labels" in roles))


def _weak_or_strong(rows: list[LabelRow]) -> tuple[str, str]:
    """Return format and kind of a list in the organizers' columns, which weak and strong lists share.

    In weak lists the times are the cut's place in the *video*, as the file's name gives it.
    """
    timed = [row for row in rows if row.onset is not None]
    places = [row for row in timed if task4.is_place(row.name, row.onset, row.offset)]
    late = any(row.onset for row in places)
    if timed and len(places) == len(timed):
        return "task4-weak", "tags" if late else "unclear"
    return "dcase", "unclear" if late else "events"


# --- files -----------------------------------------------------------------------------------------------------------


def _separator(header: str, where: str) -> str:
    """Return the separator of a header: a tab, or of comma and semicolon the one that gives more known names."""
    if "\t" in header:
        return "\t"

    def n_known(separator: str) -> tuple[int, int]:
        fields = split_line(header, separator, where)
        return sum(header_name(text) in _ROLE_OF for text in fields), len(fields)

    return max(",;", key=n_known)


def _read_table(path: Path, lines: list[tuple[int, str]], classes: Collection[str]) -> tuple[str, str, list[LabelRow]]:
    """Return format, kind and rows of a file that is not empty."""
    asked = re.fullmatch(r'"?sep=([,;\t])"?', lines[0][1].strip(" "))
    lines = lines[1:] if asked else lines
    if not lines:
        return "", "empty", []
    first = [field.strip(" \t") for field in lines[0][1].split("\t")]
    is_file = has_audio_suffix(first[0]) and (len(first) > 1 or not re.search("[,;|]", first[0]))
    if not asked and (is_file or (len(first) > 1 and _FITS["onset"](first[0]) and _FITS["offset"](first[1]))):
        rows = [Row(line, [field.strip(" \t") for field in text.split("\t")]) for line, text in lines]
        name, found = _read_list(path, rows, classes)
        if name == "dcase":
            return *_weak_or_strong(found), found
        return name, INPUT_FORMATS[name].split()[0].strip(";"), found
    separator = asked[1] if asked else _separator(lines[0][1], f"{path}, line {lines[0][0]}")
    rows = [Row(line, split_line(text, separator, f"{path}, line {line}")) for line, text in lines]
    if task4.is_set_row(rows[0].fields):
        return "task4-set", "tags", [task4.set_row(path, row) for row in rows]
    name, found = _read_header(path, rows[0], rows[1:], separator, classes)
    return name, INPUT_FORMATS[name].split()[0].strip(";"), found


def _own_name(path: Path, name: str) -> str:
    """Return the recording that a file is named after (``rec.Table.1.selections.txt``: ``rec``)."""
    stem = PurePath(path).stem
    if name in ("raven", "birdnet"):
        stem = re.sub(r"(\.Table\.\d+)?\.selections?$|\.BirdNET(\.(selection\.table|results))?$", "", stem)
    return stem


def read_label_file(
    path: str | Path, *, input_format: str | None = None, kind: str | None = None, classes: Collection[str] = ()
) -> LabelFile:
    """Read a label file.

    `input_format` is a name of `INPUT_FORMATS` that the file must have. `kind` (events or tags) says what is wanted;
    tags are never read as events. Every label must be among `classes`, where they are given.
    """
    path = Path(path)
    if input_format is not None and input_format not in INPUT_FORMATS:
        raise ConfigError(f"input format {input_format!r} is not known. {nearest_names(input_format, INPUT_FORMATS)}")
    lines = read_lines(path)
    name, found_kind, rows = _read_table(path, lines, classes) if lines else ("", "empty", [])
    allowed = {"dcase", "task4-weak"} if found_kind == "unclear" else {name}
    if input_format is not None and name and input_format not in allowed:
        raise DataError(
            f"{path}: has the format {name} ({INPUT_FORMATS[name]}); asked for is {input_format} "
            f"({INPUT_FORMATS[input_format]})."
        )
    if found_kind == "unclear" and input_format is not None:
        found_kind = "events" if input_format == "dcase" else "tags"
    if kind == "events" and found_kind == "tags":
        raise DataError(
            f"{path}: holds {INPUT_FORMATS[name]}; times in it, if any, are places in other recordings. Expected a "
            "list of events; `evaluate` scores tags with --tags."
        )
    if classes:
        for row in rows:
            class_indices(row.labels, classes, where=f"{path}, line {row.line}")
    found_kind = found_kind if kind is None or found_kind == "empty" else kind
    if found_kind != "tags" and not any(row.labels for row in rows):
        found_kind = "empty"
    if found_kind == "tags":
        rows = [LabelRow(row.line, row.name, row.labels, score=row.score, split=row.split) for row in rows]
    return LabelFile(path, name, found_kind, tuple(rows), _own_name(path, name))


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
) -> list[LabelFile]:
    """Read a label file, or all those of a folder and its subfolders; see `read_label_file`.

    In a folder, rows that name no recording belong to the one that their file is named after, and an empty file is a
    recording without labels. Labels with a score below `min_score` are dropped.
    """
    path = Path(path)
    found = []
    for file in _files_in(path) if path.is_dir() else [path]:
        one = read_label_file(file, input_format=input_format, kind=kind, classes=classes)
        if path.is_dir():
            recording = file.relative_to(path).with_name(one.recording).as_posix()
            one = replace(one, recording=recording, rows=one.rows or (LabelRow(1, ""),))
        found.append(one if min_score is None else one.above(min_score))
    return found


_Labels = TypeVar("_Labels")


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


def refuse_splits(files: Iterable[LabelFile]) -> None:
    """Refuse a column of splits where labels of all splits would be mixed."""
    for file in files:
        if any(row.split for row in file.rows):
            raise DataError(f"{file.path}: has a column of splits; keep the rows of one split and remove the column.")


def read_events(
    path: str | Path, *, classes: Collection[str] = (), strip_y: bool = False, input_format: str | None = None
) -> dict[str, tuple[Event, ...]]:
    """Read the events of each recording from a file or a folder of files, in the order of the file; see `read_files`.

    An empty file gives an empty dictionary, a row of a name alone a recording without events. Without names the
    recording is named after the file.
    """
    files = read_files(path, input_format=input_format, kind="events", classes=classes)
    refuse_splits(files)
    return united(files, lambda file: file.events(strip_y=strip_y))


def read_tags(
    path: str | Path, *, classes: Collection[str] = (), strip_y: bool = False, input_format: str | None = None
) -> dict[str, tuple[str, ...]]:
    """Read which labels each recording has, from tags or events, as `read_events` does; each label once."""
    files = read_files(path, input_format=input_format, kind="tags", classes=classes)
    refuse_splits(files)
    return united(files, lambda file: file.tags(strip_y=strip_y))


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read a class list: one label a line; of several columns (the organizers' list) the last."""
    rows = [text.rstrip().split("\t") for _, text in read_lines(path)]
    if len(rows) > 1 and len(rows[0]) != len(rows[1]):
        rows = rows[1:]  # the header of the organizers' list, which has blanks for tabs
    labels = [check_characters(fields[-1].strip(), str(path)) for fields in rows]
    if labels and labels[0].casefold() in ("label", "labels", "class", "classes", "event_label", "class_label"):
        labels = labels[1:]
    if not labels:
        raise DataError(f"{path}: no class in this file; expected one label a line.")
    twice = next((label for label, n in Counter(labels).items() if n > 1), None)
    if twice is not None:
        raise DataError(f"{path}: class {twice!r} is listed twice; expected distinct labels, one a line.")
    return tuple(labels)
