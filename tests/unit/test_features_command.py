"""``crnn-weak features``."""

import json

import numpy as np
import pytest
from helpers import TINY, ListDataset

from crnn_weak.audio import write_audio
from crnn_weak.cli import main
from crnn_weak.data.base import Clip
from crnn_weak.features.store import FeatureStore

SETTINGS = [
    f"--set=features.{name}={json.dumps(getattr(TINY, name))}"
    for name in ("clip_seconds", "sample_rate_hz", "window_seconds", "hop_seconds", "n_fft", "n_mels", "fmax_hz")
]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Three clips, one of them missing, as the data set that any source opens."""
    clips = []
    for index in range(3):
        path = tmp_path / f"{index}.wav"
        if index != 1:
            write_audio(path, np.random.default_rng(index).standard_normal(16_000) / 10, TINY.sample_rate_hz)
        clips.append(Clip(f"-{index}", "train", path, ("bell",)))
    seen = {}

    def open_dataset(config, cache, *, jobs, progress):
        seen.update(source=config.data.source, jobs=jobs, progress=progress)
        return ListDataset(clips)

    monkeypatch.setattr("crnn_weak.data.base.open_dataset", open_dataset)
    return seen


def test_build_and_info(opened, tmp_path, capsys):
    out = str(tmp_path / "train.h5")
    command = ["features", "build", *SETTINGS, "--data", "folder", "--out", out, "--jobs", "1"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "2 of 3 clips (2 ok, 1 missing)" in shown.out
    assert "\r" not in shown.err  # no bar where stderr is no terminal
    assert opened == {"source": "folder", "jobs": 1, "progress": False}
    assert len(FeatureStore(out, TINY)) == 2

    assert main(["features", "info", out]) == 0
    shown = capsys.readouterr().out
    assert "20 frames x 8 bands" in shown
    assert "skipped    -1: missing (no file 1.wav)" in shown
    assert "      2  bell" in shown

    assert main(command) == 0  # exists, and is kept
    assert main([*command, "--set", "features.n_mels=10"]) == 2
    assert "n_mels 8 (expected 10)" in capsys.readouterr().err
    assert main([*command, "--set", "features.n_mels=10", "--overwrite"]) == 0


def test_errors_are_one_line_and_2(opened, tmp_path, capsys):
    out = str(tmp_path / "train.h5")
    for command, message in [
        (["info", __file__], "damaged, or no HDF5 file"),
        (["build", *SETTINGS, "--out", out, "--split", "test"], "lists no clips"),
        (["build", "--set", "features.n_mel=3", "--out", out], "Did you mean 'n_mels'"),
        (["build", "--config", "none.toml", "--out", out], "none.toml: cannot be read"),
    ]:
        assert main(["features", *command]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "train.h5").exists()
