"""The two losses, their weights and the optimizer.

Both are binary cross-entropies, and both are means: ``strong`` over frames and classes, ``weak`` over classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from crnn_weak.config import LossWeights
from crnn_weak.errors import ConfigError

__all__ = ["BlockwiseAdam", "MaskedBinaryCrossentropy", "compile_model"]


@keras.saving.register_keras_serializable(package="crnn_weak")
class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy, mean over the frames and classes of a batch that have a target.

    Entries whose target is below 0 have none. Where all have one, the values are `keras.losses.BinaryCrossentropy`'s.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(y_true >= 0, y_pred.dtype)
        losses = known * ops.binary_crossentropy(ops.maximum(y_true, 0.0), y_pred)
        axes = tuple(range(1, len(y_pred.shape)))
        # Keras averages over clips: scaled so that this is the mean over all known entries of the batch.
        n_clips = ops.cast(ops.shape(y_true)[0], y_pred.dtype)
        return ops.sum(losses, axis=axes) * n_clips / ops.maximum(ops.sum(known), 1.0)


@keras.saving.register_keras_serializable(package="crnn_weak")
class BlockwiseAdam(keras.optimizers.Adam):
    """Adam with a learning rate for each block of the network.

    Parameters
    ----------
    factors : mapping of str to float
        Start of a layer's name to the factor of its weights' learning rate; 1 for all others.
    """

    def __init__(self, *args: Any, factors: Mapping[str, float], **options: Any) -> None:
        super().__init__(*args, **options)
        self.factors = dict(factors)

    def build(self, variables: Any) -> None:
        super().build(variables)
        self._factor_of: dict[int, float] = {}
        for variable in variables:
            layers = variable.path.split("/")
            found = (f for name, f in self.factors.items() if any(layer.startswith(name) for layer in layers))
            factor = next(found, 1.0)
            # TensorFlow gives `update_step` the tf.Variable inside Keras' variable, which has no path.
            self._factor_of |= {id(variable): factor, id(variable.value): factor}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate * self._factor_of[id(variable)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": self.factors}


#: The network's blocks below the outputs, from above, by their innermost layers: a loaded model names no others.
_BLOCKS = (("dense_1",), ("forward_gru_", "backward_gru_"), ("conv_", "batch_norm_"))


def _optimizer(learning_rate: Any, rate_decay: float, averaging: float) -> keras.optimizers.Optimizer:
    options = {"use_ema": True, "ema_momentum": averaging} if averaging else {}
    if rate_decay == 1.0:
        return keras.optimizers.Adam(learning_rate, **options)
    factors = {name: rate_decay**depth for depth, names in enumerate(_BLOCKS, start=1) for name in names}
    return BlockwiseAdam(learning_rate, factors=factors, **options)


def compile_model(
    model: keras.Model,
    weights: LossWeights,
    *,
    learning_rate: Any = 1e-3,
    masked: bool = False,
    rate_decay: float = 1.0,
    averaging: float = 0.0,
    **options: Any,
) -> None:
    """Compile a model with its two losses.

    Keras pairs a misspelled ``loss_weights`` dictionary in alphabetical order, without a word: the weights can swap.
    Hence they come as a `LossWeights` and are matched with the model's own output names here.

    Parameters
    ----------
    model : keras.Model
        With exactly the outputs ``strong`` and ``weak``.
    weights : LossWeights
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Of Adam.
    masked : bool
        Leave entries of the strong target below 0 out of the loss.
    rate_decay : float in (0, 1]
        Learning rate of each block as a share of that of the block above it, from the outputs down.
    averaging : float in [0, 1)
        Momentum of the optimizer's moving average of the weights; 0 for none.
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
    strong_loss = MaskedBinaryCrossentropy if masked else keras.losses.BinaryCrossentropy
    model.compile(
        optimizer=_optimizer(learning_rate, rate_decay, averaging),
        loss={
            "strong": strong_loss(name="strong_loss"),
            "weak": keras.losses.BinaryCrossentropy(name="weak_loss"),
        },
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
