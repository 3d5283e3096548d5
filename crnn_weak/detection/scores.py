"""Scores in [0, 1] of clips: how a model gives them, and their one HDF5 form.

`strong` holds the frame scores of all clips, one after the other; `n_frames` and `duration_seconds` how long each is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from crnn_weak.environment import precision_fault
from crnn_weak.errors import ClipError, DataError, ModelFileError
from crnn_weak.features.hdf5 import HdfWriter, open_hdf5, read_array, write_names
from crnn_weak.files import replace_file
from crnn_weak.labels.names import check_classes

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.model.archive import ModelMetadata


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

    def only(self, rows: Sequence[int]) -> Scores:
        """Return the scores of some of the clips."""
        clip_ids = tuple(self.clip_ids[row] for row in rows)
        return replace(self, clip_ids=clip_ids, strong=self.strong[rows], weak=self.weak[rows])

    def __repr__(self) -> str:
        n_clips, n_frames, n_classes = self.strong.shape
        return f"Scores({n_clips} clips, {n_frames} frames of {self.hop_seconds:g} s, {n_classes} classes)"


def predict(model: Any, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return strong (n, n_frames, n_classes) and weak scores (n, n_classes) of a batch of standardized log mel."""
    # Frame scores are rounded to float16 here and nowhere else, so that events and files start from the same numbers.
    outputs = (getattr(model, "predict_on_batch", None) or model)(windows)
    strong = np.asarray(outputs["strong"]).astype(np.float16).astype(np.float32)
    weak = np.asarray(outputs["weak"], dtype=np.float32)
    if not (np.isfinite(strong).all() and np.isfinite(weak).all()):
        raise ModelFileError(f"the model's scores are not numbers. {precision_fault() or 'Train it again.'}")
    return strong, weak


def check_fits(metadata: ModelMetadata, store: FeatureStore) -> None:
    """Refuse a store of other classes or features than the model's."""
    if tuple(store.classes) != metadata.classes or store.features != metadata.config.features:
        raise ModelFileError(f"{store.path}: not the model's classes or features; build it with its configuration.")


def predict_store(
    model: Any, metadata: ModelMetadata, store: FeatureStore, rows: np.ndarray | None = None, *, batch_size: int = 32
) -> Scores:
    """Return the scores of a store's clips, by default all."""
    check_fits(metadata, store)
    rows = np.arange(len(store)) if rows is None else np.asarray(rows)
    batch_size = min(batch_size, len(rows))  # the last batch is filled up with repeats: only one shape is compiled
    strong, weak = [], []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        log_mel = store.read(np.resize(batch, batch_size))
        scores = predict(model, metadata.scaler.transform(log_mel))
        strong.append(scores[0][: len(batch)])
        weak.append(scores[1][: len(batch)])
    clip_ids, frames = tuple(np.asarray(store.clip_ids)[rows].tolist()), np.concatenate(strong)
    if metadata.config.targets.padding == "ignored":  # scores of padding were never trained; `detect` has none either
        for clip, n_valid in zip(frames, store.n_valid_frames[rows], strict=True):
            clip[n_valid:] = 0.0
    return Scores(clip_ids, metadata.classes, store.features.hop_seconds, frames, np.concatenate(weak))


@contextlib.contextmanager
def score_writer(
    path: str | Path, classes: Sequence[str], hop_seconds: float
) -> Iterator[Callable[[str, np.ndarray, np.ndarray, float], None]]:
    """Write a score file, whole or not at all, with a function that adds a clip: id, strong, weak scores, seconds."""
    n_classes = len(classes)
    clips: list[tuple[str, int, float]] = []
    weak_scores: list[np.ndarray] = []
    with replace_file(path) as temporary, contextlib.closing(HdfWriter(temporary)) as writer:
        file = writer.file
        file.create_dataset("hop_seconds", data=np.array([hop_seconds]))
        write_names(file, "classes", classes)
        frames = file.create_dataset(
            "strong", (0, n_classes), np.float32, maxshape=(None, n_classes), chunks=(4096, n_classes),
            compression="gzip", compression_opts=1, shuffle=True,
        )  # fmt: skip

        def append(clip_id: str, strong: np.ndarray, weak: np.ndarray, duration_seconds: float) -> None:
            n_before = len(frames)
            frames.resize(n_before + len(strong), axis=0)
            frames[n_before:] = strong
            clips.append((clip_id, len(strong), duration_seconds))
            weak_scores.append(weak)
            writer.check()

        yield append
        clip_ids, n_frames, seconds = zip(*clips, strict=True) if clips else ((), (), ())
        write_names(file, "clip_ids", clip_ids)
        file.create_dataset("n_frames", data=np.array(n_frames, np.int64))
        file.create_dataset("duration_seconds", data=np.array(seconds, np.float64))
        file.create_dataset("weak", data=np.array(weak_scores, np.float32).reshape(-1, n_classes))


def save_scores(path: str | Path, scores: Scores) -> None:
    """Write scores to HDF5, without loss; `load_scores` reads them."""
    with score_writer(path, scores.classes, scores.hop_seconds) as append:
        for clip, strong, weak in zip(scores.clip_ids, scores.strong, scores.weak, strict=True):
            append(clip, strong, weak, len(strong) * scores.hop_seconds)


def load_scores(path: str | Path, clip_id: str | None = None) -> Scores:
    """Read scores of clips of one length; from a file of recordings of many lengths, name one."""
    try:
        with open_hdf5(path) as file:
            return _read(file, str(path), clip_id)
    except FileNotFoundError:
        raise DataError(f"{path}: no such score file; finish the run first.") from None
    except DataError:
        raise
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: a damaged score file ({error}). Run the same command again.") from None


def _read(file: h5py.File, where: str, clip_id: str | None) -> Scores:
    classes = check_classes(read_array(file["classes"]), where)
    hop_seconds = float(read_array(file["hop_seconds"])[0])
    clip_ids, n_frames, strong = read_array(file["clip_ids"]).tolist(), read_array(file["n_frames"]), file["strong"]
    if len(n_frames) != len(clip_ids) or n_frames.sum() != len(strong) or n_frames.min(initial=0) < 0:
        raise ValueError(f"{n_frames.sum()} frames listed, {len(strong)} held")
    if len(set(clip_ids)) < len(clip_ids):
        raise ValueError("a clip is listed twice")
    if not 0 < hop_seconds < np.inf:
        raise ValueError(f"a hop of {hop_seconds:g} s")
    weak = read_array(file["weak"])
    if clip_id is not None:
        if clip_id not in clip_ids:
            raise ClipError(f"{where}: clip {clip_id!r} has no scores.")
        row = clip_ids.index(clip_id)
        end = n_frames[: row + 1].sum()
        clip_ids, frames, weak = [clip_id], strong[end - n_frames[row] : end][None], weak[row : row + 1]
    elif len(np.unique(n_frames)) > 1:
        raise DataError(
            f"{where}: recordings of {n_frames.min()} to {n_frames.max()} frames. Read them one by one: "
            f"load_scores(path, {clip_ids[0]!r})."
        )
    else:
        frames = read_array(strong).reshape(len(clip_ids), -1 if clip_ids else 0, len(classes))
    for scores in (frames, weak):
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):  # also for NaN
            raise ValueError("scores that are not in [0, 1]")
    return Scores(tuple(clip_ids), classes, hop_seconds, frames.astype(np.float32, copy=False), weak)
