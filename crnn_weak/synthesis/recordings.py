"""Folders of isolated recordings: their sound, fold and active regions.

Two layouts are read: ``meta.csv`` (columns as `read_recordings` says; more may follow, and ``classes.txt`` sets the
order of the classes), and ESC-50 as it is distributed. ESC-50's regions are found by energy; its rain, wind and sea
waves are backgrounds, not classes, and a clip that is active nearly throughout is a texture.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from crnn_weak.audio import load_clip, read_header
from crnn_weak.errors import DataError
from crnn_weak.files import write_text
from crnn_weak.labels.events import CLASS_LIST
from crnn_weak.labels.reading import read_classes
from crnn_weak.labels.rolls import roll_runs
from crnn_weak.labels.tables import number, read_rows

logger = logging.getLogger(__name__)

#: ESC-50's categories that sound like a place rather than an event.
ESC50_BACKGROUNDS = ("rain", "sea_waves", "wind")
_CREDITS = ("source", "freesound_id", "title", "author", "licence")
_DETECTOR_VERSION = 2
_FRAME_SECONDS, _MIN_GAP_SECONDS, _MIN_REGION_SECONDS = 0.020, 0.3, 0.05
# Encoders and rounded tables move an end by this much.
_SLACK_SECONDS = 0.1


@dataclass(frozen=True)
class Recording:
    """One isolated recording: `name` is its path inside the folder, `regions` when it is active (seconds, sorted).

    A background serves as background only. A texture is steady or quickly repeating and has one region, in which it
    may be cut and repeated. `credit` is source, author and license, where the folder states them.
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
        """Identify the folder's content, independent of its path: 12 hexadecimal digits."""
        rows = [
            (r.name, (self.root / r.name).stat().st_size, r.fold, r.category, r.background, r.texture, r.regions)
            for r in self.recordings
        ]
        return hashlib.sha256(json.dumps([self.classes, rows]).encode()).hexdigest()[:12]


