"""Damaged and hostile models, configurations and run folders: read whole, or refused in one line."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from mutations import damage_file, damage_model, damage_toml
from run_factory import make_experiment, tiny_config

from crnn_weak.config import load_config, to_toml
from crnn_weak.errors import CrnnWeakError
from crnn_weak.runs.grid import open_any
from crnn_weak.runs.scores import detected_events, estimated_tags

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
    documents = (run.metrics, run.environment, run.history, opened.environment, opened.data)
    if hasattr(opened, "table"):
        opened.table._repr_html_()
    for clip_id in list(detected_events(run))[:3]:
        run.audio_path(clip_id)
    run.open_store().close()
    return documents, estimated_tags(run), run.scores.classes, run.classes, run.best_epoch, run.name


def fuzz(damage, read, names, seeds):
    """Damage and read once for each seed; return how often a damaged document was read, and refused."""
    outcomes = {"read": 0, "refused": 0}
    for seed in seeds:
        rng = random.Random(seed)
        where = damage(rng)
        try:
            read(rng)
            outcomes["read"] += 1
        except CrnnWeakError as error:
            check_message(error, *names, str(where))
            outcomes["refused"] += 1
    return outcomes


FEW_AND_MANY = pytest.mark.parametrize("n_times", [1, pytest.param(15, marks=pytest.mark.slow)])


@FEW_AND_MANY
def test_damaged_run_folders_are_read_or_refused(experiment, tmp_path, n_times):
    made = tmp_path / "made"
    path = made / experiment.name

    def damage(rng):
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(experiment.parent, made, ignore=shutil.ignore_patterns("*.keras", "*.wav"))
        damaged = rng.choice([file for file in path.rglob("*") if file.name in RUN_FILES])
        damage_file(damaged, rng)
        return damaged.name

    def read(rng):
        read_all(path if rng.random() < 0.7 else path / "1_1" / "seed-0")

    assert min(fuzz(damage, read, [str(path)], range(150 * n_times)).values()) > 15


@FEW_AND_MANY
def test_damaged_models_are_loaded_or_refused(experiment, tmp_path, n_times):
    from crnn_weak.model.archive import load_model

    path = tmp_path / "model.keras"

    def damage(rng):
        shutil.copyfile(experiment / "1_1" / "seed-0" / "best.keras", path)
        damage_model(path, rng)
        return path.name

    def read(rng):
        model, metadata = load_model(path)
        assert model.get_layer("weak").output.shape[-1] == len(metadata.classes)
        assert model.count_params() < 10_000

    assert min(fuzz(damage, read, [], range(80 * n_times)).values()) > 3


@FEW_AND_MANY
def test_damaged_configurations_are_read_or_refused(tmp_path, n_times):
    text = to_toml(tiny_config()).encode()
    path = tmp_path / "config.toml"

    def damage(rng):
        path.write_bytes(damage_toml(text, rng))
        return path.name

    def read(rng):
        config = load_config(path)
        assert config.features.n_frames * config.features.n_mels < 1e9
        path.write_text(to_toml(config), encoding="utf-8")
        assert load_config(path) == config

    assert min(fuzz(damage, read, [], range(300 * n_times)).values()) > 30
