"""Forms of label files without a header: the columns are known by their number and their values.

============  =====================================================================================================
``dcase``     ``filename onset offset label``, with a scene after the name or a score at the end; name only: no event
``audacity``  ``onset offset label`` of one recording (label tracks, sed_eval); Audacity's lines of frequencies are
              skipped
``dcase-tags``  ``filename label``, one pair a row or labels joined by ``;`` or ``,``; ``filename scene label;label;``
``task4-weak``  ``id_start_end.wav start end label``: tags; the times are the cut's place in the video
``task4-set``   ``id,start,end,"label,label","mid,mid"``: tags by their AudioSet ids
============  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.labels.classes import AUDIOSET_IDS
from crnn_weak.labels.names import has_audio_suffix, recording_id, video_place
from crnn_weak.labels.rows import LabelRow, Mismatch, Table, name_only, split_labels, timed_row
from crnn_weak.labels.tables import Row, number

__all__ = ["read_audacity", "read_dcase", "read_dcase_tags", "read_task4_set", "read_task4_weak", "set_row"]

# How AudioSet ids begin.
_MIDS = ("/m/", "/t/", "/g/")


def _trimmed(row: Row) -> list[str]:
    """Return the fields without empty ones at the end."""
    fields = list(row.fields)
    while len(fields) > 1 and not fields[-1]:
        fields.pop()
    return fields


def _shown(fields: list[str]) -> str:
    return f"{len(fields)} column{'s' if len(fields) != 1 else ''} ({', '.join(fields)[:60]!r})"


def _dcase_layout(fields: list[str]) -> tuple[int, int, int | None] | None:
    """Return the columns of onset, label and score, or None where the fields are no event of this form."""
    if len(fields) == 4:
        return 1, 3, None
    numbers = [number(field) is not None for field in fields]
    if len(fields) == 5 and numbers[1:] == [False, True, True, numbers[4]]:
        return 2, 4, None  # a scene after the file name
    if len(fields) == 5 and numbers[1:] == [True, True, False, True]:
        return 1, 3, 4
    if len(fields) in (6, 7) and numbers[1:4] == [False, True, True] and len(fields[5]) == 1:
        return 2, 4, None  # TUT Sound Events: scene, event, a letter for the source, identifier
    return None


def _refuse_other_lists(table: Table, found: list[LabelRow]) -> None:
    """Refuse lists whose columns are those of events and mean something else."""
    timed = [row for row in found if row.onset is not None]
    if timed and all(map(_is_place, timed)) and any(row.onset for row in timed):
        raise Mismatch(
            table.rows[0].line,
            "every row has the times in its file's name: these are tags with places in videos, not events.",
            2,
        )
    mids = [row for row in timed if all(part.strip()[:3] in _MIDS for part in row.labels[0].split(","))]
    if mids and len(mids) == len(timed) and table.separator == ",":
        raise Mismatch(mids[0].line, "AudioSet's list of clips: the times are places in videos, not events.", 2)
    if timed and all(row.name == "SPEAKER" and "<NA>" in row.labels[0] for row in timed):
        raise Mismatch(timed[0].line, "an RTTM file, which is not read.", 2)


def read_dcase(table: Table) -> list[LabelRow]:
    """Read ``filename onset offset label``; see `crnn_weak.labels.forms`."""
    found, layouts = [], set()
    for row in table.rows:
        fields = _trimmed(row)
        if len(fields) == 1:
            found.append(name_only(table, row))
            continue
        layout = _dcase_layout(fields)
        if layout is None:
            raise Mismatch(row.line, f"{_shown(fields)}; expected filename, onset, offset, label.")
        layouts.add(layout)
        if len(layouts) > 1:
            raise Mismatch(row.line, f"{_shown(fields)}; the rows before have another form.")
        at, label, score = layout
        value = "" if score is None else fields[score]
        found.append(timed_row(row.line, fields[0], fields[at], fields[at + 1], fields[label], score=value))
    _refuse_other_lists(table, found)
    return found


def _is_place(row: LabelRow) -> bool:
    """Return whether a row's times are the cut's place in its video, which the organizers put into the name."""
    try:
        _, start, end = video_place(recording_id(row.name))
    except DataError:
        return False
    return (float(start), float(end)) == (row.onset, row.offset)


def read_task4_weak(table: Table) -> list[LabelRow]:
    """Read ``id_start_end.wav start end label`` as tags; other event lists are no tags of this form."""
    found: list[LabelRow] = []
    for row in table.rows:
        fields = _trimmed(row)
        if len(fields) == 1:
            found.append(name_only(table, row))
        elif len(fields) == 4:
            found.append(timed_row(row.line, fields[0], *fields[1:]))
        else:
            raise Mismatch(row.line, f"{_shown(fields)}; expected name, start, end, label.")
    timed = [row for row in found if row.onset is not None]
    places = [row for row in timed if _is_place(row)]
    if not places or not (len(places) == len(timed) or any(row.onset for row in places)):
        raise Mismatch(table.rows[0].line, "the times are not those in the file's name.")
    return [LabelRow(row.line, row.name, row.labels) for row in found]


def read_audacity(table: Table) -> list[LabelRow]:
    """Read ``onset offset label`` of one recording; see `crnn_weak.labels.forms`."""
    found: list[LabelRow] = []
    for row in table.rows:
        fields = row.fields
        if fields[0] == "\\" and found:
            continue  # the frequencies of a spectral selection
        if len(fields) != 3:
            raise Mismatch(row.line, f"{_shown(fields)}; expected onset, offset, label.")
        found.append(timed_row(row.line, None, *fields))
    numbers = [number(row.labels[0]) for row in found]
    if not table.named and all(n is not None and n >= (row.offset or 0) for n, row in zip(numbers, found, strict=True)):
        raise Mismatch(
            found[0].line, "three numbers a row: onset, offset and a number as label, or a file, onset and offset.", 1
        )
    return found


def read_dcase_tags(table: Table) -> list[LabelRow]:
    """Read ``filename label`` and dcase_util's ``filename scene label;label;``."""
    cells = []
    for row in table.rows:
        fields = _trimmed(row)
        if len(fields) <= 2:
            cells.append((row, fields[1] if len(fields) == 2 else ""))
        elif len(fields) <= 4 and ";" in fields[2] and len(set(fields) - {""}) == len(fields):
            cells.append((row, fields[2]))  # file, scene, tags[, identifier]
        else:
            raise Mismatch(
                row.line,
                f"{_shown(fields)}; expected filename and labels: one pair a row, or several labels joined by ; or , "
                "with a tab before or quotes around them.",
            )
    known = set(table.classes) | {text for _, text in cells if text and not set(text) & set(",;")}
    found = [name_only(table, row, labels=split_labels(text, known)) for row, text in cells]
    if table.named:
        _refuse_mixed_names(table, found)
    return found


