"""Metrics on cases small enough to be counted by hand, their edge cases, and what 0/0 means."""

import json
import math

import numpy as np
import pytest

from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import ClipError, ConfigError, DataError, LabelError
from crnn_weak.labels.events import Event
from crnn_weak.labels.rolls import segment_roll
from crnn_weak.metrics.bootstrap import bootstrap
from crnn_weak.metrics.controls import baseline_tags, score_baselines, with_true_tags, with_true_times
from crnn_weak.metrics.counting import Counts
from crnn_weak.metrics.event import event_metrics
from crnn_weak.metrics.ranking import average_precision, psds
from crnn_weak.metrics.sed_eval import reported_event_metrics, reported_segment_metrics, reported_tagging_metrics
from crnn_weak.metrics.segment import count_segments, segment_counts, segment_metrics
from crnn_weak.metrics.tagging import count_tags, tagging_metrics

CLASSES = ("Car", "Bus", "Train")
DETECTION = [segment_metrics, event_metrics, reported_segment_metrics, reported_event_metrics]


def errors(metrics):
    return metrics.n_substitutions, metrics.n_deletions, metrics.n_insertions


# --- segments -------------------------------------------------------------------------------------------------------


def test_substitution_deletion_and_insertion_counted_by_hand():
    reference = {"a": [Event(0.0, 3.0, "Car"), Event(1.0, 3.0, "Bus")]}
    estimated = {"a": [Event(0.0, 1.0, "Bus"), Event(1.0, 2.0, "Car"), Event(3.0, 4.0, "Train")]}
    # segment 0: Car for Bus, one substitution; 1: Bus deleted; 2: both deleted; 3: Train inserted
    metrics = segment_metrics(reference, estimated, classes=CLASSES)
    assert errors(metrics) == (1, 3, 1)
    assert metrics.error_rate == pytest.approx(5 / 5)
    assert (metrics.n_reference, metrics.n_estimated, metrics.n_correct) == (5, 3, 1)
    assert metrics.f_score == pytest.approx(2 / 8)


@pytest.mark.parametrize(
    ("onset", "offset", "touched"),
    [
        (0.0, 0.0, []),  # the organizers' "0 0" rows
        (2.0, 2.0, []),
        (2.4, 2.4, [2]),  # sed_eval floors and ceils: a point within a segment touches it
        (1.0, 2.0, [1]),
        (0.999, 2.001, [0, 1, 2]),
        (9.5, 12.0, [9]),  # cut off at the clip's end
        (11.0, 12.0, []),
    ],
)
def test_segments_that_an_event_touches(onset, offset, touched):
    roll = segment_roll({"a": [Event(onset, offset, "Car")]}, clip_ids=["a"], classes=["Car"], clip_seconds=10.0)
    assert np.flatnonzero(roll[0, :, 0]).tolist() == touched


def test_overlapping_events_of_one_class_count_once():
    reference = {"a": [Event(0.0, 4.0, "Car")]}
    estimated = {"a": [Event(0.0, 3.0, "Car"), Event(1.0, 4.0, "Car")]}
    assert segment_metrics(reference, estimated, classes=CLASSES).error_rate == 0.0


def test_long_recordings_are_counted_in_blocks(monkeypatch):
    rng = np.random.default_rng(3)

    def made_up():
        onsets = {str(clip): rng.integers(0, 50 * (clip + 1), 5).tolist() for clip in range(7)}
        return {clip: [Event(float(t), t + 3.3, "Car") for t in times] for clip, times in onsets.items()}

    reference, estimated = made_up(), made_up()
    whole = count_segments(reference, estimated, classes=CLASSES, clip_seconds=None)
    monkeypatch.setattr("crnn_weak.metrics.segment._BLOCK", 1)
    blocks = count_segments(reference, estimated, classes=CLASSES, clip_seconds=None)
    for name in ("n_reference", "n_estimated", "n_correct", "errors"):
        assert np.array_equal(getattr(whole, name), getattr(blocks, name))


