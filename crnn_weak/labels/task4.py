"""The organisers' own label files of DCASE 2017 task 4, read and written as they are.

=============================================  ====================================================================
``training_set.csv``, ``testing_set.csv``      ``id,start,end,"label,label","mid,mid"``, CRLF, no header; quotes only
                                               where a field holds a comma. Two labels hold commas, unescaped in the
                                               list: only the AudioSet ids in the last column can be split.
``groundtruth_weak_label_*_set.csv``           ``id_start_end.wav`` TAB start TAB end TAB label; the times are the
                                               cut's place in the *video*
``groundtruth_strong_label_*_set.csv``         the same with onset and offset in the *clip*; ``0 0 label`` means
                                               tagged, but not heard
``duration_of_files_in_*_set.csv``             ``Yid_start_end.wav  `` TAB `` seconds``
=============================================  ====================================================================

No file has a header. Audio and duration files have a ``Y`` before the id, label files do not. The evaluation files
end their lines with CRLF, the others with LF.

A clip id here is ``<video id>_<start>_<end>`` with three decimals; times without decimals are brought to that form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.labels import tables
from crnn_weak.labels.classes import AUDIOSET_IDS
from crnn_weak.labels.events import Event, Events
from crnn_weak.labels.names import recording_id

__all__ = [
    "SetRow",
    "canonical_id",
    "read_durations",
    "read_set_csv",
    "read_strong_tsv",
    "read_weak_tsv",
    "set_row",
    "video_place",
    "write_durations",
    "write_set_csv",
    "write_strong_tsv",
    "write_weak_tsv",
]

# From the right: ids may hold underscores themselves.
_CUT = re.compile(r"(?P<video>.+)_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)$", re.DOTALL)


class SetRow(NamedTuple):
    """One row of ``training_set.csv`` or ``testing_set.csv``."""

    clip_id: str
    labels: tuple[str, ...]


def canonical_id(name: str, *, strip_y: bool = False) -> str:
    """Return the clip id in a file name, its two times with three decimals.

    Examples
    --------
    >>> canonical_id("Y-5QrBL6MzLg_60_70.wav", strip_y=True)
    '-5QrBL6MzLg_60.000_70.000'
    """
    name = recording_id(name, strip_y=strip_y).rpartition("/")[2]
    match = _CUT.match(name)
    return f"{match['video']}_{float(match['start']):.3f}_{float(match['end']):.3f}" if match else name


def video_place(clip_id: str) -> tuple[str, str, str]:
    """Return video id, start and end of a clip id, split from the right.

    Raises
    ------
    DataError
        The id has no such form.

    Examples
    --------
    >>> video_place("--jc0NAxK8M_30.000_40.000")
    ('--jc0NAxK8M', '30.000', '40.000')
    """
    match = _CUT.match(clip_id)
    if not match:
        raise DataError(f"clip id {clip_id!r}: expected <video id>_<start>_<end>, e.g. --jc0NAxK8M_30.000_40.000.")
    return match["video"], match["start"], match["end"]


def _fields(path: str | Path, row: tables.Row, n: int, expected: str) -> list[str]:
    if len(row.fields) != n:
        raise DataError(f"{path}, line {row.line}: {len(row.fields)} columns; expected {n}: {expected}.")
    return row.fields


def read_set_csv(path: str | Path, audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> list[SetRow]:
    """Read a set file; labels come from the AudioSet ids in its last column.

    Raises
    ------
    LabelError
        An AudioSet id is not known.
    DataError
        A row has another number of columns, or times that are no numbers; the message has file and line.
    """
    return [set_row(path, row, audioset_ids) for row in tables.read_rows(path, separator=",")]


def set_row(path: str | Path, row: tables.Row, audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> SetRow:
    """Return one row of a set file; see `read_set_csv`."""
    video, start, end, _, mids = _fields(path, row, 5, 'id,start,end,"labels","AudioSet ids"')
    first, last = tables.number(start), tables.number(end)
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
    return SetRow(f"{video}_{first:.3f}_{last:.3f}", tuple(dict.fromkeys(labels)))


def write_set_csv(
    path: str | Path, tags: Mapping[str, Iterable[str]], audioset_ids: Mapping[str, str] = AUDIOSET_IDS
) -> None:
    """Write ``id,start,end,"label,label","mid,mid"`` with CRLF; clip ids are ``<id>_<start>_<end>``."""
    mid_of = {label: mid for mid, label in audioset_ids.items()}
    rows = []
    for clip, labels in tags.items():
        labels = list(labels)
        for label in labels:
            if label not in mid_of:
                raise LabelError(f"clip {clip!r}: label {label!r} has no AudioSet id. {nearest_names(label, mid_of)}")
        rows.append([*video_place(clip), ",".join(labels), ",".join(mid_of[label] for label in labels)])
    tables.write_rows(path, rows, separator=",", line_end="\r\n")


def read_weak_tsv(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read ``id_start_end.wav  start  end  label``, one row per clip and label.

    Returns
    -------
    dict of str to tuple of str
        Labels by clip id, in the file's order; a row of a name only (some predictions have them) is a clip
        without tags.
    """
    tags: dict[str, dict[str, None]] = {}
    for row in tables.read_rows(path, separator="\t"):
        found = tags.setdefault(canonical_id(row.fields[0]), {})
        if len(row.fields) > 1:
            found[_fields(path, row, 4, "name, start, end, label (tabs between)")[3]] = None
    return {clip: tuple(found) for clip, found in tags.items()}


