"""The one place where a model gives scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ModelFileError

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.model.archive import ModelMetadata

__all__ = ["predict", "predict_store"]


def predict(model: Any, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's scores of one batch.

    Frame scores are rounded to float16 here, by at most 0.0003, and nowhere else, so that all that is done with them
    later (thresholds, events, files) starts from the same numbers.

    Parameters
    ----------
    model : keras.Model
        Or anything with ``predict_on_batch``, or a callable.
    windows : np.ndarray of float32, shape (n, n_frames, n_mels)
        Standardized log mel frames.

    Returns
    -------
    strong : np.ndarray of float32, shape (n, n_frames, n_classes)
    weak : np.ndarray of float32, shape (n, n_classes)
    """
    call = getattr(model, "predict_on_batch", None) or model
    outputs = call(windows)
    strong = np.asarray(outputs["strong"]).astype(np.float16).astype(np.float32)
    return strong, np.asarray(outputs["weak"], dtype=np.float32)


def predict_store(
    model: Any, metadata: ModelMetadata, store: FeatureStore, rows: np.ndarray | None = None, *, batch_size: int = 32
) -> Scores:
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
    batches = []
    for first in range(0, len(rows), batch_size):
        wanted = rows[first : first + batch_size]
        filled = np.resize(wanted, batch_size)
        windows = metadata.scaler.transform(store.read(filled)).astype(np.float32, copy=False)
        batches.append(tuple(scores[: len(wanted)] for scores in predict(model, windows)))
    strong, weak = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    clip_ids = np.asarray(store.clip_ids)[rows]
    return Scores(tuple(clip_ids.tolist()), metadata.classes, store.features.hop_seconds, strong, weak)
