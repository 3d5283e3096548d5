"""The compiled gradients: of one scalar per row, and of many scalars that share a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

__all__ = ["build_kernel", "build_shared_kernel"]

_TINY = 1e-6  # float32 cannot tell scores nearer to 1 apart


def build_kernel(
    model: keras.Model, output: str, reduction: str, scale: str, *, shape: tuple[int, int, int], dtype: np.dtype
) -> Callable:
    """Return ``f(x, index, weights) -> (values, gradients)``, traced for one `shape` of x.

    ``x`` (clips, frames, mel bands); ``index`` (clips,), the class of each clip's scalar; ``weights`` (clips, frames),
    the share of each frame in it, which ``weak`` does not use.
    """

    @tf.function
    def kernel(x: tf.Tensor, index: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            scores = _scaled(model(x, training=False)[output], scale)  # (clips, frames, classes) or (clips, classes)
            chosen = tf.one_hot(index, scores.shape[-1], dtype=scores.dtype)
            picked = tf.reduce_sum(scores * (chosen if output == "weak" else chosen[:, None]), axis=-1)
            values = picked if output == "weak" else _over_frames(picked, weights, reduction)
            total = tf.reduce_sum(values)
        gradients = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return values, gradients

    return kernel.get_concrete_function(
        tf.TensorSpec(shape, dtype), tf.TensorSpec(shape[:1], tf.int32), tf.TensorSpec(shape[:2], dtype)
    )


def _over_frames(scores: tf.Tensor, weights: tf.Tensor, reduction: str) -> tf.Tensor:
    """Reduce (clips, frames) to (clips,)."""
    if reduction == "max":
        return tf.reduce_max(tf.where(weights > 0, scores, tf.fill(tf.shape(scores), scores.dtype.min)), axis=-1)
    return tf.reduce_sum(scores * weights, axis=-1)


def _scaled(scores: tf.Tensor, scale: str) -> tf.Tensor:
    """Return scores or their logits; the slope of the logit is bounded where rounding has made a score 0 or 1."""
    if scale == "score":
        return scores
    bounded = scores + tf.stop_gradient(tf.clip_by_value(scores, _TINY, 1 - _TINY) - scores)
    return tf.math.log(bounded) - tf.math.log1p(-bounded)


def build_shared_kernel(model: keras.Model, scalars: Sequence[tuple[str, str, str, int, np.ndarray]]) -> Callable:
    """Return ``f(x) -> gradients (clips, scalars, frames, mel bands)``.

    One forward pass, and one backward pass for each scalar: (output, reduction, scale, class index, frame weights).
    """

    @tf.function
    def kernel(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs = model(x, training=False)
            totals = []
            for output, reduction, scale, index, weights in scalars:
                picked = _scaled(outputs[output][..., index], scale)
                values = picked if output == "weak" else _over_frames(picked, tf.constant(weights)[None], reduction)
                totals.append(tf.reduce_sum(values))
        zero = tf.UnconnectedGradients.ZERO
        return tf.stack([tape.gradient(total, x, unconnected_gradients=zero) for total in totals], axis=1)

    return kernel