# --- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "offset_error", "found"),
    [(0.3, 0.19, True), (0.3, 0.21, False), (4.0, 1.9, True), (4.0, 2.1, False)],
)
def test_offset_collar_is_the_larger_of_collar_and_share(length, offset_error, found):
    reference = {"a": [Event(1.0, 1.0 + length, "Car")]}
    estimated = {"a": [Event(1.0, 1.0 + length + offset_error, "Car")]}
    assert event_metrics(reference, estimated, classes=CLASSES).f_score == float(found)
    assert event_metrics(reference, estimated, classes=CLASSES, onset_only=True).f_score == 1.0


def test_matching_is_maximum_where_the_first_match_is_not():
    # Taken in order, the first reference takes the only estimate that suits the second.
    reference = {"a": [Event(1.0, 3.0, "Car"), Event(1.15, 3.0, "Car")]}
    estimated = {"a": [Event(1.2, 3.0, "Car"), Event(0.9, 3.0, "Car")]}
    assert event_metrics(reference, estimated, classes=CLASSES).n_correct == 2


@pytest.mark.parametrize(
    ("reference", "estimated", "expected"),
    [
        ({"a": [Event(1.0, 3.0, "Car")]}, {"a": [Event(1.0, 3.0, "Bus")]}, (1, 0, 0)),  # the wrong label
        ({"a": [Event(1.0, 3.0, "Car")], "b": []}, {"b": [Event(1.0, 3.0, "Car")]}, (0, 1, 1)),  # another clip
        ({"a": [Event(0.0, 0.0, "Car")]}, {}, (0, 1, 0)),  # an event of length 0 is to be found
    ],
)
def test_errors_of_events(reference, estimated, expected):
    assert errors(event_metrics(reference, estimated, classes=CLASSES)) == expected


# --- 0/0 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", DETECTION)
def test_nothing_estimated_scores_zero(score):
    metrics = score({"a": [Event(0.0, 2.0, "Car")], "b": []}, {}, classes=CLASSES)
    assert (metrics.precision, metrics.recall, metrics.f_score) == (0.0, 0.0, 0.0)
    assert metrics.error_rate == pytest.approx(1.0)
    assert metrics.class_wise["Car"]["f_score"] == 0.0
    assert set(metrics.n_undefined.values()) == {2}
    assert metrics.class_average["f_score"] == 0.0


@pytest.mark.parametrize("score", DETECTION)
def test_empty_reference_has_no_value(score):
    metrics = score({"a": []}, {"a": [Event(0.0, 2.0, "Car")]}, classes=CLASSES)
    assert math.isnan(metrics.f_score)
    assert math.isnan(metrics.error_rate)
    assert metrics.precision == 0.0
    assert math.isnan(metrics.class_wise["Car"]["error_rate"])
    content = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
    assert content["class_wise"]["Bus"]["f_score"] is None
    assert content["n_insertions"] > 0


@pytest.mark.parametrize("score", [tagging_metrics, reported_tagging_metrics])
def test_a_class_that_is_never_estimated_counts_in_the_class_average(score):
    metrics = score({"a": ["Car"], "b": ["Bus"]}, {"a": ["Car"]}, classes=CLASSES)
    assert metrics.class_average == {"precision": 0.5, "recall": 0.5, "f_score": 0.5}
    assert metrics.n_undefined == {"precision": 1, "recall": 1, "f_score": 1}


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", DETECTION)
def test_foreign_clips_labels_and_empty_references_are_refused(score):
    event = Event(0.0, 1.0, "Car")
    with pytest.raises(ClipError, match="'b'"):
        score({"a": [event]}, {"b": [event]}, classes=CLASSES)
    with pytest.raises(LabelError, match=r"estimate.*'car'.*Did you mean 'Car'"):
        score({"a": [event]}, {"a": [Event(0.0, 1.0, "car")]}, classes=CLASSES)
    with pytest.raises(DataError, match="no clip"):
        score({}, {}, classes=CLASSES)


