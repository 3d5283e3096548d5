"""Augmentation of the training clips, the learning rate's schedule and the losses' weights. All are off in the paper.

Standardized features ``(clips, frames, bands)`` and targets change together; docs/sources.md has the papers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from crnn_weak.config import AugmentationConfig, Config
from crnn_weak.model.losses import NO_TARGET

Targets = dict[str, np.ndarray]
#: The features are logarithms of magnitudes: one neper is 8.7 dB.
DECIBELS = 20.0 / math.log(10.0)


def augment(
    features: np.ndarray,
    targets: Targets,
    settings: AugmentationConfig,
    rng: np.random.Generator,
    *,
    deviations: np.ndarray,
) -> tuple[np.ndarray, Targets]:
    """Augment a batch; `deviations` ``(bands,)`` are those that the features were divided by."""
    n_clips, n_frames, n_bands = features.shape
    if settings.band_shift:
        features = shift_bands(features, rng.integers(-settings.band_shift, settings.band_shift + 1, size=(n_clips,)))
    if settings.band_gain_db:
        points = rng.uniform(-settings.band_gain_db, settings.band_gain_db, size=(n_clips, 5))
        gains = band_gains(points, n_bands) / DECIBELS
        features = features + (gains / deviations).astype(np.float32)[:, None, :]
    if settings.time_shift:
        shifts = rng.integers(n_frames, size=(n_clips,))
        features, targets = rotate(features, shifts), targets | {"strong": rotate(targets["strong"], shifts)}
    if settings.mixup:
        shares = rng.beta(settings.mixup, settings.mixup, size=(n_clips,)).astype(np.float32)
        features, targets = mixup(features, targets, np.maximum(shares, 1 - shares), rng.permutation(n_clips))
    for axis, widest in ((1, settings.time_mask), (2, settings.band_mask)):
        if widest:
            features = mask_spans(features, axis, int(widest * features.shape[axis]), rng)
    return features, targets


def rotate(values: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Rotate each clip along time, shape ``(clips, frames, ...)``: frame t moves to t + shift, the end to the front."""
    n_frames = values.shape[1]
    frames = (np.arange(n_frames)[None, :] - shifts[:, None]) % n_frames
    return np.take_along_axis(values, frames[:, :, None], axis=1)


def shift_bands(features: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move each clip's bands by its shift (above 0: up), shape ``(clips, frames, bands)``; edge bands are repeated."""
    n_bands = features.shape[2]
    bands = np.clip(np.arange(n_bands)[None, :] - shifts[:, None], 0, n_bands - 1)
    return np.take_along_axis(features, bands[:, None, :], axis=2)


def band_gains(points: np.ndarray, n_bands: int) -> np.ndarray:
    """Interpolate gains at equally spaced points, from the first band to the last; ``(clips, bands)``."""
    position = np.linspace(0, points.shape[1] - 1, n_bands)
    left = np.minimum(position.astype(int), points.shape[1] - 2)
    return points[:, left] * (left + 1 - position) + points[:, left + 1] * (position - left)


def mixup(
    features: np.ndarray, targets: Targets, shares: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, Targets]:
    """Mix each clip, by its share in [0, 1], with a partner; a frame without a target in either has none."""

    def mixed(values: np.ndarray) -> np.ndarray:
        share = shares.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(share * values + (1 - share) * values[partners], dtype=np.float32)

    has_none = (targets["strong"] == NO_TARGET) | (targets["strong"][partners] == NO_TARGET)
    strong = np.where(has_none, np.float32(NO_TARGET), mixed(targets["strong"]))
    return mixed(features), {"strong": strong, "weak": mixed(targets["weak"])}


def mask_spans(features: np.ndarray, axis: int, widest: int, rng: np.random.Generator) -> np.ndarray:
    """Set two random spans along `axis` to 0 in each clip, each 0 to `widest` long."""
    n_clips, length = len(features), features.shape[axis]
    position = np.arange(length)[None, :]
    masked = np.zeros((n_clips, length), dtype=bool)
    for _ in range(2):
        width = rng.integers(widest + 1, size=(n_clips, 1))
        first = rng.integers(length - width + 1)
        masked |= (position >= first) & (position < first + width)
    return np.where(np.expand_dims(masked, 3 - axis), np.float32(0), features)


def balanced_order(tags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw as many rows as `tags` has: a class at random (clips without a tag are one), then one of its clips."""
    groups = np.concatenate([tags, ~tags.any(axis=1, keepdims=True)], axis=1).astype(np.float64)
    groups = groups[:, groups.any(axis=0)]
    probability = (groups / groups.sum(axis=0)).sum(axis=1) / groups.shape[1]
    return rng.choice(len(tags), size=len(tags), p=probability / probability.sum())


def learning_rate(config: Config, n_batches: int) -> Any:
    """Return Adam's learning rate, or Keras' schedule of it, for epochs of `n_batches`."""
    rate = config.training.learning_rate
    if config.training.schedule == "constant":
        return rate
    return keras.optimizers.schedules.CosineDecay(rate, decay_steps=max(1, config.training.epochs * n_batches))


def loss_factors(config: Config, epoch: int, last: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return the factors of the losses' weights in an epoch (from 0), or None; `last`: the losses of the one before."""
    if config.training.loss_weighting == "fixed":
        return None
    if config.training.loss_weighting == "linear":
        return {"strong": (epoch + 1) / config.training.epochs, "weak": 1.0}
    if last is None:
        return {"strong": 1.0, "weak": 1.0}
    # A loss of 0 (target ``none``) must not get an infinite weight.
    return {name: 1 / max(last[f"val_{name}_loss"], 1e-3) for name in ("strong", "weak")}