def active_regions(audio: np.ndarray, sample_rate_hz: int) -> tuple[tuple[float, float], ...]:
    """Find where a recording is loud: (onset, offset) in seconds, to a frame's precision; empty for silence.

    A region needs a frame within 20 dB of the level that 2 % of the frames exceed, and lasts while frames stay within
    30 dB of it. Short gaps are closed, then short regions dropped (unless none would remain).
    """
    n_frame = max(1, round(_FRAME_SECONDS * sample_rate_hz))
    n_frames = -(-len(audio) // n_frame)
    padded = np.zeros(n_frames * n_frame, dtype=np.float64)
    padded[: len(audio)] = audio
    power = (padded.reshape(n_frames, n_frame) ** 2).mean(axis=1)
    level = 10 * np.log10(power + 1e-12)
    reference = np.percentile(level, 98)
    if reference < -100:
        return ()
    high, low = level > reference - 20.0, level > reference - 30.0
    _, starts, ends = roll_runs(low[None])
    runs = [(first, last) for first, last in zip(starts.tolist(), ends.tolist(), strict=True) if high[first:last].any()]
    closed: list[tuple[int, int]] = []
    for first, last in runs:
        if closed and (first - closed[-1][1]) * n_frame < _MIN_GAP_SECONDS * sample_rate_hz:
            closed[-1] = (closed[-1][0], last)
        else:
            closed.append((first, last))
    long_enough = [run for run in closed if (run[1] - run[0]) * n_frame >= _MIN_REGION_SECONDS * sample_rate_hz]
    seconds, end = n_frame / sample_rate_hz, len(audio) / sample_rate_hz
    return tuple((round(a * seconds, 3), round(min(b * seconds, end), 3)) for a, b in long_enough or closed)


def read_recordings(root: str | Path, *, cache: str | Path, jobs: int = 1) -> RecordingFolder:
    """Read a folder of isolated recordings, decoded by `jobs` threads; the results are stored in `cache`.

    The columns of ``meta.csv``: filename, fold, category, role (event or background), texture (0 or 1), segments
    (on-off;on-off).
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of recordings; set data.root to it.")
    if (root / "meta.csv").is_file():
        found, name = _read_meta(root, Path(cache), jobs), root.resolve().name
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


def _table(path: Path, needed: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Return the rows by column name, each with its place for messages."""
    rows = read_rows(path, separator=",")
    header = rows[0].fields if rows else []
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise DataError(f"{path}: the header lacks {', '.join(lacking)}; expected {', '.join(needed)}.")
    if len(rows) == 1:
        raise DataError(f"{path}: lists no recording.")
    table = []
    for where, fields in rows[1:]:
        if len(fields) != len(header):
            raise DataError(f"{where}: {len(fields)} columns, the header has {len(header)}.")
        row = dict(zip(header, fields, strict=True))
        if not row["fold"].isdecimal():
            raise DataError(f"{where}: fold {row['fold']!r} is not a whole number.")
        table.append((where, row))
    return table


def _read_meta(root: Path, cache: Path, jobs: int) -> list[Recording]:
    path = root / "meta.csv"
    listed = []
    for where, row in _table(path, ("filename", "fold", "category", "role", "texture", "segments")):
        regions = []
        for part in filter(None, row["segments"].split(";")):
            on, off = (number(text) for text in part.partition("-")[::2])
            if on is None or off is None or not 0 <= on < off:
                raise DataError(f"{where}: segment {part!r}, expected on-off in seconds.")
            regions.append((on, off))
        for name, allowed in (("texture", ("0", "1")), ("role", ("event", "background"))):
            if row[name] not in allowed:
                raise DataError(f"{where}: {name} {row[name]!r}, expected {' or '.join(allowed)}.")
        if not regions or not row["category"]:
            what = "category" if regions else "active segment"
            raise DataError(f"{where}: {row['filename']} has no {what}.")
        background, texture = row["role"] == "background", row["texture"] == "1"
        credit = "; ".join(filter(None, (row.get(name, "") for name in _CREDITS)))
        fold, in_order = int(row["fold"]), tuple(sorted(regions))
        listed.append(Recording(row["filename"], fold, row["category"], background, texture, in_order, credit))
    decoded = _decode_all([recording.name for recording in listed], root, cache, jobs, find_regions=False)
    readable = [recording for recording in listed if not decoded[recording.name].fault]
    for recording in readable:
        (_, end), seconds = recording.regions[-1], decoded[recording.name].seconds
        if end > seconds + _SLACK_SECONDS:
            raise DataError(
                f"{path}: {recording.name} is active until {end:g} s and has {seconds:.2f} s; segments are seconds "
                "from its start."
            )
    return readable


def _read_esc50(root: Path, cache: Path, jobs: int) -> list[Recording]:
    rows = [row for _, row in _table(root / "meta" / "esc50.csv", ("filename", "fold", "category"))]
    names = [f"audio/{row['filename']}" for row in rows]
    decoded = _decode_all(names, root, cache, jobs, find_regions=True)
    recordings = []
    for row, name in zip(rows, names, strict=True):
        fault, seconds, regions = decoded[name]
        if not regions:
            if not fault:
                logger.warning("%s: silent, skipped.", root / name)
            continue
        background = row["category"] in ESC50_BACKGROUNDS
        texture = len(regions) == 1 and regions[0][1] - regions[0][0] >= 0.95 * seconds
        credit = "; ".join(filter(None, ("ESC-50", row.get("src_file", ""))))
        recordings.append(Recording(name, int(row["fold"]), row["category"], background, texture, regions, credit))
    return recordings


class _Decoded(NamedTuple):
    """The result of decoding a recording to its end: why it cannot be read, its length, its active regions."""

    fault: str
    seconds: float
    regions: tuple[tuple[float, float], ...] = ()


def _decode_all(names: Sequence[str], root: Path, cache: Path, jobs: int, *, find_regions: bool) -> dict[str, _Decoded]:
    """Decode the recordings, unless an earlier call did and no file has changed its size since."""
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise DataError(f"{root}: {len(missing)} of {len(names)} listed recordings are missing, e.g. {missing[0]}.")
    sizes = [(name, (root / name).stat().st_size) for name in names]
    digest = hashlib.sha256(json.dumps([_DETECTOR_VERSION, find_regions, sizes]).encode()).hexdigest()[:12]
    stored = cache / f"recordings-{digest}.json"
    if not stored.is_file():
        logger.info("%s: decoding %d recordings ...", root, len(names))
        calls = (delayed(_decode)(root / name, find_regions) for name in names)
        write_text(stored, json.dumps(Parallel(n_jobs=jobs, prefer="threads")(calls)))
    rows = json.loads(stored.read_text(encoding="utf-8"))
    decoded = {
        name: _Decoded(fault, seconds, tuple((on, off) for on, off in regions))
        for name, (fault, seconds, regions) in zip(names, rows, strict=True)
    }
    faults = [found.fault for found in decoded.values() if found.fault]
    for fault in faults[:5]:
        logger.warning("skipped: %s", fault)
    if faults:
        logger.warning("%s: %d damaged recordings are skipped.", root, len(faults))
    return decoded


def _decode(path: Path, find_regions: bool) -> _Decoded:
    try:
        if not find_regions:
            return _Decoded("", read_header(path, decode=True)[1])
        audio, seconds = load_clip(path, 16_000)
    except DataError as error:
        return _Decoded(str(error), 0.0)
    return _Decoded("", seconds, active_regions(audio, 16_000))
