"""Which column of a label file is which: header names that are understood, and times found without a header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crnn_weak.labels.tables import Row, number

__all__ = ["FILE", "LABELS", "OFFSET", "ONE_LABEL", "ONSET", "SCORE", "SPLIT", "column", "header_columns", "times_at"]

FILE = (
    "filename", "file", "file_name", "filepath", "path", "audio", "audio_file", "wav", "clip", "clip_id", "fname",
    "recording", "name",
)  # fmt: skip
ONSET = ("onset", "event_onset", "start", "start_time", "begin", "begin_time", "start_seconds")
OFFSET = ("offset", "event_offset", "end", "end_time", "stop", "end_seconds")
ONE_LABEL = ("event_label", "label", "class", "category", "tag", "event", "sound_event", "species")
LABELS = ("event_labels", "labels", "classes", "categories", "tags", "events")
SCORE = ("score", "confidence", "probability")
SPLIT = ("split", "subset", "set", "partition")
_OTHER = frozenset((*ONSET, *OFFSET, *ONE_LABEL, *LABELS, *SCORE, *SPLIT, "scene_label", "fold"))


def header_columns(rows: list[Row]) -> dict[str, int] | None:
    """Return the columns by lower-case name when the first row is a header, else None.

    A header names the file column and one other, or onset and offset; DESED's, dcase_util's and the usual names of
    hand-made tables are known.
    """
    if not rows:
        return None
    names = [field.lower().replace(" ", "_") for field in rows[0].fields]
    named_file = any(name in FILE for name in names) and any(name in _OTHER for name in names)
    named_times = any(name in ONSET for name in names) and any(name in OFFSET for name in names)
    return {name: place for place, name in reversed(list(enumerate(names)))} if named_file or named_times else None


def column(columns: Mapping[str, int], names: Iterable[str]) -> int | None:
    """Return the place of the first of the names that the header has, or None."""
    return next((columns[name] for name in names if name in columns), None)


def times_at(fields: list[str]) -> int | None:
    """Return the column of the first of two neighbouring numbers, or None."""
    return next(
        (i for i in range(len(fields) - 1) if number(fields[i]) is not None and number(fields[i + 1]) is not None),
        None,
    )
