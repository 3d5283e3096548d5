"""Check a data set: listed, found, missing, short and unreadable clips per split and class, and their lists.

* *listed*: in the label files. *found* + *missing* = listed.
* *short* and *unreadable* are found. A short clip is usable: it is padded with zeros. An unreadable one is not audio,
  is truncated or empty, or (seen only when decoded) holds NaN.
* By default only the files' headers are read; ``decode=True`` decodes every file, as the features will.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import load_clip, read_header
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.data.splits import SplitRow, write_split_list
from crnn_weak.errors import DataError
from crnn_weak.labels.tables import write_rows

__all__ = ["CheckReport", "CheckRow", "CheckedClip", "check_dataset"]


@dataclass(frozen=True)
class CheckedClip:
    """One clip and the state of its file.

    Attributes
    ----------
    clip : Clip
    status : str
        ok, short, missing or unreadable.
    duration_seconds : float or None
        The file's own length.
    reason : str
        Why the file cannot be used.
    sha256 : str
        Of the file; empty where it was not asked for.
    """

    clip: Clip
    status: str
    duration_seconds: float | None = None
    reason: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class CheckRow:
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
    """The state of every clip of a data set."""

    dataset: Dataset
    clips: tuple[CheckedClip, ...]

    @property
    def n_listed(self) -> int:
        return len(self.clips)

    @property
    def n_usable(self) -> int:
        """Clips that features can be made of."""
        return sum(checked.status in ("ok", "short") for checked in self.clips)

    def rows(self) -> list[CheckRow]:
        """Return the table: per split a row for all clips (label ``"all clips"``), then one per class."""
        rows = []
        for split in dict.fromkeys(checked.clip.split for checked in self.clips):
            of_split = [checked for checked in self.clips if checked.clip.split == split]
            rows.append(_count(split, "all clips", of_split))
            for label in self.dataset.classes:
                rows.append(_count(split, label, [checked for checked in of_split if label in checked.clip.tags]))
        return rows

    def write(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write the lists.

        ``clips.tsv`` (clip_id, split, sha256, status), ``missing.tsv``, ``short.tsv``, ``unreadable.tsv`` (the same
        columns), ``unreadable_reasons.tsv``, ``durations.tsv`` (filename, duration) and ``summary.csv`` (the table).

        Raises
        ------
        DataError
            A list is there already and `overwrite` is not given; nothing is written then.
        """
        folder = Path(folder)
        names = ["clips", "missing", "short", "unreadable"]
        paths = [folder / f"{name}.tsv" for name in names]
        reasons, durations, summary = (folder / n for n in ("unreadable_reasons.tsv", "durations.tsv", "summary.csv"))
        for path in (*paths, reasons, durations, summary):
            if path.exists() and not overwrite:
                raise DataError(f"{path} is there already; give --overwrite or another folder.")
        for name, path in zip(names, paths, strict=True):
            write_split_list(
                path,
                (
                    SplitRow(checked.clip.clip_id, checked.clip.split, checked.sha256, checked.status)
                    for checked in self.clips
                    if name in ("clips", checked.status)
                ),
            )
        write_rows(
            reasons,
            [["clip_id", "reason"], *([c.clip.clip_id, c.reason] for c in self.clips if c.status == "unreadable")],
        )
        known = [c for c in self.clips if c.duration_seconds is not None and c.clip.path is not None]
        write_rows(
            durations,
            [["filename", "duration"], *([str(c.clip.path.name), f"{c.duration_seconds:.6f}"] for c in known)],  # type: ignore[union-attr]
        )
        header = list(CheckRow.__dataclass_fields__)
        write_rows(
            summary,
            [header, *([str(getattr(row, name)) for name in header] for row in self.rows())],
            separator=",",
        )
        return [*paths, reasons, durations, summary]


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
        duration = header.duration_seconds
        if decode:
            _, duration = load_clip(clip.path, header.sample_rate_hz)
        if checksum:
            with open(clip.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (DataError, OSError) as error:
        return CheckedClip(clip, "unreadable", None, str(error), digest)
    short = duration <= clip_seconds - tolerance_seconds
    return CheckedClip(clip, "short" if short else "ok", duration, "", digest)


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
    """Look at the file of every listed clip.

    Parameters
    ----------
    dataset : Dataset
    splits : iterable of str, optional
        By default all of the data set.
    decode : bool
        Decode every file to its end instead of reading its header.
    checksums : bool
        Compute the files' SHA-256.
    tolerance_seconds : float
        A clip is short when at least so much is lacking; the frame hop, as for the features.
    jobs : int
        Threads; decoding and reading release Python's lock.
    progress : bool
        Show a bar.
    """
    chosen = list(dict.fromkeys(dataset.splits if splits is None else splits))
    clips = [clip for split in chosen for clip in dataset.clips(split)]
    tasks = (
        delayed(_check)(clip, dataset.clip_seconds, tolerance_seconds, decode, checksums)
        for clip in tqdm(clips, desc="checking", unit="clip", disable=not progress)
    )
    checked = Parallel(n_jobs=jobs, prefer="threads")(tasks)
    return CheckReport(dataset, tuple(checked))
