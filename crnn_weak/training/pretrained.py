"""A pretrained model's weights (fine-tuning), or its frame scores as a teacher (self-training)."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.errors import ConfigError, ModelFileError, nearest_names
from crnn_weak.features.store import FeatureStore, differing_features
from crnn_weak.model.archive import ModelMetadata, load_model

log = logging.getLogger(__name__)

# Clips scored at a time.
_BATCH = 64
# Beginnings of the names of layers whose weights belong to a class list.
_OUTPUTS = ("strong", "weak")


def check_features(path: str | Path, own: FeatureConfig, wanted: FeatureConfig) -> None:
    """Refuse a pretrained model with other features; the message names the settings."""
    if differing := differing_features(own, wanted):
        raise ModelFileError(f"{path}: trained with other features: {differing}. Pass --own-features to use them.")


def copy_weights(path: str | Path, model: keras.Model, metadata: ModelMetadata) -> None:
    """Copy a pretrained model's weights into a new one, layer by layer, and log which layers keep their random weights.

    A layer is copied if it has the same name and shapes; an output layer only if the class lists agree, in order.
    """
    pretrained, its_metadata = load_model(path)
    check_features(path, its_metadata.config.features, metadata.config.features)
    named = {layer.name: layer for layer in pretrained.layers}
    same_classes = its_metadata.classes == metadata.classes
    new = []
    for layer in model.layers:
        weights = named[layer.name].get_weights() if layer.name in named else []
        fits = [w.shape for w in weights] == [w.shape for w in layer.get_weights()]
        if weights and fits and (same_classes or not layer.name.startswith(_OUTPUTS)):
            layer.set_weights(weights)
        elif layer.weights:
            new.append(layer.name)
    reason = "" if same_classes else " (another class list)"
    log.info("fine-tuning from %s: %s", path, f"new layers: {', '.join(new)}{reason}" if new else "all layers copied")


def freeze(model: keras.Model, patterns: Sequence[str]) -> None:
    """Make layers keep their weights, by name or pattern (``conv_*``)."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    for pattern in patterns:
        names = fnmatch.filter(layers, pattern)
        if not names:
            raise ConfigError(f"training.freeze: {pattern!r} fits no layer. {nearest_names(pattern, layers)}")
        for name in names:
            layers[name].trainable = False
    if not model.trainable_weights:
        raise ConfigError(f"training.freeze = {list(patterns)}: no layer remains to train.")


def teacher_scores(path: str | Path, store: FeatureStore) -> np.ndarray:
    """Return a teacher's frame scores of all clips of a store, float16 ``(clips, frames, classes)``."""
    model, metadata = load_model(path)
    check_features(path, metadata.config.features, store.features)
    if metadata.classes != tuple(store.classes):
        raise ModelFileError(f"{path}: trained for other classes than the data's. Train the teacher on these data.")
    scores = np.empty((len(store), store.features.n_frames, len(store.classes)), dtype=np.float16)
    for first in range(0, len(store), _BATCH):
        rows = np.arange(first, min(first + _BATCH, len(store)))
        features = metadata.scaler.transform(store.read(rows))
        scores[rows] = keras.ops.convert_to_numpy(model.predict_on_batch(features)["strong"])
    return scores
