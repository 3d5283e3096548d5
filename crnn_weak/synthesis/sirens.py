"""Four sirens that differ in how their pitch moves.

Wail (ambulance): up and down in three to six seconds. Yelp (police car): the same three to five times in a second.
Two tones or a growling mechanical wail with an air horn (fire engine). A mechanical chord that takes many seconds to
rise and fall (civil defense).
"""

from __future__ import annotations

import numpy as np

from crnn_weak.synthesis.primitives import (
    Curve,
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

__all__ = ["ambulance", "civil_defense", "fire_engine", "police_car"]


def _loudspeaker(rng: np.random.Generator) -> Curve:
    """A re-entrant horn: little below 500 Hz, one or two humps above."""
    first, second = log_uniform(rng, 700, 1_300), log_uniform(rng, 1_800, 3_500)
    return curve((200, -24), (600, -3), (3_500, -4), (8_000, -22)) * peaks((first, 0.8, 6), (second, 0.6, 4), floor=-3)


def _buzz(n: int, slope_db: float) -> list[float]:
    """Harmonics that fall by a number of decibels per octave."""
    return [10 ** (-slope_db * np.log2(order) / 20) for order in range(1, n + 1)]


def _drive_by(rng: np.random.Generator, time: np.ndarray, strength: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Pitch factor and loudness of a vehicle that may pass: Doppler shift and swell."""
    if chance(rng, 0.35):
        when, slowness = uniform(rng, 0.2, 0.8) * time[-1], uniform(rng, 0.8, 2.5)
        place = (time - when) / slowness
        return 1 - strength * place / np.sqrt(1 + place**2), (1 + place**2) ** -0.35
    return np.full(len(time), uniform(rng, 1 - strength, 1 + strength)), 10 ** (wander(rng, time, 0.3, -4, 4) / 20)


def _sweep(place: np.ndarray, rise: float) -> np.ndarray:
    """A cycle that rises for the share `rise` of it, like a charging capacitor, and falls for the rest; in [0, 1]."""
    part = place % 1.0
    up = (1 - np.exp(-2.0 * part / rise)) / (1 - np.exp(-2.0))
    down = (np.exp(-2.0 * (part - rise) / (1 - rise)) - np.exp(-2.0)) / (1 - np.exp(-2.0))
    return np.where(part < rise, up, down)


def ambulance(rng: np.random.Generator) -> Play:
    """A wailing electronic siren."""
    low, high = log_uniform(rng, 550, 750), log_uniform(rng, 1_250, 1_700)
    period, rise = uniform(rng, 2.8, 5.5), uniform(rng, 0.35, 0.6)
    horn, harmonics = _loudspeaker(rng), _buzz(12, uniform(rng, 5, 10))

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        factor, loudness = _drive_by(rng, time)
        pitch = low * (high / low) ** _sweep(time / period + rng.random(), rise)
        tone = studio.tone(pitch * factor, seconds, harmonics) * studio.audio(loudness, seconds)
        return studio.faded(studio.shaped(tone, horn), 0.15, 0.25)

    return play


def police_car(rng: np.random.Generator) -> Play:
    """A yelping electronic siren, now and then at phaser speed or with a wail before."""
    low, high = log_uniform(rng, 600, 850), log_uniform(rng, 1_350, 1_900)
    yelp, phaser = uniform(rng, 2.6, 4.6), uniform(rng, 9, 14)
    rise, horn, harmonics = uniform(rng, 0.3, 0.7), _loudspeaker(rng), _buzz(12, uniform(rng, 5, 10))
    has_phaser = chance(rng, 0.3)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        factor, loudness = _drive_by(rng, time)
        rate = np.full(len(time), yelp)
        if has_phaser and seconds > 3:
            start = uniform(rng, 0, seconds - 1.5)
            rate[(time > start) & (time < start + uniform(rng, 0.8, 1.5))] = phaser
        elif chance(rng, 0.25) and seconds > 5:
            rate[time < uniform(rng, 1.5, 3.0)] = 0.35
        cycles = rng.random() + np.cumsum(rate) / 500
        pitch = low * (high / low) ** _sweep(cycles, rise)
        tone = studio.tone(pitch * factor, seconds, harmonics) * studio.audio(loudness, seconds)
        return studio.faded(studio.shaped(tone, horn), 0.08, 0.15)

    return play


def fire_engine(rng: np.random.Generator) -> Play:
    """Two alternating tones, or a growling mechanical wail; air-horn blasts over either, a diesel below."""
    two_tone = chance(rng, 0.55)
    low = log_uniform(rng, 370, 470)
    high, beat = low * uniform(rng, 1.25, 1.42), uniform(rng, 0.45, 0.8)
    top, period = log_uniform(rng, 800, 1_050), uniform(rng, 5.0, 9.0)
    harmonics = _buzz(16, uniform(rng, 2, 5))
    body = curve((150, -14), (350, 0), (2_500, 0), (5_000, -14), (8_000, -28))
    honk, has_honk = log_uniform(rng, 200, 300), chance(rng, 0.55) or not two_tone
    rumble = curve((40, 0), (200, -3), (800, -12), (4_000, -35))

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        factor, loudness = _drive_by(rng, time, 0.03)
        if two_tone:
            place = np.floor(time / beat + rng.random()).astype(int) % 2
            pitch = np.where(place == 0, low, high)
            step = np.exp(-np.arange(8) / 3)
            pitch = np.convolve(np.pad(pitch, (7, 0), mode="edge"), step / step.sum(), mode="valid")
        else:
            pitch = 330 * (top / 330) ** _sweep(time / period + rng.random(), 0.55)
        tone = studio.tone(pitch * factor, seconds, harmonics)
        if has_honk and seconds > 1.5:
            blast = np.zeros(len(time))
            moment = uniform(rng, 0, 2)
            while moment < seconds:
                length = uniform(rng, 0.3, 1.2)
                blast += np.clip((time - moment) / 0.05, 0, 1) * np.clip((moment + length - time) / 0.08, 0, 1)
                moment += length + uniform(rng, 0.3, 3.5)
            for ratio in (1.0, 1.26):
                steady = np.full(len(time), honk * ratio) * factor
                tone += 0.9 * studio.tone(steady, seconds, _buzz(24, 3)) * studio.audio(blast, seconds)
        tone = studio.shaped(tone, body)
        tone = tone / np.sqrt(np.mean(tone**2)) + 0.35 * studio.noise(rng, seconds, rumble)
        return studio.faded(tone * studio.audio(loudness, seconds).astype(np.float32), 0.1, 0.25)

    return play


def civil_defense(rng: np.random.Generator) -> Play:
    """A motor siren with two rows of ports: winds up over seconds, holds or falls, again and again."""
    top = log_uniform(rng, 380, 620)
    ratio = (6 / 5, 4 / 3, 1.0)[int(rng.integers(3))]
    period, rise, hold = uniform(rng, 8.0, 16.0), uniform(rng, 0.3, 0.5), uniform(rng, 0.0, 0.35)
    steady = chance(rng, 0.25)
    harmonics = _buzz(14, uniform(rng, 6, 9))
    far = curve((100, -10), (350, 0), (900, 0), (2_000, -12), (5_000, -34))

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        part = (time / period + rng.random()) % 1.0
        up = 1 - np.exp(-3.0 * part / rise)
        down = np.exp(-2.2 * np.maximum(part - rise - hold, 0) / (1 - rise))
        speed = np.where(part < rise, 0.35 + 0.65 * up, (0.35 + 0.65 * (1 - np.exp(-3.0))) * down)
        if steady:
            speed = 1 - 0.9 * np.exp(-time / 1.5) * float(chance(rng, 0.5))
        speed = np.maximum(speed, 0.4)  # slower than that it is not heard over a town
        pitch = top * speed * (1 + 0.002 * wander(rng, time, 4))
        loudness = speed * 10 ** (wander(rng, time, 0.7, -3, 3) / 20)
        tone = studio.tone(pitch, seconds, harmonics)
        if ratio > 1.0:
            tone = tone + studio.tone(pitch / ratio, seconds, harmonics)
        tone = tone * studio.audio(loudness, seconds).astype(np.float32)
        late = studio.length(uniform(rng, 0.15, 0.45))  # from the houses over there
        if late < len(tone):
            tone[late:] += 0.4 * tone[:-late]
        return studio.faded(studio.shaped(tone, far), 0.4, 0.5)

    return play
