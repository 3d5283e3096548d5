"""The default grid, small: clips to figure, killed and started again; the challenge columns of task 4."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from helpers import TINY, small_config
from helpers_tasks import wait_until

from crnn_weak import config as configuration
from crnn_weak.audio import write_audio
from crnn_weak.cli import main
from crnn_weak.config import Task4Data
from crnn_weak.detection.scores import load_scores
from crnn_weak.experiments.loss_weight_grid import run_grid as run_all
from crnn_weak.labels.events import Event
from crnn_weak.labels.writing import write_strong_tsv, write_weak_tsv
from crnn_weak.parallel import Work
from crnn_weak.runs.folders import Grid, open_grid
from crnn_weak.runs.table import read_results

QUICK = configuration.preset("quick")
SMALL = (
    "--set", "data.n_train=40", "--set", "data.n_test=12", "--set", "training.epochs=2", "--set", "model.n_filters=4",
    "--set", "model.gru_units=[4]", "--settings", "1:1", "1:0.002", "--jobs", "1",
)  # fmt: skip
GRID = (sys.executable, "-m", "crnn_weak.experiments.loss_weight_grid", *SMALL)


def run_grid(folder, *options):
    """Run the small grid in a process of its own; return what it printed."""
    done = subprocess.run([*GRID, *options], cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished small grid in it, and what the command printed."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, run_grid(folder, "--out", "runs/first")


def test_the_grid_prints_the_table_and_leaves_its_record(place):
    texts = ("0.84", "38.8", "42.4", "true tags, whole clip", "rank correlation", "40 of 40 clips", "12 of 12 clips")
    assert [text for text in texts if text not in place[1]] == []
    folder = place[0] / "runs" / "first"
    assert {path.name for path in folder.iterdir()} >= {
        "config.toml", "data.json", "environment.json", "results.csv", "baselines.json", "table.txt", "table.csv",
        "table.md", "table.tex", "figure.png", "figure.pdf", "report.html", "1_1", "1_0.002",
    }  # fmt: skip
    run = folder / "1_0.002" / "seed-0"
    assert {path.name for path in run.iterdir()} >= {
        "config.toml", "environment.json", "history.csv", "split.json", "best.keras", "last.keras", "state.json",
        "scores.h5", "validation_scores.h5", "events.tsv", "tags.tsv", "metrics.json",
    }  # fmt: skip
    expected = json.loads((run / "metrics.json").read_text())["segment"]["error_rate"]
    values = {(line.weak_weight, line.output, line.metric): line.value for line in read_results(folder / "results.csv")}
    assert values[0.002, "segment", "error_rate"] == pytest.approx(expected, rel=1e-4)
    own, rotated, gain = (values[1, output, "f_score"] for output in ("segment", "rotated", "timing_gain"))
    assert gain == pytest.approx(own - rotated, abs=1e-5)
    assert {(1, "within_clip", "auc"), (1, "whole_clip", "error_rate"), (1, "strong_ranking", "roc_auc")} <= set(values)
    assert "timing gain" in place[1]
    # Sounds are louder than the floor around them, whatever the network learned.
    assert values[1, "loudness", "auc"] == values[0.002, "loudness", "auc"] > 0.6
    assert "\nloudness " in place[1]


def test_the_long_table_has_every_way_to_tag(place):
    folder = place[0] / "runs" / "first"
    assert "at least the likeliest class of each clip" in place[1]
    scores = load_scores(folder / "1_1" / "seed-0" / "scores.h5")
    strong = scores.strong.max(axis=1)
    values = {line[4:6]: line.value for line in read_results(folder / "results.csv") if line.weak_weight == 1}
    for output, of_clips in (("tagging", scores.weak), ("tagging_strong", strong)):
        name = "tagging_threshold" if output == "tagging" else "tagging_strong_threshold"
        n_tags = (of_clips > 0.5).sum(axis=1)
        assert values[name, "tags_per_clip"] == pytest.approx(n_tags.mean(), rel=1e-5)
        at_least_one = values[f"{output}_at_least_one", "tags_per_clip"]
        assert at_least_one == pytest.approx(np.maximum(n_tags, 1).mean(), rel=1e-5)
    for metric in ("precision", "recall", "f_score", "tags_per_clip"):
        assert values["tagging", metric] == values["tagging_at_least_one", metric]


def test_a_folder_of_another_grid_is_refused(place, monkeypatch, capsys):
    monkeypatch.chdir(place[0])
    metrics = place[0] / "runs" / "first" / "1_1" / "seed-0" / "metrics.json"
    before = metrics.read_bytes()
    assert main(["grid", *SMALL, "--out", "runs/first", "--set", "training.batch_size=8"]) == 2
    printed = capsys.readouterr()
    (line,) = (text for text in printed.err.splitlines() if "error" in text)
    assert "training.batch_size 16, now 8" in line
    assert (printed.out, metrics.read_bytes()) == ("", before)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_grid_goes_on(place):
    """SIGKILL in the middle of the training; the second start ends with the unbroken grid's results."""
    runs, options = place[0] / "runs", ("--out", "runs/killed", "--no-report")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*GRID, *options], cwd=place[0], **quiet)
    wait_until((runs / "killed" / "1_1" / "seed-0" / "history.csv").exists, seconds=200)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (runs / "killed" / "results.csv").exists()
    run_grid(place[0], *options)
    tables = [read_results(runs / name / "results.csv") for name in ("first", "killed")]
    for first, second in zip(*tables, strict=True):
        assert (first.output, first.metric) == (second.output, second.metric)
        assert first.value == pytest.approx(second.value, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "loss_weights.weak=-1"], ">= 0"),
        (["--settings", "0:0"], "at least one of the two weights above 0"),
        (["--settings", "-1:1"], "--settings"),
        (["--settings", "one"], "STRONG:WEAK"),
        (["--data", "streets"], "street"),
        (["--data", "folder", "--audio", "nowhere", "--metadata", "nowhere.tsv"], "nowhere"),
        (["--seeds", "0", "0"], "distinct"),
        (["--settings", "1:1", "1:0.2", "1_1"], "distinct"),
        (["--jobs", "0"], "1 or more"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--preset", "quick", "--config", "mine.toml"], "mine.toml names preset 'paper'. Omit one of them."),
    ],
)
def test_wrong_arguments_give_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('preset = "paper"\n')
    assert main(["grid", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err.splitlines()[-1]
    assert "Traceback" not in printed.err
    assert not list(tmp_path.rglob("*.h5*"))


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("--head", "max_dense"), ("--set", "training.seed=0"), ("--preset", "quick"), ("--data", "street"),
        ("--set", "data.source=street"),
    ],
)  # fmt: skip
def test_a_grid_without_preset_and_data_has_few_clips_and_epochs(arguments, capsys):
    assert main(["grid", *arguments, "--print-config"]) == 0
    config = configuration.from_dict(tomllib.loads(capsys.readouterr().out))
    if {"--preset", "--data", "data.source=street"} & {*arguments}:
        assert config == QUICK
    else:
        assert (config.data.n_train, config.training.epochs) == (1200, 10)
        assert config.features == QUICK.features


