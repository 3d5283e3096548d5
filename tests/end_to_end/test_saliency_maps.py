"""From a small trained grid to the figure of the slides and the table, through the command line."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers import TINY, make_store

from crnn_weak.cli import main
from crnn_weak.config import Config, ModelConfig, TrainingConfig, to_toml
from crnn_weak.errors import DataError, ModelFileError, RunError
from crnn_weak.experiments import saliency_maps as module
from crnn_weak.experiments.loss_weight_grid import make_table, write_outputs
from crnn_weak.experiments.saliency_maps import Options, Shown, figure_stem, saliency_maps
from crnn_weak.files import write_text
from crnn_weak.runs.folders import Grid, open_run
from crnn_weak.runs.train import train_and_score
from crnn_weak.saliency.localization import event_pairs, open_explainer, short_table

CONFIG = Config(
    features=TINY,
    model=ModelConfig(n_filters=4, pools=(2,), gru_units=(4,), dense_units=4, dropout=0.0),
    training=TrainingConfig(epochs=12, batch_size=8, learning_rate=1e-2, patience=0, validation_fraction=0.1),
)
SETTINGS = ((1.0, 1.0), (1.0, 0.02))


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two trained and scored runs with their table, on clips whose classes raise known bands."""
    folder = tmp_path_factory.mktemp("saliency")
    make_store(folder, 96, name="train.h5")
    test = make_store(folder, 40, split="test", seed=1, name="test.h5")
    made = Grid(folder / "runs", CONFIG, SETTINGS)
    data = {
        "provenance": test.provenance,
        "classes": list(test.classes),
        "coverage": {"test": {"n_clips": 40, "n_listed": 40}},
        "train_store": "../train.h5",
        "test_store": "../test.h5",
        "audio": {},
    }
    write_text(made.path / "data.json", json.dumps(data))
    write_text(made.path / "config.toml", to_toml(CONFIG))
    for run in made.planned_runs(data):
        train_and_score(run)
    write_outputs(made, make_table(made, data))
    return made.path


@pytest.fixture(scope="module")
def written(grid):
    return saliency_maps(grid, grid.parent / "whole", Options(reduction="max", scale="logit"))


def test_figures_of_three_pairs_and_the_table_of_all_settings(written):
    names = [path.name for path in written]
    assert [name.rpartition(".")[2] for name in names] == [*["png", "pdf"] * 3, "csv", "md"]
    assert names[-2:] == ["localization.csv", "localization.md"]
    assert all(path.stat().st_size > 0 for path in written)
    assert not [path for path in written[0].parent.iterdir() if path not in written]  # nothing temporary is left
    rows = list(csv.DictReader(written[-2].read_text().splitlines()))
    networks = [row for row in rows if row["source"] == "network"]
    found = {(row["strong_weight"], row["weak_weight"], row["output"], row["method"]) for row in networks}
    methods = ("deconvnet", "absolute")
    assert found == {("1", weak, o, m) for weak in ("1", "0.02") for o in ("strong", "weak") for m in methods}
    assert [row["source"] for row in rows].count("untrained") == 4
    assert [row["source"] for row in rows].count("loudness") == 1
    assert len({row["n_pairs"] for row in rows}) == 1
    text = written[-1].read_text()
    assert "40 of 40 clips" in text
    assert "deconvnet: gradient with respect to the standardized" in text
    # Above chance, from clip labels alone; of logits, since on clips this easy the gradient of a score vanishes.
    judged = [row for row in networks if (row["output"], row["method"]) == ("strong", "absolute")]
    assert len(judged) == 2
    for row in judged:
        assert float(row["share_gain_low"]) > 0.05, row
        assert float(row["hit_gain_low"]) > 0.05, row
        assert float(row["share"]) <= 1
    lines = short_table(written[-2]).splitlines()[3:]
    assert [line.split(" | ")[:2] for line in lines] == [["| 1", "1"], ["| 1", "0.02"]]
    assert f"| {100 * float(rows[0]['share']):.1f} |" in "\n".join(lines)


