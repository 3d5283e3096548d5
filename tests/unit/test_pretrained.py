"""What a run takes from a pretrained model: weights, frozen layers, learning rates, frame scores."""

import dataclasses
import logging

import numpy as np
import pytest
from helpers import TINY, make_store, small_config

from crnn_weak.config import LossWeights, TargetConfig
from crnn_weak.errors import ConfigError, ModelFileError
from crnn_weak.features.log_mel import Scaler
from crnn_weak.model.archive import ModelMetadata, load_model, save_model
from crnn_weak.model.crnn import build_model
from crnn_weak.model.losses import compile_model
from crnn_weak.training import fit
from crnn_weak.training.pretrained import copy_weights, teacher_scores

CLASSES = ("bell", "drill", "rain")


def metadata(classes):
    return ModelMetadata(classes, small_config(), Scaler(np.zeros(TINY.n_mels), np.ones(TINY.n_mels)))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A model file with the classes of `store`."""
    path = tmp_path_factory.mktemp("pretrained") / "model.keras"
    save_model(build_model(small_config(), n_classes=3), path, metadata(CLASSES))
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with make_store(tmp_path_factory.mktemp("store"), 24, CLASSES) as opened:
        yield opened


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (CLASSES, "all layers copied"),
        (("bell", "rain", "drill"), "new layers: strong, weak (another class list)"),
        (("horn", "dog"), "new layers: strong, weak (another class list)"),
    ],
)
def test_output_layers_are_copied_only_with_their_class_list(classes, message, pretrained, caplog):
    model = build_model(small_config(), n_classes=len(classes))
    new = {layer.name: layer.get_weights() for layer in model.layers}
    with caplog.at_level(logging.INFO):
        copy_weights(pretrained, model, metadata(classes))
    assert message in caplog.text
    for layer in load_model(pretrained)[0].layers:
        is_kept = classes != CLASSES and layer.name in ("strong", "weak")
        wanted = new[layer.name] if is_kept else layer.get_weights()
        for found, weights in zip(model.get_layer(layer.name).get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(found, weights, err_msg=layer.name)


def test_other_features_are_named(pretrained, tmp_path):
    features = dataclasses.replace(TINY, n_mels=10, fmax_hz=3_000.0)
    config = dataclasses.replace(small_config(), features=features)
    message = r"n_mels 8 \(expected 10\), fmax_hz 4000.0 \(expected 3000.0\).*--own-features"
    with make_store(tmp_path, 24, features=features) as store, pytest.raises(ModelFileError, match=message):
        fit.train(config, store, tmp_path / "run", initial_model=pretrained)


def test_frozen_layers_keep_their_weights_under_a_teachers_targets(pretrained, store, tmp_path, monkeypatch):
    scored = []
    monkeypatch.setattr(fit, "teacher_scores", lambda *args: scored.append(teacher_scores(*args)) or scored[0])
    targets = TargetConfig(strong="self_training", teacher=str(pretrained))
    config = dataclasses.replace(small_config(epochs=1, freeze=("conv_*", "batch_norm_*")), targets=targets)
    fit.train(config, store, tmp_path / "run", initial_model=pretrained)
    (before, description), (after, _) = load_model(pretrained), load_model(tmp_path / "run" / "last.keras")
    for name, frozen in (("conv_1", True), ("batch_norm_2", True), ("bidirectional_1", False), ("strong", False)):
        pair = before.get_layer(name).get_weights(), after.get_layer(name).get_weights()
        same = all(np.array_equal(one, other) for one, other in zip(*pair, strict=True))
        assert same == frozen, name
    assert scored[0].shape == (24, TINY.n_frames, 3)
    wanted = before(description.scaler.transform(store.read([5])))["strong"]
    np.testing.assert_allclose(scored[0][5], np.asarray(wanted)[0], atol=1e-3)


def test_a_teacher_of_other_classes_is_refused(pretrained, tmp_path):
    with (
        make_store(tmp_path, 24, classes=("horn", "dog")) as other,
        pytest.raises(ModelFileError, match="other classes"),
    ):
        teacher_scores(pretrained, other)


@pytest.mark.parametrize(
    ("patterns", "message"), [(("conv1",), "Did you mean 'conv_1'"), (("*",), "no layer remains to train")]
)
def test_impossible_freezes_are_refused(patterns, message, store, tmp_path):
    with pytest.raises(ConfigError, match=message):
        fit.train(small_config(freeze=patterns), store, tmp_path / "run")


def test_each_block_learns_at_its_share_of_the_rate(pretrained):
    """Adam's first step is the learning rate in every weight that has a gradient."""
    model = load_model(pretrained)[0]
    compile_model(model, LossWeights(), learning_rate=0.01, layerwise_lr_decay=0.5)
    before = {layer.name: [np.array(w) for w in layer.trainable_weights] for layer in model.layers}
    model.optimizer.apply([np.ones(w.shape, np.float32) for w in model.trainable_weights])
    rates = {"strong": 0.01, "weak": 0.01, "time_dense": 0.005, "bidirectional_1": 0.0025, "conv_2": 0.00125}
    for name, rate in rates.items():
        after = model.get_layer(name).trainable_weights
        steps = [np.abs(w - b).max() for w, b in zip(after, before[name], strict=True)]
        assert max(steps) == pytest.approx(rate, rel=0.02), name
