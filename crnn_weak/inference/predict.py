"""Scores of the clips of a feature store."""

from __future__ import annotations

import keras
import numpy as np

from crnn_weak.errors import ModelFileError
from crnn_weak.events.scores import ScoreSet
from crnn_weak.features.store import FeatureStore
from crnn_weak.model.archive import ModelMetadata

__all__ = ["predict_store"]


def predict_store(
    model: keras.Model,
    metadata: ModelMetadata,
    store: FeatureStore,
    rows: np.ndarray | None = None,
    *,
    batch_size: int = 32,
) -> ScoreSet:
    """Return the scores of a store's clips.

    Parameters
    ----------
    model, metadata
        As `crnn_weak.model.archive.load_model` returns them.
    store : FeatureStore
    rows : np.ndarray of int, optional
        The clips; all of them by default.
    batch_size : int
        The last batch is filled up with repeats, so that only one shape is compiled.

    Raises
    ------
    ModelFileError
        The store has other classes or other features than the model.
    """
    if tuple(store.classes) != metadata.classes:
        raise ModelFileError(
            f"{store.path}: its classes are not the model's. Expected {len(metadata.classes)} classes."
        )
    if store.features != metadata.config.features:
        raise ModelFileError(
            f"{store.path}: its features are not the model's. Rebuild it with the model's configuration."
        )
    rows = np.arange(len(store)) if rows is None else np.asarray(rows)
    batch_size = min(batch_size, len(rows))
    strong, weak = [], []
    for first in range(0, len(rows), batch_size):
        wanted = rows[first : first + batch_size]
        filled = np.resize(wanted, batch_size)
        outputs = model.predict_on_batch(metadata.scaler.transform(store.read(filled)).astype(np.float32, copy=False))
        strong.append(np.asarray(outputs["strong"])[: len(wanted)])
        weak.append(np.asarray(outputs["weak"])[: len(wanted)])
    ids = np.asarray(store.clip_ids)[rows]
    return ScoreSet(
        tuple(ids.tolist()), metadata.classes, store.features.hop_seconds, np.concatenate(strong), np.concatenate(weak)
    )
