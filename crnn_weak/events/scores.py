"""Frame and clip scores of many clips, and their HDF5 file.

Scores are values in [0, 1]; decisions are made of them in `crnn_weak.events.decode`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from crnn_weak.errors import ClipError, DataError, nearest_names

__all__ = ["ScoreSet", "load_scores", "save_scores"]


@dataclass(frozen=True)
class ScoreSet:
    """Scores of a list of clips of one length.

    Attributes
    ----------
    clip_ids : tuple of str, length n_clips
    classes : tuple of str, length n_classes
    hop_seconds : float
        Frame ``k`` covers ``[k, k + 1) * hop_seconds``.
    strong : np.ndarray of float32, shape (n_clips, n_frames, n_classes)
        In [0, 1].
    weak : np.ndarray of float32, shape (n_clips, n_classes)
        In [0, 1].
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

    def take(self, rows: Sequence[int] | np.ndarray) -> ScoreSet:
        """Return the scores of some clips, in the order asked for."""
        chosen = np.asarray(rows, dtype=int)
        return ScoreSet(
            tuple(self.clip_ids[row] for row in chosen),
            self.classes,
            self.hop_seconds,
            self.strong[chosen],
            self.weak[chosen],
        )


def save_scores(path: str | Path, scores: ScoreSet) -> None:
    """Write scores to HDF5; float16 frame scores halve the file and move no score by more than 0.0005."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    with h5py.File(temporary, "w") as file:
        file.attrs["schema"] = 1
        file.attrs["hop_seconds"] = scores.hop_seconds
        file.create_dataset("classes", data=list(scores.classes), dtype=h5py.string_dtype())
        file.create_dataset("clip_ids", data=list(scores.clip_ids), dtype=h5py.string_dtype())
        file.create_dataset("strong", data=scores.strong.astype(np.float16), compression="gzip", shuffle=True)
        file.create_dataset("weak", data=scores.weak.astype(np.float32))
    os.replace(temporary, path)


def load_scores(path: str | Path) -> ScoreSet:
    """Read what `save_scores` wrote.

    Raises
    ------
    DataError
        The file is missing or is not a score file.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            return ScoreSet(
                tuple(file["clip_ids"].asstr()[:]),
                tuple(file["classes"].asstr()[:]),
                float(file.attrs["hop_seconds"]),
                file["strong"][:].astype(np.float32),
                file["weak"][:],
            )
    except FileNotFoundError:
        raise DataError(f"{path}: no such score file; finish the run first.") from None
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: not a score file ({error}).") from None
