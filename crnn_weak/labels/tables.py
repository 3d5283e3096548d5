"""Delimited text: lines of a file in any Unicode encoding with a mark, fields, numbers, writing.

A field is quoted as in CSV where it begins with a quotation mark; a quoted field ends in its own line.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from crnn_weak.errors import DataError
from crnn_weak.files import write_text
from crnn_weak.labels.names import check_characters, nfc

__all__ = ["Row", "number", "read_lines", "read_rows", "read_text", "split_line", "write_rows"]

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class Row(NamedTuple):
    """One line of a table: its number in the file, from 1, and its fields without blanks around them."""

    line: int
    fields: list[str]


def number(text: str) -> float | None:
    """Return a finite number, or None; a decimal comma counts as a point.

    Examples
    --------
    >>> number("1,5"), number("1_5"), number("nan")
    (1.5, None, None)
    """
    text = text.strip(" \t")
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def read_text(path: str | Path) -> str:
    """Return a text file's content in Unicode normalization form C, without its byte order mark.

    Raises
    ------
    DataError
        The file is missing, is not a regular file, or is not text in UTF-8 (or UTF-16 with a byte order mark).
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise DataError(f"{path}: not a regular file; expected a label file.")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such label file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a label file.") from None
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


def split_line(text: str, separator: str) -> list[str] | None:
    """Return the fields of a line without blanks around them, or None where its quotation marks do not match."""
    if '"' not in text:
        fields = text.split(separator)
    else:
        try:
            (fields,) = csv.reader([text], delimiter=separator, strict=True, skipinitialspace=separator != "\t")
        except csv.Error:
            if separator != "\t":
                return None
            fields = text.split(separator)  # Audacity writes quotation marks as they are
    return [field.strip(" \t") for field in fields]


def read_rows(path: str | Path, *, separator: str) -> list[Row]:
    """Read a table with a known separator, blank lines skipped.

    Raises
    ------
    DataError
        The file is missing or not text, or a line's quotation marks do not match.
    """
    rows = []
    for line, text in read_lines(path):
        fields = split_line(text, separator)
        if fields is None:
            raise DataError(f"{path}, line {line}: quotation marks do not match; a quoted field ends in its line.")
        rows.append(Row(line, fields))
    return rows


def write_rows(
    path: str | Path, rows: Iterable[Sequence[str]], *, separator: str = "\t", line_end: str = "\n", quote: bool = True
) -> None:
    """Write a table; a field that holds the separator or begins with a quotation mark is quoted.

    Parameters
    ----------
    quote : bool
        False writes the fields as they are (label files that other tools read line by line).

    Raises
    ------
    DataError
        A field holds a control character, or cannot be written without quotes; nothing is written.
    """
    lines = []
    for row in rows:
        fields = [check_characters(field, str(path)) for field in row]
        for at, field in enumerate(fields):
            if separator in field or field.startswith('"') or (separator != "\t" and '"' in field):
                if not quote:
                    raise DataError(f"{path}: {field!r} cannot be written in a form without quotes; rename it.")
                fields[at] = '"' + field.replace('"', '""') + '"'
        lines.append(separator.join(fields) + line_end)
    write_text(path, "".join(lines))
