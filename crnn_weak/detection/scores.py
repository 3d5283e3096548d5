"""Scores of clips: how a model gives them, and their one HDF5 form.

Scores are values in [0, 1]; `crnn_weak.detection.postprocessing` makes events and tags of them.

========================  =========================  ===================================================================
in the file               shape                      content
========================  =========================  ===================================================================
attribute hop_seconds                                frame ``k`` covers ``[k, k + 1) * hop_seconds``
``classes``               (n_classes,)               labels, in the order of the columns
``clip_ids``              (n_clips,)                 clips of one length, or recordings of any lengths
``n_frames``              (n_clips,)                 frames of each
``duration_seconds``      (n_clips,)                 length of each
``strong``                (sum of n_frames, classes) frame scores, one clip after the other
``weak``                  (n_clips, n_classes)       clip scores
========================  =========================  ===================================================================
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from crnn_weak.errors import ClipError, DataError, ModelFileError
from crnn_weak.files import HdfWriter, replace_file

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.model.archive import ModelMetadata

_SCHEMA = 2


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1] of clips of one length; of one recording, where it is the only clip."""

    clip_ids: tuple[str, ...]
    classes: tuple[str, ...]
    hop_seconds: float  # frame k covers [k, k + 1) * hop_seconds
    strong: np.ndarray  # float32, (n_clips, n_frames, n_classes)
    weak: np.ndarray  # float32, (n_clips, n_classes); for a recording of many windows, each class's largest

    def __post_init__(self) -> None:
        n_clips, n_classes = len(self.clip_ids), len(self.classes)
        if self.strong.ndim != 3 or (self.strong.shape[0], self.strong.shape[2]) != (n_clips, n_classes):
            raise DataError(f"strong scores: expected ({n_clips}, frames, {n_classes}), received {self.strong.shape}.")
        if self.weak.shape != (n_clips, n_classes):
            raise DataError(f"weak scores: expected ({n_clips}, {n_classes}), received {self.weak.shape}.")

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __repr__(self) -> str:
        n_clips, n_frames, n_classes = self.strong.shape
        return f"Scores({n_clips} clips, {n_frames} frames of {self.hop_seconds:g} s, {n_classes} classes)"

    def row(self, clip_id: str) -> int:
        """Return the row of a clip."""
        if clip_id not in self.clip_ids:
            raise ClipError(f"clip {clip_id!r} has no scores.")
        return self.clip_ids.index(clip_id)


