"""The network of the paper, as a Keras functional model.

``(frames, mel bands)`` -> convolutional blocks, pooled over frequency only -> bidirectional GRUs -> a dense layer
for each frame -> output ``strong`` -> weak head -> output ``weak``. The two outputs stand in sequence: the weak one
is computed from the strong one (head ``attention`` also weights its frames by the features in front of it).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from crnn_weak.config import Config, ModelConfig, preset
from crnn_weak.errors import ConfigError, nearest_names
from crnn_weak.model import fast as fast_layers
from crnn_weak.model.heads import WEAK_HEADS

# Stated, since a user's keras.json may say otherwise.
_LAST = "channels_last"
# Keras' defaults for random weights; all others begin at zero or one.
_INITIALIZERS = {
    "kernel": keras.initializers.GlorotUniform,
    "recurrent_kernel": keras.initializers.OrthogonalInitializer,
}


def build_model(
    config: str | Config = "paper",
    *,
    head: str | None = None,
    n_classes: int = 17,
    n_frames: int | str | None = "config",
    fast: bool = True,
) -> keras.Model:
    """Build the network, uncompiled.

    Parameters
    ----------
    config : str or Config
        A preset's name (`crnn_weak.config.PRESETS`) or a whole configuration.
    head : str, optional
        The weak head, one of `crnn_weak.model.heads.WEAK_HEADS`; by default that of the configuration.
    n_classes : int
    n_frames : int, None or 'config'
        Length of the time axis; None for any length; by default the frames of the configuration's clip.
    fast : bool
        Use the faster layers of `crnn_weak.model.fast` where they apply. Weights and values are those of Keras' own
        layers, which False gives.

    Returns
    -------
    keras.Model
        Input: standardized log mel-band energies, shape ``(clips, n_frames, n_mels)``. Outputs, a dictionary:
        ``strong`` of shape ``(clips, n_frames, n_classes)`` and ``weak`` of shape ``(clips, n_classes)``, in [0, 1].

    Raises
    ------
    ConfigError
        The preset or head is unknown, or the pools exceed the mel bands.

    References
    ----------
    Adavanne & Virtanen, DCASE 2017 workshop, arXiv:1710.02998. Layer sizes are inferred from the reported 218,000
    weights.
    """
    if isinstance(config, str):
        config = preset(config)
    head = config.model.weak_head if head is None else head
    if head not in WEAK_HEADS:
        raise ConfigError(f"weak head {head!r} is not known. {nearest_names(head, WEAK_HEADS)}")
    frames = config.features.n_frames if n_frames == "config" else n_frames
    layer_library = fast_layers if fast else layers
    n_bands = config.features.n_mels

    log_mel = keras.Input((frames, n_bands), name="log_mel")
    x = layers.Reshape((-1, n_bands, 1) if frames is None else (frames, n_bands, 1), name="one_channel")(log_mel)
    for index, pool in enumerate(config.model.pools):
        n_bands //= pool
        if n_bands < 1:
            raise ConfigError(
                f"model.pools = {config.model.pools}: no band is left of {config.features.n_mels} mel bands. "
                "Expected pools whose product is at most the number of mel bands."
            )
        x = _conv_block(x, config.model, index, layer_library)  # (clips, frames, bands / pool, filters)
    width = n_bands * config.model.n_filters
    x = layers.Reshape((-1, width) if frames is None else (frames, width), name="features")(x)
    for index in range(len(config.model.gru_units)):
        x = _recurrent_block(x, config.model, index, layer_library)  # (clips, frames, units)
    x = layer_library.TimeDistributed(layers.Dense(config.model.dense_units, name="dense_1"), name="time_dense")(x)
    strong_dense = layers.Dense(n_classes, activation="sigmoid", name="strong_dense")
    strong = layer_library.TimeDistributed(strong_dense, name="strong")(x)  # (clips, frames, classes)
    weak = WEAK_HEADS[head](strong, x, n_classes, "weak")  # (clips, classes)
    return keras.Model(log_mel, {"strong": strong, "weak": weak}, name="crnn_weak")


def _conv_block(x: Any, config: ModelConfig, index: int, layer_library: Any) -> Any:
    """Conv -> BatchNorm -> MaxPool over frequency -> ReLU -> Dropout; ``(clips, frames, bands, filters)``.

    The ReLU follows the pooling: it commutes with the maximum, and fewer values are left.
    """
    number = index + 1
    convolution = layer_library.Conv2D(
        config.n_filters, config.kernel_size, padding="same", data_format=_LAST, name=f"conv_{number}"
    )
    x = layer_library.BatchNormalization(name=f"batch_norm_{number}")(convolution(x))
    x = layer_library.MaxPooling2D((1, config.pools[index]), data_format=_LAST, name=f"pool_{number}")(x)
    x = layers.ReLU(name=f"relu_{number}")(x)
    return layers.Dropout(config.dropout, name=f"dropout_{number}")(x)


def _recurrent_block(x: Any, config: ModelConfig, index: int, layer_library: Any) -> Any:
    """Bidirectional GRU over all frames; ``(clips, frames, units)`` (twice the units for concat)."""
    gru = layers.GRU(
        config.gru_units[index], return_sequences=True, reset_after=config.gru_reset_after, name=f"gru_{index + 1}"
    )
    return layer_library.Bidirectional(gru, merge_mode=config.gru_merge, name=f"bidirectional_{index + 1}")(x)


def reinitialize_weights(model: keras.Model, seed: int) -> None:
    """Draw the random weights of a model of `build_model` again, by `seed` alone.

    Keras takes the seeds of its initializers from Python's global generator, and so do other threads of the process (a
    Dask worker's timers draw from it several times a second): the same seed then gives different weights.
    """
    drawn = [w for w in model.trainable_weights if w.name in _INITIALIZERS]
    for weight, state in zip(drawn, np.random.SeedSequence(seed).generate_state(len(drawn)), strict=True):
        weight.assign(_INITIALIZERS[weight.name](seed=int(state >> 1))(weight.shape))
