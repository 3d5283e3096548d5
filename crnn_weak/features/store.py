"""The feature store: one HDF5 file for the clips of one split.

`build_store` fills it with parallel workers and one writer; killed at any moment, the next call goes on where it
stopped, and the finished file is the same byte for byte. `FeatureStore` reads it, `verify_store` checks it. The
format is in `crnn_weak.features.layout`.

While it is built the store is called ``<path>.partial``; the name ``<path>`` only ever belongs to a finished one.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from crnn_weak.config import FeatureConfig
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.errors import ConfigError, DataError, FeatureStoreError
from crnn_weak.features.extract import MapChunks, chunk_function, map_in_processes
from crnn_weak.features.layout import READABLE, STATUS, StoreHeader, create, open_store, row_crc, write_row
from crnn_weak.features.reader import FeatureStore, StoreReport, verify_store
from crnn_weak.files import lock
from crnn_weak.labels.classes import tag_array

__all__ = ["FeatureStore", "StoreReport", "StoreWriter", "build_store", "store_header", "verify_store"]

logger = logging.getLogger(__name__)

# Clips per task: long enough that passing it on costs nothing, short enough for an even end.
_CHUNK = 8
# Seconds between lines in the log where no bar is shown.
_LOG_EVERY = 30.0
_NAME = {code: name for name, code in STATUS.items()}


def store_header(dataset: Dataset, split: str, features: FeatureConfig, clips: list[Clip]) -> StoreHeader:
    """Return what a store of these clips will say of them."""
    return StoreHeader(
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


class StoreWriter:
    """Fills the rows of a store, in any order, and gives it its name when all are filled.

    Takes up a ``.partial`` file with the same header: rows that are done and whose checksums hold stay, all others
    are `pending`, among them those of clips that could not be read (they may be there by now).

    Parameters
    ----------
    path : Path
        Of the finished store.
    header : StoreHeader

    Raises
    ------
    FeatureStoreError
        The disk has too little room.
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.header = header
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._resumes():
            self._check_room()
            try:
                create(self.partial, header)
            except OSError as error:
                raise FeatureStoreError(f"{self.partial}: cannot be written ({error.strerror or error}).") from None
        _, self._rows = open_store(self.partial, writable=True)
        self._done = self._sound_rows()

    @property
    def pending(self) -> np.ndarray:
        """The rows still to fill."""
        return np.flatnonzero(~self._done)

    def write(self, row: int, log_mel: np.ndarray | None, *, status: str, duration: float, reason: str = "") -> None:
        """Fill a row; features for status ok and short, None and a reason for the others."""
        write_row(self._rows, row, log_mel, status=status, duration=duration, reason=reason)
        self._done[row] = True

    def counts(self) -> dict[str, int]:
        """Return the number of clips of each status."""
        return {name: int((self._rows["status"] == code).sum()) for name, code in STATUS.items()}

    def reasons(self) -> list[bytes]:
        """Return why clips were not read, empty for those that were."""
        return [bytes(reason) for reason in self._rows["reason"]]

    def finish(self) -> None:
        """Give the store its name.

        Raises
        ------
        FeatureStoreError
            Rows are pending.
        """
        if not self._done.all():
            raise FeatureStoreError(f"{self.partial}: {(~self._done).sum()} rows are still pending.")
        self.close()
        with self.partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.partial, self.path)

    def close(self) -> None:
        """Leave the ``.partial`` file for the next time."""
        self._rows = {}

    def discard(self) -> None:
        """Delete the ``.partial`` file."""
        self.close()
        self.partial.unlink(missing_ok=True)

    def _resumes(self) -> bool:
        if not self.partial.exists():
            return False
        try:
            found, _ = open_store(self.partial)
        except FeatureStoreError as error:
            logger.warning("%s cannot be resumed, starting again (%s)", self.partial, error)
            return False
        if found.digest != self.header.digest:
            logger.warning("%s is of other clips or another configuration, starting again", self.partial)
            return False
        return True

    def _sound_rows(self) -> np.ndarray:
        rows = self._rows
        done = np.isin(rows["status"], [STATUS[name] for name in READABLE])
        n_damaged = 0
        for row in np.flatnonzero(done):
            status = _NAME[int(rows["status"][row])]
            if row_crc(rows["log_mel"][row], float(rows["duration"][row]), status) != rows["crc32"][row]:
                done[row] = False
                n_damaged += 1
        if n_damaged:
            logger.warning("%s: %d rows were damaged and are computed again", self.partial, n_damaged)
        return done

    def _check_room(self) -> None:
        config = self.header.features
        needed = len(self.header.clip_ids) * config.n_frames * config.n_mels * 4
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise FeatureStoreError(
                f"{self.path}: {len(self.header.clip_ids)} clips need {needed / 1e9:.1f} GB, the disk has "
                f"{free / 1e9:.1f} GB free. Make room, or choose another folder."
            )


