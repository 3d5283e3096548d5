"""Batches from a feature store, with memory bounded by one batch: standardized log mel, strong and weak targets.

The order of the clips is a function of (seed, epoch), so a resumed run sees the same clips as an unbroken one. An epoch
skips the last clips that do not fill a batch (each epoch skips others): a second batch shape would have to be compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from crnn_weak.config import AugmentationConfig
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.training.augmentation import augment, balanced_order
from crnn_weak.training.targets import StrongTargets


class StoreBatches(keras.utils.PyDataset):
    """Features and targets of some rows of a store, batch by batch.

    With `seed` the clips are shuffled by (seed, epoch) and augmented; without it all come, in the order of `rows`. A
    batch is at most all clips. `targets` are by default the paper's. `loss_factors`, one for each output, are given to
    Keras as sample weights.
    """

    def __init__(
        self,
        store: FeatureStore,
        rows: np.ndarray,
        scaler: Scaler,
        *,
        batch_size: int,
        seed: int | None = None,
        targets: StrongTargets | None = None,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.rows = np.asarray(rows)
        self.scaler = scaler
        self.batch_size = min(batch_size, len(self.rows))
        self.seed = seed
        self.targets = targets or StrongTargets(store)
        self.augmentation = augmentation or AugmentationConfig()
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
        outputs = {"strong": self.targets(rows, log_mel), "weak": self.store.tags[rows].astype(np.float32)}
        features = self.scaler.transform(log_mel, out=log_mel)
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            features, outputs = augment(features, outputs, self.augmentation, rng, deviations=self.scaler.std)
        if self.loss_factors is None:
            return features, outputs
        return features, outputs, {n: np.full(len(rows), f, np.float32) for n, f in self.loss_factors.items()}


def for_keras(batches: Any) -> Any:
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
