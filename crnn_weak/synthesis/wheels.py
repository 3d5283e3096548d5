"""Trains, bicycles and skateboards: wheels, joints, ticks, rolling and knocks."""

from __future__ import annotations

import numpy as np

from crnn_weak.synthesis.primitives import (
    Play,
    Studio,
    chance,
    controls,
    crossings,
    curve,
    layered,
    log_uniform,
    peaks,
    uniform,
    unit,
    wander,
)

__all__ = ["bicycle", "skateboard", "train"]


def train(rng: np.random.Generator) -> Play:
    """A train on jointed rail: rumble, pairs of clatters (two axles a bogie) over each joint, a squealing flange."""
    joints_hz = uniform(rng, 0.8, 1.6)  # rail joints passed in a second
    axles = uniform(rng, 0.10, 0.16)  # of a joint's distance, between the axles of a bogie
    bogies = uniform(rng, 0.28, 0.36)  # and between the last bogie of a car and the first of the next
    rumble = curve((30, -4), (80, 0), (300, -6), (1_000, -14), (3_000, -24), (8_000, -38))
    roar = curve((150, -16), (500, 0), (1_600, 0), (3_000, -10), (8_000, -26))
    thump = [
        (log_uniform(rng, 60, 110), 0.2, 1.2),
        (log_uniform(rng, 180, 320), 0.14, 0.8),
        (log_uniform(rng, 500, 900), 0.10, 0.5),
    ]
    clank = curve((300, -10), (1_000, 0), (2_600, 0), (6_000, -14))
    clank_level = uniform(rng, 0.9, 1.6)
    squeals = chance(rng, 0.45)
    squeal = log_uniform(rng, 2_200, 4_800)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        speed = joints_hz * (1 + uniform(rng, -0.2, 0.2) * time / 10)
        passes = crossings(speed, rng.random())
        if passes.size == 0:
            passes = np.array([0.1])
        step = 1 / joints_hz
        times = np.concatenate([passes + step * shift for shift in (0.0, axles, bogies, bogies + axles)])
        kernel = layered(studio.ring(thump), studio.burst(rng, clank, 0.07, 0.001, 1.0))
        clatter = studio.pulses(times, rng.uniform(0.7, 1.3, len(times)), kernel, seconds)
        swell = studio.audio(10 ** (wander(rng, time, 0.6, -3, 3) / 20), seconds)
        signal = (
            studio.noise(rng, seconds, rumble) + 0.3 * studio.noise(rng, seconds, roar) + clank_level * unit(clatter)
        )
        if squeals:
            pitch = squeal * (1 + 0.02 * wander(rng, time, 3))
            on = np.clip(wander(rng, time, 0.9, -1.2, 1), 0, 1) * (0.6 + 0.4 * wander(rng, time, 25))
            signal = signal + 0.35 * studio.audio(on, seconds) * studio.tone(pitch, seconds, [1.0, 0.3])
        return studio.faded((signal * swell).astype(np.float32), 0.4, 0.5)

    return play


