"""A clip: its layout, its sounds over a background, one microphone.

A clip is a function of (seed, split, index, sample rate) only. The random streams of layout, background and each event
are separate, so that a change to one class changes no layout and no other sound.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import fft

from crnn_weak.labels.events import DCASE2017_TASK4, Event
from crnn_weak.synthesis import tonal, vehicles
from crnn_weak.synthesis.backgrounds import draw_background
from crnn_weak.synthesis.layout import CLIP_SECONDS, draw_layout
from crnn_weak.synthesis.primitives import REFERENCE_HZ, Curve, Studio, curve, log_uniform, peaks, uniform

#: Raise it with every change that alters the audio of a given seed; part of every set's fingerprint.
VERSION = 2
#: Level of an event against the background while it sounds, A-weighted, decibels; uniform. See docs/street.md.
SNR_DB = (0.0, 18.0)
SPLITS = {"train": 0, "test": 1}

#: label -> draw(rng) -> play(studio, seconds, rng)
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


@dataclass(frozen=True)
class Scene:
    """Plan of a clip, before any sound is synthesized.

    `clip_id` is like the organizers': eleven characters of a video id, start and end (invented). `snr_db` has one
    signal-to-noise ratio for each class of the clip.
    """

    seed: int
    split: str
    index: int
    clip_id: str
    events: tuple[Event, ...]
    snr_db: dict[str, float]


def _stream(seed: int, split: str, index: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, SPLITS[split], index, *purpose])


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Draw a clip's id, events and levels."""
    rng = _stream(seed, split, index, _LAYOUT)
    events = draw_layout(rng, split)
    start = int(rng.integers(0, 60)) * 10
    clip_id = f"{''.join(rng.choice(_ALPHABET, 11))}_{start}.000_{start + 10}.000"
    labels = list(dict.fromkeys(event.label for event in events))
    return Scene(seed, split, index, clip_id, events, {label: uniform(rng, *SNR_DB) for label in labels})


@functools.lru_cache(maxsize=64)
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


def _distance(rng: np.random.Generator) -> Curve:
    """Draw the response of the path to the microphone: loss of high frequencies and coloration."""
    loss = -abs(rng.normal(0, 7))
    return curve((500, 0), (8_000, loss), (16_000, 1.6 * loss)) * peaks(
        (log_uniform(rng, 200, 800), 1.0, uniform(rng, -6, 4)),
        (log_uniform(rng, 900, 4_000), 1.0, uniform(rng, -6, 4)),
        floor=0,
    )


def _background(scene: Scene, studio: Studio) -> np.ndarray:
    rng = _stream(scene.seed, scene.split, scene.index, _BACKGROUND)
    total = np.zeros(studio.length(CLIP_SECONDS), dtype=np.float32)
    for _, play, level in draw_background(rng):
        layer = play(studio, CLIP_SECONDS, rng).astype(np.float32)
        total += layer * np.float32(10 ** (level / 20) / max(loudness(layer, studio.rate), 1e-12))
    return total / np.float32(max(loudness(total, studio.rate), 1e-12))


def render(scene: Scene, rate: int, *, snr_db: float | None = None) -> np.ndarray:
    """Synthesize a scene at `rate` hertz: float32 of shape (n_samples,), 10 s, in (-1, 1).

    `snr_db` overrides the scene's levels, for tests and pictures.
    """
    studio = Studio(rate)
    clip = _background(scene, studio)
    for label in scene.snr_db:
        number = DCASE2017_TASK4.index(label)
        source = _stream(scene.seed, scene.split, scene.index, _SOURCE + number)
        play, path_response = SOUNDS[label](source), _distance(source)
        level = 10 ** ((scene.snr_db[label] if snr_db is None else snr_db) / 20)
        own = [event for event in scene.events if event.label == label]
        parts = []
        for order, event in enumerate(own):
            rng = _stream(scene.seed, scene.split, scene.index, _EVENT + 100 * number + order)
            parts.append(studio.shaped(play(studio, event.duration, rng).astype(np.float32), path_response))
        # One level for all events of a source: what is a pause within an event stays quieter than the event.
        scale = level / max(loudness(np.concatenate(parts), rate), 1e-12)
        for event, part in zip(own, parts, strict=True):
            first = studio.length(event.onset)
            clip[first : first + len(part)] += (part * np.float32(scale))[: len(clip) - first]
    rng = _stream(scene.seed, scene.split, scene.index, _MIX)
    clip *= np.float32(10 ** (uniform(rng, -42, -30) / 20))
    peak = float(np.abs(clip).max())
    return clip * np.float32(0.97 / peak) if peak > 0.97 else clip
