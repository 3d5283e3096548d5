"""Choose thresholds by an exhaustive search over all thresholds and classes at once.

How it is fast: every step from scores to events is monotone (`crnn_weak.detection.postprocessing`), so a segment, a
frame or a tag is described by one number, how many of the sorted candidate thresholds it stays active at. The counts
at *every* threshold then are one histogram and one cumulative sum per class.

What is optimal, and what is not
--------------------------------
======================  ==============  ============================================================================
metric                  one threshold   a threshold for each class
======================  ==============  ============================================================================
``segment_f1``          exact           exact: micro F1 is a ratio of sums over classes, and such a ratio is maximized
                                        class by class for a trial value, which then is raised until nothing changes
                                        (Dinkelbach, "On nonlinear fractional programming", Management Science 13(7),
                                        1967)
``event_f1``            exact           exact, the same; classes match on their own
``tagging_f1``          exact           exact, the same
``error_rate``          exact           **heuristic**: substitutions pair classes within a segment, so classes do not
                                        separate. One class after the other takes its best value with the others held,
                                        which is exact for the single step, from several starts; at the end no change
                                        of a single class improves the result, a change of two at once might
======================  ==============  ============================================================================

"Exact" is over the candidates that are searched, and on the clips that are given. The search may also choose among
median filters, minimum durations and minimum gaps; each class takes its own with `per_class`. A class that the
reference does not hold keeps the best common choice. Among equal choices the middle of the longest run of
neighboring thresholds wins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from crnn_weak.config import EvaluationConfig, OperatingPointConfig
from crnn_weak.detection.curves import FrameActivity, candidate_index, segment_index
from crnn_weak.detection.operating_point import OperatingPoint, as_operating_point
from crnn_weak.detection.postprocessing import Decoder, Runs, binarize
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.search import Curves, best_error_rate, best_f1, counts_at_thresholds, join
from crnn_weak.errors import ClipError, ConfigError, DataError, nearest_names
from crnn_weak.labels.classes import tag_array
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import EventTable, event_table, segment_maximum, segment_roll
from crnn_weak.metrics.counting import Counts, Metrics
from crnn_weak.metrics.event import event_counts, matched_per_class
from crnn_weak.metrics.segment import segment_counts
from crnn_weak.metrics.tagging import tagging_counts

__all__ = ["METRICS", "Tuning", "tune", "value_of"]

#: metric -> which outputs it needs a reference of.
METRICS: dict[str, str] = {
    "segment_f1": "events",
    "error_rate": "events",
    "event_f1": "events",
    "tagging_f1": "tags",
}

Tags = Mapping[str, Iterable[str]]


@dataclass(frozen=True)
class Tuning:
    """Result of a search.

    Attributes
    ----------
    metric : str
    per_class : bool
    operating_point : OperatingPoint
        The start's, with what was chosen laid over it.
    before, after : float
        The metric on the searched clips, a fraction, at the start and at the chosen point.
    exact : bool
        False for the error rate with a threshold for each class (see the module's docstring).
    n_clips, n_choices : int
        Clips that were searched on; candidates of each class.
    """

    metric: str
    per_class: bool
    operating_point: OperatingPoint
    before: float
    after: float
    exact: bool
    n_clips: int
    n_choices: int


# --- the search -----------------------------------------------------------------------------------------------------


class _Reference(NamedTuple):
    tags: np.ndarray | None
    events: Events | None


def _reference(scores: Scores, metric: str, tags: Tags | None, events: Events | None) -> _Reference:
    if metric not in METRICS:
        raise ConfigError(f"metric {metric!r} is not known. {nearest_names(metric, METRICS)}")
    if not len(scores):
        raise DataError("there are no clips to tune on.")
    needed: Mapping[str, Any] | None = tags if METRICS[metric] == "tags" else events
    if needed is None:
        other = "tagging_f1 needs tags only" if METRICS[metric] == "events" else "give tags="
        raise DataError(f"metric {metric} needs {METRICS[metric]} of these clips, and there are none; {other}.")
    for clip in scores.clip_ids:
        if clip not in needed:
            raise ClipError(f"clip {clip!r} has scores, but no reference. {nearest_names(clip, list(needed)[:5000])}")
    if METRICS[metric] == "tags":
        return _Reference(tag_array([needed[clip] for clip in scores.clip_ids], scores.classes), None)
    return _Reference(None, {clip: needed[clip] for clip in scores.clip_ids})


def value_of(
    scores: Scores,
    operating_point: OperatingPointConfig | OperatingPoint,
    *,
    metric: str,
    tags: Tags | None = None,
    events: Events | None = None,
    evaluation: EvaluationConfig | None = None,
    clip_seconds: float | None = None,
) -> float:
    """Return one metric of scores at an operating point, as a fraction; see `tune` for the parameters."""
    settings = evaluation or EvaluationConfig()
    reference = _reference(scores, metric, tags, events)
    chosen = as_operating_point(operating_point, scores.classes)
    if reference.tags is not None:
        estimated = scores.weak > np.asarray(chosen.tag_thresholds, dtype=scores.weak.dtype)
        counts = tagging_counts(reference.tags, estimated)
    else:
        assert reference.events is not None
        counts = _detection_counts(scores, chosen, metric, reference.events, settings, clip_seconds)
    metrics = Metrics.of_counts(counts, scores.classes)
    return metrics.error_rate if metric == "error_rate" else metrics.f_score


def _detection_counts(
    scores: Scores,
    point: OperatingPoint,
    metric: str,
    events: Events,
    settings: EvaluationConfig,
    clip_seconds: float | None,
) -> Counts:
    """Count as the metrics do on event lists, without making the lists."""
    if metric == "event_f1":
        decoder = Decoder(point, scores.hop_seconds, classes=scores.classes, n_clips=len(scores))
        return event_counts(
            event_table(events, clip_ids=scores.clip_ids, classes=scores.classes, where="reference"),
            _runs_table(decoder.finish_runs(scores.strong, scores.weak), scores),
            n_clips=len(scores),
            n_classes=len(scores.classes),
            collar_seconds=settings.collar_seconds,
            offset_fraction=settings.offset_fraction,
        )
    reference = _reference_roll(scores, events, settings, clip_seconds)
    estimated = segment_maximum(
        binarize(scores.strong, point, hop_seconds=scores.hop_seconds, weak=scores.weak),
        scores.hop_seconds,
        n_segments=reference.shape[1],
        segment_seconds=settings.segment_seconds,
    )
    return segment_counts(reference, estimated)


def _reference_roll(
    scores: Scores, events: Events, settings: EvaluationConfig, clip_seconds: float | None
) -> np.ndarray:
    return segment_roll(
        events,
        clip_ids=scores.clip_ids,
        classes=scores.classes,
        clip_seconds=clip_seconds or scores.strong.shape[1] * scores.hop_seconds,
        segment_seconds=settings.segment_seconds,
        where="reference",
    )


def _runs_table(runs: Runs, scores: Scores) -> EventTable:
    """Return runs of frames as events."""
    n_classes, hop = len(scores.classes), scores.hop_seconds
    return EventTable(*np.divmod(runs.row, n_classes), np.round(runs.first * hop, 6), np.round(runs.last * hop, 6))


def tune(
    scores: Scores,
    *,
    metric: str,
    tags: Tags | None = None,
    events: Events | None = None,
    per_class: bool = False,
    operating_point: OperatingPointConfig | OperatingPoint | None = None,
    candidates: Sequence[float] | np.ndarray | None = None,
    medians: Sequence[float] | None = None,
    min_durations: Sequence[float] | None = None,
    min_gaps: Sequence[float] | None = None,
    evaluation: EvaluationConfig | None = None,
    clip_seconds: float | None = None,
    show_progress: bool = False,
) -> Tuning:
    """Choose thresholds, and filters where several are given, for the best value of a metric.

    Use validation clips: on the clips that are reported, the result would flatter itself.

    Parameters
    ----------
    scores : Scores
    metric : {"segment_f1", "error_rate", "event_f1", "tagging_f1"}
    tags, events : mapping of clip id to labels, to events
        The reference of every clip that has scores; only the one that the metric needs.
    per_class : bool
        Choose for each class.
    operating_point : OperatingPointConfig or OperatingPoint, optional
        Start; what is not searched stays. The paper's by default.
    candidates : sequence of float in (0, 1), optional
        Thresholds; 0.01, 0.02, ... 0.99 by default.
    medians, min_durations, min_gaps : sequence of float, optional
        Seconds to choose among (detection only).
    evaluation : EvaluationConfig, optional
        Segment length and collars.
    clip_seconds : float, optional
        Length of the clips; that of the scores by default.
    show_progress : bool
        Show a bar over the sets of filters.

    Raises
    ------
    ConfigError, DataError, ClipError
        An unknown metric, candidates out of range, no reference of what the metric needs.
    """
    settings = evaluation or EvaluationConfig()
    reference = _reference(scores, metric, tags, events)
    start = as_operating_point(operating_point or OperatingPointConfig(), scores.classes)
    grid = _grid(candidates)
    if reference.tags is not None:
        sets = [start]
        curves = counts_at_thresholds(candidate_index(scores.weak, grid), reference.tags, len(grid))
        rows, _ = best_f1(curves, per_class=per_class, n_candidates=len(grid))
        chosen = start.replace(tag_thresholds=tuple(grid[rows].tolist()))
    else:
        sets = _filters(start, medians, min_durations, min_gaps)
        shown = tqdm(sets, desc=f"tuning {metric}", unit="set of filters", disable=not show_progress)
        options: dict[str, Any] = {
            "metric": metric,
            "settings": settings,
            "clip_seconds": clip_seconds,
            "per_class": per_class,
        }
        chosen = _chosen(start, sets, grid, _best_rows(scores, reference, shown, grid, **options))

    def value(point: OperatingPoint) -> float:
        given: dict[str, Any] = {"metric": metric, "tags": tags, "events": events}
        return value_of(scores, point, **given, evaluation=settings, clip_seconds=clip_seconds)

    return Tuning(
        metric=metric,
        per_class=per_class,
        operating_point=chosen,
        before=value(start),
        after=value(chosen),
        exact=metric != "error_rate" or not per_class,
        n_clips=len(scores),
        n_choices=len(sets) * len(grid),
    )


def _best_rows(
    scores: Scores,
    reference: _Reference,
    sets: Iterable[OperatingPoint],
    grid: np.ndarray,
    *,
    metric: str,
    settings: EvaluationConfig,
    clip_seconds: float | None,
    per_class: bool,
) -> np.ndarray:
    """Return each class's best choice for a detection metric, shape (n_classes,)."""
    assert reference.events is not None
    if metric == "event_f1":
        parts = [_event_curves(scores, reference.events, point, grid, settings) for point in sets]
        return best_f1(join(parts), per_class=per_class, n_candidates=len(grid))[0]
    roll = _reference_roll(scores, reference.events, settings, clip_seconds)
    n_segments, flat = roll.shape[1], roll.reshape(-1, roll.shape[2])
    options = {"n_segments": n_segments, "segment_seconds": settings.segment_seconds}
    indices = [segment_index(scores, point, grid, **options).reshape(flat.shape) for point in sets]
    if metric == "error_rate":
        return best_error_rate(indices, flat, len(grid), per_class=per_class)[0]
    parts = [counts_at_thresholds(index, flat, len(grid)) for index in indices]
    return best_f1(join(parts), per_class=per_class, n_candidates=len(grid))[0]


def _grid(candidates: Sequence[float] | np.ndarray | None) -> np.ndarray:
    """Return the thresholds to search, sorted."""
    grid = np.arange(1, 100) / 100 if candidates is None else np.unique(np.asarray(candidates, dtype=float))
    if grid.ndim != 1 or not len(grid) or not (grid[0] > 0 and grid[-1] < 1):
        raise ConfigError("candidates: expected at least one threshold, each in (0, 1).")
    return grid


def _filters(
    start: OperatingPoint,
    medians: Sequence[float] | None,
    min_durations: Sequence[float] | None,
    min_gaps: Sequence[float] | None,
) -> list[OperatingPoint]:
    """Return the start with every combination of filters; None keeps the start's."""
    names = ("median_seconds", "min_duration_seconds", "min_gap_seconds")
    given = {name: values for name, values in zip(names, (medians, min_durations, min_gaps), strict=True) if values}
    return [start.replace(**dict(zip(given, values, strict=True))) for values in itertools.product(*given.values())]


def _chosen(
    start: OperatingPoint, sets: Sequence[OperatingPoint], grid: np.ndarray, rows: np.ndarray
) -> OperatingPoint:
    """Return the start with each class's threshold and filters; a row is ``set * len(grid) + threshold``."""
    thresholds = tuple(float(grid[row % len(grid)]) for row in rows)
    origin = [sets[row // len(grid)] for row in rows]
    filters = {
        name: tuple(getattr(one, name)[c] for c, one in enumerate(origin))
        for name in ("median_seconds", "min_duration_seconds", "min_gap_seconds")
    }
    return start.replace(thresholds=thresholds, **filters)


def _event_curves(
    scores: Scores, events: Events, point: OperatingPoint, grid: np.ndarray, settings: EvaluationConfig
) -> Curves:
    """Count events at every threshold, one pass each: runs split and merge, no histogram holds them."""
    n_classes = len(scores.classes)
    reference = event_table(events, clip_ids=scores.clip_ids, classes=scores.classes, where="reference")
    frames = FrameActivity(scores, point, grid)
    estimated = np.zeros((len(grid), n_classes), dtype=np.int64)
    correct = np.zeros_like(estimated)
    for j in range(len(grid)):
        table = _runs_table(frames.runs(j), scores)
        estimated[j] = np.bincount(table.label, minlength=n_classes)
        correct[j] = matched_per_class(
            reference,
            table,
            n_classes=n_classes,
            collar_seconds=settings.collar_seconds,
            offset_fraction=settings.offset_fraction,
        )
    return Curves(np.bincount(reference.label, minlength=n_classes), estimated, correct)
