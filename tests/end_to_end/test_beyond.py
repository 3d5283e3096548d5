"""A small design from clips to table: a teacher's pupil, a fine-tuned model, a curve; run twice, then known."""

import pytest

from crnn_weak.experiments.beyond import main

DESIGN = """
curves = [["paper"]]

[data.street]
preset = "quick"
model = { n_filters = 2, gru_units = [3], dense_units = 4 }
training = { epochs = 1, batch_size = 8, validation_fraction = 0.3 }
data = { source = "street", n_train = 24, n_test = 8 }

[data.elsewhere]
models = "street"
data = { seed = 5, n_train = 8 }

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


SCORE = (
    '{"counts": {"tagging": [[1, 1, 1]]}, "untuned": {"tagging": 1.0}, "thresholds": {"tagging": 0.5}, '
    '"gates": {}, "low_thresholds": {}, "psds": {}, "protocol": 2}'
)


@pytest.mark.slow
def test_a_design_is_run_compared_and_resumed(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN)
    command = ["--design", str(tmp_path / "design.toml"), "--cache", str(tmp_path / "cache"), "--jobs", "1"]
    first = [*command, "--out", str(tmp_path / "out")]
    assert main(first) == 0
    shown = capsys.readouterr().out
    for name in ("paper", "max", "taught", "tuned"):
        assert shown.count(f"| {name} | 1 |") == 2
    assert main(first) == 0
    again = capsys.readouterr()
    assert "0 of 2 runs of paper, max to do" in again.err
    assert again.out == shown
    for name in ("figure.png", "max/seed-0/best.keras"):
        assert (tmp_path / "out" / "street" / name).exists()
    assert main([*command, "--out", str(tmp_path / "other"), "--known", str(tmp_path / "out")]) == 0
    assert "0 of 2 runs of taught, tuned to do" in capsys.readouterr().err
    for name in ("street/table.md", "street/results.csv", "street/scores.json.gz", "elsewhere/results.csv"):
        known, trained = (tmp_path / folder / name for folder in ("other", "out"))
        assert known.read_bytes() == trained.read_bytes()
    assert not list((tmp_path / "other" / "elsewhere" / "max").glob("*/*")), "known scores were computed again"


def test_scores_of_another_configuration_are_not_shown(tmp_path, capsys):
    from crnn_weak.config import to_toml
    from crnn_weak.runs.design import config_of, read_design

    (tmp_path / "design.toml").write_text(DESIGN)
    design = read_design(tmp_path / "design.toml")
    run = tmp_path / "out" / "elsewhere" / "max" / "seed-0"
    run.mkdir(parents=True)
    (run / "comparison.json").write_text(SCORE)
    command = ["--design", str(tmp_path / "design.toml"), "--out", str(tmp_path / "out"), "--only-table"]
    for data, is_shown in (("elsewhere", True), ("street", False)):
        (run / "config.toml").write_text(to_toml(config_of(design, data, "max", 0)))
        assert main(command) == 0
        assert ("| max | 1 |" in capsys.readouterr().out) == is_shown


def test_a_missing_folder_of_known_runs_is_one_line(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN)
    assert main(["--design", str(tmp_path / "design.toml"), "--known", str(tmp_path / "none"), "--only-table"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_damaged_scores_are_one_line(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN)
    (tmp_path / "street").mkdir()
    (tmp_path / "street" / "scores.json.gz").write_bytes(b"no gzip")
    assert main(["--design", str(tmp_path / "design.toml"), "--known", str(tmp_path), "--only-table"]) == 2
    assert "scores.json.gz" in capsys.readouterr().err


def test_known_runs_of_other_data_are_refused(tmp_path, capsys):
    from crnn_weak.config import to_toml
    from crnn_weak.runs.design import config_of, read_design

    (tmp_path / "design.toml").write_text(DESIGN)
    run = tmp_path / "theirs" / "street" / "max" / "seed-0"
    run.mkdir(parents=True)
    (run / "comparison.json").write_text(SCORE)
    (run / "config.toml").write_text(to_toml(config_of(read_design(tmp_path / "design.toml"), "street", "max", 0)))
    for folder, recordings in (("theirs", "A"), ("ours", "B")):
        (tmp_path / folder / "street").mkdir(exist_ok=True, parents=True)
        (tmp_path / folder / "street" / "data.json").write_text(f'{{"provenance": "recordings {recordings}"}}')
    command = ["--design", str(tmp_path / "design.toml"), "--only-table", "--out"]
    assert main([*command, str(tmp_path / "theirs")]) == 0
    capsys.readouterr()
    assert main([*command, str(tmp_path / "ours"), "--known", str(tmp_path / "theirs")]) == 2
    message = capsys.readouterr().err
    assert "other data (recordings A) than yours (recordings B)" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "ours" / "street" / "table.md").exists()


def test_models_of_unknown_data_are_one_line(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN.replace('models = "street"', 'models = "steet"'))
    assert main(["--design", str(tmp_path / "design.toml"), "--only-table"]) == 2
    assert "data.elsewhere.models = 'steet' is not known" in capsys.readouterr().err


def test_a_curve_of_unknown_entries_is_one_line(tmp_path, capsys):
    (tmp_path / "design.toml").write_text(DESIGN.replace('["paper"]', '["papre"]'))
    assert main(["--design", str(tmp_path / "design.toml"), "--only-table"]) == 2
    assert "'papre' is not known" in capsys.readouterr().err
