"""Maps made of many gradients: SmoothGrad and integrated gradients.

NumPy only; the gradient is a function handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from crnn_weak.saliency.targets import Method

__all__ = ["Gradient", "attribute"]

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
        Copies of several maps go through the gradient together, up to this many rows.

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
        # The same noise for every clip: a clip's map does not depend on its neighbours in the call.
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
