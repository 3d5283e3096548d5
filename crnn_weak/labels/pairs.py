"""Two label files as a reference and an estimate: of one kind, over the same recordings.

Recordings are matched by their paths (`crnn_weak.labels.names.match_ids`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crnn_weak.errors import DataError
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.events import Event
from crnn_weak.labels.names import match_ids
from crnn_weak.labels.reading import LabelFile, read_files, refuse_splits, united
from crnn_weak.labels.tables import LabelRow

#: Events or tags of recordings.
Labels = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class LabelPair:
    """Events or tags of a reference and an estimate by recording, with notes for the reader of the result."""

    kind: str
    reference: Labels
    estimated: Labels
    notes: tuple[str, ...] = ()


def _kind(files: Sequence[LabelFile]) -> str:
    """Return the kind under which the files can be scored together."""
    unclear = next((file.path for file in files if file.kind == "unclear"), None)
    if unclear is not None:
        raise DataError(
            f"{unclear}: the times may be those of events, or the clips' places in other recordings. "
            "Say which with --events or --tags."
        )
    tags = next((file.path for file in files if file.kind == "tags"), None)
    if tags is not None and any(file.kind == "events" for file in files):
        raise DataError(
            f"{tags}: holds tags, the other file events. Score both as tags with --tags, or give two event lists."
        )
    return "events" if tags is None else "tags"


def read_pair(
    reference: str | Path,
    estimated: str | Path | None = None,
    *,
    kind: str | None = None,
    classes: Sequence[str] = (),
    strip_y: bool = False,
    input_format: str | None = None,
    min_score: float | None = None,
    drop_zero_length: bool = False,
) -> LabelPair:
    """Read a reference and an estimate, which is empty where it is not given; see `read_files` for the options.

    `min_score` filters the estimate, `drop_zero_length` events of the reference. The kind is found from the files where
    it is not given.
    """
    options: dict[str, Any] = {"kind": kind, "classes": classes, "input_format": input_format}
    references = read_files(reference, **options)
    estimates = [] if estimated is None else read_files(estimated, min_score=min_score, **options)
    refuse_splits([*references, *estimates])
    kind = kind or _kind([*references, *estimates])
    if estimates and not Path(reference).is_dir() and not any(row.name for row in _rows(references + estimates)):
        # Lists of one recording without its name are named after their files, which differ.
        references = [replace(references[0], rows=references[0].rows or (LabelRow(1, ""),))]
        estimates = [replace(estimates[0], recording=references[0].recording)]

    def labels(file: LabelFile) -> Labels:
        return dict(file.tags(strip_y=strip_y) if kind == "tags" else file.events(strip_y=strip_y))

    expected, found = united(references, labels), united(estimates, labels)
    ids = match_ids(found, expected, where=str(estimated))
    found = {ids[name]: rows for name, rows in found.items()}
    if drop_zero_length and kind == "events":
        expected = without_zero_length(expected)
    notes = list(_notes(kind, expected, found if estimated is not None else expected))
    if min_score is None:
        notes += _score_notes([*references, *estimates])
    return LabelPair(kind, expected, found, tuple(notes))


def _rows(files: Iterable[LabelFile]) -> Iterator[LabelRow]:
    return (row for file in files for row in file.rows)


def _notes(kind: str, reference: Labels, estimated: Labels) -> Iterator[str]:
    missing = sum(clip not in estimated for clip in reference)
    if missing:
        yield f"{missing} of {len(reference)} clips have no row in the estimate: counted as empty"
    zero = sum(event.offset == event.onset for rows in reference.values() for event in rows) if kind == "events" else 0
    if zero:
        yield (
            f"{zero} zero-length rows in the reference (labeled, but not heard): the event-based metrics count "
            "them as events to be found, --drop-zero-length skips them"
        )


def _score_notes(files: Iterable[LabelFile]) -> Iterator[str]:
    for file in files:
        scores = file.scores()
        if scores:
            yield (
                f"{file.path} has scores from {min(scores):g} to {max(scores):g}: every row counts; --min-score S "
                "drops lower ones from the estimate"
            )


def without_zero_length(events: Mapping[str, Iterable[Event]]) -> dict[str, tuple[Event, ...]]:
    """Return the events without zero-length rows; their clips stay."""
    return {clip: tuple(event for event in rows if event.offset > event.onset) for clip, rows in events.items()}


def labels_of(lists: Mapping[str, Iterable[Any]]) -> set[str]:
    """Return the labels of an event or tag list."""
    return {row.label if isinstance(row, Event) else str(row) for rows in lists.values() for row in rows}


def class_list(*lists: Mapping[str, Iterable[Any]]) -> tuple[str, ...]:
    """Return the labels of event or tag lists: the task's 17 in its order where all are of them, else sorted."""
    found = set().union(*(labels_of(one) for one in lists))
    return DCASE2017_TASK4 if found and found <= set(DCASE2017_TASK4) else tuple(sorted(found))
