"""Parts that the readers of all forms of label files share: rows, tables, faults, columns, times.

A form is read strictly: every row of the table must have it. What does not fit is a `Mismatch`; the registry
(`crnn_weak.labels.forms`) tries the forms and reads a file only where one meaning is left.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from crnn_weak.errors import DataError
from crnn_weak.labels.names import check_characters, has_audio_suffix, nfc, recording_path
from crnn_weak.labels.tables import Row, number

__all__ = [
    "MAX_SECONDS",
    "LabelRow",
    "Mismatch",
    "Table",
    "header_name",
    "hides_list",
    "name_only",
    "split_labels",
    "table_stem",
    "timed_row",
]

#: Later times (11 days) are epochs, samples or milliseconds, not seconds from the start of a recording.
MAX_SECONDS = 1_000_000.0


class Mismatch(DataError):
    """A table does not have a form.

    Attributes
    ----------
    line : int
        The first row without it.
    rank : int
        2 where the header is that of the form, 1 where only a value of the row is wrong, 0 where the row is another,
        below that where the header is another.
    """

    def __init__(self, line: int, message: str, rank: int = 0) -> None:
        super().__init__(message)
        self.line, self.rank = line, rank


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file; times and score are None where the form has none, ``name`` is "" likewise."""

    line: int
    name: str
    labels: tuple[str, ...] = ()
    onset: float | None = None
    offset: float | None = None
    score: float | None = None
    split: str = ""

    @property
    def meaning(self) -> tuple[object, ...]:
        """Everything but the line."""
        return self.name, self.labels, self.onset, self.offset, self.score, self.split


@dataclass(frozen=True)
class Table:
    """A label file split into fields.

    Attributes
    ----------
    path : Path
    separator : str
    rows : list of Row
        At least one.
    named : bool
        The user names the form: names need no audio suffix, and columns that the form does not know are ignored.
    classes : collection of str
        Known labels; they tell a comma in a label from a comma between labels.
    """

    path: Path
    separator: str
    rows: list[Row]
    named: bool = False
    classes: Collection[str] = field(default=())


def header_name(text: str) -> str:
    """Return a column's name as it is looked up: lower case, underscores, without the unit seconds.

    Examples
    --------
    >>> header_name("Begin Time (s)"), header_name("end_time_seconds")
    ('begin_time', 'end_time')
    """
    name = re.sub(r"[\s_]+", "_", nfc(text).strip().lower())
    return re.sub(r"_?(\((s|sec|seconds)\)|\[(s|sec|seconds)\]|_(s|sec|seconds))$", "", name)


def _name(line: int, text: str) -> str:
    name = recording_path(text)
    if name in ("", "."):
        raise Mismatch(line, "no file name.", 1)
    try:
        return check_characters(name, "file name")
    except DataError as error:
        raise Mismatch(line, str(error), 1) from None


def _label(line: int, text: str) -> str:
    try:
        if text != text.strip():  # the readers strip blanks and tabs, not other spaces
            raise DataError(
                f"label {text!r} begins or ends with U+{ord(text[-1 if text[-1].isspace() else 0]):04X}, a space."
            )
        return check_characters(text, "label")
    except DataError as error:
        raise Mismatch(line, str(error), 1) from None


def name_only(table: Table, row: Row, *, labels: Sequence[str] = (), known: bool = False, split: str = "") -> LabelRow:
    """Return a row of a file name and, in tag files, its labels.

    Parameters
    ----------
    known : bool
        A header names the file column. Otherwise the name must end in an audio suffix: nothing else says that it is
        one.

    Raises
    ------
    Mismatch
        The row names no audio file.
    """
    text = row.fields[0]
    if not (known or table.named or has_audio_suffix(text)):
        raise Mismatch(row.line, f"{text[:60]!r} is no audio file's name (.wav, .flac, ...).")
    return LabelRow(row.line, _name(row.line, text), tuple(_label(row.line, label) for label in labels), split=split)


def timed_row(
    line: int, name: str | None, onset: str, offset: str, label: str, *, score: str = "", duration: bool = False
) -> LabelRow:
    """Return a row of an event.

    Parameters
    ----------
    name : str or None
        None in a form without file names.
    duration : bool
        `offset` is the event's duration.

    Raises
    ------
    Mismatch
        A time is not a number of seconds, the times are out of order or too large, or the label is empty.
    """
    start, end = number(onset), number(offset)
    if start is None or end is None:
        raise Mismatch(
            line, f"{onset if start is None else offset!r} is not a time in seconds.", 0 if name is None else 1
        )
    if duration:
        end = round(start + end, 9)
    if not label:
        raise Mismatch(line, f"the event from {start:g} to {end:g} s has no label.", 1)
    if not 0 <= start <= end:
        raise Mismatch(line, f"event {label!r} from {onset} to {offset} s; expected 0 <= onset <= offset.", 1)
    if end > MAX_SECONDS:
        raise Mismatch(
            line,
            f"event {label!r} ends at {end:.12g} s, after more than 11 days; expected seconds from the start of the "
            "recording, not a date, milliseconds or samples.",
            1,
        )
    if has_audio_suffix(label) and not has_audio_suffix(name or ""):
        raise Mismatch(
            line, f"{label!r} in the column of the labels is a file name; the columns are in another order.", 1
        )
    value = None
    if score:
        value = number(score)
        if value is None:
            raise Mismatch(line, f"{score!r} is not a score.", 1)
    clip = "" if name is None else _name(line, name)
    return LabelRow(line, clip, (_label(line, label),), start, end, value)


def table_stem(name: str) -> str:
    """Return the recording that a label file's own name stands for.

    Examples
    --------
    >>> table_stem("rec.Table.1.selections.txt"), table_stem("rec.v2.txt")
    ('rec', 'rec.v2')
    """
    stem = PurePath(name).stem
    return re.sub(r"(\.Table\.\d+)?\.selections?$|\.BirdNET(\.(selection\.table|results))?$", "", stem)


def hides_list(label: str, known: Collection[str]) -> bool:
    """Return whether a label looks like several known ones joined by semicolons."""
    parts = [part.strip() for part in label.split(";") if part.strip()]
    return len(parts) > 1 and set(parts) <= set(known)


def split_labels(text: str, known: Collection[str] = ()) -> list[str]:
    """Split a joined list of labels at semicolons, or at commas that do not belong to a label.

    Parameters
    ----------
    text : str
        ``a;b`` (dcase_util) or ``a,b`` (DESED).
    known : collection of str
        Labels that are known; the longest of them that fits is taken first. Otherwise a comma that a blank follows
        belongs to the label.

    Examples
    --------
    >>> split_labels("Train,Air horn, truck horn")
    ['Train', 'Air horn, truck horn']
    >>> split_labels("dog, cat", known={"dog", "cat"})
    ['dog', 'cat']
    """
    if text in known:
        return [text]
    if ";" in text:
        return [part.strip() for part in text.split(";") if part.strip()]
    parts = text.split(",")
    labels: list[str] = []
    while parts:
        take = next((n for n in range(len(parts), 0, -1) if ",".join(parts[:n]).strip() in known), 0)
        if not take:
            take = 1
            while take < len(parts) and parts[take].startswith(" ") and parts[take].strip() not in known:
                take += 1
        labels.append(",".join(parts[:take]).strip())
        parts = parts[take:]
    return [label for label in labels if label]