def test_one_run_a_chosen_clip_and_class_from_the_command_line(grid, capsys, refused, tmp_path):
    run = grid / "1_0.02" / "seed-0"
    call = ["saliency", str(run), "--clip=clip-00003", "--class", "bell", "--no-statistics", "--out", str(tmp_path)]
    assert main([*call, "--method", "smoothgrad"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / f"saliency_clip-00003_bell_smoothgrad.{suffix}") for suffix in ("png", "pdf")]
    assert "--overwrite" in refused(*call, "--method", "smoothgrad")
    assert main([*call, "--method", "smoothgrad", "--overwrite"]) == 0


def test_a_grid_shows_the_slides_clip_of_even_weights(grid, written, tmp_path, monkeypatch):
    clip, shown = written[0].name.split("_")[1], []
    monkeypatch.setattr(module, "_draw_clip", lambda run, *rest: shown.append((run.setting, rest[2].clip_id)) or [])
    monkeypatch.setattr(module, "SLIDES_CLIP", clip)
    saliency_maps(grid, tmp_path, Options(statistics=False))
    assert set(shown) == {((1.0, 1.0), clip)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clip=--jc0NAxK8M_30.000_40.000"], "clip '--jc0NAxK8M_30.000_40.000' is not in the test split"),
        (["--clip=clip-0003"], "Did you mean 'clip-000"),
        (["--clip=clip-00003", "--class", "bel"], "Did you mean 'bell'"),
        (["--method", "deconvnets"], "Did you mean 'deconvnet'"),
        (["--reduction", "man"], "Did you mean 'mean'"),
        (["--setting", "1:7"], "no run of strong 1, weak 7"),
        (["--scale", "logits"], "Did you mean 'logit'"),
    ],
)
def test_one_line_for_what_is_not_there(grid, refused, tmp_path, arguments, words):
    assert words in refused("saliency", grid, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def run(grid, tmp_path):
    """A copy of a run, whose test store is not found from here."""
    shutil.copytree(grid / "1_1" / "seed-0", tmp_path / "run")
    return tmp_path / "run"


def test_a_missing_store_a_model_of_other_classes_or_features_and_an_unfinished_run_are_refused(run):
    with pytest.raises(RunError, match="store of split 'test' is gone"):
        saliency_maps(run)
    for name, changes in (
        ("a.h5", {"classes": ("bell", "drill", "snow")}),
        ("b.h5", {"features": dataclasses.replace(TINY, hop_seconds=0.05)}),
    ):
        store = make_store(run.parent, 8, split="test", name=name, **changes)
        with pytest.raises(ModelFileError, match="not the model's classes or features"):
            open_explainer(open_run(run), store)
    (run / "metrics.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        saliency_maps(run)


def test_without_strong_labels_there_is_no_table_but_a_figure_and_file_names_are_safe(run, tmp_path):
    make_store(run.parent, 8, split="test", with_events=False).close()
    (run / "data.json").write_text(json.dumps({"test_store": "../features.h5", "provenance": "other"}))
    with pytest.raises(DataError, match="--no-statistics"):
        saliency_maps(run)
    options = Options(clips=("clip-00001",), labels=("rain",), statistics=False)
    assert len(saliency_maps(run, None, options)) == 2
    stem = figure_stem(tmp_path, Shown("--a/b", "Air horn, truck horn"), Options())
    assert stem == tmp_path / "saliency_--a_b_Air_horn_truck_horn_deconvnet"


def test_pairs_hold_the_frames_of_the_truth(tmp_path):
    store = make_store(tmp_path, 12)
    pairs = event_pairs(store)
    assert len(pairs.rows) == sum(len(events) for events in store.events.values())
    first = store.events[pairs.clip_ids[0]][0]
    inside = np.flatnonzero(pairs.inside[0]) * TINY.hop_seconds
    assert inside.min() == pytest.approx(first.onset, abs=TINY.hop_seconds)
    assert inside.max() + TINY.hop_seconds == pytest.approx(first.offset, abs=TINY.hop_seconds)
