"""The exhaustive search against what it replaces: sed_eval, threshold by threshold, and trying every combination."""

import itertools

import numpy as np
import pytest

from crnn_weak.config import EvaluationConfig, OperatingPointConfig
from crnn_weak.detection.curves import segment_index
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import scores_to_events
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.search import best_error_rate, counts_at_thresholds
from crnn_weak.detection.tuning import METRICS, tune, value_of
from crnn_weak.errors import ClipError, ConfigError, DataError
from crnn_weak.labels.events import Event
from crnn_weak.labels.rolls import segment_roll
from crnn_weak.metrics.sed_eval import reported_event_metrics, reported_segment_metrics

CLASSES = ("Air horn, truck horn", "Bus", "Car")
HOP = 0.08  # does not divide a second: some frames touch two segments


def made_up(seed, n_clips=12, n_frames=60, classes=CLASSES):
    """Return scores that know something of the events, and the events."""
    rng = np.random.default_rng(seed)
    strong = rng.normal(-1.0, 1.0, (n_clips, n_frames // 5, len(classes))).repeat(5, axis=1)
    events = {}
    for clip in range(n_clips):
        rows = []
        for c in rng.choice(len(classes), rng.integers(0, 3), replace=False):
            onset = rng.uniform(0, 3)
            offset = min(onset + rng.exponential(1.5), n_frames * HOP)
            rows.append(Event(round(onset, 3), round(offset, 3), classes[c]))
            strong[clip, int(onset / HOP) : int(offset / HOP) + 1, c] += 2.0
        events[str(clip)] = tuple(rows)
    strong = (1 / (1 + np.exp(-strong - rng.normal(0, 0.5, len(classes))))).astype(np.float32)
    weak = np.clip(strong.max(axis=1) + rng.normal(0, 0.1, (n_clips, len(classes))), 0, 1).astype(np.float32)
    return Scores(tuple(events), tuple(classes), HOP, strong, weak), events


def tags_of(events):
    return {clip: {event.label for event in rows} for clip, rows in events.items()}


def reported_value(scores, events, point, metric):
    estimated = scores_to_events(scores, point)
    if metric == "event_f1":
        return reported_event_metrics(events, estimated, classes=scores.classes).f_score
    length = scores.strong.shape[1] * scores.hop_seconds
    found = reported_segment_metrics(events, estimated, classes=scores.classes, clip_seconds=length)
    return found.f_score if metric == "segment_f1" else found.error_rate


FILTERS = {
    "plain": {},
    "median": {"median_seconds": 0.4},
    "hysteresis, gap, duration": {"low_threshold": 0.2, "min_gap_seconds": 0.3, "min_duration_seconds": 0.2},
    "gate": {"weak_gate": True},
}


@pytest.mark.parametrize("metric", ["segment_f1", "error_rate", "event_f1"])
@pytest.mark.parametrize("filters", FILTERS)
def test_value_at_sampled_thresholds_is_sed_evals(metric, filters):
    scores, events = made_up(1)
    for threshold in (0.2, 0.35, 0.5, 0.8, 0.97):
        point = OperatingPoint.from_config(
            OperatingPointConfig(**(FILTERS[filters] | {"threshold": threshold})), CLASSES
        )
        ours = value_of(scores, point, metric=metric, events=events)
        assert ours == pytest.approx(reported_value(scores, events, point, metric), abs=1e-9)


@pytest.mark.parametrize("filters", FILTERS)
def test_counts_at_every_threshold_are_those_of_the_metric(filters):
    scores, events = made_up(2)
    candidates = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    start = OperatingPoint.from_config(OperatingPointConfig(threshold=0.9, **FILTERS[filters]), CLASSES)
    roll = segment_roll(events, clip_ids=scores.clip_ids, classes=CLASSES, clip_seconds=60 * HOP)
    index = segment_index(scores, start, candidates, n_segments=roll.shape[1], segment_seconds=1.0)
    curves = counts_at_thresholds(index.reshape(-1, 3), roll.reshape(-1, 3), len(candidates))
    for j, threshold in enumerate(candidates):
        estimated = scores_to_events(scores, start.replace(thresholds=threshold))
        rows = reported_segment_metrics(events, estimated, classes=CLASSES, clip_seconds=60 * HOP).class_wise
        assert curves.n_estimated[j].tolist() == [rows[label]["n_estimated"] for label in CLASSES]
        assert curves.n_correct[j].tolist() == [rows[label]["n_correct"] for label in CLASSES]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("filters", ["plain", "hysteresis, gap, duration"])
def test_common_threshold_is_the_best_of_all(metric, filters):
    scores, events = made_up(3)
    start = OperatingPoint.from_config(OperatingPointConfig(**FILTERS[filters]), CLASSES)
    candidates = np.arange(1, 20) / 20
    reference = {"tags": tags_of(events), "events": events}
    found = tune(scores, metric=metric, operating_point=start, candidates=candidates, **reference)
    name = "tag_thresholds" if metric == "tagging_f1" else "thresholds"
    values = [value_of(scores, start.replace(**{name: float(t)}), metric=metric, **reference) for t in candidates]
    best = min(values) if metric == "error_rate" else max(values)
    assert found.exact
    assert found.after == pytest.approx(best)
    assert found.before == pytest.approx(value_of(scores, start, metric=metric, **reference))


@pytest.mark.parametrize("metric", ["segment_f1", "event_f1", "tagging_f1"])
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_per_class_f1_is_the_best_of_all_combinations(metric, seed):
    scores, events = made_up(seed)
    candidates = np.array([0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
    reference = {"tags": tags_of(events), "events": events}
    found = tune(scores, metric=metric, per_class=True, candidates=candidates, **reference)
    start = OperatingPoint.from_config(OperatingPointConfig(), CLASSES)
    name = "tag_thresholds" if metric == "tagging_f1" else "thresholds"
    best = max(
        value_of(scores, start.replace(**{name: combination}), metric=metric, **reference)
        for combination in itertools.product(candidates.tolist(), repeat=3)
    )
    assert found.exact
    assert found.after == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_per_class_error_rate_cannot_be_improved_by_one_class(seed):
    scores, events = made_up(seed, n_clips=15)
    candidates = np.arange(1, 10) / 10
    common = tune(scores, metric="error_rate", candidates=candidates, events=events)
    found = tune(scores, metric="error_rate", per_class=True, candidates=candidates, events=events)
    assert not found.exact
    assert found.after <= common.after
    for c, threshold in itertools.product(range(3), candidates.tolist()):
        thresholds = list(found.operating_point.thresholds)
        thresholds[c] = threshold
        other = value_of(
            scores, found.operating_point.replace(thresholds=tuple(thresholds)), metric="error_rate", events=events
        )
        assert other >= found.after - 1e-12


def test_search_knows_its_own_value():
    scores, events = made_up(7)
    candidates = np.arange(1, 50) / 50
    start = OperatingPoint.from_config(OperatingPointConfig(), CLASSES)
    roll = segment_roll(events, clip_ids=scores.clip_ids, classes=CLASSES, clip_seconds=60 * HOP)
    index = segment_index(scores, start, candidates, n_segments=roll.shape[1], segment_seconds=1.0)
    chosen, value = best_error_rate([index.reshape(-1, 3)], roll.reshape(-1, 3), len(candidates), per_class=True)
    point = start.replace(thresholds=tuple(candidates[chosen].tolist()))
    assert value == pytest.approx(value_of(scores, point, metric="error_rate", events=events))


def test_among_equals_the_middle_of_the_plateau_is_taken():
    """Background below 0.2, events above 0.6: everything between is perfect, and 0.4 is furthest from both."""
    scores, events = made_up(13)
    strong = np.full_like(scores.strong, 0.2)
    for row, clip in enumerate(scores.clip_ids):
        for event in events[clip]:
            column = CLASSES.index(event.label)
            strong[row, int(np.ceil(event.onset / HOP)) : int(event.offset / HOP), column] = 0.6
    perfect = Scores(scores.clip_ids, CLASSES, HOP, strong, scores.weak)
    for metric in ("segment_f1", "error_rate"):
        for per_class in (False, True):
            found = tune(perfect, metric=metric, events=events, per_class=per_class)
            assert found.operating_point.thresholds == pytest.approx((0.4,) * 3, abs=0.011)


def test_filters_are_chosen_with_the_thresholds():
    scores, events = made_up(8)
    candidates = np.arange(1, 10) / 10
    medians = [0.0, 0.4, 0.8]
    found = tune(scores, metric="segment_f1", per_class=True, candidates=candidates, medians=medians, events=events)
    alone = [
        tune(scores, metric="segment_f1", per_class=True, candidates=candidates, medians=[m], events=events).after
        for m in medians
    ]
    assert found.after >= max(alone) - 1e-12
    assert set(found.operating_point.median_seconds) <= set(medians)
    assert found.n_choices == 27


def test_all_scores_as_candidates_are_at_least_as_good_as_a_grid():
    scores, events = made_up(9)
    values = np.unique(scores.strong)
    every = tune(
        scores, metric="segment_f1", per_class=True, candidates=values[(values > 0) & (values < 1)], events=events
    )
    assert every.after >= tune(scores, metric="segment_f1", per_class=True, events=events).after


def test_a_class_without_reference_keeps_the_common_threshold():
    scores, events = made_up(10)
    events = {clip: tuple(e for e in rows if e.label != "Bus") for clip, rows in events.items()}
    common = tune(scores, metric="segment_f1", events=events).operating_point.thresholds[1]
    assert tune(scores, metric="segment_f1", per_class=True, events=events).operating_point.thresholds[1] == common
    common = tune(scores, metric="error_rate", events=events).operating_point.thresholds[1]
    assert tune(scores, metric="error_rate", per_class=True, events=events).operating_point.thresholds[1] == common


def test_segment_length_of_the_evaluation_is_used():
    scores, events = made_up(11)
    settings = EvaluationConfig(segment_seconds=0.5)
    found = tune(scores, metric="segment_f1", events=events, evaluation=settings)
    estimated = scores_to_events(scores, found.operating_point)
    metrics = reported_segment_metrics(events, estimated, classes=CLASSES, clip_seconds=60 * HOP, segment_seconds=0.5)
    assert found.after == pytest.approx(metrics.f_score)


def test_what_cannot_be_tuned_is_refused():
    scores, events = made_up(12)
    with pytest.raises(ConfigError, match="Did you mean 'segment_f1'"):
        tune(scores, metric="segment_f", events=events)
    with pytest.raises(DataError, match="needs events"):
        tune(scores, metric="segment_f1", tags=tags_of(events))
    with pytest.raises(ClipError, match="'0'"):
        tune(scores, metric="segment_f1", events={})
    with pytest.raises(ConfigError, match="candidates"):
        tune(scores, metric="segment_f1", events=events, candidates=[0.0, 0.5])
    with pytest.raises(DataError, match="no clips"):
        tune(scores.take([]), metric="segment_f1", events=events)