N_CLIPS = {"training": 12, "testing": 4, "evaluation": 5}


def write_task(folder, *, with_evaluation_audio):
    """Write label files in the organizers' layout, and noise for audio."""
    metadata, audio = folder / "metadata", folder / "audio"
    rng = np.random.default_rng(0)
    for word, n_clips in N_CLIPS.items():
        place = metadata / "groundtruth_release" if word == "evaluation" else metadata
        labels = {f"{word}-{index:04d}_0.000_10.000": ("Car", "Bus")[index % 2] for index in range(n_clips)}
        tags = {name: (label,) for name, label in labels.items()}
        write_weak_tsv(place / f"groundtruth_weak_label_{word}_set.csv", tags)
        if word != "training":
            events = {name: (Event(0.5, 1.5, label),) for name, label in labels.items()}
            write_strong_tsv(place / f"groundtruth_strong_label_{word}_set.csv", events)
        if word != "evaluation" or with_evaluation_audio:
            for name in labels:
                noise = rng.normal(0, 0.1, round(TINY.clip_seconds * TINY.sample_rate_hz)).astype(np.float32)
                write_audio(audio / f"Y{name}.wav", noise, TINY.sample_rate_hz)
    return Task4Data(metadata=str(metadata), root=str(audio))


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [True, False])
def test_challenge_columns_are_scored_on_the_evaluation_set_where_it_is_there(tmp_path, is_there):
    data = write_task(tmp_path, with_evaluation_audio=is_there)
    config = dataclasses.replace(small_config(epochs=1), data=data)
    table = run_all(Grid(tmp_path / "run", config, ((0.2, 1.0),)), tmp_path / "cache", Work())
    lines = {(line.output, line.metric): line for line in table.lines}
    assert lines["tagging", "f_score"].n_clips == N_CLIPS["testing"]
    assert (("evaluation_segment", "error_rate") in lines) == is_there
    if is_there:
        assert lines["evaluation_segment", "error_rate"].n_clips == N_CLIPS["evaluation"]
        assert "evaluation 5 of 5 clips" in table.caption
        metrics = open_grid(tmp_path / "run").run((0.2, 1.0)).metrics["evaluation"]
        assert metrics["segment"]["n_reference"] == 2 * N_CLIPS["evaluation"]  # 0.5 to 1.5 s touches two segments