@pytest.mark.parametrize(
    ("score", "settings"),
    [
        *((segment_metrics, {"segment_seconds": seconds}) for seconds in (0.0, -1.0, math.nan)),
        (event_metrics, {"collar_seconds": 0.0}),
        (event_metrics, {"offset_fraction": 1.5}),
    ],
)
def test_impossible_settings_are_refused(score, settings):
    with pytest.raises(DataError, match=f"{next(iter(settings))}.*expected"):
        score({"a": []}, {}, classes=CLASSES, **settings)


@pytest.mark.parametrize("score", [segment_metrics, reported_segment_metrics])
def test_times_that_are_dates_are_refused_before_anything_is_allocated(score):
    lists = ({"a": [Event(1.7e9, 1.7e9 + 5, "Car")]}, {})
    with pytest.raises(DataError, match="seconds from the start"):
        score(*lists, classes=CLASSES, clip_seconds=None)


def test_arrays_of_different_shape_are_refused():
    with pytest.raises(DataError, match="one shape"):
        segment_counts(np.zeros((1, 2, 3), bool), np.zeros((1, 3, 3), bool))
    with pytest.raises(DataError, match="average precision"):
        average_precision(np.zeros((1, 2), bool), np.zeros((1, 3)), classes=CLASSES)


# --- tags -----------------------------------------------------------------------------------------------------------


def test_tags_are_micro_averaged_and_doubles_count_once():
    reference = {"a": ["Car", "Car"], "b": ["Bus"], "c": []}
    estimated = {"a": ["Car", "Bus"], "c": ["Bus"]}
    metrics = tagging_metrics(reference, estimated, classes=CLASSES)
    assert (metrics.precision, metrics.recall) == (pytest.approx(1 / 3), 0.5)
    assert metrics.f_score == pytest.approx(0.4)
    assert metrics.class_wise["Bus"]["precision"] == 0.0
    assert "error_rate" not in metrics.to_dict()


# --- controls, average precision, bootstrap ------------------------------------------------------------------------


def test_baselines():
    events = {"a": [Event(0.0, 5.0, "Car")], "b": [Event(0.0, 10.0, "Bus"), Event(0.0, 0.0, "Car")]}
    found = score_baselines(None, events, classes=CLASSES)
    assert list(found) == ["nothing", "true tags, whole clip", "Car everywhere"]
    assert found["nothing"]["segment/error_rate"] == 1.0
    # 15 active segments in the reference; true tags: 10 + 20 estimated, all 15 right
    assert found["true tags, whole clip"]["segment/error_rate"] == pytest.approx(1.0)
    assert found["true tags, whole clip"]["tagging/f_score"] == 1.0
    assert found["Car everywhere"]["tagging/precision"] == 1.0


@pytest.mark.parametrize(("collar", "f_score"), [(0.2, 0.0), (1.0, 1.0)])
def test_baselines_are_scored_with_the_given_collar(collar, f_score):
    evaluation = EvaluationConfig(collar_seconds=collar, offset_fraction=0.0)
    found = score_baselines(None, {"a": [Event(0.5, 9.8, "Car")]}, classes=CLASSES, evaluation=evaluation)
    assert found["true tags, whole clip"]["event/f_score"] == f_score


def test_unknown_baseline_names_the_known_ones():
    with pytest.raises(ConfigError, match="Did you mean 'nothing'"):
        baseline_tags("nothings", {"a": []}, classes=CLASSES)
    with pytest.raises(LabelError, match="'Card'"):
        baseline_tags("one-class", {"a": []}, classes=CLASSES, one_class="Card")


def test_oracles_replace_tags_or_times():
    strong = np.full((2, 4, 2), 0.5, np.float32)
    found = with_true_tags(strong, np.array([[True, False], [False, False]]))
    assert found.dtype == np.float32
    assert found.sum(axis=1).tolist() == [[2.0, 0.0], [0.0, 0.0]]
    true, own = Event(1.0, 2.0, "Car"), Event(3.0, 4.0, "Bus")
    estimated = {"a": [Event(0.0, 9.0, "Car"), own]}
    # Car is right and gets its true times; Bus is wrong and keeps its own; Train was missed and stays so.
    reference = {"a": [true, Event(5.0, 6.0, "Train")]}
    assert with_true_times({"a": ["Car", "Bus"]}, reference, estimated) == {"a": [true, own]}


