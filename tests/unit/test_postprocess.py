"""From scores to events: every step on a few frames, and the form of the operating point."""

import json

import numpy as np
import pytest

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import active_frames, find_events, scores_to_events, scores_to_tags
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ConfigError, DataError

HOP = 0.3  # does not divide a second, so that frames and seconds cannot be mixed up


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
    *[
        ([0.9, 0.9, 0.1, 0.1, 0.9, 0.9], active, {"min_gap_seconds": gap})
        for gap, active in ((0.6, "110011"), (0.61, "111111"), (0.0, "110011"))
    ],
    ([0.1, 0.9, 0.1], "010", {"min_gap_seconds": 9.0}),
    *[
        ([0.9, 0.9, 0.1, 0.1, 0.9, 0.1], active, {"min_duration_seconds": duration})
        for duration, active in ((0.6, "110000"), (0.3, "110010"), (0.61, "000000"))
    ],
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


def test_each_class_has_its_own_settings():
    classes = ("Car", "Bus")
    own = point(classes).replace(thresholds=(0.3, 0.7), min_duration_seconds=(0.0, 2 * HOP))
    scores = one_clip([[0.5, 0.8], [0.2, 0.1], [0.5, 0.8], [0.2, 0.9]], classes=classes)
    assert active_frames(scores, own)[0].astype(int).T.tolist() == [[1, 0, 1, 0], [0, 0, 1, 1]]


def test_events_carry_the_mean_of_their_frames_and_clips_without_events_are_kept():
    strong = np.zeros((2, 3, 2), np.float32)
    strong[1] = [[0.1, 0.2], [0.6, 0.1], [0.9, 0.7]]
    scores = Scores(("a", "b"), ("Car", "Bus"), HOP, strong, np.array([[0.2, 0.1], [0.9, 0.5]], np.float32))
    events = scores_to_events(scores, OperatingPointConfig())
    assert {clip: [(e.onset, e.offset, e.label, e.score) for e in rows] for clip, rows in events.items()} == {
        "a": [],
        "b": [(0.3, 0.9, "Car", pytest.approx(0.75)), (0.6, 0.9, "Bus", pytest.approx(0.7))],
    }
    assert scores_to_tags(scores, OperatingPointConfig()) == {"a": (), "b": ("Car",)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.5]}, "1 values for 2 classes"),
        ({"thresholds": [0.5, 1.0]}, r"\(0, 1\)"),
        ({"thresholds": [0.5, "high"]}, r"thresholds\[1\]: expected `float`, got `str`"),
        ({"low_thresholds": [0.6, 0.1]}, "above its threshold"),
        ({"min_duration_seconds": [1e300, 0.0]}, "expected 3600 s or less"),
        ({"median_seconds": [-1.0, 0.0]}, "0 or more"),
        ({"threshold": 0.5}, "unknown field `threshold`"),
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
