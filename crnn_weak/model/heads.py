"""Weak heads: from the frame scores of output `strong` to the clip scores of output `weak`.

To add one, write a function, enter it in `WEAK_HEADS`, and add it to the choices of `ModelConfig.weak_head`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

#: (frame scores (clips, frames, classes), features (clips, frames, units), number of classes, layer name)
#: -> clip scores (clips, classes) in [0, 1]. The names of layers with weights begin with the given name.
Head = Callable[[Any, Any, int, str], Any]

# Keeps logarithms and quotients finite in float32; the same as Keras' own.
_EPSILON = 1e-7
# The format is stated, since a user's keras.json may say otherwise.
_MAX = functools.partial(layers.GlobalMaxPooling1D, data_format="channels_last")
_MEAN = functools.partial(layers.GlobalAveragePooling1D, data_format="channels_last")
#: Registered layers load in Keras' safe mode. They use `keras.ops` alone and run on every backend.
_register = keras.saving.register_keras_serializable(package="crnn_weak")


@_register
class LinearSoftmaxPooling(layers.Layer):
    """``sum s^2 / sum s``: the mean of the scores weighted by themselves (Wang et al., arXiv:1810.09050)."""

    def call(self, scores: Any) -> Any:
        return ops.sum(scores * scores, axis=1) / ops.maximum(ops.sum(scores, axis=1), _EPSILON)


@_register
class ExponentialSoftmaxPooling(layers.Layer):
    """``sum s exp(s) / sum exp(s)``: the mean weighted by the exponentials (Wang et al., arXiv:1810.09050)."""

    def call(self, scores: Any) -> Any:
        return ops.sum(scores * ops.softmax(scores, axis=1), axis=1)


@_register
class AutoPooling(layers.Layer):
    """Mean weighted by ``exp(a s)``; `a` is learned per class, from 1 (McFee, Salamon, Bello, arXiv:1804.10070)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.sharpness = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="sharpness")

    def call(self, scores: Any) -> Any:
        return ops.sum(scores * ops.softmax(self.sharpness * scores, axis=1), axis=1)


@_register
class NoisyOrPooling(layers.Layer):
    """``1 - prod(1 - s)``: the probability that at least one of independent frames is active.

    Zhang, Platt, Viola, "Multiple instance boosting for object detection", NIPS 2005.
    """

    def call(self, scores: Any) -> Any:
        return 1.0 - ops.exp(ops.sum(ops.log(ops.maximum(1.0 - scores, _EPSILON)), axis=1))


@_register
class PowerMeanPooling(layers.Layer):
    """Mean ``mean(s^p)^(1/p)``; `p` is learned per class, from 3, at least 1 (Radenovic et al., arXiv:1711.02512)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        start = keras.initializers.Constant(3.0)
        self.exponent = self.add_weight(shape=(input_shape[-1],), initializer=start, name="exponent")

    def call(self, scores: Any) -> Any:
        exponent = ops.maximum(self.exponent, 1.0)
        powers = exponent * ops.log(ops.maximum(scores, _EPSILON))
        # In logarithms: powers of small scores underflow, and the root of zero has no gradient.
        largest = ops.stop_gradient(ops.max(powers, axis=1, keepdims=True))
        mean = ops.log(ops.mean(ops.exp(powers - largest), axis=1)) + largest[:, 0]
        return ops.exp(mean / exponent)


@_register
class AttentionPooling(layers.Layer):
    """Mean weighted by the softmax over frames of the logits, its second input (Xu et al., arXiv:1710.00343)."""

    def call(self, inputs: tuple[Any, Any]) -> Any:
        scores, logits = inputs
        return ops.sum(scores * ops.softmax(logits, axis=1), axis=1)


def _max_dense(strong: Any, features: Any, n_classes: int, name: str) -> Any:
    pooled = _MAX(name="max_over_time")(strong)  # (clips, classes)
    return layers.Dense(n_classes, activation="sigmoid", name=name)(pooled)


def _attention(strong: Any, features: Any, n_classes: int, name: str) -> Any:
    logits = layers.Dense(n_classes, name=f"{name}_attention")(features)  # (clips, frames, classes)
    return AttentionPooling(name=name)([strong, logits])


def _pooled_by(layer: Callable[..., layers.Layer]) -> Head:
    return lambda strong, features, n_classes, name: layer(name=name)(strong)


WEAK_HEADS: dict[str, Head] = {
    "max_dense": _max_dense,
    "max": _pooled_by(_MAX),
    "mean": _pooled_by(_MEAN),
    "linear_softmax": _pooled_by(LinearSoftmaxPooling),
    "exponential_softmax": _pooled_by(ExponentialSoftmaxPooling),
    "attention": _attention,
    "auto_pool": _pooled_by(AutoPooling),
    "noisy_or": _pooled_by(NoisyOrPooling),
    "power_mean": _pooled_by(PowerMeanPooling),
}
