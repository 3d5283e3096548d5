"""The starter model is made by one command, says what it is, and detects."""

from pathlib import Path

import numpy as np
import pytest
from starter_model import main
from starter_on_recordings import Row, is_usable

import crnn_weak


@pytest.mark.slow
def test_made_by_one_command(tmp_path, capsys):
    out = tmp_path / "starter.keras"
    small = [
        "data.n_train=40", "data.n_test=5", "training.epochs=1", "training.validation_fraction=0.4",
        "model.n_filters=4", "model.gru_units=[4, 4]", "model.dense_units=4",
    ]  # fmt: skip
    options = [text for setting in small for text in ("--set", setting)]
    where = ["--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache"), "--jobs", "1"]
    assert main([*where, *options, "--out", str(out)]) == 0
    assert "trained on synthetic street scenes, not on real recordings; for trying the tool only" in (
        capsys.readouterr().out
    )
    found = crnn_weak.load(out)
    assert found.provenance["trained_on"].endswith("for trying the tool only")
    assert set(found.provenance["tuned_on_validation"]) == {"tagging_f1", "segment_f1", "event_f1"}
    found.detect((0.1 * np.random.default_rng(0).standard_normal(50_000), 16_000))
    assert main([*where, *options, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    # A finished run is taken as it is.
    assert main(["--run", str(tmp_path / "runs" / "street-quick"), "--out", str(tmp_path / "again.keras")]) == 0
    assert (tmp_path / "again.keras").is_file()


def test_the_card_lists_the_classes_that_are_on():
    card = (Path(__file__).resolve().parents[2] / "docs" / "starter-model.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.endswith(("| yes |", "| no |"))]
    detector = crnn_weak.load()
    assert [row[0] for row in rows] == list(detector.classes)
    assert [row[0] for row in rows if row[-1] == "yes"] == list(detector.default_classes)


def test_a_class_that_is_off_is_detected_if_it_is_named():
    from crnn_weak.synthesis.scene import draw_scene, render

    detector = crnn_weak.load()
    recording = (render(draw_scene(7, "test", 5), 16_000), 16_000)  # a train and its horn
    assert "Train" not in detector.default_classes
    assert {event.label for event in detector.detect(recording)} == {"Train horn"}
    assert {event.label for event in detector.detect(recording, classes=["Train"])} == {"Train"}


@pytest.mark.parametrize(
    ("row", "usable"),
    [
        (Row("Siren", 10, 5, 100, 1, 0.9), True),
        (Row("Siren", 10, 5, 100, 6, 0.9), False),  # too many false alarms
        (Row("Siren", 50, 3, 100, 4, 0.9), False),  # hits no more likely than false alarms
        (Row("Siren", 10, 5, 100, 1, 0.5), False),  # scores in random order
        (Row("Train", 0, 0, 100, 2, None), True),
        (Row("Train", 0, 0, 100, 3, None), False),
    ],
)
def test_a_class_is_on_if_the_recordings_support_it(row, usable):
    assert is_usable(row) is usable
