"""The file format of a feature store: its schema, its creation, and raw reading and writing of rows.

A store is one HDF5 file. Everything that is known before the first clip is decoded (clip ids, tags, events,
configuration) is written when the file is created, and the space of all rows is laid out in the same moment:
contiguous, at offsets that never change. From then on the HDF5 structure is not touched again. Rows are written by
plain file writes at their offsets, so a process can be killed at any moment and leaves a valid HDF5 file with some
rows still pending; and they are read in the same way, which is faster than through the HDF5 library
(``benchmarks/store.py``).

Schema 1
--------
Attributes of the root: ``kind``, ``schema``, ``features`` (JSON), ``fingerprint`` (of the features), ``dataset``,
``data_fingerprint``, ``provenance``, ``split``, ``seal`` (of all that is known beforehand).

========================  ============================  ==========================================================
dataset                   shape                         content
========================  ============================  ==========================================================
``log_mel``               (clips, frames, bands) <f4    contiguous; NaN in the rows of clips that were not read
``tags``                  (clips, classes) u1           weak labels
``clip_ids``, ``classes``  (clips,), (classes,) string
``status``                (clips,) u1                   pending, ok, short, missing, unreadable: the code in `STATUS`
``crc32``                 (clips,) <u4                  of the row, its duration and its status
``duration``              (clips,) <f8                  seconds of the recording, before padding or cutting
``reason``                (clips,) S240                 why a clip was not read; UTF-8
``events/row`` ...        (events,)                     ``row <i8, onset <f8, offset <f8, label <u2``
``events/known``          (clips,) u1                   whether the clip's events are known (none is also an answer)
========================  ============================  ==========================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import threading
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crnn_weak.config import FeatureConfig, fingerprint, from_dict
from crnn_weak.errors import DataError, FeatureStoreError
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.events import Event

__all__ = ["KIND", "READABLE", "SCHEMA", "STATUS", "RawRows", "StoreHeader", "create", "read_header", "row_crc"]

KIND = "crnn_weak features"
SCHEMA = 1
#: status -> code in the file
STATUS = {"pending": 0, "ok": 1, "short": 2, "missing": 3, "unreadable": 4}
#: The statuses of rows that hold features.
READABLE = ("ok", "short")
_REASON_BYTES = 240
# The datasets that are filled after the file was made.
_ROW_FIELDS = ("log_mel", "status", "crc32", "duration", "reason")


@dataclass(frozen=True)
class StoreHeader:
    """All that is known of a store before its first clip is decoded.

    Attributes
    ----------
    features : FeatureConfig
    classes : tuple of str
    clip_ids : tuple of str
        Of all listed clips, found or not; distinct.
    tags : np.ndarray of bool, shape (n_listed, n_classes)
    events : tuple of (tuple of Event, or None where they are not known), length n_listed
    split, dataset, data_fingerprint, provenance : str
    stored_features : dict, optional
        The settings as an earlier version wrote them (it did not round hops to whole samples).
    """

    features: FeatureConfig
    classes: tuple[str, ...]
    clip_ids: tuple[str, ...]
    tags: np.ndarray
    events: tuple[tuple[Event, ...] | None, ...]
    split: str
    dataset: str
    data_fingerprint: str
    provenance: str
    stored_features: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.clip_ids:
            raise DataError(
                f"split {self.split!r} of {self.dataset} lists no clips; a feature store needs at least one."
            )
        if len(set(self.clip_ids)) < len(self.clip_ids):
            (twice, _), *_ = Counter(self.clip_ids).most_common(1)
            raise DataError(f"split {self.split!r} of {self.dataset} lists clip {twice!r} twice; expected once.")
        expected = (len(self.clip_ids), len(self.classes))
        if self.tags.shape != expected or len(self.events) != expected[0]:
            raise DataError(
                f"store header: expected tags of shape {expected} and {expected[0]} event lists, "
                f"received {self.tags.shape} and {len(self.events)}."
            )

    @property
    def seal(self) -> str:
        """Digest of the header's content; two builds with the same digest write the same file."""
        digest = hashlib.sha256()
        facts = [SCHEMA, self.stored_features or _stored_features(self.features), self.classes, self.clip_ids]
        facts += [self.split, self.dataset, self.data_fingerprint, self.provenance]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.tags, dtype=np.uint8).tobytes())
        for array in _event_table(self).values():
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]


def _stored_features(config: FeatureConfig) -> dict[str, Any]:
    # Earlier versions had a setting of one legal value; with it, their stores keep their digest.
    return dataclasses.asdict(config) | {"centre": "cell"}


