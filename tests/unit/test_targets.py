"""Strong targets, augmentation and the losses' weights, worked by hand."""

import typing

import keras
import numpy as np
import pytest
from helpers import small_config

from crnn_weak.config import AugmentationConfig, TargetConfig
from crnn_weak.model.losses import NO_TARGET, MaskedBinaryCrossentropy
from crnn_weak.training import augmentation
from crnn_weak.training.targets import STRONG_TARGETS, Clips

STEADY = [[0], [0], [0], [0]]  # level of each frame and band, in decibels


def strong(levels_db=STEADY, scores=None, **settings):
    """Return the strong target of one clip, tagged with the first of two classes."""
    log_mel = (np.array(levels_db, float)[None] * np.log(10) / 20).astype(np.float32)
    clips = Clips(np.array([[1, 0]], np.float32), log_mel, scores)
    settings = TargetConfig(**settings)
    return STRONG_TARGETS[settings.strong](clips, settings)[0]


def test_every_strong_target_is_a_setting_repeat_is_the_default_and_none_has_none():
    assert set(typing.get_args(typing.get_type_hints(TargetConfig)["strong"])) == set(STRONG_TARGETS)
    assert strong().tolist() == [[1, 0]] * 4
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
    masked, plain = MaskedBinaryCrossentropy(), keras.losses.BinaryCrossentropy()
    assert float(masked(wanted, scores)) == pytest.approx(float(plain(wanted, scores)), rel=1e-5)
    wanted[0, :, 0] = wanted[2] = NO_TARGET
    expected = -np.where(wanted == 1, np.log(scores), np.log(1 - scores))[wanted >= 0].mean()
    assert float(masked(wanted, scores)) == pytest.approx(expected, rel=1e-5)
    assert float(masked(np.full_like(wanted, NO_TARGET), scores)) == 0


def test_rotation_bands_and_gains():
    clips = np.arange(8).reshape(2, 4, 1)
    assert augmentation.rotate(clips, np.array([1, 3]))[:, :, 0].tolist() == [[3, 0, 1, 2], [5, 6, 7, 4]]
    bands = np.array([[[1, 2, 3, 4]], [[1, 2, 3, 4]]])
    shifted = augmentation.shift_bands(bands, np.array([1, -2]))
    assert shifted[:, 0].tolist() == [[1, 1, 2, 3], [3, 4, 4, 4]]  # edges are repeated
    np.testing.assert_allclose(augmentation.band_gains(np.array([[0.0, 4.0, -2.0]]), 5), [[0, 2, 4, 1, -2]])


def test_mixup_mixes_features_and_targets_alike():
    features = np.array([[[0.0]], [[10.0]]], np.float32)
    wanted = {"weak": np.array([[1.0, 0], [0, 1]], np.float32)}
    wanted["strong"] = wanted["weak"][:, None] * 1
    wanted["strong"][1, 0, 0] = NO_TARGET
    mixed, found = augmentation.mixup(features, wanted, np.array([0.75, 1.0], np.float32), np.array([1, 0]))
    assert mixed[:, 0, 0].tolist() == [2.5, 10.0]
    assert found["weak"].tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert found["strong"][:, 0].tolist() == [[NO_TARGET, 0.25], [NO_TARGET, 1.0]]  # none in one, none in the mix


@pytest.mark.parametrize("axis", [1, 2])
def test_masks_are_spans_of_the_mean_along_one_axis(axis):
    features = np.ones((200, 10, 12), np.float32)
    masked = augmentation.mask_spans(features, axis, 3, np.random.default_rng(0)) == 0
    other = 3 - axis
    assert (masked.all(axis=other) == masked.any(axis=other)).all()  # whole frames, or whole bands
    lengths = masked.all(axis=other).sum(axis=1)
    assert lengths.max() <= 6
    assert lengths.min() == 0
    assert (features == 1).all()
    starts = np.diff(np.pad(masked.all(axis=other), ((0, 0), (1, 0))).astype(int), axis=1) == 1
    assert starts.sum(axis=1).max() <= 2


def test_a_gain_in_decibels_is_added_before_the_deviation_divides():
    settings, deviations = AugmentationConfig(band_gain_db=6.0), np.array([1.0, 2.0, 4.0], np.float32)
    silent = np.zeros((500, 2, 3), np.float32)
    gains, _ = augmentation.augment(silent, {}, settings, np.random.default_rng(0), deviations=deviations)
    in_decibels = gains * deviations * 20 / np.log(10)
    assert (gains[:, 0] == gains[:, 1]).all()  # the same in every frame
    assert 5.9 < np.abs(in_decibels).max() <= 6.0001
    np.testing.assert_allclose(np.abs(in_decibels[:, 0, [0, 2]]).mean(axis=0), 3.0, atol=0.3)


def test_balanced_batches_hold_rare_classes_as_often_as_common_ones():
    tags = np.zeros((1000, 3), bool)
    tags[:900, 0] = tags[900:990, 1] = True  # ten clips without a tag; class 2 does not occur
    drawn = augmentation.balanced_order(tags, np.random.default_rng(0))
    assert len(drawn) == 1000
    shares = [tags[drawn, 0].mean(), tags[drawn, 1].mean(), (~tags[drawn].any(axis=1)).mean()]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)


def test_loss_factors():
    def factors(rule, epoch, last=None):
        return augmentation.loss_factors(small_config(epochs=4, loss_weighting=rule), epoch, last)

    assert factors("fixed", 2) is None
    assert [factors("linear", epoch)["strong"] for epoch in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert factors("learned", 0) == {"strong": 1.0, "weak": 1.0}
    learned = factors("learned", 1, {"val_strong_loss": 0.5, "val_weak_loss": 0.1})
    assert learned == pytest.approx({"strong": 2, "weak": 10})
