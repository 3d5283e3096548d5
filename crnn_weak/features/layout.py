"""The file format of a feature store: its schema, its creation, and its rows as memory maps.

A store is one HDF5 file. Everything that is known before the first clip is decoded (clip ids, tags, events,
configuration) is written when the file is created, and the space of all rows is reserved in the same moment:
contiguous, at offsets that never change. From then on the HDF5 structure is not touched again: rows are written and
read through `np.memmap`. A process can be killed at any moment and leaves a valid HDF5 file with some rows pending.

Schema 1
--------
Attributes of the root: ``kind``, ``schema``, ``features`` (JSON), ``fingerprint`` (of the features), ``dataset``,
``data_fingerprint``, ``provenance``, ``split``, ``seal`` (the digest of all that is known beforehand).

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
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crnn_weak.config import FeatureConfig, fingerprint, from_dict
from crnn_weak.errors import CrnnWeakError, DataError, FeatureStoreError
from crnn_weak.files import HdfWriter, replace_file
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.events import Event

__all__ = ["KIND", "READABLE", "SCHEMA", "STATUS", "StoreHeader", "create", "open_store", "row_crc", "write_row"]

KIND = "crnn_weak features"
SCHEMA = 1
#: status -> code in the file
STATUS = {"pending": 0, "ok": 1, "short": 2, "missing": 3, "unreadable": 4}
#: The statuses of rows that hold features.
READABLE = ("ok", "short")
_REASON_BYTES = 240
# The datasets that are filled after the file was made.
_ROW_FIELDS = ("log_mel", "status", "crc32", "duration", "reason")
_REBUILD = "Build it again: `crnn-weak features build --overwrite` (or overwrite=True)."


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
    def digest(self) -> str:
        """Digest of the header; two builds with the same digest make the same file."""
        sha256 = hashlib.sha256()
        facts = [SCHEMA, self.stored_features or _stored_features(self.features), self.classes, self.clip_ids]
        facts += [self.split, self.dataset, self.data_fingerprint, self.provenance]
        sha256.update(json.dumps(facts, sort_keys=True).encode())
        sha256.update(np.ascontiguousarray(self.tags, dtype=np.uint8).tobytes())
        for array in _event_table(self).values():
            sha256.update(array.tobytes())
        return sha256.hexdigest()[:32]


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
    """Write a store whose rows are all pending; the file appears whole or not at all.

    Raises
    ------
    OSError
        The disk has too little room for all rows.
    """
    with replace_file(path) as temporary:
        writer = HdfWriter(temporary)
        _write_header(writer.file, header)
        writer.close()
        if hasattr(os, "posix_fallocate"):
            # Without space on the disk, writing to a memory map would end the process.
            with temporary.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)


def _write_header(file: h5py.File, header: StoreHeader) -> None:
    file.attrs.update(
        {
            "kind": KIND,
            "schema": SCHEMA,
            "features": json.dumps(_stored_features(header.features)),
            "fingerprint": fingerprint(header.features),
            "dataset": header.dataset,
            "data_fingerprint": header.data_fingerprint,
            "provenance": header.provenance,
            "split": header.split,
            "seal": header.digest,
        }
    )
    file.create_dataset("classes", data=list(header.classes), dtype=h5py.string_dtype())
    file.create_dataset("clip_ids", data=list(header.clip_ids), dtype=h5py.string_dtype())
    file.create_dataset("tags", data=np.asarray(header.tags, dtype=np.uint8))
    for name, values in _event_table(header).items():
        file.create_dataset(f"events/{name}", data=values)
    # Space for all rows, which HDF5 does not fill.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same content is the same bytes, whenever it is made
    for name, (shape, dtype) in _row_shapes(header).items():
        kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
        h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), dcpl=layout)


def _row_shapes(header: StoreHeader) -> dict[str, tuple[tuple[int, ...], str]]:
    n_listed = len(header.clip_ids)
    return {
        "status": ((n_listed,), "u1"),
        "crc32": ((n_listed,), "<u4"),
        "duration": ((n_listed,), "<f8"),
        "reason": ((n_listed,), f"S{_REASON_BYTES}"),
        "log_mel": ((n_listed, header.features.n_frames, header.features.n_mels), "<f4"),
    }


def open_store(path: Path, *, writable: bool = False) -> tuple[StoreHeader, dict[str, np.ndarray]]:
    """Return the header of a store, and memory maps of its row fields by name.

    Raises
    ------
    FeatureStoreError
        The file is missing, damaged, cut short, or no feature store.
    """
    try:
        # No lock: a store is complete when it has its name, and read-only file systems refuse locks.
        with h5py.File(path, "r", locking=False) as file:
            header = _read_header(file, path)
            found = {name: (file[name].shape, file[name].dtype, file[name].id.get_offset()) for name in _ROW_FIELDS}
    except FileNotFoundError:
        raise FeatureStoreError(f"{path}: no such feature store. Build it: `crnn-weak features build`.") from None
    except FeatureStoreError:
        raise
    # Whatever a damaged file makes of its parts, to the user it is a damaged file.
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, CrnnWeakError) as error:
        raise FeatureStoreError(f"{path}: damaged, or no HDF5 file ({error}). {_REBUILD}") from None
    maps: dict[str, np.ndarray] = {}
    size = path.stat().st_size
    for name, (shape, kind) in _row_shapes(header).items():
        stored_shape, stored_kind, offset = found[name]
        if (stored_shape, stored_kind) != (shape, np.dtype(kind)) or offset is None:
            raise FeatureStoreError(
                f"{path}: {name} is {stored_shape} {stored_kind}; expected {shape} {kind}, contiguous. {_REBUILD}"
            )
        end = offset + int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        if size < end:
            raise FeatureStoreError(f"{path}: cut short, {size} bytes of {end}. {_REBUILD}")
        maps[name] = np.memmap(path, kind, "r+" if writable else "r", offset, shape)
    return header, maps


def _read_header(file: h5py.File, path: Path) -> StoreHeader:
    attributes = dict(file.attrs)
    if attributes.get("kind") != KIND:
        raise FeatureStoreError(f"{path}: an HDF5 file, but not a feature store of crnn_weak.")
    if int(attributes["schema"]) != SCHEMA:
        raise FeatureStoreError(
            f"{path}: schema {attributes['schema']}, but this version reads schema {SCHEMA}. {_REBUILD}"
        )
    events: list[list[Event] | None] = [[] if flag else None for flag in file["events/known"][:]]
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
    if header.digest != attributes.get("seal"):
        raise FeatureStoreError(
            f"{path}: damaged, its labels or settings are not those it was written with. {_REBUILD}"
        )
    return header


def row_crc(log_mel: np.ndarray, duration: float, status: str) -> int:
    """Return the checksum of one row: its features, duration and status."""
    data = np.ascontiguousarray(log_mel, dtype="<f4")
    return zlib.crc32(struct.pack("<dB", duration, STATUS[status]), zlib.crc32(data.data))


def write_row(
    rows: dict[str, np.ndarray],
    row: int,
    log_mel: np.ndarray | None,
    *,
    status: str,
    duration: float,
    reason: str = "",
) -> None:
    """Fill one row. The status comes last: a row is done when all else of it is written.

    Parameters
    ----------
    rows : dict of str to np.memmap
    row : int
    log_mel : np.ndarray of float32, shape (n_frames, n_mels), or None
        Features for status ok and short. None fills the row with NaN, which shows where a status is overlooked.
    status, reason : str
    duration : float
        Seconds.
    """
    filled, shape = log_mel is not None, rows["log_mel"].shape[1:]
    data = np.ascontiguousarray(log_mel if filled else np.full(shape, np.nan), dtype="<f4")
    if data.shape != shape:
        raise DataError(f"row {row}: expected features of shape {shape}, received {data.shape}.")
    if status not in STATUS or (status in READABLE) != filled:
        raise DataError(f"row {row}: status {status!r} does not fit {'features' if filled else 'no features'}.")
    rows["status"][row] = STATUS["pending"]
    rows["log_mel"][row] = data
    rows["crc32"][row] = row_crc(data, duration, status)
    rows["duration"][row] = duration
    rows["reason"][row] = reason.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
    rows["status"][row] = STATUS[status]
