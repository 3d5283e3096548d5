"""Data sets: clips with labels, a registry of the sources that list them, and choices of clips at random.

A data set lists clips: id, split, tags, perhaps events, and a file that may be missing. Nothing is decoded here
(`crnn_weak.audio.load_clip`). A new source is one module with one function that returns a `Dataset`, one line in
`SOURCES`, and the class of its settings in `crnn_weak.config`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crnn_weak.config import Config
from crnn_weak.errors import DataError, nearest_names
from crnn_weak.labels.events import Event


@dataclass(frozen=True)
class Clip:
    """One audio excerpt and its labels; `path` is None where the file is missing, `events` where times are unknown.

    Ids have neither suffix nor the organizers' leading ``Y``, and may begin with dashes. Splits are ``"train"``,
    ``"test"`` and, of some sources, ``"evaluation"``. Tags are in the order of the class list.
    """

    clip_id: str
    split: str
    path: Path | None
    tags: tuple[str, ...]
    events: tuple[Event, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """The clips that label files list, by split and in a stable order, with or without a file.

    `provenance` is one line for every table: what the data are and where they come from. `fingerprint` identifies the
    content (label files, seeds, sizes), not the folder. `unlisted` are audio files that no split lists.
    """

    name: str
    classes: tuple[str, ...]
    clip_seconds: float
    provenance: str
    fingerprint: str
    clips_of: Mapping[str, Sequence[Clip]]
    folder: Path
    unlisted: Sequence[Path] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.clips_of)

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split."""
        if split not in self.clips_of:
            raise DataError(f"{self.name}: no split {split!r}. {nearest_names(split, self.splits)}")
        return self.clips_of[split]


#: source name -> (module, function); the function takes the configuration and a folder for what it synthesizes.
SOURCES: dict[str, tuple[str, str]] = {
    "dcase2017_task4": ("crnn_weak.data.task4", "open_dcase2017_task4"),
    "street": ("crnn_weak.data.synthetic", "open_street"),
    "scenes": ("crnn_weak.data.synthetic", "open_scenes"),
    "folder": ("crnn_weak.data.folder", "open_folder"),
}


def open_dataset(config: Config, cache: str | Path, *, jobs: int = 1, progress: bool = False) -> Dataset:
    """Open the source that ``config.data.source`` names; synthesize or cut its clips first where they are missing.

    Parameters
    ----------
    config : Config
    cache : path
        Folder for clips that are synthesized (``street``, ``scenes``) or cut (``folder``); existing ones are reused.
    jobs : int
        Worker processes for these clips.
    progress : bool
        Show a bar.
    """
    module, function = SOURCES[config.data.source]
    opener = getattr(importlib.import_module(module), function)
    dataset: Dataset = opener(config, Path(cache), jobs=jobs, progress=progress)
    return dataset


# --- clips drawn at random -------------------------------------------------------------------------------------------


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
