"""A bidirectional GRU as one recurrence over both directions, for TensorFlow on a CPU.

Keras runs each direction as a loop of some twenty small operations a step. Here the input's product with the kernels
is taken for all steps at once, both directions advance in the same step, the loop alone is compiled by XLA, and its
gradient is written out (XLA cannot differentiate a loop of its own on TensorFlow). The mathematics is that of
``keras.layers.GRU(reset_after=True)``; values and gradients are equal to rounding, under test.

With :math:`m = h R + b_r` and :math:`x = K^T i + b_i`:

.. math::
    z = \\sigma(x_z + m_z), \\quad r = \\sigma(x_r + m_r), \\quad c = \\tanh(x_c + r m_c), \\quad h' = z h + (1 - z) c
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
    kernel = tf.concat([tf.convert_to_tensor(k) for k in kernels], axis=1)  # (features, 2 * 3 units)
    input_bias = tf.concat([tf.convert_to_tensor(b)[0] for b in biases], axis=0)
    recurrent_bias = tf.stack([tf.convert_to_tensor(b)[1] for b in biases])[:, None]  # (2, 1, 3 units)
    recurrent = tf.stack([tf.convert_to_tensor(r) for r in recurrent_kernels])  # (2, units, 3 units)

    n_features = sequences.shape[-1]
    shape = tf.shape(sequences)
    time_major = tf.transpose(sequences, (1, 0, 2))  # (frames, clips, features)
    projected = tf.matmul(tf.reshape(time_major, (-1, n_features)), kernel) + input_bias
    projected = tf.reshape(projected, (shape[1], shape[0], 2, kernel.shape[1] // 2))
    # Direction 1 runs backwards in time: (frames, 2, clips, 3 units)
    inputs = tf.stack([projected[:, :, 0], tf.reverse(projected[:, :, 1], (0,))], axis=1)

    hidden = _recurrence(inputs, recurrent, recurrent_bias)  # (frames, 2, clips, units)
    forward = tf.transpose(hidden[:, 0], (1, 0, 2))
    backward = tf.transpose(tf.reverse(hidden[:, 1], (0,)), (1, 0, 2))
    # The compiled loops forget static shapes; the layers that follow are built on them.
    static = (sequences.shape[0], sequences.shape[1], recurrent.shape[1])
    return tf.ensure_shape(forward, static), tf.ensure_shape(backward, static)


@tf.custom_gradient
def _recurrence(inputs: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor) -> Any:
    # Outside a graph, or under a persistent tape, TensorFlow would record the compiled loop as well and ask XLA for a
    # gradient that it does not have; the one below is all that is needed.
    hidden, gates = _forward(tf.stop_gradient(inputs), tf.stop_gradient(recurrent), tf.stop_gradient(bias))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        d_inputs, d_inner = _backward(upstream, hidden, gates, recurrent)
        previous = tf.concat([tf.zeros_like(hidden[:1]), hidden[:-1]], axis=0)
        # Sums over all steps and clips at once, outside the loop.
        d_recurrent = tf.einsum("tdbi,tdbj->dij", previous, d_inner)
        d_bias = tf.reduce_sum(d_inner, axis=(0, 2))[:, None]
        return d_inputs, d_recurrent, d_bias

    return hidden, gradient


@tf.function(jit_compile=True, reduce_retracing=True)
def _forward(inputs: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Run the loop; return the states and, for the gradient, the gates z, r, c and the inner candidate m_c."""
    n_frames, n_directions, n_clips, width = tf.unstack(tf.shape(inputs))
    units = width // 3
    state = tf.zeros((n_directions, n_clips, units), tf.float32)
    states = tf.TensorArray(tf.float32, size=n_frames, element_shape=state.shape)
    gates = tf.TensorArray(tf.float32, size=n_frames)

    def step(frame: tf.Tensor, state: tf.Tensor, states: Any, gates: Any) -> Any:
        inner = tf.matmul(state, recurrent) + bias
        x_z, x_r, x_c = tf.split(inputs[frame], 3, axis=-1)
        m_z, m_r, m_c = tf.split(inner, 3, axis=-1)
        update, reset = tf.sigmoid(x_z + m_z), tf.sigmoid(x_r + m_r)
        candidate = tf.tanh(x_c + reset * m_c)
        state = update * state + (1.0 - update) * candidate
        saved = tf.concat([update, reset, candidate, m_c], axis=-1)
        return frame + 1, state, states.write(frame, state), gates.write(frame, saved)

    _, _, states, gates = tf.while_loop(
        lambda frame, *_: frame < n_frames, step, (0, state, states, gates), maximum_iterations=n_frames
    )
    return states.stack(), gates.stack()


@tf.function(jit_compile=True, reduce_retracing=True)
def _backward(
    upstream: tf.Tensor, hidden: tf.Tensor, gates: tf.Tensor, recurrent: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Run the loop backwards; return the gradients of the projected input and of the inner product, per step."""
    n_frames = tf.shape(hidden)[0]
    transposed = tf.transpose(recurrent, (0, 2, 1))
    carry = tf.zeros_like(hidden[0])
    d_inputs = tf.TensorArray(tf.float32, size=n_frames)
    d_inner = tf.TensorArray(tf.float32, size=n_frames)

    def step(frame: tf.Tensor, carry: tf.Tensor, d_inputs: Any, d_inner: Any) -> Any:
        update, reset, candidate, m_c = tf.split(gates[frame], 4, axis=-1)
        previous = hidden[tf.maximum(frame - 1, 0)] * tf.cast(frame > 0, tf.float32)
        d_state = upstream[frame] + carry
        d_c = d_state * (1.0 - update) * (1.0 - candidate * candidate)
        d_z = d_state * (previous - candidate) * update * (1.0 - update)
        d_r = d_c * m_c * reset * (1.0 - reset)
        inner = tf.concat([d_z, d_r, d_c * reset], axis=-1)
        carry = d_state * update + tf.matmul(inner, transposed)
        d_inputs = d_inputs.write(frame, tf.concat([d_z, d_r, d_c], axis=-1))
        return frame - 1, carry, d_inputs, d_inner.write(frame, inner)

    _, _, d_inputs, d_inner = tf.while_loop(
        lambda frame, *_: frame >= 0, step, (n_frames - 1, carry, d_inputs, d_inner), maximum_iterations=n_frames
    )
    return d_inputs.stack(), d_inner.stack()
