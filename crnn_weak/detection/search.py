"""The searches behind `crnn_weak.detection.tuning`, on arrays.

A *choice* is one candidate threshold under one set of filters; counts are known for every choice and class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crnn_weak.labels.rolls import roll_runs

__all__ = ["Curves", "best_error_rate", "best_f1", "counts_at_thresholds", "join"]


class Curves(NamedTuple):
    """Counts at every candidate, shape (n_candidates, n_classes); `n_reference` has shape (n_classes,)."""

    n_reference: np.ndarray
    n_estimated: np.ndarray
    n_correct: np.ndarray


def _at_or_above(values: np.ndarray, weights: np.ndarray | None, n: int) -> np.ndarray:
    """Return for each candidate ``j < n`` the (weighted) number of values above j."""
    counted = np.bincount(values, weights=weights, minlength=n + 1)
    return np.cumsum(counted[::-1])[::-1][1 : n + 1]


def counts_at_thresholds(index: np.ndarray, reference: np.ndarray, n_candidates: int) -> Curves:
    """Count at all thresholds.

    Parameters
    ----------
    index : np.ndarray of int, shape (n, n_classes)
        At how many of the sorted candidates each cell is active (`crnn_weak.detection.curves.candidate_index`).
    reference : np.ndarray of bool, shape (n, n_classes)
    n_candidates : int
    """
    n_classes = index.shape[1]
    estimated = np.stack([_at_or_above(index[:, c], None, n_candidates) for c in range(n_classes)], axis=1)
    correct = np.stack([_at_or_above(index[reference[:, c], c], None, n_candidates) for c in range(n_classes)], axis=1)
    return Curves(reference.sum(axis=0, dtype=np.int64), estimated, correct)


def _middle_best(gain: np.ndarray, n_candidates: int) -> np.ndarray:
    """Return the row of the best gain in each column.

    Among equals it is the middle of the longest run of neighboring candidates: the furthest from where the result
    changes, and so the safest on other clips.
    """
    best = gain.max(axis=0)
    equal = gain >= best - 1e-9 * np.maximum(1.0, np.abs(best))
    chosen = np.zeros(gain.shape[1], dtype=np.int64)
    for column in range(gain.shape[1]):
        # The sets of filters follow each other; a run of equals ends with its set.
        rows, first, last = roll_runs(equal[:, column].reshape(-1, n_candidates))
        longest = int(np.argmax(last - first))
        chosen[column] = rows[longest] * n_candidates + (first[longest] + last[longest] - 1) // 2
    return chosen


def best_f1(curves: Curves, *, per_class: bool, n_candidates: int) -> tuple[np.ndarray, float]:
    """Return the choice of each class that maximizes micro F1, and its value; exact.

    Parameters
    ----------
    curves : Curves
        Rows are choices.
    per_class : bool
    n_candidates : int
        Thresholds under one set of filters; the rows are a multiple of it.
    """
    n_reference, estimated, correct = curves
    classes = np.arange(len(n_reference))

    def value(chosen: np.ndarray) -> float:
        size = n_reference.sum() + estimated[chosen, classes].sum()
        return float(2 * correct[chosen, classes].sum() / size) if size else 0.0

    total = n_reference.sum() + estimated.sum(axis=1)
    common = 2 * correct.sum(axis=1) / np.maximum(total, 1)
    chosen = np.repeat(_middle_best(common[:, None], n_candidates), len(classes))
    if not per_class:
        return chosen, value(chosen)
    present = n_reference > 0
    best = value(chosen)
    while True:
        gain = 2.0 * correct - best * (n_reference + estimated)
        trial = np.where(present, _middle_best(gain, n_candidates), chosen)
        if value(trial) <= best + 1e-12:
            return (trial if value(trial) >= best else chosen), max(best, value(trial))
        chosen, best = trial, value(trial)


def best_error_rate(
    indices: Sequence[np.ndarray], reference: np.ndarray, n_candidates: int, *, per_class: bool
) -> tuple[np.ndarray, float]:
    """Return the choice of each class that minimizes the error rate, and its value.

    In a segment the errors are ``max(N_ref, N_est) - N_correct``. A class that becomes active there adds one where
    the others already fill the reference's number, and takes one off where it is right; the sum over the segments
    that a threshold activates is one cumulative histogram.

    Parameters
    ----------
    indices : sequence of np.ndarray of int, shape (n_segments, n_classes)
        For each set of filters; row ``k * n_candidates + j`` of the choices is candidate ``j`` of set ``k``.
    reference : np.ndarray of bool, shape (n_segments, n_classes)
    n_candidates : int
    per_class : bool
        Heuristic (see `crnn_weak.detection.tuning`); one common choice is exact.
    """
    n_classes = reference.shape[1]
    n_reference = reference.sum(axis=1)
    total = max(int(n_reference.sum()), 1)
    common = []
    for index in indices:
        rank_weight = np.arange(1, n_classes + 1) > n_reference[:, None]  # the k-th active class is one too many
        fall = np.sort(index, axis=1)[:, ::-1]
        inserted = _at_or_above(fall.ravel(), rank_weight.ravel().astype(float), n_candidates)
        correct = _at_or_above(index[reference], None, n_candidates)
        common.append(n_reference.sum() + inserted - correct)
    cost = np.concatenate(common)
    first = int(_middle_best(-cost[:, None], n_candidates)[0])
    start = np.full(n_classes, first)
    if not per_class:
        return start, float(cost[first] / total)
    present = np.flatnonzero(reference.any(axis=0))
    stacked = [counts_at_thresholds(index, reference, n_candidates) for index in indices]
    curves = Curves(
        stacked[0].n_reference,
        np.concatenate([c.n_estimated for c in stacked]),
        np.concatenate([c.n_correct for c in stacked]),
    )
    alone = _middle_best(2.0 * curves.n_correct - curves.n_estimated, n_candidates)  # fewest errors of the class alone
    by_f1, _ = best_f1(curves, per_class=True, n_candidates=n_candidates)
    found = [
        _descend(np.where(reference.any(axis=0), begin, start), indices, reference, n_candidates, present)
        for begin in (start, alone, by_f1)
    ]
    chosen, errors = min(found, key=lambda pair: pair[1])
    return chosen, errors / total


def _descend(
    chosen: np.ndarray,
    indices: Sequence[np.ndarray],
    reference: np.ndarray,
    n_candidates: int,
    present: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Let one class after the other take its best choice until none improves; return choices and errors."""

    def activity(row: int, c: int) -> np.ndarray:
        return indices[row // n_candidates][:, c] > row % n_candidates

    chosen = chosen.copy()
    n_reference = reference.sum(axis=1)
    active = np.stack([activity(row, c) for c, row in enumerate(chosen)], axis=1)
    n_active = active.sum(axis=1)
    changed = True
    while changed:
        changed = False
        for c in present:
            others = n_active - active[:, c]
            delta = (others >= n_reference).astype(float) - reference[:, c]
            cost = np.concatenate([_at_or_above(index[:, c], delta, n_candidates) for index in indices])
            best = int(_middle_best(-cost[:, None], n_candidates)[0])
            if cost[best] < cost[chosen[c]] - 1e-9:
                chosen[c], changed = best, True
                active[:, c] = activity(best, c)
                n_active = others + active[:, c]
    errors = np.maximum(n_reference, n_active).sum() - (active & reference).sum()
    return chosen, float(errors)


def join(parts: Sequence[Curves]) -> Curves:
    """Return the counts of several sets of filters as one list of choices."""
    return Curves(
        parts[0].n_reference,
        np.concatenate([part.n_estimated for part in parts]),
        np.concatenate([part.n_correct for part in parts]),
    )
