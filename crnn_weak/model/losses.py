"""The two losses and their weights.

Both are binary cross-entropies, and both are means: ``strong`` over frames and classes, ``weak`` over classes.
"""

from __future__ import annotations

from typing import Any

import keras

from crnn_weak.config import LossWeights
from crnn_weak.errors import ConfigError

__all__ = ["compile_model"]


def compile_model(model: keras.Model, weights: LossWeights, *, learning_rate: float = 1e-3, **options: Any) -> None:
    """Compile a model with its two losses.

    Keras pairs a misspelt ``loss_weights`` dictionary in alphabetical order, without a word: the weights can swap.
    Hence they come as a `LossWeights` and are matched with the model's own output names here.

    Parameters
    ----------
    model : keras.Model
        With exactly the outputs ``strong`` and ``weak``.
    weights : LossWeights
    learning_rate : float
        Of Adam.
    **options
        Passed on to ``model.compile``.

    Raises
    ------
    ConfigError
        The model has other outputs.
    """
    if sorted(model.output_names) != ["strong", "weak"]:
        raise ConfigError(
            f"model outputs {model.output_names}: expected 'strong' and 'weak'. Use crnn_weak.build_model."
        )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss={name: keras.losses.BinaryCrossentropy(name=f"{name}_loss") for name in ("strong", "weak")},
        loss_weights={"strong": weights.strong, "weak": weights.weak},
        **options,
    )
    # What Keras would make within the first step is made now: TensorFlow traces a step that makes variables twice.
    model.optimizer.build(model.trainable_variables)
    nothing = {
        name: keras.ops.zeros([size or 1 for size in output.shape])
        for name, output in zip(model.output_names, model.outputs, strict=True)
    }
    model.compute_loss(y=nothing, y_pred=nothing)
    model.reset_metrics()
