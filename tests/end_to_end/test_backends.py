"""Training and model files under the other Keras backends, each in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import TINY, make_store

from crnn_weak.config import Config, ModelConfig, TrainingConfig

CONFIG = Config(
    features=TINY,
    model=ModelConfig(n_filters=4, pools=(2, 2), gru_units=(4,), dense_units=4),
    training=TrainingConfig(epochs=2, batch_size=8, learning_rate=3e-3, patience=0, validation_fraction=0.25),
)

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
with FeatureStore(folder / "features.h5") as store:
    train(load_config(folder / "config.toml"), store, folder / "there")
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_loads_the_model_and_trains(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    from crnn_weak.config import to_toml
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import train

    (tmp_path / "config.toml").write_text(to_toml(CONFIG))
    with make_store(tmp_path, 24) as store:
        best = train(CONFIG, store, tmp_path / "here")
        log_mel = store.read(np.arange(8))
    np.save(tmp_path / "log_mel.npy", log_mel)
    wanted = load_model(best)[0].predict_on_batch(log_mel)["strong"]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), wanted, atol=1e-5)
    histories = [(Path(tmp_path) / name / "history.csv").read_text().splitlines() for name in ("here", "there")]
    assert [len(lines) for lines in histories] == [3, 3]


def test_a_backend_that_is_not_there_is_one_line():
    environment = {**os.environ, "KERAS_BACKEND": "nowhere"}
    code = "import sys; from crnn_weak.cli import run_guarded; import_it = lambda: __import__('crnn_weak.model')"
    code += "; sys.exit(run_guarded('x', import_it))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "'nowhere' is not installed" in done.stderr