def test_average_precision_skips_absent_classes():
    reference = np.array([[1, 0, 0], [0, 1, 0]], bool)
    scores = np.array([[0.9, 0.8, 0.3], [0.1, 0.7, 0.2]])
    found = average_precision(reference, scores, classes=CLASSES)
    assert found.class_wise == {"Car": 1.0, "Bus": 0.5, "Train": pytest.approx(math.nan, nan_ok=True)}
    assert (found.mean, found.n_undefined) == (0.75, 1)


def test_psds_of_perfect_scores_is_one():
    pytest.importorskip("sed_scores_eval", reason="the optional extra psds is not installed")
    strong = np.full((3, 20, 3), 0.1)
    events = {"a": [], "b": [], "c": [Event(0.0, 0.0, "Car")]}
    for clip, label, first, last in (
        ("a", "Car", 2, 9),
        ("a", "Bus", 0, 20),
        ("b", "Train", 5, 7),
        ("b", "Car", 8, 16),
    ):
        strong["abc".index(clip), first:last, CLASSES.index(label)] = 0.9
        events[clip].append(Event(0.5 * first, 0.5 * last, label))
    events["b"] += [Event(4.5, 6.0, "Car"), Event(5.0, 30.0, "Bus")]  # overlap of one label; beyond the clip's end
    strong[1, 10:, 1] = 0.9
    options = {"clip_ids": ["a", "b", "c"], "classes": CLASSES, "hop_seconds": 0.5}
    assert psds(strong, events, **options) == {"psds1": pytest.approx(1.0), "psds2": pytest.approx(1.0)}
    with pytest.raises(DataError, match="no event of Train"):
        psds(strong, {"a": events["a"], "b": [], "c": []}, **options)


def test_bootstrap_is_seeded_and_holds_the_value():
    rng = np.random.default_rng(1)
    reference, estimated = rng.random((300, 10, 3)) < 0.3, rng.random((300, 10, 3)) < 0.3
    counts = segment_counts(reference, estimated | reference & (rng.random((300, 10, 3)) < 0.7))
    found = bootstrap(counts, classes=CLASSES, n_resamples=400)
    assert found == bootstrap(counts, classes=CLASSES, n_resamples=400)
    assert found != bootstrap(counts, classes=CLASSES, n_resamples=400, seed=1)
    value = 2 * counts.n_correct.sum() / (counts.n_reference.sum() + counts.n_estimated.sum())
    assert found.overall["f_score"].low < value < found.overall["f_score"].high
    assert set(found.class_wise) == set(CLASSES)


def test_bootstrap_width_is_that_of_resampling_one_by_one():
    rng = np.random.default_rng(2)
    arrays = [rng.integers(0, 5, (40, 2)) for _ in range(3)]
    counts = Counts(arrays[0] + arrays[2], arrays[1] + arrays[2], arrays[2])
    found = bootstrap(counts, n_resamples=4000).overall["f_score"]
    values = []
    for _ in range(4000):
        rows = rng.integers(0, 40, 40)
        reference, estimated, correct = (
            array[rows].sum() for array in (counts.n_reference, counts.n_estimated, counts.n_correct)
        )
        values.append(2 * correct / (reference + estimated))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.01)


def test_bootstrap_refuses_one_clip_and_bad_levels():
    ones = np.ones((1, 1), dtype=int)
    with pytest.raises(DataError, match="two or more"):
        bootstrap(Counts(ones, ones, ones))
    counts = count_tags({"a": ["Car"], "b": []}, {}, classes=CLASSES)
    with pytest.raises(ConfigError, match="level"):
        bootstrap(counts, level=1.0)
    assert bootstrap(counts, n_resamples=50).overall["recall"].n_undefined > 0
