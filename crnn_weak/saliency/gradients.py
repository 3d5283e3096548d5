"""Gradients of a Keras model: compiled ones of one scalar per row, rules for its ReLUs, and averages of many.

* `build_kernel` compiles the gradient of one output for a batch in which each row has its own class and frames;
* `replace_relu` gives the same network another rule for the gradient of each ReLU (guided, deconvolution);
* `attribute` makes maps of many gradients: SmoothGrad and integrated gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from crnn_weak.errors import ConfigError, ModelFileError
from crnn_weak.saliency.targets import Method

__all__ = ["Gradient", "attribute", "build_kernel", "replace_relu"]

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


# --- rules for ReLUs -----------------------------------------------------------------------------------------------
# The forward values stay the same to the bit; only what passes back changes. The modified model shares every layer,
# and so every weight, with the original.


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


# --- maps of many gradients ----------------------------------------------------------------------------------------

#: f(x, class index of each row, frame weights of each row) -> (gradients like x, values of the scalars)
Gradient = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def attribute(
    gradient: Gradient,
    x: np.ndarray,
    index: np.ndarray,
    weights: np.ndarray,
    *,
    method: Method,
    baseline: np.ndarray,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the maps, the scalars at the input, and the gap of integrated gradients.

    Parameters
    ----------
    gradient : callable
        See `Gradient`.
    x : np.ndarray, shape (n_maps, n_frames, n_mels)
    index : np.ndarray of int, shape (n_maps,)
    weights : np.ndarray, shape (n_maps, n_frames)
    method : Method
        Its ``kind`` and what belongs to it; the rest is the caller's.
    baseline : np.ndarray, shape (n_frames, n_mels)
        Of integrated gradients.
    batch_size : int
        Copies of few maps go through the gradient together, up to this many rows.

    Returns
    -------
    maps : np.ndarray, shape of x
    values : np.ndarray, shape (n_maps,)
    gap : np.ndarray, shape (n_maps,), or None
    """
    if method.kind == "gradient" or not len(x):
        maps, values = gradient(x, index, weights)
        return maps, values, None if method.kind != "integrated_gradients" else np.zeros(len(x))
    _, values = gradient(x, index, weights)
    if method.kind == "smoothgrad":
        # The same noise for every clip: a clip's map does not depend on its neighbors in the call.
        noise = np.random.default_rng(method.seed).standard_normal((method.n_samples, *x.shape[1:])).astype(x.dtype)
        scale = (method.noise * (x.max(axis=(1, 2)) - x.min(axis=(1, 2))))[:, None, None]
        copies = (x + scale * one for one in noise)
        share = np.full(method.n_samples, 1 / method.n_samples)
        return _weighted_sum(gradient, copies, share, x, index, weights, batch_size), values, None
    nodes, share = np.polynomial.legendre.leggauss(method.n_steps)
    way = x - baseline
    copies = ((baseline + alpha * way).astype(x.dtype) for alpha in (nodes + 1) / 2)
    maps = way * _weighted_sum(gradient, copies, share / 2, x, index, weights, batch_size)
    _, at_baseline = gradient(np.broadcast_to(baseline, x.shape).astype(x.dtype), index, weights)
    gap = maps.sum(axis=(1, 2), dtype=np.float64) - (values - at_baseline)
    return maps, values, gap


def _weighted_sum(
    gradient: Gradient,
    copies: Iterator[np.ndarray],
    share: np.ndarray,
    x: np.ndarray,
    index: np.ndarray,
    weights: np.ndarray,
    batch_size: int,
) -> np.ndarray:
    """Sum ``share[k] * gradient(copy k)``; copies of few rows are stacked, so that each pass is worth its cost."""
    together = max(1, batch_size // len(x))
    total = np.zeros(x.shape, np.float64)
    for start in range(0, len(share), together):
        part = share[start : start + together]
        rows = np.concatenate([next(copies) for _ in part])
        found, _ = gradient(rows, np.tile(index, len(part)), np.tile(weights, (len(part), 1)))
        total += np.tensordot(part, found.reshape(len(part), *x.shape), axes=1)
    return total
