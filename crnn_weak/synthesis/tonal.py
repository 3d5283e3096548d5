"""Tonal sounds: sirens, horns, alarms, beeps and screams. The four sirens differ in how their pitch moves."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from crnn_weak.synthesis.primitives import CONTROL_HZ, Curve, Play, Studio, curve, log_uniform, peaks, smooth


def _loudspeaker(rng: Generator) -> Curve:
    """A re-entrant horn: little below 500 Hz, one or two humps above."""
    first, second = log_uniform(rng, 700, 1_300), log_uniform(rng, 1_800, 3_500)
    return curve((200, -24), (600, -3), (3_500, -4), (8_000, -22)) * peaks((first, 0.8, 6), (second, 0.6, 4), floor=-3)


def _harmonics(n: int, slope_db: float) -> np.ndarray:
    """Harmonics that fall by a number of decibels per octave."""
    return 10 ** (-slope_db * np.log2(np.arange(1, n + 1)) / 20)


def _drive_by(studio: Studio, rng: Generator, strength: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Pitch factor and loudness of a vehicle that may pass: Doppler shift and swell."""
    time = studio.time
    if rng.random() < 0.35:
        when, slowness = rng.uniform(0.2, 0.8) * time[-1], rng.uniform(0.8, 2.5)
        place = (time - when) / slowness
        return 1 - strength * place / np.sqrt(1 + place**2), (1 + place**2) ** -0.35
    return np.full(len(time), rng.uniform(1 - strength, 1 + strength)), 10 ** (studio.wander(rng, 0.3, -4, 4) / 20)


def _sweep(place: np.ndarray, rise: float) -> np.ndarray:
    """A cycle that rises for the share `rise` of it, like a charging capacitor, and falls for the rest; in [0, 1]."""
    part = place % 1.0
    up = (1 - np.exp(-2.0 * part / rise)) / (1 - np.exp(-2.0))
    down = (np.exp(-2.0 * (part - rise) / (1 - rise)) - np.exp(-2.0)) / (1 - np.exp(-2.0))
    return np.where(part < rise, up, down)


def ambulance(rng: Generator) -> Play:
    """A wailing electronic siren."""
    low, high = log_uniform(rng, 550, 750), log_uniform(rng, 1_250, 1_700)
    period, rise = rng.uniform(2.8, 5.5), rng.uniform(0.35, 0.6)
    horn, harmonics = _loudspeaker(rng), _harmonics(12, rng.uniform(5, 10))

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        factor, loudness = _drive_by(studio, rng)
        pitch = low * (high / low) ** _sweep(studio.time / period + rng.random(), rise)
        tone = studio.tone(pitch * factor, harmonics) * studio.audio(loudness)
        return studio.faded(studio.shaped(tone, horn), 0.15, 0.25)

    return play


def police_car(rng: Generator) -> Play:
    """A yelping electronic siren, now and then at phaser speed or with a wail before."""
    low, high = log_uniform(rng, 600, 850), log_uniform(rng, 1_350, 1_900)
    yelp, phaser = rng.uniform(2.6, 4.6), rng.uniform(9, 14)
    rise, horn, harmonics = rng.uniform(0.3, 0.7), _loudspeaker(rng), _harmonics(12, rng.uniform(5, 10))
    has_phaser = rng.random() < 0.3

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        seconds, time = studio.seconds, studio.time
        factor, loudness = _drive_by(studio, rng)
        rate = np.full(len(time), yelp)
        if has_phaser and seconds > 3:
            start = rng.uniform(0, seconds - 1.5)
            rate[(time > start) & (time < start + rng.uniform(0.8, 1.5))] = phaser
        elif rng.random() < 0.25 and seconds > 5:
            rate[time < rng.uniform(1.5, 3.0)] = 0.35
        pitch = low * (high / low) ** _sweep(rng.random() + np.cumsum(rate) / CONTROL_HZ, rise)
        tone = studio.tone(pitch * factor, harmonics) * studio.audio(loudness)
        return studio.faded(studio.shaped(tone, horn), 0.08, 0.15)

    return play


