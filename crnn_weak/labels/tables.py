"""Tables: delimited text, and tables with a header, whose columns are found by their names.

Some headers have rules of their own: those of UrbanSound8K, ESC-50, BirdNET, Raven and AudioSet, and columns of 0 and 1
for each class. In any other table each column has its role by its name.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from crnn_weak.errors import DataError
from crnn_weak.files import write_text
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.labels.names import MISSING, NOTHING, check_characters, check_label, nfc, recording_path

logger = logging.getLogger(__name__)

#: Later times (11 days) are dates, samples or milliseconds, not seconds from the start of a recording.
MAX_SECONDS = 1_000_000.0

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3}):(?=[0-5]\d:))?(\d{1,3}):([0-5]\d(?:\.\d*)?)", re.ASCII)
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Other files by how they begin, and what to do with them.
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_OTHER_TEXTS = {
    r'\s*[\[{][\s\[{]*"': "JSON, which is not read; save it as CSV, such as `crnn-weak convert --to csv` writes",
    r'\s*(File type = )?"ooTextFile': "a Praat TextGrid; export it as a table with the header onset, offset, label",
}


# --- delimited text --------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of a table: its place (``path, line 3``), and its fields without blanks around them."""

    where: str
    fields: list[str]


def number(text: str) -> float | None:
    """Return a finite number with a decimal point, or None.

    >>> number("1.5"), number("1,5"), number("nan")
    (1.5, None, None)
    """
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def seconds(text: str) -> float | None:
    """Return a time in seconds, of a number or of m:ss or h:mm:ss, or None.

    >>> seconds("1.5"), seconds("1:02.5"), seconds("01:00:00")
    (1.5, 62.5, 3600.0)
    """
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return number(text)
    hours, minutes, rest = clock.groups(default="0")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(rest), 9)


def read_lines(path: str | Path) -> list[tuple[str, str]]:
    """Return place and text of the lines of a file that are not blank, in Unicode form C; LF, CRLF or CR end a line."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a regular file; expected a label file.")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such label file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a label file.") from None
    if data.startswith(_SPREADSHEETS):
        raise DataError(f"{path}: looks like a spreadsheet; save it as CSV.")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{path}: not a text file in UTF-8; save the table as CSV in UTF-8.")
    other = next((hint for start, hint in _OTHER_TEXTS.items() if re.match(start, text)), None)
    if other is not None:
        raise DataError(f"{path}: looks like {other}.")
    lines = enumerate(re.split(r"\r\n|\n|\r", nfc(text)), start=1)
    return [(f"{path}, line {line}", text) for line, text in lines if text.strip()]


def split_line(text: str, separator: str, where: str) -> list[str]:
    """Return the fields of one line, quoted as in CSV, without blanks around them; a quoted field ends in its line."""
    try:
        (fields,) = csv.reader([text], delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    except csv.Error as error:
        why = str(error) if "limit" in str(error) else "quotation marks do not match; a quoted field ends in its line"
        raise DataError(f"{where}: {why}.") from None
    return [field.strip(" \t") for field in fields]


def read_rows(path: str | Path, *, separator: str) -> list[Row]:
    """Read a table with a known separator; blank lines are skipped."""
    return [Row(where, split_line(text, separator, where)) for where, text in read_lines(path)]


def table_line(fields: Sequence[str], separator: str = "\t") -> str:
    """Return one line of a table; a field that would break it is quoted as in CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, lineterminator="").writerow(fields)
    return buffer.getvalue()


def write_rows(path: str | Path, rows: Iterable[Sequence[str]], *, separator: str = "\t", line_end: str = "\n") -> None:
    """Write a table; a field with a control character, which could forge rows, is refused."""
    checked = [[check_characters(field, str(path)) for field in row] for row in rows]
    write_text(path, "".join(table_line(row, separator) + line_end for row in checked))


# --- rows of label files ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file; without times it holds tags, without labels a recording alone.

    ``name`` is "" where the file names no recording; times are in seconds; the score is None where there is none.
    """

    where: str
    name: str
    labels: tuple[str, ...] = ()
    onset: float | None = None
    offset: float | None = None
    score: float | None = None
    split: str = ""


@dataclass(frozen=True)
class Table:
    """A table: its header (or first row), the rows, all of one length, and the column of each role."""

    header: Row
    rows: list[Row]
    columns: dict[str, int]
    classes: Collection[str] = ()
    plural: bool = False  #: a cell may hold several labels

    def refused(self, why: str) -> DataError:
        """Return the error of a header."""
        return DataError(f"{self.header.where}: {why} The line is {', '.join(self.header.fields)[:120]!r}.")

    def cell(self, row: Row, role: str) -> str:
        """Return a row's text of a role, "" without a column of it."""
        return row.fields[self.columns[role]] if role in self.columns else ""


