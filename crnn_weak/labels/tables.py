"""Delimited text files: rows with their line numbers, clip names, writing under a temporary name first.

The readers of label files (`crnn_weak.labels.files`, `crnn_weak.labels.task4`) stand on these few functions.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from crnn_weak.audio import AUDIO_SUFFIXES
from crnn_weak.errors import DataError

__all__ = ["Row", "clip_id", "number", "read_rows", "read_text", "write_rows", "write_text"]

# The organisers' audio and duration files: a Y before YouTube's id of 11 characters, then the cut's place.
_ORGANISERS_NAME = re.compile(r"Y(?=.{11}_\d+(\.\d+)?_\d+(\.\d+)?$)")


class Row(NamedTuple):
    """One line of a table: its number in the file, from 1, and its fields without blanks round them."""

    line: int
    fields: list[str]


def clip_id(name: str, *, strip_y: bool = False) -> str:
    """Return the id in a file name: without folder and audio suffix.

    Parameters
    ----------
    name : str
        As it stands in a label file, with ``/`` or ``\\``; ids may begin with dashes and hold dots.
    strip_y : bool
        Remove the ``Y`` that the organisers' audio and duration files have before YouTube's id.

    Examples
    --------
    >>> clip_id("audio/--jc0NAxK8M_30.000_40.000.wav")
    '--jc0NAxK8M_30.000_40.000'
    >>> clip_id("Y--jc0NAxK8M_30.000_40.000.wav", strip_y=True)
    '--jc0NAxK8M_30.000_40.000'
    """
    name = name.strip().replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in AUDIO_SUFFIXES:
        name = stem
    return _ORGANISERS_NAME.sub("", name, count=1) if strip_y else name


def number(text: str) -> float | None:
    """Return a finite number, or None; a decimal comma (some Audacity versions write it) counts as a point."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_text(path: str | Path) -> str:
    """Return a text file's content; a byte order mark is dropped.

    Raises
    ------
    DataError
        The file is missing, or is not text.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such label file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a label file.") from None
    try:
        if b"\0" in data:
            raise ValueError
        return data.decode("utf-8-sig")
    except ValueError:
        raise DataError(f"{path}: not a text file in UTF-8; expected a table of labels.") from None


def _separator(lines: Iterable[str]) -> str:
    """What separates the fields of the first line that has several: a tab, else the first ``,`` or ``;``."""
    for line in lines:
        bare = re.sub(r'"[^"]*"', "", line)
        if "\t" in bare:
            return "\t"
        places = {sign: bare.find(sign) for sign in ",;" if sign in bare}
        if places:
            return min(places, key=places.__getitem__)
    return "\t"


def read_rows(path: str | Path, *, separator: str | None = None) -> list[Row]:
    """Read a table, blank lines left out; LF or CRLF, quoted fields.

    Parameters
    ----------
    separator : str, optional
        By default found from the first lines: a tab, else ``,`` or ``;``.
    """
    text = read_text(path)
    if separator is None:
        separator = _separator(line for line in text[:65536].splitlines()[:200] if line.strip())
    rows = []
    # A quotation mark opens a quoted field only where the file balances them; 6" pipe is a label like any other.
    balanced = text.count('"') % 2 == 0
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if balanced else csv.QUOTE_NONE,
    )
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if any(stripped):
                rows.append(Row(reader.line_num, stripped))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a table ({error}).") from None
    return rows


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8 under a temporary name, then rename it; its folder is made where it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_rows(
    path: str | Path, rows: Iterable[Sequence[str]], *, separator: str = "\t", line_end: str = "\n", quote: bool = True
) -> None:
    """Write a table; fields that hold the separator, a quote or a line end are quoted.

    Parameters
    ----------
    quote : bool
        False writes the fields as they are (label files that other tools read line by line).
    """
    buffer = io.StringIO(newline="")
    if quote:
        csv.writer(buffer, delimiter=separator, lineterminator=line_end).writerows(rows)
    else:
        buffer.writelines(separator.join(row) + line_end for row in rows)
    write_text(path, buffer.getvalue())