def fire_engine(rng: Generator) -> Play:
    """Two alternating tones, or a growling mechanical wail; air-horn blasts over either, a diesel below."""
    two_tone = rng.random() < 0.55
    low = log_uniform(rng, 370, 470)
    high, beat = low * rng.uniform(1.25, 1.42), rng.uniform(0.45, 0.8)
    top, period = log_uniform(rng, 800, 1_050), rng.uniform(5.0, 9.0)
    harmonics = _harmonics(16, rng.uniform(2, 5))
    body = curve((150, -14), (350, 0), (2_500, 0), (5_000, -14), (8_000, -28))
    honk, has_honk = log_uniform(rng, 200, 300), rng.random() < 0.55 or not two_tone
    rumble = curve((40, 0), (200, -3), (800, -12), (4_000, -35))

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        time = studio.time
        factor, loudness = _drive_by(studio, rng, 0.03)
        if two_tone:
            place = np.floor(time / beat + rng.random()).astype(int) % 2
            pitch = np.where(place == 0, low, high)
            step = np.exp(-np.arange(8) / 3)
            pitch = np.convolve(np.pad(pitch, (7, 0), mode="edge"), step / step.sum(), mode="valid")
        else:
            pitch = 330 * (top / 330) ** _sweep(time / period + rng.random(), 0.55)
        tone = studio.tone(pitch * factor, harmonics)
        if has_honk and studio.seconds > 1.5:
            blast = np.zeros(len(time))
            moment = rng.uniform(0, 2)
            while moment < studio.seconds:
                length = rng.uniform(0.3, 1.2)
                blast += np.clip((time - moment) / 0.05, 0, 1) * np.clip((moment + length - time) / 0.08, 0, 1)
                moment += length + rng.uniform(0.3, 3.5)
            for ratio in (1.0, 1.26):
                steady = np.full(len(time), honk * ratio) * factor
                tone += 0.9 * studio.tone(steady, _harmonics(24, 3)) * studio.audio(blast)
        tone = studio.shaped(tone, body)
        tone = tone / np.sqrt(np.mean(tone**2)) + 0.35 * studio.noise(rng, rumble)
        return studio.faded(tone * studio.audio(loudness).astype(np.float32), 0.1, 0.25)

    return play


def civil_defense(rng: Generator) -> Play:
    """A motor siren with two rows of ports: winds up over seconds, holds or falls, again and again."""
    top = log_uniform(rng, 380, 620)
    ratio = (6 / 5, 4 / 3, 1.0)[int(rng.integers(3))]
    period, rise, hold = rng.uniform(8.0, 16.0), rng.uniform(0.3, 0.5), rng.uniform(0.0, 0.35)
    steady = rng.random() < 0.25
    harmonics = _harmonics(14, rng.uniform(6, 9))
    far = curve((100, -10), (350, 0), (900, 0), (2_000, -12), (5_000, -34))

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        part = (studio.time / period + rng.random()) % 1.0
        up = 1 - np.exp(-3.0 * part / rise)
        down = np.exp(-2.2 * np.maximum(part - rise - hold, 0) / (1 - rise))
        speed = np.where(part < rise, 0.35 + 0.65 * up, (0.35 + 0.65 * (1 - np.exp(-3.0))) * down)
        if steady:
            speed = 1 - 0.9 * np.exp(-studio.time / 1.5) * float(rng.random() < 0.5)
        speed = np.maximum(speed, 0.4)  # slower than that it is not heard over a town
        pitch = top * speed * (1 + 0.002 * studio.wander(rng, 4))
        loudness = speed * 10 ** (studio.wander(rng, 0.7, -3, 3) / 20)
        tone = studio.tone(pitch, harmonics)
        if ratio > 1.0:
            tone = tone + studio.tone(pitch / ratio, harmonics)
        tone = tone * studio.audio(loudness).astype(np.float32)
        late = studio.length(rng.uniform(0.15, 0.45))  # from the houses over there
        if late < len(tone):
            tone[late:] += 0.4 * tone[:-late]
        return studio.faded(studio.shaped(tone, far), 0.4, 0.5)

    return play


def _on_and_off(studio: Studio, period: float, share: float, edge: float) -> np.ndarray:
    """A gate that is on for `share` of each period; the period gives a little, so that an event ends with a beep."""
    n = round((studio.seconds - share * period) / period)
    period = studio.seconds / (max(n, 0) + share)
    return smooth(((studio.time / period) % 1.0 < share).astype(float), edge)


