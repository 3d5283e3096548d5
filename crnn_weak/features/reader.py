"""Reading a feature store, and checking one."""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from crnn_weak.config import FeatureConfig, fingerprint
from crnn_weak.errors import ClipError, FeatureStoreError, nearest_names
from crnn_weak.features.layout import READABLE, STATUS, open_store, row_crc
from crnn_weak.labels.events import Event

__all__ = ["FeatureStore", "StoreReport", "verify_store"]

_NAME = {code: name for name, code in STATUS.items()}
# Rows per read of the check: 64 clips of the paper's size are 5 MB.
_BLOCK = 64
# How much of the file may count as memory of this process.
_MAPPED_BYTES = 2**25


class FeatureStore:
    """The features and labels of the readable clips of one split, read from HDF5 a batch at a time.

    Rows count the *readable* clips only (status ok or short), in the order in which the data set lists them; what
    could not be read is in `skipped`, with the reason. Reads from a memory map; safe between threads and forks, and
    picklable. A context manager.

    Parameters
    ----------
    path : path
    expected : FeatureConfig, optional
        Refuse a store with different features.

    Attributes
    ----------
    classes, clip_ids : tuple of str
    tags : np.ndarray of bool, shape (n_clips, n_classes)
    durations : np.ndarray of float64, shape (n_clips,)
        Seconds of each recording, before padding or cutting.
    features : FeatureConfig
    split, dataset, provenance, fingerprint, data_fingerprint, digest : str
        `fingerprint` names the features' configuration, `data_fingerprint` the data set's content, `digest` all that
        was known before the first clip was decoded.
    counts : dict of str to int
        Listed clips by status: ok, short, missing, unreadable.
    skipped : tuple of (clip id, status, reason)

    Raises
    ------
    FeatureStoreError
        The file is missing, damaged, unfinished, or has different features.
    """

    def __init__(self, path: str | Path, expected: FeatureConfig | None = None) -> None:
        self.path = Path(path)
        header, rows = open_store(self.path)
        if expected is not None and header.features != expected:
            raise FeatureStoreError(f"{self.path}: {_difference(header.features, expected)}")
        status = np.array(rows["status"])
        if status.max() > max(STATUS.values()):
            raise FeatureStoreError(
                f"{self.path}: damaged, an unknown row status ({status.max()}). Build it again with --overwrite."
            )
        if (status == STATUS["pending"]).any():
            raise FeatureStoreError(
                f"{self.path}: unfinished, {(status == STATUS['pending']).sum()} of {len(status)} clips are pending. "
                "Start the same `crnn-weak features build` again: it goes on where it stopped."
            )
        readable = np.isin(status, [STATUS[name] for name in READABLE])
        self._rows = np.flatnonzero(readable)
        self.classes = header.classes
        self.clip_ids = tuple(header.clip_ids[row] for row in self._rows)
        self.tags = header.tags[self._rows]
        self.durations = rows["duration"][self._rows]
        self.features = header.features
        self.split = header.split
        self.dataset = header.dataset
        self.provenance = header.provenance
        self.fingerprint = fingerprint(header.features)
        self.data_fingerprint = header.data_fingerprint
        self.digest = header.digest
        self.n_listed = len(header.clip_ids)
        self.counts = {name: int((status == STATUS[name]).sum()) for name in STATUS if name != "pending"}
        self.skipped = tuple(
            (header.clip_ids[row], _NAME[int(status[row])], bytes(rows["reason"][row]).decode(errors="replace"))
            for row in np.flatnonzero(~readable)
        )
        self._events = tuple(header.events[row] for row in self._rows)
        self._crc32 = rows["crc32"][self._rows]
        self._status = status[self._rows]
        self._log_mel: Any = rows["log_mel"]  # np.memmap; None after pickling
        self._n_mapped_bytes = 0
        self._positions: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureStore({self.path.name}: {self.coverage}, split {self.split}, {len(self.classes)} classes)"

    def close(self) -> None:
        """Close the file; the next `read` opens it again."""
        self._log_mel = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_log_mel": None}

    @property
    def n_clips(self) -> int:
        """Readable clips."""
        return len(self._rows)

    @property
    def coverage(self) -> str:
        """``"n of N clips"``, for every table."""
        return f"{self.n_clips} of {self.n_listed} clips"

    @property
    def has_events(self) -> bool:
        """True if onsets and offsets are known for every readable clip."""
        return all(events is not None for events in self._events)

    @property
    def events(self) -> dict[str, tuple[Event, ...]]:
        """Reference events by clip id, of the readable clips whose events are known."""
        pairs = zip(self.clip_ids, self._events, strict=True)
        return {clip_id: events for clip_id, events in pairs if events is not None}

    def row(self, clip_id: str) -> int:
        """Return the row of a clip.

        Raises
        ------
        ClipError
            The clip is not in the store, or could not be read.
        """
        if self._positions is None:
            self._positions = {name: row for row, name in enumerate(self.clip_ids)}
        if clip_id not in self._positions:
            for name, status, reason in self.skipped:
                if name == clip_id:
                    raise ClipError(f"{self.path}: clip {clip_id!r} is {status} ({reason}).")
            raise ClipError(f"{self.path}: no clip {clip_id!r}. {nearest_names(clip_id, self.clip_ids)}")
        return self._positions[clip_id]

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the log mel-band energies of some clips, not standardized.

        Nothing is cached: memory is that of the answer.

        Parameters
        ----------
        rows : sequence of int, length n
            In any order, duplicates allowed, each in [0, n_clips).

        Returns
        -------
        np.ndarray of float32, shape (n, n_frames, n_mels)
            In the order asked for; the caller's own.

        Raises
        ------
        IndexError
            A row is out of range.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        if chosen.ndim != 1:
            raise IndexError(f"{self.path}: rows of shape {chosen.shape}; expected one dimension.")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise IndexError(f"{self.path}: rows {chosen.min()} to {chosen.max()}; expected 0 to {len(self) - 1}.")
        data = self._log_mel
        if data is None:
            header, arrays = open_store(self.path)
            if header.digest != self.digest:
                raise FeatureStoreError(f"{self.path}: was replaced by another store after it was opened.")
            self._log_mel = data = arrays["log_mel"]
        if self.path.exists() and self.path.stat().st_size < data.offset + data.nbytes:
            raise FeatureStoreError(
                f"{self.path}: ends before its last row; the file was changed after it was opened. Run "
                "`crnn-weak features verify` on it."
            )
        values: np.ndarray = np.asarray(data)[self._rows[chosen]]
        self._n_mapped_bytes += values.nbytes
        if self._n_mapped_bytes > _MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            # The system may keep these pages cached; they no longer count as memory of this process.
            data._mmap.madvise(mmap.MADV_DONTNEED)
            self._n_mapped_bytes = 0
        return values

    def damaged_rows(self) -> list[int]:
        """Return the rows whose features are not those that were written, or not finite; a block at a time."""
        bad = []
        for first in range(0, len(self), _BLOCK):
            block = range(first, min(first + _BLOCK, len(self)))
            for row, values in zip(block, self.read(block), strict=True):
                crc = row_crc(values, float(self.durations[row]), _NAME[int(self._status[row])])
                if crc != self._crc32[row] or not np.isfinite(values).all():
                    bad.append(row)
        return bad


