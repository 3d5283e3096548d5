"""The default grid, small: clips, features, two settings, table, figure; killed and started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from crnn_weak.experiments.loss_weight_grid import main
from crnn_weak.runs.table import read_results

SMALL = (
    "--set", "data.n_train=40", "--set", "data.n_test=12", "--set", "training.epochs=2", "--set", "model.n_filters=4",
    "--set", "model.gru_units=[4]", "--settings", "1:1", "1:0.002", "--jobs", "1",
)  # fmt: skip
GRID = (sys.executable, "-m", "crnn_weak.experiments.loss_weight_grid", *SMALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished small grid in it, and what the command printed."""
    folder = tmp_path_factory.mktemp("grid")
    done = subprocess.run([*GRID, "--out", "runs/first"], cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


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
    values = [
        line.value
        for line in read_results(folder / "results.csv")
        if (line.weak_weight, line.output, line.metric) == (0.002, "segment", "error_rate")
    ]
    assert values == [pytest.approx(expected, rel=1e-4)]


@pytest.mark.slow
def test_a_finished_grid_is_not_run_again(place):
    folder = place[0]
    model = folder / "runs" / "first" / "1_1" / "seed-0" / "best.keras"
    before = model.stat().st_mtime_ns
    done = subprocess.run([*GRID, "--out", "runs/first"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:11] == place[1].splitlines()[:11]
    assert model.stat().st_mtime_ns == before


def test_a_folder_of_another_grid_or_of_other_data_is_refused(place, tmp_path, monkeypatch, capsys):
    """In one line; nothing in the folder changes."""
    monkeypatch.chdir(place[0])
    shutil.copytree(place[0] / "runs" / "first", tmp_path / "copy")
    run = tmp_path / "copy" / "1_1" / "seed-0"
    content = json.loads((run / "identity.json").read_text())
    (run / "identity.json").write_text(json.dumps(content | {"training_data": "0" * 32}))
    before = (run / "metrics.json").read_bytes()
    for folder, options, message in (
        ("runs/first", ["--set", "training.batch_size=8"], "training.batch_size 16, now 8"),
        ("runs/first", ["--set", "training.epochs=1"], "training.epochs 2, now 1"),
        (str(tmp_path / "copy"), [], "training clips or their labels"),
    ):
        assert main([*SMALL, "--out", folder, *options]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = (text for text in printed.err.splitlines() if "error" in text)
        assert message in line
        assert "--overwrite" in line
    assert (run / "metrics.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_grid_goes_on(place):
    """SIGKILL in the middle of the training; the second start ends with the unbroken grid's results."""
    folder = place[0]
    command = [*GRID, "--out", "runs/killed", "--no-report"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history = folder / "runs" / "killed" / "1_1" / "seed-0" / "history.csv"
    deadline = time.monotonic() + 200
    while not history.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert history.exists()
    assert not (folder / "runs" / "killed" / "results.csv").exists()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    tables = [read_results(folder / "runs" / name / "results.csv") for name in ("first", "killed")]
    for first, second in zip(*tables, strict=True):
        assert (first.output, first.metric) == (second.output, second.metric)
        assert first.value == pytest.approx(second.value, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.epoch=3"], "epochs"),
        (["--set", "loss_weights.weak=-1"], ">= 0"),
        (["--settings", "0:0"], "at least one of the two weights above 0"),
        (["--settings", "-1:1"], "--settings"),
        (["--settings", "one"], "STRONG:WEAK"),
        (["--preset", "quik"], "quick"),
        (["--head", "meen"], "mean"),
        (["--data", "streets"], "street"),
        (["--data", "folder", "--audio", "nowhere"], "data.metadata"),
        (["--data", "folder", "--audio", "nowhere", "--metadata", "nowhere.tsv"], "nowhere"),
        (["--data", "dcase2017_task4", "--audio", "nowhere", "--metadata", "nowhere"], "nowhere"),
        (["--data", "scenes", "--audio", "nowhere"], "nowhere"),
        (["--seeds", "0", "0"], "distinct"),
        (["--settings", "1:1", "1:0.2", "1_1"], "distinct"),
        (["--jobs", "0"], "1 or more"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_wrong_arguments_give_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as error:  # argparse
        code = error.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert message in printed.err.splitlines()[-1]
    assert "Traceback" not in printed.err
    assert not list(tmp_path.rglob("*.h5*"))
