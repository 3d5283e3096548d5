"""The fit: batches, early stopping, resume, refusals, pretrained models."""

import csv
import dataclasses
import importlib.util
import json
import logging
import shutil

import numpy as np
import pytest
from helpers import TINY, make_store, small_config

from crnn_weak.config import AugmentationConfig, LossWeights, MixingConfig, TargetConfig, load_config
from crnn_weak.errors import ConfigError, DependencyError, FeatureStoreError, ModelFileError, RunError
from crnn_weak.features.log_mel import Scaler
from crnn_weak.model.archive import ModelMetadata, load_model, save_model
from crnn_weak.model.crnn import build_model
from crnn_weak.model.losses import compile_model
from crnn_weak.run_files import RunFiles
from crnn_weak.training.batches import StoreBatches, for_keras
from crnn_weak.training.fit import copy_weights, fit_has_ended, teacher_scores, train

CLASSES = ("bell", "drill", "rain")
CONFIG = small_config(epochs=4)
#: Everything that draws or that is remembered from epoch to epoch.
EVERYTHING = dataclasses.replace(
    small_config(epochs=4, schedule="cosine", loss_weighting="learned", ema_momentum=0.9, layerwise_lr_decay=0.5),
    augmentation=AugmentationConfig(
        mixup=0.3, band_shift=1, band_gain_db=3.0, time_shift=True, time_mask=0.2, band_mask=0.2, balanced=True
    ),
)
#: Own clips: mixed examples, whose own scores decide from the second epoch on.
MIXED = dataclasses.replace(
    CONFIG,
    training=dataclasses.replace(CONFIG.training, steps=16, ema_momentum=0.9, schedule="cosine"),
    mixing=MixingConfig(n_recordings=2),
    targets=TargetConfig(strong="loud", padding="ignored", events="ignore"),
)


def history_of(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


class Killed(BaseException):
    pass


def kill_when(condition):
    """Return a callback of batches that ends the training when `condition` holds, as a kill would."""

    def on_batch(done, total):
        if condition(done, total):
            raise Killed

    return on_batch


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with make_store(tmp_path_factory.mktemp("store"), 24) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The folder of an unbroken run, and the calls of its `on_batch`."""
    folder, done = tmp_path_factory.mktemp("runs") / "whole", []
    train(CONFIG, store, folder, on_batch=lambda n, total: done.append((n, total)))
    return folder, done


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of that run, to be changed."""
    return RunFiles(shutil.copytree(whole[0], tmp_path / "run"))


def test_batches_come_in_an_order_of_seed_and_epoch_and_keras_reads_them_in_it(store):
    batches = StoreBatches(store, np.arange(10), Scaler.fit(store), batch_size=4, seed=7)
    assert len(batches) == 2  # two clips do not fill a batch
    dataset = for_keras(batches)
    assert dataset.cardinality() == 2
    # A thread that tunes the input can miss the end of the epoch (see `for_keras`).
    assert dataset.options().autotune.enabled is False
    seen = {}
    for epoch in (0, 3, 0):
        batches.set_epoch(epoch)
        for index, (log_mel, outputs) in enumerate(dataset.as_numpy_iterator()):
            expected, wanted = batches[index]
            np.testing.assert_array_equal(log_mel, expected)
            assert sorted(outputs) == ["strong", "weak"]
            for name, values in wanted.items():
                np.testing.assert_array_equal(outputs[name], values)
            np.testing.assert_array_equal(seen.setdefault((epoch, index), log_mel), log_mel)
        assert index == 1
    assert (seen[0, 0] != seen[3, 0]).any()
    in_order = StoreBatches(store, np.arange(10), batches.scaler, batch_size=4)
    assert [len(in_order[i][0]) for i in range(len(in_order))] == [4, 4, 2]
    gains = AugmentationConfig(band_gain_db=3.0)
    augmented, drawn = StoreBatches(store, np.array([5]), batches.scaler, batch_size=1, seed=7, augmentation=gains), []
    for epoch in (0, 1, 0):
        augmented.set_epoch(epoch)
        drawn.append(augmented[0][0])
    assert np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[1]), "every epoch draws its own augmentation"


