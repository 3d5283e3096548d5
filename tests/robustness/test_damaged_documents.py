"""Damaged and hostile models, configurations and run folders: read whole, or refused in one line."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from mutations import damage_file, damage_model, damage_toml
from run_factory import make_experiment, tiny_config

from crnn_weak.config import apply_overrides, load_config, preset, to_toml
from crnn_weak.errors import ConfigError, CrnnWeakError
from crnn_weak.runs.grid import open_any

# Keras and NumPy warn of values that were damaged and are legal.
pytestmark = pytest.mark.filterwarnings("ignore")

RUN_FILES = (
    "config.toml", "environment.json", "history.csv", "state.json", "metrics.json", "events.tsv", "tags.tsv",
    "scores.h5", "data.json", "results.csv", "baselines.json",
)  # fmt: skip


@pytest.fixture(autouse=True)
def limited_memory():
    """Bound the address space: a damaged header makes the HDF5 library ask for gigabytes, which must not be granted."""
    resource = pytest.importorskip("resource", reason="this system has no limits on memory")
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def check_message(error, *names):
    """One line that says where."""
    message = str(error)
    assert "\n" not in message
    assert len(message) <= 1000
    assert any(name in message for name in names), message


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return make_experiment(tmp_path_factory.mktemp("made"), settings=((1.0, 1.0),), model=True)


def read_all(path):
    """Read all that a run folder and its grid say."""
    opened = open_any(path)
    run = opened.run(opened.best_setting()) if hasattr(opened, "best_setting") else opened
    summary = run.summary()
    opened._repr_html_()
    run._repr_html_()
    for clip_id in list(run.events)[:3]:
        run.audio_path(clip_id)
    store = run.open_store()
    if store is not None:
        store.close()
    return summary, run.tags, run.scores.classes, run.classes, run.best_epoch, run.name


def fuzz_runs(experiment, folder, seeds):
    outcomes = {"read": 0, "refused": 0}
    for seed in seeds:
        rng = random.Random(seed)
        made = folder / "made"
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(experiment.parent, made, ignore=shutil.ignore_patterns("*.keras", "*.wav"))
        path = made / experiment.name
        damaged = rng.choice([file for file in path.rglob("*") if file.name in RUN_FILES])
        damage_file(damaged, rng)
        try:
            read_all(path if rng.random() < 0.7 else path / "1_1" / "seed-0")
            outcomes["read"] += 1
        except CrnnWeakError as error:
            check_message(error, damaged.name, str(path))
            outcomes["refused"] += 1
    return outcomes


def test_damaged_run_folders_are_read_or_refused(experiment, tmp_path):
    outcomes = fuzz_runs(experiment, tmp_path, range(200))
    assert min(outcomes.values()) > 20


@pytest.mark.slow
def test_thousands_of_damaged_run_folders(experiment, tmp_path):
    fuzz_runs(experiment, tmp_path, range(1000, 2000))


def fuzz_models(source, folder, seeds):
    from crnn_weak.model.archive import load_model

    outcomes = {"read": 0, "refused": 0}
    path = folder / "model.keras"
    for seed in seeds:
        shutil.copyfile(source, path)
        damage_model(path, random.Random(seed))
        try:
            model, metadata = load_model(path)
            assert model.get_layer("weak").output.shape[-1] == len(metadata.classes)
            assert model.count_params() < 10_000
            outcomes["read"] += 1
        except CrnnWeakError as error:
            check_message(error, "model.keras")
            outcomes["refused"] += 1
    return outcomes


def test_damaged_models_are_loaded_or_refused(experiment, tmp_path):
    outcomes = fuzz_models(experiment / "1_1" / "seed-0" / "best.keras", tmp_path, range(80))
    assert min(outcomes.values()) > 3


@pytest.mark.slow
def test_a_thousand_damaged_models(experiment, tmp_path):
    fuzz_models(experiment / "1_1" / "seed-0" / "best.keras", tmp_path, range(1000, 2000))


def fuzz_configurations(folder, seeds):
    text = to_toml(tiny_config()).encode()
    outcomes = {"read": 0, "refused": 0}
    for seed in seeds:
        path = folder / "config.toml"
        path.write_bytes(damage_toml(text, random.Random(seed)))
        try:
            config = load_config(path)
            assert config.features.n_frames * config.features.n_mels < 1e9
            path.write_text(to_toml(config), encoding="utf-8")
            assert load_config(path) == config
            outcomes["read"] += 1
        except CrnnWeakError as error:
            check_message(error, "config.toml")
            outcomes["refused"] += 1
    return outcomes


def test_damaged_configurations_are_read_or_refused(tmp_path):
    outcomes = fuzz_configurations(tmp_path, range(400))
    assert min(outcomes.values()) > 40


@pytest.mark.slow
def test_thousands_of_damaged_configurations(tmp_path):
    fuzz_configurations(tmp_path, range(1000, 4000))


@pytest.mark.parametrize(
    "override",
    [
        "features.sample_rate_hz=1000000000",
        "features.sample_rate_hz=" + "9" * 5000,
        "features.clip_seconds=1e300",
        "features.hop_seconds=1e-300",
        "features.n_mels=-1",
        "features.n_fft=nan",
        "model.pools=[]",
        "model.pools=" + "[" * 500 + "]" * 500,
        "model.gru_units=[1e9]",
        "training.batch_size=0.5",
        "training.epochs=true",
        "training.seed=-1",
        "loss_weights.strong=inf",
        "evaluation.segment_seconds=0",
        "data.n_train=1e18",
        "data=3",
        "training.epochs.x=1",
        "training.epoch=1",
        "=",
    ],
)
def test_an_extreme_setting_is_refused(override):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(preset("quick"), [override])
    check_message(caught.value, override.partition("=")[0].partition(".")[0], "--set")
