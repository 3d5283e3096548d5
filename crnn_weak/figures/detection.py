"""Figure of a detection: log mel-band energies, and the events below, over one time axis."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crnn_weak.audio import AudioBlocks
from crnn_weak.detection.recordings import STDIN
from crnn_weak.detection.windows import FrameStream
from crnn_weak.errors import DataError
from crnn_weak.files import replace_file

if TYPE_CHECKING:
    from crnn_weak.detection.detector import Detector
    from crnn_weak.detection.job import Detection

__all__ = ["save_figure"]

# More columns than a page has dots; a longer recording is averaged down to this.
_MOST_COLUMNS = 4000


def _log_mel(detection: Detection, detector: Detector) -> tuple[np.ndarray, int]:
    """Return log mel frames of the whole recording, and how many frames each row averages; flat in memory."""
    features = detector.features
    n_frames = detection.duration_seconds / features.hop_seconds
    n_pooled = max(1, int(np.ceil(n_frames / _MOST_COLUMNS)))
    stream = FrameStream(detector.extractor, features)
    pooled, rest = [], np.zeros((0, features.n_mels), np.float32)

    def take(frames: np.ndarray) -> np.ndarray:
        frames = np.concatenate([rest, frames])
        n_whole = len(frames) // n_pooled
        pooled.append(frames[: n_whole * n_pooled].reshape(n_whole, n_pooled, features.n_mels).mean(axis=1))
        return frames[n_whole * n_pooled :]

    for audio in AudioBlocks(detection.recording.source, features.sample_rate_hz, detection.recording.name):
        rest = take(stream.push(audio))
    rest = take(stream.finish())
    if len(rest):
        pooled.append(rest.mean(axis=0, keepdims=True))
    return np.concatenate(pooled), n_pooled


def save_figure(detection: Detection, detector: Detector, path: Path) -> None:
    """Write a PNG; the recording is read once more.

    Raises
    ------
    DataError
        The recording came from standard input.
    """
    if detection.recording.source == STDIN:
        raise DataError("a recording on standard input cannot be read twice; save it to a file first.")
    from matplotlib.figure import Figure

    from crnn_weak.figures import plot_event_roll, plot_log_mel

    rows, n_pooled = _log_mel(detection, detector)
    hop = detector.features.hop_seconds * n_pooled
    # Drawn by hop and bands alone; a clip as long as the recording may be longer than one can be.
    features = dataclasses.replace(detector.features, hop_seconds=hop, clip_seconds=hop)
    labels = [name for name in detector.classes if name in detection.events.labels] or list(detector.classes[:1])
    figure = Figure(figsize=(10.0, 3.2 + 0.3 * len(labels)), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 0.35 * len(labels) + 0.4))
    plot_log_mel(rows, features=features, ax=upper, time_label=False)
    plot_event_roll(
        None, detection.events, classes=labels, clip_seconds=detection.duration_seconds, ax=lower, legend=False
    )
    upper.set_title(f"{detection.recording.name}: {len(detection.events)} events", loc="left", fontsize="medium")
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
