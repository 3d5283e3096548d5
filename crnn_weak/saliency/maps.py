"""Saliency maps: `Target` is the scalar that is explained, `Method` the kind of map, `Explainer` computes them.

A map without its scalar says nothing, so the captions of `Target` and `Method` go under every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crnn_weak.errors import ConfigError, DataError, DependencyError, ModelFileError, nearest_names
from crnn_weak.labels.events import class_indices

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_TINY = 1e-6  # float32 cannot tell scores nearer to 1 apart

_Key = tuple[str, str, str, bool]  # what needs a graph of its own: output, reduction, scale, deconvolution or not


@dataclass(frozen=True)
class Target:
    """One scalar of one output: the score of one class; of ``strong``, its mean or maximum over all frames."""

    output: str
    label: str
    reduction: str = "mean"
    scale: str = "score"  # its gradient vanishes where the network is sure; that of the logit does not

    def __post_init__(self) -> None:
        choices = {"output": ("strong", "weak"), "reduction": ("mean", "max"), "scale": ("score", "logit")}
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"saliency {name} {value!r} is not known. {nearest_names(value, known)}")

    def caption(self) -> str:
        """Return the scalar in words, e.g. ``output 'strong', class 'Car', maximum over all frames``."""
        text = f"{'logit of ' if self.scale == 'logit' else ''}output '{self.output}', class {self.label!r}"
        if self.output == "weak":
            return text
        return f"{text}, {'maximum' if self.reduction == 'max' else self.reduction} over all frames"


@dataclass(frozen=True)
class Method:
    """Rule that turns gradients into a map."""

    absolute: bool = False
    # Every ReLU passes the positive part of the gradient back, whatever its forward value (Zeiler, Fergus,
    # "Visualizing and understanding convolutional networks", ECCV 2014).
    deconvnet: bool = False
    smooth: bool = False  # the mean over noisy copies of the input (SmoothGrad: Smilkov et al., arXiv:1706.03825)

    def caption(self) -> str:
        """Return the method in words, the sign included."""
        what = f"SmoothGrad ({_N_COPIES} copies, noise {_NOISE:g} of the range)" if self.smooth else "gradient"
        relu = ", deconvolution ReLU" if self.deconvnet else ""
        sign = "absolute value" if self.absolute else "signed"
        return f"{what} with respect to the standardized log mel-band energies{relu}, {sign}"


#: The maps by name; of the map in their figure the slides say only "gradients".
METHODS: dict[str, Method] = {
    "gradient": Method(),
    "absolute": Method(absolute=True),
    "deconvnet": Method(deconvnet=True, absolute=True),
    "smoothgrad": Method(smooth=True),
}
# Noisy copies of SmoothGrad, and the standard deviation of their noise as a share of the clip's own range.
_N_COPIES, _NOISE = 16, 0.1


def find_method(name: str) -> Method:
    """Return a method by name."""
    if name not in METHODS:
        raise ConfigError(f"saliency method {name!r} is not known. {nearest_names(name, METHODS)}")
    return METHODS[name]


class SaliencyMaps(NamedTuple):
    """Maps of shape (n_maps, n_frames, n_mels), not scaled, and the scalars that they explain, (n_maps,)."""

    maps: np.ndarray
    values: np.ndarray


class Explainer:
    """Saliency maps of one model: one backward pass of the sum of a batch's scalars, whose clips are independent."""

    def __init__(
        self,
        model: keras.Model,
        *,
        classes: Sequence[str],
        standardize: Callable[[np.ndarray], np.ndarray] | None = None,  # of raw log mel
        batch_size: int = 32,
    ) -> None:
        import keras

        if keras.backend.backend() != "tensorflow":
            raise DependencyError(
                f"saliency takes its gradients by tf.GradientTape, but Keras runs on {keras.backend.backend()!r}. "
                "Set KERAS_BACKEND=tensorflow and start again."
            )
        self.model, self.classes = model, tuple(classes)
        self.standardize, self.batch_size = standardize, batch_size
        self._dtype = np.dtype(model.inputs[0].dtype)
        self._kernels: dict[Any, Callable] = {}

    def explain(self, features: np.ndarray, targets: Sequence[Target], *, method: str = "gradient") -> SaliencyMaps:
        """Return the maps of clips (n_clips, n_frames, n_mels), one target for each, of either output."""
        chosen = find_method(method)
        x = np.asarray(features if self.standardize is None else self.standardize(features), self._dtype)
        if not np.isfinite(x).all():
            raise DataError("saliency: the features hold NaN or inf; build the feature store again.")
        if len(targets) != len(x):
            raise DataError(f"saliency: expected one target per clip ({len(x)}), received {len(targets)}.")
        index = np.array(class_indices([target.label for target in targets], self.classes, where="saliency"), np.int32)
        maps, values = np.zeros(x.shape, self._dtype), np.zeros(len(x), self._dtype)
        # Targets that share a graph go together.
        keys = [(target.output, target.reduction, target.scale, chosen.deconvnet) for target in targets]
        for key in sorted(set(keys)):
            rows = [row for row, other in enumerate(keys) if other == key]
            maps[rows], values[rows] = self._gradients(key, x[rows], index[rows])
            if chosen.smooth:
                maps[rows] = self._smooth(key, x[rows], index[rows])
        return SaliencyMaps(np.abs(maps) if chosen.absolute else maps, values)

    def _gradients(self, key: _Key, x: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradients like x and the scalars of the classes `index`, batch after batch."""
        gradients, values = np.empty_like(x), np.empty(len(x), self._dtype)
        # A last, shorter batch is filled up with its own first row: a new shape would be traced again.
        shape = (min(self.batch_size, len(x)), *x.shape[1:])
        if (key, shape) not in self._kernels:
            model = deconvnet_model(self.model) if key[-1] else self.model
            self._kernels[key, shape] = _kernel(model, key, shape, self._dtype)
        kernel = self._kernels[key, shape]
        for start in range(0, len(x), shape[0]):
            rows = np.arange(start, start + shape[0])
            rows[rows >= len(x)] = start
            n = min(shape[0], len(x) - start)
            value, gradient = kernel(x[rows], index[rows])
            values[start : start + n] = value.numpy()[:n]
            gradients[start : start + n] = gradient.numpy()[:n]
        return gradients, values

    def _smooth(self, key: _Key, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return the mean gradient over noisy copies; copies of few clips are stacked into one pass."""
        # The same noise for every clip: a clip's map does not depend on the others of the call.
        noise = np.random.default_rng(0).standard_normal((_N_COPIES, *x.shape[1:])).astype(x.dtype)
        deviation = (_NOISE * (x.max(axis=(1, 2)) - x.min(axis=(1, 2))))[:, None, None]
        together = max(1, self.batch_size // len(x))
        total = np.zeros(x.shape, np.float64)
        for start in range(0, _N_COPIES, together):
            copies = x + deviation * noise[start : start + together, None]  # (copies, clips, frames, mel bands)
            gradients, _ = self._gradients(key, np.concatenate(copies), np.tile(index, len(copies)))
            total += gradients.reshape(copies.shape).sum(axis=0, dtype=np.float64)
        return total / _N_COPIES


def _kernel(model: keras.Model, key: _Key, shape: tuple[int, ...], dtype: np.dtype) -> Callable:
    """Return ``f(x, index) -> (values, gradients)``, traced for one shape of x; `index` (clips,) holds classes."""
    import tensorflow as tf

    output, reduction, scale, _ = key

    @tf.function
    def kernel(x: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            scores = model(x, training=False)[output]  # (clips, frames, classes) or (clips, classes)
            if scale == "logit":
                # The slope of the logit is bounded where rounding has made a score 0 or 1.
                bounded = scores + tf.stop_gradient(tf.clip_by_value(scores, _TINY, 1 - _TINY) - scores)
                scores = tf.math.log(bounded) - tf.math.log1p(-bounded)
            chosen = tf.one_hot(index, scores.shape[-1], dtype=scores.dtype)
            values = tf.reduce_sum(scores * (chosen if output == "weak" else chosen[:, None]), axis=-1)
            if output == "strong" and reduction == "max":
                values = tf.reduce_max(values, axis=-1)
            elif output == "strong":
                values = tf.reduce_sum(values * (1 / shape[1]), axis=-1)
            total = tf.reduce_sum(values)
        gradients = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return values, gradients

    return kernel.get_concrete_function(tf.TensorSpec(shape, dtype), tf.TensorSpec(shape[:1], tf.int32))


def deconvnet_model(model: keras.Model) -> keras.Model:
    """Return `model` with ReLUs that pass the positive part of the gradient back; layers and weights are shared."""
    import keras
    import tensorflow as tf

    @tf.custom_gradient
    def deconvolution(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return tf.nn.relu(x), tf.nn.relu

    def is_relu(layer: keras.layers.Layer) -> bool:
        is_activation = isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu
        return is_activation or isinstance(layer, keras.layers.ReLU)

    for layer in model.layers:
        inner = getattr(layer, "layer", layer)  # of TimeDistributed and other wrappers
        hidden = getattr(inner, "activation", None) is keras.activations.relu and not is_relu(layer)
        is_other = isinstance(layer, keras.layers.ReLU) and (
            layer.max_value is not None or layer.negative_slope or layer.threshold
        )
        # It would keep its plain gradient without a word.
        if hidden or is_other or isinstance(layer, keras.Model):
            raise ModelFileError(
                f"deconvolution ReLU: layer {layer.name!r} holds a ReLU that cannot be replaced; expected ReLUs as "
                "plain layers of their own. Use the method 'gradient'."
            )
    if not any(is_relu(layer) for layer in model.layers):
        raise ModelFileError(f"deconvolution ReLU: model {model.name!r} has no ReLU layer. Use the method 'gradient'.")

    def share(layer: keras.layers.Layer) -> keras.layers.Layer:
        if is_relu(layer):
            return keras.layers.Activation(deconvolution, name=layer.name, dtype=layer.dtype_policy)
        return layer

    return keras.models.clone_model(model, clone_function=share)