def predict(model: Any, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's scores of one batch as float32: strong (n, n_frames, n_classes), weak (n, n_classes).

    `windows` are standardized log mel frames (n, n_frames, n_mels). Frame scores are rounded to float16 here, by at
    most 0.0003, and nowhere else, so that thresholds, events and files start from the same numbers.
    """
    outputs = (getattr(model, "predict_on_batch", None) or model)(windows)
    strong = np.asarray(outputs["strong"]).astype(np.float16).astype(np.float32)
    return strong, np.asarray(outputs["weak"], dtype=np.float32)


def predict_store(
    model: Any, metadata: ModelMetadata, store: FeatureStore, rows: np.ndarray | None = None, *, batch_size: int = 32
) -> Scores:
    """Return the scores of a store's clips, by default all; `model` and `metadata` as `load_model` returns them."""
    if tuple(store.classes) != metadata.classes or store.features != metadata.config.features:
        raise ModelFileError(f"{store.path}: not the model's classes or features; build it with its configuration.")
    rows = np.arange(len(store)) if rows is None else np.asarray(rows)
    batch_size = min(batch_size, len(rows))  # the last batch is filled up with repeats: only one shape is compiled
    strong, weak = [], []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        log_mel = store.read(np.resize(batch, batch_size))
        scores = predict(model, metadata.scaler.transform(log_mel))
        strong.append(scores[0][: len(batch)])
        weak.append(scores[1][: len(batch)])
    clip_ids = tuple(np.asarray(store.clip_ids)[rows].tolist())
    return Scores(clip_ids, metadata.classes, store.features.hop_seconds, np.concatenate(strong), np.concatenate(weak))


class ScoreWriter:
    """Write a score file clip by clip; `path` is opened for writing as it is (`crnn_weak.files.replace_file`)."""

    def __init__(self, path: str | Path, classes: Sequence[str], hop_seconds: float) -> None:
        n_classes = len(classes)
        self._hdf = HdfWriter(path)
        self._file = self._hdf.file
        self._file.attrs["schema"] = _SCHEMA
        self._file.attrs["hop_seconds"] = hop_seconds
        self._file.create_dataset("classes", data=list(classes), dtype=h5py.string_dtype())
        self._strong = self._file.create_dataset(
            "strong", (0, n_classes), np.float32, maxshape=(None, n_classes), chunks=(4096, n_classes),
            compression="gzip", compression_opts=1, shuffle=True,
        )  # fmt: skip
        self._clips: list[tuple[str, int, float]] = []
        self._weak: list[np.ndarray] = []

    def append(self, clip_id: str, strong: np.ndarray, weak: np.ndarray, duration_seconds: float) -> None:
        """Add a clip's scores, (n_frames, n_classes) and (n_classes,)."""
        n_before = len(self._strong)
        self._strong.resize(n_before + len(strong), axis=0)
        self._strong[n_before:] = strong
        self._clips.append((clip_id, len(strong), duration_seconds))
        self._weak.append(weak)
        self._hdf.check()

    def close(self) -> None:
        """Write what belongs to the clips, and close the file."""
        try:
            weak = np.array(self._weak, np.float32).reshape(-1, self._strong.shape[1])
            clip_ids, n_frames, seconds = zip(*self._clips, strict=True) if self._clips else ((), (), ())
            self._file.create_dataset("clip_ids", data=list(clip_ids), dtype=h5py.string_dtype())
            self._file.create_dataset("n_frames", data=np.array(n_frames, np.int64))
            self._file.create_dataset("duration_seconds", data=np.array(seconds, np.float64))
            self._file.create_dataset("weak", data=weak)
        finally:
            self._hdf.close()


def save_scores(path: str | Path, scores: Scores) -> None:
    """Write scores to HDF5, without loss; `load_scores` reads them."""
    with (
        replace_file(path) as temporary,
        contextlib.closing(ScoreWriter(temporary, scores.classes, scores.hop_seconds)) as writer,
    ):
        for clip, strong, weak in zip(scores.clip_ids, scores.strong, scores.weak, strict=True):
            writer.append(clip, strong, weak, len(strong) * scores.hop_seconds)


def load_scores(path: str | Path, clip_ids: Sequence[str] | None = None) -> Scores:
    """Read scores of clips of one length, by default all; from a file of recordings of many lengths, name one.

    The file is one of `save_scores` or ``crnn-weak detect --format scores-h5``.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, str(path), clip_ids)
    except FileNotFoundError:
        raise DataError(f"{path}: no such score file; finish the run first.") from None
    except DataError:
        raise
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path}: a damaged score file ({error}). Run the same command again.") from None


def _read(file: h5py.File, where: str, clip_ids: Sequence[str] | None) -> Scores:
    classes, hop_seconds = tuple(_array(file["classes"])), float(file.attrs["hop_seconds"])
    stored, n_frames, strong = _array(file["clip_ids"]).tolist(), _array(file["n_frames"]), file["strong"]
    if len(n_frames) != len(stored) or n_frames.sum() != len(strong) or n_frames.min(initial=0) < 0:
        raise ValueError(f"{n_frames.sum()} frames listed, {len(strong)} held")
    row_of = {clip: row for row, clip in enumerate(stored)}
    if len(row_of) < len(stored):
        raise ValueError("a clip is listed twice")
    if not 0 < hop_seconds < np.inf:
        raise ValueError(f"a hop of {hop_seconds:g} s")
    for clip in clip_ids or ():
        if clip not in row_of:
            raise ClipError(f"{where}: clip {clip!r} has no scores.")
    rows = np.arange(len(stored)) if clip_ids is None else np.array([row_of[clip] for clip in clip_ids], int)
    lengths = np.unique(n_frames[rows])
    if len(lengths) > 1:
        raise DataError(
            f"{where}: recordings of {lengths[0]} to {lengths[-1]} frames. Read them one by one: "
            f"load_scores(path, [{stored[0]!r}])."
        )
    if clip_ids is None:
        frames = _array(strong).reshape(len(rows), -1 if len(rows) else 0, len(classes))
    else:
        ends = np.cumsum(n_frames)
        frames = np.array([strong[ends[row] - n_frames[row] : ends[row]] for row in rows])
    weak = _array(file["weak"])[rows]
    for scores in (frames, weak):
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):  # also for NaN
            raise ValueError("scores that are not in [0, 1]")
    chosen = stored if clip_ids is None else clip_ids
    return Scores(tuple(chosen), classes, hop_seconds, frames.astype(np.float32, copy=False), weak)


def _array(dataset: h5py.Dataset) -> np.ndarray:
    """Read a whole dataset whose stated shape fits the space that it takes in the file."""
    if dataset.nbytes > 2**20 + 1100 * dataset.id.get_storage_size():  # deflate stores at most 1032 bytes in one
        raise ValueError(f"{dataset.name} states {dataset.nbytes:,} bytes")
    array: np.ndarray = dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]
    return array
