"""Batches from a feature store, with memory bounded by one batch: standardized log mel, strong and weak targets.

The order of the clips is a function of (seed, epoch), so a resumed run sees the same clips as an unbroken one. An epoch
skips the last clips that do not fill a batch (each epoch skips others): a second batch shape would have to be compiled.
A strong target (docs/beyond.md) is a function of `Clips` and the settings; it returns float32 of shape ``(clips,
frames, classes)``: 1 active, 0 inactive, `crnn_weak.model.losses.NO_TARGET` for frames without a loss. A class without
a tag is inactive in all frames, except with ``none``. Padded frames have targets like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from crnn_weak.config import AugmentationConfig, TargetConfig
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.model.losses import NO_TARGET
from crnn_weak.training.augmentation import DECIBELS, augment, balanced_order


@dataclass(frozen=True)
class Clips:
    """A batch of clips, as a strong target needs them."""

    tags: np.ndarray  # float32, (clips, classes)
    log_mel: np.ndarray  # float32, (clips, frames, bands): natural logarithms, not standardized
    teacher_scores: np.ndarray | None = None  # (clips, frames, classes) in [0, 1]; for ``self_training``


def _repeat(clips: Clips, settings: TargetConfig) -> np.ndarray:
    return np.repeat(clips.tags[:, None, :], clips.log_mel.shape[1], axis=1)


def _none(clips: Clips, settings: TargetConfig) -> np.ndarray:
    return np.full((len(clips.tags), clips.log_mel.shape[1], clips.tags.shape[1]), NO_TARGET, np.float32)


def _high_energy(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Mark the frames of tagged classes whose level stands out of the clip's floor, a percentile over its frames.

    Where nothing stands out, every frame is active: a steady sound.
    """
    levels = clips.log_mel if settings.per_band else np.logaddexp.reduce(clips.log_mel, axis=2, keepdims=True)
    floor = np.percentile(levels, settings.floor_percentile, axis=1, keepdims=True)
    loud = ((levels - floor) * DECIBELS >= settings.energy_db).any(axis=2)  # (clips, frames)
    loud |= ~loud.any(axis=1, keepdims=True)
    quiet = 0.0 if settings.quiet_is_inactive else NO_TARGET
    return np.where(clips.tags[:, None, :] > 0, np.where(loud, 1.0, quiet)[:, :, None], 0.0).astype(np.float32)


def _self_training(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Take the teacher's frame scores as shares of the class's highest in the clip: the tag says that it sounds.

    Lee, "Pseudo-label", ICML 2013 workshop on challenges in representation learning.
    """
    assert clips.teacher_scores is not None
    scores = clips.teacher_scores.astype(np.float32)
    share = scores / np.maximum(scores.max(axis=1, keepdims=True), 1e-7)
    target = np.where(share >= settings.teacher_high, 1.0, np.where(share < settings.teacher_low, 0.0, NO_TARGET))
    return np.where(clips.tags[:, None, :] > 0, target, 0.0).astype(np.float32)


STRONG_TARGETS: dict[str, Callable[[Clips, TargetConfig], np.ndarray]] = {
    "repeat": _repeat,
    "high_energy": _high_energy,
    "self_training": _self_training,
    "none": _none,
}


class StoreBatches(keras.utils.PyDataset):
    """Features and targets of some rows of a store, batch by batch.

    With `seed` the clips are shuffled by (seed, epoch) and augmented; without it all come, in the order of `rows`. A
    batch is at most all clips. `teacher_scores`, for target ``self_training``, are of all clips of the store.
    `loss_factors`, one for each output, are given to Keras as sample weights.
    """

    def __init__(
        self,
        store: FeatureStore,
        rows: np.ndarray,
        scaler: Scaler,
        *,
        batch_size: int,
        seed: int | None = None,
        target_settings: TargetConfig | None = None,
        augmentation: AugmentationConfig | None = None,
        teacher_scores: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.rows = np.asarray(rows)
        self.scaler = scaler
        self.batch_size = min(batch_size, len(self.rows))
        self.seed = seed
        self.target_settings = target_settings or TargetConfig()
        self.augmentation = augmentation or AugmentationConfig()
        self.teacher_scores = teacher_scores
        self.loss_factors: dict[str, float] | None = None
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch."""
        self.epoch = epoch
        if self.seed is None:
            self._order = self.rows
            return
        rng = np.random.default_rng([self.seed, epoch])
        if self.augmentation.balanced:
            self._order = self.rows[balanced_order(self.store.tags[self.rows], rng)]
        else:
            self._order = rng.permutation(self.rows)

    def __len__(self) -> int:
        # Rounded up where all clips are needed.
        return -(-len(self.rows) // self.batch_size) if self.seed is None else len(self.rows) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return features, targets and, where there are `loss_factors`, sample weights."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        log_mel = self.store.read(rows)  # our own copy, so it may be scaled in place
        teacher_scores = None if self.teacher_scores is None else self.teacher_scores[rows]
        clips = Clips(self.store.tags[rows].astype(np.float32), log_mel, teacher_scores)
        strong = STRONG_TARGETS[self.target_settings.strong](clips, self.target_settings)
        outputs = {"strong": strong, "weak": clips.tags}
        features = self.scaler.transform(log_mel, out=log_mel)
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            features, outputs = augment(features, outputs, self.augmentation, rng, deviations=self.scaler.std)
        if self.loss_factors is None:
            return features, outputs
        return features, outputs, {n: np.full(len(rows), f, np.float32) for n, f in self.loss_factors.items()}


def for_keras(batches: StoreBatches) -> Any:
    """Return the input of Keras' ``fit`` and ``evaluate`` for `batches`; it may be used again after `set_epoch`.

    Under TensorFlow a ``tf.data`` pipeline without autotuning, whose thread can miss the end-of-epoch signal (on one
    CPU it nearly always does: ``Model::OptimizeLoop`` in TensorFlow's ``core/framework/model.cc``): ``fit`` then waits
    for it, up to as long again as the epoch took.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def generate() -> Iterator[tuple[Any, ...]]:
        for index in range(len(batches)):
            yield batches[index]

    def signature(array: np.ndarray) -> Any:
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    dataset = tf.data.Dataset.from_generator(generate, output_signature=tf.nest.map_structure(signature, batches[0]))
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(2).with_options(options)
