"""Folders of isolated recordings: their sound, fold and active regions.

Two layouts are read:

``meta.csv``
    columns ``filename, fold, category, role (event or background), texture (0 or 1), segments (on-off;on-off)``, more
    may follow; beside it, optionally, ``classes.txt``.
ESC-50
    ``meta/esc50.csv`` (``filename, fold, target, category, ...``) and ``audio/``, as it is distributed. Its clips
    have no regions: they are found by energy (`active_regions`). Rain, wind and sea waves serve as backgrounds and
    are then no classes. A clip that is active nearly throughout is a texture.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from crnn_weak.audio import load_clip, read_header
from crnn_weak.errors import DataError
from crnn_weak.files import write_text
from crnn_weak.labels.classes import CLASS_LIST
from crnn_weak.labels.files import read_classes
from crnn_weak.labels.rolls import roll_runs
from crnn_weak.labels.tables import number, read_rows

__all__ = ["ESC50_BACKGROUNDS", "Recording", "RecordingFolder", "active_regions", "read_recordings"]

logger = logging.getLogger(__name__)

#: ESC-50's categories that sound like a place rather than an event.
ESC50_BACKGROUNDS = ("rain", "sea_waves", "wind")
_CREDITS = ("source", "freesound_id", "title", "author", "licence")
_DETECTOR_VERSION = 2
# Encoders and rounded tables move an end by this much.
_SLACK_SECONDS = 0.1


@dataclass(frozen=True)
class Recording:
    """One isolated recording.

    Attributes
    ----------
    name : str
        Its path inside the folder.
    fold : int
    category : str
    background : bool
        Serves as background; its category is no class.
    texture : bool
        Steady or quickly repeating, one region: it may be cut and repeated inside its region.
    regions : tuple of (float, float)
        When it is active, in seconds, sorted, disjoint, at least one.
    credit : str
        Source, author and license, where the folder says them.
    """

    name: str
    fold: int
    category: str
    background: bool
    texture: bool
    regions: tuple[tuple[float, float], ...]
    credit: str = ""


@dataclass(frozen=True)
class RecordingFolder:
    """All recordings of a folder."""

    root: Path
    name: str
    classes: tuple[str, ...]
    recordings: tuple[Recording, ...]

    @property
    def content(self) -> str:
        """Names the folder's content (not its place): 12 hexadecimal digits."""
        rows = [
            (r.name, (self.root / r.name).stat().st_size, r.fold, r.category, r.background, r.texture, r.regions)
            for r in self.recordings
        ]
        return hashlib.sha256(json.dumps([self.classes, rows]).encode()).hexdigest()[:12]


