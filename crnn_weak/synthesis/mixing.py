"""Scenes mixed of isolated recordings. A plan is drawn from ``(seed, split, index)`` alone; its samples follow from it.

A folder has ``meta.csv``, or is ESC-50: its regions are found by energy; rain, wind and waves are backgrounds.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.random import Generator

from crnn_weak.audio import load_clip, read_header
from crnn_weak.errors import DataError
from crnn_weak.files import lock, write_text
from crnn_weak.labels.events import CLASS_LIST, Event
from crnn_weak.labels.reading import read_classes
from crnn_weak.labels.rolls import roll_runs
from crnn_weak.labels.tables import number, read_lines, split_line

logger = logging.getLogger(__name__)

#: Raise it with every change that alters scenes; part of every set's fingerprint.
MIXING_VERSION = 1
#: Files have at most this rate, so that a source's rate and coding cannot be told by what it has above 10 kHz.
MAX_RATE_HZ = 20_000
_CREDITS = ("source", "freesound_id", "title", "author", "licence")
_FRAME_SECONDS, _MIN_GAP_SECONDS, _MIN_REGION_SECONDS = 0.020, 0.3, 0.05
_N_EVENTS = (0.5, 0.3, 0.2)  # probabilities of 1, 2 and 3 events, of different classes
_BACKGROUND_DB = (-45.0, -25.0)  # root mean square against full scale, uniform
# As much of the recording on both sides of an event is included and faded, so that nothing clicks.
_FADE_SECONDS, _TEXTURE_FADE_SECONDS, _BACKGROUND_FADE_SECONDS = 0.010, 0.050, 0.5
_PEAK = 0.95  # beyond this the whole scene is turned down; no ratio changes

Regions = tuple[tuple[float, float], ...]  # (onset, offset) in seconds, sorted


@dataclass(frozen=True)
class Recording:
    """One isolated recording; a texture is steady and has one region, in which it may be cut and repeated."""

    name: str  # path inside the folder
    fold: int
    category: str
    background: bool
    texture: bool
    regions: Regions
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
        """Identity of the content, whatever its path: 12 hexadecimal digits."""
        rows = [
            (r.name, (self.root / r.name).stat().st_size, r.fold, r.category, r.background, r.texture, r.regions)
            for r in self.recordings
        ]
        return hashlib.sha256(json.dumps([self.classes, rows]).encode()).hexdigest()[:12]


def active_regions(audio: np.ndarray, sample_rate_hz: int) -> Regions:
    """Find where a recording is loud: a frame within 20 dB of the 98th percentile, and those within 30 dB around it.

    Short gaps are closed, then short regions dropped (unless none would remain); empty for silence.
    """
    n_frame = max(1, round(_FRAME_SECONDS * sample_rate_hz))
    padded = np.pad(audio.astype(np.float64), (0, -len(audio) % n_frame))
    power = (padded.reshape(-1, n_frame) ** 2).mean(axis=1)
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
    """Read a folder of isolated recordings, decoded by `jobs` threads; the results are stored in `cache`."""
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
        if stray := set(classes) - set(listed):
            raise DataError(f"{class_list}: category {min(stray)!r} of meta.csv is not listed.")
        classes = listed
    return RecordingFolder(root, name, classes, tuple(found))


def _table(path: Path, needed: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Return the rows by column name, each with its place for messages."""
    rows = [split_line(where, text, ",") for where, text in read_lines(path)]
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
            raise DataError(f"{where}: {row['filename']} has no {'category' if regions else 'active segment'}.")
        kind = row["category"], row["role"] == "background", row["texture"] == "1"
        credit = "; ".join(filter(None, (row.get(name, "") for name in _CREDITS)))
        listed.append(Recording(row["filename"], int(row["fold"]), *kind, tuple(sorted(regions)), credit))
    decoded = _decode_all([recording.name for recording in listed], root, cache, jobs, find_regions=False)
    readable = [recording for recording in listed if recording.name in decoded]
    for recording in readable:
        end, seconds = recording.regions[-1][1], decoded[recording.name][0]
        if end > seconds + 0.1:  # encoders and rounded tables move an end by this much
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
        if name not in decoded:
            continue
        seconds, regions = decoded[name]
        if not regions:
            logger.warning("%s: silent, skipped.", root / name)
            continue
        background = row["category"] in ("rain", "sea_waves", "wind")  # they sound like a place, not an event
        texture = len(regions) == 1 and regions[0][1] - regions[0][0] >= 0.95 * seconds
        credit = "; ".join(filter(None, ("ESC-50", row.get("src_file", ""))))
        recordings.append(Recording(name, int(row["fold"]), row["category"], background, texture, regions, credit))
    return recordings