def train_horn(rng: Generator) -> Play:
    """A chord of three to five chimes that swells in, sags in pitch as it ends, and echoes over the land."""
    root = log_uniform(rng, 270, 345)
    n_chimes = int(rng.integers(3, 6))
    # The ratios of North American five-chime horns, about: a major sixth chord above D#4.
    chimes = [ratio * (1 + rng.uniform(-0.012, 0.012)) for ratio in (1.0, 1.19, 1.335, 1.587, 2.0)[:n_chimes]]
    slope = rng.uniform(3, 6)
    body = curve((150, -20), (300, 0), (1_800, 0), (3_500, -12), (8_000, -34))
    drop, air = rng.uniform(0.0, 0.08), rng.uniform(0.03, 0.12)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        seconds, time = studio.seconds, studio.time
        attack, release = min(0.25, seconds / 4), min(0.45, seconds / 3)
        swell = np.clip(time / attack, 0, 1) * np.clip((seconds - time) / release, 0, 1)
        bend = 1 - 0.04 * np.exp(-time / 0.08) - 0.05 * np.clip(1 - (seconds - time) / release, 0, 1)
        doppler = 1 - drop * np.clip((time - rng.uniform(0.2, 0.9) * seconds) / 0.8, 0, 1) * (rng.random() < 0.4)
        tone = np.zeros(studio.n_samples, dtype=np.float32)
        for ratio in chimes:
            pitch = root * ratio * bend * doppler * (1 + 0.002 * studio.wander(rng, 6))
            tone += studio.tone(pitch, _harmonics(16, slope), rng.random())
        tone = studio.shaped(tone, body)
        tone = tone / np.sqrt(np.mean(tone**2)) + air * studio.noise(rng, curve((500, -10), (3_000, 0)))
        return studio.faded(tone * studio.audio(swell).astype(np.float32), 0.02, 0.05)

    return play


def air_horn(rng: Generator) -> Play:
    """One or two loud buzzing reeds of a truck: low pitch, harmonics up to several kilohertz, hard edges."""
    root = log_uniform(rng, 140, 240)
    ratio = rng.uniform(1.17, 1.35)
    tones = (1.0, ratio) if rng.random() < 0.7 else (1.0,)
    slope = rng.uniform(0.5, 2.5)
    body = curve((100, -16), (250, -4), (900, 2), (2_200, 0), (4_500, -10), (8_000, -26))
    body = body * peaks((log_uniform(rng, 600, 1_600), 0.7, 6), floor=-2)
    stutter = rng.random() < 0.3

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        time = studio.time
        gate = np.ones(len(time))
        if studio.seconds > 1.8:  # a long event is a row of blasts
            moment = rng.uniform(0.3, 1.6)
            while moment < studio.seconds - 0.7:  # the last blast is the event's end
                pause = rng.uniform(0.08, 0.25) if stutter else rng.uniform(0.1, 0.5)
                gate[(time > moment) & (time < moment + pause)] = 0.0
                moment += pause + (rng.uniform(0.12, 0.5) if stutter else rng.uniform(0.6, 2.4))
        gate = smooth(gate, 0.03)
        bend = 1 - 0.03 * (1 - gate)
        tone = np.zeros(studio.n_samples, dtype=np.float32)
        for part in tones:
            tone += studio.tone(root * part * bend, _harmonics(36, slope), rng.random())
        return studio.faded(studio.shaped(tone, body) * studio.audio(gate).astype(np.float32), 0.02, 0.06)

    return play


def car_alarm(rng: Generator) -> Play:
    """The car's own horn on and off, or an electronic alarm that goes through its repertoire."""
    if rng.random() < 0.45:
        root, ratio = log_uniform(rng, 330, 450), rng.uniform(1.18, 1.28)
        period, share = rng.uniform(0.55, 1.2), rng.uniform(0.45, 0.6)
        body = curve((200, -18), (700, -3), (2_500, 3), (4_500, -6), (8_000, -24))
        slope = rng.uniform(0.0, 2.0)

        def honk(studio: Studio, rng: Generator) -> np.ndarray:
            gate = _on_and_off(studio, period, share, 0.02)
            tone = np.zeros(studio.n_samples, dtype=np.float32)
            for part in (1.0, ratio):
                tone += studio.tone(np.full(len(studio.time), root * part), _harmonics(24, slope), rng.random())
            return studio.faded(studio.shaped(tone, body) * studio.audio(gate).astype(np.float32), 0.01, 0.03)

        return honk

    low = log_uniform(rng, 1_100, 1_700)
    high = low * rng.uniform(1.6, 2.3)
    order = rng.permutation(5)
    each = rng.uniform(1.2, 2.6)
    rates = (rng.uniform(5, 9), rng.uniform(12, 18), rng.uniform(2.5, 4), rng.uniform(4, 6), rng.uniform(1.0, 2.0))
    body = curve((800, -20), (1_800, 0), (3_200, 3), (6_000, -6), (8_000, -14))

    def electronic(studio: Studio, rng: Generator) -> np.ndarray:
        start = rng.random() * 5
        piece = order[np.floor(studio.time / each + start).astype(int) % 5]
        place = np.cumsum(np.asarray(rates)[piece]) / CONTROL_HZ % 1.0
        square = np.where(place < 0.5, 0.0, 1.0)
        # Fast rise; very fast rise; two tones; fast fall; slow up and down.
        height = np.choose(piece, [place, place, square, 1 - place, 1 - np.abs(2 * place - 1)])
        tone = studio.tone(low * (high / low) ** height, _harmonics(5, 8))
        gap = smooth(1 - 0.97 * ((studio.time / each + start) % 1.0 > 0.95), 0.02)
        return studio.faded(studio.shaped(tone, body) * studio.audio(gap).astype(np.float32), 0.01, 0.03)

    return electronic


