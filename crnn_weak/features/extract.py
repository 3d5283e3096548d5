"""From a clip to its features: the work of one task, on any scheduler.

Functions at module level on plain values, so that they pickle to worker processes and machines.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import NamedTuple

import numpy as np

from crnn_weak.audio import load_clip
from crnn_weak.config import FeatureConfig
from crnn_weak.data.base import Clip
from crnn_weak.errors import CrnnWeakError, RunError
from crnn_weak.features.log_mel import log_mel
from crnn_weak.features.worker import begin_worker

__all__ = ["ClipFeatures", "MapChunks", "RowFeatures", "extract_chunk", "extract_clip", "map_in_processes"]

logger = logging.getLogger(__name__)


class ClipFeatures(NamedTuple):
    """Outcome of one clip.

    Attributes
    ----------
    log_mel : np.ndarray of float32, shape (n_frames, n_mels), or None
        None when the clip could not be read.
    status : str
        ``"ok"``; ``"short"`` (at least one frame of padding); ``"missing"`` (no file); ``"unreadable"``.
    duration : float
        Seconds of the recording before padding or cutting; 0.0 when it could not be read.
    message : str
        Why it could not be read.
    """

    log_mel: np.ndarray | None
    status: str
    duration: float
    message: str


class RowFeatures(NamedTuple):
    """`ClipFeatures` and the row of the store that they belong to."""

    row: int
    features: ClipFeatures


#: Rows of the store and their clips: what one task works through.
Chunk = Sequence[tuple[int, Clip]]
#: `extract_chunk` for one configuration, picklable.
ChunkFunction = Callable[[Chunk], list[RowFeatures]]
#: Runs a function on every chunk, anywhere, and gives the results back in any order. A chunk whose worker was lost
#: may be run again: its rows are written twice with the same content.
MapChunks = Callable[[ChunkFunction, Sequence[Chunk]], Iterable[list[RowFeatures]]]

# Losses of workers in a row, with no chunk done between them, before it is given up.
_ROUNDS = 3
# Chunks per worker: one in work, one on its way there, one on its way back.
_UNDER_WAY = 3


def extract_clip(clip: Clip, features: FeatureConfig) -> ClipFeatures:
    """Decode one clip and compute its features; what goes wrong with the file is said, not raised.

    Parameters
    ----------
    clip : Clip
    features : FeatureConfig

    Returns
    -------
    ClipFeatures
    """
    if clip.path is None or not clip.path.is_file():
        return ClipFeatures(None, "missing", 0.0, "no audio file" if clip.path is None else f"no file {clip.path.name}")
    try:
        audio, duration = load_clip(clip.path, features.sample_rate_hz, features.clip_seconds)
    # libsndfile's errors are RuntimeErrors. One bad file must not end a run over fifty thousand.
    except (CrnnWeakError, OSError, RuntimeError, ValueError) as error:
        # The reason goes into the file: the clip's name says enough, and folders differ between machines.
        reason = " ".join(str(error).split()).replace(str(clip.path), clip.path.name)
        return ClipFeatures(None, "unreadable", 0.0, reason)
    values = log_mel(audio, features)
    if not np.isfinite(values).all():
        return ClipFeatures(None, "unreadable", 0.0, "its features are not finite (NaN or infinite samples?)")
    short = duration <= features.clip_seconds - features.hop_seconds
    return ClipFeatures(values, "short" if short else "ok", float(duration), "")


def extract_chunk(chunk: Chunk, features: FeatureConfig) -> list[RowFeatures]:
    """Extract a few clips: one task is some milliseconds of work, so they travel in chunks."""
    return [RowFeatures(row, extract_clip(clip, features)) for row, clip in chunk]


def map_in_processes(jobs: int) -> MapChunks:
    """Return the map of one machine: this process for one job, worker processes for more.

    A few chunks for each worker are under way at a time: where writing is slower than computing, the workers wait
    and nothing piles up. A worker that dies (out of memory, say) takes nothing with it but time: its chunks are run
    again. Workers end with this process, however it ends.
    """

    def run(function: ChunkFunction, chunks: Sequence[Chunk]) -> Iterator[list[RowFeatures]]:
        if jobs == 1 or len(chunks) < 2:
            yield from map(function, chunks)
            return
        left = dict(enumerate(chunks))
        n_lost = 0
        while left:
            n_left = len(left)
            try:
                for index, result in _run_in_pool(function, left, jobs):
                    del left[index]
                    yield result
            except BrokenProcessPool:
                n_lost = n_lost + 1 if len(left) == n_left else 1
                logger.warning("a worker process was lost; %d chunks of clips are run again", len(left))
                if n_lost == _ROUNDS:
                    raise RunError(
                        f"worker processes ended without an answer, {_ROUNDS} times in a row. Was memory short (the "
                        "kernel's log names a killed process)? Start again with fewer --jobs; what is done is kept."
                    ) from None

    return run


def _run_in_pool(
    function: ChunkFunction, chunks: Mapping[int, Chunk], jobs: int
) -> Iterator[tuple[int, list[RowFeatures]]]:
    # Joblib's executor: unlike the standard library's it needs no `if __name__ == "__main__"` in the user's script.
    from joblib.externals.loky import ProcessPoolExecutor

    waiting = deque(chunks.items())
    running: dict[Future[list[RowFeatures]], int] = {}
    pool = ProcessPoolExecutor(jobs, initializer=begin_worker, initargs=(os.getpid(),))
    try:
        while waiting or running:
            while waiting and len(running) < _UNDER_WAY * jobs:
                index, chunk = waiting.popleft()
                running[pool.submit(function, chunk)] = index
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            # What has ended well first: the lost ones raise.
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, kill_workers=bool(running))


def chunk_function(features: FeatureConfig) -> ChunkFunction:
    """Return `extract_chunk` for one configuration, picklable."""
    return partial(extract_chunk, features=features)
