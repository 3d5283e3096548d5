"""The feature store: one HDF5 file for the clips of one split; an unfinished one is called ``<path>.partial``.

Header and space of all rows are written first. Rows go through `np.memmap`: a killed process leaves a valid file.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import mmap
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crnn_weak.config import FeatureConfig, from_dict
from crnn_weak.errors import ClipError, DataError, FeatureStoreError, nearest_names
from crnn_weak.features.hdf5 import open_hdf5, read_array
from crnn_weak.labels.events import Event, class_indices, tag_names
from crnn_weak.labels.names import check_classes
from crnn_weak.labels.rolls import frame_edges

KIND = "crnn_weak features"
SCHEMA = 3
#: The state of a listed clip -> its code in the file. A short clip has at least one padded frame.
STATUS = {"pending": 0, "ok": 1, "short": 2, "missing": 3, "unreadable": 4}
READABLE = (STATUS["ok"], STATUS["short"])
TEXTS = ("dataset", "data_fingerprint", "provenance", "split")
REASON_BYTES = 240
_REBUILD = "Delete it and rerun the command, or build it again: `crnn-weak features build --overwrite`."
_MAPPED_BYTES = 2**25  # of the file that may count as memory of this process


@dataclass(frozen=True)
class StoreHeader:
    """All that is known of a store before its first clip is decoded, for all listed clips, found or not."""

    features: FeatureConfig
    classes: tuple[str, ...]
    clip_ids: tuple[str, ...]
    tags: np.ndarray  # bool, (n_listed, n_classes)
    events: tuple[tuple[Event, ...] | None, ...]  # for each clip; None where they are not known
    split: str
    dataset: str
    data_fingerprint: str
    provenance: str

    def __post_init__(self) -> None:
        where = f"split {self.split!r} of {self.dataset}"
        check_classes(self.classes, where)
        if not self.clip_ids:
            raise DataError(f"{where} lists no clips; a feature store needs at least one.")
        (twice, count), *_ = Counter(self.clip_ids).most_common(1)
        if count > 1:
            raise DataError(f"{where} lists clip {twice!r} twice; expected once.")

    @property
    def digest(self) -> str:
        """Digest of the header; two builds with the same digest make the same file."""
        sha256 = hashlib.sha256()
        facts = [SCHEMA, dataclasses.asdict(self.features), self.classes, self.clip_ids]
        facts += [self.split, self.dataset, self.data_fingerprint, self.provenance]
        sha256.update(json.dumps(facts, sort_keys=True).encode())
        sha256.update(np.ascontiguousarray(self.tags, dtype=np.uint8).tobytes())
        for array in self.event_table().values():
            sha256.update(array.tobytes())
        return sha256.hexdigest()[:32]

    def event_table(self) -> dict[str, np.ndarray]:
        """Return the columns of the events, by name."""
        events = [(row, event) for row, listed in enumerate(self.events) for event in listed or ()]
        labels = class_indices((event.label for _, event in events), self.classes, where="events")
        return {
            "row": np.array([row for row, _ in events], dtype="<i8"),
            "onset": np.array([event.onset for _, event in events], dtype="<f8"),
            "offset": np.array([event.offset for _, event in events], dtype="<f8"),
            "label": np.array(labels, dtype="<u2"),
            "known": np.array([listed is not None for listed in self.events], dtype="u1"),  # none is also known
        }

    def row_fields(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return shape and type of the datasets that are filled row by row."""
        n_listed = len(self.clip_ids)
        return {
            "status": ((n_listed,), "u1"),  # of STATUS
            "crc32": ((n_listed,), "<u4"),  # of the row, its duration and its status
            "duration": ((n_listed,), "<f8"),  # seconds of the recording, before padding or cutting
            "reason": ((n_listed,), f"S{REASON_BYTES}"),  # why a clip was not read, or what is odd about it, UTF-8
            "log_mel": ((n_listed, self.features.n_frames, self.features.n_mels), "<f4"),  # NaN where it was not read
        }


