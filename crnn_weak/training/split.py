"""The validation split: part of the training clips, by recording, stratified by class, seeded; never a test clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crnn_weak.errors import DataError


def choose_clips(n_listed: int, n_clips: int, seed: int) -> np.ndarray:
    """Return the rows to train and validate on: all for `n_clips` 0, else that many at random, sorted.

    The choice of fewer clips is part of the choice of more.
    """
    if n_clips > n_listed:
        raise DataError(f"training.n_clips = {n_clips}: the training split has {n_listed} clips.")
    return np.sort(np.random.default_rng([seed, 0xC11F]).permutation(n_listed)[: n_clips or n_listed])


def validation_split(
    tags: np.ndarray, fraction: float, seed: int, recordings: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into training and validation rows: sorted, disjoint, together all, neither empty.

    Each clip belongs to the stratum of its rarest tag, so that rare classes are spread as evenly as common ones; clips
    without tags form a stratum of their own. A stratum of a single clip stays in training. All clips of a recording go
    to the same side, unless there is only one recording; `fraction` is then that of the recordings.
    """
    names, recording_of = np.unique(np.arange(len(tags)) if recordings is None else recordings, return_inverse=True)
    if 1 < len(names) < len(tags):
        of_recordings = np.zeros((len(names), tags.shape[1]), bool)
        np.logical_or.at(of_recordings, recording_of, tags)
        sides = validation_split(of_recordings, fraction, seed)
        training, validation = (np.flatnonzero(np.isin(recording_of, side)) for side in sides)
        return training, validation
    n_clips, n_classes = tags.shape
    if n_clips < 2:
        raise DataError(f"{n_clips} clip(s) for training and validation: expected at least 2. Add clips.")
    counts = tags.sum(axis=0)
    rarity = np.where(tags, counts[None, :], n_clips + 1)
    strata = np.where(tags.any(axis=1), rarity.argmin(axis=1), n_classes)
    rng = np.random.default_rng([seed, 0x5EED])
    chosen: list[np.ndarray] = []
    remainder = 0.0  # of rounding, carried on so that the strata's shares add up
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        remainder += fraction * len(rows)
        n_chosen = min(int(remainder + 0.5), len(rows) - 1)
        remainder -= n_chosen
        chosen.append(rows[:n_chosen])
    validation = np.sort(np.concatenate(chosen))
    if not len(validation):
        validation = np.array([rng.integers(n_clips)])
    training = np.setdiff1d(np.arange(n_clips), validation)
    return training, validation
