"""What a run takes from a pretrained model: weights, frozen layers, learning rates, frame scores."""

import dataclasses
import logging

import numpy as np
import pytest
from helpers import TINY, make_store, small_config

from crnn_weak.config import LossWeights, TargetConfig
from crnn_weak.errors import ConfigError, ModelFileError
from crnn_weak.model.archive import load_model
from crnn_weak.model.losses import compile_model
from crnn_weak.training.fit import train

#: One epoch that changes next to nothing.
STILL = {"epochs": 1, "learning_rate": 1e-9}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A model file, trained on the clips of `store`."""
    folder = tmp_path_factory.mktemp("pretrained")
    with make_store(folder, 24) as store:
        return train(small_config(epochs=1), store, folder / "run")


@pytest.fixture
def store(tmp_path):
    with make_store(tmp_path, 24) as opened:
        yield opened


def weights(path, layer):
    return load_model(path)[0].get_layer(layer).get_weights()


def test_the_same_class_list_copies_every_layer(pretrained, store, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train(small_config(**STILL), store, tmp_path / "run", initial_model=pretrained)
    assert "all layers copied" in caplog.text
    for layer in ("conv_1", "strong", "weak"):
        pair = weights(pretrained, layer), weights(tmp_path / "run" / "last.keras", layer)
        np.testing.assert_allclose(pair[0][0], pair[1][0], atol=1e-6)


@pytest.mark.parametrize(
    "classes",
    [("bell", "rain", "drill"), pytest.param(("horn", "dog"), marks=pytest.mark.slow)],
    ids=["another order", "another number"],
)
def test_other_classes_get_new_output_layers(classes, pretrained, tmp_path, caplog):
    with make_store(tmp_path, 24, classes=classes) as store, caplog.at_level(logging.INFO):
        tuned = train(small_config(**STILL), store, tmp_path / "run", initial_model=pretrained)
    assert "new layers: strong, weak (another class list)" in caplog.text
    np.testing.assert_allclose(weights(pretrained, "conv_1")[0], weights(tuned, "conv_1")[0], atol=1e-6)
    before, after = weights(pretrained, "strong")[0], weights(tuned, "strong")[0]
    assert before.shape != after.shape or np.abs(before - after).max() > 0.01


def test_other_features_are_named(pretrained, tmp_path):
    features = dataclasses.replace(TINY, n_mels=10, fmax_hz=3_000.0)
    config = dataclasses.replace(small_config(), features=features)
    message = r"n_mels 8 \(expected 10\), fmax_hz 4000.0 \(expected 3000.0\).*--own-features"
    with make_store(tmp_path, 24, features=features) as store, pytest.raises(ModelFileError, match=message):
        train(config, store, tmp_path / "run", initial_model=pretrained)


def test_frozen_layers_keep_their_weights_and_statistics(pretrained, store, tmp_path):
    config = small_config(epochs=1, freeze=("conv_*", "batch_norm_*"))
    train(config, store, tmp_path / "run", initial_model=pretrained)
    for layer, frozen in (("conv_1", True), ("batch_norm_2", True), ("bidirectional_1", False), ("strong", False)):
        before, after = weights(pretrained, layer), weights(tmp_path / "run" / "last.keras", layer)
        same = all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        assert same == frozen, layer


@pytest.mark.parametrize(
    ("patterns", "message"), [(("conv1",), "Did you mean 'conv_1'"), (("*",), "no layer remains to train")]
)
def test_impossible_freezes_are_refused(patterns, message, store, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(small_config(freeze=patterns), store, tmp_path / "run")


def test_each_block_learns_at_its_share_of_the_rate(pretrained):
    """Adam's first step is the learning rate in every weight that has a gradient."""
    model = load_model(pretrained)[0]
    compile_model(model, LossWeights(), learning_rate=0.01, layerwise_lr_decay=0.5)
    before = {layer.name: [np.array(w) for w in layer.trainable_weights] for layer in model.layers}
    rng = np.random.default_rng(0)
    wanted = {"strong": rng.integers(0, 2, (4, 20, 3)), "weak": rng.integers(0, 2, (4, 3))}
    model.train_on_batch(rng.standard_normal((4, 20, 8)).astype("float32"), wanted)
    rates = {"strong": 0.01, "weak": 0.01, "time_dense": 0.005, "bidirectional_1": 0.0025, "conv_2": 0.00125}
    for name, rate in rates.items():
        after = model.get_layer(name).trainable_weights
        steps = [np.abs(w - b).max() for w, b in zip(after, before[name], strict=True)]
        assert max(steps) == pytest.approx(rate, rel=0.02), name


@pytest.mark.slow
def test_a_run_with_a_rate_for_each_block_is_saved_and_resumed(store, tmp_path):
    for epochs in (1, 2):
        train(small_config(epochs=epochs, layerwise_lr_decay=0.5), store, tmp_path / "run")
    optimizer = load_model(tmp_path / "run" / "last.keras", compile=True)[0].optimizer
    assert optimizer.factors["conv_"] == 0.125


def test_self_training_runs_on_a_teachers_scores(pretrained, store, tmp_path):
    targets = TargetConfig(strong="self_training", teacher=str(pretrained))
    config = dataclasses.replace(small_config(epochs=1), targets=targets)
    train(config, store, tmp_path / "run")
    with (
        make_store(tmp_path, 24, classes=("horn", "dog"), name="other.h5") as other,
        pytest.raises(ModelFileError, match="other classes"),
    ):
        train(config, other, tmp_path / "other")
