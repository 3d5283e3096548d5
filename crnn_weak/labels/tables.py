"""Tables: delimited text, read by its header, or by one of a few strict layouts without one; never by guessing.

Some headers have rules of their own; in any other table each column has its role by its name. Without a header a list
has tabs, and every row must have the layout of the first. The rest is refused by line.
"""

from __future__ import annotations

import codecs
import csv
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.files import read_bytes
from crnn_weak.labels.events import AUDIOSET_IDS, DCASE2017_TASK4
from crnn_weak.labels.names import (
    MISSING,
    NOTHING,
    check_characters,
    check_label,
    has_audio_suffix,
    is_place,
    nfc,
    recording_path,
)

logger = logging.getLogger(__name__)

#: What label files of each format hold; the names are those of `--input-format`, explained in docs/formats.md.
KINDS = {
    **dict.fromkeys(("desed", "csv", "dcase", "audacity", "audioset", "raven", "birdnet"), "events"),
    **dict.fromkeys(("desed-tags", "csv-tags", "one-hot", "dcase-tags", "task4-weak", "task4-set"), "tags"),
    **dict.fromkeys(("urbansound8k", "esc50"), "tags"),
}
# Later times (11 days) are dates, samples or milliseconds, not seconds from the start of a recording.
_MAX_SECONDS = 1_000_000.0
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,3}):(?=[0-5]\d:))?(\d{1,3}):([0-5]\d(?:\.\d*)?)", re.ASCII)
# Other files by how they begin, and what to do with them.
_OTHER_TEXTS = {
    "PK\x03\x04": "a spreadsheet; save it as CSV",
    r'\s*[\[{][\s\[{]*"': "JSON, which is not read; save it as CSV, such as `crnn-weak convert --to csv` writes",
    r'\s*(File type = )?"ooTextFile': "a Praat TextGrid; export it as a table with the header onset, offset, label",
}


class Row(NamedTuple):
    """One line of a table: its place (``path, line 3``), and its fields without blanks around them."""

    where: str
    fields: list[str]


def number(text: str) -> float | None:
    """Return a finite number with a decimal point, or None."""
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def seconds(text: str) -> float | None:
    """Return a time in seconds, of a number or of m:ss or h:mm:ss (``1:02.5`` is 62.5), or None."""
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return number(text)
    hours, minutes, rest = clock.groups(default="0")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(rest), 9)


def read_lines(path: str | Path) -> list[tuple[str, str]]:
    """Return place and text of the lines of a file that are not blank, in Unicode form C; LF, CRLF or CR end a line."""
    data = read_bytes(path, advice="Expected a label file.", error=DataError)
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_utf_16 else "utf-8-sig", "replace")
    other = next((hint for start, hint in _OTHER_TEXTS.items() if re.match(start, text)), None)
    if other is not None:
        raise DataError(f"{path}: looks like {other}.")
    if "\0" in text or text.count("\ufffd") > data.count(b"\xef\xbf\xbd"):  # marks of bytes that cannot be decoded
        raise DataError(f"{path}: not a text file in UTF-8; save the table as CSV in UTF-8.")
    lines = enumerate(re.split(r"\r\n|\n|\r", nfc(text)), start=1)
    return [(f"{path}, line {line}", text) for line, text in lines if text.strip()]


