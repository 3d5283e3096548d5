"""Check a data set: count per split and class the clips that are listed, found, missing, short and unreadable.

*found* + *missing* = *listed*; *short* (usable, padded with zeros) and *unreadable* clips are found. By default only
the files' headers are read; with ``decode=True`` every file is decoded, as the features will.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import load_clip, read_header
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.errors import DataError
from crnn_weak.labels.tables import write_rows


@dataclass(frozen=True)
class CheckedClip:
    """One clip; its status is ok, short, missing or unreadable (for a reason); the checksum may be empty."""

    clip: Clip
    status: str
    seconds: float | None = None
    reason: str = ""
    sha256: str = ""


class CheckRow(NamedTuple):
    """Counts of one class, or of all clips, in one split."""

    split: str
    label: str
    listed: int
    found: int
    missing: int
    short: int
    unreadable: int


@dataclass(frozen=True)
class CheckReport:
    """The status of every clip of a data set."""

    dataset: Dataset
    clips: tuple[CheckedClip, ...]

    @property
    def n_usable(self) -> int:
        """Clips that features can be computed from."""
        return sum(checked.status in ("ok", "short") for checked in self.clips)

    def rows(self) -> list[CheckRow]:
        """Return per split a row for all clips (label ``"all clips"``), then one per class."""
        rows = []
        for split in dict.fromkeys(checked.clip.split for checked in self.clips):
            of_split = [checked for checked in self.clips if checked.clip.split == split]
            rows.append(_count(split, "all clips", of_split))
            for label in self.dataset.classes:
                rows.append(_count(split, label, [checked for checked in of_split if label in checked.clip.tags]))
        return rows

    def write(self, path: str | Path) -> None:
        """Write one row per clip: clip, split, status, seconds, reason, sha256; tabs between."""
        rows = [["clip", "split", "status", "seconds", "reason", "sha256"]]
        for checked in self.clips:
            seconds = "" if checked.seconds is None else f"{checked.seconds:.6f}"
            clip = checked.clip
            rows.append([clip.clip_id, clip.split, checked.status, seconds, checked.reason, checked.sha256])
        write_rows(path, rows)


def _count(split: str, label: str, clips: Sequence[CheckedClip]) -> CheckRow:
    states = [checked.status for checked in clips]
    missing = states.count("missing")
    return CheckRow(
        split, label, len(states), len(states) - missing, missing, states.count("short"), states.count("unreadable")
    )


def _check(clip: Clip, clip_seconds: float, tolerance_seconds: float, decode: bool, checksum: bool) -> CheckedClip:
    if clip.path is None:
        return CheckedClip(clip, "missing")
    digest = ""
    try:
        header = read_header(clip.path)
        seconds = header.duration_seconds
        if decode:
            _, seconds = load_clip(clip.path, header.sample_rate_hz)
        if checksum:
            with open(clip.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (DataError, OSError) as error:
        return CheckedClip(clip, "unreadable", None, str(error), digest)
    is_short = seconds <= clip_seconds - tolerance_seconds
    return CheckedClip(clip, "short" if is_short else "ok", seconds, "", digest)


def check_dataset(
    dataset: Dataset,
    *,
    splits: Iterable[str] | None = None,
    decode: bool = False,
    checksums: bool = False,
    tolerance_seconds: float = 0.02,
    jobs: int = 1,
    progress: bool = False,
) -> CheckReport:
    """Look at the file of every listed clip, in `jobs` threads.

    A clip is short when at least `tolerance_seconds` are missing: the frame hop, as for the features.
    """
    clips = [clip for split in dict.fromkeys(splits or dataset.splits) for clip in dataset.clips(split)]
    tasks = (
        delayed(_check)(clip, dataset.clip_seconds, tolerance_seconds, decode, checksums)
        for clip in tqdm(clips, desc="checking", unit="clip", disable=not progress)
    )
    return CheckReport(dataset, tuple(Parallel(n_jobs=jobs, prefer="threads")(tasks)))
