"""The model card: valid metadata, the run's own metrics, limits."""

import json
import re
import shutil

import pytest
from run_factory import NASTY, make_experiment

from crnn_weak.cli import main
from crnn_weak.errors import RunError
from crnn_weak.report.model_card import model_card
from crnn_weak.runs.run import open_run

yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = make_experiment(tmp_path_factory.mktemp("card"), classes=NASTY, settings=((1.0, 0.02),), sound=False)
    return path / "1_0.02" / "seed-0"


@pytest.fixture
def copy(run_path, tmp_path):
    return shutil.copytree(run_path, tmp_path / "copy")


def split(card):
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_head_is_yaml_with_the_runs_metrics(run_path):
    run = open_run(run_path)
    head, _ = split(model_card(run))
    assert head["license"] == "mit"
    assert "sound-event-detection" in head["tags"]
    tagging, detection = head["model-index"][0]["results"]
    values = {metric["type"]: metric["value"] for metric in tagging["metrics"]}
    assert values["f1"] == pytest.approx(run.metrics["tagging"]["f_score"], abs=1e-4)
    values = {metric["type"]: metric["value"] for metric in detection["metrics"]}
    assert values["error_rate"] == pytest.approx(run.metrics["segment"]["error_rate"], abs=1e-4)


def test_the_body_states_facts_and_limits_and_escapes_labels(run_path):
    _, body = split(model_card(open_run(run_path)))
    for heading in ("## Use", "## Model and training", "## Results", "## Limits", "## Citation"):
        assert heading in body
    assert "loss weights: strong 1, weak 0.02" in body
    assert "bidirectional GRUs of 4, 4 units" in body
    assert "synthetic sounds only" in body
    assert "<script>" not in body
    assert "| &lt;script&gt;alert(1)&lt;/script&gt; |" in body


def test_no_name_of_the_run_becomes_markup(copy):
    evil = "x` | <img src=a onerror=b> | `y\n| forged | 1 |\x1b[31m"
    metrics = json.loads((copy / "metrics.json").read_text()) | {"split": evil}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    data = {"classes": [evil, "b", "c"], "provenance": evil, "coverage": {evil: {"n_clips": 1, "n_listed": 1}}}
    (copy / "data.json").write_text(json.dumps(data))
    (copy / "environment.json").write_text(json.dumps({"packages": {evil: evil}}))
    card = model_card(open_run(copy))
    assert "<" not in card
    assert "\x1b" not in card
    assert not [line for line in card.splitlines() if line.startswith("| forged")]
    assert "\\`" in card
    table = [line for line in card.splitlines() if line.startswith(("| class", "| x"))]
    head, row = (len(re.findall(r"(?<!\\)\|", line)) for line in table)
    assert head == row  # as many cells as in the head


def test_undefined_metrics_are_omitted(copy):
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["segment"] = None
    metrics["tagging"]["precision"] = None
    (copy / "metrics.json").write_text(json.dumps(metrics))
    head, body = split(model_card(open_run(copy)))
    (only,) = head["model-index"][0]["results"]
    assert [metric["type"] for metric in only["metrics"]] == ["recall", "f1"]
    assert "nan" not in body.lower()


def test_the_command_writes_the_card_of_a_finished_run(run_path, tmp_path):
    card = tmp_path / "a" / "card.md"
    assert main(["-q", "report", str(run_path), "--model-card", str(card)]) == 0
    assert card.read_text() == model_card(open_run(run_path))
    shutil.copy(run_path / "config.toml", tmp_path)
    with pytest.raises(RunError, match="not finished"):
        model_card(open_run(tmp_path, unfinished=True))
