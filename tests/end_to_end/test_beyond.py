"""A small design from clips to table: a teacher's pupil, a fine-tuned model, a curve; run twice, then published."""

import pytest

from crnn_weak.cli import main
from crnn_weak.config import to_toml
from crnn_weak.runs.scores import read_design

DESIGN = """
curves = [["paper"]]

[data.street]
preset = "quick"
model = { n_filters = 2, gru_units = [3], dense_units = 4 }
training = { epochs = 1, batch_size = 8, validation_fraction = 0.3 }
data = { source = "street", n_train = 24, n_test = 8 }

[entries.paper]

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

SCORE = """{"counts": {"tagging": [[1, 1, 1]]}, "untuned": {"tagging": 1.0}, "thresholds": {"tagging": 0.5},
"gates": {}, "low_thresholds": {}}"""


@pytest.fixture
def design(tmp_path):
    (tmp_path / "design.toml").write_text(DESIGN)
    return tmp_path / "design.toml"


@pytest.mark.slow
def test_a_design_is_run_compared_and_resumed(design, tmp_path, capsys):
    command = ["beyond", "--design", str(design), "--cache", str(tmp_path / "cache"), "--jobs", "1"]
    first = [*command, "--out", str(tmp_path / "out")]
    assert main(first) == 0
    shown = capsys.readouterr().out
    for name in ("paper", "max", "taught", "tuned"):
        assert shown.count(f"| {name} | 1 |") == 1
    assert main(first) == 0
    again = capsys.readouterr()
    assert "0 of 2 runs of paper, max to do" in again.err
    assert again.out == shown
    for name in ("figure.png", "max/seed-0/best.keras"):
        assert (tmp_path / "out" / "street" / name).exists()
    assert main([*command, "--out", str(tmp_path / "other"), "--reuse-results", str(tmp_path / "out")]) == 0
    assert "0 of 2 runs of taught, tuned to do" in capsys.readouterr().err
    for name in ("street/table.md", "street/results.csv", "street/scores.json.gz"):
        published, trained = (tmp_path / folder / name for folder in ("other", "out"))
        assert published.read_bytes() == trained.read_bytes()


def write_run(folder, design, seed=0):
    """Write the configuration and the scores of a run of entry max."""
    run = folder / "street" / "max" / "seed-0"
    run.mkdir(parents=True, exist_ok=True)
    (run / "comparison.json").write_text(SCORE)
    (run / "config.toml").write_text(to_toml(read_design(design).config("street", "max", seed)))


def test_scores_of_another_configuration_are_not_shown(design, tmp_path, capsys):
    command = ["beyond", "--design", str(design), "--out", str(tmp_path / "out"), "--only-table"]
    for seed in (0, 1):
        write_run(tmp_path / "out", design, seed)
        assert main(command) == 0
        assert ("| max | 1 |" in capsys.readouterr().out) == (seed == 0)


def test_published_runs_that_are_missing_damaged_or_of_other_data_are_one_line(design, tmp_path, capsys, refused):
    write_run(tmp_path / "theirs", design)
    (tmp_path / "damaged" / "street").mkdir(parents=True)
    (tmp_path / "damaged" / "street" / "scores.json.gz").write_bytes(b"no gzip")
    for folder, recordings in (("theirs", "A"), ("ours", "B")):
        (tmp_path / folder / "street").mkdir(exist_ok=True, parents=True)
        (tmp_path / folder / "street" / "data.json").write_text(f'{{"provenance": "recordings {recordings}"}}')
    command = ["beyond", "--design", str(design), "--only-table", "--out"]
    assert main([*command, str(tmp_path / "theirs")]) == 0
    for published, message in (
        ("none", "no such folder"),
        ("damaged", "scores.json.gz"),
        ("theirs", "other data (recordings A) than yours (recordings B)"),
    ):
        assert message in refused(*command, tmp_path / "ours", "--reuse-results", tmp_path / published)
    assert not (tmp_path / "ours" / "street" / "table.md").exists()
