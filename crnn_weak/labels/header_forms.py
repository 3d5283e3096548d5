"""Forms of label files with a header line that names the columns.

``desed`` (events) and ``desed-tags`` understand the usual names of each column, in any order; the others are read
by the names that their tools and data sets write. A column that a form does not know is refused, because it may change
what the row means (``present``, ``onset_ms``); where the user names the form, it is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from crnn_weak.labels.names import recording_path
from crnn_weak.labels.rows import (
    MAX_SECONDS,
    LabelRow,
    Mismatch,
    Table,
    header_name,
    hides_list,
    name_only,
    split_labels,
    timed_row,
)
from crnn_weak.labels.tables import Row, number

__all__ = [
    "read_audioset",
    "read_birdnet",
    "read_desed",
    "read_desed_tags",
    "read_esc50",
    "read_raven",
    "read_urbansound8k",
]

_ROLES: dict[str, tuple[str, ...]] = {
    "file": (
        "filename", "file", "file_name", "filepath", "file_path", "path", "audio", "audio_file", "audio_filename",
        "wav", "clip", "clip_id", "fname", "recording", "name",
    ),
    "onset": ("onset", "event_onset", "start", "start_time", "begin", "begin_time"),
    "offset": ("offset", "event_offset", "end", "end_time", "stop", "stop_time"),
    "duration": ("duration", "event_duration"),
    "label": ("event_label", "label", "class", "category", "tag", "event", "sound_event", "species"),
    "labels": ("event_labels", "labels", "classes", "categories", "tags", "events"),
    "score": ("score", "confidence", "probability"),
    "split": ("split", "subset", "set", "partition"),
}  # fmt: skip
# Columns that say nothing about labels or times.
_OTHER = (
    "", "unnamed:_0", "author", "channels", "comment", "comments", "dataset", "description", "fold", "freesound_id",
    "fsid", "id", "identifier", "index", "licence", "license", "mid", "mids", "note", "notes", "sample_rate", "scene",
    "scene_id", "scene_label", "source", "source_label", "title", "uploader", "url",
)  # fmt: skip
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}


def _roles(table: Table) -> tuple[dict[str, int], list[str]]:
    """Return the column of each role that the first row names, and the names that are not known."""
    first = table.rows[0]
    columns: dict[str, int] = {}
    unknown = []
    for at, text in enumerate(first.fields):
        name = header_name(text)
        role = _ROLE_OF.get(name)
        if role in columns:
            other = first.fields[columns[role]]
            raise Mismatch(first.line, f"the columns {other!r} and {text!r} may both be the {role}.", 2)
        if role is not None:
            columns[role] = at
        elif name not in _OTHER:
            unknown.append(text)
    return columns, unknown


def _refuse_header(table: Table, expected: str, rank: int) -> Mismatch:
    first = table.rows[0]
    return Mismatch(first.line, f"the header is {', '.join(first.fields)[:120]!r}; expected {expected}.", rank)


def _refuse_unknown(table: Table, unknown: list[str]) -> None:
    if unknown and not table.named:
        raise Mismatch(
            table.rows[0].line,
            f"the column {unknown[0][:40]!r} is not known and may change what the rows mean; remove it, or name the "
            "form to ignore it.",
            2,
        )


def _body(table: Table, file: int | None) -> Iterator[tuple[Row, bool]]:
    """Yield the rows below the header with all their columns, and whether a row holds a file name only."""
    header = table.rows[0].fields
    for row in table.rows[1:]:
        filled = [at for at, text in enumerate(row.fields) if text]
        if [header_name(text) for text in row.fields] == [header_name(text) for text in header]:
            raise Mismatch(row.line, "the header is repeated.", 2)
        if len(row.fields) > len(header):
            raise Mismatch(
                row.line,
                f"{len(row.fields)} columns, the header has {len(header)}; put quotes around a field that holds the "
                "separator.",
                2,
            )
        alone = filled == [file]
        if len(row.fields) < len(header) and not alone:
            raise Mismatch(row.line, f"{len(row.fields)} columns, the header has {len(header)}.", 2)
        yield Row(row.line, row.fields + [""] * (len(header) - len(row.fields))), alone


def read_desed(table: Table) -> list[LabelRow]:
    """Read events: columns of file, onset, offset or duration, one label, perhaps a score.

    Without a file column the list is that of one recording, and no other columns may stand in it.
    """
    columns, unknown = _roles(table)
    end = columns.get("offset", columns.get("duration"))
    label = columns.get("label", columns.get("labels"))
    if "onset" not in columns or end is None or label is None:
        rank = 2 if "onset" in columns else len(columns) - 2
        raise _refuse_header(table, "filename, onset, offset, event_label", rank)
    file = columns.get("file")
    if file is None and unknown:
        raise _refuse_header(table, "filename, onset, offset, event_label", -1)
    _refuse_unknown(table, unknown)
    found = []
    for row, alone in _body(table, file):
        fields = row.fields
        if file is not None and not fields[file]:
            raise Mismatch(row.line, "no file name.", 2)
        if alone and file is not None:
            found.append(name_only(table, Row(row.line, [fields[file]]), known=True))
            continue
        name = None if file is None else fields[file]
        score = fields[columns["score"]] if "score" in columns else ""
        event = (fields[columns["onset"]], fields[end], fields[label])
        found.append(_ranked(row.line, name, *event, score=score, duration="offset" not in columns))
    return found


def _ranked(line: int, name: str | None, *event: str, score: str = "", duration: bool = False) -> LabelRow:
    """Return a timed row; under a header that fits, its faults are those of this form."""
    try:
        return timed_row(line, name, *event, score=score, duration=duration)
    except Mismatch as error:
        raise Mismatch(line, str(error), 2) from None


def read_desed_tags(table: Table) -> list[LabelRow]:
    """Read tags: columns of file and label (one a row; its commas belong to it) or labels (joined), perhaps a split."""
    columns, unknown = _roles(table)
    file, one = columns.get("file"), columns.get("label")
    label = one if one is not None else columns.get("labels")
    if file is None or label is None:
        raise _refuse_header(table, "filename and event_label (or labels)", min(1, len(columns) - 2))
    times = [role for role in ("onset", "offset", "duration") if role in columns]
    _refuse_unknown(table, [table.rows[0].fields[columns[role]] for role in times] + unknown)
    cells = []
    for row, _ in _body(table, file):
        if not row.fields[file]:
            raise Mismatch(row.line, "no file name.", 2)
        if "score" in columns and row.fields[columns["score"]] and number(row.fields[columns["score"]]) is None:
            raise Mismatch(row.line, f"{row.fields[columns['score']]!r} is not a score.", 2)
        cells.append((row, row.fields[label]))
    known = set(table.classes) | {text for _, text in cells if text and not set(text) & set(",;")}
    found = []
    for row, text in cells:
        if one is not None and hides_list(text, known):
            raise Mismatch(row.line, f"{text!r} holds several labels; the column of such lists is named labels.", 2)
        labels = split_labels(text, known) if one is None else [text] if text else []
        split = row.fields[columns["split"]] if "split" in columns else ""
        found.append(name_only(table, Row(row.line, [row.fields[file]]), labels=labels, known=True, split=split))
    return found


# --- forms of one tool or data set -----------------------------------------------------------------------------------


def _columns(table: Table, *needed: str) -> dict[str, int]:
    """Return the columns by lower-case name; a header without the needed ones is another form's."""
    names = [re.sub(r"\s+", " ", text.strip().lower()) for text in table.rows[0].fields]
    if not set(needed) <= set(names):
        raise _refuse_header(table, ", ".join(needed), -2)
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise Mismatch(table.rows[0].line, f"the column {twice!r} occurs twice.", 2)
    return {name: at for at, name in enumerate(names)}