def reversing_beeps(rng: Generator) -> Play:
    """A tone of about 1 kHz, on and off about once in a second; some are short rushes of noise instead."""
    pitch = log_uniform(rng, 900, 1_500) if rng.random() < 0.8 else log_uniform(rng, 2_000, 2_900)
    period, share = 1 / rng.uniform(0.85, 1.6), rng.uniform(0.42, 0.58)
    harmonics = [1.0, rng.uniform(0, 0.15), rng.uniform(0.05, 0.4), 0.0, rng.uniform(0.0, 0.15)]
    rush = rng.random() < 0.12

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        gate = _on_and_off(studio, period, share, 0.012)
        if rush:
            tone = studio.noise(rng, curve((700, -20), (1_500, 0), (4_000, 0), (8_000, -16)))
        else:
            tone = studio.tone(np.full(len(studio.time), pitch), harmonics)
        return studio.faded(tone * studio.audio(gate).astype(np.float32), 0.01, 0.01)

    return play


def screaming(rng: Generator) -> Play:
    """Screams: a high voice that leaps up, holds and falls, rough (the cords beat irregularly), with open formants."""
    base = log_uniform(rng, 450, 1_000)
    size = rng.uniform(0.9, 1.2)
    low, middle, high = (size * rng.uniform(*hertz) for hertz in ((900, 1_300), (1_600, 2_100), (2_800, 3_500)))
    formants = peaks((low, 0.5, 8), (middle, 0.4, 5), (high, 0.35, 3), floor=-14)
    mouth = formants * curve((300, -10), (800, 0), (4_000, -4), (8_000, -22))
    harmonics = 1 / np.arange(1, 25) ** 0.6
    breath, rough = rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.7)
    rasp_hz = rng.uniform(40, 110)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        seconds, time = studio.seconds, studio.time
        pitch, loud = np.full(len(time), base), np.zeros(len(time))
        moment = 0.0
        while moment < seconds:  # one cry after the other
            lasts = min(rng.uniform(0.5, 2.2), seconds - moment)
            if seconds - moment - lasts < 0.5:
                lasts = seconds - moment
            inside = (time >= moment) & (time <= moment + lasts)
            place = (time[inside] - moment) / lasts
            height = base * 2 ** rng.uniform(-0.25, 0.35)
            leap = height * (0.65 + 0.35 * np.minimum(place / 0.15, 1))
            pitch[inside] = leap * (1 - 0.35 * np.clip((place - 0.7) / 0.3, 0, 1))
            loud[inside] = np.minimum(place / 0.08, 1) * np.minimum((1 - place) / 0.2, 1) ** 0.7
            moment += lasts + (rng.uniform(0.08, 0.3) if seconds - moment - lasts > 0.5 else 1.0)
        vibrato = 1 + 0.025 * np.sin(2 * np.pi * 6 * time + rng.uniform(0, 6)) + 0.015 * studio.wander(rng, 30)
        rasp = np.cumsum(rasp_hz * (1 + 0.3 * studio.wander(rng, 15)))
        beat = 1 - rough * (0.5 + 0.5 * np.sin(2 * np.pi * rasp / 500))
        voice = studio.tone(pitch * vibrato, harmonics)
        voice = voice / np.sqrt(np.mean(voice**2)) + breath * studio.noise(rng, curve((500, -6), (2_500, 0)))
        voice = studio.shaped(voice * studio.audio(loud * beat).astype(np.float32), mouth)
        return studio.faded(voice, 0.02, 0.05)

    return play
