"""The validation split: part of the training clips, by recording, stratified by class, seeded; never a test clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crnn_weak.errors import DataError

__all__ = ["choose_clips", "validation_split"]


def choose_clips(n_listed: int, n_clips: int, seed: int) -> np.ndarray:
    """Return the rows to train and validate on: all for `n_clips` 0, else that many at random, sorted.

    The choice of fewer clips is part of the choice of more.

    Raises
    ------
    DataError
        There are fewer.
    """
    if n_clips > n_listed:
        raise DataError(f"training.n_clips = {n_clips}: the training split has {n_listed} clips.")
    return np.sort(np.random.default_rng([seed, 0xC11F]).permutation(n_listed)[: n_clips or n_listed])


def validation_split(
    tags: np.ndarray, fraction: float, seed: int, recordings: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the rows of a store into training and validation rows.

    Each clip belongs to the stratum of its rarest tag, so that the rare classes are spread as evenly as the common
    ones; clips without tags form a stratum of their own. A stratum of a single clip stays in training.

    Parameters
    ----------
    tags : np.ndarray of bool, shape (n_clips, n_classes)
    fraction : float in (0, 1)
        Share of the clips for validation; of the recordings where clips share one.
    seed : int
    recordings : sequence of str, optional
        What each clip was cut from: all clips of a recording go to one side. Of a single recording they cannot.

    Returns
    -------
    training, validation : np.ndarray of int
        Sorted rows, disjoint, together all rows; neither is empty.

    Raises
    ------
    DataError
        There are fewer than two clips.
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
    owed = 0.0  # what rounding has left behind, so that the strata's shares add up
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        owed += fraction * len(rows)
        n_chosen = min(int(owed + 0.5), len(rows) - 1)
        owed -= n_chosen
        chosen.append(rows[:n_chosen])
    validation = np.sort(np.concatenate(chosen))
    if not len(validation):
        validation = np.array([rng.integers(n_clips)])
    training = np.setdiff1d(np.arange(n_clips), validation)
    return training, validation
