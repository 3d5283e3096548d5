"""Export of a model for use without this package, through Keras' own ``Model.export``; see docs/export.md.

Layers of `crnn_weak.model.fast` are replaced by the Keras layers that they derive from, since other runtimes lack them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import keras

from crnn_weak.environment import held_back_stderr
from crnn_weak.errors import DependencyError, ModelFileError
from crnn_weak.features.log_mel import Scaler
from crnn_weak.files import temporary_path
from crnn_weak.model import fast as fast_layers

#: Format to suffix; a saved model is a folder.
SUFFIXES = {"saved_model": "", "onnx": ".onnx", "tflite": ".tflite"}
_KERAS_NAMES = {"saved_model": "tf_saved_model", "onnx": "onnx", "tflite": "litert"}


def check_export(kind: str) -> None:
    """Refuse a format whose packages are missing, and backends other than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise DependencyError(
            f"export needs TensorFlow, but Keras runs on {keras.backend.backend()!r}. Model files load under every "
            "backend: start the command again with KERAS_BACKEND=tensorflow."
        )
    missing = [name for name in ("onnx", "tf2onnx") if importlib.util.find_spec(name) is None]
    if kind == "onnx" and missing:
        raise DependencyError(f"onnx needs {' and '.join(missing)}: pip install 'crnn-weak[onnx]'.")


def portable_model(model: keras.Model, scaler: Scaler) -> keras.Model:
    """Return the same model of stock Keras layers, with the standardization of its input in front."""

    def stock_layer(layer: Any) -> Any:
        kind: Any = next(kind for kind in type(layer).__mro__ if kind.__module__ != fast_layers.__name__)
        return kind.from_config(layer.get_config())

    stock = keras.models.clone_model(model, clone_function=stock_layer)
    stock.set_weights(model.get_weights())
    log_mel = keras.Input(model.input_shape[1:], name="log_mel")
    # Not `Normalization`: its mean and variance are constants that the ONNX converter takes for inputs.
    standardize = keras.layers.BatchNormalization(center=False, scale=False, epsilon=1e-12, name="standardize")
    outputs = stock(standardize(log_mel))
    standardize.set_weights([scaler.mean, scaler.std**2])
    return keras.Model(log_mel, outputs, name="crnn_weak")


def export_model(model: keras.Model, scaler: Scaler, path: str | Path, kind: str) -> None:
    """Export a model in one of the formats of `SUFFIXES`; the file or folder replaces `path` only when it is whole."""
    path = Path(os.path.realpath(path) if os.path.isdir(path) else path)
    check_export(kind)
    n_clips = 1 if kind == "tflite" else None  # a LiteRT model has a fixed batch size
    signature = [keras.InputSpec(shape=(n_clips, *model.input_shape[1:]), dtype="float32", name="log_mel")]
    with temporary_path(path) as folder:
        folder.mkdir()
        new = folder / f"model{SUFFIXES[kind]}"
        try:
            with held_back_stderr(), contextlib.redirect_stdout(None), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exported = portable_model(model, scaler)
                exported.export(new, format=_KERAS_NAMES[kind], verbose=False, input_signature=signature)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelFileError(f"this model cannot be exported as {kind}: {reason[0][:200]}") from error
        if path.is_dir():
            path.replace(folder / "old")  # a folder cannot replace another
        new.replace(path)