def _difference(stored: FeatureConfig, expected: FeatureConfig) -> str:
    names = [field.name for field in dataclasses.fields(FeatureConfig)]
    parts = [
        f"{name} {getattr(stored, name)!r} (expected {getattr(expected, name)!r})"
        for name in names
        if getattr(stored, name) != getattr(expected, name)
    ]
    return (
        f"features of another configuration: {', '.join(parts)}. "
        "Build it again with `crnn-weak features build --overwrite`, or use the configuration that the file holds."
    )


@dataclasses.dataclass(frozen=True)
class StoreReport:
    """The result of `verify_store`."""

    path: str
    n_listed: int
    n_clips: int
    counts: dict[str, int]
    n_bytes: int


def verify_store(path: str | Path, expected: FeatureConfig | None = None) -> StoreReport:
    """Check a store from end to end: schema, labels, every row's checksum and finiteness. Memory is bounded.

    Raises
    ------
    FeatureStoreError
        Something is wrong; the message says what, in which clips, and what to do.
    """
    with FeatureStore(path, expected) as store:
        bad = store.damaged_rows()
        if bad:
            names = ", ".join(store.clip_ids[row] for row in bad[:5])
            raise FeatureStoreError(
                f"{path}: {len(bad)} of {store.n_clips} rows are damaged ({names}{', ...' if len(bad) > 5 else ''}). "
                "Build it again with `crnn-weak features build --overwrite`."
            )
        size = store.path.stat().st_size
        return StoreReport(str(path), store.n_listed, store.n_clips, store.counts, size)
