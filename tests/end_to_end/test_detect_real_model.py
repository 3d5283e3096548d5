"""A model file from Keras, loaded and used on a recording; damaged files; the starter model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from detection_fakes import CLASSES, FEATURES, RATE, bursts
from starter_model import main as make_starter
from starter_on_recordings import Row, is_usable

import crnn_weak
from crnn_weak.cli import main
from crnn_weak.config import Config, ModelConfig, TrainingConfig
from crnn_weak.detection.postprocessing import OperatingPoint, StoredPoint
from crnn_weak.errors import LabelError, ModelFileError, RunError

AUDIO = bursts(33.0)


def assert_equal_but_for_rounding(one, other):
    """Scores are values of float16: a difference in float32's last bits may round to the neighbor, and rarely does."""
    assert np.all(np.abs(one - other) <= np.spacing(np.maximum(one, other).astype(np.float16)))
    assert np.mean(one != other) < 0.01


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("runs") / "first", {"trained_on": "nothing"})


def save_run(folder, provenance):
    from crnn_weak.features.log_mel import Scaler
    from crnn_weak.model.archive import ModelMetadata, save_model
    from crnn_weak.model.crnn import build_model

    config = Config(
        features=FEATURES,
        model=ModelConfig(n_filters=4, pools=(2, 2, 2), gru_units=(4, 4), dense_units=4),
        training=TrainingConfig(batch_size=4),
    )
    point = OperatingPoint.from_config(config.operating_point, CLASSES).replace(thresholds=(0.45, 0.55))
    scaler = Scaler(np.full(20, -5.3, np.float32), np.full(20, 1.5, np.float32))
    folder.mkdir()
    metadata = ModelMetadata(CLASSES, config, scaler, point.to_dict(), provenance)
    save_model(build_model(config, n_classes=2), folder / "best.keras", metadata)
    return folder


def test_a_run_folder_and_its_file_are_one_model_whatever_the_batch(run_folder):
    one = crnn_weak.load(run_folder, batch_size=1)
    assert (one.classes, one.operating_point.thresholds) == (CLASSES, (0.45, 0.55))
    scores = one.scores((AUDIO, RATE))
    assert scores.strong.shape == (1, 660, 2)
    many = crnn_weak.load(run_folder / "best.keras", batch_size=32).scores((AUDIO, RATE))
    assert_equal_but_for_rounding(many.strong, scores.strong)


def test_a_tuned_operating_point_is_used_by_default_by_the_command_too(run_folder, tmp_path, capsys):
    folder = tmp_path / "tuned"
    shutil.copytree(run_folder, folder)
    tuned = crnn_weak.load(folder).operating_point.replace(thresholds=(0.2, 0.3))
    StoredPoint(operating_point=tuned).write(folder / "operating_point.json")
    assert crnn_weak.load(folder).operating_point == crnn_weak.load(folder / "best.keras").operating_point == tuned
    soundfile.write(tmp_path / "street.wav", bursts(9.0), RATE)
    assert main(["detect", str(tmp_path / "street.wav"), "--model", str(folder), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("filename,onset,offset,event_label,score")
    assert "(nothing)" in err
    assert "threshold 0.2 to 0.3 by class" in err


def test_damaged_or_missing_models_are_one_clear_line(run_folder, tmp_path):
    (tmp_path / "text.keras").write_text("no")
    with pytest.raises(ModelFileError, match=r"text\.keras"):
        crnn_weak.load(tmp_path / "text.keras")
    with pytest.raises(ModelFileError, match="no such model"):
        crnn_weak.load(tmp_path / "gone.keras")
    with pytest.raises(RunError, match=r"Did you mean .*first"):
        crnn_weak.load(run_folder.parent)
    folder = save_run(tmp_path / "other", {"default_classes": ["Middle"]})
    with pytest.raises(LabelError, match="default_classes"):
        crnn_weak.load(folder)


def test_the_starter_model_hears_the_same_wherever_the_recording_is_cut(real_events):
    # A minute of real recordings and the real network: scores and events in the interior of what is cut from it.
    paths = sorted((real_events / "audio").rglob("*.ogg"))[:400:20]
    audio = np.concatenate([soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1) for path in paths])
    starter = crnn_weak.load()
    # At the model's own rate, so that a cut on a frame's edge leaves the frames as they are.
    rate, n_hop, margin = starter.features.sample_rate_hz, starter.features.n_hop, starter.features.n_frames
    audio = audio[: 60 * rate]
    whole = starter.scores((audio, rate)).strong[0]
    for first in (57, 204):
        piece = starter.scores((audio[first * n_hop :], rate)).strong[0]
        np.testing.assert_allclose(piece[margin:-margin], whole[first + margin : -margin], atol=1e-3)


@pytest.mark.slow
def test_made_by_one_command(tmp_path, capsys):
    out = tmp_path / "starter.keras"
    small = [
        "data.n_train=40", "data.n_test=5", "training.epochs=1", "training.validation_fraction=0.4",
        "model.n_filters=4", "model.gru_units=[4, 4]", "model.dense_units=4",
    ]  # fmt: skip
    options = [text for setting in small for text in ("--set", setting)]
    where = ["--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache"), "--jobs", "1"]
    assert make_starter([*where, *options, "--out", str(out)]) == 0
    assert "trained on synthetic street scenes, not on real recordings; for trying the tool only" in (
        capsys.readouterr().out
    )
    found = crnn_weak.load(out)
    assert found.provenance["trained_on"].endswith("for trying the tool only")
    assert set(found.provenance["tuned_on_validation"]) == {"tagging_f1", "segment_f1", "event_f1"}
    found.detect((0.1 * np.random.default_rng(0).standard_normal(50_000), 16_000))
    assert make_starter([*where, *options, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    # A finished run is taken as it is.
    assert make_starter(["--run", str(tmp_path / "runs" / "street-quick"), "--out", str(tmp_path / "again.keras")]) == 0
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
