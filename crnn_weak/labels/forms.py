"""The forms of label files by name, and the reader that tells them apart.

A file is read only where one meaning is left: of all forms and separators, those under which *every* row is a row of
that form must say the same. A file that fits no form, or two forms with different meanings, is refused with the line,
what was found, and the forms that were tried; naming the form decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crnn_weak.errors import ConfigError, DataError, nearest_names
from crnn_weak.labels import header_forms, list_forms
from crnn_weak.labels.jams import read_jams
from crnn_weak.labels.rows import LabelRow, Mismatch, Table, table_stem
from crnn_weak.labels.tables import Row, read_lines, split_line

__all__ = ["FORMS", "Form", "LabelFile", "find_form", "read_label_file"]


@dataclass(frozen=True)
class Form:
    """A form of label files.

    Attributes
    ----------
    name, title : str
    kind : {"events", "tags"}
    read : function of a table, or None
        None for JAMS, which is no table.
    n_columns : int
        Columns where blanks may separate them; 0 where they may not.
    places : bool
        The tags' rows have times that are places in other recordings, so that a user may take them for events.
    one_recording : bool
        A file holds one recording.
    """

    name: str
    title: str
    kind: str
    read: Callable[[Table], list[LabelRow]] | None
    n_columns: int = 0
    places: bool = False
    one_recording: bool = False


_ALL = (
    Form("desed", "DESED: header filename, onset, offset, event_label", "events", header_forms.read_desed),
    Form("dcase", "DCASE: filename, onset, offset, label; no header", "events", list_forms.read_dcase, 4),
    Form("audacity", "Audacity label track: onset, offset, label", "events", list_forms.read_audacity, 3,
         one_recording=True),
    Form("audioset", "AudioSet, strong: segment_id, start_time_seconds, ...", "events", header_forms.read_audioset),
    Form("raven", "Raven selection table", "events", header_forms.read_raven),
    Form("birdnet", "BirdNET-Analyzer's CSV", "events", header_forms.read_birdnet),
    Form("jams", "JAMS (JSON)", "events", None, one_recording=True),
    Form("desed-tags", "DESED, weak: header filename, event_label(s)", "tags", header_forms.read_desed_tags),
    Form("dcase-tags", "DCASE: filename, label(s); no header", "tags", list_forms.read_dcase_tags),
    Form("task4-weak", "DCASE 2017 task 4, weak list: name, start, end, label", "tags", list_forms.read_task4_weak),
    Form("task4-set", "DCASE 2017 task 4, set file", "tags", list_forms.read_task4_set),
    Form("urbansound8k", "UrbanSound8K's metadata", "tags", header_forms.read_urbansound8k, places=True),
    Form("esc50", "ESC-50's metadata", "tags", header_forms.read_esc50),
)  # fmt: skip
#: Every form by its name.
FORMS: dict[str, Form] = {form.name: form for form in _ALL}


def find_form(name: str) -> Form:
    """Return the form of a name.

    Raises
    ------
    ConfigError
        There is no such form; the message offers the nearest.
    """
    if name not in FORMS:
        raise ConfigError(f"form {name!r} is not known. {nearest_names(name, FORMS)}")
    return FORMS[name]


@dataclass(frozen=True)
class LabelFile:
    """A label file whose form was found.

    Attributes
    ----------
    path : Path
    form : Form or None
        None of an empty file.
    kind : {"events", "tags", "empty", "unclear"}
        ``empty``: no label. ``unclear``: the times may be those of events or places in other recordings.
    rows : tuple of LabelRow
    recording : str
        The recording of rows that name none: the file's own name, or what the reader of a folder says.
    """

    path: Path
    form: Form | None
    kind: str
    rows: tuple[LabelRow, ...]
    recording: str = ""

    def name(self, row: LabelRow) -> str:
        """Return the name of a row's recording."""
        return row.name or self.recording or self.own_name

    @property
    def own_name(self) -> str:
        """The recording that the file itself is named after (``rec.Table.1.selections.txt``: ``rec``)."""
        of_tool = self.form is not None and self.form.name in ("raven", "birdnet")
        return table_stem(self.path.name) if of_tool else self.path.stem


def _tables(path: Path, lines: list[tuple[int, str]], classes: Collection[str], named: bool) -> dict[str, Table]:
    """Return the file split at each separator; one whose quotation marks do not match is no table."""
    tables = {}
    for separator in "\t" if any("\t" in text for _, text in lines) else ",;\t":
        rows = []
        for line, text in lines:
            fields = split_line(text, separator)
            if fields is None:
                break
            rows.append(Row(line, fields))
        else:
            tables[separator] = Table(path, separator, rows, named, classes)
    # The most columns first: of faults in the same line, theirs says most.
    return dict(sorted(tables.items(), key=lambda item: -len(item[1].rows[0].fields)))


def _mixed_commas(table: Table) -> Mismatch | None:
    """Return the fault of a table in which ``1,500`` may be 1.5 or 1500, because other numbers have points."""
    comma, point = re.compile(r"\d{1,3},\d{3}"), re.compile(r"\d+\.\d+")
    fields = [(row.line, field) for row in table.rows for field in row.fields if field and field[0].isdigit()]
    line = next((line for line, field in fields if comma.fullmatch(field)), None)
    if line is None or not any(point.fullmatch(field) for _, field in fields):
        return None
    return Mismatch(line, "a comma in one number, a point in others: the comma may divide thousands; remove it.", 2)


def _blank_table(table: Table, lines: list[tuple[int, str]], form: Form) -> Table | None:
    if not form.n_columns or any("\t" in text for _, text in lines):
        return None
    rows = [Row(line, [field.strip() for field in text.split(None, form.n_columns - 1)]) for line, text in lines]
    return replace(table, separator=" ", rows=rows)


