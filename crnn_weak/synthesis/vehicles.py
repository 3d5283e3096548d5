"""Vehicles: engines that fire pulse by pulse, tires, gears, hisses, a pass with Doppler shift, wheels on rails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from crnn_weak.synthesis.primitives import Curve, Play, Studio, curve, layered, log_uniform, peaks, smooth, unit


def engine(
    rng: Generator, *, cylinders: int, exhaust: tuple[float, float], clatter: float, unevenness: float
) -> Callable[[Studio, np.ndarray, Generator], np.ndarray]:
    """Draw an engine, ``run(studio, firings_hz, rng)``; `exhaust` is the range of its lowest resonance in hertz.

    `clatter` is the loudness of the mechanical knock, `unevenness` the spread of firings as a share of their distance.
    """
    low = log_uniform(rng, *exhaust)
    modes = [
        (low * ratio, rng.uniform(0.05, 0.16) / ratio**0.5, rng.uniform(0.3, 1.0) / ratio**0.7)
        for ratio in (1, 2.1, 3.3, 5.2, 8.1)
    ]
    loudness = rng.uniform(0.7, 1.3, cylinders)
    delay = rng.uniform(-unevenness, unevenness, cylinders)
    knock = curve((300, -18), (rng.uniform(900, 1_800), 0), (rng.uniform(2_500, 3_500), -2), (8_000, -20))
    rasp = curve((80, -6), (200, 0), (700, -6), (2_500, -20), (8_000, -40))

    def run(studio: Studio, firings_hz: np.ndarray, rng: Generator) -> np.ndarray:
        times = studio.crossings(firings_hz, rng.random())
        order = (np.arange(len(times)) + int(rng.integers(cylinders))) % cylinders
        distance = 1 / np.interp(times, studio.time, firings_hz)
        times = times + distance * (delay[order] + 0.02 * rng.standard_normal(len(times)))
        amplitudes = loudness[order] * (1 + 0.12 * rng.standard_normal(len(times)))
        kernel = layered(
            studio.ring(modes),
            studio.burst(rng, rasp, 0.09, 0.002, 0.35),
            studio.burst(rng, knock, 0.02, 0.0004, clatter),
        )
        return studio.pulses(times, amplitudes, kernel)

    return run


def _modes(rng: Generator, *modes: tuple[float, float, float, float]) -> list[tuple[float, float, float]]:
    """Draw the frequencies of modes for `Studio.ring`, given (lowest, highest, seconds to -60 dB, amplitude)."""
    return [(log_uniform(rng, low, high), decay, amplitude) for low, high, decay, amplitude in modes]


def _tires(rng: Generator) -> Curve:
    """Tires on asphalt: a hump near 1 kHz, flat below, falling above."""
    hump = log_uniform(rng, 700, 1_300)
    return curve((60, -14), (250, -10), (hump, 0), (2 * hump, -5), (4_500, -18), (8_000, -27), (16_000, -38))


def _gears(studio: Studio, rng: Generator, low: float, high: float, shift: float) -> np.ndarray:
    """Engine speed that climbs from `low` to `high` and drops at each change of gear, about every `shift` seconds."""
    part = (studio.time + rng.uniform(0, shift)) / shift % 1.0
    return smooth(low + (high - low) * (1 - np.exp(-2 * part)) / (1 - np.exp(-2)), 0.15)


def car(rng: Generator) -> Play:
    """A car heard from near or inside: a gasoline engine's even hum, tires, speed that wanders or climbs."""
    motor = engine(rng, cylinders=4, exhaust=(70, 130), clatter=rng.uniform(0.05, 0.2), unevenness=0.015)
    manner = int(rng.integers(3))  # idling, cruising, accelerating
    speed = (rng.uniform(24, 32), rng.uniform(55, 95), rng.uniform(40, 60))[manner]
    road = (0.08, rng.uniform(0.5, 1.4), rng.uniform(0.2, 0.6))[manner]
    rolling = _tires(rng)
    starts = manner == 0 and rng.random() < 0.4

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        if manner == 2:
            firings = _gears(studio, rng, speed, speed * rng.uniform(1.7, 2.3), rng.uniform(2.5, 4.5))
        else:
            firings = speed * (1 + (0.02, 0.1)[manner] * studio.wander(rng, 0.5))
        signal = unit(motor(studio, firings, rng))
        swell = studio.audio(10 ** (studio.wander(rng, 0.8, -3, 3) / 20))
        signal = signal + road * studio.noise(rng, rolling) * swell
        if starts and studio.seconds > 3:  # starter motor, then the engine catches
            puff = studio.burst(rng, curve((200, 0), (900, 0), (3_000, -12)), 0.07)
            crank = studio.pulses(np.arange(0.1, 0.8, 0.075), 1.0, puff)
            signal = signal * studio.audio(np.clip((studio.time - 0.7) / 0.15, 0.05, 1)) + 3 * crank
        return studio.faded(signal.astype(np.float32), 0.3, 0.4)

    return play