class FeatureStore:
    """The features and labels of the readable clips of one split, read from HDF5 a batch at a time.

    Rows count the *readable* clips only (status ok or short), in the order in which the data set lists them; clips that
    could not be read are in `skipped`, with the reason. Reads from a memory map; safe between threads and forks, and
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
    n_valid_frames : np.ndarray of int, shape (n_clips,)
        How many frames hold recorded audio, the last perhaps in part; those after them are padding.
    features : FeatureConfig
    split, provenance, digest : str
        The digest is of all that was known before the first clip was decoded.
    counts : dict of str to int
        Listed clips by status: ok, short, missing, unreadable.
    skipped : tuple of (clip id, status, reason)
    odd : dict of str to int
        Readable clips by what is odd about their sound or file, e.g. clipped.
    coverage : str
        ``"n of N clips"``, for every table.
    events : dict of str to tuple of Event
        Reference events by clip id, of the readable clips whose events are known.
    has_events : bool
        Whether they are known for every readable clip.

    Raises
    ------
    FeatureStoreError
        The file is missing, damaged, unfinished, or has different features.
    """

    def __init__(self, path: str | Path, expected: FeatureConfig | None = None) -> None:
        self.path = Path(path)
        header, rows = open_store(self.path)
        self.features = header.features
        if expected is not None:
            self.check_features(expected)
        status = np.array(rows["status"])
        if n_pending := int((status == STATUS["pending"]).sum()):
            raise FeatureStoreError(
                f"{self.path}: unfinished, {n_pending} of {len(status)} clips are pending. "
                "Rerun the same `crnn-weak features build` to resume."
            )
        readable = np.isin(status, READABLE)
        self._rows = np.flatnonzero(readable)
        self.classes = header.classes
        self.clip_ids = tuple(header.clip_ids[row] for row in self._rows)
        self.tags = header.tags[self._rows]
        self.durations = rows["duration"][self._rows]
        self.split = header.split
        self.provenance = header.provenance
        self.digest = header.digest
        self.n_listed = len(header.clip_ids)
        self.counts = {name: int((status == code).sum()) for name, code in STATUS.items() if name != "pending"}
        names = list(STATUS)
        reasons = [bytes(reason).decode(errors="replace") for reason in rows["reason"]]
        others = np.flatnonzero(~readable)
        self.skipped = tuple((header.clip_ids[row], names[status[row]], reasons[row]) for row in others)
        self.odd = dict(Counter(kind for row in self._rows for kind in reasons[row].splitlines()))
        self.coverage = f"{len(self)} of {self.n_listed} clips"
        events = [header.events[row] for row in self._rows]
        self.has_events = None not in events
        self.events = {name: listed for name, listed in zip(self.clip_ids, events, strict=True) if listed is not None}
        self._crc32 = rows["crc32"][self._rows]
        self._status = status[self._rows]
        self._log_mel: Any = rows["log_mel"]  # np.memmap; None after pickling
        self._n_mapped_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next `read` opens it again."""
        self._log_mel = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_log_mel": None}

    @property
    def n_valid_frames(self) -> np.ndarray:
        """Return how many frames of each clip are recorded, not padded."""
        n_frames = [frame_edges(0.0, float(seconds), self.features.hop_seconds)[1] for seconds in self.durations]
        return np.minimum(np.array(n_frames, np.int64), self.features.n_frames)

    def check_features(self, expected: FeatureConfig) -> None:
        """Refuse other features than these with a FeatureStoreError that names the settings."""
        if differing := differing_features(self.features, expected):
            raise FeatureStoreError(
                f"{self.path}: features of another configuration: {differing}. {_REBUILD} "
                "Or use the configuration in the file."
            )

    def only(self, clip_ids: Collection[str], split: str) -> FeatureStore:
        """Return the store with some of its clips only, as those of another split."""
        part = copy.copy(self)
        kept = np.flatnonzero(np.isin(self.clip_ids, list(clip_ids)))
        part.clip_ids = tuple(self.clip_ids[row] for row in kept)
        for name in ("_rows", "tags", "durations", "_crc32", "_status"):
            setattr(part, name, getattr(self, name)[kept])
        part.events = {name: events for name, events in self.events.items() if name in clip_ids}
        part.has_events = len(part.events) == len(kept)
        part.split, part.n_listed, part.skipped = split, len(kept), ()
        part.coverage = f"{len(kept)} of {len(kept)} clips"
        return part

    def named_tags(self, wanted: Collection[str] | None = None) -> dict[str, tuple[str, ...]]:
        """Return the tags of each clip, or of those wanted that are in the store, by clip id."""
        rows = zip(self.clip_ids, self.tags, strict=True)
        return {clip: tag_names(row, self.classes) for clip, row in rows if wanted is None or clip in wanted}

    def row(self, clip_id: str) -> int:
        """Return the row of a clip; a clip that is not in the store is a ClipError that says why."""
        if clip_id in self.clip_ids:
            return self.clip_ids.index(clip_id)
        for name, status, reason in self.skipped:
            if name == clip_id:
                raise ClipError(f"{self.path}: clip {clip_id!r} is {status} ({reason}).")
        raise ClipError(f"{self.path}: no clip {clip_id!r}. {nearest_names(clip_id, self.clip_ids)}")

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return log mel-band energies, not standardized: float32 ``(n, n_frames, n_mels)``, in the order of `rows`."""
        chosen = np.asarray(rows, dtype=np.int64)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise IndexError(f"{self.path}: rows {chosen.min()} to {chosen.max()}; expected 0 to {len(self) - 1}.")
        data = self._log_mel
        if data is None:
            header, fields = open_store(self.path)
            if header.digest != self.digest:
                raise FeatureStoreError(f"{self.path}: was replaced by another store after it was opened.")
            self._log_mel = data = fields["log_mel"]
        if self.path.exists() and self.path.stat().st_size < data.offset + data.nbytes:
            # Reading past the end of a mapped file kills the process.
            raise FeatureStoreError(f"{self.path}: cut short after it was opened. {_REBUILD}")
        values: np.ndarray = np.asarray(data)[self._rows[chosen]]
        for row, log_mel in zip(chosen, values, strict=True):
            if row_crc(log_mel, self.durations[row], self._status[row]) != self._crc32[row]:
                raise FeatureStoreError(f"{self.path}: the row of clip {self.clip_ids[row]!r} is damaged. {_REBUILD}")
        self._n_mapped_bytes += values.nbytes
        if self._n_mapped_bytes > _MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            # The system may keep these pages cached; they no longer count as memory of this process.
            data._mmap.madvise(mmap.MADV_DONTNEED)
            self._n_mapped_bytes = 0
        return values


