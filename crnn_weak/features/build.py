"""Build a feature store: several processes compute features, this one writes; an interrupted build resumes."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from tqdm import tqdm

from crnn_weak.audio import load_clip
from crnn_weak.audio.samples import warning_kind
from crnn_weak.config import FeatureConfig
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.errors import CrnnWeakError, DataError, FeatureStoreError
from crnn_weak.features import store as layout
from crnn_weak.features.hdf5 import HdfWriter, write_names
from crnn_weak.features.log_mel import extractor
from crnn_weak.features.store import STATUS, FeatureStore, StoreHeader, open_store, row_crc
from crnn_weak.files import lock, make_folder, refuse_stream, replace_file
from crnn_weak.labels.events import tag_array
from crnn_weak.parallel import map_tasks

log = logging.getLogger(__name__)

_CHUNK = 8  # clips per task: long enough that passing it on costs nothing, short enough for an even end
_LOG_EVERY = 30.0  # seconds between lines in the log where no bar is shown


class ClipFeatures(NamedTuple):
    """Outcome of one clip."""

    log_mel: np.ndarray | None  # float32, (n_frames, n_mels); None when the clip could not be read
    status: str  # of `STATUS`
    duration: float  # seconds of the recording before padding or cutting; 0.0 when it could not be read
    message: str  # why it could not be read, or what is odd about it


def extract_clip(clip: Clip, features: FeatureConfig) -> ClipFeatures:
    """Decode one clip and compute its features; a fault of the file is returned, not raised."""
    if clip.path is None or not clip.path.is_file():
        return ClipFeatures(None, "missing", 0.0, "no audio file" if clip.path is None else f"no file {clip.path.name}")
    warnings: list[str] = []
    try:
        audio, duration = load_clip(clip.path, features.sample_rate_hz, features.clip_seconds, warnings=warnings)
    # libsndfile's errors are RuntimeErrors. One bad file must not end a run over fifty thousand.
    except (CrnnWeakError, OSError, RuntimeError, ValueError) as error:
        # The reason goes into the file: the clip's name says enough, and folders differ between machines.
        reason = " ".join(str(error).split()).replace(str(clip.path), clip.path.name)
        return ClipFeatures(None, "unreadable", 0.0, reason)
    values = extractor(features)(audio)
    if not np.isfinite(values).all():
        return ClipFeatures(None, "unreadable", 0.0, "its features are not finite (NaN or infinite samples?)")
    status = "short" if duration <= features.clip_seconds - features.hop_seconds else "ok"
    return ClipFeatures(values, status, float(duration), "\n".join(warning_kind(warning) for warning in warnings))


def extract_chunk(chunk: Sequence[tuple[int, Clip]], features: FeatureConfig) -> list[tuple[int, ClipFeatures]]:
    """Extract the clips of some rows; picklable, the work of one task."""
    return [(row, extract_clip(clip, features)) for row, clip in chunk]


def build_store(
    dataset: Dataset,
    split: str,
    features: FeatureConfig,
    path: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> FeatureStore:
    """Compute the features of a split and store them at `path`; resume an interrupted build; keep a finished one."""
    path = Path(path)
    refuse_stream(path, "a feature store")
    clips = list(dataset.clips(split))
    header = StoreHeader(
        features=features,
        classes=tuple(dataset.classes),
        clip_ids=tuple(clip.clip_id for clip in clips),
        tags=tag_array([clip.tags for clip in clips], dataset.classes),
        events=tuple(clip.events for clip in clips),
        split=split,
        dataset=dataset.name,
        data_fingerprint=dataset.fingerprint,
        provenance=dataset.provenance,
    )
    is_new = overwrite or not path.exists()
    if is_new:
        with lock(path.parent, wait=True):
            is_new = overwrite or not path.exists()  # another process may have been faster
            if is_new:
                writer = StoreWriter(path, header)
                _fill(writer, clips, jobs, scheduler, progress)
                writer.finish()
    store = FeatureStore(path, features)
    if store.digest != header.digest:
        raise FeatureStoreError(
            f"{path}: holds other clips or labels ({store.provenance}; split {store.split}) than those asked for "
            f"({header.provenance}; split {header.split}). Choose another name, or build it again with --overwrite."
        )
    missing = {clip_id for clip_id, status, _ in store.skipped if status == "missing"}
    if n_back := sum(clip.clip_id in missing and clip.path is not None and clip.path.is_file() for clip in clips):
        log.warning("%s: %d clips were missing and exist now; rebuild with --overwrite to use them", path, n_back)
    if is_new:
        log.info("%s: %s", path, ", ".join(f"{count} {name}" for name, count in store.counts.items() if count))
        if store.skipped:
            log.warning(
                "%s: %d clips could not be read; `crnn-weak features info` lists them", path, len(store.skipped)
            )
    return store


def _fill(writer: StoreWriter, clips: list[Clip], jobs: int, scheduler: str | None, progress: bool) -> None:
    """Compute the pending rows; refuse a store without one readable clip, and delete it."""
    pending = writer.pending.tolist()
    if n_done := len(clips) - len(pending):
        log.info("%s: %d of %d clips are done", writer.partial, n_done, len(clips))
    chunks = [[(row, clips[row]) for row in pending[i : i + _CHUNK]] for i in range(0, len(pending), _CHUNK)]
    function = partial(extract_chunk, features=writer.header.features)
    faults: dict[int, str] = {}
    logged = time.monotonic()
    with tqdm(total=len(clips), initial=n_done, unit="clip", desc="features", disable=not progress) as bar:
        for results in map_tasks(function, chunks, jobs=jobs, scheduler=scheduler):
            for row, (values, status, duration, message) in results:
                if values is None:
                    faults[row] = f"{clips[row].clip_id}: {status}, {message}"
                    log.debug("%s", faults[row])
                writer.write(row, values, status=status, duration=duration, reason=message)
            bar.update(len(results))
            bar.set_postfix(skipped=len(faults), refresh=False)
            if not progress and time.monotonic() - logged > _LOG_EVERY:
                logged = time.monotonic()
                log.info("%s: %d of %d clips", writer.path, len(clips) - len(writer.pending), len(clips))
    if len(faults) == len(clips):
        writer.partial.unlink()
        raise DataError(
            f"{writer.path}: none of the {len(clips)} clips of split {writer.header.split!r} can be read "
            f"({'; '.join(faults[row] for row in sorted(faults)[:3])}). Check the folder with `crnn-weak data check`."
        )


class StoreWriter:
    """Fills the rows of a store, in any order, and names it when all are filled; resumes a ``.partial`` file."""

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self.path, self.header = path, header
        self.partial = path.with_name(path.name + ".partial")
        make_folder(path.parent)
        if not _can_resume(self.partial, header):
            _create(self.partial, header)
        _, rows = open_store(self.partial, writable=True)
        self._rows = rows
        self._done = np.isin(rows["status"], layout.READABLE)
        n_readable = self._done.sum()
        for row in np.flatnonzero(self._done):
            crc = row_crc(rows["log_mel"][row], rows["duration"][row], rows["status"][row])
            self._done[row] = crc == rows["crc32"][row]
        if n_damaged := n_readable - self._done.sum():
            log.warning("%s: %d rows were damaged and are computed again", self.partial, n_damaged)

    @property
    def pending(self) -> np.ndarray:
        """The rows still to fill."""
        return np.flatnonzero(~self._done)

    def write(self, row: int, log_mel: np.ndarray | None, *, status: str, duration: float, reason: str = "") -> None:
        """Fill a row with log mel, (n_frames, n_mels), or with NaN for None; its status last: it is then done."""
        rows = self._rows
        values = np.full(rows["log_mel"].shape[1:], np.nan, dtype="<f4") if log_mel is None else log_mel
        rows["status"][row] = STATUS["pending"]
        rows["log_mel"][row] = values
        rows["crc32"][row] = row_crc(values, duration, STATUS[status])
        rows["duration"][row] = duration
        rows["reason"][row] = reason.encode()[: layout.REASON_BYTES].decode(errors="ignore").encode()
        rows["status"][row] = STATUS[status]
        self._done[row] = True

    def finish(self) -> None:
        """Give the store, whose rows are all filled, its name."""
        self._rows = {}
        with self.partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.partial, self.path)


def _can_resume(partial: Path, header: StoreHeader) -> bool:
    if partial.is_symlink() or not partial.exists():  # rows are written in place
        return False
    try:
        found, _ = open_store(partial)
    except FeatureStoreError as error:
        raise FeatureStoreError(
            f"{partial}: cannot be resumed, and may be another's file ({error}). Delete it, or choose another name."
        ) from None
    if found.digest != header.digest:
        log.warning("%s is of other clips or another configuration, starting again", partial)
    return found.digest == header.digest


def _create(path: Path, header: StoreHeader) -> None:
    """Write a store whose rows are all pending; refuse where the disk has too little room for them."""
    try:
        with replace_file(path) as temporary:
            writer = HdfWriter(temporary)
            _write_header(writer.file, header)
            writer.close()
            if hasattr(os, "posix_fallocate"):
                # Without space on the disk, writing to a memory map would end the process.
                with temporary.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
    except OSError as error:
        raise FeatureStoreError(f"{path}: cannot be written ({error.strerror or error}).") from None


def _write_header(file: h5py.File, header: StoreHeader) -> None:
    facts = {"kind": layout.KIND, "schema": layout.SCHEMA, "digest": header.digest}
    facts |= {name: getattr(header, name) for name in layout.TEXTS}
    write_names(file, "header", [json.dumps(facts | {"features": dataclasses.asdict(header.features)})])
    write_names(file, "classes", header.classes)
    write_names(file, "clip_ids", header.clip_ids)
    file.create_dataset("tags", data=np.asarray(header.tags, dtype=np.uint8))
    for name, values in header.event_table().items():
        file.create_dataset(f"events/{name}", data=values)
    # Space for all rows, which HDF5 does not fill.
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # the same content is the same bytes, whenever it is written
    for name, (shape, dtype) in header.row_fields().items():
        kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
        h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), dcpl=properties)
