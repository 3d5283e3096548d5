"""Event-based detection metrics: is each event found, with its onset and offset within a collar?

Equal to ``sed_eval.sound_event.EventBasedMetrics`` with its default, optimal matching. An estimated event may match
a reference event of its own clip and label when::

    |onset - onset_ref|   <= collar
    |offset - offset_ref| <= max(collar, fraction * (offset_ref - onset_ref))     (left out for onsets only)

so that a long event's end may be missed by up to half its length. Among the allowed pairs a maximum matching is
taken: each event is used once, and as many as possible are used (a greedy first match can find fewer). Reference
and estimated events that stay over, of different labels but within the collars, pair up as substitutions, first
come first served in the order of the lists; the other leftovers are deletions and insertions, and
ER = (S + D + I) / N_ref.

Zero-length rows count as reference events (the organisers' ``0 0`` rows too): drop them before, where "labelled but
not heard" should not be looked for. Nothing is cut off at a clip's end. See `crnn_weak.metrics.counting` for 0/0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crnn_weak.activity import EventTable, event_table
from crnn_weak.errors import DataError
from crnn_weak.labels.events import Events
from crnn_weak.metrics.counting import Counts, DetectionMetrics, check_clips, check_lengths

__all__ = ["EventMetrics", "count_events", "event_counts", "event_metrics", "matched_per_class"]


@dataclass(frozen=True, kw_only=True)
class EventMetrics(DetectionMetrics):
    """Event-based figures and the collars that they rest on."""

    collar_seconds: float
    offset_fraction: float
    onset_only: bool


def _near_pairs(
    reference: EventTable, estimated: EventTable, collar: float, fraction: float, onset_only: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (reference, estimated) rows within the collars, of one clip, by reference row, then estimated."""
    if len(reference.clip) == 0 or len(estimated.clip) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # One axis for all clips, far enough apart that no window reaches a neighbour: a sorted search then finds the
    # candidates of every reference event. The window is wider than the collar; the exact test follows.
    span = max(float(reference.onset.max()), float(estimated.onset.max())) + 2 * collar + 2
    order = np.lexsort((estimated.onset, estimated.clip))
    place = estimated.clip[order] * span + estimated.onset[order]
    centre = reference.clip * span + reference.onset
    slack = collar + 1e-3
    start, stop = np.searchsorted(place, centre - slack, "left"), np.searchsorted(place, centre + slack, "right")
    n_found = stop - start
    rows = np.repeat(np.arange(len(centre)), n_found)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(n_found) - n_found, n_found)
    columns = order[np.repeat(start, n_found) + within]
    near = reference.clip[rows] == estimated.clip[columns]
    near &= np.abs(reference.onset[rows] - estimated.onset[columns]) <= collar
    if not onset_only:
        length = reference.offset[rows] - reference.onset[rows]
        off_by = np.abs(reference.offset[rows] - estimated.offset[columns])
        near &= off_by <= np.maximum(collar, fraction * length)
    rows, columns = rows[near], columns[near]
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def _maximum_matching(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a maximum matching of the graph with edges (rows, columns), as two arrays of partners.

    Nearly all edges stand alone and match at once. The rest goes to sed_eval's own matcher: which of several maximum
    matchings is taken decides what is left over for substitutions, so that equal results need equal choices.
    """
    _, row_index, row_count = np.unique(rows, return_inverse=True, return_counts=True)
    _, column_index, column_count = np.unique(columns, return_inverse=True, return_counts=True)
    alone = (row_count[row_index] == 1) & (column_count[column_index] == 1)
    if alone.all():
        return rows, columns
    from sed_eval.util import bipartite_match

    graph: dict[int, list[int]] = {}
    for row, column in zip(rows[~alone].tolist(), columns[~alone].tolist(), strict=True):
        graph.setdefault(column, []).append(row)
    matching = bipartite_match(graph)
    return (
        np.concatenate([rows[alone], np.fromiter(matching.keys(), np.int64, len(matching))]),
        np.concatenate([columns[alone], np.fromiter(matching.values(), np.int64, len(matching))]),
    )


def matched_per_class(
    reference: EventTable,
    estimated: EventTable,
    *,
    n_classes: int,
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> np.ndarray:
    """Return the number of matched events of each class, shape (n_classes,); for searches, which need no more."""
    # One "clip" for each clip and label: pairs of other labels are of no use here, and most pairs are.
    split = [table._replace(clip=table.clip * n_classes + table.label) for table in (reference, estimated)]
    rows, columns = _near_pairs(split[0], split[1], collar_seconds, offset_fraction, onset_only)
    rows, _ = _maximum_matching(rows, columns)
    return np.bincount(reference.label[rows], minlength=n_classes)


def _substitutions(rows: np.ndarray, columns: np.ndarray) -> list[int]:
    """Return the reference rows that pair up with a leftover estimate; edges come sorted by row, then column."""
    used: set[int] = set()
    paired: list[int] = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if column not in used and (not paired or paired[-1] != row):
            used.add(column)
            paired.append(row)
    return paired


def event_counts(
    reference: EventTable,
    estimated: EventTable,
    *,
    n_clips: int,
    n_classes: int,
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> Counts:
    """Count events; see `event_metrics` for the parameters."""
    check_lengths(collar_seconds=collar_seconds)
    if not 0 <= offset_fraction <= 1:
        raise DataError(f"offset_fraction = {offset_fraction!r}: expected a share in [0, 1].")
    rows, columns = _near_pairs(reference, estimated, collar_seconds, offset_fraction, onset_only)
    same = reference.label[rows] == estimated.label[columns]
    matched_rows, matched_columns = _maximum_matching(rows[same], columns[same])
    over = ~(np.isin(rows, matched_rows) | np.isin(columns, matched_columns))
    substituted = _substitutions(rows[over], columns[over])

    def per_class(table: EventTable, chosen: slice | np.ndarray) -> np.ndarray:
        flat = np.bincount(table.clip[chosen] * n_classes + table.label[chosen], minlength=n_clips * n_classes)
        return flat.reshape(n_clips, n_classes)

    n_reference, n_estimated = per_class(reference, slice(None)), per_class(estimated, slice(None))
    n_correct = per_class(reference, matched_rows)
    substitutions = np.bincount(reference.clip[np.array(substituted, dtype=np.int64)], minlength=n_clips)
    return Counts(
        n_reference,
        n_estimated,
        n_correct,
        substitutions,
        n_reference.sum(axis=1) - n_correct.sum(axis=1) - substitutions,
        n_estimated.sum(axis=1) - n_correct.sum(axis=1) - substitutions,
    )


def count_events(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> tuple[tuple[str, ...], Counts]:
    """Return the reference's clips and the counts of each; see `event_metrics` for the parameters."""
    clip_ids = check_clips(reference, estimated)
    tables = [
        event_table(events, clip_ids=clip_ids, classes=classes, where=where)
        for events, where in ((reference, "reference"), (estimated, "estimate"))
    ]
    return clip_ids, event_counts(
        *tables,
        n_clips=len(clip_ids),
        n_classes=len(classes),
        collar_seconds=collar_seconds,
        offset_fraction=offset_fraction,
        onset_only=onset_only,
    )


def event_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> EventMetrics:
    """Score event lists event by event.

    Parameters
    ----------
    reference, estimated : mapping of clip id to sequence of Event
        The reference's clips are scored; those that the estimate lacks count as empty.
    classes : sequence of str
    collar_seconds : float > 0
        How far an onset, and an offset at least, may be off.
    offset_fraction : float in [0, 1]
        The offset's collar is ``max(collar_seconds, offset_fraction * length of the reference event)``.
    onset_only : bool
        Leave the offset out of the test.

    Raises
    ------
    ClipError, LabelError, DataError
        A clip only in the estimate, a label that is not in `classes`, an empty reference, a collar of 0 or less.

    Examples
    --------
    >>> from crnn_weak.labels.events import Event
    >>> reference = {"a": [Event(1.0, 5.0, "Car")]}
    >>> event_metrics(reference, {"a": [Event(1.1, 6.9, "Car")]}, classes=["Car"]).f_score  # 1.9 s off, 2 s allowed
    1.0
    """
    _, counts = count_events(
        reference,
        estimated,
        classes=classes,
        collar_seconds=collar_seconds,
        offset_fraction=offset_fraction,
        onset_only=onset_only,
    )
    settings = {"collar_seconds": collar_seconds, "offset_fraction": offset_fraction, "onset_only": onset_only}
    return EventMetrics.from_counts(counts, classes, **settings)
