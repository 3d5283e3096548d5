"""A bidirectional GRU as one recurrence over both directions, for TensorFlow on a CPU.

Keras runs each direction as a loop of some twenty small operations a step. Here the input's products with the kernels
are taken for all steps at once, both directions advance in the same step, the loop alone is compiled by XLA, and the
gradient is written out (XLA cannot differentiate a loop of its own on TensorFlow): a second loop for what must go
step by step, and one product over all steps and clips for each weight. The mathematics is that of
``keras.layers.GRU(reset_after=True)``; values and gradients are equal to rounding, under test.

With :math:`m = h R + b_r` and :math:`x = K^T i + b_i`:

.. math::
    z = \\sigma(x_z + m_z), \\quad r = \\sigma(x_r + m_r), \\quad c = \\tanh(x_c + r m_c), \\quad h' = z h + (1 - z) c

Arrays within are ``(frames, clips, ...)``, one for each direction and both in the input's own time order: a step then
reads and writes whole rows, and nothing has to be reversed or cut out of something larger.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

__all__ = ["bidirectional_gru"]


def bidirectional_gru(
    sequences: tf.Tensor, *, kernels: tuple[Any, Any], recurrent_kernels: tuple[Any, Any], biases: tuple[Any, Any]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the outputs of the forward and of the backward GRU, both in the input's own time order.

    Parameters
    ----------
    sequences : tf.Tensor of float32, shape (clips, frames, features)
    kernels : two of shape (features, 3 * units)
        Gates in Keras' order: update z, reset r, candidate.
    recurrent_kernels : two of shape (units, 3 * units)
    biases : two of shape (2, 3 * units)
        Row 0 for the input, row 1 for the recurrence.

    Returns
    -------
    forward, backward : tf.Tensor of float32, shape (clips, frames, units)
    """
    weights = [tf.convert_to_tensor(w) for pair in (kernels, recurrent_kernels, biases) for w in pair]
    outputs = _both_directions(sequences, *weights)
    # The compiled loops forget static shapes; the layers that follow are built on them.
    static = (sequences.shape[0], sequences.shape[1], weights[2].shape[0])
    return tf.ensure_shape(outputs[0], static), tf.ensure_shape(outputs[1], static)


