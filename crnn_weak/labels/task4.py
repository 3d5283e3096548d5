"""The organizers' own label files of DCASE 2017 task 4, read and written as they are.

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

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.labels import tables
from crnn_weak.labels.classes import AUDIOSET_IDS
from crnn_weak.labels.events import Event, Events, by_time
from crnn_weak.labels.files import read_events, read_tags
from crnn_weak.labels.list_forms import set_row
from crnn_weak.labels.names import canonical_id, video_place

__all__ = [
    "canonical_id",
    "read_durations",
    "read_set_csv",
    "read_strong_tsv",
    "read_weak_tsv",
    "set_rows",
    "video_place",
    "weak_rows",
    "write_durations",
    "write_set_csv",
    "write_strong_tsv",
    "write_weak_tsv",
]

_Value = TypeVar("_Value")


def _canonical(path: str | Path, found: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return values by clip ids in their canonical form."""
    names: dict[str, str] = {}
    for name in found:
        identifier = canonical_id(name)
        if identifier in names:
            raise DataError(f"{path}: {names[identifier]!r} and {name!r} are both the clip {identifier!r}.")
        names[identifier] = name
    return {identifier: found[name] for identifier, name in names.items()}


def read_set_csv(path: str | Path, audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> dict[str, tuple[str, ...]]:
    """Read a set file; labels come from the AudioSet ids in its last column.

    Returns
    -------
    dict of str to tuple of str
        Labels by clip id, in the file's order.

    Raises
    ------
    LabelError
        An AudioSet id is not known.
    DataError
        A row has another number of columns, or times that are no numbers, or a clip is listed twice; the message has
        file and line.

    See Also
    --------
    write_set_csv
    """
    found: dict[str, tuple[str, ...]] = {}
    for row in (set_row(path, row, audioset_ids) for row in tables.read_rows(path, separator=",")):
        if row.name in found:
            raise DataError(f"{path}, line {row.line}: clip {row.name!r} is listed twice.")
        found[row.name] = row.labels
    return found


def set_rows(tags: Mapping[str, Iterable[str]], audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> list[list[str]]:
    """Return the rows of a set file: id, start, end, labels, AudioSet ids.

    Raises
    ------
    LabelError
        A label has no AudioSet id.
    DataError
        A clip id is not ``<id>_<start>_<end>``.
    """
    mid_of = {label: mid for mid, label in audioset_ids.items()}
    rows = []
    for clip, labels in tags.items():
        labels = list(labels)
        for label in labels:
            if label not in mid_of:
                raise LabelError(f"clip {clip!r}: label {label!r} has no AudioSet id. {nearest_names(label, mid_of)}")
        rows.append([*video_place(clip), ",".join(labels), ",".join(mid_of[label] for label in labels)])
    return rows


def write_set_csv(
    path: str | Path, tags: Mapping[str, Iterable[str]], audioset_ids: Mapping[str, str] = AUDIOSET_IDS
) -> None:
    """Write ``id,start,end,"label,label","mid,mid"`` with CRLF; clip ids are ``<id>_<start>_<end>``.

    See Also
    --------
    read_set_csv
    """
    tables.write_rows(path, set_rows(tags, audioset_ids), separator=",", line_end="\r\n")


def read_weak_tsv(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read ``id_start_end.wav  start  end  label``, one row per clip and label.

    Returns
    -------
    dict of str to tuple of str
        Labels by clip id, in the file's order; a row of a name only (some predictions have them) is a clip
        without tags.

    See Also
    --------
    write_weak_tsv
    """
    return _canonical(path, read_tags(path, form="task4-weak"))


def weak_rows(tags: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the rows of a weak file: name, start, end, label; start and end are those in the clip id."""
    return [[f"{clip}.wav", *video_place(clip)[1:], label] for clip, labels in tags.items() for label in labels]


def write_weak_tsv(path: str | Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write the weak form. Clips without tags have no row.

    See Also
    --------
    read_weak_tsv
    """
    tables.write_rows(path, weak_rows(tags), quote=False)


def read_strong_tsv(path: str | Path) -> dict[str, tuple[Event, ...]]:
    """Read ``id_start_end.wav  onset  offset  label``; zero-length rows are kept.

    Raises
    ------
    DataError
        A row has another number of columns or no valid times; the message has file and line.

    See Also
    --------
    write_strong_tsv
    """
    return _canonical(path, read_events(path, form="dcase"))


def write_strong_tsv(path: str | Path, events: Events) -> None:
    """Write the strong form, three decimals. Clips without events have no row, as in the organizers' files.

    See Also
    --------
    read_strong_tsv
    """
    rows = [
        [f"{clip}.wav", f"{event.onset:.3f}", f"{event.offset:.3f}", event.label]
        for clip, found in events.items()
        for event in sorted(found, key=by_time)
    ]
    tables.write_rows(path, rows, quote=False)


def read_durations(path: str | Path) -> dict[str, float]:
    """Read ``Yid_start_end.wav   seconds``; the ids come back without the ``Y``.

    See Also
    --------
    write_durations
    """
    durations = {}
    for row in tables.read_rows(path, separator="\t"):
        seconds = tables.number(row.fields[1]) if len(row.fields) == 2 else None
        if seconds is None or seconds < 0:
            raise DataError(
                f"{path}, line {row.line}: {', '.join(row.fields)[:60]!r}; expected a name and a duration in seconds, "
                "a tab between."
            )
        durations[canonical_id(row.fields[0], strip_y=True)] = seconds
    return durations


def write_durations(path: str | Path, durations: Mapping[str, float]) -> None:
    """Write durations as the organizers do: a ``Y`` before the id, blanks around the tab, six decimals.

    See Also
    --------
    read_durations
    """
    tables.write_rows(path, ([f"Y{clip}.wav  ", f" {seconds:.6f}"] for clip, seconds in durations.items()), quote=False)
