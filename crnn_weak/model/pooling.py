"""Layers that pool frame scores over time, for the weak heads that Keras has no layer for.

All take scores of shape ``(clips, frames, classes)`` in [0, 1] and return ``(clips, classes)`` in [0, 1]. They use
`keras.ops` alone, so they run on every Keras backend, and are registered with Keras, so that a saved model loads in
safe mode once `crnn_weak.model.archive` is imported.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = [
    "AttentionPooling",
    "AutoPooling",
    "ExponentialSoftmaxPooling",
    "LinearSoftmaxPooling",
    "NoisyOrPooling",
    "PowerMeanPooling",
]

# Bounds that keep logarithms and quotients finite in float32; the same as Keras' own.
_EPSILON = 1e-7


class _Pooling(keras.layers.Layer):
    """A layer from ``(clips, frames, classes)`` to ``(clips, classes)``."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[2])


@keras.saving.register_keras_serializable(package="crnn_weak")
class LinearSoftmaxPooling(_Pooling):
    """Mean of the scores weighted by the scores themselves: ``sum(s^2) / sum(s)``."""

    def call(self, scores: Any) -> Any:
        return ops.sum(scores * scores, axis=1) / ops.maximum(ops.sum(scores, axis=1), _EPSILON)


@keras.saving.register_keras_serializable(package="crnn_weak")
class ExponentialSoftmaxPooling(_Pooling):
    """Mean of the scores weighted by their exponentials: ``sum(s exp s) / sum(exp s)``."""

    def call(self, scores: Any) -> Any:
        return ops.sum(scores * ops.softmax(scores, axis=1), axis=1)


@keras.saving.register_keras_serializable(package="crnn_weak")
class AutoPooling(_Pooling):
    """Mean of the scores weighted by ``exp(a s)``; `a` is learned per class, from 1 (0: mean, infinite: maximum)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.sharpness = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="sharpness")

    def call(self, scores: Any) -> Any:
        return ops.sum(scores * ops.softmax(self.sharpness * scores, axis=1), axis=1)


@keras.saving.register_keras_serializable(package="crnn_weak")
class NoisyOrPooling(_Pooling):
    """The chance that at least one of independent frames is active: ``1 - prod(1 - s)``."""

    def call(self, scores: Any) -> Any:
        return 1.0 - ops.exp(ops.sum(ops.log(ops.maximum(1.0 - scores, _EPSILON)), axis=1))


@keras.saving.register_keras_serializable(package="crnn_weak")
class PowerMeanPooling(_Pooling):
    """Generalized mean ``mean(s^p)^(1/p)``; `p` is learned per class, from 3, at least 1 (the mean)."""

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


@keras.saving.register_keras_serializable(package="crnn_weak")
class AttentionPooling(_Pooling):
    """Mean of the scores weighted by the softmax over frames of ``[scores, logits]``'s second input."""

    def call(self, inputs: tuple[Any, Any]) -> Any:
        scores, logits = inputs
        return ops.sum(scores * ops.softmax(logits, axis=1), axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return super().compute_output_shape(input_shape[0])
