"""Saliency maps with the scalars they explain, and the backend they need. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crnn_weak.errors import DependencyError
from crnn_weak.saliency.targets import Target

__all__ = ["SaliencyMaps", "require_tensorflow"]


@dataclass(frozen=True)
class SaliencyMaps:
    """Maps, the scalars they explain, and their captions.

    Attributes
    ----------
    maps : np.ndarray of float32, shape (n_maps, n_frames, n_mels)
        Signed unless the method drops the sign; not scaled.
    values : np.ndarray of float32, shape (n_maps,)
        The scalars at the input.
    targets : tuple of Target, length n_maps
    captions : tuple of str, length n_maps
        Output, class, reduction, method, sign.
    delta : np.ndarray of float32, shape (n_maps,), or None
        Integrated gradients: sum of the map minus the change of the scalar from the baseline to the input; near 0
        where enough steps were taken. None for other methods.
    """

    maps: np.ndarray
    values: np.ndarray
    targets: tuple[Target, ...]
    captions: tuple[str, ...]
    delta: np.ndarray | None = None


def require_tensorflow() -> None:
    """Import Keras with its environment prepared, and check that it runs on TensorFlow.

    Raises
    ------
    DependencyError
        It runs on another backend.
    """
    import crnn_weak.model  # noqa: F401, I001  (prepares the environment before Keras is imported)
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise DependencyError(
            f"saliency takes its gradients by tf.GradientTape, but Keras runs on {backend!r}; expected 'tensorflow'. "
            "Set KERAS_BACKEND=tensorflow and start again."
        )