def active_regions(
    audio: np.ndarray,
    sample_rate_hz: int,
    *,
    frame_seconds: float = 0.020,
    high_db: float = 20.0,
    low_db: float = 30.0,
    gap_seconds: float = 0.3,
    min_seconds: float = 0.05,
) -> tuple[tuple[float, float], ...]:
    """Find where a recording is loud: frames above a threshold, with hysteresis, short gaps closed.

    Parameters
    ----------
    audio : np.ndarray, shape (n_samples,)
    sample_rate_hz : int
    frame_seconds : float
    high_db, low_db : float
        A region needs a frame within `high_db` of the level that 2 % of the frames exceed, and lasts while frames
        stay within `low_db` of it.
    gap_seconds, min_seconds : float
        Shorter gaps are closed, then shorter regions dropped (unless none would be left).

    Returns
    -------
    tuple of (onset, offset)
        Seconds, to a frame's precision; empty for silence.

    Notes
    -----
    The thresholds were chosen by the regions that real-events-17 gives for 293 of its recordings: with these the
    mean overlap (intersection over union) is 0.96, and 96 % have the same number of regions.
    """
    n_frame = max(1, round(frame_seconds * sample_rate_hz))
    n_frames = -(-len(audio) // n_frame)
    padded = np.zeros(n_frames * n_frame, dtype=np.float64)
    padded[: len(audio)] = audio
    power = (padded.reshape(n_frames, n_frame) ** 2).mean(axis=1)
    level = 10 * np.log10(power + 1e-12)
    reference = np.percentile(level, 98)
    if reference < -100:
        return ()
    high, low = level > reference - high_db, level > reference - low_db
    _, starts, ends = roll_runs(low[None])
    runs = [(first, last) for first, last in zip(starts.tolist(), ends.tolist(), strict=True) if high[first:last].any()]
    closed: list[tuple[int, int]] = []
    for first, last in runs:
        if closed and (first - closed[-1][1]) * n_frame < gap_seconds * sample_rate_hz:
            closed[-1] = (closed[-1][0], last)
        else:
            closed.append((first, last))
    long_enough = [run for run in closed if (run[1] - run[0]) * n_frame >= min_seconds * sample_rate_hz]
    seconds, end = n_frame / sample_rate_hz, len(audio) / sample_rate_hz
    return tuple((round(a * seconds, 3), round(min(b * seconds, end), 3)) for a, b in long_enough or closed)


def read_recordings(root: str | Path, *, cache: str | Path, jobs: int = 1) -> RecordingFolder:
    """Read a folder of isolated recordings.

    Parameters
    ----------
    root : path
    cache : path
        Regions that had to be found by energy are kept here.
    jobs : int
        Threads for finding them.

    Raises
    ------
    DataError
        The folder has neither layout, a listed file is missing, or a row is malformed (with file and line).
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of recordings; set data.root to it.")
    if (root / "meta.csv").is_file():
        found, name = _whole(_read_meta(root), root, Path(cache), jobs), root.resolve().name
    elif (root / "meta" / "esc50.csv").is_file():
        found, name = _read_esc50(root, Path(cache), jobs), "ESC-50"
    else:
        raise DataError(
            f"{root}: expected meta.csv (filename, fold, category, role, texture, segments) or ESC-50's meta/esc50.csv."
        )
    classes = tuple(sorted({recording.category for recording in found if not recording.background}))
    class_list = root / CLASS_LIST
    if class_list.is_file():
        listed = read_classes(class_list)
        stray = set(classes) - set(listed)
        if stray:
            raise DataError(f"{class_list}: category {min(stray)!r} of meta.csv is not listed.")
        classes = listed
    return RecordingFolder(root, name, classes, tuple(found))


def _table(path: Path, needed: tuple[str, ...]) -> list[tuple[int, Mapping[str, str]]]:
    rows = read_rows(path, separator=",")
    header = rows[0].fields if rows else []
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise DataError(f"{path}: the header lacks {', '.join(lacking)}; expected {', '.join(needed)}.")
    if len(rows) == 1:
        raise DataError(f"{path}: lists no recording.")
    for line, fields in rows[1:]:
        if len(fields) != len(header):
            raise DataError(f"{path}, line {line}: {len(fields)} columns, the header has {len(header)}.")
    return [(line, dict(zip(header, fields, strict=True))) for line, fields in rows[1:]]


def _fold(path: Path, line: int, text: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{path}, line {line}: fold {text!r} is not a whole number.")
    return int(text)


def _read_meta(root: Path) -> list[Recording]:
    path = root / "meta.csv"
    found = []
    for line, row in _table(path, ("filename", "fold", "category", "role", "texture", "segments")):
        regions = []
        for part in filter(None, row["segments"].split(";")):
            on, off = (number(text) for text in part.partition("-")[::2])
            if on is None or off is None or not 0 <= on < off:
                raise DataError(f"{path}, line {line}: segment {part!r}, expected on-off in seconds.")
            regions.append((on, off))
        if not regions:
            raise DataError(f"{path}, line {line}: {row['filename']} has no active segment.")
        if row["texture"] not in ("0", "1"):
            raise DataError(f"{path}, line {line}: texture {row['texture']!r}, expected 0 or 1.")
        if not row["category"]:
            raise DataError(f"{path}, line {line}: the category is empty.")
        if row["role"] not in ("event", "background"):
            raise DataError(f"{path}, line {line}: role {row['role']!r}, expected event or background.")
        found.append(
            Recording(
                row["filename"],
                _fold(path, line, row["fold"]),
                row["category"],
                row["role"] == "background",
                row["texture"] == "1",
                tuple(sorted(regions)),
                "; ".join(filter(None, (row.get(name, "") for name in _CREDITS))),
            )
        )
    return found


def _read_esc50(root: Path, cache: Path, jobs: int) -> list[Recording]:
    path = root / "meta" / "esc50.csv"
    rows = _table(path, ("filename", "fold", "category"))
    names = [f"audio/{row['filename']}" for _, row in rows]
    content = json.dumps(_sizes(names, root)).encode() + path.read_bytes() + bytes([_DETECTOR_VERSION])
    digest = hashlib.sha256(content).hexdigest()[:12]
    kept = cache / f"regions-{digest}.json"
    if kept.is_file():
        regions = json.loads(kept.read_text(encoding="utf-8"))
    else:
        logger.info("%s: finding where %d recordings are active ...", root, len(names))
        regions = dict(
            zip(
                names,
                Parallel(n_jobs=jobs, prefer="threads")(delayed(_regions_of)(root / n) for n in names),
                strict=True,
            )
        )
        write_text(kept, json.dumps(regions))
    found = []
    _warn_of({name: reason for name, (_, _, reason) in regions.items() if reason}, root)
    for (line, row), name in zip(rows, names, strict=True):
        spans, duration, reason = regions[name]
        if not spans:
            if not reason:
                logger.warning("%s: silent, skipped.", root / name)
            continue
        background = row["category"] in ESC50_BACKGROUNDS
        texture = len(spans) == 1 and spans[0][1] - spans[0][0] >= 0.95 * duration
        credit = "; ".join(filter(None, ("ESC-50", row.get("src_file", ""))))
        fold = _fold(path, line, row["fold"])
        found.append(Recording(name, fold, row["category"], background, texture, tuple(map(tuple, spans)), credit))
    return found


def _regions_of(path: Path) -> tuple[tuple[tuple[float, float], ...], float, str]:
    """Return a recording's active regions, its duration, and why it cannot be read."""
    try:
        audio, duration = load_clip(path, 16_000)
    except DataError as error:
        return (), 0.0, str(error)
    return active_regions(audio, 16_000), duration, ""


def _whole(recordings: list[Recording], root: Path, cache: Path, jobs: int) -> list[Recording]:
    """Return the recordings that can be decoded to their end, their segments checked against their lengths.

    What decoding found is kept until a file changes its size.
    """
    names = [recording.name for recording in recordings]
    content = json.dumps(_sizes(names, root))
    kept = cache / f"decoded-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"
    if kept.is_file():
        decoded = json.loads(kept.read_text(encoding="utf-8"))
    else:
        found = Parallel(n_jobs=jobs, prefer="threads")(delayed(_decoded)(root / name) for name in names)
        decoded = dict(zip(names, found, strict=True))
        write_text(kept, json.dumps(decoded))
    _warn_of({name: reason for name, (reason, _) in decoded.items() if reason}, root)
    whole = [recording for recording in recordings if not decoded[recording.name][0]]
    for recording in whole:
        (_, end), seconds = recording.regions[-1], decoded[recording.name][1]
        if end > seconds + _SLACK_SECONDS:
            raise DataError(
                f"{root / 'meta.csv'}: {recording.name} is active until {end:g} s and has {seconds:.2f} s; "
                "segments are seconds from its start."
            )
    return whole


def _sizes(names: Sequence[str], root: Path) -> list[tuple[str, int]]:
    """Return each recording's name and size in bytes.

    Raises
    ------
    DataError
        One is missing.
    """
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise DataError(f"{root}: {len(missing)} of {len(names)} listed recordings are missing, e.g. {missing[0]}.")
    return [(name, (root / name).stat().st_size) for name in names]


def _decoded(path: Path) -> tuple[str, float]:
    """Return why a recording cannot be decoded to its end, or its duration in seconds."""
    try:
        return "", read_header(path, decode=True).duration_seconds
    except DataError as error:
        return str(error), 0.0


def _warn_of(damaged: Mapping[str, str], root: Path) -> None:
    for reason in list(damaged.values())[:5]:
        logger.warning("skipped: %s", reason)
    if damaged:
        logger.warning("%s: %d damaged recordings are skipped.", root, len(damaged))
