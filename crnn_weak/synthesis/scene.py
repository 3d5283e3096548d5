"""A street clip, by (seed, split, index, sample rate); tags and events follow the task's real label files.

Layout, background and each event have random streams of their own: a change to one changes no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import fft

from crnn_weak.labels.events import DCASE2017_TASK4, Event
from crnn_weak.synthesis import tonal, vehicles
from crnn_weak.synthesis.backgrounds import draw_background
from crnn_weak.synthesis.primitives import REFERENCE_HZ, Curve, Studio, curve, log_uniform, peaks

#: Raise it with every change that alters the audio of a given seed; part of every set's fingerprint.
VERSION = 2
#: Level of an event against the background while it sounds, A-weighted, decibels; uniform. See docs/street.md.
SNR_DB = (0.0, 18.0)
SPLITS = {"train": 0, "test": 1}

#: label -> draw(rng) -> play(studio, rng)
SOUNDS = {
    "Train horn": tonal.train_horn,
    "Air horn, truck horn": tonal.air_horn,
    "Car alarm": tonal.car_alarm,
    "Reversing beeps": tonal.reversing_beeps,
    "Bicycle": vehicles.bicycle,
    "Skateboard": vehicles.skateboard,
    "Ambulance (siren)": tonal.ambulance,
    "Fire engine, fire truck (siren)": tonal.fire_engine,
    "Civil defense siren": tonal.civil_defense,
    "Police car (siren)": tonal.police_car,
    "Screaming": tonal.screaming,
    "Car": vehicles.car,
    "Car passing by": vehicles.car_passing_by,
    "Bus": vehicles.bus,
    "Truck": vehicles.truck,
    "Motorcycle": vehicles.motorcycle,
    "Train": vehicles.train,
}

_ALPHABET = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"))
_LAYOUT, _BACKGROUND, _MIX = 0, 1, 2
_SOURCE, _EVENT = 100, 1000  # plus the class, plus the class times 100 and the event's number
#: Made by ``scripts/street_statistics.py``, which says what it contains.
STATISTICS_PATH = Path(__file__).parent / "street_statistics.json"
STATISTICS = json.loads(STATISTICS_PATH.read_text(encoding="utf-8"))
#: Levels of every list of quantiles in the file.
QUANTILES = np.linspace(0.0, 1.0, 21)
CLIP_SECONDS = 10.0
#: An event ends at least this long before the next one of its class begins; nothing is shorter than `_MIN_EVENT`.
_MIN_GAP = 0.10
_MIN_EVENT = 0.25


@cache
def tag_set_weights(split: str, priors: str = "tempered") -> tuple[tuple[tuple[int, ...], ...], np.ndarray]:
    """Return the tag sets of a split (indices into the class list) and their probabilities, as docs/street.md says."""
    rows = STATISTICS["tag_sets"][split]
    sets = tuple(tuple(labels) for _, labels in rows)
    weights = np.array([count for count, _ in rows], dtype=float)
    if split == "train" and priors == "tempered":
        per_class = np.zeros(len(DCASE2017_TASK4))
        for count, labels in rows:
            per_class[labels] += count
        rarest = np.array([per_class[list(labels)].min() for labels in sets])
        weights *= rarest ** (1 / 3 - 1)
    return sets, weights / weights.sum()


def _quantile(rng: Generator, values: Sequence[float]) -> float:
    return float(np.interp(rng.random(), QUANTILES, values))


def _single(rng: Generator, layout: Mapping[str, Any]) -> list[tuple[float, float]]:
    length = max(_quantile(rng, layout["single_event_seconds"]), _MIN_EVENT)
    room = CLIP_SECONDS - length
    position, edge = rng.random(), rng.random()
    if room < _MIN_GAP:
        return [(0.0, CLIP_SECONDS)]
    if edge < layout["single_from_start"]:
        onset = 0.0
    elif edge < layout["single_from_start"] + layout["single_to_end"]:
        onset = room
    else:
        onset = position * room
    return [(onset, onset + length)]


def _repeated(rng: Generator, layout: Mapping[str, Any], n: int) -> list[tuple[float, float]]:
    covered = _quantile(rng, layout["repeated_covered_seconds"] or STATISTICS["repeated_covered_seconds"])
    covered = min(max(covered, n * _MIN_EVENT), CLIP_SECONDS - (n - 1) * _MIN_GAP)
    lengths = _MIN_EVENT + (covered - n * _MIN_EVENT) * rng.dirichlet(np.full(n, 2.0))
    room = CLIP_SECONDS - covered - (n - 1) * _MIN_GAP
    gaps = room * rng.dirichlet(np.ones(n + 1))  # before the first, between, after the last
    onsets = np.cumsum(gaps[:n]) + _MIN_GAP * np.arange(n) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    return [(float(onset), float(onset + length)) for onset, length in zip(onsets, lengths, strict=True)]


def draw_layout(rng: Generator, split: str, priors: str = "tempered") -> tuple[Event, ...]:
    """Draw the events of one clip, sorted by class, then onset; at least one, of one class disjoint."""
    sets, weights = tag_set_weights(split, priors)
    events = []
    for index in sets[rng.choice(len(sets), p=weights)]:
        label = DCASE2017_TASK4[index]
        layout = STATISTICS["layouts"][label]
        counts = layout["events_per_clip"]
        shares = np.array(list(counts.values()), dtype=float)
        n = int(rng.choice([int(key) for key in counts], p=shares / shares.sum()))
        times = _single(rng, layout) if n == 1 else _repeated(rng, layout, n)
        events += [Event(round(onset, 3), round(min(offset, CLIP_SECONDS), 3), label) for onset, offset in times]
    return tuple(events)


@dataclass(frozen=True)
class Scene:
    """Plan of a clip: its events, a signal-to-noise ratio for each class, an invented id like the organizers'."""

    seed: int
    split: str
    index: int
    clip_id: str
    events: tuple[Event, ...]
    snr_db: dict[str, float]