def _decode_all(
    names: Sequence[str], root: Path, cache: Path, jobs: int, *, find_regions: bool
) -> dict[str, tuple[float, Regions]]:
    """Return length and active regions of the readable recordings; stored, until a file changes its size."""
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise DataError(f"{root}: {len(missing)} of {len(names)} listed recordings are missing, e.g. {missing[0]}.")
    sizes = [(name, (root / name).stat().st_size) for name in names]
    # Raise the number with every change of `active_regions`.
    digest = hashlib.sha256(json.dumps([2, find_regions, sizes]).encode()).hexdigest()[:12]
    stored = cache / f"recordings-{digest}" / "recordings.json"
    if not stored.is_file():
        with lock(stored.parent, wait=True):
            if not stored.is_file():  # another process may have decoded the same
                logger.info("%s: decoding %d recordings ...", root, len(names))
                calls = (delayed(_decode)(root / name, find_regions) for name in names)
                write_text(stored, json.dumps(Parallel(n_jobs=jobs, prefer="threads")(calls)))
    rows = json.loads(stored.read_text(encoding="utf-8"))
    faults = [fault for fault, _, _ in rows if fault]
    for fault in faults[:5]:
        logger.warning("skipped: %s", fault)
    if faults:
        logger.warning("%s: %d damaged recordings are skipped.", root, len(faults))
    return {
        name: (seconds, tuple((on, off) for on, off in regions))
        for name, (fault, seconds, regions) in zip(names, rows, strict=True)
        if not fault
    }


def _decode(path: Path, find_regions: bool) -> tuple[str, float, Regions]:
    """Decode a recording to its end: why it cannot be read, its length, its active regions."""
    try:
        if not find_regions:
            return "", read_header(path, decode=True)[1], ()
        audio, seconds = load_clip(path, 16_000)
    except DataError as error:
        return str(error), 0.0, ()
    return "", seconds, active_regions(audio, 16_000)


@dataclass(frozen=True)
class PlacedSound:
    """One recording in a scene: the begin of its part, where that goes, its active parts in the scene; seconds."""

    recording: Recording
    take_seconds: float
    onset_seconds: float
    length_seconds: float
    snr_db: float
    regions: Regions


@dataclass(frozen=True)
class ScenePlan:
    """The background and the sounds of one scene."""

    clip_seconds: float
    background: Recording
    background_start: float
    background_db: float
    sounds: tuple[PlacedSound, ...]

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(sorted(Event(on, off, s.recording.category) for s in self.sounds for on, off in s.regions))


def plan_scene(
    by_class: Mapping[str, Sequence[Recording]],
    backgrounds: Sequence[Recording],
    *,
    clip_seconds: float,
    seed: Sequence[int],
    snr_db: tuple[float, float],
) -> ScenePlan:
    """Draw the scene of `seed` (seed, split, index); `by_class` has the recordings that the split may use."""
    rng = np.random.default_rng(list(seed))
    background = backgrounds[int(rng.integers(len(backgrounds)))]
    start, level = float(rng.uniform(0.0, 1.0)), float(rng.uniform(*_BACKGROUND_DB))
    n_events = min(1 + int(rng.choice(len(_N_EVENTS), p=_N_EVENTS)), len(by_class))
    labels = sorted(by_class)
    sounds = []
    for column in rng.choice(len(labels), n_events, replace=False):
        candidates = by_class[labels[column]]
        recording = candidates[int(rng.integers(len(candidates)))]
        sounds.append(_place(recording, clip_seconds, snr_db, rng))
    return ScenePlan(clip_seconds, background, start, level, tuple(sounds))


def _place(recording: Recording, clip_seconds: float, snr_range_db: tuple[float, float], rng: Generator) -> PlacedSound:
    first = recording.regions[0][0]
    span = recording.regions[-1][1] - first
    looped = recording.texture and len(recording.regions) == 1
    # A texture lasts from two seconds to the whole scene, because real events are long.
    length = round(rng.uniform(min(2.0, clip_seconds), clip_seconds), 3) if looped else min(span, clip_seconds)
    take = round(first + rng.uniform(0.0, 1.0) * max(span - length, 0.0), 3)
    onset = round(rng.uniform(0.0, 1.0) * (clip_seconds - length), 3)
    end = min(onset + length, clip_seconds)
    snr_db = float(rng.uniform(*snr_range_db))
    if looped:
        regions = [(onset, end)]
    else:
        shifted = ((on - take + onset, off - take + onset) for on, off in recording.regions)
        regions = [(max(on, onset), min(off, end)) for on, off in shifted]
    exact = tuple((round(on, 3), round(off, 3)) for on, off in regions if off - on >= 0.001)
    return PlacedSound(recording, take, onset, round(length, 3), snr_db, exact)


