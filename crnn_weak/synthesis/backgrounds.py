"""Backgrounds: far traffic, wind, rain, people, a room, colored noise, birds and steps."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from crnn_weak.synthesis.primitives import Play, Studio, curve, layered, log_uniform, peaks


def traffic(rng: Generator) -> Play:
    """Traffic hum of a city: low noise that breathes as vehicles come and go."""
    hum = curve((30, -6), (90, 0), (400, -8), (1_000, -12), (2_500, -26), (8_000, -46))

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        swell = 10 ** (studio.wander(rng, 0.4, -5, 5) / 20)
        return studio.noise(rng, hum) * studio.audio(swell)

    return play


def wind(rng: Generator) -> Play:
    """Wind on the microphone: gusts of very low noise, a rustle above."""
    deep = curve((20, 0), (80, -4), (300, -20), (1_000, -40))
    leaves = curve((500, -20), (2_500, 0), (6_000, -4), (8_000, -10))
    rustle = rng.uniform(0.02, 0.15)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        gust = 10 ** (studio.wander(rng, 0.8, -12, 6) / 20)
        flutter = np.maximum(1 + 0.5 * studio.wander(rng, 9), 0.1)
        signal = studio.noise(rng, deep) * studio.audio(gust * flutter)
        return signal + rustle * studio.noise(rng, leaves) * studio.audio(gust)

    return play


def rain(rng: Generator) -> Play:
    """Rain: high noise and single drops."""
    sheet = curve((200, -24), (1_000, -10), (4_000, 0), (8_000, -2), (16_000, -10))
    drops_hz, drop = rng.uniform(20, 80), log_uniform(rng, 1_200, 3_500)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        times = np.sort(rng.uniform(0, studio.seconds, int(drops_hz * studio.seconds)))
        kernel = layered(studio.ring([(drop, 0.02, 1.0)]), studio.burst(rng, sheet, 0.006, 0.0003))
        drops = studio.pulses(times, rng.exponential(0.6, len(times)), kernel)
        return studio.noise(rng, sheet) + 1.5 * drops

    return play


def room(rng: Generator) -> Play:
    """A quiet place: ventilation, mains hum and the recorder's hiss."""
    air = curve((40, 0), (150, -4), (600, -16), (2_000, -30), (8_000, -36))
    mains = 50.0 if rng.random() < 0.6 else 60.0
    hum = rng.uniform(0.02, 0.4)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        tone = studio.tone(np.full(len(studio.time), mains), [1, 0.6, 0.5, 0.2, 0.3, 0.1, 0.15])
        return studio.noise(rng, air) + hum * tone

    return play


def colored(rng: Generator) -> Play:
    """Noise of one slope, from brown to nearly white."""
    gain = curve((20, 0), (16_000, rng.uniform(-6, -0.5) * math.log2(16_000 / 20)))
    return lambda studio, rng: studio.noise(rng, gain)


def birds(rng: Generator) -> Play:
    """A bird that sings in short phrases."""
    low, span, notes_hz = log_uniform(rng, 2_200, 4_000), rng.uniform(1.15, 1.7), rng.uniform(4, 11)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        phrase = np.clip(6 * studio.wander(rng, 0.7, -1, 0.8), 0, 1)
        note = np.clip(np.sin(2 * np.pi * notes_hz * studio.time), 0, 1) ** 0.7
        pitch = low * span ** (0.5 + 0.5 * studio.wander(rng, notes_hz))
        return studio.tone(pitch, [1.0, 0.1]) * studio.audio(phrase * note)

    return play


def steps(rng: Generator) -> Play:
    """Somebody walks."""
    pace, sole = rng.uniform(1.6, 2.3), log_uniform(rng, 250, 900)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        times = np.arange(rng.uniform(0, 0.6), studio.seconds, 1 / pace)
        times = times + rng.normal(0, 0.015, len(times))
        kernel = studio.burst(rng, curve((80, -10), (sole, 0), (4 * sole, -14), (16 * sole, -34)), 0.09, 0.004)
        return studio.pulses(times, rng.uniform(0.5, 1, len(times)), kernel)

    return play


def babble(rng: Generator) -> Play:
    """People who talk at once, too many to follow: voiced syllables of several pitches, and consonants."""
    n_voices = int(rng.integers(3, 6))
    men = [log_uniform(rng, 95, 150) if rng.random() < 0.5 else log_uniform(rng, 170, 250) for _ in range(n_voices)]
    vowels = [
        peaks((log_uniform(rng, 350, 800), 0.5, 6), (log_uniform(rng, 900, 2_000), 0.4, 2), (2_600, 0.4, -6), floor=-24)
        for _ in range(2)
    ]
    consonants = curve((1_500, -20), (3_500, 0), (6_000, 0), (8_000, -8))

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        throats = [np.zeros(studio.n_samples, dtype=np.float32) for _ in vowels]
        for pitch in men:
            syllables = np.clip(studio.wander(rng, 5.0, -0.4, 1.0), 0, 1)
            syllables = syllables * np.clip(studio.wander(rng, 0.6, -0.3, 1), 0, 1)
            voice = studio.tone(pitch * (1 + 0.15 * studio.wander(rng, 2.5)), 1 / np.arange(1, 30))
            vowel = np.clip(0.5 + studio.wander(rng, 4.0), 0, 1)
            for throat, share in zip(throats, (vowel, 1 - vowel), strict=True):
                throat += voice * studio.audio(syllables * share).astype(np.float32)
        signal = sum(studio.shaped(throat, gain) for throat, gain in zip(throats, vowels, strict=True))
        hiss = np.clip(studio.wander(rng, 7.0, -1.5, 1.0), 0, 1)
        hisses = 0.25 * studio.noise(rng, consonants) * studio.audio(hiss)
        return signal / np.sqrt(np.mean(signal**2) + 1e-20) + hisses

    return play


#: name -> (draw, how likely as the main layer, how likely as a second one)
BACKGROUNDS = {
    "traffic": (traffic, 0.30, 0.20),
    "wind": (wind, 0.15, 0.15),
    "rain": (rain, 0.10, 0.05),
    "babble": (babble, 0.15, 0.20),
    "room": (room, 0.15, 0.10),
    "colored": (colored, 0.15, 0.10),
    "birds": (birds, 0.0, 0.12),
    "steps": (steps, 0.0, 0.08),
}


def draw_background(rng: Generator) -> list[tuple[Play, float]]:
    """Draw the layers of a background: (how to play it, level in decibels against the main layer)."""
    draws, main, second = zip(*BACKGROUNDS.values(), strict=True)
    draw = draws[rng.choice(len(draws), p=np.array(main) / np.sum(main))]
    layers = [(draw(rng), 0.0)]
    if rng.random() < 0.6:
        draw = draws[rng.choice(len(draws), p=np.array(second) / np.sum(second))]
        layers.append((draw(rng), rng.uniform(-12, 0)))
    return layers
