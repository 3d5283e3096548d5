"""Event-based detection metrics: events found with onset and offset within a collar.

Equal to ``sed_eval.sound_event.EventBasedMetrics`` with its default, optimal matching. An estimated event may match a
reference event of its own clip and label when::

    |onset - onset_ref|   <= collar
    |offset - offset_ref| <= max(collar, fraction * (offset_ref - onset_ref))     (skipped for onsets only)

so the end of a long event may be missed by up to half its length. `scipy.sparse.csgraph.maximum_bipartite_matching`
matches as many of the allowed pairs as possible, each event once (a greedy first match can find fewer). Unmatched
events of different labels within the collars pair up as substitutions, in the order of the lists; the other unmatched
events are deletions and insertions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import EventTable
from crnn_weak.metrics.counting import Counts, Metrics, check_lengths, event_tables
from crnn_weak.metrics.sed_eval import sed_eval_matching


def _near_pairs(
    reference: EventTable, estimated: EventTable, collar: float, fraction: float, onset_only: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (reference, estimated) rows within the collars, of one clip, by reference row, then estimated."""
    if len(reference.clip) == 0 or len(estimated.clip) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # One axis for all clips, far enough apart that no window reaches a neighbor: a sorted search then finds the
    # candidates of every reference event. The window is wider than the collar; the exact test follows.
    span = max(float(reference.onset.max()), float(estimated.onset.max())) + 2 * collar + 2
    order = np.lexsort((estimated.onset, estimated.clip))
    place = estimated.clip[order] * span + estimated.onset[order]
    center = reference.clip * span + reference.onset
    slack = collar + 1e-3
    start, stop = np.searchsorted(place, center - slack, "left"), np.searchsorted(place, center + slack, "right")
    n_found = stop - start
    rows = np.repeat(np.arange(len(center)), n_found)
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
    """Return a maximum matching of the graph with edges (rows, columns), as two arrays of partners."""
    if not len(rows):
        return rows, columns
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    left, row = np.unique(rows, return_inverse=True)
    right, column = np.unique(columns, return_inverse=True)
    graph = csr_array((np.ones(len(rows), dtype=np.int8), (row, column)), shape=(len(left), len(right)))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    matched = partner >= 0
    return left[matched], right[partner[matched]]


def matched_per_class(
    reference: EventTable,
    estimated: EventTable,
    *,
    n_classes: int,
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> np.ndarray:
    """Return the number of matched events of each class, shape (n_classes,), for threshold searches."""
    # One "clip" for each clip and label, since pairs of different labels cannot match.
    split = [table._replace(clip=table.clip * n_classes + table.label) for table in (reference, estimated)]
    rows, columns = _near_pairs(split[0], split[1], collar_seconds, offset_fraction, onset_only)
    rows, _ = _maximum_matching(rows, columns)
    return np.bincount(reference.label[rows], minlength=n_classes)


def _substituted(clip: np.ndarray, rows: np.ndarray, columns: np.ndarray, same: np.ndarray) -> list[int]:
    """Return the reference rows that pair up with an unmatched estimate of another label.

    Which events stay unmatched depends on which of several maximum matchings is taken, so sed_eval's own is taken in
    the clips where other labels are near.
    """
    other = np.isin(clip[rows], clip[rows[~same]])
    if not other.any():
        return []
    rows, columns, same = rows[other], columns[other], same[other]
    matched_rows, matched_columns = sed_eval_matching(rows[same], columns[same])
    free = ~(np.isin(rows, matched_rows) | np.isin(columns, matched_columns))
    used: set[int] = set()
    paired: list[int] = []
    for row, column in zip(rows[free].tolist(), columns[free].tolist(), strict=True):
        if column not in used and (not paired or paired[-1] != row):
            used.add(column)
            paired.append(row)
    return paired


def count_events(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> Counts:
    """Count the events of two event lists; see `event_metrics` for the parameters."""
    check_lengths(collar_seconds=collar_seconds)
    if not 0 <= offset_fraction <= 1:
        raise DataError(f"offset_fraction = {offset_fraction!r}: expected a share in [0, 1].")
    clip_ids, true, found = event_tables(reference, estimated, classes)
    rows, columns = _near_pairs(true, found, collar_seconds, offset_fraction, onset_only)
    same = true.label[rows] == found.label[columns]
    matched, _ = _maximum_matching(rows[same], columns[same])
    substituted = np.array(_substituted(true.clip, rows, columns, same), dtype=np.int64)
    n_clips, n_classes = len(clip_ids), len(classes)

    def per_class(clip: np.ndarray, label: np.ndarray) -> np.ndarray:
        flat = np.bincount(clip * n_classes + label, minlength=n_clips * n_classes)
        return flat.reshape(n_clips, n_classes)

    n_reference, n_estimated = per_class(true.clip, true.label), per_class(found.clip, found.label)
    n_correct = per_class(true.clip[matched], true.label[matched])
    substitutions = np.bincount(true.clip[substituted], minlength=n_clips)
    n_paired = n_correct.sum(axis=1) + substitutions
    deletions, insertions = n_reference.sum(axis=1) - n_paired, n_estimated.sum(axis=1) - n_paired
    return Counts(n_reference, n_estimated, n_correct, (substitutions, deletions, insertions))


def event_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> Metrics:
    """Score event lists event by event, counted with NumPy and SciPy.

    Zero-length rows count as reference events (the organizers' ``0 0`` rows too), and nothing is cut off at the end of
    a clip. See `crnn_weak.metrics.counting` for 0/0.

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
        Compare onsets only.

    Returns
    -------
    Metrics

    Raises
    ------
    ClipError, LabelError, DataError
        A clip only in the estimate, a label that is not in `classes`, an empty reference, a collar of 0 or less.

    See Also
    --------
    crnn_weak.metrics.sed_eval.reported_event_metrics : The same metrics, by sed_eval.

    Examples
    --------
    >>> from crnn_weak.labels.events import Event
    >>> reference = {"a": [Event(1.0, 5.0, "Car")]}
    >>> event_metrics(reference, {"a": [Event(1.1, 6.9, "Car")]}, classes=["Car"]).f_score  # 1.9 s off, 2 s allowed
    1.0
    """
    settings: dict[str, Any] = {
        "collar_seconds": collar_seconds,
        "offset_fraction": offset_fraction,
        "onset_only": onset_only,
    }
    return Metrics.of_counts(count_events(reference, estimated, classes=classes, **settings), classes, **settings)
