"""Frame scores of recordings of any length in one HDF5 file, appended as they come."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.inference.results import FrameScores

__all__ = ["ScoreArchive", "read_recording_scores"]


class ScoreArchive:
    """An HDF5 file with a group per recording; the scores are appended as they come."""

    def __init__(self, path: Path, classes: Sequence[str], hop_seconds: float) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._file = h5py.File(self._temporary, "w")
        self._file.attrs["schema"] = 1
        self._file.attrs["hop_seconds"] = hop_seconds
        self._file.create_dataset("classes", data=list(classes), dtype=h5py.string_dtype())
        self._n_classes = len(classes)
        self._order: list[str] = []
        self._numbers: dict[str, int] = {}
        self._n_made = 0

    def append(self, name: str, strong: np.ndarray) -> None:
        if name not in self._numbers:
            self._numbers[name] = self._n_made
            self._n_made += 1
            group = self._file.create_group(str(self._numbers[name]))
            group.attrs["name"] = name
            shape, chunks = (0, self._n_classes), (min(4096, max(len(strong), 1)), self._n_classes)
            group.create_dataset(
                "strong", shape, np.float32, maxshape=(None, self._n_classes), chunks=chunks,
                compression="gzip", compression_opts=1, shuffle=True,
            )  # fmt: skip
        data = self._file[f"{self._numbers[name]}/strong"]
        n_before = data.shape[0]
        data.resize(n_before + len(strong), axis=0)
        data[n_before:] = strong

    def end(self, name: str, weak: np.ndarray | None, duration_seconds: float) -> None:
        if name not in self._numbers:
            return
        key = str(self._numbers[name])
        if weak is None:
            del self._file[key]
        else:
            self._file[key].create_dataset("weak", data=weak.astype(np.float32))
            self._file[key].attrs["duration_seconds"] = duration_seconds
            self._order.append(key)

    def close(self, *, keep: bool) -> None:
        self._file.create_dataset("order", data=self._order, dtype=h5py.string_dtype())
        self._file.close()
        if keep:
            os.replace(self._temporary, self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def read_recording_scores(path: str | Path) -> dict[str, Any]:
    """Read a ``scores.h5`` of ``crnn-weak detect``.

    Returns
    -------
    dict
        Recording name -> `crnn_weak.inference.results.FrameScores`, in the order of processing.

    Raises
    ------
    DataError
        The file is missing or is not such a file.
    """
    try:
        with h5py.File(path, "r") as file:
            classes, hop = tuple(file["classes"].asstr()[:]), float(file.attrs["hop_seconds"])
            groups = [file[key] for key in file["order"].asstr()[:]]
            return {
                group.attrs["name"]: FrameScores(
                    classes,
                    hop,
                    group["strong"][:],
                    group["weak"][:],
                    group.attrs["name"],
                    float(group.attrs["duration_seconds"]),
                )
                for group in groups
            }
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: not a score file of crnn-weak detect ({error}).") from None
