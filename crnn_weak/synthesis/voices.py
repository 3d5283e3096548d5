"""Voices: screaming, and the babble of a crowd for backgrounds."""

from __future__ import annotations

import numpy as np

from crnn_weak.synthesis.primitives import (
    Play,
    Studio,
    chance,
    controls,
    curve,
    log_uniform,
    peaks,
    uniform,
    wander,
)

__all__ = ["babble", "screaming"]


def screaming(rng: np.random.Generator) -> Play:
    """Screams: a high voice that leaps up, holds and falls, rough (the cords beat irregularly), with open formants."""
    base = log_uniform(rng, 450, 1_000)
    size = uniform(rng, 0.9, 1.2)
    formants = [
        (size * uniform(rng, 900, 1_300), 0.5, 8),
        (size * uniform(rng, 1_600, 2_100), 0.4, 5),
        (size * uniform(rng, 2_800, 3_500), 0.35, 3),
    ]
    mouth = peaks(*formants, floor=-14) * curve((300, -10), (800, 0), (4_000, -4), (8_000, -22))
    harmonics = 1 / np.arange(1, 25) ** 0.6
    breath, rough = uniform(rng, 0.05, 0.2), uniform(rng, 0.2, 0.7)
    rasp_hz = uniform(rng, 40, 110)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        pitch, loud = np.full(len(time), base), np.zeros(len(time))
        moment = 0.0
        while moment < seconds:  # one cry after the other
            lasts = min(uniform(rng, 0.5, 2.2), seconds - moment)
            if seconds - moment - lasts < 0.5:
                lasts = seconds - moment
            inside = (time >= moment) & (time <= moment + lasts)
            place = (time[inside] - moment) / lasts
            height = base * 2 ** uniform(rng, -0.25, 0.35)
            pitch[inside] = (
                height * (0.65 + 0.35 * np.minimum(place / 0.15, 1)) * (1 - 0.35 * np.clip((place - 0.7) / 0.3, 0, 1))
            )
            loud[inside] = np.minimum(place / 0.08, 1) * np.minimum((1 - place) / 0.2, 1) ** 0.7
            moment += lasts + (uniform(rng, 0.08, 0.3) if seconds - moment - lasts > 0.5 else 1.0)
        vibrato = 1 + 0.025 * np.sin(2 * np.pi * 6 * time + uniform(rng, 0, 6)) + 0.015 * wander(rng, time, 30)
        beat = 1 - rough * (
            0.5 + 0.5 * np.sin(2 * np.pi * np.cumsum(rasp_hz * (1 + 0.3 * wander(rng, time, 15))) / 500)
        )
        voice = studio.tone(pitch * vibrato, seconds, harmonics)
        voice = voice / np.sqrt(np.mean(voice**2)) + breath * studio.noise(rng, seconds, curve((500, -6), (2_500, 0)))
        voice = studio.shaped(voice * studio.audio(loud * beat, seconds).astype(np.float32), mouth)
        return studio.faded(voice, 0.02, 0.05)

    return play


def babble(rng: np.random.Generator) -> Play:
    """People who talk at once, too many to follow: voiced syllables of several pitches, and consonants."""
    n_voices = int(rng.integers(3, 6))
    men = [log_uniform(rng, 95, 150) if chance(rng, 0.5) else log_uniform(rng, 170, 250) for _ in range(n_voices)]
    vowels = [
        peaks((log_uniform(rng, 350, 800), 0.5, 6), (log_uniform(rng, 900, 2_000), 0.4, 2), (2_600, 0.4, -6), floor=-24)
        for _ in range(2)
    ]
    consonants = curve((1_500, -20), (3_500, 0), (6_000, 0), (8_000, -8))

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        throats = [np.zeros(studio.length(seconds), dtype=np.float32) for _ in vowels]
        for pitch in men:
            syllables = np.clip(wander(rng, time, 5.0, -0.4, 1.0), 0, 1) * np.clip(
                wander(rng, time, 0.6, -0.3, 1), 0, 1
            )
            voice = studio.tone(pitch * (1 + 0.15 * wander(rng, time, 2.5)), seconds, 1 / np.arange(1, 30))
            vowel = np.clip(0.5 + wander(rng, time, 4.0), 0, 1)
            for throat, share in zip(throats, (vowel, 1 - vowel), strict=True):
                throat += voice * studio.audio(syllables * share, seconds).astype(np.float32)
        signal = sum(studio.shaped(throat, gain) for throat, gain in zip(throats, vowels, strict=True))
        hiss = np.clip(wander(rng, time, 7.0, -1.5, 1.0), 0, 1)
        return signal / np.sqrt(np.mean(signal**2) + 1e-20) + 0.25 * studio.noise(
            rng, seconds, consonants
        ) * studio.audio(hiss, seconds)

    return play
