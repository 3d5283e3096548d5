"""Metrics on cases small enough to be counted by hand, their edge cases, and what 0/0 means."""

import json
import math

import numpy as np
import pytest
from folds import band_events, closed

from crnn_weak.audio import write_audio
from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import ClipError, ConfigError, DataError, LabelError
from crnn_weak.labels.events import Event
from crnn_weak.metrics.controls import count_controls, score_baselines, score_controls, with_true_tags
from crnn_weak.metrics.counting import Scoring, count_segments, count_tags, event_metrics, segment_metrics
from crnn_weak.metrics.evaluation import baselines_table
from crnn_weak.metrics.ranking import psds, rank_classes, score_ranking, within_clip_auc
from crnn_weak.metrics.sed_eval import reported_event_metrics, reported_segment_metrics
from crnn_weak.metrics.summary import Counts, bootstrap, defined_mean

CLASSES = ("Car", "Bus", "Train")
DETECTION = [segment_metrics, event_metrics, reported_segment_metrics, reported_event_metrics]
TASK = EvaluationConfig()


def car(onset, offset, label="Car"):
    return Event(onset, offset, label)


@pytest.mark.parametrize(
    ("score", "reference", "estimated", "expected"),
    [
        # segment 0: Car for Bus, one substitution; 1: Bus deleted; 2: both deleted; 3: Train inserted
        (segment_metrics, [car(0, 3), car(1, 3, "Bus")], [car(0, 1, "Bus"), car(1, 2), car(3, 4, "Train")], (1, 3, 1)),
        (event_metrics, [car(1.0, 3.0)], [car(1.0, 3.0, "Bus")], (1, 0, 0)),
        (event_metrics, [car(0.0, 0.0)], [], (0, 1, 0)),  # an event of length 0 is to be found
        # the offset's collar is the larger of 0.2 s and half of the event
        (event_metrics, [car(1.0, 1.3)], [car(1.0, 1.49)], (0, 0, 0)),
        (event_metrics, [car(1.0, 1.3)], [car(1.0, 1.51)], (0, 1, 1)),
        (event_metrics, [car(1.0, 5.0)], [car(1.0, 6.9)], (0, 0, 0)),
        (event_metrics, [car(1.0, 5.0)], [car(1.0, 7.1)], (0, 1, 1)),
        # taken in order, the first reference would take the only estimate that suits the second
        (event_metrics, [car(1.0, 3.0), car(1.15, 3.0)], [car(1.2, 3.0), car(0.9, 3.0)], (0, 0, 0)),
    ],
)
def test_errors(score, reference, estimated, expected):
    metrics = score({"a": reference, "b": []}, {"a": estimated}, classes=CLASSES)
    assert (metrics.n_substitutions, metrics.n_deletions, metrics.n_insertions) == expected
    assert metrics.error_rate == pytest.approx(sum(expected) / metrics.n_reference)
    assert metrics.f_score == pytest.approx(2 * metrics.n_correct / (metrics.n_reference + metrics.n_estimated))


def test_long_recordings_are_counted_in_blocks(monkeypatch):
    rng = np.random.default_rng(3)
    lists = []
    for _ in range(2):
        onsets = {str(clip): rng.integers(0, 50 * (clip + 1), 5).tolist() for clip in range(7)}
        lists.append({clip: [car(float(t), t + 3.3) for t in times] for clip, times in onsets.items()})
    scoring = Scoring(CLASSES, TASK, None)
    whole = count_segments(*lists, scoring)
    monkeypatch.setattr("crnn_weak.metrics.counting._BLOCK", 1)
    blocks = count_segments(*lists, scoring)
    assert all(np.array_equal(first, second) for first, second in zip(whole, blocks, strict=True))


