"""The network: size, outputs, its faster form, weights, losses, operations; the weak heads worked by hand."""

import dataclasses
import random
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf
from flops import layer_flops, training_flops

from crnn_weak.config import LossWeights, ModelConfig, preset
from crnn_weak.errors import ConfigError
from crnn_weak.model.crnn import build_model, reinitialize_weights
from crnn_weak.model.heads import WEAK_HEADS
from crnn_weak.model.losses import compile_model


def _small(**changes):
    model = ModelConfig(**{"n_filters": 4, "pools": (5, 2), "gru_units": (4,), "dense_units": 5, **changes})
    return dataclasses.replace(preset("quick"), model=model)


def _batch(n_clips=3, n_frames=9, n_classes=17, seed=0):
    rng = np.random.default_rng(seed)
    weak = (rng.random((n_clips, n_classes)) < 0.2).astype(np.float32)
    strong = np.repeat(weak[:, None], n_frames, axis=1)
    return rng.standard_normal((n_clips, n_frames, 40)).astype(np.float32), {"strong": strong, "weak": weak}


def test_inputs_and_outputs():
    model = build_model("paper")
    assert model.input_shape == (None, 500, 40)
    shapes = {name: output.shape for name, output in model.output.items()}
    assert shapes == {"strong": (None, 500, 17), "weak": (None, 17)}
    assert sorted(model.output_names) == ["strong", "weak"]
    any_length = build_model("paper", head="max", n_frames=None)
    # The paper reports 218,000; all presets: test_readme.py.
    assert sum(int(np.prod(weight.shape)) for weight in any_length.trainable_weights) == 218_001
    assert any_length.output["strong"].shape == (None, None, 17)
    deeper = ModelConfig(n_filters=4, gru_units=(4, 4, 4), pools=(2, 2, 2, 2))
    other = build_model(dataclasses.replace(preset("quick"), model=deeper), n_classes=3)
    assert other.output["strong"].shape == (None, 100, 3)
    assert len([layer for layer in other.layers if layer.name.startswith("bidirectional")]) == 3


@pytest.mark.parametrize(("merge", "n_frames"), [("concat", 9), pytest.param("mul", None, marks=pytest.mark.slow)])
def test_the_fast_network_is_keras_own(merge, n_frames):
    """Same weights, same outputs; and after some steps of Adam, traced once, still the same losses and statistics."""
    config = _small(gru_merge=merge, dropout=0.0)
    ours, theirs = build_model(config, n_frames=n_frames), build_model(config, n_frames=n_frames, fast=False)
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    rng = np.random.default_rng(5)
    ours.set_weights([w + 0.1 * rng.random(w.shape).astype(np.float32) for w in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    inputs, targets = _batch()
    expected = theirs(inputs)
    for name, scores in ours(inputs).items():
        np.testing.assert_allclose(scores, expected[name], rtol=1e-5, atol=1e-5)
    before = ours.get_weights()
    for model in (ours, theirs):
        compile_model(model, LossWeights(strong=1.0, weak=0.5), learning_rate=1e-3)
    for now, then in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert all(value == 0 for value in ours.get_metrics_result().values())
    traces, train_step = [], ours.train_step
    ours.train_step = lambda data: traces.append(1) or train_step(data)
    for step in range(3):
        inputs, targets = _batch(seed=step)
        losses = [model.train_on_batch(inputs, targets, return_dict=True) for model in (ours, theirs)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(traces) == 1
    for mine, other in zip(ours.non_trainable_weights, theirs.non_trainable_weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5, err_msg=other.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "papper"}, "Did you mean 'paper'"),
        ({"head": "max_dens"}, "Did you mean 'max_dense'"),
        ({"config": dataclasses.replace(preset("quick"), model=ModelConfig(pools=(5, 4, 4)))}, "no band is left"),
    ],
)
def test_an_impossible_network_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(**options)


