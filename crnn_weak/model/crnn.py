"""The network of the paper, as a Keras functional model: convolutional blocks, bidirectional GRUs, two outputs."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import numpy as np
from keras import layers

from crnn_weak.config import Config, ModelConfig, preset
from crnn_weak.errors import ConfigError, nearest_names
from crnn_weak.model import fast as fast_layers
from crnn_weak.model.heads import WEAK_HEADS
from crnn_weak.model.level import LevelNormalization

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
    n_frames: int | Literal["config"] | None = "config",
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
        Input: log mel-band energies, shape ``(clips, n_frames, n_mels)``, standardized, or plain where training
        examples are mixed. Outputs, a dictionary: ``strong`` of shape ``(clips, n_frames, n_classes)`` and ``weak`` of
        shape ``(clips, n_classes)``, in [0, 1].

    Raises
    ------
    ConfigError
        The preset or head is unknown, or the pools exceed the mel bands or do not divide the frames.

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
    library = fast_layers if fast else layers
    sizes, n_bands = config.model, config.features.n_mels

    time_pool = math.prod(sizes.time_pools)
    if isinstance(frames, int) and frames % time_pool:
        raise ConfigError(f"model.time_pools = {sizes.time_pools}: {frames} frames are not a multiple of {time_pool}.")
    log_mel = x = keras.Input((frames, n_bands), name="log_mel")
    if config.is_mixed:
        x = LevelNormalization(math.log(config.features.log_floor), name="level")(x)
    x = layers.Reshape((-1, n_bands, 1) if frames is None else (frames, n_bands, 1), name="one_channel")(x)
    for number, pool in enumerate(sizes.pools, start=1):
        n_bands //= pool
        if n_bands < 1:
            raise ConfigError(
                f"model.pools = {sizes.pools}: no band is left of {config.features.n_mels} mel bands. "
                "Expected pools whose product is at most the number of mel bands."
            )
        x = _block(x, sizes, number, library)  # (clips, frames, bands, filters)
    width = n_bands * sizes.filters[-1]
    x = layers.Reshape((-1, width) if frames is None else (frames // time_pool, width), name="features")(x)
    if sizes.gru_dropout:
        x = layers.Dropout(sizes.gru_dropout, name="dropout_features")(x)
    for number, units in enumerate(sizes.gru_units, start=1):
        gru = layers.GRU(units, return_sequences=True, reset_after=sizes.gru_reset_after, name=f"gru_{number}")
        # (clips, frames, units), or twice the units for merge mode concat
        x = library.Bidirectional(gru, merge_mode=sizes.gru_merge, name=f"bidirectional_{number}")(x)
    if sizes.gru_dropout:
        x = layers.Dropout(sizes.gru_dropout, name="dropout_recurrent")(x)
    x = library.TimeDistributed(layers.Dense(sizes.dense_units, name="dense_1"), name="time_dense")(x)
    if time_pool > 1:
        x = layers.UpSampling1D(time_pool, name="all_frames")(x)
    strong_dense = layers.Dense(n_classes, activation="sigmoid", name="strong_dense")
    strong = library.TimeDistributed(strong_dense, name="strong")(x)  # (clips, frames, classes)
    weak = WEAK_HEADS[head](strong, x, n_classes, "weak")  # (clips, classes)
    return keras.Model(log_mel, {"strong": strong, "weak": weak}, name="crnn_weak")


def _block(x: Any, sizes: ModelConfig, number: int, library: Any) -> Any:
    """Convolve, normalize, pool; the ReLU commutes with the maximum, and behind it fewer values are left."""
    time_pool = sizes.time_pools[number - 1] if sizes.time_pools else 1
    pool, n_filters = (time_pool, sizes.pools[number - 1]), sizes.filters[number - 1]
    x = library.Conv2D(n_filters, sizes.kernel_size, padding="same", data_format=_LAST, name=f"conv_{number}")(x)
    x = library.BatchNormalization(name=f"batch_norm_{number}")(x)
    x = library.MaxPooling2D(pool, data_format=_LAST, name=f"pool_{number}")(x)
    x = layers.ReLU(name=f"relu_{number}")(x)
    return layers.Dropout(sizes.dropout, name=f"dropout_{number}")(x)


def reinitialize_weights(model: keras.Model, seed: int) -> None:
    """Draw the random weights again, by `seed` alone: Keras' own seeds depend on the draws of other threads."""
    drawn = [w for w in model.trainable_weights if w.name in _INITIALIZERS]
    for weight, state in zip(drawn, np.random.SeedSequence(seed).generate_state(len(drawn)), strict=True):
        weight.assign(_INITIALIZERS[weight.name](seed=int(state >> 1))(weight.shape))
