"""Tag files: which labels each clip has; every common form is read, the long form is written.

See `crnn_weak.labels.files` for the conventions that all label files share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from crnn_weak.errors import DataError
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.columns import FILE, LABELS, ONE_LABEL, SPLIT, column, header_columns, times_at
from crnn_weak.labels.tables import Row, clip_id, read_rows, write_rows
from crnn_weak.labels.task4 import read_set_csv

__all__ = ["TagRow", "read_tag_rows", "read_tags", "split_labels", "write_tags"]


class TagRow(NamedTuple):
    """One row of a tag file: its line, the file name as written, its labels, and its split where a column says it."""

    line: int
    name: str
    labels: tuple[str, ...]
    split: str


def split_labels(text: str, known: Collection[str] = ()) -> list[str]:
    """Split a joined list of labels at semicolons, or at commas that do not belong to a label.

    Parameters
    ----------
    text : str
        ``a;b`` (dcase_util) or ``a,b`` (DESED).
    known : collection of str
        Labels that are known; the longest of them that fits is taken first.

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


class _Cell(NamedTuple):
    line: int
    name: str
    text: str
    joined: bool  # may hold several labels
    split: str = ""


def _with_header(path: str | Path, rows: list[Row], columns: Mapping[str, int]) -> list[_Cell]:
    name, place = column(columns, FILE), column(columns, SPLIT)
    one, many = column(columns, ONE_LABEL), column(columns, LABELS)
    label = one if one is not None else many
    if name is None or label is None:
        raise DataError(
            f"{path}, line {rows[0].line}: the header is {', '.join(rows[0].fields)}; "
            "expected the columns filename and event_label (or labels)."
        )
    cells = []
    for line, fields in rows[1:]:
        if len(fields) > len(rows[0].fields):
            raise DataError(
                f"{path}, line {line}: {len(fields)} columns, the header has {len(rows[0].fields)}; "
                "put quotes round a field that holds the separator."
            )
        fields = fields + [""] * (len(rows[0].fields) - len(fields))
        if not fields[name]:
            raise DataError(f"{path}, line {line}: no file name.")
        split = fields[place] if place is not None else ""
        cells.append(_Cell(line, fields[name], fields[label], one is None or ";" in fields[label], split))
    return cells


def _without_header(path: str | Path, rows: list[Row]) -> list[_Cell]:
    cells = []
    for line, fields in rows:
        at = times_at(fields)
        if at is not None and 1 <= at <= 2 and len(fields) > at + 2:
            cells.append(_Cell(line, fields[0], fields[at + 2], False))
        elif len(fields) == 1:
            cells.append(_Cell(line, fields[0], "", False))
        elif len(fields) == 2:
            cells.append(_Cell(line, fields[0], fields[1], True))
        elif at is None and len(fields) <= 4 and ";" in fields[2]:
            cells.append(_Cell(line, fields[0], fields[2], True))  # dcase_util: file, scene, tags[, recording]
        else:
            raise DataError(
                f"{path}, line {line}: {len(fields)} columns ({', '.join(fields)[:60]}); expected filename and labels: "
                "one pair a row, or several labels joined by ; or , with a tab before or quotes round them."
            )
    return cells


def read_tag_rows(path: str | Path, *, classes: Collection[str] = (), strict: bool = False) -> list[TagRow]:
    """Read a tag file row by row; the forms, parameters and errors are those of `read_tags`."""
    rows = read_rows(path)
    columns = header_columns(rows)
    if columns is None and rows and len(rows[0].fields) == 5 and rows[0].fields[4][:3] in ("/m/", "/t/", "/g/"):
        # The organisers' set files: one clip a row, the names built of the first three columns.
        parsed = zip(rows, read_set_csv(path), strict=True)
        found = [TagRow(row.line, clip.clip_id, clip.labels, "") for row, clip in parsed]
    else:
        cells = _with_header(path, rows, columns) if columns is not None else _without_header(path, rows)
        known = set(classes) | {cell.text for cell in cells if cell.text and not set(cell.text) & set(",;")}
        found = [
            TagRow(
                cell.line,
                cell.name,
                tuple(split_labels(cell.text, known) if cell.joined else filter(None, [cell.text])),
                cell.split,
            )
            for cell in cells
        ]
    if strict:
        for row in found:
            class_indices(row.labels, list(classes), where=f"{path}, line {row.line}")
    return found


def read_tags(
    path: str | Path, *, classes: Collection[str] = (), strict: bool = False, strip_y: bool = False
) -> dict[str, tuple[str, ...]]:
    """Read which labels each clip has.

    Understood, with or without header:

    ========================================  ===================================================================
    ``filename start end label``              the organisers' weak files (the times are the video's: left out), and
                                              any event list
    ``id,start,end,"label,...","mid,..."``    the organisers' set files, read by their AudioSet ids
    ``filename label``                        long form, one row per pair; an empty label is a clip without tags
    ``filename label,label``                  DESED
    ``filename scene label;label;``           dcase_util
    ``filename,...,label(s),...``             any table with a header that names these columns
    ========================================  ===================================================================

    Under a header that says ``label`` or ``event_label`` a comma belongs to the label; under ``labels``,
    ``event_labels``, or without a header, it separates labels where no blank follows or the parts are labels by
    themselves.

    Parameters
    ----------
    path : path
    classes : collection of str
        Known labels: they tell a comma in a label from a comma between labels.
    strict : bool
        A label that is not among `classes` is an error.
    strip_y : bool
        See `crnn_weak.labels.tables.clip_id`.

    Returns
    -------
    dict of str to tuple of str
        In the file's order, each label once. An empty file gives an empty dictionary.

    Raises
    ------
    DataError
        The file is missing or not text, or a row has too few or too many columns; the message has file and line.
    LabelError
        `strict`, and a label is not among `classes`.
    """
    tags: dict[str, dict[str, None]] = {}
    for row in read_tag_rows(path, classes=classes, strict=strict):
        tags.setdefault(clip_id(row.name, strip_y=strip_y), {}).update(dict.fromkeys(row.labels))
    return {clip: tuple(found) for clip, found in tags.items()}


def write_tags(path: str | Path, tags: Mapping[str, Iterable[str]], *, suffix: str = ".wav") -> None:
    """Write tags in long form: tab, header ``filename event_label``, sorted by file; no tag, an empty label."""
    rows = [["filename", "event_label"]]
    for clip in sorted(tags):
        rows += [[clip + suffix, label] for label in list(tags[clip]) or [""]]
    write_rows(path, rows)
