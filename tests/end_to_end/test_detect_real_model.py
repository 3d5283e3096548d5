"""A model file from Keras, loaded and used on a recording; damaged files; the bundled model."""

import shutil

import numpy as np
import pytest
import soundfile
from detection_fakes import CLASSES, FEATURES, RATE, bursts

import crnn_weak
from crnn_weak.bundled import EVERYDAY_TERMS
from crnn_weak.cli import main
from crnn_weak.config import Config, ModelConfig, TrainingConfig
from crnn_weak.detection.postprocessing import OperatingPoint, StoredPoint
from crnn_weak.errors import ModelFileError, RunError
from crnn_weak.labels.reading import read_events

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
    for name, says in (("text.keras", r"text\.keras"), ("gone.keras", "no such model")):
        with pytest.raises(ModelFileError, match=says):
            crnn_weak.load(tmp_path / name)
    with pytest.raises(RunError, match=r"Did you mean .*first"):
        crnn_weak.load(run_folder.parent)


def test_the_bundled_model_hears_the_same_where_the_recording_is_cut_between_windows(real_events):
    # A minute of real recordings and the real network: scores and events in the interior of what is cut from it.
    paths = sorted((real_events / "audio").rglob("*.ogg"))[:400:20]
    audio = np.concatenate([soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1) for path in paths])
    everyday = crnn_weak.load()
    # At the model's own rate and by whole steps of the windows, so that a cut leaves frames and windows as they are.
    rate, n_hop, margin = everyday.features.sample_rate_hz, everyday.features.n_hop, everyday.features.n_frames
    audio = audio[: 60 * rate]
    whole = everyday.scores((audio, rate)).strong[0]
    for first in (19 * everyday.windows.n_hop, 68 * everyday.windows.n_hop):
        piece = everyday.scores((audio[first * n_hop :], rate)).strong[0]
        np.testing.assert_allclose(piece[margin:-margin], whole[first + margin : -margin], atol=1e-3)


@pytest.mark.parametrize(("name", "n_classes"), [(None, 8), ("everyday", 17)])
def test_the_bundled_models_find_the_events_of_the_bundled_recording(name, n_classes):
    detector, recording = crnn_weak.load(name), crnn_weak.example()
    reference = read_events(recording.with_suffix(".tsv"))
    estimated = {name: detector.detect(recording) for name in reference}
    assert crnn_weak.segment_metrics(reference, estimated, classes=detector.classes, clip_seconds=None).f_score > 0.5
    assert len(detector.classes) == n_classes
    assert (EVERYDAY_TERMS in detector.provenance["trained_on"]) == (name == "everyday")
    assert all(path.stat().st_size < 1e6 for path in recording.parent.iterdir())


def test_training_starts_from_the_bundled_model_by_its_name(refused):
    assert "everyday.keras: trained with other features" in refused("train", "--from", "everyday")
