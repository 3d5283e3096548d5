"""Strong targets, worked by hand, and the loss of frames that have none."""

import typing

import keras
import numpy as np
import pytest

from crnn_weak.config import TargetConfig
from crnn_weak.model.losses import NO_TARGET, MaskedBinaryCrossentropy
from crnn_weak.training.batches import STRONG_TARGETS, Clips

STEADY = [[0], [0], [0], [0]]  # level of each frame and band, in decibels


def strong(levels_db=STEADY, scores=None, **settings):
    """Return the strong target of one clip, tagged with the first of two classes."""
    log_mel = (np.array(levels_db, float)[None] * np.log(10) / 20).astype(np.float32)
    clips = Clips(np.array([[1, 0]], np.float32), log_mel, scores)
    settings = TargetConfig(**settings)
    return STRONG_TARGETS[settings.strong](clips, settings)[0]


def test_the_settings_know_the_registry():
    names = typing.get_args(typing.get_type_hints(TargetConfig)["strong"])
    assert set(names) == set(STRONG_TARGETS)


def test_repeat_is_the_default_and_the_tags_in_every_frame():
    assert strong().tolist() == [[1, 0]] * 4


def test_none_has_no_target():
    assert (strong(strong="none") == NO_TARGET).all()


@pytest.mark.parametrize(
    ("levels_db", "settings", "expected"),
    [
        ([[0], [5.9], [6.1], [20]], {}, [-1, -1, 1, 1]),
        ([[40], [45.9], [46.1], [60]], {}, [-1, -1, 1, 1]),  # the floor is the clip's own
        ([[0], [10], [10], [20]], {"floor_percentile": 50.0}, [-1, -1, -1, 1]),
        ([[0], [5.9], [6.1], [20]], {"quiet_is_inactive": True}, [0, 0, 1, 1]),
        ([[0], [1], [2], [3]], {}, [1, 1, 1, 1]),  # nothing stands out
        # A steady loud band hides the other one from the sum.
        ([[40, 0], [40, 20], [40, 0], [40, 0]], {}, [1, 1, 1, 1]),
        ([[40, 0], [40, 20], [40, 0], [40, 0]], {"per_band": True}, [-1, 1, -1, -1]),
    ],
)
def test_high_energy_marks_loud_frames_of_tagged_classes(levels_db, settings, expected):
    found = strong(levels_db, **{"strong": "high_energy", "energy_db": 6.0, "floor_percentile": 0.0, **settings})
    assert found[:, 0].tolist() == expected
    assert found[:, 1].tolist() == [0, 0, 0, 0]  # not tagged: inactive


@pytest.mark.parametrize("scale", [1, 10])  # the tag says that the class sounds, however low the scores
def test_self_training_takes_the_teachers_scores_where_the_tag_allows(scale):
    scores = np.array([[[0.8, 0.9], [0.4, 0.9], [0.39, 0.9], [0.1, 0.9]]], np.float16) / scale
    teacher = {"teacher": "a.keras", "teacher_low": 0.2, "teacher_high": 0.5}
    found = strong(scores=scores, strong="self_training", **teacher)
    assert found[:, 0].tolist() == [1, 1, -1, 0]  # shares of the highest: 1, 0.5, 0.49, 0.125
    assert found[:, 1].tolist() == [0, 0, 0, 0]  # not tagged, however high the scores


def test_frames_without_a_target_carry_no_loss():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, (3, 5, 2)).astype(np.float32)
    wanted = (rng.random((3, 5, 2)) < 0.5).astype(np.float32)
    masked = MaskedBinaryCrossentropy()
    assert float(masked(wanted, scores)) == pytest.approx(
        float(keras.losses.BinaryCrossentropy()(wanted, scores)), rel=1e-5
    )
    wanted[0, :, 0] = wanted[2] = NO_TARGET
    expected = -np.where(wanted == 1, np.log(scores), np.log(1 - scores))[wanted >= 0].mean()
    assert float(masked(wanted, scores)) == pytest.approx(expected, rel=1e-5)
    assert float(masked(np.full_like(wanted, NO_TARGET), scores)) == 0
