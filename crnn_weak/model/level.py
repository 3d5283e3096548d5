"""A layer without weights that makes the network independent of the recording's level."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="crnn_weak")
class LevelNormalization(keras.layers.Layer):
    """Log mel energies ``(clips, frames, bands)``, in nepers, less their mean over the clip, in units of 20 dB."""

    # Values at `silence`, the features' floor, as in padded frames, do not enter the mean.
    def __init__(self, silence: float, **options: Any) -> None:
        super().__init__(**options)
        self.silence = silence

    def call(self, inputs: Any) -> Any:
        is_sound = ops.cast(inputs > self.silence + 1e-3, inputs.dtype)
        n_values = ops.maximum(ops.sum(is_sound, axis=(1, 2), keepdims=True), 1.0)
        mean = ops.sum(inputs * is_sound, axis=(1, 2), keepdims=True) / n_values
        # One neper is 8.7 dB. The outputs end 40 dB below the mean: digital silence would be far outside of all sounds.
        return ops.maximum((inputs - mean) * (8.685889638065035 / 20.0), -2.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "silence": self.silence}
