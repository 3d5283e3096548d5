"""The starter model is made by one command, says what it is, and detects."""

import numpy as np
import pytest
from starter_model import main

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


def test_a_run_that_is_not_there(tmp_path, capsys):
    assert main(["--run", str(tmp_path / "nowhere"), "--out", str(tmp_path / "a.keras")]) == 2
    assert "nowhere" in capsys.readouterr().err