def bicycle(rng: np.random.Generator) -> Play:
    """A bicycle: the freewheel's even ticking, a hissing tire, the chain, and on some a bell."""
    ticks_hz = log_uniform(rng, 9, 26)
    pawl = [(log_uniform(rng, 2_400, 3_600), 0.018, 1.0), (log_uniform(rng, 4_200, 6_800), 0.012, 0.9)]
    tire = curve((200, -20), (800, -8), (2_500, 0), (5_000, -3), (8_000, -12), (16_000, -24))
    hiss = uniform(rng, 0.1, 0.35)
    bell = log_uniform(rng, 1_900, 3_000)
    partials = [
        (bell * ratio, uniform(rng, 0.6, 1.2) / ratio**0.5, 1 / ratio) for ratio in (1.0, 1.005, 1.52, 2.35, 3.1)
    ]
    has_bell = chance(rng, 0.35)
    pedals = uniform(rng, 0.8, 1.4)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        rate = ticks_hz * (1 + 0.12 * wander(rng, time, 0.7)) * (1 - 0.25 * time / 10)
        times = crossings(rate, rng.random())
        coasting = wander(rng, time, 0.5, -0.6, 1.0)
        loud = np.clip(0.75 + coasting, 0.15, 1.2)[np.minimum((times * 500).astype(int), len(time) - 1)]
        kernel = layered(studio.ring(pawl), studio.burst(rng, curve((2_000, -10), (4_000, 0)), 0.01, 0.0003, 0.8))
        signal = studio.pulses(times, loud * rng.uniform(0.8, 1.2, len(times)), kernel, seconds)
        stroke = 0.6 + 0.4 * np.sin(2 * np.pi * pedals * time + uniform(rng, 0, 6))
        signal = signal + hiss * 0.5 * studio.noise(rng, seconds, tire) * studio.audio(stroke, seconds)
        if has_bell or seconds < 0.8:
            moment = uniform(rng, 0.02, max(0.05, seconds - 0.6))
            strokes = np.concatenate([moment + np.arange(0, 0.3, 0.055), moment + 0.45 + np.arange(0, 0.3, 0.055)])
            signal = signal + 0.8 * studio.pulses(
                strokes, rng.uniform(0.5, 1, len(strokes)), studio.ring(partials), seconds
            )
        return studio.faded(signal.astype(np.float32), 0.1, 0.15)

    return play


def skateboard(rng: np.random.Generator) -> Play:
    """A skateboard: hard wheels on rough ground, slab joints, and the board's pop and landing with silence between."""
    rolling = curve((100, -16), (350, -4), (900, 0), (2_200, -1), (4_000, -10), (8_000, -22)) * peaks(
        (log_uniform(rng, 400, 900), 0.7, 5), floor=-3
    )
    grain = uniform(rng, 25, 60)
    slabs_hz = uniform(rng, 1.5, 4.5)
    knock = [
        (log_uniform(rng, 180, 260), 0.09, 1.0),
        (log_uniform(rng, 480, 700), 0.06, 0.9),
        (log_uniform(rng, 1_100, 1_700), 0.04, 0.7),
    ]
    tricks = chance(rng, 0.65)
    pop = uniform(rng, 7.0, 14.0)

    def play(studio: Studio, seconds: float, rng: np.random.Generator) -> np.ndarray:
        time = controls(seconds)
        push = 10 ** (wander(rng, time, 0.8, -5, 3) / 20)
        rough = np.maximum(1 + 0.5 * wander(rng, time, grain), 0.1)
        ground = np.ones(len(time))
        clap = layered(
            studio.ring(knock), studio.burst(rng, curve((500, -8), (1_500, 0), (6_000, -6)), 0.05, 0.0005, 1.2)
        )
        hits, strengths = [], []
        moment = uniform(rng, 0.2, 2.5)
        while tricks and moment < seconds - 0.5:
            flight = uniform(rng, 0.25, 0.5)
            hits += [moment, moment + flight, moment + flight + uniform(rng, 0.02, 0.05)]
            strengths += [1.0, 1.3, 0.8]
            ground[(time > moment) & (time < moment + flight)] = 0.03
            moment += flight + uniform(rng, 1.2, 3.0)
        signal = studio.noise(rng, seconds, rolling) * studio.audio(push * rough * ground, seconds)
        joints = crossings(slabs_hz * (1 + 0.15 * wander(rng, time, 0.5)), rng.random())
        joints = np.concatenate([joints, joints + uniform(rng, 0.05, 0.09)])  # front and rear wheels
        joints = joints[ground[np.clip((joints * 500).astype(int), 0, len(time) - 1)] > 0.5]
        signal = signal + 0.45 * unit(studio.pulses(joints, rng.uniform(0.5, 1, len(joints)), clap, seconds))
        signal = signal + pop * studio.pulses(np.array(hits), np.array(strengths), clap, seconds)
        return studio.faded(signal.astype(np.float32), 0.15, 0.2)

    return play
