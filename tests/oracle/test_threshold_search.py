"""The exhaustive search against what it replaces: sed_eval, threshold by threshold, and trying every combination."""

import itertools

import numpy as np
import pytest

from crnn_weak.config import EvaluationConfig, OperatingPointConfig
from crnn_weak.detection.postprocessing import OperatingPoint, scores_to_events
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.tuning import TUNING_METRICS, Objective, Reference, tune
from crnn_weak.errors import ClipError, ConfigError
from crnn_weak.labels.events import Event
from crnn_weak.metrics.sed_eval import reported_event_metrics, reported_segment_metrics

CLASSES = ("Air horn, truck horn", "Bus", "Car")
HOP = 0.08  # does not divide a second: some frames touch two segments


def made_up(seed, n_clips=12, n_frames=60):
    """Return scores that know something of the events, and the reference."""
    rng = np.random.default_rng(seed)
    strong = rng.normal(-1.0, 1.0, (n_clips, n_frames // 5, len(CLASSES))).repeat(5, axis=1)
    events = {}
    for clip in range(n_clips):
        rows = []
        for c in rng.choice(len(CLASSES), rng.integers(0, 3), replace=False):
            onset = rng.uniform(0, 3)
            offset = min(onset + rng.exponential(1.5), n_frames * HOP)
            rows.append(Event(round(onset, 3), round(offset, 3), CLASSES[c]))
            strong[clip, int(onset / HOP) : int(offset / HOP) + 1, c] += 2.0
        events[str(clip)] = tuple(rows)
    strong = (1 / (1 + np.exp(-strong - rng.normal(0, 0.5, len(CLASSES))))).astype(np.float32)
    weak = np.clip(strong.max(axis=1) + rng.normal(0, 0.1, (n_clips, len(CLASSES))), 0, 1).astype(np.float32)
    tags = {clip: {event.label for event in rows} for clip, rows in events.items()}
    return Scores(tuple(events), CLASSES, HOP, strong, weak), Reference(tags, events)


def reported_value(scores, events, point, metric, evaluation):
    estimated = scores_to_events(scores, point)
    if metric == "event_f1":
        return reported_event_metrics(events, estimated, classes=CLASSES).f_score
    options = {"classes": CLASSES, "clip_seconds": 60 * HOP, "evaluation": evaluation}
    metrics = reported_segment_metrics(events, estimated, **options)
    return metrics.f_score if metric == "segment_f1" else metrics.error_rate


def point(**options):
    return OperatingPoint.from_config(OperatingPointConfig(**options), CLASSES)


def searched(metric):
    return "tag_thresholds" if metric == "tagging_f1" else "thresholds"


FILTERS = {
    "plain": {},
    "median": {"median_seconds": 0.4},
    "hysteresis, gap, duration": {"low_threshold": 0.2, "min_gap_seconds": 0.3, "min_duration_seconds": 0.2},
    "gate": {"weak_gate": True},
    "threshold alone": {"min_tags": 0},
}


@pytest.mark.parametrize("metric", ["segment_f1", "error_rate", "event_f1"])
@pytest.mark.parametrize("filters", FILTERS)
def test_value_at_sampled_thresholds_is_sed_evals(metric, filters):
    scores, reference = made_up(1)
    for threshold, segment_seconds in ((0.2, 1.0), (0.35, 1.0), (0.5, 0.5), (0.8, 1.0), (0.97, 0.5)):
        at = point(**FILTERS[filters] | {"threshold": threshold})
        evaluation = EvaluationConfig(segment_seconds=segment_seconds)
        ours = Objective(scores, reference._replace(evaluation=evaluation), metric).value(at)
        assert ours == pytest.approx(reported_value(scores, reference.events, at, metric, evaluation), abs=1e-9)


@pytest.mark.parametrize("metric", TUNING_METRICS)
@pytest.mark.parametrize("filters", FILTERS)
def test_common_threshold_is_the_best_of_all(metric, filters):
    scores, reference = made_up(3)
    start, candidates = point(**FILTERS[filters]), np.arange(1, 20) / 20
    tuned = tune(scores, reference, metric=metric, operating_point=start, candidates=candidates)
    value = Objective(scores, reference, metric).value
    values = [value(start.replace(**{searched(metric): float(t)})) for t in candidates]
    assert tuned.after == pytest.approx(min(values) if metric == "error_rate" else max(values))
    assert tuned.before == pytest.approx(value(start))


@pytest.mark.parametrize(
    ("metric", "min_tags"), [("segment_f1", 1), ("event_f1", 1), ("tagging_f1", 0), ("tagging_f1", 1)]
)
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_per_class_f1_is_the_best_of_all_combinations(metric, min_tags, seed):
    scores, reference = made_up(seed)
    candidates, start = np.array([0.15, 0.3, 0.45, 0.6, 0.75, 0.9]), point(min_tags=min_tags)
    tuned = tune(scores, reference, metric=metric, per_class=True, operating_point=start, candidates=candidates)
    value = Objective(scores, reference, metric).value
    combinations = itertools.product(candidates.tolist(), repeat=3)
    best = max(value(start.replace(**{searched(metric): combination})) for combination in combinations)
    assert tuned.after == pytest.approx(best)


def test_among_equals_the_middle_of_the_plateau_is_taken():
    """Background below 0.2, events above 0.6: everything between is perfect, and 0.4 is furthest from both."""
    scores, reference = made_up(13)
    strong = np.full_like(scores.strong, 0.2)
    for row, clip in enumerate(scores.clip_ids):
        for event in reference.events[clip]:
            column = CLASSES.index(event.label)
            strong[row, int(np.ceil(event.onset / HOP)) : int(event.offset / HOP), column] = 0.6
    perfect = Scores(scores.clip_ids, CLASSES, HOP, strong, scores.weak)
    for metric, per_class in (("segment_f1", False), ("segment_f1", True), ("error_rate", False)):
        tuned = tune(perfect, reference, metric=metric, per_class=per_class)
        assert tuned.operating_point.thresholds == pytest.approx((0.4,) * 3, abs=0.011)


def test_filters_are_chosen_with_the_thresholds():
    scores, reference = made_up(8)
    options = {"metric": "segment_f1", "per_class": True, "candidates": np.arange(1, 10) / 10}
    one, two, three, tuned = (
        tune(scores, reference, filters={"median_seconds": medians}, **options)
        for medians in ([0.0], [0.4], [0.8], [0.0, 0.4, 0.8])
    )
    assert tuned.after >= max(one.after, two.after, three.after) - 1e-12
    assert set(tuned.operating_point.median_seconds) <= {0.0, 0.4, 0.8}
    assert tuned.n_choices == 27


def test_a_class_without_reference_keeps_the_common_threshold_and_a_clip_without_is_refused():
    scores, reference = made_up(10)
    events = {clip: tuple(e for e in rows if e.label != "Bus") for clip, rows in reference.events.items()}
    known = Reference(events=events)
    common, own = (tune(scores, known, metric="segment_f1", per_class=each) for each in (False, True))
    assert own.operating_point.thresholds[1] == common.operating_point.thresholds[1]
    with pytest.raises(ClipError, match="'0'"):
        tune(scores, Reference(events={}), metric="segment_f1")
    with pytest.raises(ConfigError, match=r"scores in \(0, 1\)"):
        tune(scores, reference, metric="segment_f1", candidates=[0.0])