@functools.lru_cache(maxsize=128)
def _samples(path: str, rate: int) -> np.ndarray:
    audio, _ = load_clip(path, rate)
    audio.setflags(write=False)
    return audio


def _crossfaded_loop(audio: np.ndarray, n_wanted: int, n_fade: int) -> np.ndarray:
    """Repeat `audio` until it has `n_wanted` samples; the joints are faded at constant power."""
    n_fade = min(n_fade, len(audio) // 2)
    if len(audio) >= n_wanted or n_fade == 0:
        return np.resize(audio, n_wanted)
    ramp = np.sin(0.5 * np.pi * (np.arange(n_fade) + 0.5) / n_fade).astype(np.float32)
    piece = audio.copy()
    piece[:n_fade] *= ramp
    piece[-n_fade:] *= ramp[::-1]
    step = len(audio) - n_fade
    out = np.zeros(n_wanted + len(audio), dtype=np.float32)
    for begin in range(0, n_wanted, step):
        out[begin : begin + len(audio)] += piece
    out[:n_fade] = audio[:n_fade]  # nothing to fade from at the very beginning
    return out[:n_wanted]


def _faded(samples: np.ndarray, n_before: int, n_after: int) -> np.ndarray:
    out = samples.astype(np.float32, copy=True)
    out[:n_before] *= (np.arange(n_before, dtype=np.float32) + 0.5) / np.float32(max(n_before, 1))
    out[len(out) - n_after :] *= ((np.arange(n_after, dtype=np.float32) + 0.5) / np.float32(max(n_after, 1)))[::-1]
    return out


def _sound(placed: PlacedSound, root: Path, rate: int, n_clip: int) -> np.ndarray:
    """Return the placed recording in a silent scene, at its own level."""
    audio = _samples(str(root / placed.recording.name), rate)
    n_fade = round(_FADE_SECONDS * rate)
    first = round(placed.take_seconds * rate)
    n_length = round(placed.length_seconds * rate)
    end_of_region = min(round(placed.recording.regions[-1][1] * rate), len(audio))
    at = round(placed.onset_seconds * rate)
    out = np.zeros(n_clip, dtype=np.float32)
    if placed.recording.texture and n_length > end_of_region - first:
        part = _crossfaded_loop(audio[first:end_of_region], n_length, round(_TEXTURE_FADE_SECONDS * rate))
        part = _faded(part, min(n_fade, n_length // 2), min(n_fade, n_length // 2))
        n_before = 0
    else:
        n_before = min(n_fade, first, at)
        n_after = max(0, min(n_fade, len(audio) - first - n_length))
        part = _faded(audio[first - n_before : first + n_length + n_after], n_before, n_after)
    begin = at - n_before
    out[begin : begin + len(part)] = part[: n_clip - begin]
    return out


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def render_scene(plan: ScenePlan, rate: int, root: Path) -> np.ndarray:
    """Render a scene of recordings in `root`: float32 of shape (n_samples,), peak at most 0.95."""
    n_clip = round(plan.clip_seconds * rate)
    background = _background(plan, root, rate, n_clip)
    scene = background.copy()
    floor = 0.01 * _power(background)
    for placed in plan.sounds:
        sound = _sound(placed, root, rate, n_clip)
        active = np.zeros(n_clip, dtype=bool)
        for on, off in placed.regions:
            active[round(on * rate) : round(off * rate)] = True
        loudness = _power(sound[active])
        if loudness > 0:
            wanted = max(_power(background[active]), floor) * 10 ** (placed.snr_db / 10)
            scene += sound * np.float32(math.sqrt(wanted / loudness))
    peak = float(np.abs(scene).max())
    return scene * np.float32(_PEAK / peak) if peak > _PEAK else scene


def _background(plan: ScenePlan, root: Path, rate: int, n_clip: int) -> np.ndarray:
    audio = _samples(str(root / plan.background.name), rate)
    on, off = plan.background.regions[0][0], plan.background.regions[-1][1]
    audio = audio[round(on * rate) : round(off * rate)]
    room = len(audio) - n_clip  # a longer recording is cut anywhere, a shorter one is looped from anywhere
    begin = int(plan.background_start * (room if room > 0 else len(audio)))
    looped = _crossfaded_loop(audio, begin + n_clip, round(_BACKGROUND_FADE_SECONDS * rate))
    part = looped[begin : begin + n_clip]
    level = math.sqrt(_power(part))
    return part * np.float32(10 ** (plan.background_db / 20) / level) if level > 0 else np.zeros(n_clip, np.float32)
