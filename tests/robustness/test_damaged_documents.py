"""Damaged and hostile models, configurations and run folders: read and reported whole, or refused in one line."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest
from mutations import damage, damage_file, damage_model
from run_factory import NASTY, make_experiment, tiny_config

from crnn_weak.config import load_config, to_toml
from crnn_weak.errors import CrnnWeakError
from crnn_weak.report.model_card import model_card
from crnn_weak.report.page import write_report
from crnn_weak.runs.folders import open_any

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Keras and NumPy warn of values that were damaged and are legal
    pytest.mark.parametrize("n_times", [1, pytest.param(15, marks=pytest.mark.slow)]),
]

RUN_FILES = (
    "config.toml", "environment.json", "history.csv", "state.json", "metrics.json", "events.tsv", "tags.tsv",
    "scores.h5", "data.json", "results.csv", "baselines.json",
)  # fmt: skip


@pytest.fixture(autouse=True)
def limited_memory():
    """Bound the address space: a damaged header makes the HDF5 library ask for gigabytes, which must not be granted."""
    resource = pytest.importorskip("resource", reason="this system has no limits on memory")
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return make_experiment(tmp_path_factory.mktemp("made"), settings=((1.0, 1.0),), classes=NASTY, model=True)


def check(path, damage_one, read, n_seeds, least):
    """Damage and read once for each seed: the document is read, or refused in one line that names it."""
    counts = {"read": 0, "refused": 0}
    for seed in range(n_seeds):
        rng = random.Random(seed)
        name = damage_one(rng) or path.name
        try:
            read(rng)
            counts["read"] += 1
        except CrnnWeakError as error:
            message = str(error)
            assert "\n" not in message
            assert len(message) <= 1000
            assert str(path) in message or name in message, message
            counts["refused"] += 1
    assert min(counts.values()) > least


def damage_run(experiment, path, rng):
    """Copy an experiment to a folder and damage one of its files."""
    shutil.rmtree(path.parent, ignore_errors=True)
    shutil.copytree(experiment.parent, path.parent, ignore=shutil.ignore_patterns("*.keras", "*.wav"))
    damaged = rng.choice(sorted(file for file in path.rglob("*") if file.name in RUN_FILES))
    damage_file(damaged, rng)
    return damaged.name


def damaged_run(path, rng):
    """Return the path of the grid or of its run, what opening it gives, and the run."""
    path = path if rng.random() < 0.7 else path / "1_1" / "seed-0"
    opened = open_any(path)
    return path, opened, opened.run(opened.best_setting()) if hasattr(opened, "best_setting") else opened


def test_damaged_run_folders_are_read_or_refused(experiment, tmp_path, n_times):
    path = tmp_path / "made" / experiment.name

    def read(rng):
        _, opened, run = damaged_run(path, rng)
        if hasattr(opened, "table"):
            opened.table._repr_html_()
        for clip_id in list(run.detected_events)[:3]:
            run.audio_path(clip_id)
        run.open_store().close()
        for name in ("metrics", "history", "data", "scores", "classes", "best_epoch", "estimated_tags"):
            getattr(run, name)

    check(path, lambda rng: damage_run(experiment, path, rng), read, 100 * n_times, 10)


def test_pages_of_damaged_run_folders_are_whole_or_refused(experiment, tmp_path, n_times):
    path, page = tmp_path / "made" / experiment.name, tmp_path / "page.html"

    def read(rng):
        opened, _, run = damaged_run(path, rng)
        assert "<" not in model_card(run)
        text = write_report(opened, out=page, n_clips=1).read_text(encoding="utf-8")
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["made", "page.html"]
        assert text.rstrip().endswith("</html>")
        assert text.count("<script") == 1
        assert not re.search(r"<[^>]*\son\w+=", text)  # no attribute that would run

    check(path, lambda rng: damage_run(experiment, path, rng), read, 8 * n_times, 1)


def test_damaged_models_are_loaded_or_refused(experiment, tmp_path, n_times):
    from crnn_weak.model.archive import load_model

    path = tmp_path / "model.keras"

    def damage_one(rng):
        shutil.copyfile(experiment / "1_1" / "seed-0" / "best.keras", path)
        damage_model(path, rng)

    def read(rng):
        model, metadata = load_model(path)
        assert model.get_layer("weak").output.shape[-1] == len(metadata.classes)
        assert model.count_params() < 10_000

    check(path, damage_one, read, 50 * n_times, 3)


def test_damaged_configurations_are_read_or_refused(tmp_path, n_times):
    text = to_toml(tiny_config()).encode()
    path = tmp_path / "config.toml"

    def damage_one(rng):
        path.write_bytes(damage(text, path.name, rng))

    def read(rng):
        config = load_config(path)
        assert config.features.n_frames * config.features.n_mels < 1e9
        path.write_text(to_toml(config), encoding="utf-8")
        assert load_config(path) == config

    check(path, damage_one, read, 200 * n_times, 20)
