"""The model card: valid metadata, the run's own figures, limits."""

import json
import re
import shutil

import pytest
from run_factory import NASTY, make_experiment

from crnn_weak.cli import main
from crnn_weak.errors import RunError
from crnn_weak.report.model_card import model_card, write_model_card
from crnn_weak.runs.run import open_run

yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = make_experiment(tmp_path_factory.mktemp("card"), classes=NASTY, settings=((1.0, 0.02),), sound=False)
    return path / "1_0.02" / "seed-0"


def split(card):
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_head_is_yaml_with_the_runs_figures(run_path):
    run = open_run(run_path)
    head, _ = split(model_card(run))
    assert head["license"] == "mit"
    assert "sound-event-detection" in head["tags"]
    assert head["datasets"]
    (entry,) = head["model-index"]
    tagging, detection = entry["results"]
    assert tagging["metrics"][0]["value"] == pytest.approx(run.metrics["tagging"]["f_score"], abs=1e-4)
    rates = [metric["value"] for metric in detection["metrics"] if metric["type"] == "error_rate"]
    assert rates == [pytest.approx(run.metrics["segment"]["error_rate"], abs=1e-4)]


def test_the_body_states_limits_and_escapes_labels(run_path):
    _, body = split(model_card(open_run(run_path)))
    for heading in ("## Use", "## Training", "## Results", "## Limits", "## Citation"):
        assert heading in body
    assert "synthetic sounds only" in body
    assert "<script>" not in body
    assert "| &lt;script&gt;alert(1)&lt;/script&gt; |" in body


def test_a_notebook_shows_the_card_without_its_head(run_path):
    shown = model_card(open_run(run_path))._repr_markdown_()
    assert shown.lstrip().startswith("# crnn")
    assert "model-index" not in shown


def test_no_name_of_the_run_becomes_markup(run_path, tmp_path):
    evil = "x` | <img src=a onerror=b> | `y\n| forged | 1 |\x1b[31m"
    for name in ("config.toml", "history.csv", "scores.h5", "events.tsv", "tags.tsv"):
        shutil.copy(run_path / name, tmp_path)
    metrics = json.loads((run_path / "metrics.json").read_text()) | {"split": evil}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    data = {"classes": [evil, "b", "c"], "provenance": evil, "coverage": {evil: {"n_clips": 1, "n_listed": 1}}}
    (tmp_path / "data.json").write_text(json.dumps(data))
    (tmp_path / "environment.json").write_text(json.dumps({"packages": {evil: evil}}))
    card = model_card(open_run(tmp_path))
    assert "<" not in card
    assert "\x1b" not in card
    assert not [line for line in card.splitlines() if line.startswith("| forged")]
    assert "\\`" in card
    table = [line for line in card.splitlines() if line.startswith("| x")]
    assert len(table) == 1
    assert len(re.findall(r"(?<!\\)\|", table[0])) == 5  # four cells, as in every other row


def test_figures_that_are_undefined_are_left_out(run_path, tmp_path):
    metrics = json.loads((run_path / "metrics.json").read_text())
    metrics["segment"] = None
    metrics["tagging"]["precision"] = None
    for name in ("config.toml", "history.csv", "scores.h5"):
        (tmp_path / name).write_bytes((run_path / name).read_bytes())
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    head, body = split(model_card(open_run(tmp_path)))
    (only,) = head["model-index"][0]["results"]
    assert [metric["type"] for metric in only["metrics"]] == ["f1", "recall"]
    assert "nan" not in body.lower().replace("finance", "")


def test_the_card_lies_beside_the_model_or_where_asked(run_path, tmp_path, capsys):
    assert write_model_card(open_run(run_path)) == run_path / "model-card.md"
    assert main(["-q", "report", str(run_path), "--model-card", str(tmp_path / "a" / "card.md")]) == 0
    assert (tmp_path / "a" / "card.md").read_text() == (run_path / "model-card.md").read_text()


def test_an_unfinished_run_has_no_card(run_path, tmp_path):
    (tmp_path / "config.toml").write_bytes((run_path / "config.toml").read_bytes())
    with pytest.raises(RunError, match="not finished"):
        model_card(open_run(tmp_path, unfinished=True))