@pytest.mark.parametrize("score", DETECTION)
def test_nothing_estimated_scores_zero_and_an_empty_reference_has_no_value(score):
    metrics = score({"a": [car(0, 2)], "b": []}, {}, classes=CLASSES)
    assert (metrics.precision, metrics.recall, metrics.f_score) == (0.0, 0.0, 0.0)
    assert metrics.error_rate == pytest.approx(1.0)
    assert metrics.class_wise["Car"]["f_score"] == 0.0
    assert set(metrics.n_undefined.values()) == {2}
    assert metrics.class_average["f_score"] == 0.0
    # An empty reference has no value.
    metrics = score({"a": []}, {"a": [car(0, 2)]}, classes=CLASSES)
    assert math.isnan(metrics.f_score)
    assert math.isnan(metrics.error_rate)
    assert metrics.precision == 0.0
    assert math.isnan(metrics.class_wise["Car"]["error_rate"])
    content = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
    assert content["class_wise"]["Bus"]["f_score"] is None
    assert content["n_insertions"] > 0


@pytest.mark.parametrize("score", DETECTION)
def test_foreign_clips_labels_and_empty_references_are_refused(score):
    for estimated, error, message in (
        ({"b": [car(0.0, 1.0)]}, ClipError, "'b'"),
        ({"a": [car(0.0, 1.0, "car")]}, LabelError, r"estimate.*'car'.*Did you mean 'Car'"),
    ):
        with pytest.raises(error, match=message):
            score({"a": [car(0.0, 1.0)]}, estimated, classes=CLASSES)
    with pytest.raises(DataError, match="no clip"):
        score({}, {}, classes=CLASSES)


@pytest.mark.parametrize(
    ("score", "settings"),
    [
        *((segment_metrics, {"segment_seconds": seconds}) for seconds in (0.0, -1.0, math.nan)),
        (segment_metrics, {"clip_seconds": 0.0}),
        (event_metrics, {"collar_seconds": 0.0}),
        (event_metrics, {"offset_fraction": 1.5}),
    ],
)
def test_impossible_settings_are_refused(score, settings):
    with pytest.raises((ConfigError, DataError), match=f"{next(iter(settings))}.*expected"):
        score({"a": []}, {}, classes=CLASSES, **settings)


@pytest.mark.parametrize("score", [segment_metrics, reported_segment_metrics])
def test_times_that_are_dates_are_refused_before_anything_is_allocated(score):
    with pytest.raises(DataError, match="seconds from the start"):
        score({"a": [car(1.7e9, 1.7e9 + 5)]}, {}, classes=CLASSES, clip_seconds=None)


def test_baselines_are_scored_with_the_given_collar():
    events = {"a": [Event(0.0, 5.0, "Car")], "b": [Event(0.0, 10.0, "Bus"), Event(0.0, 0.0, "Car")]}
    found = score_baselines(None, events, Scoring(CLASSES, TASK, 10.0))
    # Car has the most tags, Bus the most segments
    titles = ["nothing", "true tags, whole clip", "Car everywhere", "Bus everywhere", "true events, rotated"]
    assert list(found) == titles
    # Car 5 of 10 segments, Bus all: 2.5 + 10 of 15 stay right
    assert found["true events, rotated"]["segment/f_score"] == pytest.approx(12.5 / 15)
    assert math.isnan(found["true events, rotated"]["tagging/f_score"])
    assert found["nothing"]["segment/error_rate"] == 1.0
    # 15 active segments in the reference; true tags: 10 + 20 estimated, all 15 right
    assert found["true tags, whole clip"]["segment/error_rate"] == pytest.approx(1.0)
    assert found["true tags, whole clip"]["tagging/f_score"] == 1.0
    assert found["Car everywhere"]["tagging/precision"] == 1.0
    assert json.loads(baselines_table(found, "json"))["nothing"]["segment/error_rate"] == 1.0
    assert baselines_table(found, "csv").startswith("baseline,tagging/precision,")
    for collar, f_score in ((0.2, 0.0), (1.0, 1.0)):
        scoring = Scoring(CLASSES, EvaluationConfig(collar_seconds=collar, offset_fraction=0.0), 10.0)
        found = score_baselines(None, {"a": [Event(0.5, 9.8, "Car")]}, scoring)
        assert found["true tags, whole clip"]["event/f_score"] == f_score


