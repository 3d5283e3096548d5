"""One model on several devices: what of ``tf.distribute`` works with Keras 3.

``mirrored``
    Every device of this machine holds the model and takes its share of each batch; gradients are summed, the
    statistics of batch normalisation are those of the whole batch (`crnn_weak.model.layers.BatchNormalization`). The
    losses are then those of one device, to rounding, but for dropout, whose draws are others. For the machine with
    several GPUs; on CPUs it is slower than one process with as many threads, and there for tests.
``multiworker``
    Several machines, one model: refused. ``fit`` of Keras 3 fails under ``MultiWorkerMirroredStrategy``
    (``Attempt to convert a value (PerReplica:{...})``, keras-team/keras#20585, open). The network is small (218,000
    weights): settings, seeds and clips spread over machines as independent tasks instead (``--scheduler``).
"""

from __future__ import annotations

import contextlib
from typing import Any

from crnn_weak.errors import ConfigError, nearest_names

__all__ = ["STRATEGIES", "open_strategy"]

STRATEGIES = ("none", "mirrored", "multiworker")


def open_strategy(name: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a model is to be built (or loaded) and compiled; ``fit`` may stand outside.

    Parameters
    ----------
    name : {'none', 'mirrored', 'multiworker'}

    Raises
    ------
    ConfigError
        There is no such strategy; it does not work with this Keras; or Keras runs on another backend.
    """
    if name == "none":
        return contextlib.nullcontext()
    if name == "multiworker":
        raise ConfigError(
            "strategy 'multiworker': fit of Keras 3 fails under MultiWorkerMirroredStrategy (keras-team/keras#20585). "
            "Use 'mirrored' for the devices of one machine; spread settings and seeds over machines with --scheduler."
        )
    if name != "mirrored":
        raise ConfigError(f"strategy {name!r} is not known. {nearest_names(name, STRATEGIES)}")
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"strategy 'mirrored' is TensorFlow's, Keras runs on {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow, or leave --strategy out."
        )
    import tensorflow as tf

    scope: contextlib.AbstractContextManager[Any] = tf.distribute.MirroredStrategy(_devices(tf)).scope()
    return scope


def _devices(tf: Any) -> list[str]:
    """Return all GPUs; where there is none, all logical CPUs (one, unless it was divided)."""
    return [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