@tf.custom_gradient
def _both_directions(
    sequences: tf.Tensor,
    kernel_f: tf.Tensor,
    kernel_b: tf.Tensor,
    recurrent_f: tf.Tensor,
    recurrent_b: tf.Tensor,
    bias_f: tf.Tensor,
    bias_b: tf.Tensor,
) -> Any:
    # Outside a graph, or under a persistent tape, TensorFlow would record the compiled loop as well and ask XLA for a
    # gradient that it does not have; the one below is all that is needed.
    sequences, kernel_f, kernel_b, recurrent_f, recurrent_b, bias_f, bias_b = (
        tf.stop_gradient(x) for x in (sequences, kernel_f, kernel_b, recurrent_f, recurrent_b, bias_f, bias_b)
    )
    shape = tf.shape(sequences)
    n_clips, n_frames, units = shape[0], shape[1], recurrent_f.shape[0]
    n_features = sequences.shape[-1]
    inputs = _rows(_swap(sequences), n_features)  # (frames * clips, features)

    def project(kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        # What the recurrence adds to z and r whatever its state is added here; the candidate's stands behind r.
        bias = tf.concat([bias[0, : 2 * units] + bias[1, : 2 * units], bias[0, 2 * units :]], axis=0)
        projected = tf.nn.bias_add(tf.matmul(inputs, kernel), bias)
        return tf.reshape(projected, (n_frames, n_clips, 3 * units))

    hidden_f, hidden_b, gates_f, gates_b = _forward(
        project(kernel_f, bias_f), project(kernel_b, bias_b),
        recurrent_f, recurrent_b, bias_f[1, 2 * units :], bias_b[1, 2 * units :],
    )  # fmt: skip

    def gradient(upstream_f: tf.Tensor, upstream_b: tf.Tensor) -> tuple[tf.Tensor, ...]:
        loop = _backward(
            _swap(upstream_f), _swap(upstream_b), hidden_f, hidden_b, gates_f, gates_b, recurrent_f, recurrent_b
        )
        d_projected_f, d_projected_b, d_inner_f, d_inner_b = (_rows(x, 3 * units) for x in loop)
        d_inputs = tf.matmul(d_projected_f, kernel_f, transpose_b=True)
        d_inputs += tf.matmul(d_projected_b, kernel_b, transpose_b=True)
        # The state before each step: of the frame before it, and of the frame after it backwards in time.
        d_recurrent_f = tf.matmul(_rows(hidden_f[:-1], units), _rows(loop[2][1:], 3 * units), transpose_a=True)
        d_recurrent_b = tf.matmul(_rows(hidden_b[1:], units), _rows(loop[3][:-1], 3 * units), transpose_a=True)
        return (
            _swap(tf.reshape(d_inputs, (n_frames, n_clips, n_features))),
            tf.matmul(inputs, d_projected_f, transpose_a=True),
            tf.matmul(inputs, d_projected_b, transpose_a=True),
            d_recurrent_f,
            d_recurrent_b,
            tf.concat([_sum_rows(d_projected_f), _sum_rows(d_inner_f)], axis=0),
            tf.concat([_sum_rows(d_projected_b), _sum_rows(d_inner_b)], axis=0),
        )

    return (_swap(hidden_f), _swap(hidden_b)), gradient


def _swap(x: tf.Tensor) -> tf.Tensor:
    """Clips and frames change places."""
    return tf.transpose(x, (1, 0, 2))


def _rows(x: tf.Tensor, width: int) -> tf.Tensor:
    return tf.reshape(x, (-1, width))


def _sum_rows(x: tf.Tensor) -> tf.Tensor:
    # As a product: three times as fast as TensorFlow's own sum over the first axis.
    return tf.matmul(tf.ones((1, tf.shape(x)[0])), x)


@tf.function(jit_compile=True, reduce_retracing=True)
def _forward(
    projected_f: tf.Tensor,
    projected_b: tf.Tensor,
    recurrent_f: tf.Tensor,
    recurrent_b: tf.Tensor,
    bias_f: tf.Tensor,
    bias_b: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run the loop; return both directions' states and, for the gradient, their gates z, r, c and m_c side by side."""
    n_frames, n_clips, _ = tf.unstack(tf.shape(projected_f))

    def cell(x: tf.Tensor, state: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x_z, x_r, x_c = tf.split(x, 3, axis=-1)
        m_z, m_r, m_c = tf.split(tf.matmul(state, recurrent), 3, axis=-1)
        update, reset = tf.sigmoid(x_z + m_z), tf.sigmoid(x_r + m_r)
        m_c += bias
        candidate = tf.tanh(x_c + reset * m_c)
        state = update * state + (1.0 - update) * candidate
        return state, tf.concat([update, reset, candidate, m_c], axis=-1)

    def step(i: tf.Tensor, state_f: tf.Tensor, state_b: tf.Tensor, kept: list[Any]) -> Any:
        j = n_frames - 1 - i  # the frame of the direction that runs backwards
        state_f, gates_f = cell(projected_f[i], state_f, recurrent_f, bias_f)
        state_b, gates_b = cell(projected_b[j], state_b, recurrent_b, bias_b)
        written = zip(kept, (i, j, i, j), (state_f, state_b, gates_f, gates_b), strict=True)
        return i + 1, state_f, state_b, [array.write(frame, value) for array, frame, value in written]

    state = tf.zeros((n_clips, tf.shape(recurrent_f)[0]))
    kept = [tf.TensorArray(tf.float32, size=n_frames) for _ in range(4)]
    *_, kept = tf.while_loop(lambda i, *_: i < n_frames, step, (0, state, state, kept), maximum_iterations=n_frames)
    return tuple(array.stack() for array in kept)


@tf.function(jit_compile=True, reduce_retracing=True)
def _backward(
    upstream_f: tf.Tensor,
    upstream_b: tf.Tensor,
    hidden_f: tf.Tensor,
    hidden_b: tf.Tensor,
    gates_f: tf.Tensor,
    gates_b: tf.Tensor,
    recurrent_f: tf.Tensor,
    recurrent_b: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run the loop backwards; return, for each direction, the gradients of the projected input and of ``h R``."""
    n_frames = tf.shape(hidden_f)[0]
    transposed_f, transposed_b = tf.transpose(recurrent_f), tf.transpose(recurrent_b)

    def cell(
        upstream: tf.Tensor, previous: tf.Tensor, gates: tf.Tensor, carry: tf.Tensor, transposed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        update, reset, candidate, m_c = tf.split(gates, 4, axis=-1)
        d_state = upstream + carry
        d_c = d_state * (1.0 - update) * (1.0 - candidate * candidate)
        d_z = d_state * (previous - candidate) * update * (1.0 - update)
        d_r = d_c * m_c * reset * (1.0 - reset)
        inner = tf.concat([d_z, d_r, d_c * reset], axis=-1)
        return d_state * update + tf.matmul(inner, transposed), tf.concat([d_z, d_r, d_c], axis=-1), inner

    def step(i: tf.Tensor, carry_f: tf.Tensor, carry_b: tf.Tensor, kept: list[Any]) -> Any:
        j = n_frames - 1 - i
        not_first = tf.cast(i > 0, tf.float32)
        previous_f = hidden_f[tf.maximum(i - 1, 0)] * not_first
        previous_b = hidden_b[tf.minimum(j + 1, n_frames - 1)] * not_first
        carry_f, projected_f, inner_f = cell(upstream_f[i], previous_f, gates_f[i], carry_f, transposed_f)
        carry_b, projected_b, inner_b = cell(upstream_b[j], previous_b, gates_b[j], carry_b, transposed_b)
        written = zip(kept, (i, j, i, j), (projected_f, projected_b, inner_f, inner_b), strict=True)
        return i - 1, carry_f, carry_b, [array.write(frame, value) for array, frame, value in written]

    carry = tf.zeros_like(hidden_f[0])
    kept = [tf.TensorArray(tf.float32, size=n_frames) for _ in range(4)]
    start = (n_frames - 1, carry, carry, kept)
    *_, kept = tf.while_loop(lambda i, *_: i >= 0, step, start, maximum_iterations=n_frames)
    return tuple(array.stack() for array in kept)