def _event_table(header: StoreHeader) -> dict[str, np.ndarray]:
    events = [(row, event) for row, listed in enumerate(header.events) for event in listed or ()]
    labels = class_indices((event.label for _, event in events), header.classes, where="events")
    return {
        "row": np.array([row for row, _ in events], dtype="<i8"),
        "onset": np.array([event.onset for _, event in events], dtype="<f8"),
        "offset": np.array([event.offset for _, event in events], dtype="<f8"),
        "label": np.array(labels, dtype="<u2"),
        "known": np.array([listed is not None for listed in header.events], dtype="u1"),
    }


def create(path: Path, header: StoreHeader) -> None:
    """Write a store whose rows are all pending; the file appears whole or not at all."""
    n_listed = len(header.clip_ids)
    config = header.features
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "status": ((n_listed,), "u1"),
        "crc32": ((n_listed,), "<u4"),
        "duration": ((n_listed,), "<f8"),
        "reason": ((n_listed,), f"S{_REASON_BYTES}"),
        "log_mel": ((n_listed, config.n_frames, config.n_mels), "<f4"),
    }
    attributes = {
        "kind": KIND,
        "schema": SCHEMA,
        "features": json.dumps(_stored_features(config)),
        "fingerprint": fingerprint(config),
        "dataset": header.dataset,
        "data_fingerprint": header.data_fingerprint,
        "provenance": header.provenance,
        "split": header.split,
        "seal": header.seal,
    }
    # Space is laid out now and not filled: where the file system has sparse files, it costs disk as rows arrive.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same content is the same bytes, whenever it is made
    temporary = path.with_name(path.name + ".new")
    with h5py.File(temporary, "w") as file:
        file.attrs.update(attributes)
        file.create_dataset("classes", data=list(header.classes), dtype=h5py.string_dtype())
        file.create_dataset("clip_ids", data=list(header.clip_ids), dtype=h5py.string_dtype())
        file.create_dataset("tags", data=np.asarray(header.tags, dtype=np.uint8))
        for name, values in _event_table(header).items():
            file.create_dataset(f"events/{name}", data=values)
        for name, (shape, dtype) in shapes.items():
            space = h5py.h5s.create_simple(shape)
            kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
            h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=layout)
    os.replace(temporary, path)


def read_header(path: Path) -> tuple[StoreHeader, dict[str, int], dict[str, Any]]:
    """Return the header, the byte offset of each row field, and the per-row arrays but for the features.

    Raises
    ------
    FeatureStoreError
        The file is missing, damaged, cut short, or no feature store.
    """
    advice = "Build it again: `crnn-weak features build --overwrite` (or overwrite=True)."
    try:
        # No lock: a store is complete when it has its name, and read-only file systems refuse locks.
        with h5py.File(path, "r", locking=False) as file:
            attributes = dict(file.attrs)
            if attributes.get("kind") != KIND:
                raise FeatureStoreError(f"{path}: an HDF5 file, but not a feature store of crnn_weak.")
            if int(attributes["schema"]) != SCHEMA:
                raise FeatureStoreError(
                    f"{path}: schema {attributes['schema']}, but this version reads schema {SCHEMA}. {advice}"
                )
            known = file["events/known"][:]
            events: list[list[Event] | None] = [[] if flag else None for flag in known]
            classes = tuple(file["classes"].asstr()[:])
            columns = [file[f"events/{name}"][:].tolist() for name in ("row", "onset", "offset", "label")]
            for row, onset, offset, label in zip(*columns, strict=True):
                events[row].append(Event(onset, offset, classes[label]))  # type: ignore[union-attr]
            header = StoreHeader(
                features=from_dict({"features": json.loads(attributes["features"])}).features,
                stored_features=json.loads(attributes["features"]),
                classes=classes,
                clip_ids=tuple(file["clip_ids"].asstr()[:]),
                tags=file["tags"][:].astype(bool),
                events=tuple(None if listed is None else tuple(listed) for listed in events),
                split=str(attributes["split"]),
                dataset=str(attributes["dataset"]),
                data_fingerprint=str(attributes["data_fingerprint"]),
                provenance=str(attributes["provenance"]),
            )
            offsets = {name: file[name].id.get_offset() for name in _ROW_FIELDS}
            rows = {name: file[name][:] for name in _ROW_FIELDS if name != "log_mel"}
            shape, dtype = file["log_mel"].shape, file["log_mel"].dtype
    except FileNotFoundError:
        raise FeatureStoreError(f"{path}: no such feature store. Build it: `crnn-weak features build`.") from None
    except FeatureStoreError:
        raise
    # Whatever a damaged file makes of its parts, to the user it is a damaged file.
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise FeatureStoreError(f"{path}: damaged, or no HDF5 file ({error}). {advice}") from None
    expected = (len(header.clip_ids), header.features.n_frames, header.features.n_mels)
    if shape != expected or dtype != np.dtype("<f4") or any(offset is None for offset in offsets.values()):
        raise FeatureStoreError(
            f"{path}: log_mel is {shape} {dtype}; expected {expected} float32, contiguous. {advice}"
        )
    if header.seal != attributes.get("seal"):
        raise FeatureStoreError(f"{path}: damaged, its labels or settings are not those it was sealed with. {advice}")
    end = offsets["log_mel"] + 4 * int(np.prod(expected, dtype=np.int64))
    if path.stat().st_size < end:
        raise FeatureStoreError(f"{path}: cut short, {path.stat().st_size} bytes of {end}. {advice}")
    return header, offsets, rows