def car_passing_by(rng: Generator) -> Play:
    """Cars that come, pass and go: a swell of tire noise, bright when near, with an engine hum that drops in pitch."""
    motor = engine(rng, cylinders=4, exhaust=(80, 150), clatter=0.08, unevenness=0.015)
    rolling = _tires(rng)
    distance, fast = rng.uniform(3.0, 9.0), rng.uniform(10.0, 24.0)  # meters, meters per second

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        seconds = studio.seconds
        n_passes = max(1, round(seconds / rng.uniform(3.0, 6.0)))
        share = seconds / n_passes
        signal = np.zeros(studio.n_samples, dtype=np.float32)
        dull = studio.noise(rng, rolling * curve((300, 0), (1_000, -4), (4_000, -18), (8_000, -30)))
        bright = studio.noise(rng, rolling * curve((500, 0), (3_000, 4), (8_000, 6)))
        for number in range(n_passes):
            moment = (number + rng.uniform(0.35, 0.65)) * share
            speed, loud = fast * rng.uniform(0.8, 1.25), 10 ** (rng.uniform(-4, 0) / 20)
            along = speed * (studio.time - moment)
            reach = np.sqrt(along**2 + distance**2)
            near = distance / reach
            closing = along * speed / reach  # meters per second, away from the listener
            firings = rng.uniform(55, 95) / (1 + closing / 343)
            swell = loud * near
            signal += (studio.audio(swell) * dull).astype(np.float32)
            signal += (0.8 * studio.audio(swell * near) * bright).astype(np.float32)
            signal += (0.5 * studio.audio(swell) * unit(motor(studio, firings, rng))).astype(np.float32)
        return studio.faded(signal, min(0.5, seconds / 5), min(0.6, seconds / 5))

    return play


def _puffs(studio: Studio, rng: Generator, every: float, length: tuple[float, float], sharp: float) -> np.ndarray:
    """Air let off now and then: hisses with a sharp start."""
    time = studio.time
    loudness = np.zeros(len(time))
    moment = rng.uniform(0.1, every)
    while moment < studio.seconds:
        lasts = rng.uniform(*length)
        since = time - moment
        loudness += np.where(since > 0, np.minimum(since / sharp, 1) * np.exp(-5 * np.maximum(since, 0) / lasts), 0)
        moment += lasts + rng.uniform(0.6, 1.4) * every
    hiss = curve((800, -30), (2_500, -4), (5_000, 0), (8_000, 0), (16_000, -8))
    return studio.noise(rng, hiss) * studio.audio(loudness).astype(np.float32)


