"""Gradients are taken by ``tf.GradientTape``: the one place that says so when Keras runs on something else."""

from __future__ import annotations

from crnn_weak.errors import DependencyError

__all__ = ["require_tensorflow"]


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