def build_store(
    dataset: Dataset,
    split: str,
    features: FeatureConfig,
    path: str | Path,
    *,
    jobs: int = 1,
    progress: bool = False,
    overwrite: bool = False,
    map_chunks: MapChunks | None = None,
) -> FeatureStore:
    """Compute the features of a split and store them; go on with a half-built store; keep a finished one.

    Parameters
    ----------
    dataset : Dataset
    split : str
    features : FeatureConfig
    path : path
        The finished file. A store of the same clips and the same configuration that is already there is returned
        as it is; any other file there is an error without `overwrite`.
    jobs : int
        Worker processes; decoding and features are computed there, this process alone writes. A second process
        that builds in the same folder waits.
    progress : bool
        Show a bar on stderr.
    overwrite : bool
        Build anew; the old file stays until the new one is finished.
    map_chunks : callable, optional
        Another scheduler: ``map_chunks(function, chunks)`` gives ``function(chunk)`` of every chunk, in any order.

    Returns
    -------
    FeatureStore

    Raises
    ------
    DataError
        The split lists no clips, or none of them can be read.
    ConfigError
        `jobs` is below 1.
    FeatureStoreError
        The file exists and is another, or the disk is too small.
    """
    path = Path(path)
    if jobs < 1:
        raise ConfigError(f"jobs = {jobs}: expected 1 or more worker processes.")
    clips = list(dataset.clips(split))
    header = store_header(dataset, split, features, clips)
    if path.exists() and not overwrite:
        return _existing(path, header, clips)
    with lock(path.parent, wait_seconds=math.inf):
        if path.exists() and not overwrite:  # another process was faster
            return _existing(path, header, clips)
        writer = StoreWriter(path, header)
        try:
            _fill(writer, clips, map_chunks or map_in_processes(jobs), features, progress)
            counts = _check_any_readable(writer, clips)
        finally:
            writer.close()
        writer.finish()
    logger.info("%s: %s", path, ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    return FeatureStore(path, features)


def _fill(writer: StoreWriter, clips: list[Clip], run: MapChunks, features: FeatureConfig, progress: bool) -> None:
    pending = writer.pending.tolist()
    n_done = len(clips) - len(pending)
    if n_done:
        logger.info("%s: %d of %d clips are there already", writer.partial, n_done, len(clips))
    chunks = [[(row, clips[row]) for row in pending[i : i + _CHUNK]] for i in range(0, len(pending), _CHUNK)]
    n_bad = 0
    logged = time.monotonic()
    with tqdm(total=len(clips), initial=n_done, unit="clip", desc="features", disable=not progress) as bar:
        for results in run(chunk_function(features), chunks):
            for row, (log_mel, status, duration, message) in results:
                if log_mel is None:
                    n_bad += 1
                    logger.debug("%s: %s (%s)", clips[row].clip_id, status, message)
                writer.write(row, log_mel, status=status, duration=duration, reason=message)
            bar.update(len(results))
            if n_bad:
                bar.set_postfix(skipped=n_bad, refresh=False)
            if not progress and time.monotonic() - logged > _LOG_EVERY:
                logged = time.monotonic()
                logger.info("%s: %d of %d clips", writer.path, len(clips) - len(writer.pending), len(clips))
    left = writer.pending
    if left.size:
        raise FeatureStoreError(
            f"{writer.partial}: {left.size} clips came back from no worker. Start the same command again."
        )


def _check_any_readable(writer: StoreWriter, clips: list[Clip]) -> dict[str, int]:
    """Return the count of each status; refuse a store without one readable clip, and leave nothing of it."""
    counts, reasons = writer.counts(), writer.reasons()
    if not counts["ok"] + counts["short"]:
        examples = [
            f"{clip.clip_id}: {reason.decode(errors='replace')}"
            for clip, reason in zip(clips[:3], reasons, strict=False)
        ]
        writer.discard()
        raise DataError(
            f"{writer.path}: none of the {len(clips)} clips of split {writer.header.split!r} can be read "
            f"({counts['missing']} missing, {counts['unreadable']} unreadable; {'; '.join(examples)}). "
            "Check the folder with `crnn-weak data check`."
        )
    if counts["missing"] + counts["unreadable"]:
        logger.warning(
            "%s: %d clips are missing and %d unreadable; `crnn-weak features info` lists them",
            writer.path,
            counts["missing"],
            counts["unreadable"],
        )
    return counts


def _existing(path: Path, header: StoreHeader, clips: list[Clip]) -> FeatureStore:
    store = FeatureStore(path, header.features)
    if store.digest != header.digest:
        raise FeatureStoreError(
            f"{path}: holds other clips or labels ({store.provenance}; split {store.split}) than those asked for "
            f"({header.provenance}; split {header.split}). Choose another name, or build it again with --overwrite."
        )
    missing = {clip_id for clip_id, status, _ in store.skipped if status == "missing"}
    back = sum(clip.clip_id in missing and clip.path is not None and clip.path.is_file() for clip in clips)
    if back:
        logger.warning(
            "%s: %d clips that were missing are there now; build it again with --overwrite to use them", path, back
        )
    return store