def bus(rng: Generator) -> Play:
    """A city bus: an even diesel idle, the doors' long soft hiss, and a gearbox whine that climbs as it pulls away."""
    motor = engine(rng, cylinders=6, exhaust=(60, 90), clatter=rng.uniform(0.5, 1.0), unevenness=0.02)
    idle = rng.uniform(28, 36)
    whine_from, whine_to = log_uniform(rng, 220, 320), log_uniform(rng, 700, 1_100)
    fan = curve((100, -12), (400, 0), (900, -2), (2_500, -16), (8_000, -36))
    leaves = rng.random() < 0.6

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        firings = idle * (1 + 0.01 * studio.wander(rng, 1.0))
        pull = np.zeros(len(studio.time))
        if leaves and studio.seconds > 3:
            pull = np.clip((studio.time - rng.uniform(0.1, 0.6) * studio.seconds) / rng.uniform(3.0, 5.0), 0, 1)
            firings = firings * (1 + 1.3 * pull**0.7)
        signal = unit(motor(studio, firings, rng)) + 0.35 * studio.noise(rng, fan)
        whine = studio.tone(whine_from * (whine_to / whine_from) ** pull, [1.0, 0.4, 0.15])
        signal = signal + studio.audio(np.where(pull > 0, 0.55 * np.minimum(pull * 6, 1), 0.03)) * whine
        signal = signal + 0.5 * _puffs(studio, rng, 4.5, (0.7, 1.6), 0.08)
        return studio.faded(signal.astype(np.float32), 0.3, 0.4)

    return play


def truck(rng: Generator) -> Play:
    """A heavy truck: a deep uneven diesel under load, gear by gear, turbo whistle, rattles and sharp air brakes."""
    motor = engine(rng, cylinders=6, exhaust=(35, 60), clatter=rng.uniform(0.2, 0.5), unevenness=0.06)
    idle, load = rng.uniform(18, 26), rng.uniform(1.7, 2.4)
    shift = rng.uniform(2.0, 3.5)
    whistle = log_uniform(rng, 2_600, 4_500)
    rumble = curve((30, 0), (120, 0), (500, -10), (2_000, -24), (8_000, -40))
    rattle = _modes(rng, (250, 500, 0.12, 1.0), (700, 1_400, 0.08, 0.7), (2_000, 3_500, 0.05, 0.4))
    works = rng.random() < 0.65

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        if works:
            firings = _gears(studio, rng, idle * 1.2, idle * load, shift)
        else:
            firings = idle * (1 + 0.02 * studio.wander(rng, 1))
        effort = np.clip(firings / idle - 1, 0, 1.4)
        signal = unit(motor(studio, firings, rng)) + 0.6 * studio.noise(rng, rumble)
        signal = signal + 0.12 * studio.audio(effort) * studio.tone(whistle * (0.7 + 0.35 * effort), [1.0])
        bumps = np.cumsum(rng.exponential(0.45, int(studio.seconds / 0.3) + 2))
        signal = signal + 0.4 * unit(studio.pulses(bumps, rng.uniform(0.2, 1, len(bumps)), studio.ring(rattle)))
        signal = signal + 1.1 * _puffs(studio, rng, 3.0, (0.2, 0.5), 0.005)
        return studio.faded(signal.astype(np.float32), 0.3, 0.4)

    return play


def motorcycle(rng: Generator) -> Play:
    """A motorcycle: strong pulses, blips or long pulls through the gears; a lumpy twin or a screaming four."""
    twin = rng.random() < 0.55
    clatter = rng.uniform(0.2, 0.4)
    if twin:
        motor = engine(rng, cylinders=2, exhaust=(90, 160), clatter=clatter, unevenness=rng.uniform(0.12, 0.2))
        low, rise = rng.uniform(16, 26), rng.uniform(3.5, 6.0)
    else:
        motor = engine(rng, cylinders=4, exhaust=(160, 320), clatter=clatter, unevenness=0.02)
        low, rise = rng.uniform(55, 85), rng.uniform(3.0, 4.5)
    high = low * rise
    blips = rng.random() < 0.45
    bark = curve((60, -10), (150, 0), (600, 3), (2_000, 0), (5_000, -12), (8_000, -22))

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        if blips:
            throttle = np.zeros(len(studio.time))
            moment = rng.uniform(0, 1.0)
            while moment < studio.seconds:
                since = np.maximum(studio.time - moment, 0)
                blip = rng.uniform(0.4, 1) * (1 - np.exp(-since / 0.12)) * np.exp(-since / rng.uniform(0.25, 0.5)) * 1.8
                throttle = np.maximum(throttle, blip)
                moment += rng.uniform(0.8, 2.2)
            throttle = np.minimum(throttle, 1.0)
        else:
            throttle = _gears(studio, rng, 0.35, 1.0, rng.uniform(1.6, 3.2))
        firings = low * (high / low) ** throttle
        signal = unit(studio.shaped(motor(studio, firings, rng), bark))
        return studio.faded((signal * studio.audio(0.35 + 0.65 * throttle)).astype(np.float32), 0.2, 0.35)

    return play


