"""Tuning a run on its validation clips, and what evaluating it says before and after."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import TINY, make_store

from crnn_weak import config as configuration
from crnn_weak.cli import main
from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.postprocessing import OperatingPoint, StoredPoint
from crnn_weak.detection.scores import Scores, save_scores
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.rolls import event_roll

NO_TAGS = {"precision": None, "recall": None, "f_score": None, "class_wise": {}}
WITHIN_CLIP = {"auc": 0.75, "low": 0.5, "high": None, "n_pairs": 3, "class_wise": {}}
CLASSES = ("bell", "drill", "rain")
ONE_CLASS = OperatingPoint.from_config(OperatingPointConfig(), CLASSES[:1])


def save_scores_of(store, rows, path, seed):
    """Save scores that are right, but too low for a threshold of 0.5, and noisy."""
    clip_ids = tuple(store.clip_ids[row] for row in rows)
    options = {"hop_seconds": 0.1, "n_frames": TINY.n_frames}
    rolls = np.stack([event_roll(store.events[clip], CLASSES, **options) for clip in clip_ids])
    strong = 0.1 + 0.25 * rolls + np.random.default_rng(seed).uniform(-0.08, 0.08, rolls.shape)
    strong = strong.astype(np.float32)
    save_scores(path, Scores(clip_ids, CLASSES, 0.1, strong, strong.max(axis=1)))


@pytest.fixture
def run_folder(tmp_path):
    """A run as training leaves it, without its model; stores beside it."""
    folder = tmp_path / "run"
    folder.mkdir()
    config = configuration.preset("quick")
    config = dataclasses.replace(config, features=TINY, model=dataclasses.replace(config.model, pools=(2, 2, 2)))
    (folder / "config.toml").write_text(configuration.to_toml(config))
    with make_store(tmp_path, 30, name="train.h5") as store:
        save_scores_of(store, range(3, 30, 2), folder / "validation_scores.h5", seed=1)
    with make_store(tmp_path, 20, name="test.h5", split="test", seed=5) as store:
        save_scores_of(store, range(20), folder / "scores.h5", seed=2)
    (folder / "data.json").write_text(json.dumps({"train_store": "../train.h5", "test_store": "../test.h5"}))
    metrics = {"n_clips": 20, "n_listed": 20, "tagging": NO_TAGS, "within_clip": WITHIN_CLIP, "loudness": WITHIN_CLIP}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def evaluated(capsys, folder, *options):
    code, out, err = run(capsys, "evaluate", folder, "--format", "json", *options)
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    ("metric", "figure", "per_class"),
    [("segment_f1", "f_score", False), ("segment_f1", "f_score", True), ("error_rate", "error_rate", False)],
)
def test_tuning_for_segments(capsys, monkeypatch, run_folder, metric, figure, per_class):
    before = evaluated(capsys, run_folder)["segment"]
    assert (before["f_score"], before["error_rate"]) == (0.0, 1.0)
    monkeypatch.setattr("crnn_weak.commands.tune._FEW_CLIPS", 12)
    code, out, err = run(capsys, "tune", run_folder, "--metric", metric, *["--per-class"] * per_class)
    assert code == 0
    assert ("fewer than 12 validation clips" in err) == per_class
    assert "14 validation clips" in out
    after = evaluated(capsys, run_folder)["segment"]
    assert after[figure] == pytest.approx(1.0 if figure == "f_score" else 0.0, abs=0.05)
    assert evaluated(capsys, run_folder, "--operating-point", "configured")["segment"] == before


def test_tuning_for_tags_and_events_keep_each_other(capsys, run_folder):
    assert run(capsys, "tune", run_folder, "--metric", "tagging_f1", "--min-tags", "0")[0] == 0  # some clips are empty
    tags = json.loads((run_folder / "operating_point.json").read_text())["operating_point"]["tag_thresholds"]
    assert run(capsys, "tune", run_folder, "--metric", "event_f1", "--median", "0", "0.3")[0] == 0
    content = json.loads((run_folder / "operating_point.json").read_text())
    assert content["operating_point"]["tag_thresholds"] == tags
    assert set(content["tuned"]) == {"tagging_f1", "event_f1"}
    assert content["tuned"]["event_f1"]["after"] >= content["tuned"]["event_f1"]["before"]
    assert OperatingPoint.from_dict(content["operating_point"]).classes == CLASSES
    after = evaluated(capsys, run_folder, "--bootstrap", "20")
    assert after["tagging"]["f_score"] > 0.95
    assert after["header"]["operating point"].endswith("(tuned on validation clips for tagging_f1, event_f1)")
    low, high = (after["tagging"]["intervals"]["overall"]["f_score"][end] for end in ("low", "high"))
    assert low <= after["tagging"]["f_score"] <= high


def test_a_choice_with_its_filters_is_stored_and_replaced_only_when_asked(capsys, refused, run_folder):
    path, again = run_folder / "operating_point.json", ["tune", run_folder, "--metric", "error_rate"]
    options = ["--low-threshold", "0.15", "--weak-gate", "--min-gap", "0.2", "--min-tags", "0"]
    assert run(capsys, "tune", run_folder, "--metric", "segment_f1", *options)[0] == 0
    before = path.read_text()
    point = json.loads(before)["operating_point"]
    assert (point["weak_gate"], point["min_tags"], point["min_gap_seconds"]) == (True, 0, [0.2, 0.2, 0.2])
    assert "at least one tag" not in evaluated(capsys, run_folder)["header"]["operating point"]
    configured = evaluated(capsys, run_folder, "--operating-point", "configured")
    assert "at least one tag per clip" in configured["header"]["operating point"]
    assert configured["tagging"]["tags_per_clip"] >= 1
    with FeatureStore(run_folder.parent / "test.h5", TINY) as store:
        n_untagged = int((~store.tags.any(axis=1)).sum())
    assert any(note.startswith(f"clips without a true tag: {n_untagged};") for note in configured["notes"])
    assert "expected 0 or 1" in refused(*again, "--overwrite", "--min-tags", "2")
    assert all(low == min(0.15, high) for low, high in zip(point["low_thresholds"], point["thresholds"], strict=True))
    assert "--overwrite" in refused(*again)
    assert path.read_text() == before
    assert run(capsys, *again, "--overwrite", "--candidates", "9")[0] == 0
    stored = StoredPoint.read(path, CLASSES)
    assert (set(stored.tuned), stored.operating_point.weak_gate) == ({"error_rate"}, True)
    assert stored.tuned["error_rate"].n_choices == 9


def test_threshold_free_figures(capsys, run_folder, monkeypatch):
    found = evaluated(capsys, run_folder, "--threshold-free")
    assert found["average_precision"]["segments of 1 s (strong output)"]["mean"] == pytest.approx(1.0, abs=0.01)
    assert found["roc_auc"]["clips (maximum of the strong output)"]["mean"] == pytest.approx(1.0, abs=0.01)
    assert found["within_clip"] == found["loudness"] == WITHIN_CLIP
    assert "0.750 [0.500, -] of the frames' loudness" in run(capsys, "evaluate", run_folder)[1]
    assert "\nloudness,,auc,0.75,0.5,\n" in run(capsys, "evaluate", run_folder, "--format", "csv")[1]
    values = [found["controls"][title]["segment/f_score"] for title in ("estimate", "rotated", "timing gain")]
    assert values[2] == pytest.approx(values[0] - values[1])
    if "psds" in found:  # the optional extra is installed
        assert found["psds"]["psds1"] > 0.8
    monkeypatch.setitem(sys.modules, "sed_scores_eval", None)
    code, out, err = run(capsys, "evaluate", run_folder, "--threshold-free")
    assert (code, "average precision" in out) == (0, True)
    assert "pip install 'crnn-weak[psds]'" in err


def test_detection_is_tuned_and_measured_on_the_clips_whose_events_are_known(capsys, run_folder, tmp_path):
    make_store(tmp_path, 30, name="train.h5", with_events=20).close()
    make_store(tmp_path, 20, name="test.h5", split="test", seed=5, with_events=12).close()
    code, out, _ = run(capsys, "tune", run_folder, "--metric", "segment_f1")
    assert (code, "9 validation clips whose events are known" in out) == (0, True)
    found = evaluated(capsys, run_folder)
    assert "detection on the 12 of 20 clips whose events are known" in found["notes"]
    assert found["segment"]["f_score"] > 0.95


def test_clips_without_strong_labels(capsys, refused, run_folder, tmp_path):
    make_store(tmp_path, 30, name="train.h5", with_events=False).close()
    make_store(tmp_path, 20, name="test.h5", split="test", seed=5, with_events=False).close()
    assert "tagging_f1 needs tags only" in refused("tune", run_folder, "--metric", "segment_f1")
    assert run(capsys, "tune", run_folder, "--metric", "tagging_f1")[0] == 0
    found = evaluated(capsys, run_folder, "--threshold-free")
    assert "segment" not in found
    assert "no strong labels" in found["notes"][0]
    assert list(found["average_precision"]) == ["clips (weak output)", "clips (maximum of the strong output)"]
    assert "controls" not in found


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("tune {run} --metric segment_f", "Did you mean 'segment_f1'"),
        ("tune {run} --metric error_rate --per-class", "one threshold for all classes"),
        ("tune {run} --metric error_rate --candidates 0", "--candidates 0: expected"),
        ("tune {run}x --metric segment_f1", "no such run folder"),
        ("evaluate {run} --operating-point tuned", "cannot be read"),
        ("evaluate {run} --operating-point {run}/data.json", "crnn-weak tune"),
    ],
)
def test_wrong_arguments_give_one_line(refused, run_folder, command, message):
    assert message in refused(*command.format(run=run_folder).split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated"),
        ("[" * 100_000, "Expected"),
        ('{"operating_point": {"classes": ["bell"]}}', "missing required field `thresholds`"),
        (json.dumps({"operating_point": ONE_CLASS.to_dict()}), "for 1 classes"),
    ],
)
def test_a_damaged_operating_point_is_one_line(refused, run_folder, text, message):
    (run_folder / "operating_point.json").write_text(text)
    for command in (["evaluate", run_folder], ["tune", run_folder, "--metric", "tagging_f1"]):
        err = refused(*command)
        assert message in err
        assert "operating_point.json" in err


def test_two_processes_that_tune_one_run_keep_each_others_choices(run_folder):
    command = [sys.executable, "-m", "crnn_weak", "tune", str(run_folder), "--metric"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    for process in [subprocess.Popen([*command, metric], **pipes) for metric in ("tagging_f1", "segment_f1")]:
        _, err = process.communicate()
        assert process.returncode == 0, err
    stored = StoredPoint.read(run_folder / "operating_point.json", CLASSES)
    assert set(stored.tuned) == {"tagging_f1", "segment_f1"}
    assert stored.operating_point.tag_thresholds != (0.5,) * 3
    assert stored.operating_point.thresholds != (0.5,) * 3