def row_crc(log_mel: np.ndarray, duration: float, status: str) -> int:
    """Return the checksum of one row: its features, duration and status."""
    data = np.ascontiguousarray(log_mel, dtype="<f4")
    return zlib.crc32(struct.pack("<dB", duration, STATUS[status]), zlib.crc32(data.data))


class RawRows:
    """Rows of the features as plain bytes of the file, for reading or, with ``writable``, for filling a store.

    Opened at first use in each process (a forked child must not share the parent's file position), safe between
    threads, pickled without its handle.
    """

    def __init__(
        self, path: Path, offsets: dict[str, int], row_shape: tuple[int, int], *, writable: bool = False
    ) -> None:
        self._path = path
        self._offsets = offsets
        self._row_shape = row_shape
        self._row_bytes = 4 * row_shape[0] * row_shape[1]
        self._writable = writable
        self._file: Any = None
        self._lock = threading.Lock()
        self._process = -1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_lock": None, "_process": -1}

    def _open(self) -> Any:
        if self._process != os.getpid():
            self.close()  # a forked child closes its copy of the handle, the parent keeps its own
            self._lock = threading.Lock()
            self._file = open(self._path, "r+b" if self._writable else "rb", buffering=0)  # noqa: SIM115
            self._process = os.getpid()
        return self._file

    def close(self) -> None:
        """Close this process's handle; the next use opens it again."""
        if self._file is not None:
            self._file.close()
        self._file, self._process = None, -1

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file.close()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of rows of the file, in the order asked, shape (len(rows), n_frames, n_mels)."""
        out = np.empty((len(rows), *self._row_shape), dtype="<f4")
        file = self._open()
        order = np.argsort(rows, kind="stable")  # front to back, as a disk likes it
        # Neighbours both in the file and in the answer are one read: a scan is few large reads.
        breaks = np.flatnonzero((np.diff(rows[order]) != 1) | (np.diff(order) != 1)) + 1
        for start, stop in pairwise([0, *breaks.tolist(), len(rows)] if len(rows) else []):
            place = int(order[start])
            view = out[place : place + stop - start].data.cast("B")
            with self._lock:
                file.seek(self._offsets["log_mel"] + int(rows[place]) * self._row_bytes)
                done = 0
                while done < len(view):
                    received = file.readinto(view[done:])
                    if not received:
                        raise FeatureStoreError(
                            f"{self._path}: ends before row {int(rows[place])}; the file was changed after it was "
                            "opened. Run `crnn-weak features verify` on it."
                        )
                    done += received
        return out

    def write(self, row: int, log_mel: np.ndarray | None, *, status: str, duration: float, reason: str = "") -> None:
        """Fill one row. The status comes last: a row is done when all else of it is written.

        Parameters
        ----------
        log_mel : np.ndarray of float32, shape (n_frames, n_mels), or None
            None fills the row with NaN, so that a reader that ignores the status notices.
        """
        filled = log_mel is not None
        data = np.ascontiguousarray(log_mel if filled else np.full(self._row_shape, np.nan), dtype="<f4")
        if data.shape != self._row_shape:
            raise DataError(f"row {row}: expected features of shape {self._row_shape}, received {data.shape}.")
        if status not in STATUS or (status in READABLE) != filled:
            raise DataError(f"row {row}: status {status!r} does not fit {'features' if filled else 'no features'}.")
        text = reason.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
        self._put("status", row, struct.pack("<B", STATUS["pending"]))
        self._put("log_mel", row, data.data)
        self._put("crc32", row, struct.pack("<I", row_crc(data, duration, status)))
        self._put("duration", row, struct.pack("<d", duration))
        self._put("reason", row, text.ljust(_REASON_BYTES, b"\0"))
        self._put("status", row, struct.pack("<B", STATUS[status]))

    def _put(self, name: str, row: int, data: Any) -> None:
        file = self._open()
        view = memoryview(data).cast("B")
        with self._lock:
            file.seek(self._offsets[name] + row * len(view))
            done = 0
            while done < len(view):
                done += file.write(view[done:])

    def sync(self) -> None:
        """Wait until the disk has everything."""
        os.fsync(self._open().fileno())
