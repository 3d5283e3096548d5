"""Training in processes of its own: under the other Keras backends, and twice to the same last bit."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import make_store, small_config

from crnn_weak.config import AugmentationConfig, TargetConfig, to_toml
from crnn_weak.model.archive import load_model, save_model
from crnn_weak.model.crnn import build_model
from crnn_weak.model.heads import WEAK_HEADS
from crnn_weak.training.fit import train

CONFIG = small_config(epochs=2, batch_size=8)
#: A masked loss with weights of clips, averaged weights, a falling rate for each block, frozen layers.
BEYOND = dataclasses.replace(
    small_config(
        epochs=2, batch_size=8, schedule="cosine", loss_weighting="learned", ema_momentum=0.9, layerwise_lr_decay=0.5,
        freeze=("conv_1",),
    ),
    targets=TargetConfig(strong="high_energy"),
    augmentation=AugmentationConfig(mixup=0.3, time_shift=True),
)  # fmt: skip

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from crnn_weak.config import load_config
from crnn_weak.features.store import FeatureStore
from crnn_weak.model.archive import load_model
from crnn_weak.training.fit import train
import keras
folder, backend = Path(sys.argv[1]), sys.argv[2]
assert keras.backend.backend() == backend
model, metadata = load_model(folder / "here" / "best.keras")
np.save(folder / "scores.npy", np.asarray(model.predict_on_batch(np.load(folder / "log_mel.npy"))["strong"]))
heads = {path.stem: load_model(path)[0] for path in sorted(folder.glob("heads/*.keras"))}
log_mel = np.load(folder / "log_mel.npy")
weak = {head: np.asarray(model.predict_on_batch(log_mel)["weak"]) for head, model in heads.items()}
np.savez(folder / "weak.npz", **weak)
with FeatureStore(folder / "features.h5") as store:
    train(load_config(folder / "config.toml"), store, folder / "there")
    train(load_config(folder / "beyond.toml"), store, folder / "beyond")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_loads_the_model_and_trains(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (tmp_path / "config.toml").write_text(to_toml(CONFIG))
    (tmp_path / "beyond.toml").write_text(to_toml(BEYOND))
    (tmp_path / "heads").mkdir()
    with make_store(tmp_path, 24) as store:
        best = train(CONFIG, store, tmp_path / "here")
        log_mel = store.read(np.arange(8))
    np.save(tmp_path / "log_mel.npy", log_mel)
    model, metadata = load_model(best)
    wanted = model.predict_on_batch(log_mel)["strong"]
    weak = {}
    for head in WEAK_HEADS:
        with_head = build_model(CONFIG, head=head, n_classes=3)
        save_model(with_head, tmp_path / "heads" / f"{head}.keras", metadata)
        weak[head] = with_head.predict_on_batch(log_mel)["weak"]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), wanted, atol=1e-5)
    found = np.load(tmp_path / "weak.npz")
    for head, scores in weak.items():
        np.testing.assert_allclose(found[head], scores, atol=1e-5, err_msg=head)
    runs = ("here", "there", "beyond")
    histories = [(Path(tmp_path) / name / "history.csv").read_text().splitlines() for name in runs]
    assert [len(lines) for lines in histories] == [3, 3, 3]


DETERMINISTIC = """
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
    """With one seed and ``training.deterministic``."""
    make_store(tmp_path, 24).close()
    (tmp_path / "config.toml").write_text(to_toml(small_config(epochs=2, deterministic=True)))
    digests = set()
    for name in ("first", "second"):
        command = [sys.executable, "-c", DETERMINISTIC, str(tmp_path), name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "oneDNN custom operations" not in done.stderr  # the environment was prepared before TensorFlow's import
        digests.add(done.stdout.split()[-1])
    assert len(digests) == 1
    scores = [(tmp_path / name / "metrics.json").read_text() for name in ("first", "second")]
    assert scores[0] == scores[1]
