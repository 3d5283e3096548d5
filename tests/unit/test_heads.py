"""The weak heads: hand-worked values, limits, files and gradients."""

import typing

import keras
import numpy as np
import pytest
import tensorflow as tf

from crnn_weak.config import ModelConfig
from crnn_weak.model.heads import WEAK_HEADS

SCORES = np.array([[[0.2, 0.0], [0.4, 0.5], [0.9, 1.0]]], np.float32)  # one clip, three frames, two classes

# (head, clip score of each class), worked by hand; exp(0.2), exp(0.4), exp(0.9) = 1.2214, 1.4918, 2.4596
BY_HAND = [
    ("max", (0.9, 1.0)),
    ("mean", (1.5 / 3, 1.5 / 3)),
    ("linear_softmax", ((0.04 + 0.16 + 0.81) / 1.5, 1.25 / 1.5)),
    ("exponential_softmax", (
        (0.2 * 1.2214 + 0.4 * 1.4918 + 0.9 * 2.4596) / (1.2214 + 1.4918 + 2.4596),
        (0.5 * 1.6487 + 2.7183) / (1 + 1.6487 + 2.7183),
    )),
    ("auto_pool", (
        (0.2 * 1.2214 + 0.4 * 1.4918 + 0.9 * 2.4596) / (1.2214 + 1.4918 + 2.4596),
        (0.5 * 1.6487 + 2.7183) / (1 + 1.6487 + 2.7183),
    )),
    ("noisy_or", (1 - 0.8 * 0.6 * 0.1, 1.0)),
    ("power_mean", (((0.008 + 0.064 + 0.729) / 3) ** (1 / 3), ((0.125 + 1) / 3) ** (1 / 3))),
]  # fmt: skip


def pooled(head, scores=SCORES, features=None, weights=()):
    inputs = keras.Input(scores.shape[1:]), keras.Input((scores.shape[1], 4))
    model = keras.Model(inputs, WEAK_HEADS[head](*inputs, scores.shape[2], "weak"))
    if len(weights):
        model.set_weights(weights)
    features = np.zeros((len(scores), scores.shape[1], 4), np.float32) if features is None else features
    return np.asarray(model([scores, features]))


def test_the_settings_know_the_registry():
    names = typing.get_args(typing.get_type_hints(ModelConfig)["weak_head"])
    assert set(names) == set(WEAK_HEADS)


@pytest.mark.parametrize(("head", "expected"), BY_HAND)
def test_clip_scores_by_hand(head, expected):
    np.testing.assert_allclose(pooled(head)[0], expected, atol=1e-4)


def test_attention_weights_frames_by_the_softmax_of_its_features():
    kernel, bias = np.zeros((4, 2), np.float32), np.zeros(2, np.float32)
    kernel[0] = (1.0, -1.0)
    features = np.zeros((1, 3, 4), np.float32)
    features[0, :, 0] = np.log([1, 2, 5])  # class 0 weights the frames 1 : 2 : 5, class 1 the other way round
    found = pooled("attention", features=features, weights=(kernel, bias))[0]
    assert found[0] == pytest.approx((0.2 + 2 * 0.4 + 5 * 0.9) / 8, abs=1e-5)
    assert found[1] == pytest.approx((0.5 * 0.5 + 1.0 * 0.2) / (1 + 0.5 + 0.2), abs=1e-5)


def test_max_dense_combines_the_maxima_of_all_classes():
    kernel, bias = np.array([[1.0, -1.0], [0.5, 2.0]], np.float32), np.array([0.1, -0.2], np.float32)
    logits = np.array([0.9 + 0.5 + 0.1, -0.9 + 2.0 - 0.2])
    np.testing.assert_allclose(pooled("max_dense", weights=(kernel, bias))[0], 1 / (1 + np.exp(-logits)), atol=1e-5)


@pytest.mark.parametrize(
    ("head", "weight", "limit"),
    [
        ("auto_pool", 0.0, "mean"),
        ("auto_pool", 200.0, "max"),
        ("power_mean", 1.0, "mean"),
        ("power_mean", -5.0, "mean"),
    ],
)
def test_learned_poolings_reach_their_limits(head, weight, limit):
    np.testing.assert_allclose(pooled(head, weights=[np.full(2, weight, np.float32)]), pooled(limit), atol=1e-4)


@pytest.mark.parametrize("head", sorted(WEAK_HEADS))
@pytest.mark.parametrize("value", [0.0, 1e-6, 1.0])
def test_constant_scores_of_many_frames_stay_finite(head, value):
    scores = np.full((2, 500, 3), value, np.float32)
    found = pooled(head, scores)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1 + 1e-6).all()
    if head not in ("max_dense", "noisy_or"):
        np.testing.assert_allclose(found, value, atol=1e-5)


@pytest.mark.parametrize("head", sorted(WEAK_HEADS))
def test_a_saved_head_loads_in_safe_mode_with_its_scores_and_gradients(head, tmp_path):
    inputs = keras.Input((9, 3)), keras.Input((9, 4))
    model = keras.Model(inputs, WEAK_HEADS[head](*inputs, 3, "weak"))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    rng = np.random.default_rng(0)
    scores, features = (tf.constant(rng.random((2, 9, size)).astype(np.float32)) for size in (3, 4))
    np.testing.assert_array_equal(loaded([scores, features]), model([scores, features]))
    with tf.GradientTape() as tape:
        tape.watch(scores)
        total = tf.reduce_sum(loaded([scores, features]))
    gradient = tape.gradient(total, scores)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
