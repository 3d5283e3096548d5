"""From a clip to its features: the work of one task, on any scheduler.

Functions at module level on plain values, so that they pickle to worker processes and machines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.data.audio import load_clip
from crnn_weak.data.datasets import Clip
from crnn_weak.errors import CrnnWeakError
from crnn_weak.features.log_mel import log_mel

__all__ = ["ClipFeatures", "MapChunks", "RowFeatures", "extract_chunk", "extract_clip", "map_in_processes"]

logger = logging.getLogger(__name__)


class ClipFeatures(NamedTuple):
    """What became of one clip.

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


#: Runs a function on every chunk, anywhere, and gives the results back in any order. A chunk whose worker was lost
#: may be run again: its rows are written twice with the same content.
MapChunks = Callable[
    [Callable[[Sequence[tuple[int, Clip]]], list[RowFeatures]], Sequence[Sequence[tuple[int, Clip]]]],
    Iterable[list[RowFeatures]],
]


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


def extract_chunk(chunk: Sequence[tuple[int, Clip]], features: FeatureConfig) -> list[RowFeatures]:
    """Extract a few clips: one task is some milliseconds of work, so they travel in chunks."""
    return [RowFeatures(row, extract_clip(clip, features)) for row, clip in chunk]


def map_in_processes(jobs: int) -> MapChunks:
    """Return the map of one machine: this process for one job, joblib's worker processes for more."""

    def run(
        function: Callable[[Sequence[tuple[int, Clip]]], list[RowFeatures]],
        chunks: Sequence[Sequence[tuple[int, Clip]]],
    ) -> Iterator[list[RowFeatures]]:
        if jobs == 1 or len(chunks) < 2:
            yield from map(function, chunks)
            return
        import joblib

        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(function)(chunk) for chunk in chunks)

    return run


def chunk_function(features: FeatureConfig) -> Callable[[Sequence[tuple[int, Clip]]], list[RowFeatures]]:
    """Return `extract_chunk` for one configuration, picklable."""
    return partial(extract_chunk, features=features)
