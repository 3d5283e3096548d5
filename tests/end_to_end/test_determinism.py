"""The same seed in two processes: with ``training.deterministic`` the weights are the same to the last bit."""

import subprocess
import sys

import pytest
from helpers import make_store, small_config

from crnn_weak.config import to_toml

SCRIPT = """
import hashlib, sys
from pathlib import Path
from crnn_weak.config import load_config
from crnn_weak.runs.folders import Run
from crnn_weak.runs.train import train_and_score
folder, name = Path(sys.argv[1]), sys.argv[2]
store = str(folder / "features.h5")
data = {"train_store": store, "test_store": store}
train_and_score(Run(folder / name, load_config(folder / "config.toml"), data, folder))
from crnn_weak.model.archive import load_model
weights = load_model(folder / name / "last.keras")[0].get_weights()
print(hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_give_the_same_weights_to_the_last_bit(tmp_path):
    make_store(tmp_path, 24).close()
    (tmp_path / "config.toml").write_text(to_toml(small_config(epochs=2, deterministic=True)))
    digests = set()
    for name in ("first", "second"):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "oneDNN custom operations" not in done.stderr  # the environment was prepared before TensorFlow's import
        digests.add(done.stdout.split()[-1])
    assert len(digests) == 1
    scores = [(tmp_path / name / "metrics.json").read_text() for name in ("first", "second")]
    assert scores[0] == scores[1]
