"""Delimited text: lines, fields, times in seconds; and the rows of a table whose columns are known, as labels."""

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
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.names import (
    MISSING,
    NOTHING,
    check_characters,
    check_label,
    has_audio_suffix,
    nfc,
    recording_path,
)

logger = logging.getLogger(__name__)

#: Later times (11 days) are dates, samples or milliseconds, not seconds from the start of a recording.
MAX_SECONDS = 1_000_000.0

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_CLOCK = re.compile(
    r"(?:(?P<hours>\d{1,3}):(?=[0-5]\d:))?(?P<minutes>\d{1,3}):(?P<seconds>[0-5]\d(?:\.\d*)?)", re.ASCII
)
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_OTHER_FILES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "a spreadsheet; save it as CSV"),
    **dict.fromkeys((".json", ".jsonl", ".jams"), "JSON; write it as a table, e.g. CSV with a header"),
    ".textgrid": "a Praat TextGrid; save its intervals as a table with the header onset, offset, label",
    ".rttm": "RTTM; write it as a table with the header filename, onset, duration, label",
}


class Row(NamedTuple):
    """One line of a table: its number in the file, from 1, and its fields without blanks around them."""

    line: int
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
    match = _CLOCK.fullmatch(text)
    if match is None:
        return number(text)
    minutes = int(match["hours"] or 0) * 60 + int(match["minutes"])
    return round(minutes * 60 + float(match["seconds"]), 9)


# --- files -----------------------------------------------------------------------------------------------------------


def read_text(path: str | Path) -> str:
    """Return a text file's content in Unicode form C without its byte order mark; what is not a label file is named."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected a label file.")
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a regular file; expected a label file.")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such label file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a label file.") from None
    suffix = path.suffix.lower()
    if data[:4] == b"PK\x03\x04":
        suffix = ".xlsx"
    elif re.match(rb'\s*(\{\s*"|\[\s*[\[{"])', data):
        suffix = ".json"
    elif b'"TextGrid"' in data[:200].replace(b"\0", b""):
        suffix = ".textgrid"
    if suffix in _OTHER_FILES:
        raise DataError(f"{path}: looks like {_OTHER_FILES[suffix]}.")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{path}: not a text file in UTF-8; save it as UTF-8.")
    return nfc(text)


def read_lines(path: str | Path) -> list[tuple[int, str]]:
    """Return the lines of a text file that are not blank, with their numbers from 1; LF, CRLF or CR end a line."""
    lines = enumerate(re.split(r"\r\n|\n|\r", read_text(path)), start=1)
    return [(line, text) for line, text in lines if text.strip()]


def split_line(text: str, separator: str, where: str) -> list[str]:
    """Return the fields of one line, quoted as in CSV, without blanks around them; a quoted field ends in its line."""
    try:
        (fields,) = csv.reader([text], delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    except csv.Error as error:
        if "limit" in str(error):
            raise DataError(f"{where}: {error}; expected a table of names, times and labels.") from None
        raise DataError(f"{where}: quotation marks do not match; a quoted field ends in its line.") from None
    return [field.strip(" \t") for field in fields]


def read_rows(path: str | Path, *, separator: str) -> list[Row]:
    """Read a table with a known separator; blank lines are skipped."""
    return [Row(line, split_line(text, separator, f"{path}, line {line}")) for line, text in read_lines(path)]


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

    line: int
    name: str
    labels: tuple[str, ...] = ()
    onset: float | None = None
    offset: float | None = None
    score: float | None = None
    split: str = ""


def checked_name(text: str, where: str) -> str:
    """Return a recording's path as its label file gives it, in one spelling."""
    name = recording_path(text)
    if name in ("", "."):
        raise DataError(f"{where}: no file name.")
    return check_characters(name, f"{where}: file name")


def checked_time(text: str, where: str) -> float:
    """Return a time in seconds; a decimal comma is refused, since it may as well divide thousands."""
    value = seconds(text)
    if value is None:
        if _DECIMAL_COMMA.fullmatch(text):
            raise DataError(f"{where}: {text!r} has a decimal comma; write {text.replace(',', '.')!r}.")
        raise DataError(f"{where}: {text[:60]!r} is not a time in seconds.")
    return value


def checked_score(text: str, where: str) -> float | None:
    """Return a score, or None for an empty field."""
    if text.lower() in ("", "nan", "na"):
        return None
    value = number(text)
    if value is None:
        raise DataError(f"{where}: {text[:60]!r} is not a score.")
    return value


def checked_times(onset: str, offset: str, where: str, *, duration: bool = False) -> tuple[float, float]:
    """Return onset and offset in seconds, in order and within 11 days; `offset` may be the event's duration."""
    start, end = checked_time(onset, where), checked_time(offset, where)
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


def checked_label(text: str, where: str) -> str:
    """Return a label; one that is a file's name shows that the columns are in another order."""
    if not text:
        raise DataError(f"{where}: no label. Expected one label.")
    if has_audio_suffix(text):
        raise DataError(f"{where}: {text[:60]!r} in the place of the label is a file name; check the columns' order.")
    return check_label(text, where)


@dataclass(frozen=True)
class Table:
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


def label_rows(table: Table) -> list[LabelRow]:
    """Return what the rows of a table with known columns say."""
    found = []
    for row in table.rows:
        where = table.where(row)
        name = checked_name(table.cell(row, "file"), where) if "file" in table.columns else ""
        split = table.cell(row, "split")
        if "split" in table.columns and not split:
            raise DataError(f"{where}: no split, which other rows have; fill the column or remove it.")
        silent = LabelRow(row.line, name, split=split)
        found.append(_event_row(table, row, silent) if "onset" in table.columns else _tag_row(table, row, silent))
    nothing = [row for row in found if any(label.lower() in NOTHING for label in row.labels)]
    if nothing:
        logger.info(
            "%s: %d rows of nothing found (%s): no label.", table.path, len(nothing), ", ".join(sorted(NOTHING))
        )
        found = [_without_nothing(row) for row in found]
    _refuse_unclear_commas(table, found)
    return found


def _event_row(table: Table, row: Row, silent: LabelRow) -> LabelRow:
    where, end = table.where(row), "offset" if "offset" in table.columns else "duration"
    onset, offset, label = (table.cell(row, role) for role in ("onset", end, "label"))
    if silent.name and all(text.lower() in MISSING for text in (onset, offset, label)):
        return silent
    start, stop = checked_times(onset, offset, where, duration=end == "duration")
    score = checked_score(table.cell(row, "score"), where)
    return replace(silent, labels=(checked_label(label, where),), onset=start, offset=stop, score=score)


def _tag_row(table: Table, row: Row, silent: LabelRow) -> LabelRow:
    text, where = table.cell(row, "label"), table.where(row)
    if text.lower() in ("", "nan", "<na>"):
        return silent
    parts = [part for part in re.split(r";|,(?! )", text) if part.strip()] if table.plural else [text]
    labels = dict.fromkeys(checked_label(part.strip(" \t"), where) for part in parts)
    return replace(silent, labels=tuple(labels), score=checked_score(table.cell(row, "score"), where))


def _without_nothing(row: LabelRow) -> LabelRow:
    """Return a row without labels of nothing; one without any other is a recording without labels."""
    labels = tuple(label for label in row.labels if label.lower() not in NOTHING)
    return replace(row, labels=labels) if labels else LabelRow(row.line, row.name, split=row.split)


def _refuse_unclear_commas(table: Table, rows: Sequence[LabelRow]) -> None:
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
