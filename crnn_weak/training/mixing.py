"""Training examples mixed on the fly from the recordings of a feature store (``mixing.*``).

An example is as long as a clip. A few recordings, drawn so that classes are even, sound at random times and gains over
a floor of noise; the whole then gets a random tilt of the spectrum. A recording that is longer than a clip, several
rows of the store, gives a random part of itself; of a class, long ones are drawn more. Padded frames are never used.

Powers add: the store holds logarithms of magnitudes, so the power of a value x is ``exp(2 x)``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from crnn_weak.config import Config
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.names import source_recording
from crnn_weak.model.losses import NO_TARGET
from crnn_weak.training.augmentation import DECIBELS, augment, shift_bands
from crnn_weak.training.targets import StrongTargets

# Shares of examples of one, two and three recordings.
_SHARES = (0.5, 0.35, 0.15)
# The floor of noise: deviation of its spectrum from band to band and of its swells, nepers of power; range of its slope
# from the lowest to the highest band, decibels; range of the shape of its gamma distribution, from drops to steady.
_FLOOR_STEP, _SWELL, _SLOPE_DB, _SHAPES = 0.125, 0.5, (-25.0, 10.0), (0.3, 8.0)
# One neper of power.
_POWER_DECIBELS = DECIBELS / 2


class MixedBatches(keras.utils.PyDataset):
    """Features and targets of random mixes, batch by batch: a function of (seed, epoch, index).

    `targets` gives the strong targets of rows. An epoch has `n_batches`.
    """

    def __init__(
        self, store: FeatureStore, rows: np.ndarray, targets: StrongTargets, config: Config, *, n_batches: int
    ) -> None:
        super().__init__()
        self.store, self.targets, self.config, self.n_batches = store, targets, config, n_batches
        self.rows = np.asarray(rows)
        self._augmentation = dataclasses.replace(config.augmentation, band_shift=0)  # each recording has its own
        self.loss_factors: dict[str, float] | None = None
        self.epoch = 0
        of_recording: dict[str, list[int]] = {}
        for row in np.sort(rows[targets.n_valid[rows] > 0]).tolist():
            of_recording.setdefault(source_recording(store.clip_ids[row]), []).append(row)
        self.recordings = [np.array(members) for members in of_recording.values()]  # rows, in time order
        tags = np.stack([store.tags[members].any(axis=0) for members in self.recordings])
        groups = np.concatenate([tags, ~tags.any(axis=1, keepdims=True)], axis=1).astype(np.float64)
        # A recording is worth as many clips as its length holds, in equal parts of its classes; then classes are even.
        n_valid = np.array([targets.n_valid[members].sum() for members in self.recordings])
        parts = groups * (np.maximum(1, n_valid / store.features.n_frames) / groups.sum(axis=1))[:, None]
        weights = (parts / np.maximum(parts.sum(axis=0), 1e-9)).sum(axis=1)
        self.tags, self._probabilities = tags.astype(np.float32), weights / weights.sum()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose examples come."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return centered log mel energies, targets and, where there are `loss_factors`, sample weights."""
        training = self.config.training
        rng = np.random.default_rng([training.seed, self.epoch, index])
        examples = [self._example(rng) for _ in range(training.batch_size)]
        log_mel, strong, weak = (np.stack(parts) for parts in zip(*examples, strict=True))
        centered = log_mel - log_mel.mean(axis=(1, 2), keepdims=True)  # masked bands are 0; the network does the same
        targets, deviations = {"strong": strong, "weak": weak}, np.ones(log_mel.shape[2])
        features, targets = augment(centered, targets, self._augmentation, rng, deviations=deviations)
        if self.loss_factors is None:
            return features, targets
        return features, targets, {n: np.full(len(weak), f, np.float32) for n, f in self.loss_factors.items()}

    def _example(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log mel energies (frames, bands), strong targets (frames, classes), weak ones (classes,)."""
        mixing, features, n_classes = self.config.mixing, self.store.features, len(self.store.classes)
        shift = self.config.augmentation.band_shift
        n_frames, n_bands = features.n_frames, features.n_mels
        power = np.zeros((n_frames, n_bands), np.float32)
        strong, weak = np.zeros((n_frames, n_classes), np.float32), np.zeros(n_classes, np.float32)
        shares = np.array(_SHARES[: mixing.n_recordings])
        n_drawn = 1 + rng.choice(len(shares), p=shares / shares.sum())
        for number in rng.choice(len(self.recordings), size=n_drawn, p=self._probabilities):
            log_mel, target, tags = self._excerpt(number, rng)
            log_mel = shift_bands(log_mel[None], rng.integers(-shift, shift + 1, size=(1,)))[0]
            first = rng.integers(n_frames - len(log_mel) + 1)
            part = slice(first, first + len(log_mel))
            power[part] += np.exp(2 * log_mel + rng.uniform(*mixing.gain_db) / _POWER_DECIBELS)
            strong[part], weak = _united(strong[part], target), _united(weak, tags)
        tilt = np.cumsum(rng.normal(0, mixing.tilt_db / _POWER_DECIBELS / np.sqrt(n_bands), n_bands))
        power = power * np.exp(tilt - tilt.mean()) + self._floor(rng)
        return (np.log(power) / 2).astype(np.float32), strong, weak

    def _floor(self, rng: np.random.Generator) -> np.ndarray:
        """Return the power of noise, (frames, bands), with a spectrum, a texture and swells such as rain and waves."""
        n_frames, n_bands = self.store.features.n_frames, self.store.features.n_mels
        level = rng.uniform(*self.config.mixing.floor_db) / _POWER_DECIBELS - np.log(n_bands)
        slope = rng.uniform(*_SLOPE_DB) / _POWER_DECIBELS * np.linspace(-0.5, 0.5, n_bands)
        spectrum = level + slope + np.cumsum(rng.normal(0, _FLOOR_STEP, n_bands))
        swells = rng.normal(0, _SWELL, rng.integers(2, 8))
        swell = np.interp(np.linspace(0, len(swells) - 1, n_frames), np.arange(len(swells)), swells)
        shape = np.exp(rng.uniform(*np.log(_SHAPES)))
        texture = np.maximum(rng.standard_gamma(shape, (n_frames, n_bands), np.float32) / shape, 1e-6)
        return (np.exp(spectrum[None, :] + swell[:, None]) * texture).astype(np.float32)

    def _excerpt(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a random part of a recording, at most as long as a clip, at level 0, and its targets."""
        rows, n_frames = self.recordings[number], self.store.features.n_frames
        n_valid = int(self.targets.n_valid[rows].sum())
        first = int(rng.integers(max(0, n_valid - n_frames) + 1))
        last = min(first + n_frames, n_valid)
        rows = rows[first // n_frames : (last - 1) // n_frames + 1]
        log_mel = self.store.read(rows)
        strong = self.targets(rows, log_mel)
        begin = first % n_frames
        part = slice(begin, begin + last - first)
        assert self.targets.levels is not None
        log_mel = log_mel.reshape(-1, log_mel.shape[-1])[part] - self.targets.levels[rows[0]]
        strong = strong.reshape(-1, strong.shape[-1])[part]
        if last - first == n_valid:
            return log_mel, strong, self.tags[number]
        # A tag of the recording may sound in another part of it.
        weak = np.where((strong == 1).any(axis=0), 1.0, np.where((strong < 0).any(axis=0), NO_TARGET, 0.0))
        return log_mel, strong, weak


def _united(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the targets of two sounds together: active if one is, else without target if one is."""
    has_none = (first < 0) | (second < 0)
    return np.where((first == 1) | (second == 1), 1.0, np.where(has_none, NO_TARGET, 0.0)).astype(np.float32)
