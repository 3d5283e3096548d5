"""HDF5 files on disks that may be full.

HDF5 keeps data that it could not write, tries again whenever one of its objects is released, and then ends the process
with a segmentation fault. Here it writes through a Python file that accepts every write and keeps the first error.
"""

from __future__ import annotations

import os
from pathlib import Path

import h5py

__all__ = ["HdfWriter"]


class HdfWriter:
    """A new HDF5 file.

    Parameters
    ----------
    path : path
        Overwritten.

    Attributes
    ----------
    file : h5py.File
        Open for writing. After an error of the disk its content is lost, but using it is safe; call `check` after
        each larger step, so that the error is reported early.
    """

    def __init__(self, path: str | Path) -> None:
        self._raw = _Forgiving(path)
        self.file = h5py.File(self._raw, "w")

    def check(self) -> None:
        """Raise the disk's first error.

        Raises
        ------
        OSError
            Something could not be written.
        """
        if self._raw.error is not None:
            raise self._raw.error

    def close(self) -> None:
        """Finish the file; raises as `check` does."""
        self.file.close()
        self._raw.close()
        self.check()


class _Forgiving:
    """A file whose writes never fail; `error` is the first one that did."""

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "wb+", buffering=0)  # noqa: SIM115
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        return self._file.read(size).ljust(size, b"\0")

    def readinto(self, buffer: memoryview) -> int:
        n_read = self._file.readinto(buffer) or 0
        buffer[n_read:] = bytes(len(buffer) - n_read)  # of a write that failed
        return len(buffer)

    def write(self, data: memoryview) -> int:
        n_written = 0
        try:
            while self.error is None and n_written < len(data):
                n_written += self._file.write(data[n_written:])
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._file.close()
