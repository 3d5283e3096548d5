"""What holds for any scores and any settings."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.curves import FrameActivity
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import binarize, scores_to_events
from crnn_weak.detection.scores import Scores
from crnn_weak.labels.rolls import event_roll, roll_runs, runs_roll, segment_maximum, segment_roll
from crnn_weak.metrics.segment import segment_metrics

CLASSES = ("Car", "Bus")
HOP = 0.3
levels = st.integers(0, 20).map(lambda n: np.float32(n / 20))
scores = hnp.arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 25), st.just(2)), elements=levels)
threshold = st.integers(1, 19).map(lambda n: n / 20)
seconds = st.sampled_from([0.0, 0.3, 0.6, 0.7, 1.0, 2.0])


def events_of(roll, hop):
    scores = Scores(("a",), CLASSES, hop, roll[None].astype(float), np.ones((1, 2)))
    return scores_to_events(scores, OperatingPointConfig())["a"]


@st.composite
def operating_points(draw):
    thresholds = draw(st.tuples(threshold, threshold))
    return OperatingPoint(
        classes=CLASSES,
        thresholds=thresholds,
        low_thresholds=tuple(draw(st.sampled_from([0.0, 0.05, high / 2, high])) for high in thresholds),
        median_seconds=draw(st.tuples(seconds, seconds)),
        min_duration_seconds=draw(st.tuples(seconds, seconds)),
        min_gap_seconds=draw(st.tuples(seconds, seconds)),
        tag_thresholds=draw(st.tuples(threshold, threshold)),
        weak_gate=draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(scores, operating_points(), st.tuples(threshold, threshold))
def test_a_higher_threshold_never_adds_an_active_frame(strong, chosen, other):
    higher = chosen.replace(thresholds=tuple(map(max, chosen.thresholds, other)))
    weak = strong.max(axis=1)
    before = binarize(strong, chosen, hop_seconds=HOP, weak=weak)
    after = binarize(strong, higher, hop_seconds=HOP, weak=weak)
    assert not (after & ~before).any()


@settings(max_examples=200, deadline=None)
@given(scores, operating_points())
def test_a_clip_alone_is_decided_as_among_others(strong, chosen):
    weak = strong.max(axis=1)
    together = binarize(strong, chosen, hop_seconds=HOP, weak=weak)
    for clip in range(len(strong)):
        assert np.array_equal(together[clip], binarize(strong[clip], chosen, hop_seconds=HOP, weak=weak[clip]))


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 30), st.just(2))), st.sampled_from([0.02, 0.1, 0.3, 1.0]))
def test_roll_to_list_to_roll_is_the_identity(roll, hop):
    events = events_of(roll, hop)
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


@settings(max_examples=200, deadline=None)
@given(scores, operating_points())
def test_frame_activity_is_binarize_at_every_threshold(strong, chosen):
    candidates = np.arange(1, 20) / 20
    score_set = Scores(tuple(map(str, range(len(strong)))), CLASSES, HOP, strong, strong.max(axis=1))
    frames = FrameActivity(score_set, chosen, candidates)
    for j in (0, 7, 18):
        at = chosen.replace(thresholds=float(candidates[j]))
        want = binarize(strong, at, hop_seconds=HOP, weak=score_set.weak)
        assert np.array_equal(frames.active(j).reshape(len(strong), 2, -1), np.moveaxis(want, 1, 2))


@settings(max_examples=200, deadline=None)
@given(scores, st.sampled_from([0.02, 0.1, 0.25, 0.3]), st.sampled_from([0.1, 0.3, 1.0]))
def test_segments_of_frames_are_the_segments_of_their_events(strong, hop, segment_seconds):
    """The search never makes event lists; it must see the segments that the metric makes of them."""
    decisions_05 = OperatingPoint(
        classes=CLASSES, thresholds=(0.5, 0.5), low_thresholds=(0, 0), median_seconds=(0, 0),
        min_duration_seconds=(0, 0), min_gap_seconds=(0, 0), tag_thresholds=(0.5, 0.5),
    )  # fmt: skip
    score_set = Scores(tuple(map(str, range(len(strong)))), CLASSES, hop, strong, strong.max(axis=1))
    clip_seconds = strong.shape[1] * hop
    want = segment_roll(
        scores_to_events(score_set, decisions_05),
        clip_ids=score_set.clip_ids,
        classes=CLASSES,
        clip_seconds=clip_seconds,
        segment_seconds=segment_seconds,
    )
    highest = segment_maximum(strong, hop, n_segments=want.shape[1], segment_seconds=segment_seconds)
    assert np.array_equal(highest > np.float32(0.5), want)


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.just(2))))
def test_a_perfect_estimate_scores_perfectly(roll):
    found = events_of(roll, 0.4)
    events = {"a": found}
    metrics = segment_metrics(events, events, classes=CLASSES)
    if metrics.n_reference:
        assert (metrics.f_score, metrics.error_rate) == (1.0, 0.0)
    backwards = {"a": events["a"][::-1]}
    assert segment_metrics(backwards, events, classes=CLASSES).to_dict() == metrics.to_dict()
