"""Augmentation and the losses' weights, worked by hand."""

import numpy as np
import pytest
from helpers import small_config

from crnn_weak.config import AugmentationConfig, apply_overrides
from crnn_weak.errors import ConfigError
from crnn_weak.model.losses import NO_TARGET
from crnn_weak.training.augmentation import (
    augment,
    balanced_order,
    band_gains,
    loss_factors,
    mask_spans,
    mixup,
    rotate,
    shift_bands,
)


def test_rotation_moves_the_end_to_the_front():
    clips = np.arange(8).reshape(2, 4, 1)
    assert rotate(clips, np.array([1, 3]))[:, :, 0].tolist() == [[3, 0, 1, 2], [5, 6, 7, 4]]


def test_mixup_mixes_features_and_targets_alike():
    features = np.array([[[0.0]], [[10.0]]], np.float32)
    wanted = {"weak": np.array([[1.0, 0], [0, 1]], np.float32)}
    wanted["strong"] = wanted["weak"][:, None] * 1
    wanted["strong"][1, 0, 0] = NO_TARGET
    mixed, found = mixup(features, wanted, np.array([0.75, 1.0], np.float32), np.array([1, 0]))
    assert mixed[:, 0, 0].tolist() == [2.5, 10.0]
    assert found["weak"].tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert found["strong"][:, 0].tolist() == [[NO_TARGET, 0.25], [NO_TARGET, 1.0]]  # none in one, none in the mix


@pytest.mark.parametrize("axis", [1, 2])
def test_masks_are_spans_of_the_mean_along_one_axis(axis):
    features = np.ones((200, 10, 12), np.float32)
    masked = mask_spans(features, axis, 3, np.random.default_rng(0)) == 0
    other = 3 - axis
    assert (masked.all(axis=other) == masked.any(axis=other)).all()  # whole frames, or whole bands
    lengths = masked.all(axis=other).sum(axis=1)
    assert lengths.max() <= 6
    assert lengths.min() == 0
    assert (features == 1).all()
    starts = np.diff(np.pad(masked.all(axis=other), ((0, 0), (1, 0))).astype(int), axis=1) == 1
    assert starts.sum(axis=1).max() <= 2


def test_bands_move_and_the_edges_are_repeated():
    clips = np.array([[[1, 2, 3, 4]], [[1, 2, 3, 4]]])
    assert shift_bands(clips, np.array([1, -2]))[:, 0].tolist() == [[1, 1, 2, 3], [3, 4, 4, 4]]


def test_gains_are_linear_between_their_points():
    np.testing.assert_allclose(band_gains(np.array([[0.0, 4.0, -2.0]]), 5), [[0, 2, 4, 1, -2]])


def test_a_gain_in_decibels_is_added_before_the_deviation_divides():
    settings, deviations = AugmentationConfig(band_gain_db=6.0), np.array([1.0, 2.0, 4.0], np.float32)
    silent = np.zeros((500, 2, 3), np.float32)
    gains, _ = augment(silent, {}, settings, np.random.default_rng(0), deviations=deviations)
    in_decibels = gains * deviations * 20 / np.log(10)
    assert (gains[:, 0] == gains[:, 1]).all()  # the same in every frame
    assert 5.9 < np.abs(in_decibels).max() <= 6.0001
    np.testing.assert_allclose(np.abs(in_decibels[:, 0, [0, 2]]).mean(axis=0), 3.0, atol=0.3)


def test_balanced_batches_hold_rare_classes_as_often_as_common_ones():
    tags = np.zeros((1000, 3), bool)
    tags[:900, 0] = tags[900:990, 1] = True  # ten clips without a tag; class 2 does not occur
    drawn = balanced_order(tags, np.random.default_rng(0))
    assert len(drawn) == 1000
    shares = [tags[drawn, 0].mean(), tags[drawn, 1].mean(), (~tags[drawn].any(axis=1)).mean()]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)


def test_loss_factors():
    def factors(rule, epoch, last=None):
        return loss_factors(small_config(epochs=4, loss_weighting=rule), epoch, last)

    assert factors("fixed", 2) is None
    assert [factors("linear", epoch)["strong"] for epoch in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert factors("learned", 0) == {"strong": 1.0, "weak": 1.0}
    assert factors("learned", 1, {"val_strong_loss": 0.5, "val_weak_loss": 0.1}) == pytest.approx(
        {"strong": 2, "weak": 10}
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.schedule=cosin", "Did you mean 'cosine'"),
        ("augmentation.time_mask=1.0", "augmentation.time_mask"),
        ("targets.strong=self_training", "targets.teacher"),
        ("targets.teacher_low=0.9", "at most 0.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        apply_overrides(small_config(), [override])
