"""Choose thresholds by an exhaustive search over all thresholds and classes at once.

Every step from scores to events is monotone, so a segment, a frame or a tag is described by one number: how many of the
sorted candidate thresholds it is active at. The counts at every threshold are then one histogram per class. Thresholds
for each class are exact for F1, a ratio of sums over classes (Dinkelbach, "On nonlinear fractional programming",
Management Science 13(7), 1967). The error rate's substitutions pair classes, so it has a common threshold only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from crnn_weak.config import EvaluationConfig, OperatingPointConfig
from crnn_weak.detection.postprocessing import (
    ActiveSpans,
    OperatingPoint,
    PostProcessing,
    above_tag_thresholds,
    active_frames,
    active_tags,
    class_rows,
)
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ClipError, ConfigError, nearest_names
from crnn_weak.labels.events import Events, tag_array
from crnn_weak.labels.rolls import EventTable, event_table, roll_runs, runs_roll, segment_maximum, segment_roll
from crnn_weak.metrics.counting import matched_per_class

#: metric -> which labels of the clips it needs.
TUNING_METRICS = {"segment_f1": "events", "error_rate": "events", "event_f1": "events", "tagging_f1": "tags"}
FILTERS = ("median_seconds", "min_duration_seconds", "min_gap_seconds")


class Reference(NamedTuple):
    """Labels by clip, of which a metric needs one kind (`TUNING_METRICS`), and how they are counted."""

    tags: Mapping[str, Iterable[str]] | None = None
    events: Events | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    clip_seconds: float | None = None  # by default the length of the scores


class Tuning(NamedTuple):
    """Result of a search among `n_choices` for each class: the metric, a fraction, at the start and at the result."""

    operating_point: OperatingPoint
    before: float
    after: float
    n_choices: int


def tune(
    scores: Scores,
    reference: Reference,
    *,
    metric: str,
    per_class: bool = False,
    operating_point: OperatingPoint | None = None,  # what is not searched, by default the paper's
    candidates: Sequence[float] | np.ndarray | None = None,  # thresholds, by default 0.01, 0.02, ... 0.99
    filters: Mapping[str, Sequence[float]] | None = None,  # seconds to choose among, by name (`FILTERS`)
    show_progress: bool = False,
) -> Tuning:
    """Choose thresholds, and filters where several are given, for the best value of a metric; use validation clips."""
    if metric == "error_rate" and per_class:
        raise ConfigError("error_rate is tuned with one threshold for all classes; tune segment_f1 for each class.")
    objective = Objective(scores, reference, metric)
    start = operating_point or OperatingPoint.from_config(OperatingPointConfig(), scores.classes)
    thresholds = np.unique(np.arange(1, 100) / 100 if candidates is None else candidates)
    given = {} if metric == "tagging_f1" else dict(filters or {})
    combinations = itertools.product(*given.values())
    points = [start.replace(**dict(zip(given, values, strict=True))) for values in combinations]
    shown = tqdm(points, desc=f"tuning {metric}", unit="set of filters", disable=not show_progress or not given)
    rows = objective.best_choices(shown, thresholds, per_class)
    changes: dict[str, list[float]] = {name: [] for name in FILTERS}
    for index, row in enumerate(rows.tolist()):
        for name, values in changes.items():
            values.append(getattr(points[row // len(thresholds)], name)[index])
    which = "tag_thresholds" if metric == "tagging_f1" else "thresholds"
    changes[which] = thresholds[rows % len(thresholds)].tolist()
    best = start.replace(**changes)
    return Tuning(best, objective.value(start), objective.value(best), len(points) * len(thresholds))


class Objective:
    """One metric of scores against a reference, at one operating point or at all thresholds."""

    def __init__(self, scores: Scores, reference: Reference, metric: str) -> None:
        if metric not in TUNING_METRICS:
            raise ConfigError(f"metric {metric!r} is not known. {nearest_names(metric, TUNING_METRICS)}")
        self.scores, self.metric, self.evaluation = scores, metric, reference.evaluation
        labels: Mapping[str, Any] = getattr(reference, TUNING_METRICS[metric]) or {}
        for clip in scores.clip_ids:
            if clip not in labels:
                raise ClipError(f"clip {clip!r} has scores, but no reference.")
        where: dict[str, Any] = {"clip_ids": scores.clip_ids, "classes": scores.classes}
        if metric == "tagging_f1":
            self.reference = tag_array([labels[clip] for clip in scores.clip_ids], scores.classes)
        elif metric == "event_f1":
            self.table = event_table(labels, **where, where="reference")
            self.n_reference = np.bincount(self.table.label, minlength=len(scores.classes))
            return
        else:
            seconds = reference.clip_seconds or scores.strong.shape[1] * scores.hop_seconds
            segment_seconds = reference.evaluation.segment_seconds
            roll = segment_roll(labels, clip_seconds=seconds, segment_seconds=segment_seconds, **where)
            self.n_segments, self.reference = roll.shape[1], roll.reshape(-1, len(scores.classes))
        self.n_reference = self.reference.sum(axis=0, dtype=np.int64)

    def value(self, point: OperatingPoint) -> float:
        """Return the metric at an operating point, counted as in `crnn_weak.metrics`; NaN without reference."""
        scores, n_reference = self.scores, int(self.n_reference.sum())
        if not n_reference:
            return float("nan")
        if self.metric == "event_f1":
            steps = PostProcessing(point, scores.hop_seconds)
            n_estimated, n_correct = self._count_events(steps.find_spans(class_rows(scores.strong), scores.weak))
            return 2 * int(n_correct.sum()) / (n_reference + int(n_estimated.sum()))
        if self.metric == "tagging_f1":
            estimated = active_tags(scores.weak, point)
        else:
            estimated = self._segments(active_frames(scores, point), axis=1).reshape(self.reference.shape)
        n_correct = (self.reference & estimated).sum()
        if self.metric == "error_rate":
            n_errors = np.maximum(self.reference.sum(axis=1), estimated.sum(axis=1)).sum() - n_correct
            return float(n_errors / n_reference)
        return 2 * int(n_correct) / (n_reference + int(estimated.sum()))

    def best_choices(self, points: Iterable[OperatingPoint], thresholds: np.ndarray, per_class: bool) -> np.ndarray:
        """Return the best choice of each class, ``position of the point * n_thresholds + threshold``, (n_classes,)."""
        n_thresholds = len(thresholds)
        if self.metric == "event_f1":
            counts = [self._count_events_at(point, thresholds) for point in points]
        else:
            find = self._tag_index if self.metric == "tagging_f1" else self._segment_index
            indices = [find(point, thresholds) for point in points]
            if self.metric == "error_rate":
                return best_error_rate(indices, self.reference, n_thresholds)
            counts = [count_at(index, self.reference, n_thresholds) for index in indices]
        return best_f1(self.n_reference, counts, n_thresholds, per_class)

    def _tag_index(self, point: OperatingPoint, thresholds: np.ndarray) -> np.ndarray:
        """Return how many thresholds each tag is active at, shape (n_clips, n_classes)."""
        index = candidate_index(self.scores.weak, thresholds)
        if point.min_tags:
            np.put_along_axis(index, self.scores.weak.argmax(axis=1)[:, None], len(thresholds), axis=1)
        return index

    def _segment_index(self, point: OperatingPoint, thresholds: np.ndarray) -> np.ndarray:
        """Return how many thresholds each segment is active at, shape (n_clips * n_segments, n_classes)."""
        frames = FramesAtThresholds(self.scores, point, thresholds)
        if frames.is_plain:
            index = self._segments(frames.index, axis=-1)
        else:
            index = np.zeros((len(frames.index), self.n_segments), dtype=frames.index.dtype)
            for position in range(len(thresholds)):
                index += self._segments(runs_roll(*frames.spans(position), frames.index.shape), axis=-1)
        by_clip = index.reshape(len(self.scores), len(self.scores.classes), self.n_segments)
        return np.moveaxis(by_clip, 2, 1).reshape(self.reference.shape)

    def _segments(self, frames: np.ndarray, *, axis: int) -> np.ndarray:
        lengths = {"n_segments": self.n_segments, "segment_seconds": self.evaluation.segment_seconds}
        return segment_maximum(frames, self.scores.hop_seconds, axis=axis, **lengths)

    def _count_events(self, spans: ActiveSpans) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of estimated and of correct events, each of shape (n_classes,)."""
        n_classes, hop_seconds = len(self.scores.classes), self.scores.hop_seconds
        onset, offset = np.round(spans.first * hop_seconds, 6), np.round(spans.last * hop_seconds, 6)
        estimated = EventTable(*np.divmod(spans.row, n_classes), onset, offset)
        n_correct = matched_per_class(self.table, estimated, n_classes=n_classes, evaluation=self.evaluation)
        return np.bincount(estimated.label, minlength=n_classes), n_correct

    def _count_events_at(self, point: OperatingPoint, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the events at every threshold, one pass each: spans split and merge, so no histogram holds them."""
        frames = FramesAtThresholds(self.scores, point, thresholds)
        counts = [self._count_events(frames.spans(position)) for position in range(len(thresholds))]
        n_estimated, n_correct = zip(*counts, strict=True)
        return np.stack(n_estimated), np.stack(n_correct)


def candidate_index(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return how many of the sorted candidates each score is above, compared in the scores' own precision."""
    kind = np.min_scalar_type(len(candidates))
    return np.searchsorted(candidates.astype(scores.dtype), scores, side="left").astype(kind)


class FramesAtThresholds:
    """The frames of clips at each of the sorted candidate thresholds, with the filters and the gate of a point."""

    def __init__(self, scores: Scores, point: OperatingPoint, candidates: np.ndarray) -> None:
        self._steps = PostProcessing(point, scores.hop_seconds)
        rows = class_rows(scores.strong)
        # How many candidates a frame is active at, (n_clips * n_classes, n_frames); a median keeps this order.
        self.index = self._steps.median_filtered(candidate_index(rows, candidates))
        self._low = None
        if any(point.low_thresholds):
            has_low = self._steps.per_row(np.asarray(point.low_thresholds) > 0, len(rows))
            self._low = self._steps.apply_threshold(rows, point.low_thresholds) & has_low[:, None]
        if point.weak_gate:
            is_open = above_tag_thresholds(scores.weak, point)
            self.index[~is_open.ravel()] = 0
        # The index alone decides, without spans.
        self.is_plain = self._low is None and not any((*point.min_gap_seconds, *point.min_duration_seconds))

    def spans(self, position: int) -> ActiveSpans:
        """Return the events at a candidate as spans of frames."""
        high = self.index > position
        return self._steps.apply_hysteresis(high if self._low is None else self._low | high, high)


def _count_above(values: np.ndarray, weights: np.ndarray | None, n_thresholds: int) -> np.ndarray:
    """Return for each threshold the (weighted) number of indices that are active at it."""
    histogram = np.bincount(values, weights=weights, minlength=n_thresholds + 1)
    return np.cumsum(histogram[::-1])[::-1][1 : n_thresholds + 1]


def count_at(index: np.ndarray, reference: np.ndarray, n_thresholds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of estimated and of correct items, (n_thresholds, n_classes), of index and reference."""
    estimated, correct = [], []
    for values, is_reference in zip(index.T, reference.T, strict=True):
        estimated.append(_count_above(values, None, n_thresholds))
        correct.append(_count_above(values[is_reference], None, n_thresholds))
    return np.stack(estimated, axis=1), np.stack(correct, axis=1)


def _middle_best(gain: np.ndarray, n_thresholds: int) -> np.ndarray:
    """Return the row of the best gain in each column; among equals, for safety, the middle of the longest run."""
    best = gain.max(axis=0)
    is_best = gain >= best - 1e-9 * np.maximum(1.0, np.abs(best))
    middle = np.zeros(gain.shape[1], dtype=np.int64)
    for column in range(gain.shape[1]):
        # The sets of filters follow each other; a run of equals ends with its set.
        sets, first, last = roll_runs(is_best[:, column].reshape(-1, n_thresholds))
        longest = int(np.argmax(last - first))
        middle[column] = sets[longest] * n_thresholds + (first[longest] + last[longest] - 1) // 2
    return middle


def best_f1(
    n_reference: np.ndarray, counts: Sequence[tuple[np.ndarray, np.ndarray]], n_thresholds: int, per_class: bool
) -> np.ndarray:
    """Return the choice of each class that maximizes micro F1 over the counts of several sets of filters; exact."""
    estimated, correct = (np.concatenate(parts) for parts in zip(*counts, strict=True))
    classes = np.arange(len(n_reference))

    def value(rows: np.ndarray) -> float:
        n_both = n_reference.sum() + estimated[rows, classes].sum()
        return float(2 * correct[rows, classes].sum() / n_both) if n_both else 0.0

    common = 2 * correct.sum(axis=1) / np.maximum(n_reference.sum() + estimated.sum(axis=1), 1)
    rows = np.repeat(_middle_best(common[:, None], n_thresholds), len(classes))
    while per_class:
        best = value(rows)
        gain = 2.0 * correct - best * (n_reference + estimated)
        trial = np.where(n_reference > 0, _middle_best(gain, n_thresholds), rows)
        if value(trial) <= best + 1e-12:
            return trial if value(trial) >= best else rows
        rows = trial
    return rows


def best_error_rate(indices: Sequence[np.ndarray], reference: np.ndarray, n_thresholds: int) -> np.ndarray:
    """Return the common choice of all classes that minimizes the error rate; exact."""
    # Of ``max(N_ref, N_est) - N_correct`` errors of a segment, the k-th class that becomes active adds one if k is
    # above the number of reference classes, and takes one off if it is right.
    n_reference = reference.sum(axis=1)
    n_errors = []
    for index in indices:
        is_too_many = np.arange(1, reference.shape[1] + 1) > n_reference[:, None]
        falling = np.sort(index, axis=1)[:, ::-1]
        inserted = _count_above(falling.ravel(), is_too_many.ravel().astype(float), n_thresholds)
        n_errors.append(inserted - _count_above(index[reference], None, n_thresholds))
    return np.repeat(_middle_best(-np.concatenate(n_errors)[:, None], n_thresholds), reference.shape[1])
