"""Scenes mixed of recordings: the plan of one scene, and its samples.

A plan is drawn from ``(seed, split, index)`` alone; the samples follow from it. So labels are known without a sample,
and a scene can be rendered in any process, or again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from crnn_weak.audio import load_clip
from crnn_weak.config import ScenesData
from crnn_weak.labels.events import Event
from crnn_weak.synthesis.recordings import Recording

#: Raise it with every change that alters scenes; part of every set's fingerprint.
MIXING_VERSION = 1
#: Files have at most this rate, so that a source's rate and coding cannot be told by what it has above 10 kHz.
MAX_RATE_HZ = 20_000
#: Least and greatest power of an event over its active parts relative to the background's over the same parts.
DEFAULT_SNR_DB = (ScenesData.min_snr_db, ScenesData.max_snr_db)
# Probabilities of 1, 2 and 3 events, of different classes.
_N_EVENTS = (0.5, 0.3, 0.2)
# Root mean square against full scale, uniform.
_BACKGROUND_DB = (-45.0, -25.0)
# Textures last from this to the whole scene, because real events are long.
_TEXTURE_MIN_SECONDS = 2.0
# As much of the recording on both sides of an event is included and faded, so that nothing clicks.
_FADE_SECONDS = 0.010
_TEXTURE_FADE_SECONDS = 0.050
_BACKGROUND_FADE_SECONDS = 0.5
# Beyond this the whole scene is turned down; no ratio changes.
_PEAK = 0.95


@dataclass(frozen=True)
class PlacedSound:
    """One recording in a scene: the begin of its part, where that goes, its active parts in the scene; seconds."""

    recording: Recording
    take_seconds: float
    onset_seconds: float
    length_seconds: float
    snr_db: float
    regions: tuple[tuple[float, float], ...]


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
        """The strong labels, sorted."""
        return tuple(sorted(Event(on, off, s.recording.category) for s in self.sounds for on, off in s.regions))


def plan_scene(
    by_class: Mapping[str, Sequence[Recording]],
    backgrounds: Sequence[Recording],
    *,
    clip_seconds: float,
    seed: Sequence[int],
    snr_db: tuple[float, float] = DEFAULT_SNR_DB,
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
    first, last = recording.regions[0][0], recording.regions[-1][1]
    span = last - first
    looped = recording.texture and len(recording.regions) == 1
    if looped:
        length = round(rng.uniform(min(_TEXTURE_MIN_SECONDS, clip_seconds), clip_seconds), 3)
    else:
        length = min(span, clip_seconds)
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


# --- samples -------------------------------------------------------------------------------------------------------


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
    part = part[: n_clip - begin]
    out[begin : begin + len(part)] = part
    return out


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def render_scene(plan: ScenePlan, sample_rate_hz: int, root: str | Path) -> np.ndarray:
    """Render a scene of recordings in `root`: float32 of shape (n_samples,), peak at most 0.95."""
    root, rate = Path(root), sample_rate_hz
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
