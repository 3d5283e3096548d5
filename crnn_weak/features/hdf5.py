"""HDF5 files: arrays read without trust in what a damaged file states, and files written to disks that may be full."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def open_hdf5(path: str | Path) -> h5py.File:
    """Open a finished HDF5 file to read, without a lock, which read-only file systems refuse."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("not a regular file")
    return h5py.File(path, "r", locking=False)


def write_names(file: h5py.File, name: str, names: Sequence[str]) -> None:
    """Write names as strings of one length; damage to strings of many lengths crashes the HDF5 library."""
    encoded = [text.encode() for text in names]
    kind = h5py.string_dtype(length=max([1, *map(len, encoded)]))
    file.create_dataset(name, data=np.array(encoded, kind))


def read_array(dataset: h5py.Dataset) -> np.ndarray:
    """Read a dataset of numbers, or of names by `write_names`; damage may state a shape that takes all memory."""
    if dataset.dtype.kind not in "biufS":
        raise ValueError(f"{dataset.name} has the type {dataset.dtype}")
    n_bytes = dataset.file.id.get_filesize()
    if dataset.compression:  # deflate stores at most 1032 bytes in one
        n_bytes = 2**20 + 1100 * min(n_bytes, dataset.id.get_storage_size())
    if dataset.nbytes > n_bytes:
        raise ValueError(f"{dataset.name} states {dataset.nbytes:,} bytes")
    return dataset.asstr()[:] if dataset.dtype.kind == "S" else dataset[:]


class HdfWriter:
    """A new HDF5 file on a disk that may be full; `file` is the open `h5py.File`. Call `check` after larger steps."""

    # HDF5 ends the process after a failed write. So it writes through a file that keeps the first error for `check`.
    def __init__(self, path: str | Path) -> None:
        self._raw = _ForgivingFile(path, "wb+")
        self.file = h5py.File(self._raw, "w")

    def check(self) -> None:
        """Raise the disk's first error, an OSError."""
        if self._raw.error is not None:
            raise self._raw.error

    def close(self) -> None:
        """Finish the file; raises as `check` does."""
        self.file.close()
        self._raw.close()
        self.check()


class _ForgivingFile(io.FileIO):
    """A file whose writes never fail; `error` is the first one that did."""

    error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        n_read = super().readinto(buffer) or 0
        buffer[n_read:] = bytes(len(buffer) - n_read)  # of a write that failed
        return len(buffer)

    def write(self, data: Any) -> int:
        n_written = 0
        try:
            while self.error is None and n_written < len(data):
                n_written += super().write(data[n_written:])
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0
