"""Events decoded in pieces are the events of the whole, whatever the operating point and the pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import Decoder, scores_to_events
from crnn_weak.detection.scores import Scores

HOP = 0.05
CLASSES = ("Bus", "Car", "Train")


@st.composite
def operating_points(draw):
    def per_class(values):
        return tuple(draw(st.lists(values, min_size=3, max_size=3)))

    thresholds = per_class(st.sampled_from([0.3, 0.5, 0.7]))
    return OperatingPoint(
        classes=CLASSES,
        thresholds=thresholds,
        low_thresholds=tuple(draw(st.sampled_from([0.0, 0.2, high])) for high in thresholds),
        median_seconds=per_class(st.sampled_from([0.0, 0.15, 0.35])),
        min_duration_seconds=per_class(st.sampled_from([0.0, 0.1, 0.25])),
        min_gap_seconds=per_class(st.sampled_from([0.0, 0.1, 0.3])),
        tag_thresholds=per_class(st.sampled_from([0.4, 0.8])),
        weak_gate=draw(st.booleans()),
    )


def smooth(n_frames, seed):
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((n_frames + 4, 3))
    walk = sum(raw[k : k + n_frames] for k in range(5)) / 2
    return (1 / (1 + np.exp(-1.5 * walk))).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(operating_points(), st.integers(1, 120), st.integers(0, 10_000), st.lists(st.integers(0, 120), max_size=12))
def test_in_pieces_as_in_one(chosen, n_frames, seed, cuts):
    strong = smooth(n_frames, seed)
    weak = np.random.default_rng(seed).random(3).astype(np.float32)
    want = scores_to_events(Scores(("a",), CLASSES, HOP, strong[None], weak[None]), chosen)["a"]
    stream = Decoder(chosen, HOP, classes=CLASSES)
    got = []
    for piece in np.split(strong, sorted(min(cut, n_frames) for cut in cuts)):
        got += stream.push(piece, np.broadcast_to(weak, piece.shape))[0]
    got += stream.finish()[0]
    assert sorted(got) == sorted(want)  # bit for bit, scores included


@settings(max_examples=50, deadline=None)
@given(operating_points(), st.integers(0, 10_000))
def test_events_come_within_the_stated_delay(chosen, seed):
    strong = smooth(150, seed)
    # With hysteresis and gaps both, a run that has not risen yet may hold back the event before it; see n_delay.
    either = chosen.replace(weak_gate=False, **{"low_thresholds" if seed % 2 else "min_gap_seconds": 0.0})
    stream = Decoder(either, HOP, classes=CLASSES)
    for n_known, row in enumerate(strong, start=1):
        for event in stream.push(row[None])[0]:
            behind = n_known - round(event.offset / HOP)
            assert behind <= stream.n_delay


def test_state_is_small_however_long_the_event():
    chosen = OperatingPoint(
        classes=("Car",), thresholds=(0.5,), low_thresholds=(0.2,), median_seconds=(0.35,),
        min_duration_seconds=(0.1,), min_gap_seconds=(0.3,), tag_thresholds=(0.5,),
    )  # fmt: skip
    stream = Decoder(chosen, HOP, classes=["Car"])
    for level in (0.4, 0.9):
        for _ in range(50):
            assert stream.push(np.full((100, 1), level, np.float32)) == [[]]
    assert stream._scores.size <= 2 * 7
    ((event,),) = stream.finish()
    assert (event.onset, event.offset) == (0.0, 500.0)
    assert event.score == pytest.approx(0.65, abs=1e-6)


def test_weak_gate_follows_the_weak_track():
    chosen = OperatingPoint(
        classes=("Car",), thresholds=(0.5,), low_thresholds=(0.0,), median_seconds=(0.0,),
        min_duration_seconds=(0.0,), min_gap_seconds=(0.0,), tag_thresholds=(0.5,), weak_gate=True,
    )  # fmt: skip
    strong = np.zeros((40, 1), np.float32)
    strong[2:5] = strong[30:35] = 0.9
    weak = np.r_[np.full(20, 0.1), np.full(20, 0.8)][:, None].astype(np.float32)
    stream = Decoder(chosen, HOP, classes=["Car"])
    (event,) = stream.push(strong, weak)[0] + stream.finish()[0]
    assert (event.onset, event.offset) == (1.5, 1.75)
