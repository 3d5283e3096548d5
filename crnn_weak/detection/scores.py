"""Scores of clips, and their one HDF5 form.

Scores are values in [0, 1]; `crnn_weak.detection.postprocessing` makes events and tags of them. The model's frame
scores are rounded to float16 where they are made (`crnn_weak.detection.predict`), so a file holds exactly the scores
that were evaluated, tuned or detected.

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

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from crnn_weak.errors import ClipError, DataError, nearest_names
from crnn_weak.files import HdfWriter, replace_file

__all__ = ["ScoreWriter", "Scores", "load_scores", "save_scores"]

_SCHEMA = 2


@dataclass(frozen=True)
class Scores:
    """Scores of clips of one length; of one recording, where it is the only clip.

    Attributes
    ----------
    clip_ids : tuple of str, length n_clips
    classes : tuple of str, length n_classes
    hop_seconds : float
        Frame ``k`` covers ``[k, k + 1) * hop_seconds``.
    strong : np.ndarray of float32, shape (n_clips, n_frames, n_classes)
        In [0, 1].
    weak : np.ndarray of float32, shape (n_clips, n_classes)
        In [0, 1]; of a recording of many windows, each class's largest.
    """

    clip_ids: tuple[str, ...]
    classes: tuple[str, ...]
    hop_seconds: float
    strong: np.ndarray
    weak: np.ndarray

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

    def _repr_html_(self) -> str:
        shown = min(len(self), 20)
        head = "".join(f"<th>{html.escape(label)}</th>" for label in self.classes)
        rows = "".join(
            f"<tr><th>{html.escape(clip)}</th>{''.join(f'<td>{score:.2f}</td>' for score in row)}</tr>"
            for clip, row in zip(self.clip_ids[:shown], self.weak.tolist(), strict=False)
        )
        caption = f"{html.escape(repr(self))}: clip scores{'' if shown == len(self) else f', first {shown}'}"
        return (
            f"<table><caption>{caption}</caption><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def row(self, clip_id: str) -> int:
        """Return the row of a clip.

        Raises
        ------
        ClipError
            The clip is not among the scores.
        """
        try:
            return self.clip_ids.index(clip_id)
        except ValueError:
            raise ClipError(f"clip {clip_id!r} has no scores. {nearest_names(clip_id, self.clip_ids)}") from None

    def take(self, rows: Sequence[int] | np.ndarray) -> Scores:
        """Return the scores of some clips, in the order asked for."""
        chosen = np.asarray(rows, dtype=int)
        clip_ids = tuple(self.clip_ids[row] for row in chosen)
        return Scores(clip_ids, self.classes, self.hop_seconds, self.strong[chosen], self.weak[chosen])


class ScoreWriter:
    """Write a score file clip by clip, frames as they come, so that their number costs no memory.

    Parameters
    ----------
    path : path
        Opened for writing as it is; see `crnn_weak.files.replace_file`.
    classes : sequence of str
    hop_seconds : float

    See Also
    --------
    save_scores : for scores that are whole in memory.
    load_scores : the reader.
    """

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
        self._n_frames: dict[str, int] = {}  # of clips, in the order of their first frames
        self._ends: dict[str, tuple[np.ndarray, float]] = {}

    def append(self, clip_id: str, strong: np.ndarray) -> None:
        """Add frame scores of a clip, shape (n_frames, n_classes); a clip's frames come before the next one's."""
        n_before = len(self._strong)
        self._strong.resize(n_before + len(strong), axis=0)
        self._strong[n_before:] = strong
        self._n_frames[clip_id] = self._n_frames.get(clip_id, 0) + len(strong)
        self._hdf.check()

    def end_clip(self, clip_id: str, weak: np.ndarray, duration_seconds: float) -> None:
        """Finish a clip; `weak` has shape (n_classes,)."""
        self._ends[clip_id] = (np.asarray(weak, np.float32), duration_seconds)

    def drop_clip(self, clip_id: str) -> None:
        """Take back the frames of the last clip."""
        self._strong.resize(len(self._strong) - self._n_frames.pop(clip_id, 0), axis=0)

    def close(self) -> None:
        """Write what belongs to the clips, and close the file."""
        try:
            self._finish()
        finally:
            self._hdf.close()

    def _finish(self) -> None:
        for clip_id in [clip_id for clip_id in self._n_frames if clip_id not in self._ends]:
            self.drop_clip(clip_id)
        ends = [self._ends[clip_id] for clip_id in self._n_frames]
        weak = np.array([weak for weak, _ in ends], np.float32).reshape(-1, self._strong.shape[1])
        self._file.create_dataset("clip_ids", data=list(self._n_frames), dtype=h5py.string_dtype())
        self._file.create_dataset("n_frames", data=np.array(list(self._n_frames.values()), np.int64))
        self._file.create_dataset("duration_seconds", data=np.array([seconds for _, seconds in ends], np.float64))
        self._file.create_dataset("weak", data=weak)


def save_scores(path: str | Path, scores: Scores) -> None:
    """Write scores to HDF5, without loss.

    See Also
    --------
    load_scores : the reader.
    """
    with replace_file(path) as temporary:
        writer = ScoreWriter(temporary, scores.classes, scores.hop_seconds)
        try:
            for clip, strong, weak in zip(scores.clip_ids, scores.strong, scores.weak, strict=True):
                writer.append(clip, strong)
                writer.end_clip(clip, weak, len(strong) * scores.hop_seconds)
        finally:
            writer.close()


def load_scores(path: str | Path, clip_ids: Sequence[str] | None = None) -> Scores:
    """Read scores of clips of one length; of a file with recordings of many lengths, name one.

    Parameters
    ----------
    path : path
        Written by `save_scores` or ``crnn-weak detect --format scores-h5``, with this version or an earlier one.
    clip_ids : sequence of str, optional
        Only these, in this order.

    Raises
    ------
    DataError
        The file is missing or is not a score file, or the clips differ in length.
    ClipError
        A clip has no scores.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, str(path), clip_ids)
    except FileNotFoundError:
        raise DataError(f"{path}: no such score file; finish the run first.") from None
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a score file, or a damaged one ({error}). Run the same command again.") from None


