"""Data sets: clips with labels, the sources that list them, random choices of clips, a check of their files.

A new source is a function that returns a `Dataset`, one line in `OPENERS`, and the class of its settings in `config`.
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import load_clip, read_header
from crnn_weak.config import Config
from crnn_weak.errors import DataError, nearest_names
from crnn_weak.labels.events import Event
from crnn_weak.labels.writing import write_rows


@dataclass(frozen=True)
class Clip:
    """One audio excerpt and its labels."""

    clip_id: str  # without suffix; may begin with dashes
    split: str  # train, test, evaluation
    path: Path | None  # None: the file is missing
    tags: tuple[str, ...]  # in the order of the classes
    events: tuple[Event, ...] | None = None  # None: times are unknown


@dataclass(frozen=True)
class Dataset:
    """The clips that label files list, by split and in a stable order, with or without a file."""

    name: str
    classes: tuple[str, ...]
    clip_seconds: float
    provenance: str
    fingerprint: str  # of the content, not of the folder
    clips_of: Mapping[str, Sequence[Clip]]
    folder: Path
    unlisted: Sequence[Path] = ()  # audio files that no split lists

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.clips_of)

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split."""
        if split not in self.clips_of:
            raise DataError(f"{self.name}: no split {split!r}. {nearest_names(split, self.splits)}")
        return self.clips_of[split]


#: source name -> module and function, which takes the configuration and a folder for what it synthesizes.
OPENERS = {
    "dcase2017_task4": "crnn_weak.data.task4:open_dcase2017_task4",
    "street": "crnn_weak.data.synthetic:open_street",
    "scenes": "crnn_weak.data.synthetic:open_scenes",
    "folder": "crnn_weak.data.folder:open_folder",
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
    opener = pkgutil.resolve_name(OPENERS[config.data.source])
    dataset: Dataset = opener(config, Path(cache), jobs=jobs, progress=progress)
    return dataset


def choose_clips(n_listed: int, n_clips: int, seed: int) -> np.ndarray:
    """Return sorted rows: all for `n_clips` 0, else that many at random; fewer are a part of more."""
    if n_clips > n_listed:
        raise DataError(f"training.n_clips = {n_clips}: the training split has {n_listed} clips.")
    return np.sort(np.random.default_rng([seed, 0xC11F]).permutation(n_listed)[: n_clips or n_listed])


def stratified_split(
    tags: np.ndarray,
    fraction: float,
    seed: int,
    recordings: Sequence[str] | None = None,  # that clips were cut from: all clips of one go to one part
    *,
    cover_classes: bool = False,  # a stratum of several clips is in both parts; a single clip is in the larger one
) -> tuple[np.ndarray, np.ndarray]:
    """Divide clips at random into two parts: sorted rows of the larger one, and of that with a share `fraction`."""
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
    # Each clip belongs to the stratum of its rarest tag; clips without tags form one of their own.
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


#: The counts of `count_clips`, in their order; only decoding shows what is odd.
COUNTS = ("listed", "found", "missing", "short", "unreadable", "odd")


class CheckedClip(NamedTuple):
    """One clip; it is odd where it is usable and has a reason."""

    clip: Clip
    status: str  # ok, short (usable, padded with zeros), missing, unreadable
    seconds: float | None = None
    reason: str = ""  # why it is unreadable, or what is odd about it
    sha256: str = ""

    @property
    def is_odd(self) -> bool:
        return bool(self.reason) and self.status in ("ok", "short")


def check_clips(
    dataset: Dataset,
    *,
    splits: Iterable[str] | None = None,
    decode: bool = False,
    checksums: bool = False,
    tolerance_seconds: float = 0.02,  # a clip that lacks as much is short
    jobs: int = 1,
    progress: bool = False,
) -> list[CheckedClip]:
    """Look at the file of every listed clip: at its header, with `decode` at all of it."""

    def check(clip: Clip) -> CheckedClip:
        if clip.path is None:
            return CheckedClip(clip, "missing")
        digest = ""
        warnings: list[str] = []
        try:
            rate, seconds = read_header(clip.path)
            if decode:
                _, seconds = load_clip(clip.path, rate, warnings=warnings)
            if checksums:
                with open(clip.path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (DataError, OSError) as error:
            return CheckedClip(clip, "unreadable", reason=str(error))
        is_short = seconds <= dataset.clip_seconds - tolerance_seconds
        return CheckedClip(clip, "short" if is_short else "ok", seconds, "; ".join(warnings), digest)

    clips = [clip for split in dict.fromkeys(splits or dataset.splits) for clip in dataset.clips(split)]
    bar = tqdm(clips, desc="checking", unit="clip", disable=not progress)
    return list(Parallel(n_jobs=jobs, prefer="threads")(delayed(check)(clip) for clip in bar))


def count_clips(checked: Sequence[CheckedClip], classes: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return `COUNTS` of the clips of one split: of ``"all clips"``, then of each class; found + missing = listed."""
    counts: dict[str, tuple[int, ...]] = {}
    for label in ("all clips", *classes):
        of_label = [one for one in checked if label == "all clips" or label in one.clip.tags]
        states = [one.status for one in of_label]
        missing, short, unreadable = (states.count(state) for state in ("missing", "short", "unreadable"))
        n_odd = sum(one.is_odd for one in of_label)
        counts[label] = (len(states), len(states) - missing, missing, short, unreadable, n_odd)
    return counts


def write_clips(path: str | Path, checked: Iterable[CheckedClip]) -> None:
    """Write one row per clip, tabs between."""
    rows = [["clip", "split", "status", "seconds", "reason", "sha256"]]
    for clip, status, seconds, reason, digest in checked:
        rows.append([clip.clip_id, clip.split, status, "" if seconds is None else f"{seconds:.6f}", reason, digest])
    write_rows(path, rows)
