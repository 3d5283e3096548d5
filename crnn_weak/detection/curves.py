"""The number of thresholds at which each frame or segment is active; the basis of `crnn_weak.detection.tuning`.

Each step from scores to events keeps order (`crnn_weak.detection.postprocessing`): what is active at one threshold is
active at every lower one. One small integer per cell then stands for its activity at all thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import Runs, Steps, by_class
from crnn_weak.detection.scores import Scores
from crnn_weak.labels.rolls import segment_maximum

__all__ = ["FrameActivity", "candidate_index", "segment_index"]


def candidate_index(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return how many of the sorted candidates each score is above.

    >>> candidate_index(np.array([0.05, 0.5, 0.51]), np.array([0.1, 0.5])).tolist()
    [0, 1, 2]
    """
    n = len(candidates)
    kind = np.uint8 if n < 256 else np.uint16 if n < 65536 else np.int32
    # Compared in the scores' own precision, as `binarize` compares them.
    return np.searchsorted(candidates.astype(scores.dtype), scores, side="left").astype(kind)


class FrameActivity:
    """The frames of many clips, decided at any of a list of thresholds, with filters and gate.

    Parameters
    ----------
    scores : Scores
    point : OperatingPoint
        Its low thresholds, filters and gate; its thresholds do not count.
    candidates : np.ndarray of float, sorted, shape (n_candidates,)
    """

    def __init__(self, scores: Scores, point: OperatingPoint, candidates: np.ndarray) -> None:
        self.point, self.n_candidates = point, len(candidates)
        self._steps = Steps(point, scores.hop_seconds)
        strong = by_class(scores.strong)
        self.index = _median_index(candidate_index(strong, candidates), self._steps.medians)
        self._low = None
        if any(point.low_thresholds):
            # A class without hysteresis has no frames between two thresholds.
            has_low = np.tile(np.asarray(point.low_thresholds) > 0, len(scores))
            self._low = self._steps.above(strong, point.low_thresholds) & has_low[:, None]
        if point.weak_gate:
            gate = scores.weak > np.asarray(point.tag_thresholds, dtype=scores.weak.dtype)
            self.index[~gate.ravel()] = 0

    @property
    def plain(self) -> bool:
        """True if the index alone decides, without runs."""
        return self._low is None and not any((*self.point.min_gap_seconds, *self.point.min_duration_seconds))

    def runs(self, j: int) -> Runs:
        """Return the events at candidate j as runs of frames."""
        high = self.index > j
        return self._steps.settle(Runs.of(high if self._low is None else self._low | high, high))[0]

    def active(self, j: int) -> np.ndarray:
        """Return the active frames at candidate j, one row for each clip and class, classes fastest."""
        return self.index > j if self.plain else self.runs(j).roll(*self.index.shape)


def _median_index(index: np.ndarray, lengths: list[int]) -> np.ndarray:
    """Median-filter an index along time, zeros beyond the ends; a median keeps order, so this commutes."""
    from scipy import ndimage

    for n in sorted(set(lengths) - {1}):
        rows = np.flatnonzero(np.tile(np.asarray(lengths) == n, len(index) // len(lengths)))
        # All rows in one line, zeros between: SciPy's filter of one dimension is far faster than that of two.
        line = np.zeros((len(rows), index.shape[1] + n // 2), dtype=index.dtype)
        line[:, : index.shape[1]] = index[rows]
        filtered = ndimage.median_filter(line.ravel(), size=n, mode="constant", cval=0)
        index[rows] = filtered.reshape(line.shape)[:, : index.shape[1]]
    return index


def segment_index(
    scores: Scores,
    point: OperatingPoint,
    candidates: np.ndarray,
    *,
    n_segments: int,
    segment_seconds: float,
) -> np.ndarray:
    """Return at how many of the candidates each segment is active, shape (n_clips, n_segments, n_classes)."""
    n_clips, _, n_classes = scores.strong.shape
    segments: dict[str, Any] = {
        "hop_seconds": scores.hop_seconds, "n_segments": n_segments, "segment_seconds": segment_seconds,
    }  # fmt: skip
    if not any((*point.median_seconds, point.weak_gate)) and point.plain_threshold:
        return candidate_index(segment_maximum(scores.strong, **segments), candidates)
    frames = FrameActivity(scores, point, candidates)
    if frames.plain:
        found = segment_maximum(frames.index, axis=-1, **segments)
    else:
        found = np.zeros((n_clips * n_classes, n_segments), dtype=frames.index.dtype)
        for j in range(frames.n_candidates):
            found += segment_maximum(frames.active(j), axis=-1, **segments)
    return np.moveaxis(found.reshape(n_clips, n_classes, n_segments), 2, 1)