def _refuse_mixed_names(table: Table, found: list[LabelRow]) -> None:
    """A header in another language has no audio suffix where the names have one."""
    bare = [row for row in found if not has_audio_suffix(row.name)]
    if bare and len(bare) < len(found):
        raise Mismatch(bare[0].line, f"{bare[0].name!r} has no audio suffix, other names have one.")


def read_task4_set(table: Table) -> list[LabelRow]:
    """Read the organizers' ``training_set.csv`` and ``testing_set.csv``."""
    found = []
    for row in table.rows:
        mids = row.fields[4].split(",") if len(row.fields) == 5 else [""]
        if not all(mid.strip()[:3] in _MIDS for mid in mids):
            raise Mismatch(row.line, f'{_shown(row.fields)}; expected id, start, end, "labels", "AudioSet ids".')
        found.append(set_row(table.path, row))
    return found


def set_row(path: str | Path, row: Row, audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> LabelRow:
    """Return one row of a set file, its labels by the AudioSet ids in the last column.

    Raises
    ------
    LabelError
        An AudioSet id is not known.
    DataError
        The row has another number of columns, or times that are no numbers.
    """
    if len(row.fields) != 5:
        raise DataError(
            f'{path}, line {row.line}: {_shown(row.fields)}; expected 5: id,start,end,"labels","AudioSet ids".'
        )
    video, start, end, _, mids = row.fields
    first, last = number(start), number(end)
    if first is None or last is None:
        raise DataError(f"{path}, line {row.line}: {start!r} to {end!r} is not a place in a video, in seconds.")
    labels = []
    for mid in filter(None, (mid.strip() for mid in mids.split(","))):
        if mid not in audioset_ids:
            raise LabelError(
                f"{path}, line {row.line}: AudioSet id {mid!r} is none of the task's classes. "
                f"{nearest_names(mid, audioset_ids)}"
            )
        labels.append(audioset_ids[mid])
    return LabelRow(row.line, f"{video}_{first:.3f}_{last:.3f}", tuple(dict.fromkeys(labels)))