def _cells(table: Table, columns: Mapping[str, int]) -> Iterator[tuple[int, Callable[[str], str]]]:
    """Yield the line of each row below the header, and a function from a column's name to its text."""
    for row, _ in _body(table, None):

        def cell(name: str, fields: list[str] = row.fields) -> str:
            return fields[columns[name]] if name in columns else ""

        yield row.line, cell


def read_audioset(table: Table) -> list[LabelRow]:
    """Read AudioSet's strong list: ``segment_id start_time_seconds end_time_seconds label``."""
    needed = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
    columns = _columns(table, *needed)
    _refuse_unknown(table, [name for name in columns if name not in needed])
    return [_ranked(line, *(cell(name) for name in needed)) for line, cell in _cells(table, columns)]


_RAVEN_LABELS = ("annotation", "common name", "species", "label", "event_label", "tag", "class", "scientific name")


def read_raven(table: Table) -> list[LabelRow]:
    """Read a Raven selection table: the annotation, between ``Begin Time (s)`` and ``End Time (s)``.

    A selection that is listed once per view counts once. With ``File Offset (s)`` the times are counted from
    the start of ``Begin File``, else from the start of the only recording.
    """
    columns = _columns(table, "selection", "begin time (s)", "end time (s)")
    labels = [name for name in _RAVEN_LABELS if name in columns]
    if not labels or len([name for name in labels if name != "scientific name"]) > 1:
        what = f"the columns {labels[0]!r} and {labels[1]!r} may both be the label" if labels else "no column of labels"
        raise Mismatch(table.rows[0].line, f"{what}; expected one of {', '.join(_RAVEN_LABELS)}.", 2)
    label = labels[0]
    path = next((name for name in ("begin path", "begin file") if name in columns), None)
    shift = "file offset (s)" in columns
    found: dict[tuple[object, ...], LabelRow] = {}
    for line, cell in _cells(table, columns):
        name = cell(path) if path else None
        begin, end = number(cell("begin time (s)")), number(cell("end time (s)"))
        start = number(cell("file offset (s)")) if shift else begin
        times = [cell("begin time (s)"), cell("end time (s)")]
        if shift and begin is not None and end is not None and start is not None and end <= MAX_SECONDS:
            times = [f"{start:.9g}", f"{round(start + end - begin, 9):.9g}"]
        row = _ranked(line, name, *times, cell(label), score=cell("confidence"))
        found.setdefault((cell("selection"), *row.meaning), row)
    names = {row.name for row in found.values()}
    if path and len(names) > 1 and not shift:
        raise Mismatch(
            table.rows[0].line,
            f"several recordings ({sorted(names)[0]!r}, {sorted(names)[1]!r}) and no column File Offset (s): the times "
            "may be counted from the start of the first. Add that column in Raven.",
            2,
        )
    return list(found.values())