@pytest.mark.parametrize("head", ["max_dense", "max", "mean"])
def test_channels_first_in_the_users_keras_settings_changes_nothing(head):
    expected = build_model(_small(), head=head, n_frames=9)
    keras.config.set_image_data_format("channels_first")
    try:
        model = build_model(_small(), head=head, n_frames=9)
    finally:
        keras.config.set_image_data_format("channels_last")
    model.set_weights(expected.get_weights())
    log_mel, _ = _batch()
    wanted = expected(log_mel)
    for name, scores in model(log_mel).items():
        np.testing.assert_array_equal(scores, wanted[name])


@pytest.mark.parametrize("name", ["quick", "authors_code"])
def test_reinitialized_weights_are_those_of_the_layers_own_initializers_and_depend_on_the_seed_alone(name):
    """Other draws of the same distributions; constant weights stay as they were; no two layers share values."""
    model = build_model(name)
    before = {w.path: np.asarray(w) for w in model.weights}
    reinitialize_weights(model, 3)
    corners = []
    for weight in model.weights:
        now, then = np.asarray(weight), before[weight.path]
        if weight.name == "kernel":
            assert now.std() == pytest.approx(then.std(), rel=0.2)
            assert np.abs(now).max() <= np.sqrt(3) * 1.2 * then.std()  # uniform, and not normal
        elif weight.name == "recurrent_kernel":
            np.testing.assert_allclose(now @ now.T, np.eye(len(now)), atol=1e-5)
            np.testing.assert_allclose(then @ then.T, np.eye(len(then)), atol=1e-5)
        else:
            np.testing.assert_array_equal(now, then)
            continue
        assert (now != then).any()
        corners.append(tuple(now.ravel()[:4]))
    assert len(set(corners)) == len(corners)
    drawn = model.get_weights()
    for seed, is_same in ((3, True), (4, False)):
        random.seed(5)  # draws of others, which change nothing
        reinitialize_weights(model, seed)
        assert all(np.array_equal(*pair) for pair in zip(drawn, model.get_weights(), strict=True)) == is_same


def test_the_loss_is_the_weighted_sum_of_both():
    inputs, targets = _batch()
    model = build_model(_small(), n_frames=9)
    scores = model(inputs)
    means = {}
    for name, values in scores.items():
        p = np.clip(np.asarray(values, np.float64), 1e-7, 1 - 1e-7)
        means[name] = float(-(targets[name] * np.log(p) + (1 - targets[name]) * np.log(1 - p)).mean())
    assert means["strong"] != pytest.approx(means["weak"], rel=1e-3)  # or a swap would go unseen
    for strong, weak in ((1.0, 0.002), (0.2, 1.0), (0.0, 1.0)):
        compile_model(model, LossWeights(strong=strong, weak=weak))
        loss = model.compute_loss(inputs, targets, scores)
        assert float(loss) == pytest.approx(strong * means["strong"] + weak * means["weak"], rel=1e-5)
        reported = model.get_metrics_result()
        for name, mean in means.items():
            assert float(reported[f"{name}_loss"]) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(("optimizer", "low", "high"), [("adam", 0.9, 1), ("rmsprop", 0.01, 0.1), ("sgd", 1e-3, 3e-3)])
def test_only_adam_takes_the_same_steps_for_a_small_weak_weight(optimizer, low, high):
    inputs, targets = _batch()
    steps = []
    for weak in (1.0, 0.002):
        model = build_model(_small(), n_frames=9)
        model.set_weights([np.full_like(weight, 0.1) for weight in model.get_weights()])
        compile_model(model, LossWeights(weak=weak), optimizer=optimizer, learning_rate=0.01)
        model.train_on_batch(inputs, targets)
        steps.append(np.abs(np.asarray(model.get_layer("weak").kernel) - 0.1).max())
    assert low < steps[1] / steps[0] < high