def _fitting(
    path: Path, forms: Sequence[Form], classes: Collection[str], named: bool
) -> tuple[list[tuple[Form, list[LabelRow]]], list[tuple[Form, Mismatch]]]:
    """Return the forms that every row of a table has, with their rows, and the faults of the others."""
    lines = read_lines(path)
    tables = _tables(path, lines, classes, named)
    found: list[tuple[Form, list[LabelRow]]] = []
    faults: list[tuple[Form, Mismatch]] = []
    for separator, table in list(tables.items()):
        mixed = _mixed_commas(table) if separator != "," else None
        if mixed is not None:
            faults.append((forms[0], mixed))
            del tables[separator]
    bad = next((line for line, text in lines if split_line(text, ",") is None), None)
    if bad is not None and not any("\t" in text for _, text in lines):
        faults.append((forms[0], Mismatch(bad, "quotation marks do not match; a quoted field ends in its line.", 2)))
    for form in forms:
        if form.read is None:
            continue
        blank = _blank_table(Table(path, " ", [], named, classes), lines, form)
        of_form = []
        for table in (*tables.values(), *([blank] if blank else [])):
            try:
                of_form.append((len(table.rows[0].fields) > 1, form.read(table)))
            except Mismatch as error:
                faults.append((form, error))
            except DataError as error:  # a label that the form's own list does not know
                faults.append((form, Mismatch(table.rows[0].line, str(error), 3)))
        splits = any(split for split, _ in of_form)  # a separator that splits nothing is none, where another splits
        found += [(form, rows) for split, rows in of_form if split or not splits]
    return found, faults


def _refuse(path: Path, forms: Sequence[Form], faults: Sequence[tuple[Form, Mismatch]], named: bool) -> DataError:
    """Word the fault of the form that fits best: by its header, else as far down as possible."""
    of_forms = [(form, fault) for form, fault in faults if form in forms]
    best, fault = max(of_forms, key=lambda one: (one[1].rank, one[1].line))
    text = str(fault)
    where = "" if text.startswith(str(path)) else f"{path}, line {fault.line}: "
    if named:
        return DataError(f"{where}{text} The form asked for is {forms[0].name}.")
    hint = ""
    if any(text.lstrip().startswith("#") for line, text in read_lines(path) if line == fault.line):
        hint = " No form has comments: remove lines that begin with #."
    if fault.rank > 1:
        return DataError(
            f"{where}{text}{hint} It was read as {best.name}; another form is named with --input-format NAME."
        )
    tried = ", ".join(form.name for form in forms if form.read is not None)
    return DataError(f"{where}{text}{hint} Forms tried: {tried}; name the right one with --input-format NAME.")


def _only_meaning(path: Path, found: list[tuple[Form, list[LabelRow]]], kind: str | None) -> LabelFile:
    """Return what all fitting forms say, or refuse where they differ."""
    by_kind: dict[str, tuple[Form, list[LabelRow]]] = {}
    for form, rows in found:
        key = "tags" if kind == "tags" else form.kind
        before = by_kind.setdefault(key, (form, rows))
        meanings = [
            [row.meaning if kind != "tags" else (row.name, row.labels) for row in one] for one in (before[1], rows)
        ]
        if meanings[0] != meanings[1]:
            raise DataError(
                f"{path}, line {rows[0].line}: may be of the form {before[0].name} or {form.name}, with different "
                "meanings; name the right one with --input-format NAME."
            )
    form, rows = by_kind.get("events") or by_kind["tags"]
    if not any(row.labels for row in rows) and (len(by_kind) > 1 or form.kind == "events"):
        return LabelFile(path, form, "empty", tuple(rows))
    unclear = kind is None and (len(by_kind) > 1 or form.places)
    return LabelFile(path, form, "unclear" if unclear else kind or form.kind, tuple(rows))


def read_label_file(
    path: str | Path, *, form: str | None = None, kind: str | None = None, classes: Collection[str] = ()
) -> LabelFile:
    """Read a label file of any form.

    Parameters
    ----------
    path : path
    form : str, optional
        A name of `FORMS`; by default the only one that fits.
    kind : {"events", "tags"}, optional
        What the file is to hold. Events can be read as tags, not tags as events.
    classes : collection of str
        Known labels, for joined lists of labels with commas in them.

    Raises
    ------
    DataError
        The file is missing or not text, fits no form, fits two with different meanings, or holds tags where events
        are asked for.
    ConfigError
        There is no such form.
    """
    path = Path(path)
    forms = [find_form(form)] if form is not None else list(_ALL)
    if form == "jams" or (form is None and path.suffix.lower() == ".jams"):
        return LabelFile(path, FORMS["jams"], kind or "events", tuple(read_jams(path)))
    if not read_lines(path):
        return LabelFile(path, None, "empty", ())
    found, faults = _fitting(path, forms, classes, form is not None)
    if kind == "events":
        events = [one for one in found if one[0].kind == "events"]
        if found and not events:
            raise DataError(
                f"{path}: holds tags ({found[0][0].title}); times in it, if any, are places in other recordings. "
                "Expected a list of events; `evaluate` scores tags with --tags."
            )
        found = events
        forms = [form for form in forms if form.kind == "events"] or forms
    elif kind == "tags":
        forms = sorted(forms, key=lambda form: form.kind != "tags")
        faults.sort(key=lambda fault: fault[0].kind != "tags")
    if not found:
        raise _refuse(path, forms, faults, form is not None)
    return _only_meaning(path, found, kind)
