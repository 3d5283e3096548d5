"""The one place where a model gives scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ModelFileError

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.model.archive import ModelMetadata


def predict(model: Any, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's scores of one batch as float32: strong (n, n_frames, n_classes), weak (n, n_classes).

    `model` is a Keras model, anything with ``predict_on_batch``, or a callable; `windows` are standardized log mel
    frames (n, n_frames, n_mels). Frame scores are rounded to float16 here, by at most 0.0003, and nowhere else, so that
    thresholds, events and files start from the same numbers.
    """
    call = getattr(model, "predict_on_batch", None) or model
    outputs = call(windows)
    strong = np.asarray(outputs["strong"]).astype(np.float16).astype(np.float32)
    return strong, np.asarray(outputs["weak"], dtype=np.float32)


def predict_store(
    model: Any, metadata: ModelMetadata, store: FeatureStore, rows: np.ndarray | None = None, *, batch_size: int = 32
) -> Scores:
    """Return the scores of a store's clips, by default all; `model` and `metadata` as `load_model` returns them.

    The last batch is filled up with repeats, so that only one shape is compiled.
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
        batch = rows[first : first + batch_size]
        log_mel = store.read(np.resize(batch, batch_size))
        scores = predict(model, metadata.scaler.transform(log_mel))
        strong.append(scores[0][: len(batch)])
        weak.append(scores[1][: len(batch)])
    clip_ids = tuple(np.asarray(store.clip_ids)[rows].tolist())
    return Scores(clip_ids, metadata.classes, store.features.hop_seconds, np.concatenate(strong), np.concatenate(weak))