def train(rng: Generator) -> Play:
    """A train on jointed rail: rumble, pairs of clatters (two axles a bogie) over each joint, a squealing flange."""
    joints_hz = rng.uniform(0.8, 1.6)  # rail joints passed in a second
    axles = rng.uniform(0.10, 0.16)  # of a joint's distance, between the axles of a bogie
    bogies = rng.uniform(0.28, 0.36)  # and between the last bogie of a car and the first of the next
    rumble = curve((30, -4), (80, 0), (300, -6), (1_000, -14), (3_000, -24), (8_000, -38))
    roar = curve((150, -16), (500, 0), (1_600, 0), (3_000, -10), (8_000, -26))
    thump = _modes(rng, (60, 110, 0.2, 1.2), (180, 320, 0.14, 0.8), (500, 900, 0.10, 0.5))
    clank = curve((300, -10), (1_000, 0), (2_600, 0), (6_000, -14))
    clank_level = rng.uniform(0.9, 1.6)
    squeals = rng.random() < 0.45
    squeal = log_uniform(rng, 2_200, 4_800)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        speed = joints_hz * (1 + rng.uniform(-0.2, 0.2) * studio.time / 10)
        passes = studio.crossings(speed, rng.random())
        passes = passes if passes.size else np.array([0.1])
        times = np.concatenate([passes + 1 / joints_hz * shift for shift in (0.0, axles, bogies, bogies + axles)])
        kernel = layered(studio.ring(thump), studio.burst(rng, clank, 0.07))
        clatter = studio.pulses(times, rng.uniform(0.7, 1.3, len(times)), kernel)
        swell = studio.audio(10 ** (studio.wander(rng, 0.6, -3, 3) / 20))
        signal = studio.noise(rng, rumble) + 0.3 * studio.noise(rng, roar) + clank_level * unit(clatter)
        if squeals:
            pitch = squeal * (1 + 0.02 * studio.wander(rng, 3))
            on = np.clip(studio.wander(rng, 0.9, -1.2, 1), 0, 1) * (0.6 + 0.4 * studio.wander(rng, 25))
            signal = signal + 0.35 * studio.audio(on) * studio.tone(pitch, [1.0, 0.3])
        return studio.faded((signal * swell).astype(np.float32), 0.4, 0.5)

    return play