def test_an_oracle_replaces_the_tags():
    strong = np.full((2, 4, 2), 0.5, np.float32)
    found = with_true_tags(strong, np.array([[True, False], [False, False]]))
    assert found.dtype == np.float32
    assert found.sum(axis=1).tolist() == [[2.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("reference", "estimated", "seconds", "block_seconds", "correct", "errors"),
    [
        # 2 of 4 segments in both: over k = 0 to 3, 2, 1, 0 and 1 are right; what is not is deleted and inserted
        ([car(0, 2)], [car(0, 2)], 4.0, None, 1.0, (0, 1, 1)),
        # another class: where both sound, 1 of 4 pairs of segments, a substitution
        ([car(0, 2)], [car(0, 2, "Bus")], 4.0, None, 0.0, (1, 1, 1)),
        # the whole clip cannot be rotated away
        ([car(0, 4)], [car(0, 4)], 4.0, None, 4.0, (0, 0, 0)),
        # classes rotate together: both reference classes in segment 0, Bus alone there in the estimate
        ([car(0, 1), car(0, 1, "Bus")], [car(0, 1, "Bus")], 2.0, None, 0.5, (0, 1.5, 0.5)),
        # two blocks of 2 s, and half a block: of the second block nothing is estimated, the third is one segment
        ([car(0, 1), car(2, 3), car(4, 5)], [car(0, 1), car(4, 5)], 5.0, 2.0, 1.5, (0, 1.5, 0.5)),
        # no clip length: the recording ends with the last offset of both lists, here at 3 s, in the second block
        ([car(0, 1), car(2, 3)], [car(0, 1), car(2, 3)], None, 2.0, 1.5, (0, 0.5, 0.5)),
    ],
)  # fmt: skip
def test_rotated_counts_are_the_exact_mean(reference, estimated, seconds, block_seconds, correct, errors):
    lists = ({"a": reference, "b": []}, {"a": estimated})
    found = count_controls(*lists, Scoring(CLASSES, TASK, seconds, block_seconds))["rotated"]
    assert found.n_correct.sum(axis=1).tolist() == [correct, 0]
    assert found.errors.tolist() == [list(errors), [0, 0, 0]]
    with pytest.raises(DataError, match="rotation needs the length"):
        score_controls(*lists, Scoring(CLASSES, TASK, None))


def test_within_clip_auc():
    # Car sounds in frames 0 and 1: 3 of 4 pairs of a true and another frame are in order, and one tie counts half.
    strong = np.zeros((2, 4, 3))
    strong[0, :, 0] = [0.9, 0.2, 0.2, 0.1]
    strong[1, :, 1] = [0.1, 0.8, 0.0, 0.9]  # Bus in frame 1; the last frame is padded
    events = {"a": [car(0, 2), car(0, 4, "Bus")], "b": [car(1, 2, "Bus")]}
    options = {"clip_ids": ["a", "b"], "classes": CLASSES, "hop_seconds": 1.0}
    found = within_clip_auc(strong, events, n_frames=[4, 3], **options)
    assert (found["auc"], found["n_pairs"]) == (pytest.approx((3.5 / 4 + 1) / 2), 2)  # Bus in all of "a": no pair
    assert found["class_wise"] == {"Car": {"auc": 3.5 / 4}, "Bus": {"auc": 1.0}, "Train": {"auc": None}}
    assert (found["low"], found["high"]) == (3.5 / 4, 1.0)
    assert within_clip_auc(strong, events, **options)["class_wise"]["Bus"]["auc"] == pytest.approx(2 / 3)
    found = within_clip_auc(strong, {"a": [], "b": []}, **options)
    assert (found["auc"], found["low"], found["n_pairs"]) == (None, None, 0)


def test_a_burst_is_where_the_bands_are_and_gaps_are_closed(tmp_path):
    noise = np.random.default_rng(0).normal(0, [1e-3] * 16_000 + [0.1] * 16_000 + [1e-3] * 32_000)
    write_audio(tmp_path / "burst.wav", noise.astype(np.float32), 16_000)
    assert [(e.onset, e.offset) for e in band_events(tmp_path / "burst.wav", "a")] == [pytest.approx((1, 2), abs=0.05)]
    assert closed([Event(0, 1, "a"), Event(1.5, 2, "a"), Event(3, 4, "a")], 1) == [Event(0, 2, "a"), Event(3, 4, "a")]


def test_rankings_skip_classes_that_all_or_no_clips_have():
    tags = np.array([[1, 1, 0], [0, 1, 0]], bool)
    scores = np.array([[0.9, 0.8, 0.3], [0.1, 0.7, 0.2]])
    found = score_ranking(tags, scores, classes=CLASSES)
    assert (found["roc_auc"], found["mean_average_precision"]) == (1.0, 1.0)
    assert [row["roc_auc"] for row in found["class_wise"].values()] == [1.0, None, None]
    found = rank_classes(np.array([[1, 0, 0], [0, 1, 0]], bool), scores, classes=CLASSES)["average_precision"]
    assert found == {"Car": 1.0, "Bus": 0.5, "Train": pytest.approx(math.nan, nan_ok=True)}
    assert defined_mean(found.values()) == (0.75, 1)


def test_psds_of_perfect_scores_is_one():
    pytest.importorskip("sed_scores_eval", reason="the optional extra psds is not installed")
    # "b" has an overlap of one label, and an event beyond the clip's end.
    events = {
        "a": [car(1.0, 4.5), car(0.0, 10.0, "Bus")],
        "b": [car(2.5, 3.5, "Train"), car(4.0, 8.0), car(4.5, 6.0), car(5.0, 30.0, "Bus")],
        "c": [car(0.0, 0.0)],
    }
    strong = np.full((3, 20, 3), 0.1)
    for row, listed in enumerate(events.values()):
        for event in listed:
            strong[row, int(2 * event.onset) : int(2 * event.offset), CLASSES.index(event.label)] = 0.9
    options = {"clip_ids": ["a", "b", "c"], "classes": CLASSES, "hop_seconds": 0.5}
    assert psds(strong, events, **options) == {"psds1": pytest.approx(1.0), "psds2": pytest.approx(1.0)}
    with pytest.raises(DataError, match="no event of Train"):
        psds(strong, {"a": events["a"], "b": [], "c": []}, **options)


def test_bootstrap_is_seeded_and_as_wide_as_resampling_one_by_one():
    rng = np.random.default_rng(2)
    arrays = [rng.integers(0, 5, (40, 3)) for _ in range(3)]
    counts = Counts(arrays[0] + arrays[2], arrays[1] + arrays[2], arrays[2])
    found = bootstrap(counts, classes=CLASSES, n_resamples=4000)
    assert found == bootstrap(counts, classes=CLASSES, n_resamples=4000)
    assert found != bootstrap(counts, classes=CLASSES, n_resamples=4000, seed=1)
    assert set(found.class_wise) == set(CLASSES)
    values = []
    for _ in range(4000):
        rows = rng.integers(0, 40, 40)
        reference, estimated, correct = (array[rows].sum() for array in counts[:3])
        values.append(2 * correct / (reference + estimated))
    span = found.overall["f_score"]
    assert (span.low, span.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.01)


def test_bootstrap_needs_two_clips_and_counts_what_is_undefined():
    ones = np.ones((1, 1), dtype=int)
    with pytest.raises(DataError, match="two or more"):
        bootstrap(Counts(ones, ones, ones))
    counts = count_tags({"a": ["Car"], "b": []}, {}, classes=CLASSES)
    assert bootstrap(counts, n_resamples=50).overall["recall"].n_undefined > 0