def test_misspelled_outputs_and_weights_that_mean_nothing_are_refused():
    """Keras would pair {'strnog': 1, 'weak': 0} by alphabetical order, without a word."""
    for strong, weak in ((-1, 1), (0, 0), (float("nan"), 1), (1, float("inf"))):
        with pytest.raises(ConfigError, match="loss_weights"):
            LossWeights(strong=strong, weak=weak)
    with pytest.raises(TypeError, match="strnog"):
        LossWeights(strnog=1.0, weak=0.0)
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("strnog", "weak")]
    with pytest.raises(ConfigError, match=r"strnog.*'strong' and 'weak'"):
        compile_model(keras.Model(inputs, outputs), LossWeights())


@pytest.mark.parametrize("head", ["max", "max_dense"])
def test_two_operations_for_each_weight_and_position(head):
    config = dataclasses.replace(preset("paper"), model=dataclasses.replace(preset("paper").model, weak_head=head))
    layers = {layer.name: layer for layer in build_model(config).layers}
    counted = layer_flops(config)
    assert set(counted) == {name for name, layer in layers.items() if any(w.ndim > 1 for w in layer.get_weights())}
    for layer_name, flops in counted.items():
        # Kernels only: a bias has one axis, or two of which the first is (input, recurrence).
        kernels = [w for w in layers[layer_name].trainable_weights if w.path.endswith("kernel")]
        positions = np.prod(layers[layer_name].output.shape[1:-1], dtype=int)
        assert flops == 2 * positions * sum(int(np.prod(w.shape)) for w in kernels), layer_name
    assert (sum(counted.values()), training_flops(config)) == pytest.approx((0.533e9, 1.576e9), rel=1e-3)


SCORES = np.array([[[0.2, 0.0], [0.4, 0.5], [0.9, 1.0]]], np.float32)  # one clip, three frames, two classes

# Worked by hand; exp(0.2), exp(0.4), exp(0.9) = 1.2214, 1.4918, 2.4596.
SOFTMAX = (
    (0.2 * 1.2214 + 0.4 * 1.4918 + 0.9 * 2.4596) / (1.2214 + 1.4918 + 2.4596),
    (0.5 * 1.6487 + 2.7183) / (1 + 1.6487 + 2.7183),
)
# (head, clip score of each class)
BY_HAND = [
    ("max", (0.9, 1.0)),
    ("mean", (1.5 / 3, 1.5 / 3)),
    ("linear_softmax", ((0.04 + 0.16 + 0.81) / 1.5, 1.25 / 1.5)),
    ("exponential_softmax", SOFTMAX),
    ("auto_pool", SOFTMAX),
    ("noisy_or", (1 - 0.8 * 0.6 * 0.1, 1.0)),
    ("power_mean", (((0.008 + 0.064 + 0.729) / 3) ** (1 / 3), ((0.125 + 1) / 3) ** (1 / 3))),
]


def pooled(head, scores=SCORES, features=None, weights=()):
    inputs = keras.Input(scores.shape[1:]), keras.Input((scores.shape[1], 4))
    model = keras.Model(inputs, WEAK_HEADS[head](*inputs, scores.shape[2], "weak"))
    if len(weights):
        model.set_weights(weights)
    features = np.zeros((len(scores), scores.shape[1], 4), np.float32) if features is None else features
    return np.asarray(model([scores, features]))


def test_every_head_is_a_setting():
    assert set(typing.get_args(typing.get_type_hints(ModelConfig)["weak_head"])) == set(WEAK_HEADS)


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


LIMITS = [("auto_pool", 0, "mean"), ("auto_pool", 200, "max"), ("power_mean", 1, "mean"), ("power_mean", -5, "mean")]


@pytest.mark.parametrize(("head", "weight", "limit"), LIMITS)
def test_learned_poolings_reach_their_limits(head, weight, limit):
    np.testing.assert_allclose(pooled(head, weights=[np.full(2, weight, np.float32)]), pooled(limit), atol=1e-4)


@pytest.mark.parametrize("head", sorted(WEAK_HEADS))
@pytest.mark.parametrize("value", [0.0, 1e-6, 1.0])
def test_constant_scores_of_many_frames_stay_finite(head, value):
    scores = np.full((2, 500, 3), value, np.float32)
    found = pooled(head, scores)
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
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
