"""The optimizer and the two losses, binary cross-entropies: means over frames and classes, and over classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from crnn_weak.config import LossWeights
from crnn_weak.errors import ConfigError

#: Target of an entry without a loss; any value below 0 has none.
NO_TARGET = -1.0
# Start of the names of the innermost layers (a loaded model names no others) -> depth of their block below the outputs.
_DEPTHS = {"dense_1": 1, "forward_gru_": 2, "backward_gru_": 2, "conv_": 3, "batch_norm_": 3}


@keras.saving.register_keras_serializable(package="crnn_weak")
class MaskedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy, mean over the frames and classes of a batch that have a target."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        has_target = ops.cast(y_true >= 0, y_pred.dtype)
        losses = has_target * ops.binary_crossentropy(ops.maximum(y_true, 0.0), y_pred)
        axes = tuple(range(1, len(y_pred.shape)))
        # Keras averages over clips: scaled so that this is the mean over all entries of the batch with a target.
        n_clips = ops.cast(ops.shape(y_true)[0], y_pred.dtype)
        return ops.sum(losses, axis=axes) * n_clips / ops.maximum(ops.sum(has_target), 1.0)


@keras.saving.register_keras_serializable(package="crnn_weak")
class BlockwiseAdam(keras.optimizers.Adam):
    """Adam whose learning rate is multiplied by the factor of a layer, by the start of its name; others have 1."""

    def __init__(self, *args: Any, factors: Mapping[str, float], **options: Any) -> None:
        super().__init__(*args, **options)
        self.factors = dict(factors)

    def build(self, variables: Any) -> None:
        super().build(variables)
        self._factor_of: dict[int, float] = {}
        for variable in variables:
            layers = variable.path.split("/")
            matching = (f for name, f in self.factors.items() if any(layer.startswith(name) for layer in layers))
            factor = next(matching, 1.0)
            # TensorFlow gives `update_step` the tf.Variable inside Keras' variable, which has no path.
            self._factor_of |= {id(variable): factor, id(variable.value): factor}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate * self._factor_of[id(variable)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": self.factors}


def compile_model(
    model: keras.Model,
    weights: LossWeights,
    *,
    optimizer: str = "adam",
    learning_rate: Any = 1e-3,
    masked: bool = False,
    weak_masked: bool = False,
    layerwise_lr_decay: float = 1.0,
    ema_momentum: float = 0.0,
) -> None:
    """Compile a model with its two losses; `masked` and `weak_masked` ignore targets below 0.

    `layerwise_lr_decay` is the learning rate of each block as a share of that of the block above it.
    """
    # Keras pairs a misspelled ``loss_weights`` dictionary in alphabetical order, without a word: weights can swap.
    if sorted(model.output_names) != ["strong", "weak"]:
        raise ConfigError(
            f"model outputs {model.output_names}: expected 'strong' and 'weak'. Use crnn_weak.build_model."
        )
    plain = keras.losses.BinaryCrossentropy
    strong_loss, weak_loss = (MaskedBinaryCrossentropy if mask else plain for mask in (masked, weak_masked))
    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}
    kind: Any = kinds[optimizer]
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": ema_momentum} if ema_momentum else {}
    if optimizer == "sgd":
        options["momentum"] = 0.9
    if layerwise_lr_decay != 1.0:
        kind = BlockwiseAdam
        options["factors"] = {name: layerwise_lr_decay**depth for name, depth in _DEPTHS.items()}
    model.compile(
        optimizer=kind(learning_rate, **options),
        loss={"strong": strong_loss(name="strong_loss"), "weak": weak_loss(name="weak_loss")},
        loss_weights={"strong": weights.strong, "weak": weights.weak},
    )
    # Keras would make these within the first step, and TensorFlow traces a step that makes variables twice.
    model.optimizer.build(model.trainable_variables)
    zeros = {
        name: ops.zeros([size or 1 for size in output.shape])
        for name, output in zip(model.output_names, model.outputs, strict=True)
    }
    model.compute_loss(y=zeros, y_pred=zeros)
    model.reset_metrics()