def open_store(path: Path, *, writable: bool = False) -> tuple[StoreHeader, dict[str, np.ndarray]]:
    """Return the header of a store, and memory maps of its row fields by name."""
    maps: dict[str, np.ndarray] = {}
    try:
        with open_hdf5(path) as file:
            header = _read_header(file, path)
            for name, (shape, kind) in header.row_fields().items():
                stored, offset = file[name], file[name].id.get_offset()
                if (stored.shape, stored.dtype) != (shape, np.dtype(kind)) or offset is None:
                    raise ValueError(f"{name} is {stored.shape} {stored.dtype}; expected {shape} {kind}, contiguous")
                maps[name] = np.memmap(path, kind, "r+" if writable else "r", offset, shape)
            if maps["status"].max() >= len(STATUS):
                raise ValueError(f"unknown row status {maps['status'].max()}")
    except FileNotFoundError:
        raise FeatureStoreError(f"{path}: no such feature store. Build it: `crnn-weak features build`.") from None
    except FeatureStoreError:
        raise
    except Exception as error:  # whatever damage makes of the file
        raise FeatureStoreError(f"{path}: damaged, or no HDF5 file ({error}). {_REBUILD}") from None
    return header, maps


def _read_header(file: h5py.File, path: Path) -> StoreHeader:
    facts = json.loads(read_array(file["header"])[0]) if "header" in file else {}
    if facts.get("kind") != KIND:
        raise FeatureStoreError(f"{path}: an HDF5 file, but not a feature store of this version. {_REBUILD}")
    if facts["schema"] != SCHEMA:
        raise ValueError(f"schema {facts['schema']}, but this version reads schema {SCHEMA}")
    events: list[list[Event] | None] = [[] if known else None for known in read_array(file["events/known"])]
    classes = tuple(read_array(file["classes"]))
    columns = [read_array(file[f"events/{name}"]).tolist() for name in ("row", "onset", "offset", "label")]
    for row, onset, offset, label in zip(*columns, strict=True):
        events[row].append(Event(onset, offset, classes[label]))  # type: ignore[union-attr]
    header = StoreHeader(
        features=from_dict({"features": facts["features"]}).features,
        classes=classes,
        clip_ids=tuple(read_array(file["clip_ids"])),
        tags=read_array(file["tags"]).astype(bool),
        events=tuple(None if listed is None else tuple(listed) for listed in events),
        **{name: str(facts[name]) for name in TEXTS},
    )
    if header.digest != facts["digest"]:
        raise ValueError("its labels or settings are not those it was written with")
    return header


def row_crc(log_mel: np.ndarray, duration: float, status: int) -> int:
    """Return the checksum of one row: its features, duration and status."""
    data = np.ascontiguousarray(log_mel, dtype="<f4")
    return zlib.crc32(struct.pack("<dB", duration, status), zlib.crc32(data.data))


def differing_features(found: FeatureConfig, expected: FeatureConfig) -> str:
    """Name the settings that differ, e.g. ``n_mels 8 (expected 10)``; empty where none does."""
    return ", ".join(
        f"{field.name} {getattr(found, field.name)!r} (expected {getattr(expected, field.name)!r})"
        for field in dataclasses.fields(FeatureConfig)
        if getattr(found, field.name) != getattr(expected, field.name)
    )
