"""Maps, scalars and captions of an explanation. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crnn_weak.saliency.targets import Target

__all__ = ["SaliencyMaps"]


@dataclass(frozen=True)
class SaliencyMaps:
    """Maps, the scalars they explain, and what they are in words.

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

    def scaled(self) -> np.ndarray:
        """Return each map's absolute value divided by its maximum, in [0, 1], for drawing; a zero map stays zero."""
        absolute = np.abs(self.maps)
        top = absolute.max(axis=(1, 2), keepdims=True)
        return absolute / np.where(top > 0, top, 1)
