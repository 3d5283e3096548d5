"""Random choices of clips, seeded: some of all, and parts that are stratified by class and divided by recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crnn_weak.errors import DataError


def choose_clips(n_listed: int, n_clips: int, seed: int) -> np.ndarray:
    """Return the sorted rows to train and validate on: all for `n_clips` 0, else that many at random.

    The choice of fewer clips is part of the choice of more.
    """
    if n_clips > n_listed:
        raise DataError(f"training.n_clips = {n_clips}: the training split has {n_listed} clips.")
    return np.sort(np.random.default_rng([seed, 0xC11F]).permutation(n_listed)[: n_clips or n_listed])


def stratified_split(
    tags: np.ndarray,
    fraction: float,
    seed: int,
    recordings: Sequence[str] | None = None,
    *,
    cover_classes: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide clips at random into two parts: sorted rows of the larger one, and of that with a share `fraction`.

    `tags` is boolean, shape (n_clips, n_classes). Each clip belongs to the stratum of its rarest tag, so that rare
    classes are spread as evenly as common ones; clips without tags form a stratum of their own. A stratum of a single
    clip stays in the larger part; with `cover_classes`, one of several clips is in both. `recordings` says what each
    clip was cut from: all clips of a recording go to one part (unless all are of one recording).
    """
    names, recording_of = np.unique(np.arange(len(tags)) if recordings is None else recordings, return_inverse=True)
    if 1 < len(names) < len(tags):
        tags_of_recordings = np.zeros((len(names), tags.shape[1]), bool)
        np.logical_or.at(tags_of_recordings, recording_of, tags)
        parts = stratified_split(tags_of_recordings, fraction, seed, cover_classes=cover_classes)
        larger, smaller = (np.flatnonzero(np.isin(recording_of, part)) for part in parts)
        return larger, smaller
    n_clips, n_classes = tags.shape
    if n_clips < 2:
        raise DataError(f"{n_clips} clip(s) to divide at random: expected at least 2. Add clips.")
    rarity = np.where(tags, tags.sum(axis=0)[None, :], n_clips + 1)
    strata = np.where(tags.any(axis=1), rarity.argmin(axis=1), n_classes)
    rng = np.random.default_rng([seed, 0x5EED])
    drawn: list[np.ndarray] = []
    remainder = 0.0  # of rounding, carried on so that the strata's shares add up
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        remainder += fraction * len(rows)
        n_least = 1 if cover_classes and len(rows) > 1 else 0
        n_drawn = max(min(int(remainder + 0.5), len(rows) - 1), n_least)
        remainder -= n_drawn
        drawn.append(rows[:n_drawn])
    smaller = np.sort(np.concatenate(drawn))
    if not len(smaller):
        smaller = np.array([rng.integers(n_clips)])
    return np.setdiff1d(np.arange(n_clips), smaller), smaller
