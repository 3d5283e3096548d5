"""Batches from a feature store, with memory bounded by one batch.

The order of the clips is a function of (seed, epoch), so a resumed run sees the same clips as an unbroken one. An epoch
skips the last clips that do not fill a batch (each epoch's draw skips others): a second batch shape would have to be
compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import keras
import numpy as np

from crnn_weak.config import AugmentationConfig, TargetConfig
from crnn_weak.features.scaler import Scaler
from crnn_weak.training.augmentation import augment, balanced_order
from crnn_weak.training.targets import Clips, targets

__all__ = ["StoreBatches", "for_keras"]

# Batches made ahead of the one in work. The trainer needs a batch's features for one step of some milliseconds.
_AHEAD = 2


class _Store(Protocol):
    @property
    def tags(self) -> np.ndarray: ...

    def read(self, rows: np.ndarray) -> np.ndarray: ...


class StoreBatches(keras.utils.PyDataset):
    """Standardized log mel and targets, batch by batch.

    Parameters
    ----------
    store : FeatureStore
    rows : np.ndarray of int
        The clips to draw from.
    scaler : Scaler
    batch_size : int
        Lowered to the number of clips where there are fewer.
    seed : int, optional
        Shuffle by (seed, `epoch`); without it the clips come in the order of `rows` and all of them come.
    target_settings : TargetConfig, optional
        The strong target; by default the paper's.
    augmentation : AugmentationConfig, optional
        Changes of order and batches; needs `seed`.
    frame_scores : np.ndarray, shape (n_clips of the store, n_frames, n_classes), optional
        Of a first model, for target ``self_training``.

    Attributes
    ----------
    loss_factors : dict of str to float, or None
        Per output; given to Keras as sample weights.
    """

    def __init__(
        self,
        store: _Store,
        rows: np.ndarray,
        scaler: Scaler,
        *,
        batch_size: int,
        seed: int | None = None,
        target_settings: TargetConfig | None = None,
        augmentation: AugmentationConfig | None = None,
        frame_scores: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.store = store
        self.rows = np.asarray(rows)
        self.scaler = scaler
        self.batch_size = min(batch_size, len(self.rows))
        self.seed = seed
        self.target_settings = target_settings or TargetConfig()
        self.augmentation = augmentation or AugmentationConfig()
        self.frame_scores = frame_scores
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

    @property
    def num_batches(self) -> int:
        if self.seed is None:
            return -(-len(self.rows) // self.batch_size)
        return len(self.rows) // self.batch_size

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return features, targets and, where there are `loss_factors`, sample weights."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        log_mel = self.store.read(rows)  # our own copy, so it may be scaled where it lies
        frame_scores = None if self.frame_scores is None else self.frame_scores[rows]
        clips = Clips(self.store.tags[rows].astype(np.float32), log_mel, frame_scores)
        outputs = targets(clips, self.target_settings)
        features = self.scaler.transform(log_mel, out=log_mel)
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            features, outputs = augment(features, outputs, self.augmentation, rng, deviations=self.scaler.std)
        if self.loss_factors is None:
            return features, outputs
        return features, outputs, {n: np.full(len(rows), f, np.float32) for n, f in self.loss_factors.items()}


def for_keras(batches: StoreBatches) -> Any:
    """Return the input of Keras' ``fit`` and ``evaluate`` for `batches`; it may be used again after `set_epoch`.

    Under TensorFlow a ``tf.data`` pipeline without autotuning; elsewhere the batches themselves. Keras would make the
    pipeline with autotuning, whose thread backs off and can miss the end-of-epoch signal (on one CPU it nearly always
    does: ``Model::OptimizeLoop`` in TensorFlow's ``core/framework/model.cc``). ``fit`` then waits for that thread: up
    to as long again as the epoch took.
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
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(_AHEAD).with_options(options)
