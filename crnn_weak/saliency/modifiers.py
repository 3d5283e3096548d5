"""Guided and deconvolution ReLU: the same network, another rule for the gradient of each ReLU.

The forward values stay the same to the bit; only what passes back is changed. The modified model shares every
layer, and so every weight, with the original.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from crnn_weak.errors import ConfigError, ModelFileError

__all__ = ["replace_relu"]


@tf.custom_gradient
def _guided(x: tf.Tensor) -> tuple[tf.Tensor, object]:
    y = tf.nn.relu(x)
    # Two gates: the forward one (x > 0) and that of the deconvolution (gradient > 0).
    return y, lambda upstream: tf.where(x > 0, tf.nn.relu(upstream), tf.zeros_like(upstream))


@tf.custom_gradient
def _deconvolution(x: tf.Tensor) -> tuple[tf.Tensor, object]:
    return tf.nn.relu(x), tf.nn.relu


_RULES = {"guided": _guided, "deconvolution": _deconvolution}


class _ModifiedReLU(keras.layers.Layer):
    """A ReLU whose gradient follows one of the rules."""

    def __init__(self, rule: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.rule = rule

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _RULES[self.rule](inputs)


def _is_plain_relu(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def replace_relu(model: keras.Model, rule: str) -> keras.Model:
    """Return `model` with another gradient rule for its ReLU layers; layers and weights are shared.

    Parameters
    ----------
    model : keras.Model
        Functional. Its ReLUs must be layers of their own (``ReLU`` or ``Activation``), since a ReLU inside another
        layer would silently keep its plain gradient.
    rule : {"plain", "guided", "deconvolution"}
        ``plain`` returns `model` itself.

    Raises
    ------
    ConfigError
        The rule is not known.
    ModelFileError
        The model has no ReLU layer, has one of another shape (leaky, capped), or hides one inside another layer.
    """
    if rule == "plain":
        return model
    if rule not in _RULES:
        raise ConfigError(f"ReLU rule {rule!r} is not known. Known: plain, {', '.join(_RULES)}.")
    replaced = 0
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)  # TimeDistributed and other wrappers
        hidden = getattr(inner, "activation", None) is keras.activations.relu and not isinstance(
            layer, keras.layers.Activation
        )
        leaky = isinstance(layer, keras.layers.ReLU) and not _is_plain_relu(layer)
        if hidden or leaky or isinstance(layer, keras.Model):
            raise ModelFileError(
                f"{rule} ReLU: layer {layer.name!r} holds a ReLU that cannot be replaced; expected ReLUs as plain "
                "layers of their own. Use the method 'gradient'."
            )
        replaced += _is_plain_relu(layer)
    if not replaced:
        raise ModelFileError(f"{rule} ReLU: model {model.name!r} has no ReLU layer. Use the method 'gradient'.")

    def share(layer: keras.layers.Layer) -> keras.layers.Layer:
        if _is_plain_relu(layer):
            return _ModifiedReLU(rule, name=layer.name, dtype=layer.dtype_policy)
        return layer

    return keras.models.clone_model(model, clone_function=share)