def _time(text: str, where: str) -> float:
    value = seconds(text)
    if value is None:
        hint = " with a decimal point" if "," in text else ""  # a comma may as well divide thousands
        raise DataError(f"{where}: {text[:60]!r} is not a time in seconds{hint}.")
    return value


def checked_times(onset: str, offset: str, where: str, *, duration: bool = False) -> tuple[float, float]:
    """Return onset and offset in seconds, in order and within 11 days; `offset` may be the event's duration."""
    start, end = _time(onset, where), _time(offset, where)
    if duration:
        end = round(start + end, 9)
    if not 0 <= start <= end:
        raise DataError(f"{where}: an event from {start:.12g} to {end:.12g} s; expected 0 <= onset <= offset.")
    if end > MAX_SECONDS:
        raise DataError(
            f"{where}: an event that ends at {end:.12g} s, after more than 11 days; expected seconds from the start of "
            "the recording, not a date, milliseconds or samples."
        )
    return start, end


def label_rows(table: Table) -> list[LabelRow]:
    """Return what the rows of a table with known columns say."""
    found = []
    n_nothing = 0
    for row in table.rows:
        where, split, score, name = row.where, table.cell(row, "split"), table.cell(row, "score"), ""
        if "file" in table.columns:
            name = check_characters(recording_path(table.cell(row, "file")), f"{where}: file name")
            if name in ("", "."):
                raise DataError(f"{where}: no file name.")
        if "split" in table.columns and not split:
            raise DataError(f"{where}: no split, which other rows have; fill the column or remove it.")
        silent = LabelRow(where, name, split=split)
        one = _event_row(table, row, silent) if "onset" in table.columns else _tag_row(table, row, silent)
        if one.labels and score.lower() not in MISSING:
            one = replace(one, score=number(score))
            if one.score is None:
                raise DataError(f"{where}: {score[:60]!r} is not a score.")
        labels = tuple(label for label in one.labels if label.lower() not in NOTHING)
        if labels != one.labels:
            n_nothing += 1
            one = replace(one, labels=labels) if labels else silent
        found.append(one)
    if n_nothing:
        logger.info("%s: %d rows of nothing found (%s).", table.header.where, n_nothing, ", ".join(sorted(NOTHING)))
    _refuse_unclear_commas(table, found)
    return found


def _event_row(table: Table, row: Row, silent: LabelRow) -> LabelRow:
    end = "offset" if "offset" in table.columns else "duration"
    onset, offset, label = (table.cell(row, role) for role in ("onset", end, "label"))
    if silent.name and all(text.lower() in MISSING for text in (onset, offset, label)):
        return silent
    start, stop = checked_times(onset, offset, row.where, duration=end == "duration")
    return replace(silent, labels=(check_label(label, row.where),), onset=start, offset=stop)


def _tag_row(table: Table, row: Row, silent: LabelRow) -> LabelRow:
    text = table.cell(row, "label")
    if text.lower() in ("", "nan", "<na>"):
        return silent
    parts = [part.strip() for part in re.split(r";|,(?! )", text)] if table.plural else [text]
    return replace(silent, labels=tuple(dict.fromkeys(check_label(part, row.where) for part in parts if part)))


def _refuse_unclear_commas(table: Table, rows: Sequence[LabelRow]) -> None:
    """Refuse a label such as ``dog, cat`` where a part of it is a label as well: it may be one label or two.

    In a column of several labels a part that two labels share is enough.
    """
    labels = {label for row in rows for label in row.labels}
    unclear = {label for label in labels if ", " in label and not (label in table.classes or label in DCASE2017_TASK4)}
    parts = Counter(part for label in unclear for part in set(label.split(", ")))
    singles = labels | {part for part, n in parts.items() if table.plural and n > 1}
    for row in rows if unclear else ():
        for label in unclear.intersection(row.labels):
            shared = next((part for part in label.split(", ") if part in singles or part in table.classes), None)
            if shared is not None:
                raise DataError(
                    f"{row.where}: {label!r} may be one label or several, since {shared!r} is one as well. Put each on "
                    "a row of its own, or join them with ; in a column named labels."
                )