def test_a_run_leaves_its_whole_record(store, whole):
    folder, done = whole
    split = json.loads((folder / "split.json").read_text())
    assert set(split["training"]).isdisjoint(split["validation"])
    assert len(split["training"]) + len(split["validation"]) == len(store)
    assert fit_has_ended(folder)
    history = history_of(folder)
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4"]
    assert all(float(row["val_strong_loss"]) > 0 for row in history)
    assert done[-1] == (len(done), len(done))
    model, metadata = load_model(folder / "best.keras")
    assert metadata.classes == CLASSES
    rows = [store.row(clip_id) for clip_id in split["training"]]
    np.testing.assert_array_equal(metadata.scaler.mean, Scaler.fit(store, rows).mean)
    assert model.get_layer("weak").output.shape == (None, 3)
    lowest = min(history, key=lambda row: float(row["val_loss"]))
    assert metadata.provenance["epoch"] == int(lowest["epoch"])
    assert not list(folder.glob("*.tmp*"))


SLOW = [pytest.param(config, marks=pytest.mark.slow) for config in (EVERYTHING, MIXED)]


@pytest.mark.parametrize("config", [CONFIG, *SLOW], ids=["", "everything", "mixed"])
def test_a_run_killed_in_the_middle_of_epoch_3_continues_as_if_unbroken(config, store, whole, tmp_path):
    unbroken, broken = whole[0], tmp_path / "broken"
    if config != CONFIG:
        unbroken = tmp_path / "whole"
        train(config, store, unbroken)
    with pytest.raises(Killed):
        train(config, store, broken, on_batch=kill_when(lambda done, total: done > total * 5 // 8))
    assert len(history_of(broken)) == 2
    train(config, store, broken)
    for name in ("last.keras", "best.keras"):
        pair = [load_model(run / name)[0].get_weights() for run in (unbroken, broken)]
        for one, other in zip(*pair, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(history_of(unbroken), history_of(broken), strict=True):
        assert one["epoch"] == other["epoch"]
        assert float(one["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-4)


def test_a_kill_between_two_files_is_mended(store, finished):
    best = finished.best_model.read_bytes()
    assert json.loads(finished.state.read_text())["best_epoch"] == 4
    for path in (finished.best_model, finished.history, finished.state):
        path.unlink()
    train(CONFIG, store, finished.folder)
    assert finished.best_model.read_bytes() == best
    assert len(history_of(finished.folder)) == 4
    assert fit_has_ended(finished.folder)


@pytest.mark.slow
def test_patience_is_remembered_over_a_resume(store, tmp_path):
    """With a rate this large nothing improves for long: patience 2 ends the run at the same epoch, broken or not."""
    config = small_config(epochs=30, patience=2, learning_rate=0.5)
    whole, broken = RunFiles(tmp_path / "whole"), RunFiles(tmp_path / "broken")
    train(config, store, whole.folder)
    n_whole = json.loads(whole.state.read_text())["epoch"]
    assert 3 <= n_whole < 30
    with pytest.raises(Killed):
        train(config, store, broken.folder, on_batch=kill_when(lambda done, total: done * 30 // total >= n_whole - 1))
    train(config, store, broken.folder)
    assert json.loads(broken.state.read_text())["epoch"] == n_whole


@pytest.fixture
def fits(monkeypatch):
    """Replace the epochs of a training by a record of the clips that it would train and validate on."""
    calls = []

    def record(fit, training, validation, callbacks):
        calls.append([{batches.store.clip_ids[row] for row in batches.rows} for batches in (training, validation)])

    monkeypatch.setattr("crnn_weak.training.fit._run_epochs", record)
    return calls


def test_more_epochs_keep_the_split_that_was_drawn_and_no_scores(store, finished, fits):
    drawn = json.loads(finished.split.read_text())
    training, validation = drawn["training"][1:], [drawn["training"][0], *drawn["validation"]]
    finished.split.write_text(json.dumps({"training": training, "validation": validation}))
    for scores in (finished.metrics, finished.comparison):
        scores.write_text("{}")

    def killed():
        raise Killed

    with pytest.raises(Killed):
        train(small_config(epochs=5), store, finished.folder, on_begin=killed)
    assert not finished.metrics.exists(), "the scores of four epochs would count as those of five"
    assert not finished.comparison.exists()
    train(small_config(epochs=5), store, finished.folder)
    assert fits == [[set(training), set(validation)]]
    kept = json.loads(finished.split.read_text())
    assert [set(kept["training"]), set(kept["validation"])] == fits[0]
    finished.split.write_text(json.dumps(drawn | {"training": ["unlisted"]}))
    with pytest.raises(RunError, match="lists clips that are not in"):
        train(small_config(epochs=6), store, finished.folder)


@pytest.mark.slow
def test_the_averaged_weights_are_validated_and_kept(store, tmp_path):
    best = train(small_config(epochs=1, ema_momentum=0.99), store, tmp_path / "run")
    (last, _), (model, _) = load_model(tmp_path / "run" / "last.keras", compile=True), load_model(best)
    averages = {v.path: np.asarray(v) for v in last.optimizer.variables if "average" in v.path}
    assert len(averages) == len(model.trainable_weights)
    kernel = model.get_layer("time_dense").get_weights()[0]
    assert any(a.shape == kernel.shape and np.array_equal(a, kernel) for a in averages.values())
    assert not np.array_equal(kernel, last.get_layer("time_dense").get_weights()[0])


def test_a_refused_training_leaves_the_folder_as_it_was(store, finished, fits, tmp_path):
    before = {path.name: path.read_bytes() for path in finished.folder.iterdir()}
    with pytest.raises(RunError, match="another configuration"):
        train(small_config(epochs=4, seed=9), store, finished.folder)
    for folder, options in ((finished.folder, {"overwrite": True}), (tmp_path / "new", {})):
        for pattern, message in (("conv1", "'conv1' fits no layer. Did you mean 'conv_1'"), ("*", "no layer remains")):
            with pytest.raises(ConfigError, match=message):
                train(small_config(epochs=1, freeze=(pattern,)), store, folder, **options)
    assert {path.name: path.read_bytes() for path in finished.folder.iterdir()} == before
    assert not (tmp_path / "new").exists()
    train(small_config(epochs=1, seed=9), store, finished.folder, overwrite=True)
    assert load_config(finished.config).training.seed == 9
    assert len(fits) == 1
    assert not finished.last_model.exists(), "the former run would be continued"


def test_other_features_and_a_missing_package_are_refused_first(store, tmp_path, monkeypatch):
    with (
        make_store(tmp_path / "other", 24, features=dataclasses.replace(TINY, n_mels=12)) as other,
        pytest.raises(FeatureStoreError, match="features"),
    ):
        train(small_config(), other, tmp_path / "run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="tensorboard"):
        train(small_config(), store, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def metadata(classes):
    return ModelMetadata(classes, small_config(), Scaler(np.zeros(TINY.n_mels), np.ones(TINY.n_mels)))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A model file with the classes of `store`."""
    path = tmp_path_factory.mktemp("pretrained") / "model.keras"
    save_model(build_model(small_config(), n_classes=3), path, metadata(CLASSES))
    return path


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


def test_a_model_of_other_features_or_classes_is_refused(pretrained, tmp_path):
    features = dataclasses.replace(TINY, n_mels=10, fmax_hz=3_000.0)
    config = dataclasses.replace(small_config(), features=features)
    message = r"n_mels 8 \(expected 10\), fmax_hz 4000.0 \(expected 3000.0\).*--own-features"
    with make_store(tmp_path, 24, features=features) as store, pytest.raises(ModelFileError, match=message):
        train(config, store, tmp_path / "run", initial_model=pretrained)
    other = make_store(tmp_path, 24, classes=("horn", "dog"), name="other.h5")
    with other, pytest.raises(ModelFileError, match="other classes"):
        teacher_scores(pretrained, other)


def test_frozen_layers_keep_their_weights_under_a_teachers_targets(pretrained, store, tmp_path, monkeypatch):
    scored = []
    monkeypatch.setattr(
        "crnn_weak.training.fit.teacher_scores", lambda *args: scored.append(teacher_scores(*args)) or scored[0]
    )
    targets = TargetConfig(strong="self_training", teacher=str(pretrained))
    config = dataclasses.replace(small_config(epochs=1, freeze=("conv_*", "batch_norm_*")), targets=targets)
    train(config, store, tmp_path / "run", initial_model=pretrained)
    (before, description), (after, _) = load_model(pretrained), load_model(tmp_path / "run" / "last.keras")
    for name, frozen in (("conv_1", True), ("batch_norm_2", True), ("bidirectional_1", False), ("strong", False)):
        pair = before.get_layer(name).get_weights(), after.get_layer(name).get_weights()
        assert all(np.array_equal(one, other) for one, other in zip(*pair, strict=True)) == frozen, name
    assert scored[0].shape == (24, TINY.n_frames, 3)
    wanted = before(description.scaler.transform(store.read([5])))["strong"]
    np.testing.assert_allclose(scored[0][5], np.asarray(wanted)[0], atol=1e-3)


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
