"""Check a data set: which clips that it lists are on disk, and count them per split and class.

*found* + *missing* = *listed*; *short* (usable, padded with zeros) and *unreadable* clips are found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import load_clip, read_header
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.errors import DataError
from crnn_weak.labels.tables import write_rows

#: The counts of `count_clips`, in their order.
COUNTS = ("listed", "found", "missing", "short", "unreadable")


class CheckedClip(NamedTuple):
    """One clip; its status is ok, short, missing or unreadable (for a reason); the checksum may be empty."""

    clip: Clip
    status: str
    seconds: float | None = None
    reason: str = ""
    sha256: str = ""


def _check(clip: Clip, clip_seconds: float, tolerance_seconds: float, decode: bool, checksum: bool) -> CheckedClip:
    if clip.path is None:
        return CheckedClip(clip, "missing")
    digest = ""
    try:
        rate, seconds = read_header(clip.path)
        if decode:
            _, seconds = load_clip(clip.path, rate)
        if checksum:
            with open(clip.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (DataError, OSError) as error:
        return CheckedClip(clip, "unreadable", None, str(error), digest)
    is_short = seconds <= clip_seconds - tolerance_seconds
    return CheckedClip(clip, "short" if is_short else "ok", seconds, "", digest)


def check_clips(
    dataset: Dataset,
    *,
    splits: Iterable[str] | None = None,
    decode: bool = False,
    checksums: bool = False,
    tolerance_seconds: float = 0.02,
    jobs: int = 1,
    progress: bool = False,
) -> list[CheckedClip]:
    """Look at the file of every listed clip, in `jobs` threads: at its header, with `decode` at all of it.

    A clip is short when at least `tolerance_seconds` are missing: the frame hop, as for the features.
    """
    clips = [clip for split in dict.fromkeys(splits or dataset.splits) for clip in dataset.clips(split)]
    tasks = (
        delayed(_check)(clip, dataset.clip_seconds, tolerance_seconds, decode, checksums)
        for clip in tqdm(clips, desc="checking", unit="clip", disable=not progress)
    )
    return list(Parallel(n_jobs=jobs, prefer="threads")(tasks))


def count_clips(checked: Sequence[CheckedClip], classes: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return `COUNTS` of the clips of one split: of ``"all clips"``, then of each class."""
    counts: dict[str, tuple[int, ...]] = {}
    for label in ("all clips", *classes):
        states = [one.status for one in checked if label == "all clips" or label in one.clip.tags]
        missing, short, unreadable = (states.count(state) for state in ("missing", "short", "unreadable"))
        counts[label] = (len(states), len(states) - missing, missing, short, unreadable)
    return counts


def write_clips(path: str | Path, checked: Iterable[CheckedClip]) -> None:
    """Write one row per clip: clip, split, status, seconds, reason, sha256; tabs between."""
    rows = [["clip", "split", "status", "seconds", "reason", "sha256"]]
    for clip, status, seconds, reason, digest in checked:
        rows.append([clip.clip_id, clip.split, status, "" if seconds is None else f"{seconds:.6f}", reason, digest])
    write_rows(path, rows)
