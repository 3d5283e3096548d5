"""`Explainer`: saliency maps of a model, many at a time.

Conventions
-----------
* The network takes standardized log mel; so does `Explainer`. Maps may be asked for with respect to the raw values
  (before standardization): by the chain rule each band's gradient is then divided by that band's standard deviation.
* The network runs as at detection: no dropout, batch normalization with its stored statistics. Clips of a batch
  therefore do not touch each other, and one backward pass of the *sum* of their scalars gives each clip its own
  gradient.
* Every row of a batch carries its own scalar (class, frames), as data rather than as code: one traced graph serves
  all classes and spans of an output, and the last batch is padded so that it is not traced again.
* The scores are the outputs as they are, in [0, 1], or their logits. Where a sigmoid saturates, the gradient of the
  score vanishes: see `Target.scale`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from crnn_weak.errors import ConfigError, DataError, ModelFileError, nearest_names
from crnn_weak.saliency.gradients import attribute, build_kernel, replace_relu
from crnn_weak.saliency.maps import SaliencyMaps, require_tensorflow
from crnn_weak.saliency.targets import SPACES, Method, Space, Target
from crnn_weak.saliency.targets import method as find_method

if TYPE_CHECKING:
    from crnn_weak.features.scaler import Scaler

__all__ = ["Explainer"]


class Explainer:
    """Saliency maps of one model.

    Parameters
    ----------
    model : keras.Model
        Input (clips, frames, mel bands), standardized; outputs a dict with ``strong`` (clips, frames, classes) and
        ``weak`` (clips, classes).
    classes : sequence of str, length n_classes
    hop_seconds : float
        From frame to frame.
    scaler : Scaler, optional
        The one that standardized the features; needed for maps of the raw input.
    batch_size : int
        Maps in one pass. Results do not depend on it, but for rounding.

    Raises
    ------
    DependencyError
        Keras runs on another backend than TensorFlow.
    ModelFileError
        The model lacks an output, or has another number of classes than `classes`.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        classes: Sequence[str],
        hop_seconds: float,
        scaler: Scaler | None = None,
        batch_size: int = 32,
    ) -> None:
        require_tensorflow()
        outputs = model.output if isinstance(getattr(model, "output", None), dict) else {}
        for name in ("strong", "weak"):
            if name not in outputs:
                raise ModelFileError(
                    f"model {model.name!r}: expected the outputs 'strong' and 'weak', received "
                    f"{sorted(outputs) or 'other ones'}."
                )
            if outputs[name].shape[-1] != len(classes):
                raise ModelFileError(
                    f"model {model.name!r} scores {outputs[name].shape[-1]} classes, but {len(classes)} class names "
                    "were given. Use the class list of the model's own file or run."
                )
        if batch_size < 1:
            raise ConfigError(f"saliency batch_size = {batch_size}: expected a whole number of 1 or more.")
        self.model = model
        self.classes = tuple(classes)
        self.hop_seconds = hop_seconds
        self.scaler = scaler
        self.batch_size = batch_size
        self._dtype = np.dtype(model.inputs[0].dtype)
        self._kernels: dict[tuple[tuple[str, str, str, str], tuple[int, int, int]], Callable] = {}

    def explain(
        self,
        features: np.ndarray,
        targets: Sequence[Target],
        *,
        method: str | Method = "gradient",
        space: Space = "standardized",
        baseline: np.ndarray | float = 0.0,
    ) -> SaliencyMaps:
        """Return one map for each pair of a clip and a target.

        Parameters
        ----------
        features : np.ndarray, shape (n_maps, n_frames, n_mels)
            Standardized log mel.
        targets : sequence of Target, length n_maps
            ``targets[k]`` is the scalar for ``features[k]``; the targets may be of both outputs.
        method : str or Method
            A name of `METHODS`, or one of your own.
        space : {"standardized", "raw"}
            What the gradient is taken with respect to.
        baseline : float or np.ndarray that broadcasts to (n_frames, n_mels)
            Integrated gradients: where the line begins, in standardized values. 0 is the average training frame.

        Raises
        ------
        DataError, ModelFileError
            Features whose shape the model does not take, or that are not finite.
        LabelError, ConfigError
            A class, method or span that does not exist; raw maps without a scaler.
        """
        chosen = find_method(method)
        features = self._checked(features)
        targets = tuple(targets)
        if len(targets) != len(features):
            raise DataError(f"saliency: expected one target per clip ({len(features)}), received {len(targets)}.")
        self._check_space(space)
        maps = np.zeros(features.shape, self._dtype)
        values = np.zeros(len(features), self._dtype)
        delta = np.zeros(len(features), self._dtype) if chosen.kind == "integrated_gradients" else None
        # Targets that share a graph go together.
        keys = [(t.output, "max" if t.reduction == "max" else "sum", t.scale) for t in targets]
        for key in sorted(set(keys)):
            rows = [row for row, other in enumerate(keys) if other == key]
            index, weights = self._scalars([targets[row] for row in rows], features.shape[1])
            maps[rows], values[rows], gap = attribute(
                partial(self._batched, (*key, chosen.relu)),
                features[rows],
                index,
                weights,
                method=chosen,
                baseline=np.broadcast_to(np.asarray(baseline, self._dtype), features.shape[1:]),
                batch_size=self.batch_size,
            )
            if delta is not None:
                delta[rows] = gap
        maps = self._finish(maps, features, chosen, space)
        captions = tuple(f"{target.caption(self.classes)}: {chosen.caption(space)}" for target in targets)
        return SaliencyMaps(maps, values, targets, captions, delta)

    def _checked(self, features: np.ndarray) -> np.ndarray:
        features = np.asarray(features, self._dtype)
        _, frames, mels = self.model.input_shape
        if (
            features.ndim != 3
            or (frames is not None and features.shape[1] != frames)
            or (mels is not None and features.shape[2] != mels)
        ):
            raise ModelFileError(
                f"model {self.model.name!r} takes clips of {frames or 'any number of'} frames and {mels} mel bands, "
                f"received an array of shape {features.shape}. Use features of the model's own configuration."
            )
        if not np.isfinite(features).all():
            raise DataError("saliency: the features hold NaN or inf; build the feature store again.")
        return features

    def _check_space(self, space: str) -> None:
        if space not in SPACES:
            raise ConfigError(f"saliency space {space!r} is not known. {nearest_names(space, SPACES)}")
        if space == "raw" and self.scaler is None:
            raise ConfigError("saliency of the raw input: expected the scaler that standardized the features.")

    def _scalars(self, targets: Sequence[Target], n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return class indices (n,) and weights over frames (n, frames): their weighted sum is the scalar."""
        index = np.array([target.index(self.classes) for target in targets], np.int32)
        weights = np.zeros((len(targets), n_frames), self._dtype)
        for row, target in enumerate(targets):
            first, last = target.frames(n_frames, self.hop_seconds)
            weights[row, first:last] = 1 / (last - first) if target.reduction == "mean" else 1
        return index, weights

    def _kernel(self, key: tuple[str, str, str, str], shape: tuple[int, int, int]) -> Callable:
        output, reduction, scale, relu = key
        if (key, shape) not in self._kernels:
            model = replace_relu(self.model, relu)
            self._kernels[key, shape] = build_kernel(model, output, reduction, scale, shape=shape, dtype=self._dtype)
        return self._kernels[key, shape]

    def _batched(
        self, key: tuple[str, str, str, str], x: np.ndarray, index: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        gradients, values = np.empty_like(x), np.empty(len(x), self._dtype)
        # Fewer rows than a batch get a pass of their own size; a last, shorter batch is filled up with its own
        # first row, for a new shape would be traced (and compiled) again.
        size = min(self.batch_size, len(x))
        if not size:
            return gradients, values
        kernel = self._kernel(key, (size, *x.shape[1:]))
        for start in range(0, len(x), size):
            rows = np.arange(start, start + size)
            rows[rows >= len(x)] = start
            n = min(size, len(x) - start)
            value, gradient = kernel(*(tf.convert_to_tensor(array[rows]) for array in (x, index, weights)))
            values[start : start + n] = value.numpy()[:n]
            gradients[start : start + n] = gradient.numpy()[:n]
        return gradients, values

    def _finish(self, maps: np.ndarray, features: np.ndarray, chosen: Method, space: Space) -> np.ndarray:
        if space == "raw" and self.scaler is not None:
            # Integrated gradients are the same in both spaces: the way grows by what the gradient shrinks.
            if chosen.kind != "integrated_gradients":
                maps = maps / np.asarray(self.scaler.std, self._dtype)
            if chosen.times_input:
                features = np.asarray(self.scaler.inverse(features), self._dtype)
        if chosen.times_input:
            maps = maps * features
        return np.abs(maps) if chosen.absolute else maps