def read_birdnet(table: Table) -> list[LabelRow]:
    """Read BirdNET-Analyzer's CSV: the common name, between ``Start (s)`` and ``End (s)``."""
    columns = _columns(table, "start (s)", "end (s)", "scientific name", "common name", "confidence")
    return [
        _ranked(
            line,
            cell("file") if "file" in columns else None,
            cell("start (s)"),
            cell("end (s)"),
            cell("common name"),
            score=cell("confidence"),
        )
        for line, cell in _cells(table, columns)
    ]


def _one_tag(line: int, name: str, label: str, table: Table) -> LabelRow:
    if not name or not label:
        raise Mismatch(line, f"no {'file name' if not name else 'label'}.", 2)
    return name_only(table, Row(line, [recording_path(name)]), labels=[label], known=True)


def read_urbansound8k(table: Table) -> list[LabelRow]:
    """Read UrbanSound8K's metadata as tags: start and end are places in the Freesound recording, not in the slice."""
    columns = _columns(table, "slice_file_name", "fsid", "start", "end", "fold", "classid", "class")
    return [_one_tag(line, cell("slice_file_name"), cell("class"), table) for line, cell in _cells(table, columns)]


def read_esc50(table: Table) -> list[LabelRow]:
    """Read ESC-50's metadata as tags."""
    columns = _columns(table, "filename", "fold", "target", "category", "esc10")
    return [_one_tag(line, cell("filename"), cell("category"), table) for line, cell in _cells(table, columns)]