def _read(file: h5py.File, where: str, wanted: Sequence[str] | None) -> Scores:
    classes, hop_seconds = tuple(_array(file["classes"])), float(file.attrs["hop_seconds"])
    groups = [file[key] for key in _array(file["order"])] if "order" in file else []  # of detect, schema 1
    known = [group.attrs["name"] for group in groups] if "order" in file else _array(file["clip_ids"]).tolist()
    rows = {clip: row for row, clip in enumerate(known)}
    chosen = known if wanted is None else list(wanted)
    for clip in chosen:
        if clip not in rows:
            raise ClipError(f"{where}: clip {clip!r} has no scores. {nearest_names(clip, known)}")
    if "order" in file:
        arrays: np.ndarray | list[np.ndarray] = [_array(groups[rows[clip]]["strong"]) for clip in chosen]
        weak = np.stack([_array(group["weak"]) for group in groups]) if groups else np.zeros((0, len(classes)))
    else:
        arrays, weak = _frames(file, [rows[clip] for clip in chosen], whole=wanted is None), _array(file["weak"])
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) > 1:
        raise DataError(
            f"{where}: recordings of {lengths[0]} to {lengths[-1]} frames. Read them one by one: "
            f"load_scores(path, [{known[0]!r}])."
        )
    strong = np.stack(list(arrays)) if len(arrays) else np.zeros((0, 0, len(classes)))
    weak = weak[[rows[clip] for clip in chosen]].astype(np.float32, copy=False)
    _check_values(where, known, hop_seconds, strong, weak)
    return Scores(tuple(chosen), classes, hop_seconds, strong.astype(np.float32, copy=False), weak)


def _check_values(where: str, clip_ids: Sequence[str], hop_seconds: float, *scores: np.ndarray) -> None:
    problem = ""
    if len(set(clip_ids)) < len(clip_ids):
        problem = "a clip is listed twice"
    elif not 0 < hop_seconds < np.inf:
        problem = f"a hop of {hop_seconds:g} s"
    elif any(not np.issubdtype(array.dtype, np.floating) for array in scores):
        problem = "scores that are no floating-point numbers"
    elif any(array.size and not (array.min() >= 0 and array.max() <= 1) for array in scores):  # NaN is neither
        problem = "scores that are not in [0, 1]"
    if problem:
        raise DataError(f"{where}: a damaged score file: {problem}. Run the same command again.")


def _frames(file: h5py.File, rows: Sequence[int], *, whole: bool) -> np.ndarray | list[np.ndarray]:
    """Return the frame scores of some clips, each of shape (n_frames, n_classes)."""
    strong = file["strong"]
    if strong.ndim == 3:  # of a run, schema 1
        return _array(strong) if whole else [strong[row] for row in rows]
    n_frames = _array(file["n_frames"])
    if len(n_frames) != len(file["clip_ids"]) or n_frames.sum() != len(strong) or n_frames.min(initial=0) < 0:
        raise DataError(f"{file.filename}: a damaged score file: {n_frames.sum()} frames listed, {len(strong)} held.")
    if whole and len(set(n_frames.tolist())) == 1:
        return _array(strong).reshape(len(n_frames), n_frames[0], strong.shape[1])
    ends = np.cumsum(n_frames)
    return [strong[ends[row] - n_frames[row] : ends[row]] for row in rows]


def _array(dataset: h5py.Dataset) -> np.ndarray:
    """Read a whole dataset whose stated shape fits the space that it takes in the file."""
    if dataset.nbytes > 2**20 + 1100 * dataset.id.get_storage_size():  # deflate stores at most 1032 bytes in one
        where = dataset.file.filename
        raise DataError(f"{where}: a damaged score file: {dataset.name} states {dataset.nbytes:,} bytes.")
    array: np.ndarray = dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]
    return array
