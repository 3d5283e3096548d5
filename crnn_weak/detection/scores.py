"""Scores of clips, and their one HDF5 form.

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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from crnn_weak.errors import ClipError, DataError, nearest_names
from crnn_weak.files import HdfWriter, replace_file

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
            raise ClipError(f"clip {clip_id!r} has no scores. {nearest_names(clip_id, self.clip_ids)}")
        return self.clip_ids.index(clip_id)

    def take(self, rows: Sequence[int] | np.ndarray) -> Scores:
        """Return the scores of some clips, in the order asked for."""
        rows = np.asarray(rows, dtype=int)
        clip_ids = tuple(self.clip_ids[row] for row in rows)
        return Scores(clip_ids, self.classes, self.hop_seconds, self.strong[rows], self.weak[rows])


class ScoreWriter:
    """Write a score file clip by clip; `path` is opened for writing as it is (`crnn_weak.storage.replace_file`)."""

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
        self._clip_ids: list[str] = []
        self._n_frames: list[int] = []
        self._seconds: list[float] = []
        self._weak: list[np.ndarray] = []

    def append(self, clip_id: str, strong: np.ndarray, weak: np.ndarray, duration_seconds: float) -> None:
        """Add a clip's scores, (n_frames, n_classes) and (n_classes,)."""
        n_before = len(self._strong)
        self._strong.resize(n_before + len(strong), axis=0)
        self._strong[n_before:] = strong
        self._clip_ids.append(clip_id)
        self._n_frames.append(len(strong))
        self._seconds.append(duration_seconds)
        self._weak.append(np.asarray(weak, np.float32))
        self._hdf.check()

    def close(self) -> None:
        """Write what belongs to the clips, and close the file."""
        try:
            weak = np.array(self._weak, np.float32).reshape(-1, self._strong.shape[1])
            self._file.create_dataset("clip_ids", data=self._clip_ids, dtype=h5py.string_dtype())
            self._file.create_dataset("n_frames", data=np.array(self._n_frames, np.int64))
            self._file.create_dataset("duration_seconds", data=np.array(self._seconds, np.float64))
            self._file.create_dataset("weak", data=weak)
        finally:
            self._hdf.close()


def save_scores(path: str | Path, scores: Scores) -> None:
    """Write scores to HDF5, without loss; `load_scores` reads them."""
    with replace_file(path) as temporary:
        writer = ScoreWriter(temporary, scores.classes, scores.hop_seconds)
        try:
            for clip, strong, weak in zip(scores.clip_ids, scores.strong, scores.weak, strict=True):
                writer.append(clip, strong, weak, len(strong) * scores.hop_seconds)
        finally:
            writer.close()


def load_scores(path: str | Path, clip_ids: Sequence[str] | None = None) -> Scores:
    """Read scores of clips of one length, by default all; from a file of recordings of many lengths, name one.

    The file is one of `save_scores` or ``crnn-weak detect --format scores-h5``. Raises a DataError where it is missing
    or damaged, or where the clips differ in length.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, str(path), clip_ids)
    except FileNotFoundError:
        raise DataError(f"{path}: no such score file; finish the run first.") from None
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a score file, or a damaged one ({error}). Run the same command again.") from None


def _read(file: h5py.File, where: str, clip_ids: Sequence[str] | None) -> Scores:
    classes, hop_seconds = tuple(_array(file["classes"])), float(file.attrs["hop_seconds"])
    stored, n_frames, strong = _array(file["clip_ids"]).tolist(), _array(file["n_frames"]), file["strong"]
    if len(n_frames) != len(stored) or n_frames.sum() != len(strong) or n_frames.min(initial=0) < 0:
        raise DataError(f"{where}: a damaged score file: {n_frames.sum()} frames listed, {len(strong)} held.")
    row_of = {clip: row for row, clip in enumerate(stored)}
    for clip in clip_ids or ():
        if clip not in row_of:
            raise ClipError(f"{where}: clip {clip!r} has no scores. {nearest_names(clip, stored)}")
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
    _check_values(where, stored, hop_seconds, frames, weak)
    chosen = stored if clip_ids is None else clip_ids
    return Scores(tuple(chosen), classes, hop_seconds, frames.astype(np.float32, copy=False), weak)


def _check_values(where: str, clip_ids: Sequence[str], hop_seconds: float, *scores: np.ndarray) -> None:
    problem = ""
    if len(set(clip_ids)) < len(clip_ids):
        problem = "a clip is listed twice"
    elif not 0 < hop_seconds < np.inf:
        problem = f"a hop of {hop_seconds:g} s"
    elif any(not np.issubdtype(array.dtype, np.floating) for array in scores):
        problem = "scores that are not floating-point numbers"
    elif any(array.size and not (array.min() >= 0 and array.max() <= 1) for array in scores):  # also for NaN
        problem = "scores that are not in [0, 1]"
    if problem:
        raise DataError(f"{where}: a damaged score file: {problem}. Run the same command again.")


def _array(dataset: h5py.Dataset) -> np.ndarray:
    """Read a whole dataset whose stated shape fits the space that it takes in the file."""
    if dataset.nbytes > 2**20 + 1100 * dataset.id.get_storage_size():  # deflate stores at most 1032 bytes in one
        where = dataset.file.filename
        raise DataError(f"{where}: a damaged score file: {dataset.name} states {dataset.nbytes:,} bytes.")
    array: np.ndarray = dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]
    return array
