"""The fit: targets, splits, batches, loss weights, early stopping, resume."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from helpers import TINY, make_store

from crnn_weak.config import Config, LossWeights, ModelConfig, TrainingConfig, load_config
from crnn_weak.errors import ConfigError, DataError, FeatureStoreError, ModelFileError, RunError
from crnn_weak.run_files import RunFiles
from crnn_weak.training.split import validation_split
from crnn_weak.training.targets import Clips, targets

CONFIG = Config(
    features=TINY,
    model=ModelConfig(n_filters=4, pools=(2, 2), gru_units=(4,), dense_units=4, dropout=0.2),
    training=TrainingConfig(epochs=3, batch_size=4, learning_rate=3e-3, patience=0, validation_fraction=0.25, seed=3),
)


def with_training(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


def history_of(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def weights_of(path):
    from crnn_weak.model.archive import load_model

    return load_model(path)[0].get_weights()


def test_the_strong_target_is_the_weak_one_in_every_frame():
    made = targets(Clips(np.array([[1, 0, 1]], np.float32), np.zeros((1, 4, 2), np.float32)))
    assert made["strong"].shape == (1, 4, 3)
    assert (made["strong"] == made["weak"][:, None]).all()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_validation_split_is_disjoint_whole_and_stratified(fraction):
    rng = np.random.default_rng(0)
    tags = rng.random((400, 4)) < [0.5, 0.2, 0.1, 0.05]
    training, validation = validation_split(tags, fraction, seed=1)
    assert sorted([*training, *validation]) == list(range(400))
    assert abs(len(validation) - fraction * 400) <= 1
    rarest = tags[:, 3]
    assert abs(rarest[validation].sum() - fraction * rarest.sum()) <= 1


def test_validation_split_depends_on_the_seed_alone():
    tags = np.random.default_rng(0).random((60, 3)) < 0.4
    same = validation_split(tags, 0.2, 5)[1], validation_split(tags, 0.2, 5)[1]
    assert (same[0] == same[1]).all()
    assert (validation_split(tags, 0.2, 6)[1] != same[0]).any()


def test_no_recording_is_on_both_sides():
    tags = np.random.default_rng(0).random((60, 3)) < 0.4
    recordings = [f"r{row % 7}" for row in range(60)]
    training, validation = validation_split(tags, 0.3, 5, recordings)
    assert sorted([*training, *validation]) == list(range(60))
    assert {recordings[row] for row in training}.isdisjoint(recordings[row] for row in validation)
    assert len({recordings[row] for row in validation}) == 2
    alone, together = (
        validation_split(tags, 0.3, 5, names)[1] for names in ([str(row) for row in range(60)], ["r"] * 60)
    )
    assert (alone == together).all()  # one clip each, or nothing to keep apart
    assert (alone == validation_split(tags, 0.3, 5)[1]).all()


def test_a_single_clip_cannot_be_split():
    with pytest.raises(DataError, match="at least 2"):
        validation_split(np.ones((1, 2), bool), 0.1, 0)


def test_batches_come_in_an_order_of_seed_and_epoch(tmp_path):
    from crnn_weak.features.scaler import Scaler
    from crnn_weak.training.batches import StoreBatches

    with make_store(tmp_path, 10) as store:
        scaler = Scaler.fit(store)
        batches = StoreBatches(store, np.arange(10), scaler, batch_size=4, seed=7)
        assert len(batches) == 2  # the two clips that do not fill a batch are left out
        first = batches[0][0]
        batches.set_epoch(1)
        other = batches[0][0]
        batches.set_epoch(0)
        np.testing.assert_array_equal(batches[0][0], first)
        assert (other != first).any()
        in_order = StoreBatches(store, np.arange(10), scaler, batch_size=4)
        assert [len(in_order[i][0]) for i in range(len(in_order))] == [4, 4, 2]


def test_keras_reads_the_batches_in_the_order_of_the_epoch(tmp_path):
    from crnn_weak.features.scaler import Scaler
    from crnn_weak.training.batches import StoreBatches, for_keras

    with make_store(tmp_path, 10) as store:
        batches = StoreBatches(store, np.arange(10), Scaler.fit(store), batch_size=4, seed=7)
        given = for_keras(batches)
        assert given.cardinality() == 2
        for epoch in (0, 3):
            batches.set_epoch(epoch)
            read = list(given.as_numpy_iterator())
            assert len(read) == 2
            for index, (log_mel, outputs) in enumerate(read):
                expected, wanted = batches[index]
                np.testing.assert_array_equal(log_mel, expected)
                assert sorted(outputs) == ["strong", "weak"]
                for name, values in wanted.items():
                    np.testing.assert_array_equal(outputs[name], values)


def test_an_epoch_waits_for_no_thread_that_tunes_its_input(tmp_path):
    """Its end would be missed by a sleeper (see `for_keras`); nothing in it is left to tune either."""
    from crnn_weak.features.scaler import Scaler
    from crnn_weak.training.batches import StoreBatches, for_keras

    with make_store(tmp_path, 4) as store:
        given = for_keras(StoreBatches(store, np.arange(4), Scaler.fit(store), batch_size=2))
    assert given.options().autotune.enabled is False


def test_the_loss_is_the_weighted_sum_of_the_two(tmp_path):
    import keras

    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model

    model = build_model(CONFIG, n_classes=3)
    compile_model(model, LossWeights(strong=0.25, weak=3.0))
    rng = np.random.default_rng(0)
    log_mel = rng.standard_normal((4, 20, 8)).astype("float32")
    wanted = targets(Clips((rng.random((4, 3)) < 0.5).astype(np.float32), log_mel))
    got = model.test_on_batch(log_mel, wanted, return_dict=True)
    outputs = model.predict_on_batch(log_mel)
    loss = {name: float(keras.losses.BinaryCrossentropy()(wanted[name], outputs[name])) for name in wanted}
    assert loss["strong"] != pytest.approx(loss["weak"], rel=1e-3)  # or a swap would pass unseen
    assert got["strong_loss"] == pytest.approx(loss["strong"], rel=1e-5)
    assert got["loss"] == pytest.approx(0.25 * loss["strong"] + 3.0 * loss["weak"], rel=1e-5)


def test_the_first_step_is_traced_once():
    """A second trace, of a step that makes its variables within, costs more than a second for each model."""
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends do not trace")
    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model

    model = build_model(CONFIG)
    n_traces = 0
    step = model.train_step

    def counted(data):
        nonlocal n_traces
        n_traces += 1
        return step(data)

    model.train_step = counted
    before = model.get_weights()
    compile_model(model, LossWeights())
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert all(value == 0 for value in model.get_metrics_result().values())
    n_frames, n_classes = TINY.n_frames, 17
    inputs = np.random.default_rng(0).random((4, n_frames, TINY.n_mels), dtype=np.float32)
    outputs = {"strong": np.zeros((4, n_frames, n_classes)), "weak": np.zeros((4, n_classes))}
    model.fit(inputs, outputs, batch_size=2, epochs=2, verbose=0)
    assert n_traces == 1


def test_a_model_of_other_outputs_cannot_be_compiled():
    import keras

    from crnn_weak.model.losses import compile_model

    inputs = keras.Input((3,))
    model = keras.Model(inputs, {"strnog": inputs, "weak": inputs})
    with pytest.raises(ConfigError, match="'strong' and 'weak'"):
        compile_model(model, LossWeights())


@pytest.mark.parametrize("weights", [(-1, 1), (0, 0), (float("nan"), 1), (1, float("inf"))])
def test_loss_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ConfigError, match="loss_weights"):
        LossWeights(strong=weights[0], weak=weights[1])


def test_a_run_leaves_its_whole_record(tmp_path):
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import is_finished, train

    done = []
    with make_store(tmp_path, 24) as store:
        best = train(CONFIG, store, tmp_path / "run", on_batch=lambda n, total: done.append((n, total)))
        split = json.loads((tmp_path / "run" / "split.json").read_text())
        assert set(split["training"]).isdisjoint(split["validation"])
        assert len(split["training"]) + len(split["validation"]) == len(store)
    assert is_finished(tmp_path / "run")
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


def test_a_killed_run_continues_as_if_unbroken(tmp_path):
    """The process ends in the middle of epoch 3; the resumed run has the weights of the unbroken one."""
    from crnn_weak.training.fit import train

    config = with_training(epochs=4)

    class Killed(BaseException):
        pass

    with make_store(tmp_path, 24) as store:
        train(config, store, tmp_path / "whole")

        def kill(done, total):
            if done > total * 5 // 8:
                raise Killed

        with pytest.raises(Killed):
            train(config, store, tmp_path / "broken", on_batch=kill)
        assert len((tmp_path / "broken" / "history.csv").read_text().splitlines()) == 1 + 2
        train(config, store, tmp_path / "broken")
    for name in ("last.keras", "best.keras"):
        for whole, broken in zip(
            weights_of(tmp_path / "whole" / name), weights_of(tmp_path / "broken" / name), strict=True
        ):
            np.testing.assert_allclose(whole, broken, rtol=1e-4, atol=1e-6)
    histories = [history_of(tmp_path / name) for name in ("whole", "broken")]
    for whole, broken in zip(*histories, strict=True):
        assert float(whole["val_loss"]) == pytest.approx(float(broken["val_loss"]), rel=1e-4)


def test_a_kill_between_two_files_is_mended(tmp_path):
    from crnn_weak.training.fit import train

    with make_store(tmp_path, 24) as store:
        train(with_training(epochs=1), store, tmp_path / "run")
        for name in ("best.keras", "history.csv", "state.json"):
            (tmp_path / "run" / name).unlink()
        train(with_training(epochs=1), store, tmp_path / "run")
    assert (tmp_path / "run" / "best.keras").exists()
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 2


@pytest.mark.slow
def test_patience_is_remembered_over_a_resume(tmp_path):
    """With a rate this small nothing improves for long: patience 2 ends the run at the same epoch, broken or not."""
    from crnn_weak.training import fit

    config = with_training(epochs=30, patience=2, learning_rate=0.5)
    with make_store(tmp_path, 24) as store:
        fit.train(config, store, tmp_path / "whole")
        n_whole = json.loads((tmp_path / "whole" / "state.json").read_text())["epoch"]
        assert 3 <= n_whole < 30

        def kill(done, total):
            if done * 30 // total >= n_whole - 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit.train(config, store, tmp_path / "broken", on_batch=kill)
        fit.train(config, store, tmp_path / "broken")
    assert json.loads((tmp_path / "broken" / "state.json").read_text())["epoch"] == n_whole


@pytest.mark.slow
def test_more_epochs_continue_a_finished_run(tmp_path):
    from crnn_weak.training.fit import train

    with make_store(tmp_path, 24) as store:
        train(with_training(epochs=1), store, tmp_path / "run")
        files = RunFiles(tmp_path / "run")
        for scores in (files.metrics, files.comparison):
            scores.write_text("{}")

        def kill(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(with_training(epochs=2), store, tmp_path / "run", on_batch=kill)
        assert not files.metrics.exists(), "the scores of one epoch would count as those of two"
        assert not files.comparison.exists()
        train(with_training(epochs=2), store, tmp_path / "run")
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 3


def test_a_folder_of_another_run_is_refused(tmp_path):
    from crnn_weak.training.fit import train

    with make_store(tmp_path, 24) as store:
        train(with_training(epochs=1), store, tmp_path / "run")
        with pytest.raises(RunError, match="another configuration"):
            train(with_training(epochs=1, seed=9), store, tmp_path / "run")
        train(with_training(epochs=1, seed=9), store, tmp_path / "run", overwrite=True)
    assert load_config(tmp_path / "run" / "config.toml").training.seed == 9


def test_a_resume_keeps_the_split_that_was_drawn(tmp_path):
    from crnn_weak.training.fit import train

    files = RunFiles(tmp_path / "run")
    with make_store(tmp_path, 24) as store:
        train(with_training(epochs=1), store, files.folder)
        drawn = json.loads(files.split.read_text())
        other = {"training": drawn["training"][1:], "validation": [drawn["training"][0], *drawn["validation"]]}
        files.split.write_text(json.dumps(other))  # as an earlier version might have drawn it
        train(with_training(epochs=2), store, files.folder)
        assert {name: set(ids) for name, ids in json.loads(files.split.read_text()).items()} == {
            name: set(ids) for name, ids in other.items()
        }
        files.split.write_text(json.dumps(drawn | {"training": ["elsewhere"]}))
        with pytest.raises(RunError, match="lists clips that are not in"):
            train(with_training(epochs=3), store, files.folder)


def test_a_refused_training_leaves_what_was_there(tmp_path):
    from crnn_weak.training.fit import train

    with make_store(tmp_path, 24) as store:
        train(with_training(epochs=1), store, tmp_path / "run")
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        for folder, options in (("run", {"overwrite": True}), ("new", {})):
            with pytest.raises(ConfigError, match="'conv_9' fits no layer"):
                train(with_training(epochs=1, freeze=("conv_9",)), store, tmp_path / folder, **options)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_store_of_other_features_is_refused(tmp_path):
    from crnn_weak.training.fit import train

    other = dataclasses.replace(TINY, n_mels=12)
    with make_store(tmp_path, 24, features=other) as store, pytest.raises(FeatureStoreError, match="features"):
        train(CONFIG, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_fine_tuning_takes_every_layer_that_fits(tmp_path):
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import train

    with make_store(tmp_path, 24) as store:
        best = train(with_training(epochs=1), store, tmp_path / "first")
    with make_store(tmp_path, 24, classes=("horn", "dog"), name="other.h5") as store:
        train(with_training(epochs=1, learning_rate=1e-9), store, tmp_path / "second", initial_model=best)
    first, second = load_model(best)[0], load_model(tmp_path / "second" / "best.keras")[0]
    np.testing.assert_allclose(
        first.get_layer("conv_1").get_weights()[0], second.get_layer("conv_1").get_weights()[0], atol=1e-6
    )
    assert second.get_layer("weak").output.shape == (None, 2)


def test_a_damaged_model_file_gives_one_line(tmp_path):
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import train

    with make_store(tmp_path, 24) as store:
        best = train(with_training(epochs=1), store, tmp_path / "run")
    whole = best.read_bytes()
    for name, content in (
        ("cut.keras", whole[: len(whole) // 2]),
        ("text.keras", b"not a model"),
        ("empty.keras", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            load_model(tmp_path / name)
    with pytest.raises(ModelFileError, match="no such model file"):
        load_model(tmp_path / "missing.keras")


def test_tensorboard_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    import importlib.util

    from crnn_weak.errors import DependencyError
    from crnn_weak.training.fit import train

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with make_store(tmp_path, 24) as store, pytest.raises(DependencyError, match="tensorboard"):
        train(CONFIG, store, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
