"""A small design from clips to table: a teacher's pupil, a fine-tuned model, a grid as the curve; run twice."""

import pytest

from crnn_weak.cli import main as crnn_weak
from crnn_weak.experiments.beyond import main

DESIGN = """
[data.street]
preset = "quick"
model = { n_filters = 2, gru_units = [3], dense_units = 4 }
training = { epochs = 1, batch_size = 8, validation_fraction = 0.3 }
data = { source = "street", n_train = 24, n_test = 8 }

[entries.max]
model.weak_head = "max"

[entries.taught]
base = "max"
teacher = "max"
targets.strong = "self_training"

[entries.tuned]
base = "max"
start = "street/max"
training.n_clips = 12
"""


@pytest.mark.slow
def test_a_design_is_run_compared_and_resumed(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN)
    overrides = ["n_filters=2", "gru_units=[3]", "dense_units=4"]
    settings = [f"model.{text}" for text in overrides] + [
        "training.epochs=1", "training.batch_size=8", "training.validation_fraction=0.3", "data.n_train=24",
        "data.n_test=8",
    ]  # fmt: skip
    common = ["--cache", str(tmp_path / "cache"), "--jobs", "1"]
    grid = ["-q", "grid", "--settings", "1:1", "--no-report", "--out", str(tmp_path / "grid"), *common]
    assert crnn_weak([*grid, *(part for text in settings for part in ("--set", text))]) == 0
    command = ["--design", str(tmp_path / "design.toml"), "--out", str(tmp_path / "out"), *common]
    command += ["--grid", f"street={tmp_path / 'grid'}"]
    capsys.readouterr()
    assert main(command) == 0
    shown = capsys.readouterr().out
    for name in ("max_dense 1:1", "max", "taught", "tuned"):
        assert f"| {name} | 1 |" in shown
    assert main(command) == 0
    again = capsys.readouterr()
    assert "0 of 1 runs of max to do" in again.err
    assert again.out == shown
    for name in ("table.md", "results.csv", "figure.png", "max/seed-0/best.keras"):
        assert (tmp_path / "out" / "street" / name).exists()


def test_a_grid_of_no_data_of_the_design_is_one_line(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN)
    assert main(["--design", str(tmp_path / "design.toml"), "--grid", "steet=here", "--only-table"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
