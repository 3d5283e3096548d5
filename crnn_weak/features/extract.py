"""From a clip to its features: the work of one task, picklable, on any scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crnn_weak.audio import load_clip
from crnn_weak.config import FeatureConfig
from crnn_weak.data.base import Clip
from crnn_weak.errors import CrnnWeakError
from crnn_weak.features.log_mel import log_mel


class ClipFeatures(NamedTuple):
    """Outcome of one clip."""

    log_mel: np.ndarray | None  # float32, (n_frames, n_mels); None when the clip could not be read
    status: str  # "ok"; "short" (at least one padded frame); "missing" (no file); "unreadable"
    duration: float  # seconds of the recording before padding or cutting; 0.0 when it could not be read
    message: str  # why it could not be read


def extract_clip(clip: Clip, features: FeatureConfig) -> ClipFeatures:
    """Decode one clip and compute its features; a fault of the file is returned, not raised."""
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
    is_short = duration <= features.clip_seconds - features.hop_seconds
    return ClipFeatures(values, "short" if is_short else "ok", float(duration), "")


def extract_chunk(chunk: Sequence[tuple[int, Clip]], features: FeatureConfig) -> list[tuple[int, ClipFeatures]]:
    """Extract the clips of some rows: one clip is some milliseconds of work, so they travel in chunks."""
    return [(row, extract_clip(clip, features)) for row, clip in chunk]
