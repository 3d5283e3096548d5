"""Tables with a header, read by the names of their columns.

Some headers have rules of their own: those of UrbanSound8K, ESC-50, BirdNET, Raven and AudioSet, and columns of 0 and 1
for each class. In any other table each column has its role by its name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from crnn_weak.errors import DataError
from crnn_weak.labels.names import MISSING, nfc
from crnn_weak.labels.tables import LabelRow, Row, Table, checked_label, checked_time, label_rows

logger = logging.getLogger(__name__)

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
# Headers of one tool or data set: the columns that tell it, in lower case, and its column of each role.
_KNOWN_HEADERS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "urbansound8k": (("slice_file_name", "class"), {"file": "slice_file_name", "label": "class"}),
    "esc50": (("filename", "fold", "target", "category", "esc10"), {"file": "filename", "label": "category"}),
    "birdnet": (
        ("start (s)", "end (s)", "scientific name", "common name", "confidence"),
        {"file": "file", "onset": "start (s)", "offset": "end (s)", "label": "common name", "score": "confidence"},
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


def read_header(
    path: Path, first: Row, rows: list[Row], separator: str, classes: Collection[str]
) -> tuple[str, list[LabelRow]]:
    """Return the format of a table with a header, and its rows."""
    if first.fields[0].startswith("#"):
        raise DataError(f"{path}, line {first.line}: a comment; remove lines that begin with #.")
    n_columns = max((at for at, text in enumerate(first.fields, start=1) if text), default=1)
    first = Row(first.line, first.fields[:n_columns])
    table = Table(path, first, _body(path, first, rows), {}, classes)
    lower = [re.sub(r"\s+", " ", text.lower()) for text in first.fields]
    if {"begin time (s)", "end time (s)"} <= set(lower) and {"selection", "view"} & set(lower):
        return "raven", _read_raven(table, lower)
    for name, (needed, of_role) in _KNOWN_HEADERS.items():
        if set(needed) <= set(lower):
            columns = {role: lower.index(column) for role, column in of_role.items() if column in lower}
            return name, label_rows(replace(table, columns=columns))
    columns, plural, others = _find_columns(table)
    table = replace(table, columns=columns, plural=plural)
    if not columns:
        raise table.refused(
            "neither a header with names such as filename, onset, offset, label, nor a row of a list without one: "
            "tabs, and files with an audio suffix or the times of one recording first."
        )
    if "file" not in columns and ("onset" not in columns or others):
        candidate = f", and {first.fields[others[0]]!r} may be one" if others else ""
        raise table.refused(f"no column of the file{candidate}. Known names: {', '.join(COLUMNS['file'])}.")
    if set(columns) <= {"file", "split"}:
        return "one-hot", _read_one_hot(table, others)
    is_timed = "onset" in columns or "offset" in columns
    for role, other in (("label", "label"), ("onset", "onset"), ("offset", "duration")):
        if role not in columns and other not in columns and (is_timed or role == "label"):
            raise table.refused(f"no column of the {role}. Known names: {', '.join(COLUMNS[role])}.")
    _refuse_others(table, others)
    found = label_rows(table)
    if lower == ["segment_id", "start_time_seconds", "end_time_seconds", "label"]:
        return "audioset", found
    return ("desed" if separator == "\t" else "csv") + ("" if "onset" in columns else "-tags"), found


def _find_columns(table: Table) -> tuple[dict[str, int], bool, list[int]]:
    """Return the column of each role, whether labels are joined, and the columns without a role."""
    header = table.first.fields
    columns: dict[str, int] = {}
    plural, others = False, []
    for at, text in enumerate(header):
        name = header_name(text)
        role = ROLE_OF.get(name)
        if role == "labels":
            role, plural = "label", True
        if role in columns:
            raise table.refused(f"the columns {header[columns[role]]!r} and {text!r} may both be the {role}.")
        unit = re.fullmatch(r"(.+?)[_ ]*[(\[]?(ms|msec|milliseconds|samples|frames|min|minutes)[)\]]?", name)
        if role is not None:
            columns[role] = at
        elif unit and ROLE_OF.get(unit[1].strip("_")) in ("onset", "offset", "duration"):
            advice = "divide by 1000" if unit[2].startswith(("ms", "milli")) else "convert it"
            raise table.refused(f"the column {text!r} is in {unit[2]}; expected seconds: {advice}.")
        else:
            others.append(at)
    return columns, plural, others


def _refuse_others(table: Table, others: list[int]) -> None:
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


def _read_one_hot(table: Table, others: list[int]) -> list[LabelRow]:
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
    for row, labeled in zip(label_rows(table), table.rows, strict=True):
        labels = [name for name, at in columns.items() if labeled.fields[at].lower() in _YES]
        found.append(replace(row, labels=tuple(checked_label(name, table.where(table.first)) for name in labels)))
    return found


_RAVEN_LABELS = ("annotation", "common name", "species", "label", "event_label", "tag", "class", "scientific name")


def _read_raven(table: Table, header: list[str]) -> list[LabelRow]:
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
    columns = {role: header.index(name) for role, name in of_role.items() if name in header}
    table = replace(table, columns=columns)
    found: dict[tuple[object, ...], LabelRow] = {}
    for row, event in zip(table.rows, label_rows(table), strict=True):
        if "shift" in columns and event.onset is not None and event.offset is not None:
            start = checked_time(table.cell(row, "shift"), f"{table.where(row)}, File Offset (s)")
            event = replace(event, onset=start, offset=round(start + event.offset - event.onset, 9))
        found.setdefault((table.cell(row, "selection"), event.name, event.labels, event.onset, event.offset), event)
    names = sorted({event.name for event in found.values()})
    if len(names) > 1 and "shift" not in columns:
        raise table.refused(
            f"a Raven selection table of several recordings ({names[0]!r}, {names[1]!r}) without the column File "
            "Offset (s): the times may count from the start of the first. Add that column in Raven."
        )
    return list(found.values())
