"""From scores to events: every step on a few frames, and the form of the operating point."""

import json

import numpy as np
import pytest

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import (
    binarize,
    median_frames,
    scores_to_events,
    scores_to_tags,
)
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ConfigError, DataError

HOP = 0.3  # no whole number of frames in a second, so that frames and seconds cannot be mixed up


def decide(scores, weak=None, **options):
    """Return the active frames of one class as a string of 0 and 1."""
    point = OperatingPoint.from_config(OperatingPointConfig(**options), ["Car"])
    strong = np.array(scores, dtype=np.float32)[:, None]
    weak = None if weak is None else np.array([weak], dtype=np.float32)
    return "".join("01"[int(on)] for on in binarize(strong, point, hop_seconds=HOP, weak=weak)[:, 0])


def test_default_is_one_threshold_and_nothing_else():
    assert decide([0.4, 0.5, 0.51, 0.1, 0.9]) == "00101"  # above, not at


def test_hysteresis_keeps_low_runs_that_rise():
    assert decide([0.3, 0.6, 0.3, 0.1, 0.3, 0.4, 0.1], low_threshold=0.2) == "1110000"


def test_median_filter_over_decisions_with_zeros_beyond_the_ends():
    assert decide([0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.9], median_seconds=3 * HOP) == "0111000"


@pytest.mark.parametrize(("seconds", "n"), [(0.0, 1), (0.3, 1), (0.5, 1), (0.7, 3), (0.9, 3), (1.4, 5)])
def test_median_takes_the_nearest_odd_number_of_frames(seconds, n):
    assert median_frames(seconds, HOP) == n


@pytest.mark.parametrize(("gap", "active"), [(0.6, "110011"), (0.61, "111111"), (0.0, "110011")])
def test_gaps_shorter_than_the_minimum_are_closed(gap, active):
    assert decide([0.9, 0.9, 0.1, 0.1, 0.9, 0.9], min_gap_seconds=gap) == active


def test_gaps_at_the_ends_stay():
    assert decide([0.1, 0.9, 0.1], min_gap_seconds=9.0) == "010"


@pytest.mark.parametrize(("duration", "active"), [(0.6, "110000"), (0.3, "110010"), (0.61, "000000")])
def test_runs_shorter_than_the_minimum_are_dropped(duration, active):
    assert decide([0.9, 0.9, 0.1, 0.1, 0.9, 0.1], min_duration_seconds=duration) == active


def test_gaps_are_closed_before_short_runs_are_dropped():
    assert decide([0.9, 0.1, 0.9, 0.1], min_gap_seconds=0.4, min_duration_seconds=0.9) == "1110"


@pytest.mark.parametrize(("weak", "active"), [(0.5, "000"), (0.51, "010")])
def test_weak_gate(weak, active):
    assert decide([0.1, 0.9, 0.1], weak=weak, weak_gate=True) == active


def test_weak_gate_without_weak_scores_is_refused():
    with pytest.raises(DataError, match="no weak scores"):
        decide([0.1, 0.9], weak_gate=True)


def test_each_class_has_its_own_settings():
    base = OperatingPoint.from_config(OperatingPointConfig(), ["Car", "Bus"])
    point = base.replace(thresholds=(0.3, 0.7), min_duration_seconds=(0.0, 2 * HOP))
    strong = np.array([[0.5, 0.8], [0.2, 0.1], [0.5, 0.8], [0.2, 0.9]], dtype=np.float32)
    assert binarize(strong, point, hop_seconds=HOP).astype(int).T.tolist() == [[1, 0, 1, 0], [0, 0, 1, 1]]


def test_an_event_carries_the_mean_of_its_frames():
    strong = np.array([[0.1, 0.2], [0.6, 0.1], [0.9, 0.7]])
    scores = Scores(("a",), ("Car", "Bus"), HOP, strong[None], np.zeros((1, 2)))
    events = scores_to_events(scores, OperatingPointConfig())
    assert [(e.onset, e.offset, e.label, e.score) for e in events["a"]] == [
        (0.3, 0.9, "Car", pytest.approx(0.75)),
        (0.6, 0.9, "Bus", pytest.approx(0.7)),
    ]


def test_score_sets_keep_clips_without_events():
    strong = np.zeros((2, 4, 1), dtype=np.float32)
    strong[1, 1:3] = 0.8
    scores = Scores(("a", "b"), ("Car",), HOP, strong, np.array([[0.2], [0.9]], dtype=np.float32))
    events = scores_to_events(scores, OperatingPointConfig())
    assert events["a"] == ()
    assert [(e.onset, e.offset) for e in events["b"]] == [(0.3, 0.9)]
    assert scores_to_tags(scores, OperatingPointConfig()) == {"a": (), "b": ("Car",)}


# --- the operating point --------------------------------------------------------------------------------------------


def test_an_operating_point_survives_json():
    config = OperatingPointConfig(threshold=0.35, low_threshold=0.1, median_seconds=0.7, weak_gate=True)
    point = OperatingPoint.from_config(config, ["Air horn, truck horn", "Car"])
    assert OperatingPoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.5]}, "1 values for 2 classes"),
        ({"thresholds": [0.5, 1.0]}, r"\(0, 1\)"),
        ({"thresholds": [0.5, "high"]}, r"thresholds\[1\]: expected `float`, got `str`"),
        ({"thresholds": None}, "thresholds: expected `array`"),
        ({"low_thresholds": [0.6, 0.1]}, "above its threshold"),
        ({"min_duration_seconds": [1e300, 0.0]}, "expected 3600 s or less"),
        ({"median_seconds": [-1.0, 0.0]}, "0 or more"),
        ({"threshold": 0.5}, "unknown field `threshold`"),
    ],
)
def test_a_damaged_operating_point_is_refused(change, message):
    values = OperatingPoint.from_config(OperatingPointConfig(), ["Car", "Bus"]).to_dict() | change
    with pytest.raises(ConfigError, match=message):
        OperatingPoint.from_dict(values)


def test_missing_fields_are_named():
    values = OperatingPoint.from_config(OperatingPointConfig(), ["Car"]).to_dict()
    del values["thresholds"]
    with pytest.raises(ConfigError, match="missing required field `thresholds`"):
        OperatingPoint.from_dict(values)


def test_an_operating_point_of_other_classes_is_refused():
    point = OperatingPoint.from_config(OperatingPointConfig(), ["Car"])
    with pytest.raises(ConfigError, match="tune again"):
        scores_to_events(Scores(("a",), ("Bus",), HOP, np.zeros((1, 3, 1)), np.zeros((1, 1))), point)


def test_scores_of_another_shape_are_refused():
    point = OperatingPoint.from_config(OperatingPointConfig(), ["Car"])
    with pytest.raises(DataError, match="expected"):
        binarize(np.zeros((3, 2)), point, hop_seconds=HOP)
