"""From scores to events: what holds for any scores and settings, and every step on a few frames."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.postprocessing import (
    OperatingPoint,
    active_frames,
    find_events,
    scores_to_events,
    scores_to_tags,
)
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.tuning import FramesAtThresholds
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.labels.rolls import event_roll, roll_runs, runs_roll, segment_maximum, segment_roll

CLASSES = ("Car", "Bus")
HOP = 0.3  # does not divide a second, so that frames and seconds cannot be mixed up
levels = st.integers(0, 20).map(lambda n: np.float32(n / 20))
strong_scores = hnp.arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 25), st.just(2)), elements=levels)
threshold = st.integers(1, 19).map(lambda n: n / 20)
seconds = st.sampled_from([0.0, 0.3, 0.6, 0.7, 1.0, 2.0])
PLAIN = OperatingPoint.from_config(OperatingPointConfig(), CLASSES)


def scores_of(strong, hop=HOP):
    return Scores(tuple(map(str, range(len(strong)))), CLASSES, hop, strong, strong.max(axis=1, initial=0))


@st.composite
def operating_points(draw):
    thresholds = draw(st.tuples(threshold, threshold))
    return PLAIN.replace(
        thresholds=thresholds,
        low_thresholds=tuple(draw(st.sampled_from([0.0, 0.05, high / 2, high])) for high in thresholds),
        median_seconds=draw(st.tuples(seconds, seconds)),
        min_duration_seconds=draw(st.tuples(seconds, seconds)),
        min_gap_seconds=draw(st.tuples(seconds, seconds)),
        tag_thresholds=draw(st.tuples(threshold, threshold)),
        weak_gate=draw(st.booleans()),
    )


def runs(active):
    return [(int(first), int(last)) for first, last in zip(*roll_runs(np.array([active], bool))[1:], strict=True)]


def decoded_in_a_loop(scores, weak, point, column):
    """Return the events of one class as (first, last, score), one step after the other, frame by frame."""
    half = max(0, round((point.median_seconds[column] / HOP - 1) / 2))
    padded = np.pad(scores, half)
    smooth = [np.median(padded[k : k + 2 * half + 1]) for k in range(len(scores))]
    high = np.float32(point.thresholds[column])
    low = np.float32(point.low_thresholds[column] or high)
    spans = [span for span in runs(smooth > low) if max(smooth[span[0] : span[1]]) > high]
    merged = []
    for first, last in spans:
        if merged and (first - merged[-1][1]) * HOP < point.min_gap_seconds[column] - 1e-6:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    long = [(first, last) for first, last in merged if (last - first) * HOP > point.min_duration_seconds[column] - 1e-6]
    if point.weak_gate and not weak > np.float32(point.tag_thresholds[column]):
        return []
    return [(first, last, scores[first:last].astype(float).mean()) for first, last in long]


@settings(max_examples=200, deadline=None)
@given(strong_scores, operating_points())
def test_events_are_those_of_a_plain_loop(strong, point):
    scores = scores_of(strong)
    for row, events in enumerate(scores_to_events(scores, point).values()):
        for column, label in enumerate(CLASSES):
            wanted = decoded_in_a_loop(strong[row, :, column], scores.weak[row, column], point, column)
            decoded = [(event.onset, event.offset) for event in events if event.label == label]
            assert decoded == [(round(first * HOP, 6), round(last * HOP, 6)) for first, last, _ in wanted]
            scored = [event.score for event in events if event.label == label]
            np.testing.assert_allclose(scored, [row[2] for row in wanted], atol=1e-6)


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 30), st.just(2))), st.sampled_from([0.02, 0.1, 0.3, 1.0]))
def test_roll_to_list_to_roll_is_the_identity(roll, hop):
    events = scores_to_events(scores_of(roll[None].astype(float), hop), PLAIN)["0"]
    assert np.array_equal(event_roll(events, CLASSES, hop_seconds=hop, n_frames=len(roll)), roll)


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 4), st.integers(0, 30))))
def test_runs_cover_what_is_active_and_nothing_else(roll):
    rows, first, last = roll_runs(roll)
    again = np.zeros_like(roll)
    for row, begin, end in zip(rows, first, last, strict=True):
        assert not again[row, max(begin - 1, 0) : end + 1].any()  # runs do not touch
        again[row, begin:end] = True
    assert np.array_equal(again, roll)
    assert np.array_equal(runs_roll(rows, first, last, roll.shape), roll)


@settings(max_examples=150, deadline=None)
@given(strong_scores, operating_points())
def test_frames_at_thresholds_are_the_active_frames_at_each(strong, point):
    candidates = np.arange(1, 20) / 20
    frames, before = FramesAtThresholds(scores_of(strong), point, candidates), np.True_
    for position in (0, 7, 18):
        active = active_frames(scores_of(strong), point.replace(thresholds=float(candidates[position])))
        found = runs_roll(*frames.spans(position), frames.index.shape)
        assert np.array_equal(found.reshape(len(strong), 2, -1), np.moveaxis(active, 1, 2))
        assert not (active & ~before).any()  # a higher threshold never adds an active frame
        before = active


@settings(max_examples=150, deadline=None)
@given(strong_scores, st.sampled_from([0.02, 0.1, 0.25, 0.3]), st.sampled_from([0.1, 0.3, 1.0]))
def test_segments_of_frames_are_the_segments_of_their_events(strong, hop, segment_seconds):
    """The search never makes event lists; it must see the segments that the metric makes of them."""
    scores = scores_of(strong, hop)
    wanted = segment_roll(
        scores_to_events(scores, PLAIN),
        clip_ids=scores.clip_ids,
        classes=CLASSES,
        clip_seconds=strong.shape[1] * hop,
        segment_seconds=segment_seconds,
    )
    highest = segment_maximum(strong, hop, n_segments=wanted.shape[1], segment_seconds=segment_seconds)
    assert np.array_equal(highest > np.float32(0.5), wanted)


def point(classes=("Car",), **options):
    return OperatingPoint.from_config(OperatingPointConfig(**options), classes)


def one_clip(strong, weak=None, classes=("Car",)):
    strong = np.array(strong, dtype=np.float32).reshape(1, -1, len(classes))
    weak = np.zeros((1, len(classes))) if weak is None else np.array([weak])
    return Scores(("a",), classes, HOP, strong, weak.astype(np.float32))


CASES = [
    ([0.4, 0.5, 0.51, 0.1, 0.9], "00101", {}),  # above, not at
    ([0.3, 0.6, 0.3, 0.1, 0.3, 0.4, 0.1], "1110000", {"low_threshold": 0.2}),
    ([0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.9], "0111000", {"median_seconds": 3 * HOP}),  # zeros beyond the ends
    ([0.9, 0.1, 0.9], "010", {"median_seconds": 0.7}),  # the nearest odd number of frames, 3
    ([0.9, 0.1, 0.9], "101", {"median_seconds": 0.5}),  # 1
    ([0.9, 0.9, 0.1, 0.1, 0.9, 0.9], "110011", {"min_gap_seconds": 0.6}),
    ([0.9, 0.9, 0.1, 0.1, 0.9, 0.9], "111111", {"min_gap_seconds": 0.61}),
    ([0.9, 0.9, 0.1, 0.1, 0.9, 0.1], "110000", {"min_duration_seconds": 0.6}),
    ([0.9, 0.9, 0.1, 0.1, 0.9, 0.1], "000000", {"min_duration_seconds": 0.61}),
    ([0.9, 0.1, 0.9, 0.1], "1110", {"min_gap_seconds": 0.4, "min_duration_seconds": 0.9}),  # gaps are closed first
]


@pytest.mark.parametrize(("strong", "active", "options"), CASES)
def test_every_step_by_hand(strong, active, options):
    frames = active_frames(one_clip(strong), point(**options))
    assert "".join("01"[int(on)] for on in frames[0, :, 0]) == active


def test_the_weak_gate_follows_the_weak_scores_in_time():
    for weak, n_events in ((0.5, 0), (0.51, 1)):
        assert len(scores_to_events(one_clip([0.1, 0.9, 0.1], [weak]), point(weak_gate=True))["a"]) == n_events
    strong = np.zeros((1, 40, 1), np.float32)
    strong[0, 2:5] = strong[0, 30:35] = 0.9
    weak = np.r_[np.full(20, 0.1), np.full(20, 0.8)].reshape(1, 40, 1).astype(np.float32)
    ((event,),) = find_events(strong, point(weak_gate=True), 0.05, weak)
    assert (event.onset, event.offset) == (1.5, 1.75)
    with pytest.raises(DataError, match="no weak scores"):
        find_events(strong, point(weak_gate=True), HOP)


def test_events_carry_the_mean_of_their_frames_and_clips_without_events_are_kept():
    strong = np.zeros((2, 3, 2), np.float32)
    strong[1] = [[0.1, 0.2], [0.6, 0.1], [0.9, 0.7]]
    scores = Scores(("a", "b"), CLASSES, HOP, strong, np.array([[0.2, 0.1], [0.9, 0.5]], np.float32))
    events = scores_to_events(scores, PLAIN)
    assert {clip: [(e.onset, e.offset, e.label, e.score) for e in rows] for clip, rows in events.items()} == {
        "a": [],
        "b": [(0.3, 0.9, "Car", pytest.approx(0.75)), (0.6, 0.9, "Bus", pytest.approx(0.7))],
    }
    assert scores_to_tags(scores, PLAIN.replace(min_tags=0)) == {"a": (), "b": ("Car",)}


@pytest.mark.parametrize(
    ("weak", "options", "tags"),
    [
        ([0.2, 0.1], {}, ("Car",)),  # the likeliest, although it is not above the threshold
        ([0.2, 0.1], {"min_tags": 0}, ()),
        ([0.3, 0.3], {}, ("Car",)),  # of equals the first
        ([0.0, 0.0], {}, ("Car",)),
        ([0.6, 0.9], {}, ("Car", "Bus")),  # those above the threshold too
        ([0.4, 0.6], {"tag_thresholds": (0.3, 0.7)}, ("Car", "Bus")),  # the likeliest, whatever the others' thresholds
    ],
)
def test_a_clip_is_tagged_with_its_likeliest_class_at_least(weak, options, tags):
    assert scores_to_tags(one_clip([[0.1, 0.9]], weak, CLASSES), PLAIN.replace(**options)) == {"a": tags}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.5]}, "1 values for 2 classes"),
        ({"thresholds": [0.5, 1.0]}, r"\(0, 1\)"),
        ({"thresholds": [0.5, "high"]}, r"thresholds\[1\]: expected `float`, got `str`"),
        ({"low_thresholds": [0.6, 0.1]}, "above its threshold"),
        ({"min_duration_seconds": [1e300, 0.0]}, "numbers from 0 to 3600"),
        ({"median_seconds": [-1.0, 0.0]}, "numbers from 0 to 3600"),
        ({"threshold": 0.5}, "unknown field `threshold`"),
        ({"min_tags": 2}, "min_tags = 2: expected 0 or 1"),
        ({"min_tags": True}, "min_tags: expected `int`, got `bool`"),
    ],
)
def test_an_operating_point_survives_json_but_not_damage(change, message):
    own = point(["Air horn, truck horn", "Car"], threshold=0.35, low_threshold=0.1, median_seconds=0.7, weak_gate=True)
    assert OperatingPoint.from_dict(json.loads(json.dumps(own.to_dict()))) == own
    with pytest.raises(ConfigError, match=message):
        OperatingPoint.from_dict(own.to_dict() | change)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ConfigError, match="tune again"):
        scores_to_events(one_clip([0.1], classes=("Bus",)), point())
    for weak_shape, strong_shape, says in (((1, 1), (1, 3, 2), r"\(1, frames, 1\)"), ((1, 2), (1, 3, 1), r"\(1, 1\)")):
        with pytest.raises(DataError, match=f"expected {says}"):
            Scores(("a",), ("Car",), HOP, np.zeros(strong_shape), np.zeros(weak_shape))