def bicycle(rng: Generator) -> Play:
    """A bicycle: the freewheel's even ticking, a hissing tire, the chain, and on some a bell."""
    ticks_hz = log_uniform(rng, 9, 26)
    pawl = _modes(rng, (2_400, 3_600, 0.018, 1.0), (4_200, 6_800, 0.012, 0.9))
    tire = curve((200, -20), (800, -8), (2_500, 0), (5_000, -3), (8_000, -12), (16_000, -24))
    hiss = rng.uniform(0.1, 0.35)
    bell = log_uniform(rng, 1_900, 3_000)
    ratios = (1.0, 1.005, 1.52, 2.35, 3.1)
    partials = [(bell * ratio, rng.uniform(0.6, 1.2) / ratio**0.5, 1 / ratio) for ratio in ratios]
    has_bell = rng.random() < 0.35
    pedals = rng.uniform(0.8, 1.4)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        time = studio.time
        rate = ticks_hz * (1 + 0.12 * studio.wander(rng, 0.7)) * (1 - 0.25 * time / 10)
        times = studio.crossings(rate, rng.random())
        coasting = studio.wander(rng, 0.5, -0.6, 1.0)
        loud = np.clip(0.75 + coasting, 0.15, 1.2)[np.minimum((times * 500).astype(int), len(time) - 1)]
        kernel = layered(studio.ring(pawl), studio.burst(rng, curve((2_000, -10), (4_000, 0)), 0.01, 0.0003, 0.8))
        signal = studio.pulses(times, loud * rng.uniform(0.8, 1.2, len(times)), kernel)
        stroke = 0.6 + 0.4 * np.sin(2 * np.pi * pedals * time + rng.uniform(0, 6))
        signal = signal + hiss * 0.5 * studio.noise(rng, tire) * studio.audio(stroke)
        if has_bell or studio.seconds < 0.8:
            moment = rng.uniform(0.02, max(0.05, studio.seconds - 0.6))
            strokes = np.concatenate([moment + np.arange(0, 0.3, 0.055), moment + 0.45 + np.arange(0, 0.3, 0.055)])
            signal = signal + 0.8 * studio.pulses(strokes, rng.uniform(0.5, 1, len(strokes)), studio.ring(partials))
        return studio.faded(signal.astype(np.float32), 0.1, 0.15)

    return play


def skateboard(rng: Generator) -> Play:
    """A skateboard: hard wheels on rough ground, slab joints, and the board's pop and landing with silence between."""
    rolling = curve((100, -16), (350, -4), (900, 0), (2_200, -1), (4_000, -10), (8_000, -22))
    rolling = rolling * peaks((log_uniform(rng, 400, 900), 0.7, 5), floor=-3)
    grain = rng.uniform(25, 60)
    slabs_hz = rng.uniform(1.5, 4.5)
    knock = _modes(rng, (180, 260, 0.09, 1.0), (480, 700, 0.06, 0.9), (1_100, 1_700, 0.04, 0.7))
    tricks = rng.random() < 0.65
    pop = rng.uniform(7.0, 14.0)

    def play(studio: Studio, rng: Generator) -> np.ndarray:
        time = studio.time
        push = 10 ** (studio.wander(rng, 0.8, -5, 3) / 20)
        rough = np.maximum(1 + 0.5 * studio.wander(rng, grain), 0.1)
        ground = np.ones(len(time))
        slap = studio.burst(rng, curve((500, -8), (1_500, 0), (6_000, -6)), 0.05, 0.0005, 1.2)
        clap = layered(studio.ring(knock), slap)
        hits, strengths = [], []
        moment = rng.uniform(0.2, 2.5)
        while tricks and moment < studio.seconds - 0.5:
            flight = rng.uniform(0.25, 0.5)
            hits += [moment, moment + flight, moment + flight + rng.uniform(0.02, 0.05)]
            strengths += [1.0, 1.3, 0.8]
            ground[(time > moment) & (time < moment + flight)] = 0.03
            moment += flight + rng.uniform(1.2, 3.0)
        signal = studio.noise(rng, rolling) * studio.audio(push * rough * ground)
        joints = studio.crossings(slabs_hz * (1 + 0.15 * studio.wander(rng, 0.5)), rng.random())
        joints = np.concatenate([joints, joints + rng.uniform(0.05, 0.09)])  # front and rear wheels
        joints = joints[ground[np.clip((joints * 500).astype(int), 0, len(time) - 1)] > 0.5]
        signal = signal + 0.45 * unit(studio.pulses(joints, rng.uniform(0.5, 1, len(joints)), clap))
        signal = signal + pop * studio.pulses(np.array(hits), np.array(strengths), clap)
        return studio.faded(signal.astype(np.float32), 0.15, 0.2)

    return play
