"""One model on two devices: the losses of one device. In processes of their own, because devices are divided once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crnn_weak.errors import ConfigError
from crnn_weak.training.strategy import open_strategy

_DIVIDE = """
import dataclasses, json, sys
import numpy as np
from crnn_weak.config import preset
from crnn_weak.model.backend import set_threads
set_threads(1)
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
base = preset("quick")
model = dataclasses.replace(base.model, n_filters=4, gru_units=(4, 4), dense_units=5, dropout=0.0)
"""

_FIT = """
from crnn_weak.model.crnn import build_model
from crnn_weak.model.losses import compile_model
from crnn_weak.training.strategy import open_strategy
config = dataclasses.replace(base, model=model)
rng = np.random.default_rng(0)
inputs = rng.standard_normal((32, 10, 40), dtype=np.float32)
weak = (rng.random((32, 17)) < 0.2).astype(np.float32)
targets = {"strong": np.repeat(weak[:, None], 10, axis=1), "weak": weak}
weights = build_model(config, n_frames=10).get_weights()
found = {}
for name in ("none", "mirrored"):
    with open_strategy(name) as scope:
        network = build_model(config, n_frames=10)
        network.set_weights(weights)
        compile_model(network, config.loss_weights, learning_rate=1e-2)
    history = network.fit(inputs, targets, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    found[name] = dict(history)
    found[name]["evaluated"] = network.evaluate(inputs, targets, batch_size=8, verbose=0)
    found[name]["devices"] = network.distribute_strategy.num_replicas_in_sync
print(json.dumps(found))
"""

_TRAIN = """
from pathlib import Path
from helpers import TINY, make_store
from crnn_weak.model.files import load_model
from crnn_weak.training.fit import train
folder = Path(sys.argv[1])
training = dataclasses.replace(base.training, epochs=2, batch_size=4)
model = dataclasses.replace(model, pools=(2, 2), n_conv_layers=2)
config = dataclasses.replace(base, features=TINY, model=model, training=training)
found = {}
with make_store(folder, 20) as store:
    for name in ("none", "mirrored"):
        train(config, store, folder / name, strategy=name)
        if name == "mirrored":  # and on again, where a run was
            more = dataclasses.replace(config, training=dataclasses.replace(training, epochs=3))
            best = train(more, store, folder / name, strategy=name)
            assert load_model(best)[0].count_params() > 0
        lines = (folder / name / "history.csv").read_text().splitlines()[1:]
        found[name] = [[float(value) for value in line.split(",")[:-1]] for line in lines]
print(json.dumps(found))
"""


def _run(script, *arguments):
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tests)!r})\n" + _DIVIDE + script, *arguments]
    done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_two_devices_have_the_losses_of_one():
    found = _run(_FIT)
    assert (found["none"].pop("devices"), found["mirrored"].pop("devices")) == (1, 2)
    for name, values in found["none"].items():
        assert found["mirrored"][name] == pytest.approx(values, rel=1e-5), name


@pytest.mark.slow
def test_a_run_on_two_devices_is_that_on_one_and_goes_on(tmp_path):
    found = _run(_TRAIN, str(tmp_path))
    assert len(found["none"]) == 2
    assert len(found["mirrored"]) == 3
    for ours, theirs in zip(found["mirrored"], found["none"], strict=False):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize(("name", "message"), [("multiworker", "20585"), ("miror", "Did you mean 'mirrored'")])
def test_what_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        open_strategy(name)


def test_none_is_no_strategy():
    with open_strategy("none") as nothing:
        assert nothing is None