def split_line(where: str, text: str, separator: str) -> Row:
    """Return one line of a table, quoted as in CSV; a quoted field ends in its line."""
    try:
        (fields,) = csv.reader([text], delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    except csv.Error as error:
        why = str(error) if "limit" in str(error) else "quotation marks do not match; a quoted field ends in its line"
        raise DataError(f"{where}: {why}.") from None
    return Row(where, [field.strip(" \t") for field in fields])


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file; without times (seconds) it holds tags, without labels a recording alone."""

    where: str
    name: str  # "" where the file names no recording
    labels: tuple[str, ...] = ()
    onset: float | None = None
    offset: float | None = None
    score: float | None = None
    split: str = ""


# The place of a row, and its texts by role.
_Cells = tuple[str, dict[str, str]]


def _time(text: str, where: str) -> float:
    value = seconds(text)
    if value is None:
        hint = " with a decimal point" if "," in text else ""  # a comma may as well divide thousands
        raise DataError(f"{where}: {text[:60]!r} is not a time in seconds{hint}.")
    return value


def _label_row(where: str, cells: dict[str, str], *, plural: bool) -> LabelRow:
    name = check_characters(recording_path(cells.get("file", "")), f"{where}: file name")
    if "file" in cells and name in ("", "."):
        raise DataError(f"{where}: no file name.")
    if cells.get("split") == "":
        raise DataError(f"{where}: no split, which other rows have; fill the column or remove it.")
    silent = LabelRow(where, name, split=cells.get("split", ""))
    text, onset, offset = cells.get("label", ""), None, None
    if "onset" in cells:
        end = "offset" if "offset" in cells else "duration"
        if name and all(cells[role].lower() in MISSING for role in ("onset", end, "label")):
            return silent
        onset, offset = _time(cells["onset"], where), _time(cells[end], where)
        if end == "duration":
            offset = round(onset + offset, 9)
        if not 0 <= onset <= offset:
            raise DataError(f"{where}: an event from {onset:.12g} to {offset:.12g} s; expected 0 <= onset <= offset.")
        if offset > _MAX_SECONDS:
            raise DataError(
                f"{where}: an event that ends at {offset:.12g} s, after more than 11 days; expected seconds from the "
                "start of the recording, not a date, milliseconds or samples."
            )
        parts = [text]
    elif text.lower() in ("", "nan", "<na>"):
        return silent
    else:
        joined = re.split(r";|,(?! )", text) if plural else [text]
        parts = [part.strip(" \t") for part in joined if part.strip(" \t")]
    labels = tuple(dict.fromkeys(check_label(part, where) for part in parts))
    score = cells.get("score", "")
    value = number(score)
    if value is None and score.lower() not in MISSING:
        raise DataError(f"{where}: {score[:60]!r} is not a score.")
    labels = tuple(label for label in labels if label.lower() not in NOTHING)
    return replace(silent, labels=labels, onset=onset, offset=offset, score=value) if labels else silent


def _label_rows(rows: Sequence[_Cells], classes: Collection[str], *, plural: bool) -> list[LabelRow]:
    """Return what rows say; ``dog, cat`` is refused where a part of it is a label as well: may be one label or two."""
    found = [_label_row(where, cells, plural=plural) for where, cells in rows]
    labels = {label for row in found for label in row.labels}
    unclear = {label for label in labels if ", " in label and not (label in classes or label in DCASE2017_TASK4)}
    parts = Counter(part for label in unclear for part in set(label.split(", ")))
    # In a column of several labels, a part that two of them share is enough.
    singles = labels.union(classes, (part for part, n in parts.items() if plural and n > 1))
    for row in found if unclear else ():
        for label in unclear.intersection(row.labels):
            shared = next((part for part in label.split(", ") if part in singles), None)
            if shared is not None:
                raise DataError(
                    f"{row.where}: {label!r} may be one label or several, since {shared!r} is one as well. Put each on "
                    "a row of its own, or join them with ; in a column named labels."
                )
    return found


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
# Headers of one data set or tool: the columns that tell it, and of these and "file" those that have a role.
_KNOWN_HEADERS: dict[str, tuple[set[str], set[str]]] = {
    "urbansound8k": ({"slice_file_name", "class"}, {"slice_file_name", "class"}),
    "esc50": ({"filename", "fold", "target", "category", "esc10"}, {"filename", "category"}),
    "birdnet": (
        {"start", "end", "scientific_name", "common_name", "confidence"},
        {"file", "start", "end", "common_name", "confidence"},
    ),
}
# Columns that may hold 0 and 1 and say nothing about the labels.
_NUMBERS = ("", "unnamed:_0", "index", "id", "classid", "class_id", "fold", "channel", "channels", "target", "take")
_YES, _NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_YES_NO = {*_YES, *_NO, "yes", "no", "present", "not_present"}


def _refused(header: Row, why: str) -> DataError:
    return DataError(f"{header.where}: {why} The line is {', '.join(header.fields)[:120]!r}.")


def _header_name(text: str) -> str:
    """Return a column's name as it is looked up: lower case, underscores, without the unit seconds."""
    name = re.sub(r"[\s_]+", "_", text.strip().lower())
    return re.sub(r"_?(\((s|sec|seconds)\)|\[(s|sec|seconds)\]|_(s|sec|seconds))$", "", name)


def _names(header: Row, label_column: str | None) -> tuple[str, list[str]]:
    """Return the format of a header with rules of its own, or "", and the names by which columns are looked up."""
    names = [_header_name(text) for text in header.fields]
    known = next((name for name, (needed, _) in _KNOWN_HEADERS.items() if needed <= set(names)), "")
    if label_column is not None:
        if known or header.fields.count(label_column) != 1:
            why = f"not for a table of {known}." if known else "no such column, or two of them."
            raise _refused(header, f"--label-column {label_column}: {why}")
        names = ["" if (_ROLE_OF.get(name) or "").startswith("label") else name for name in names]
        names[header.fields.index(label_column)] = "labels"
    if known:
        names = [name if name in _KNOWN_HEADERS[known][1] else "" for name in names]
    elif {"begin_time", "end_time"} <= set(names) and {"selection", "view"} & set(names):
        known = "raven"
        names = ["" if name == "begin_file" and "begin_path" in names else name for name in names]
    return known, names


def _read_header(
    header: Row, rows: list[Row], separator: str, classes: Collection[str], label_column: str | None
) -> tuple[str, list[LabelRow]]:
    """Return the format of a table with a header, and its rows."""
    n_columns = max((at for at, text in enumerate(header.fields, start=1) if text), default=1)
    header = Row(header.where, header.fields[:n_columns])
    known, names = _names(header, label_column)
    columns, others = _columns(header, names)
    _check_roles(header, columns, [] if known else others)
    rows = _body(header, rows)
    if known == "raven":
        columns |= {role: names.index(role) for role in ("selection", "file_offset") if role in names}
    cells = [(where, {role: fields[at] for role, at in columns.items()}) for where, fields in rows]
    found = _label_rows(cells, classes, plural=any(_ROLE_OF.get(name) == "labels" for name in names))
    if set(columns) <= {"file", "split"}:
        return "one-hot", _one_hot_rows(header, names, rows, found, others)
    if known:
        return known, _raven_rows(header, cells, found) if known == "raven" else found
    for at in others:
        values = {row.fields[at].lower() for row in rows} - MISSING
        if values and values <= _YES_NO and names[at] not in _NUMBERS:
            raise _refused(
                header,
                f"the column {header.fields[at]!r} holds only {' and '.join(sorted(values))} and may say which rows "
                "count; keep those and remove it.",
            )
    if ignored := ", ".join(header.fields[at] for at in others if header.fields[at]):
        logger.info("%s: ignored columns: %s.", header.where, ignored)
    if names == ["segment_id", "start_time", "end_time", "label"]:
        return "audioset", found
    return ("desed" if separator == "\t" else "csv") + ("" if "onset" in columns else "-tags"), found


def _columns(header: Row, names: Sequence[str]) -> tuple[dict[str, int], list[int]]:
    """Return the column of each role, and the columns without a role."""
    columns: dict[str, int] = {}
    others = []
    for at, (shown, name) in enumerate(zip(header.fields, names, strict=True)):
        role = _ROLE_OF.get(name, "").replace("labels", "label")
        if role in columns:
            raise _refused(header, f"the columns {header.fields[columns[role]]!r} and {shown!r} are both {role}s.")
        unit = re.fullmatch(r"(.+?)[_ ]*[(\[]?(ms|msec|milliseconds|samples|frames|min|minutes)[)\]]?", name)
        if role:
            columns[role] = at
        elif unit and _ROLE_OF.get(unit[1].strip("_")) in ("onset", "offset", "duration"):
            advice = "divide by 1000" if unit[2].startswith(("ms", "milli")) else "convert it"
            raise _refused(header, f"the column {shown!r} is in {unit[2]}; expected seconds: {advice}.")
        else:
            others.append(at)
    return columns, others


def _check_roles(header: Row, columns: Mapping[str, int], others: Sequence[int]) -> None:
    """Refuse a header that lacks a role; `others` are columns without a role, one of which may be the file."""
    if not columns:
        raise _refused(
            header,
            "neither a header with names such as filename, onset, offset, label, nor a row of a list without one: "
            "tabs, and files with an audio suffix or the times of one recording first.",
        )
    needed = [] if "onset" in columns and not others else ["file"]
    if columns.keys() & {"onset", "offset"}:
        needed += ["label", "onset", "duration" if "duration" in columns else "offset"]
    elif columns.keys() - {"file", "split"}:
        needed.append("label")
    for role in needed:
        if role not in columns:
            candidate = f", and {header.fields[others[0]]!r} may be one" if role == "file" and others else ""
            raise _refused(header, f"no column of the {role}{candidate}. Known names: {', '.join(COLUMNS[role])}.")


def _body(header: Row, rows: Sequence[Row]) -> list[Row]:
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


def _one_hot_rows(
    header: Row, names: Sequence[str], rows: Sequence[Row], found: Sequence[LabelRow], others: Sequence[int]
) -> list[LabelRow]:
    """Return the rows of a table with a column of 0 and 1 for each class."""
    columns = {check_label(header.fields[at], header.where): at for at in others if names[at] not in _NUMBERS}
    values = {row.fields[at].lower() for row in rows for at in columns.values()}
    if len(columns) < 2 or not values <= _YES | _NO:
        roles = [(text, _ROLE_OF.get(name)) for text, name in zip(header.fields, names, strict=True)]
        what = [f"{text!r} is the {role}" for text, role in roles if role]
        what += [f"{header.fields[at]!r} ({rows[0].fields[at][:30] if rows else ''}) is not known" for at in others]
        hint = f"Name it with --label-column, or give it one of the names {', '.join(COLUMNS['label'])}."
        raise _refused(header, f"no column of the label, nor columns of 0 and 1: {', '.join(what)}. {hint}")
    if len(set(header.fields)) < len(header.fields):
        raise _refused(header, "two columns have one name.")
    labels = [[name for name, at in columns.items() if row.fields[at].lower() in _YES] for row in rows]
    return [replace(row, labels=tuple(of_row)) for row, of_row in zip(found, labels, strict=True)]


def _raven_rows(header: Row, cells: Sequence[_Cells], rows: Sequence[LabelRow]) -> list[LabelRow]:
    """Return the rows of a Raven selection table; a selection that is listed once per view counts once."""
    found: dict[tuple[object, ...], LabelRow] = {}
    for (where, of_role), row in zip(cells, rows, strict=True):
        if "file_offset" in of_role and row.onset is not None and row.offset is not None:
            # Times count from the start of the file, else from that of the first recording.
            start = _time(of_role["file_offset"], f"{where}, File Offset (s)")
            row = replace(row, onset=start, offset=round(start + row.offset - row.onset, 9))
        found.setdefault((of_role.get("selection"), row.name, row.labels, row.onset, row.offset), row)
    recordings = sorted({row.name for row in found.values()})
    if len(recordings) > 1 and "file_offset" not in cells[0][1]:
        raise _refused(
            header,
            f"a Raven selection table of several recordings ({recordings[0]!r}, {recordings[1]!r}) without the column "
            "File Offset (s): the times may count from the start of the first. Add that column in Raven.",
        )
    return list(found.values())


# Roles of the columns -> format.
_LAYOUTS = {
    "onset offset label": "audacity",
    "onset offset label score": "audacity",
    "file onset offset label": "dcase",
    "file onset offset label score": "dcase",
    "file scene onset offset label": "dcase",
    "file scene onset offset label letter id": "dcase",  # TUT Sound Events
    "file label": "dcase-tags",
    "file scene labels id": "dcase-tags",  # dcase_util
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


def _fits(fields: Sequence[str], roles: Sequence[str]) -> bool:
    return len(fields) == len(roles) and all(_FITS[role](text) for role, text in zip(roles, fields, strict=True))


def _read_list(rows: list[Row], classes: Collection[str]) -> tuple[str, list[LabelRow]]:
    """Return format (perhaps "unclear") and rows of a list without a header; a file name alone has no labels."""
    rows = [row for at, row in enumerate(rows) if row.fields[0] != "\\" or not at]  # Audacity's lines of frequencies
    model = next((row for row in rows if len(row.fields) > 1), rows[0])
    layout = next((layout for layout in _LAYOUTS if _fits(model.fields, layout.split())), None)
    if layout is None:
        raise DataError(
            f"{model.where}: {', '.join(model.fields)[:80]!r} has no layout of a list without a header: "
            "filename, onset, offset, label, or filename, label, or onset, offset, label, with tabs between and no "
            "number as label. Add a header that names the columns."
        )
    roles, cells = layout.split(), []
    for where, fields in rows:
        is_file = has_audio_suffix(fields[0]) and not re.search("[,;|]", fields[0])
        if len(fields) == 1 and roles[0] == "file" and is_file:
            fields = fields + [""] * (len(roles) - 1)
        elif not _fits(fields, roles):
            shown = ", ".join(fields)[:80]
            raise DataError(f"{where}: {shown!r}, but the rows before have the columns {', '.join(roles)}.")
        cells.append((where, {role.replace("labels", "label"): text for role, text in zip(roles, fields, strict=True)}))
    found = _label_rows(cells, classes, plural="labels" in roles)
    name = _LAYOUTS[layout]
    if name != "dcase":
        return name, found
    # Weak and strong lists of task 4 share their columns: in weak ones the times are the cut's place in the *video*.
    timed = [row for row in found if row.onset is not None]
    places = [row for row in timed if is_place(row.name, row.onset, row.offset)]
    is_late = any(row.onset for row in places)  # an event from 0 to the end may be meant as well
    if timed and len(places) == len(timed):
        return "task4-weak" if is_late else "unclear", found
    return "unclear" if is_late else "dcase", found


def read_table(path: Path, classes: Collection[str], label_column: str | None = None) -> tuple[str, list[LabelRow]]:
    """Return format and rows of a file; the format is "unclear" between dcase and task4-weak, and "empty"."""
    lines = read_lines(path)
    asked = re.fullmatch(r'"?sep=([,;\t])"?', lines[0][1].strip(" ")) if lines else None
    lines = lines[1:] if asked else lines
    if not lines:
        return "empty", []
    rows = [Row(where, [field.strip(" \t") for field in text.rstrip(" \t").split("\t")]) for where, text in lines]
    first = rows[0].fields
    is_file = has_audio_suffix(first[0]) and (len(first) > 1 or not re.search("[,;|]", first[0]))
    is_track = len(first) > 1 and seconds(first[0]) is not None and seconds(first[1]) is not None
    if not asked and (is_file or is_track) and not label_column:
        return _read_list(rows, classes)

    def n_known(sign: str) -> int:
        return sum(_header_name(text.strip(' "')) in _ROLE_OF for text in lines[0][1].split(sign))

    separator = asked[1] if asked else max(",\t;", key=n_known)
    rows = [split_line(where, text, separator) for where, text in lines]
    first = rows[0].fields
    if len(first) == 5 and all(mid.strip().startswith(("/m/", "/t/", "/g/")) for mid in first[4].split(",")):
        return "task4-set", [_set_row(where, fields) for where, fields in rows]
    return _read_header(rows[0], rows[1:], separator, classes, label_column)


def _set_row(where: str, fields: list[str]) -> LabelRow:
    """Return a row of the organizers' set files of task 4, whose labels hold commas, but their AudioSet ids do not."""
    if len(fields) != 5 or number(fields[1]) is None or number(fields[2]) is None:
        raise DataError(f'{where}: {", ".join(fields)[:80]!r}; expected id,start,end,"label,label","mid,mid".')
    mids = [mid.strip() for mid in fields[4].split(",") if mid.strip()]
    unknown = next((mid for mid in mids if mid not in AUDIOSET_IDS), None)
    if unknown is not None:
        raise LabelError(f"{where}: AudioSet id {unknown!r} is not known. {nearest_names(unknown, AUDIOSET_IDS)}")
    labels = tuple(dict.fromkeys(AUDIOSET_IDS[mid] for mid in mids))
    return LabelRow(where, f"{fields[0]}_{float(fields[1]):.3f}_{float(fields[2]):.3f}", labels)
