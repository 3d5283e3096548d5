"""Strong targets, worked by hand, and the loss of frames that have none."""

import dataclasses
import typing

import numpy as np
import pytest

from crnn_weak.config import TargetConfig
from crnn_weak.errors import ConfigError
from crnn_weak.training.targets import NO_TARGET, STRONG_TARGETS, Clips, targets

TAGS = np.array([[1, 0]], np.float32)


def strong(settings, *, levels_db=None, bands_db=None, scores=None, tags=TAGS):
    """Return the strong target of one clip of given levels, one band, or several."""
    bands = np.zeros((1, 4, 1)) if levels_db is None else np.array(levels_db, float)[None, :, None]
    bands = bands if bands_db is None else np.array(bands_db, float)[None]
    log_mel = (bands * np.log(10) / 20).astype(np.float32)
    return targets(Clips(tags, log_mel, scores), settings)["strong"][0]


def test_the_settings_know_the_registry():
    names = typing.get_args(typing.get_type_hints(TargetConfig)["strong"])
    assert set(names) == set(STRONG_TARGETS)


def test_repeat_is_the_default_and_the_tags_in_every_frame():
    assert strong(TargetConfig()).tolist() == [[1, 0]] * 4


def test_none_has_no_target():
    assert (strong(TargetConfig(strong="none")) == NO_TARGET).all()


HIGH = TargetConfig(strong="high_energy", energy_db=6.0, floor_percentile=0.0)


def test_loud_frames_of_a_tagged_class_are_active_and_quiet_ones_have_no_target():
    found = strong(HIGH, levels_db=[0, 5.9, 6.1, 20])
    assert found[:, 0].tolist() == [-1, -1, 1, 1]
    assert found[:, 1].tolist() == [0, 0, 0, 0]  # not tagged: inactive


def test_the_floor_is_the_clips_own():
    assert strong(HIGH, levels_db=[40, 45.9, 46.1, 60])[:, 0].tolist() == [-1, -1, 1, 1]
    percentile = dataclasses.replace(HIGH, floor_percentile=50.0)  # the median of 0, 10, 10, 20
    assert strong(percentile, levels_db=[0, 10, 10, 20])[:, 0].tolist() == [-1, -1, -1, 1]


def test_quiet_frames_may_be_inactive():
    found = strong(dataclasses.replace(HIGH, quiet_is_inactive=True), levels_db=[0, 5.9, 6.1, 20])
    assert found[:, 0].tolist() == [0, 0, 1, 1]


def test_a_steady_clip_is_active_throughout():
    assert strong(HIGH, levels_db=[0, 1, 2, 3])[:, 0].tolist() == [1, 1, 1, 1]


def test_a_narrow_sound_stands_out_in_its_band_only():
    bands = [[40, 0], [40, 20], [40, 0], [40, 0]]  # a steady loud band hides the other from the sum
    assert strong(HIGH, bands_db=bands)[:, 0].tolist() == [1, 1, 1, 1]  # nothing stands out: all
    assert strong(dataclasses.replace(HIGH, per_band=True), bands_db=bands)[:, 0].tolist() == [-1, 1, -1, -1]


def test_self_training_takes_the_first_models_scores_where_the_tag_allows():
    settings = TargetConfig(strong="self_training", teacher="a.keras", teacher_low=0.2, teacher_high=0.5)
    scores = np.array([[[0.8, 0.9], [0.4, 0.9], [0.39, 0.9], [0.1, 0.9]]], np.float16)
    found = strong(settings, scores=scores)
    assert found[:, 0].tolist() == [1, 1, -1, 0]  # shares of the highest: 1, 0.5, 0.49, 0.125
    assert found[:, 1].tolist() == [0, 0, 0, 0]  # not tagged, however high the scores
    assert strong(settings, scores=scores / 10)[:, 0].tolist() == [1, 1, -1, 0]  # the tag says it is there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"strong": "high_enrgy"},
            "Did you mean 'high_energy'",
        ),
        ({"strong": "self_training"}, "targets.teacher"),
        ({"energy_db": 0.0}, "targets.energy_db"),
        ({"teacher_low": 0.9}, "at most 0.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TargetConfig(**changes)


def test_frames_without_a_target_carry_no_loss():
    keras = pytest.importorskip("keras")
    from crnn_weak.model.losses import MaskedBinaryCrossentropy

    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, (3, 5, 2)).astype(np.float32)
    wanted = (rng.random((3, 5, 2)) < 0.5).astype(np.float32)
    masked = MaskedBinaryCrossentropy()
    assert float(masked(wanted, scores)) == pytest.approx(
        float(keras.losses.BinaryCrossentropy()(wanted, scores)), rel=1e-5
    )
    wanted[0, :, 0] = wanted[2] = NO_TARGET
    known = wanted >= 0
    expected = -np.where(wanted == 1, np.log(scores), np.log(1 - scores))[known].mean()
    assert float(masked(wanted, scores)) == pytest.approx(expected, rel=1e-5)
    assert float(masked(np.full_like(wanted, NO_TARGET), scores)) == 0
