"""Horns, alarms and beeps: pitches that stand still and are switched on and off."""

from __future__ import annotations

import numpy as np

from crnn_weak.synthesis.primitives import (
    CONTROL_HZ,
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

__all__ = ["air_horn", "car_alarm", "reversing_beeps", "train_horn"]

# Chimes of North American five-chime horns lie near these ratios (a major sixth chord above D#4).
_CHIMES = (1.0, 1.19, 1.335, 1.587, 2.0)


def _buzz(n: int, slope_db: float) -> np.ndarray:
    return 10 ** (-slope_db * np.log2(np.arange(1, n + 1)) / 20)


def _smooth(control: np.ndarray, seconds: float) -> np.ndarray:
    """Round the edges of a switched control."""
    n = max(int(seconds * CONTROL_HZ), 1)
    return np.convolve(np.pad(control, (n // 2, n - 1 - n // 2), mode="edge"), np.full(n, 1 / n), mode="valid")


def _on_and_off(time: np.ndarray, seconds: float, period: float, share: float, edge: float) -> np.ndarray:
    """A gate that is on for `share` of each period; the period gives a little, so that an event ends with a beep."""
    n = round((seconds - share * period) / period)
    period = seconds / (max(n, 0) + share)
    return _smooth(((time / period) % 1.0 < share).astype(float), edge)


def train_horn(rng: np.random.Generator) -> Play:
    """A chord of three to five chimes that swells in, sags in pitch as it ends, and echoes over the land."""
    root = log_uniform(rng, 270, 345)
    n_chimes = int(rng.integers(3, 6))
    chimes = [ratio * (1 + uniform(rng, -0.012, 0.012)) for ratio in _CHIMES[:n_chimes]]
    slope = uniform(rng, 3, 6)
    body = curve((150, -20), (300, 0), (1_800, 0), (3_500, -12), (8_000, -34))
    drop, air = uniform(rng, 0.0, 0.08), uniform(rng, 0.03, 0.12)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        attack, release = min(0.25, seconds / 4), min(0.45, seconds / 3)
        swell = np.clip(time / attack, 0, 1) * np.clip((seconds - time) / release, 0, 1)
        bend = 1 - 0.04 * np.exp(-time / 0.08) - 0.05 * np.clip(1 - (seconds - time) / release, 0, 1)
        doppler = 1 - drop * np.clip((time - uniform(rng, 0.2, 0.9) * seconds) / 0.8, 0, 1) * chance(rng, 0.4)
        tone = np.zeros(studio.length(seconds), dtype=np.float32)
        for ratio in chimes:
            pitch = root * ratio * bend * doppler * (1 + 0.002 * wander(rng, time, 6))
            tone += studio.tone(pitch, seconds, _buzz(16, slope), rng.random())
        tone = studio.shaped(tone, body)
        tone = tone / np.sqrt(np.mean(tone**2)) + air * studio.noise(rng, seconds, curve((500, -10), (3_000, 0)))
        return studio.faded(tone * studio.audio(swell, seconds).astype(np.float32), 0.02, 0.05)

    return play


def air_horn(rng: np.random.Generator) -> Play:
    """One or two loud buzzing reeds of a truck: low pitch, harmonics up to several kilohertz, hard edges."""
    root = log_uniform(rng, 140, 240)
    ratio = uniform(rng, 1.17, 1.35)
    tones = (1.0, ratio) if chance(rng, 0.7) else (1.0,)
    slope = uniform(rng, 0.5, 2.5)
    body = curve((100, -16), (250, -4), (900, 2), (2_200, 0), (4_500, -10), (8_000, -26))
    body = body * peaks((log_uniform(rng, 600, 1_600), 0.7, 6), floor=-2)
    stutter = chance(rng, 0.3)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        gate = np.ones(len(time))
        if seconds > 1.8:  # a long event is a row of blasts
            moment = uniform(rng, 0.3, 1.6)
            while moment < seconds - 0.7:  # the last blast is the event's end
                pause = uniform(rng, 0.08, 0.25) if stutter else uniform(rng, 0.1, 0.5)
                gate[(time > moment) & (time < moment + pause)] = 0.0
                moment += pause + (uniform(rng, 0.12, 0.5) if stutter else uniform(rng, 0.6, 2.4))
        gate = _smooth(gate, 0.03)
        bend = 1 - 0.03 * (1 - gate)
        tone = np.zeros(studio.length(seconds), dtype=np.float32)
        for part in tones:
            tone += studio.tone(root * part * bend, seconds, _buzz(36, slope), rng.random())
        return studio.faded(studio.shaped(tone, body) * studio.audio(gate, seconds).astype(np.float32), 0.02, 0.06)

    return play


def car_alarm(rng: np.random.Generator) -> Play:
    """The car's own horn on and off, or an electronic alarm that goes through its repertoire."""
    if chance(rng, 0.45):
        root, ratio = log_uniform(rng, 330, 450), uniform(rng, 1.18, 1.28)
        period, share = uniform(rng, 0.55, 1.2), uniform(rng, 0.45, 0.6)
        body = curve((200, -18), (700, -3), (2_500, 3), (4_500, -6), (8_000, -24))
        slope = uniform(rng, 0.0, 2.0)

        def honk(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
            time = controls(seconds)
            gate = _on_and_off(time, seconds, period, share, 0.02)
            tone = np.zeros(studio.length(seconds), dtype=np.float32)
            for part in (1.0, ratio):
                tone += studio.tone(np.full(len(time), root * part), seconds, _buzz(24, slope), rng.random())
            return studio.faded(studio.shaped(tone, body) * studio.audio(gate, seconds).astype(np.float32), 0.01, 0.03)

        return honk

    low = log_uniform(rng, 1_100, 1_700)
    high = low * uniform(rng, 1.6, 2.3)
    order = rng.permutation(5)
    each = uniform(rng, 1.2, 2.6)
    rates = (uniform(rng, 5, 9), uniform(rng, 12, 18), uniform(rng, 2.5, 4), uniform(rng, 4, 6), uniform(rng, 1.0, 2.0))
    body = curve((800, -20), (1_800, 0), (3_200, 3), (6_000, -6), (8_000, -14))

    def electronic(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        start = rng.random() * 5
        piece = order[np.floor(time / each + start).astype(int) % 5]
        rate = np.asarray(rates)[piece]
        place = np.cumsum(rate) / CONTROL_HZ % 1.0
        square = np.where(place < 0.5, 0.0, 1.0)
        # Fast rise; very fast rise; two tones; fast fall; slow up and down.
        height = np.choose(piece, [place, place, square, 1 - place, 1 - np.abs(2 * place - 1)])
        tone = studio.tone(low * (high / low) ** height, seconds, _buzz(5, 8))
        gap = _smooth(1 - 0.97 * ((time / each + start) % 1.0 > 0.95), 0.02)
        return studio.faded(studio.shaped(tone, body) * studio.audio(gap, seconds).astype(np.float32), 0.01, 0.03)

    return electronic


def reversing_beeps(rng: np.random.Generator) -> Play:
    """A tone of about 1 kHz, on and off about once in a second; some are short rushes of noise instead."""
    pitch = log_uniform(rng, 900, 1_500) if chance(rng, 0.8) else log_uniform(rng, 2_000, 2_900)
    period, share = 1 / uniform(rng, 0.85, 1.6), uniform(rng, 0.42, 0.58)
    harmonics = [1.0, uniform(rng, 0, 0.15), uniform(rng, 0.05, 0.4), 0.0, uniform(rng, 0.0, 0.15)]
    rush = chance(rng, 0.12)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        gate = _on_and_off(time, seconds, period, share, 0.012)
        if rush:
            tone = studio.noise(rng, seconds, curve((700, -20), (1_500, 0), (4_000, 0), (8_000, -16)))
        else:
            tone = studio.tone(np.full(len(time), pitch), seconds, harmonics)
        return studio.faded(tone * studio.audio(gate, seconds).astype(np.float32), 0.01, 0.01)

    return play
