"""What a run takes from a first model: weights, layers that stay frozen, learning rates, frame scores."""

import dataclasses
import logging

import numpy as np
import pytest
from helpers import TINY, make_store

from crnn_weak.config import Config, ModelConfig, TargetConfig, TrainingConfig
from crnn_weak.errors import ConfigError, ModelFileError
from crnn_weak.model.archive import load_model
from crnn_weak.training.fit import train

CONFIG = Config(
    features=TINY,
    model=ModelConfig(n_filters=4, pools=(2, 2), gru_units=(4,), dense_units=4, dropout=0.2),
    training=TrainingConfig(epochs=1, batch_size=4, learning_rate=3e-3, patience=0, validation_fraction=0.25, seed=3),
)


def with_training(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with a store and a model trained on it."""
    folder = tmp_path_factory.mktemp("first")
    with make_store(folder, 24) as store:
        train(CONFIG, store, folder / "run")
    return folder


def weights(path, layer):
    return load_model(path)[0].get_layer(layer).get_weights()


STILL = {"epochs": 1, "learning_rate": 1e-9}


def test_the_same_class_list_copies_every_layer(first, tmp_path, caplog):
    with make_store(tmp_path, 24) as store, caplog.at_level(logging.INFO):
        train(with_training(**STILL), store, tmp_path / "run", initial_model=first / "run" / "best.keras")
    assert "all layers copied" in caplog.text
    for layer in ("conv_1", "strong", "weak"):
        pair = weights(first / "run" / "best.keras", layer), weights(tmp_path / "run" / "last.keras", layer)
        np.testing.assert_allclose(pair[0][0], pair[1][0], atol=1e-6)


def test_the_same_number_of_other_classes_starts_the_outputs_anew(first, tmp_path, caplog):
    classes = ("bell", "rain", "drill")  # the same names in another order are another list
    with make_store(tmp_path, 24, classes=classes) as store, caplog.at_level(logging.INFO):
        train(with_training(**STILL), store, tmp_path / "run", initial_model=first / "run" / "best.keras")
    assert "new layers: strong, weak (another class list)" in caplog.text
    pair = weights(first / "run" / "best.keras", "strong"), weights(tmp_path / "run" / "last.keras", "strong")
    assert np.abs(pair[0][0] - pair[1][0]).max() > 0.01


def test_other_features_are_named(first, tmp_path):
    features = dataclasses.replace(TINY, n_mels=10, fmax_hz=3_000.0)
    config = dataclasses.replace(CONFIG, features=features)
    with (
        make_store(tmp_path, 24, features=features) as store,
        pytest.raises(
            ModelFileError, match=r"features.n_mels 8, not 10; features.fmax_hz 4000.0, not 3000.0.*--own-features"
        ),
    ):
        train(config, store, tmp_path / "run", initial_model=first / "run" / "best.keras")


def test_frozen_layers_keep_their_weights_and_statistics(first, tmp_path):
    config = with_training(freeze=("conv_*", "batch_norm_*"))
    with make_store(tmp_path, 24) as store:
        train(config, store, tmp_path / "run", initial_model=first / "run" / "best.keras")
    for layer, frozen in (("conv_1", True), ("batch_norm_2", True), ("bidirectional_1", False), ("strong", False)):
        before, after = weights(first / "run" / "best.keras", layer), weights(tmp_path / "run" / "last.keras", layer)
        same = all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        assert same == frozen, layer


@pytest.mark.parametrize(("patterns", "message"), [(("conv1",), "Did you mean 'conv_1'"), (("*",), "no layer is left")])
def test_what_cannot_be_frozen_is_refused(patterns, message, tmp_path):
    with make_store(tmp_path, 24) as store, pytest.raises(ConfigError, match=message):
        train(with_training(freeze=patterns), store, tmp_path / "run")


def test_each_block_learns_at_its_share_of_the_rate(first, tmp_path):
    """Adam's first step is the learning rate in every weight that has a gradient."""
    from crnn_weak.config import LossWeights
    from crnn_weak.model.losses import compile_model

    model = load_model(first / "run" / "best.keras")[0]
    compile_model(model, LossWeights(), learning_rate=0.01, layerwise_lr_decay=0.5)
    before = {layer.name: [np.array(w) for w in layer.trainable_weights] for layer in model.layers}
    rng = np.random.default_rng(0)
    wanted = {"strong": rng.integers(0, 2, (4, 20, 3)), "weak": rng.integers(0, 2, (4, 3))}
    model.train_on_batch(rng.standard_normal((4, 20, 8)).astype("float32"), wanted)
    for name, rate in (
        ("strong", 0.01),
        ("weak", 0.01),
        ("time_dense", 0.005),
        ("bidirectional_1", 0.0025),
        ("conv_2", 0.00125),
    ):
        steps = [
            np.abs(w - b).max() for w, b in zip(model.get_layer(name).trainable_weights, before[name], strict=True)
        ]
        assert max(steps) == pytest.approx(rate, rel=0.02), name


@pytest.mark.slow
def test_a_run_with_a_rate_for_each_block_is_saved_and_resumed(tmp_path):
    with make_store(tmp_path, 24) as store:
        train(with_training(layerwise_lr_decay=0.5), store, tmp_path / "run")
        train(with_training(layerwise_lr_decay=0.5, epochs=2), store, tmp_path / "run")
    optimizer = load_model(tmp_path / "run" / "last.keras", compile=True)[0].optimizer
    assert optimizer.factors["conv_"] == 0.125


def test_self_training_runs_on_a_first_models_scores(first, tmp_path):
    targets = TargetConfig(strong="self_training", teacher=str(first / "run" / "best.keras"))
    with make_store(tmp_path, 24) as store:
        train(dataclasses.replace(CONFIG, targets=targets), store, tmp_path / "run")
    with (
        make_store(tmp_path, 24, classes=("horn", "dog"), name="other.h5") as store,
        pytest.raises(ModelFileError, match="other classes"),
    ):
        train(dataclasses.replace(CONFIG, targets=targets), store, tmp_path / "other")