# --- headers ---------------------------------------------------------------------------------------------------------

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
ROLE_OF = {name: role for role, names in COLUMNS.items() for name in names}
# Headers of one data set or tool: the columns that tell it, and its column of each role.
_KNOWN_HEADERS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "urbansound8k": (("slice_file_name", "class"), {"file": "slice_file_name", "label": "class"}),
    "esc50": (("filename", "fold", "target", "category", "esc10"), {"file": "filename", "label": "category"}),
    "birdnet": (
        ("start", "end", "scientific_name", "common_name", "confidence"),
        {"file": "file", "onset": "start", "offset": "end", "label": "common_name", "score": "confidence"},
    ),
}
# Columns that may hold 0 and 1 and say nothing about the labels.
_NUMBERS = ("", "unnamed:_0", "index", "id", "classid", "class_id", "fold", "channel", "channels", "target", "take")
_YES, _NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_YES_NO = {*_YES, *_NO, "yes", "no", "present", "not_present"}


def header_name(text: str) -> str:
    """Return a column's name as it is looked up: lower case, underscores, without the unit seconds.

    >>> header_name("Begin Time (s)"), header_name("end_time_seconds")
    ('begin_time', 'end_time')
    """
    name = re.sub(r"[\s_]+", "_", text.strip().lower())
    return re.sub(r"_?(\((s|sec|seconds)\)|\[(s|sec|seconds)\]|_(s|sec|seconds))$", "", name)


def read_header(header: Row, rows: list[Row], separator: str, classes: Collection[str]) -> tuple[str, list[LabelRow]]:
    """Return the format of a table with a header, and its rows."""
    n_columns = max((at for at, text in enumerate(header.fields, start=1) if text), default=1)
    header = Row(header.where, header.fields[:n_columns])
    names = [header_name(text) for text in header.fields]
    table = Table(header, [], {}, classes)
    for known, (needed, of_role) in _KNOWN_HEADERS.items():
        if set(needed) <= set(names):
            columns = {role: names.index(column) for role, column in of_role.items() if column in names}
            return known, label_rows(replace(table, rows=_body(header, rows), columns=columns))
    is_raven = {"begin_time", "end_time"} <= set(names) and bool({"selection", "view"} & set(names))
    if is_raven and "begin_path" in names:
        names = ["" if name == "begin_file" else name for name in names]
    columns, plural, others = _find_columns(table, names)
    if not columns:
        raise table.refused(
            "neither a header with names such as filename, onset, offset, label, nor a row of a list without one: "
            "tabs, and files with an audio suffix or the times of one recording first."
        )
    table = replace(table, rows=_body(header, rows), columns=columns, plural=plural)
    if "file" not in columns and ("onset" not in columns or others) and not is_raven:
        candidate = f", and {header.fields[others[0]]!r} may be one" if others else ""
        raise table.refused(f"no column of the file{candidate}. Known names: {', '.join(COLUMNS['file'])}.")
    if set(columns) <= {"file", "split"}:
        return "one-hot", _one_hot_rows(table, names, others)
    is_timed = "onset" in columns or "offset" in columns
    for role, other in (("label", "label"), ("onset", "onset"), ("offset", "duration")):
        if role not in columns and other not in columns and (is_timed or role == "label"):
            raise table.refused(f"no column of the {role}. Known names: {', '.join(COLUMNS[role])}.")
    if is_raven:
        return "raven", _raven_rows(table, names)
    _refuse_others(table, names, others)
    found = label_rows(table)
    if names == ["segment_id", "start_time", "end_time", "label"]:
        return "audioset", found
    return ("desed" if separator == "\t" else "csv") + ("" if "onset" in columns else "-tags"), found


def _body(header: Row, rows: Iterable[Row]) -> list[Row]:
    """Return the rows below the header at its length; rows without any content are skipped."""
    found = []
    n_columns = len(header.fields)
    for where, fields in rows:
        n_filled = sum(map(bool, fields))
        if all(text.lower() in MISSING for text in fields):
            continue
        if n_filled == 1 and fields[0].startswith("#"):
            raise DataError(f"{where}: a comment; remove lines that begin with #.")
        if fields[:n_columns] == header.fields:
            raise DataError(f"{where}: the header is repeated.")
        if any(fields[n_columns:]) or (len(fields) < n_columns and n_filled > 1):
            raise DataError(
                f"{where}: {len(fields)} columns, the header has {n_columns}; put quotes around a field that holds the "
                "separator."
            )
        found.append(Row(where, (fields + [""] * n_columns)[:n_columns]))
    return found


