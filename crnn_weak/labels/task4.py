"""The organizers' own label files of DCASE 2017 task 4, read and written as they are.

`training_set.csv`: ``id,start,end,"label,label","mid,mid"``. Two labels hold commas, so only the AudioSet ids can be
split. `groundtruth_weak_label_*`: name, start, end, label, the times being the cut's place in the *video*.
`groundtruth_strong_label_*`: the same with onset and offset in the *clip*; ``0 0 label`` is tagged, but not heard.
`duration_of_files_in_*`: ``Y`` and name, seconds. No file has a header; columns but in set files are split by tabs.
A clip id is ``<video id>_<start>_<end>`` with three decimals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.files import write_text
from crnn_weak.labels.events import AUDIOSET_IDS, Event, Events, by_time
from crnn_weak.labels.names import canonical_id, check_label, check_name, video_place
from crnn_weak.labels.tables import LabelRow, Row, checked_times, number, read_lines, read_rows, write_rows

# How AudioSet ids begin.
_MIDS = ("/m/", "/t/", "/g/")


def is_set_row(fields: list[str]) -> bool:
    """Return whether a row is one of a set file: AudioSet ids in the last of five columns."""
    return len(fields) == 5 and all(mid.strip().startswith(_MIDS) for mid in fields[4].split(","))


def set_row(row: Row, audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> LabelRow:
    """Return one row of a set file, its labels by the AudioSet ids in the last column."""
    where = row.where
    if len(row.fields) != 5:
        raise DataError(f'{where}: {len(row.fields)} columns; expected 5: id,start,end,"labels","AudioSet ids".')
    video, start, end, _, mids = row.fields
    first, last = number(start), number(end)
    if first is None or last is None:
        raise DataError(f"{where}: {start!r} to {end!r} is not a place in a video, in seconds.")
    labels: dict[str, None] = {}
    for mid in filter(None, (mid.strip() for mid in mids.split(","))):
        if mid not in audioset_ids:
            raise LabelError(f"{where}: AudioSet id {mid!r} is not known. {nearest_names(mid, audioset_ids)}")
        labels[audioset_ids[mid]] = None
    return LabelRow(where, f"{video}_{first:.3f}_{last:.3f}", tuple(labels))


def read_set_csv(path: str | Path, audioset_ids: Mapping[str, str] = AUDIOSET_IDS) -> dict[str, tuple[str, ...]]:
    """Read the labels of each clip from a set file, in its order."""
    found: dict[str, tuple[str, ...]] = {}
    for row in read_rows(path, separator=","):
        clip = set_row(row, audioset_ids)
        if clip.name in found:
            raise DataError(f"{clip.where}: clip {clip.name!r} is listed twice.")
        found[clip.name] = clip.labels
    return found


def write_set_csv(
    path: str | Path, tags: Mapping[str, Iterable[str]], audioset_ids: Mapping[str, str] = AUDIOSET_IDS
) -> None:
    """Write a set file, with CRLF; every label needs an AudioSet id."""
    mid_of = {label: mid for mid, label in audioset_ids.items()}
    rows = []
    for clip, labels in tags.items():
        labels = list(labels)
        unknown = next((label for label in labels if label not in mid_of), None)
        if unknown is not None:
            raise LabelError(f"clip {clip!r}: label {unknown!r} has no AudioSet id. {nearest_names(unknown, mid_of)}")
        rows.append([*video_place(clip), ",".join(labels), ",".join(mid_of[label] for label in labels)])
    write_rows(path, rows, separator=",", line_end="\r\n")


def _read_list(path: str | Path) -> dict[str, list[Event]]:
    """Read ``name start end label``, or a name alone, by clip id in its canonical form; the times as they are."""
    found: dict[str, list[Event]] = {}
    names: dict[str, str] = {}
    for where, text in read_lines(path):
        fields = [field.strip() for field in text.rstrip("\t").split("\t")]
        if len(fields) not in (1, 4):
            raise DataError(f"{where}: {len(fields)} columns; expected name, start, end, label, with tabs between.")
        clip = canonical_id(check_name(fields[0], where))
        if names.setdefault(clip, fields[0]) != fields[0]:
            raise DataError(f"{path}: {names[clip]!r} and {fields[0]!r} are both the clip {clip!r}.")
        events = found.setdefault(clip, [])
        if len(fields) == 4:
            events.append(Event(*checked_times(fields[1], fields[2], where), check_label(fields[3], where)))
    return found


def read_weak_tsv(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read the labels of each clip from a weak list; a row of a name alone is a clip without tags."""
    return {clip: tuple(dict.fromkeys(row.label for row in rows)) for clip, rows in _read_list(path).items()}


def read_strong_tsv(path: str | Path) -> dict[str, tuple[Event, ...]]:
    """Read the events of each clip from a strong list; zero-length rows are kept."""
    return {clip: tuple(sorted(events, key=by_time)) for clip, events in _read_list(path).items()}


def _write_list(path: str | Path, rows: Iterable[tuple[str, str, str, str]]) -> None:
    where = str(path)
    lines = [
        [check_name(f"{clip}.wav", where), start, end, check_label(label, where)] for clip, start, end, label in rows
    ]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))


def write_weak_tsv(path: str | Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write a weak list. Clips without tags have no row."""
    _write_list(path, ((clip, *video_place(clip)[1:], label) for clip, labels in tags.items() for label in labels))


def write_strong_tsv(path: str | Path, events: Events) -> None:
    """Write a strong list, three decimals. Clips without events have no row, as in the organizers' files."""
    rows = [
        (clip, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label)
        for clip, found in events.items()
        for event in sorted(found, key=by_time)
    ]
    _write_list(path, rows)


def write_durations(path: str | Path, durations: Mapping[str, float]) -> None:
    """Write durations as the organizers do: a ``Y`` before the id, blanks around the tab, six decimals."""
    write_rows(path, ([f"Y{clip}.wav  ", f" {length:.6f}"] for clip, length in durations.items()))