def _stream(seed: int, split: str, index: int, *purpose: int) -> Generator:
    return np.random.default_rng([seed, SPLITS[split], index, *purpose])


def draw_scene(seed: int, split: str, index: int, priors: str = "tempered") -> Scene:
    """Draw a clip's id, events and levels."""
    rng = _stream(seed, split, index, _LAYOUT)
    events = draw_layout(rng, split, priors)
    start = int(rng.integers(0, 60)) * 10
    clip_id = f"{''.join(rng.choice(_ALPHABET, 11))}_{start}.000_{start + 10}.000"
    snr_db = {label: rng.uniform(*SNR_DB) for label in dict.fromkeys(event.label for event in events)}
    return Scene(seed, split, index, clip_id, events, snr_db)


@lru_cache(maxsize=64)
def _a_weighting(n: int, rate: int) -> np.ndarray:
    """Return the power gain of the A curve (IEC 61672), 1 at 1 kHz, of the Fourier bins up to `REFERENCE_HZ`."""
    hertz = fft.rfftfreq(n, 1 / rate)
    square = hertz[hertz <= REFERENCE_HZ] ** 2
    gain = (12_194.0**2 * square**2) / (
        (square + 20.6**2) * np.sqrt((square + 107.7**2) * (square + 737.9**2)) * (square + 12_194.0**2)
    )
    return (gain / 0.7943) ** 2


def loudness(signal: np.ndarray, rate: int) -> float:
    """Return the A-weighted root mean square between 0 and `REFERENCE_HZ`."""
    n = fft.next_fast_len(len(signal), real=True)
    weighting = _a_weighting(n, rate)
    power = np.abs(fft.rfft(signal.astype(np.float32, copy=False), n)[: len(weighting)]) ** 2
    return float(np.sqrt(2 * np.sum(power * weighting) / (n * len(signal))))


def _distance(rng: Generator) -> Curve:
    """Draw the response of the path to the microphone: loss of high frequencies and coloration."""
    loss = -abs(rng.normal(0, 7))
    low = (log_uniform(rng, 200, 800), 1.0, rng.uniform(-6, 4))
    high = (log_uniform(rng, 900, 4_000), 1.0, rng.uniform(-6, 4))
    return curve((500, 0), (8_000, loss), (16_000, 1.6 * loss)) * peaks(low, high, floor=0)


def _background(scene: Scene, rate: int) -> np.ndarray:
    rng = _stream(scene.seed, scene.split, scene.index, _BACKGROUND)
    studio = Studio(rate, CLIP_SECONDS)
    total = np.zeros(studio.n_samples, dtype=np.float32)
    for play, level in draw_background(rng):
        layer = play(studio, rng).astype(np.float32)
        total += layer * np.float32(10 ** (level / 20) / max(loudness(layer, rate), 1e-12))
    return total / np.float32(max(loudness(total, rate), 1e-12))


def render(scene: Scene, rate: int, *, snr_db: float | None = None) -> np.ndarray:
    """Synthesize a scene at `rate` hertz: float32 of shape (n_samples,), in (-1, 1); `snr_db` overrides its levels."""
    clip = _background(scene, rate)
    for label in scene.snr_db:
        number = DCASE2017_TASK4.index(label)
        source = _stream(scene.seed, scene.split, scene.index, _SOURCE + number)
        play, path_response = SOUNDS[label](source), _distance(source)
        level = 10 ** ((scene.snr_db[label] if snr_db is None else snr_db) / 20)
        own = [event for event in scene.events if event.label == label]
        parts = []
        for order, event in enumerate(own):
            rng = _stream(scene.seed, scene.split, scene.index, _EVENT + 100 * number + order)
            studio = Studio(rate, event.duration)
            parts.append(studio.shaped(play(studio, rng).astype(np.float32), path_response))
        # One level for all events of a source: what is a pause within an event stays quieter than the event.
        scale = level / max(loudness(np.concatenate(parts), rate), 1e-12)
        for event, part in zip(own, parts, strict=True):
            first = round(event.onset * rate)
            clip[first : first + len(part)] += (part * np.float32(scale))[: len(clip) - first]
    rng = _stream(scene.seed, scene.split, scene.index, _MIX)
    clip *= np.float32(10 ** (rng.uniform(-42, -30) / 20))
    peak = float(np.abs(clip).max())
    return clip * np.float32(0.97 / peak) if peak > 0.97 else clip