def _find_columns(table: Table, names: Sequence[str]) -> tuple[dict[str, int], bool, list[int]]:
    """Return the column of each role, whether labels are joined, and the columns without a role."""
    columns: dict[str, int] = {}
    plural, others = False, []
    for at, name in enumerate(names):
        shown = table.header.fields[at]
        role = ROLE_OF.get(name)
        if role == "labels":
            role, plural = "label", True
        if role in columns:
            raise table.refused(f"the columns {table.header.fields[columns[role]]!r} and {shown!r} are both {role}s.")
        unit = re.fullmatch(r"(.+?)[_ ]*[(\[]?(ms|msec|milliseconds|samples|frames|min|minutes)[)\]]?", name)
        if role is not None:
            columns[role] = at
        elif unit and ROLE_OF.get(unit[1].strip("_")) in ("onset", "offset", "duration"):
            advice = "divide by 1000" if unit[2].startswith(("ms", "milli")) else "convert it"
            raise table.refused(f"the column {shown!r} is in {unit[2]}; expected seconds: {advice}.")
        else:
            others.append(at)
    return columns, plural, others


def _refuse_others(table: Table, names: Sequence[str], others: list[int]) -> None:
    """Refuse columns without a role that may change what a row means; name the rest in the log."""
    header, columns = table.header.fields, table.columns
    for at in others:
        values = {row.fields[at].lower() for row in table.rows} - MISSING
        if values and values <= _YES_NO and names[at] not in _NUMBERS:
            raise table.refused(
                f"the column {header[at]!r} holds only {' and '.join(sorted(values))} and may say which rows count; "
                "keep those and remove it."
            )
    ignored = [header[at] for at in others if header[at]]
    if "duration" in columns and ("offset" in columns or "onset" not in columns):
        ignored.append(header[columns["duration"]])
    if ignored:
        logger.info("%s: ignored columns: %s.", table.header.where, ", ".join(ignored))


def _one_hot_rows(table: Table, names: Sequence[str], others: list[int]) -> list[LabelRow]:
    """Return the rows of a table with a column of 0 and 1 for each class."""
    header = table.header.fields
    columns = {check_label(header[at], table.header.where): at for at in others if names[at] not in _NUMBERS}
    values = {row.fields[at].lower() for row in table.rows for at in columns.values()}
    if len(columns) < 2 or not values <= _YES | _NO:
        raise table.refused(
            f"no column of the label, nor columns of 0 and 1. Known names: {', '.join(COLUMNS['label'])}."
        )
    if len(set(header)) < len(header):
        raise table.refused("two columns have one name.")
    found = []
    for row, labeled in zip(label_rows(table), table.rows, strict=True):
        labels = tuple(name for name, at in columns.items() if labeled.fields[at].lower() in _YES)
        found.append(replace(row, labels=labels))
    return found


def _raven_rows(table: Table, names: Sequence[str]) -> list[LabelRow]:
    """Return the rows of a Raven selection table; a selection that is listed once per view counts once.

    With ``File Offset (s)`` times count from the start of ``Begin File``, else from that of the only recording.
    """
    extra = {role: names.index(role) for role in ("selection", "file_offset") if role in names}
    table = replace(table, columns=table.columns | extra)
    found: dict[tuple[object, ...], LabelRow] = {}
    for row, event in zip(table.rows, label_rows(table), strict=True):
        if "file_offset" in extra and event.onset is not None and event.offset is not None:
            start = _time(table.cell(row, "file_offset"), f"{row.where}, File Offset (s)")
            event = replace(event, onset=start, offset=round(start + event.offset - event.onset, 9))
        found.setdefault((table.cell(row, "selection"), event.name, event.labels, event.onset, event.offset), event)
    recordings = sorted({event.name for event in found.values()})
    if len(recordings) > 1 and "file_offset" not in extra:
        raise table.refused(
            f"a Raven selection table of several recordings ({recordings[0]!r}, {recordings[1]!r}) without the column "
            "File Offset (s): the times may count from the start of the first. Add that column in Raven."
        )
    return list(found.values())
