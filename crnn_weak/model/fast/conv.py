"""Convolution of one channel, normalization and pooling over bands as one product, for TensorFlow on a CPU.

The values that a pooled band's convolutions see, its *window*, are one row of a matrix. Its product with the kernel,
laid out for each band of the pool, is the convolution. Mean and variance follow from those of the windows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

# Rows of windows in a chunk: with preset `paper`'s 5 x 64 products a row, some 1 MB, which stays in a core's cache.
_CHUNK_ROWS = 1000
# The moments may be taken over windows of any width; this is the pool of presets `paper` and `quick`, which then need
# one set of windows only.
_MOMENTS_POOL = 5


@dataclass(frozen=True)
class OneChannelConvolution:
    """A convolution of one channel (stride 1, padding 'same'), not yet computed."""

    inputs: tf.Tensor  # float32, (clips, frames, bands, 1); the number of bands is static
    kernel: tf.Tensor  # (height, width, 1, filters)
    bias: tf.Tensor  # (filters,)
    _windows: dict[int, tf.Tensor] = field(default_factory=dict)

    def scaled(self, scale: tf.Tensor, shift: tf.Tensor) -> OneChannelConvolution:
        """Return the convolution whose outputs are ``outputs * scale + shift``, filter by filter."""
        return replace(self, kernel=self.kernel * scale, bias=self.bias * scale + shift)

    def moments(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean and the (biased) variance of each filter's output over clips, frames and bands."""
        n_bands = self.inputs.shape[2]
        pool = max(p for p in range(1, _MOMENTS_POOL + 1) if n_bands % p == 0)
        windows = tf.reshape(self.windows(pool), (-1, self._window_size(pool)))
        kernel = self._kernel_of_windows(pool)
        n_windows = tf.shape(windows)[0]
        mean_window = tf.matmul(tf.ones((1, n_windows)), windows) / tf.cast(n_windows, tf.float32)
        centered = windows - mean_window
        covariance = tf.matmul(centered, centered, transpose_a=True) / tf.cast(n_windows, tf.float32)
        # For each band of the pool on its own, shape (pool, filters); then together.
        means = tf.reshape(tf.matmul(mean_window, kernel), (pool, -1))
        variances = tf.reshape(tf.reduce_sum(kernel * tf.matmul(covariance, kernel), axis=0), (pool, -1))
        mean = tf.reduce_mean(means, axis=0)
        variance = tf.reduce_mean(variances + tf.square(means - mean), axis=0)
        return mean + self.bias, variance

    def largest(self, pool: int) -> tf.Tensor:
        """Return the maximum over each `pool` neighboring bands, shape (clips, frames, bands / pool, filters)."""
        windows = self.windows(pool)
        shape = tf.shape(windows)
        n_frames, n_bands, n_filters = windows.shape[1], windows.shape[2], self.kernel.shape[-1]
        halvings = 0
        while n_frames and n_frames % 2 ** (halvings + 1) == 0 and n_frames * n_bands >> halvings > _CHUNK_ROWS:
            halvings += 1
        chunks = tf.reshape(windows, (shape[0] * 2**halvings, -1, self._window_size(pool)))
        pooled = _largest_product(chunks, self._kernel_of_windows(pool), self.bias)
        pooled = tf.reshape(pooled, (shape[0], shape[1], n_bands, n_filters))
        return tf.ensure_shape(pooled, (self.inputs.shape[0], n_frames, n_bands, n_filters))

    def windows(self, pool: int) -> tf.Tensor:
        """Return what each pooled band's convolutions see, shape (clips, frames, bands / pool, window)."""
        if pool not in self._windows:
            height, width = self.kernel.shape[:2]
            n_frames, n_bands = tf.shape(self.inputs)[1], self.inputs.shape[2]
            around = [((size - 1) // 2, size // 2) for size in (height, width)]
            padded = tf.pad(self.inputs[..., 0], [(0, 0), *around])
            bands = [[first + i for i in range(pool + width - 1)] for first in range(0, n_bands, pool)]
            wide = tf.gather(padded, bands, axis=2)  # (clips, padded frames, bands / pool, pool + width - 1)
            windows = tf.concat([wide[:, i : i + n_frames] for i in range(height)], axis=3)
            self._windows[pool] = tf.ensure_shape(windows, (None, self.inputs.shape[1], None, None))
        return self._windows[pool]

    def _window_size(self, pool: int) -> int:
        height, width = self.kernel.shape[:2]
        return int(height * (pool + width - 1))

    def _kernel_of_windows(self, pool: int) -> tf.Tensor:
        """Return the kernel as a matrix from a window to all filters at every band of the pool."""
        shifted = [tf.pad(self.kernel[:, :, 0], [(0, 0), (i, pool - 1 - i), (0, 0)]) for i in range(pool)]
        return tf.reshape(tf.stack(shifted, axis=2), (self._window_size(pool), pool * self.kernel.shape[-1]))


@tf.custom_gradient
def _largest_product(windows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
    """Return ``max_i(windows @ kernel_i) + bias``, (chunks, rows, filters); `kernel` is all of them side by side."""
    # TensorFlow must not differentiate any of this: XLA's loops have no gradient.
    windows, kernel, bias = tf.stop_gradient(windows), tf.stop_gradient(kernel), tf.stop_gradient(bias)
    pool = kernel.shape[1] // bias.shape[0]
    largest, chosen = _forward(windows, kernel, bias, pool)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        rows = tf.reshape(upstream, (-1, bias.shape[0]))
        d_bias = tf.matmul(tf.ones((1, tf.shape(rows)[0])), rows)[0]
        # Two functions, because the gradient of the windows is seldom asked for and then not computed.
        d_windows = _gradient_of_windows(upstream, chosen, kernel, pool)
        return d_windows, _gradient_of_kernel(upstream, chosen, windows, pool), d_bias

    return largest, gradient


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _forward(windows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, pool: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the maxima, and which of the kernels gave each."""

    def chunk(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        products = tf.split(tf.matmul(rows, kernel), pool, axis=1)
        largest, chosen = products[0], tf.zeros_like(products[0], tf.int8)
        for index in range(1, pool):
            chosen = tf.where(products[index] > largest, tf.cast(index, tf.int8), chosen)
            largest = tf.maximum(largest, products[index])
        return largest + bias, chosen

    return tf.map_fn(chunk, windows, fn_output_signature=(tf.float32, tf.int8))


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _gradient_of_kernel(upstream: tf.Tensor, chosen: tf.Tensor, windows: tf.Tensor, pool: int) -> tf.Tensor:
    n_chunks = tf.shape(windows)[0]

    def chunk(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parts = [
            tf.matmul(windows[i], tf.where(tf.equal(chosen[i], index), upstream[i], 0.0), transpose_a=True)
            for index in range(pool)
        ]
        return i + 1, total + tf.concat(parts, axis=1)

    start = (0, tf.zeros((tf.shape(windows)[2], pool * tf.shape(upstream)[2])))
    return tf.while_loop(lambda i, _: i < n_chunks, chunk, start, maximum_iterations=n_chunks)[1]


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _gradient_of_windows(upstream: tf.Tensor, chosen: tf.Tensor, kernel: tf.Tensor, pool: int) -> tf.Tensor:
    kernels = tf.split(kernel, pool, axis=1)

    def chunk(parts: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        rows, which = parts
        return tf.add_n(
            [
                tf.matmul(tf.where(tf.equal(which, index), rows, 0.0), kernels[index], transpose_b=True)
                for index in range(pool)
            ]
        )

    return tf.map_fn(chunk, (upstream, chosen), fn_output_signature=tf.float32)