def write_weak_tsv(path: str | Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write the weak form; start and end are taken from the clip id. Clips without tags have no row."""
    rows = []
    for clip, labels in tags.items():
        _, start, end = video_place(clip)
        rows += [[f"{clip}.wav", start, end, label] for label in labels]
    tables.write_rows(path, rows, quote=False)


def read_strong_tsv(path: str | Path) -> dict[str, tuple[Event, ...]]:
    """Read ``id_start_end.wav  onset  offset  label``; zero-length rows are kept.

    Raises
    ------
    DataError
        A row has another number of columns or no valid times; the message has file and line.
    """
    events: dict[str, list[Event]] = {}
    for row in tables.read_rows(path, separator="\t"):
        found = events.setdefault(canonical_id(row.fields[0]), [])
        if len(row.fields) == 1:
            continue
        _, onset, offset, label = _fields(path, row, 4, "name, onset, offset, label (tabs between)")
        first, last = tables.number(onset), tables.number(offset)
        if first is None or last is None or not 0 <= first <= last:
            raise DataError(
                f"{path}, line {row.line}: event {label!r} from {onset} to {offset} s, expected 0 <= onset <= offset."
            )
        found.append(Event(first, last, label))
    return {clip: tuple(sorted(found, key=_by_time)) for clip, found in events.items()}


def _by_time(event: Event) -> tuple[float, float, str]:
    return event.onset, event.offset, event.label


def write_strong_tsv(path: str | Path, events: Events) -> None:
    """Write the strong form, three decimals. Clips without events have no row, as in the organisers' files."""
    rows = [
        [f"{clip}.wav", f"{event.onset:.3f}", f"{event.offset:.3f}", event.label]
        for clip, found in events.items()
        for event in sorted(found, key=_by_time)
    ]
    tables.write_rows(path, rows, quote=False)


def read_durations(path: str | Path) -> dict[str, float]:
    """Read ``Yid_start_end.wav   seconds``; the ids come back without the ``Y``."""
    durations = {}
    for row in tables.read_rows(path, separator="\t"):
        name, text = _fields(path, row, 2, "name, seconds (a tab between)")
        seconds = tables.number(text)
        if seconds is None or seconds < 0:
            raise DataError(f"{path}, line {row.line}: {text!r} is not a duration in seconds.")
        durations[canonical_id(name, strip_y=True)] = seconds
    return durations


def write_durations(path: str | Path, durations: Mapping[str, float]) -> None:
    """Write durations as the organisers do: a ``Y`` before the id, blanks round the tab, six decimals."""
    tables.write_rows(path, ([f"Y{clip}.wav  ", f" {seconds:.6f}"] for clip, seconds in durations.items()), quote=False)
