"""The fit: splits, batches, early stopping, resume, refusals."""

import csv
import dataclasses
import importlib.util
import json

import numpy as np
import pytest
from helpers import TINY, make_store, small_config

from crnn_weak.config import AugmentationConfig, load_config
from crnn_weak.data.splits import stratified_split
from crnn_weak.errors import ConfigError, DataError, DependencyError, FeatureStoreError, ModelFileError, RunError
from crnn_weak.features.scaler import Scaler
from crnn_weak.model.archive import load_model
from crnn_weak.run_files import RunFiles
from crnn_weak.training.batches import StoreBatches, for_keras
from crnn_weak.training.fit import fit_has_ended, train

AUGMENTATION = AugmentationConfig(
    mixup=0.3, band_shift=1, band_gain_db=3.0, time_shift=True, time_mask=0.2, band_mask=0.2, balanced=True
)


def history_of(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


class Killed(BaseException):
    pass


def kill_when(condition):
    """Return a callback of batches that ends the process, as far as the training can tell, when `condition` holds."""

    def on_batch(done, total):
        if condition(done, total):
            raise Killed

    return on_batch


@pytest.fixture
def store(tmp_path):
    with make_store(tmp_path, 24) as opened:
        yield opened


# --- split and batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_validation_split_is_disjoint_whole_and_stratified(fraction):
    rng = np.random.default_rng(0)
    tags = rng.random((400, 4)) < [0.5, 0.2, 0.1, 0.05]
    training, validation = stratified_split(tags, fraction, seed=1)
    assert sorted([*training, *validation]) == list(range(400))
    assert abs(len(validation) - fraction * 400) <= 1
    rarest = tags[:, 3]
    assert abs(rarest[validation].sum() - fraction * rarest.sum()) <= 1


def test_validation_split_depends_on_the_seed_alone():
    tags = np.random.default_rng(0).random((60, 3)) < 0.4
    same = stratified_split(tags, 0.2, 5)[1], stratified_split(tags, 0.2, 5)[1]
    assert (same[0] == same[1]).all()
    assert (stratified_split(tags, 0.2, 6)[1] != same[0]).any()


def test_no_recording_is_on_both_sides():
    tags = np.random.default_rng(0).random((60, 3)) < 0.4
    recordings = [f"r{row % 7}" for row in range(60)]
    training, validation = stratified_split(tags, 0.3, 5, recordings)
    assert sorted([*training, *validation]) == list(range(60))
    assert {recordings[row] for row in training}.isdisjoint(recordings[row] for row in validation)
    assert len({recordings[row] for row in validation}) == 2
    alone, together = (
        stratified_split(tags, 0.3, 5, names)[1] for names in ([str(row) for row in range(60)], ["r"] * 60)
    )
    assert (alone == together).all()  # one clip each, or nothing to keep apart
    assert (alone == stratified_split(tags, 0.3, 5)[1]).all()


def test_a_single_clip_cannot_be_split():
    with pytest.raises(DataError, match="at least 2"):
        stratified_split(np.ones((1, 2), bool), 0.1, 0)


def test_batches_come_in_an_order_of_seed_and_epoch(store):
    rows, scaler = np.arange(10), Scaler.fit(store)
    batches = StoreBatches(store, rows, scaler, batch_size=4, seed=7)
    assert len(batches) == 2  # two clips do not fill a batch
    first = batches[0][0]
    batches.set_epoch(1)
    other = batches[0][0]
    batches.set_epoch(0)
    np.testing.assert_array_equal(batches[0][0], first)
    assert (other != first).any()
    in_order = StoreBatches(store, rows, scaler, batch_size=4)
    assert [len(in_order[i][0]) for i in range(len(in_order))] == [4, 4, 2]


def test_keras_reads_the_batches_in_the_order_of_the_epoch(store):
    batches = StoreBatches(store, np.arange(10), Scaler.fit(store), batch_size=4, seed=7)
    dataset = for_keras(batches)
    assert dataset.cardinality() == 2
    # A thread that tunes the input can miss the end of the epoch (see `for_keras`).
    assert dataset.options().autotune.enabled is False
    for epoch in (0, 3):
        batches.set_epoch(epoch)
        for index, (log_mel, outputs) in enumerate(dataset.as_numpy_iterator()):
            expected, wanted = batches[index]
            np.testing.assert_array_equal(log_mel, expected)
            assert sorted(outputs) == ["strong", "weak"]
            for name, values in wanted.items():
                np.testing.assert_array_equal(outputs[name], values)
        assert index == 1


# --- the run folder --------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_whole_record(store, tmp_path):
    done = []
    best = train(small_config(), store, tmp_path / "run", on_batch=lambda n, total: done.append((n, total)))
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert set(split["training"]).isdisjoint(split["validation"])
    assert len(split["training"]) + len(split["validation"]) == len(store)
    assert fit_has_ended(tmp_path / "run")
    history = history_of(tmp_path / "run")
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert all(float(row["val_strong_loss"]) > 0 for row in history)
    assert done[-1] == (len(done), len(done))
    model, metadata = load_model(best)
    assert metadata.classes == ("bell", "drill", "rain")
    assert model.get_layer("weak").output.shape == (None, 3)
    lowest = min(history, key=lambda row: float(row["val_loss"]))
    assert metadata.provenance["epoch"] == int(lowest["epoch"])
    assert not list((tmp_path / "run").glob("*.tmp*"))


@pytest.mark.parametrize(
    "config",
    [
        small_config(epochs=4),
        pytest.param(
            dataclasses.replace(
                small_config(epochs=4, schedule="cosine", loss_weighting="learned", ema_momentum=0.9),
                augmentation=AUGMENTATION,
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["paper", "augmented"],
)
def test_a_killed_run_continues_as_if_unbroken(config, store, tmp_path):
    """The process ends in the middle of epoch 3; the resumed run has the weights of the unbroken one."""
    train(config, store, tmp_path / "whole")
    with pytest.raises(Killed):
        train(config, store, tmp_path / "broken", on_batch=kill_when(lambda done, total: done > total * 5 // 8))
    assert len(history_of(tmp_path / "broken")) == 2
    train(config, store, tmp_path / "broken")
    for name in ("last.keras", "best.keras"):
        pair = [load_model(tmp_path / run / name)[0].get_weights() for run in ("whole", "broken")]
        for whole, broken in zip(*pair, strict=True):
            np.testing.assert_allclose(whole, broken, rtol=1e-4, atol=1e-6)
    histories = [history_of(tmp_path / name) for name in ("whole", "broken")]
    for whole, broken in zip(*histories, strict=True):
        assert float(whole["val_loss"]) == pytest.approx(float(broken["val_loss"]), rel=1e-4)


def test_a_kill_between_two_files_is_mended(store, tmp_path):
    train(small_config(epochs=1), store, tmp_path / "run")
    for name in ("best.keras", "history.csv", "state.json"):
        (tmp_path / "run" / name).unlink()
    train(small_config(epochs=1), store, tmp_path / "run")
    assert (tmp_path / "run" / "best.keras").exists()
    assert len(history_of(tmp_path / "run")) == 1


@pytest.mark.slow
def test_patience_is_remembered_over_a_resume(store, tmp_path):
    """With a rate this large nothing improves for long: patience 2 ends the run at the same epoch, broken or not."""
    config = small_config(epochs=30, patience=2, learning_rate=0.5)
    train(config, store, tmp_path / "whole")
    n_whole = json.loads((tmp_path / "whole" / "state.json").read_text())["epoch"]
    assert 3 <= n_whole < 30
    late = kill_when(lambda done, total: done * 30 // total >= n_whole - 1)
    with pytest.raises(Killed):
        train(config, store, tmp_path / "broken", on_batch=late)
    train(config, store, tmp_path / "broken")
    assert json.loads((tmp_path / "broken" / "state.json").read_text())["epoch"] == n_whole


@pytest.mark.slow
def test_more_epochs_continue_a_finished_run(store, tmp_path):
    train(small_config(epochs=1), store, tmp_path / "run")
    files = RunFiles(tmp_path / "run")
    for scores in (files.metrics, files.comparison):
        scores.write_text("{}")
    with pytest.raises(Killed):
        train(small_config(epochs=2), store, tmp_path / "run", on_batch=kill_when(lambda done, total: True))
    assert not files.metrics.exists(), "the scores of one epoch would count as those of two"
    assert not files.comparison.exists()
    train(small_config(epochs=2), store, tmp_path / "run")
    assert len(history_of(tmp_path / "run")) == 2


def test_a_resume_keeps_the_split_that_was_drawn(store, tmp_path):
    files = RunFiles(tmp_path / "run")
    train(small_config(epochs=1), store, files.folder)
    drawn = json.loads(files.split.read_text())
    other = {"training": drawn["training"][1:], "validation": [drawn["training"][0], *drawn["validation"]]}
    files.split.write_text(json.dumps(other))
    train(small_config(epochs=2), store, files.folder)
    kept = json.loads(files.split.read_text())
    assert {name: set(ids) for name, ids in kept.items()} == {name: set(ids) for name, ids in other.items()}
    files.split.write_text(json.dumps(drawn | {"training": ["unlisted"]}))
    with pytest.raises(RunError, match="lists clips that are not in"):
        train(small_config(epochs=3), store, files.folder)


@pytest.mark.slow
def test_the_averaged_weights_are_validated_and_kept(store, tmp_path):
    best = train(small_config(epochs=1, ema_momentum=0.99), store, tmp_path / "run")
    (last, _), (model, _) = load_model(tmp_path / "run" / "last.keras", compile=True), load_model(best)
    averages = {v.path: np.asarray(v) for v in last.optimizer.variables if "average" in v.path}
    assert len(averages) == len(model.trainable_weights)
    kernel = model.get_layer("time_dense").get_weights()[0]
    assert any(a.shape == kernel.shape and np.array_equal(a, kernel) for a in averages.values())
    assert not np.array_equal(kernel, last.get_layer("time_dense").get_weights()[0])


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_refused_training_leaves_the_folder_as_it_was(store, tmp_path):
    train(small_config(epochs=1), store, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunError, match="another configuration"):
        train(small_config(epochs=1, seed=9), store, tmp_path / "run")
    for folder, options in (("run", {"overwrite": True}), ("new", {})):
        with pytest.raises(ConfigError, match="'conv_9' fits no layer"):
            train(small_config(epochs=1, freeze=("conv_9",)), store, tmp_path / folder, **options)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert not (tmp_path / "new").exists()
    train(small_config(epochs=1, seed=9), store, tmp_path / "run", overwrite=True)
    assert load_config(tmp_path / "run" / "config.toml").training.seed == 9


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


def test_a_damaged_model_file_gives_one_line(store, tmp_path):
    whole = train(small_config(epochs=1), store, tmp_path / "run").read_bytes()
    contents = {"cut.keras": whole[: len(whole) // 2], "text.keras": b"not a model", "empty.keras": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            load_model(tmp_path / name)
    with pytest.raises(ModelFileError, match="no such model file"):
        load_model(tmp_path / "missing.keras")
