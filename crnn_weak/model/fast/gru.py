"""A bidirectional GRU as one recurrence over both directions, for TensorFlow on a CPU.

Keras runs each direction as a loop of some twenty small operations a step. Here the input's products with the kernels
are taken for all steps at once, the loop alone is compiled by XLA (one for both directions, or one for each where there
are threads to run them side by side), and the gradient is written out (XLA cannot differentiate a loop of its own on
TensorFlow): a second loop for what must go step by step, and one product over all steps and clips for each weight. The
mathematics is that of ``keras.layers.GRU(reset_after=True)``; values and gradients are equal to rounding, under test.

With :math:`m = h R + b_r` and :math:`x = K^T i + b_i`:

.. math::
    z = \\sigma(x_z + m_z), \\quad r = \\sigma(x_r + m_r), \\quad c = \\tanh(x_c + r m_c), \\quad h' = z h + (1 - z) c

Arrays within are ``(frames, clips, ...)``, one for each direction and both in the input's own time order: a step then
reads and writes whole rows, and nothing has to be reversed or cut out of something larger.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from crnn_weak.model.environment import n_threads

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
        # The biases of z and r do not depend on the state; the candidate's is inside the product with r.
        bias = tf.concat([bias[0, : 2 * units] + bias[1, : 2 * units], bias[0, 2 * units :]], axis=0)
        projected = tf.nn.bias_add(tf.matmul(inputs, kernel), bias)
        return tf.reshape(projected, (n_frames, n_clips, 3 * units))

    projected, recurrent = (project(kernel_f, bias_f), project(kernel_b, bias_b)), (recurrent_f, recurrent_b)
    inner_biases, loops = (bias_f[1, 2 * units :], bias_b[1, 2 * units :]), _loops()
    hidden, gates = _in_loops(_forward, loops, projected, recurrent, inner_biases)

    def gradient(*upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        d_projected, d_inner = _in_loops(_backward, loops, [_swap(u) for u in upstream], hidden, gates, recurrent)
        # The state before each step: of the frame before it, and of the frame after it backwards in time.
        d_recurrent_f = tf.matmul(_rows(hidden[0][:-1], units), _rows(d_inner[0][1:], 3 * units), transpose_a=True)
        d_recurrent_b = tf.matmul(_rows(hidden[1][1:], units), _rows(d_inner[1][:-1], 3 * units), transpose_a=True)
        d_projected_f, d_projected_b = (_rows(x, 3 * units) for x in d_projected)
        d_inner_f, d_inner_b = (_rows(x, 3 * units) for x in d_inner)
        d_inputs = tf.matmul(d_projected_f, kernel_f, transpose_b=True)
        d_inputs += tf.matmul(d_projected_b, kernel_b, transpose_b=True)
        return (
            _swap(tf.reshape(d_inputs, (n_frames, n_clips, n_features))),
            tf.matmul(inputs, d_projected_f, transpose_a=True),
            tf.matmul(inputs, d_projected_b, transpose_a=True),
            d_recurrent_f,
            d_recurrent_b,
            tf.concat([_sum_rows(d_projected_f), _sum_rows(d_inner_f)], axis=0),
            tf.concat([_sum_rows(d_projected_b), _sum_rows(d_inner_b)], axis=0),
        )

    return (_swap(hidden[0]), _swap(hidden[1])), gradient


def _loops() -> tuple[tuple[int, ...], ...]:
    """Return which directions (0 forwards, 1 backwards) share a loop.

    With several threads each direction has its own, and TensorFlow runs the two side by side. On one thread a loop
    for both costs less than two.
    """
    return ((0,), (1,)) if n_threads() > 1 else ((0, 1),)


def _in_loops(function: Any, loops: tuple[tuple[int, ...], ...], *arguments: Any) -> list[list[tf.Tensor]]:
    """Call `function` for the directions of each loop; each argument and each result is one tensor a direction."""
    results = [function(*([a[d] for d in loop] for a in arguments), directions=loop) for loop in loops]
    return [[tensor for result in results for tensor in result[i]] for i in range(2)]


def _swap(x: tf.Tensor) -> tf.Tensor:
    """Clips and frames change places."""
    return tf.transpose(x, (1, 0, 2))


def _rows(x: tf.Tensor, width: int) -> tf.Tensor:
    return tf.reshape(x, (-1, width))


def _sum_rows(x: tf.Tensor) -> tf.Tensor:
    # As a product: three times as fast as TensorFlow's own sum over the first axis.
    return tf.matmul(tf.ones((1, tf.shape(x)[0])), x)


def _frame(step: tf.Tensor, n_frames: tf.Tensor, direction: int) -> tf.Tensor:
    return n_frames - 1 - step if direction else step


@tf.function(jit_compile=True, reduce_retracing=True)
def _forward(
    projected: list[tf.Tensor], recurrent: list[tf.Tensor], biases: list[tf.Tensor], *, directions: tuple[int, ...]
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Run the loop; return each direction's states and, for the gradient, its gates z, r, c and m_c side by side."""
    n_frames, n_clips, _ = tf.unstack(tf.shape(projected[0]))

    def cell(x: tf.Tensor, state: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x_z, x_r, x_c = tf.split(x, 3, axis=-1)
        m_z, m_r, m_c = tf.split(tf.matmul(state, recurrent), 3, axis=-1)
        update, reset = tf.sigmoid(x_z + m_z), tf.sigmoid(x_r + m_r)
        m_c += bias
        candidate = tf.tanh(x_c + reset * m_c)
        state = update * state + (1.0 - update) * candidate
        return state, tf.concat([update, reset, candidate, m_c], axis=-1)

    def step(i: tf.Tensor, states: list[tf.Tensor], hidden: list[Any], gates: list[Any]) -> Any:
        for k, direction in enumerate(directions):
            frame = _frame(i, n_frames, direction)
            states[k], gate = cell(projected[k][frame], states[k], recurrent[k], biases[k])
            hidden[k], gates[k] = hidden[k].write(frame, states[k]), gates[k].write(frame, gate)
        return i + 1, states, hidden, gates

    state = tf.zeros((n_clips, tf.shape(recurrent[0])[0]))
    start = (0, [state for _ in directions], _arrays(n_frames, directions), _arrays(n_frames, directions))
    *_, hidden, gates = tf.while_loop(lambda i, *_: i < n_frames, step, start, maximum_iterations=n_frames)
    return [array.stack() for array in hidden], [array.stack() for array in gates]


@tf.function(jit_compile=True, reduce_retracing=True)
def _backward(
    upstream: list[tf.Tensor],
    hidden: list[tf.Tensor],
    gates: list[tf.Tensor],
    recurrent: list[tf.Tensor],
    *,
    directions: tuple[int, ...],
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Run the loop backwards; return, for each direction, the gradients of the projected input and of ``h R``."""
    n_frames = tf.shape(hidden[0])[0]
    transposed = [tf.transpose(r) for r in recurrent]

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

    def step(i: tf.Tensor, carries: list[tf.Tensor], d_projected: list[Any], d_inner: list[Any]) -> Any:
        not_first = tf.cast(i > 0, tf.float32)
        for k, direction in enumerate(directions):
            frame, before = (_frame(n, n_frames, direction) for n in (i, tf.maximum(i - 1, 0)))
            previous = hidden[k][before] * not_first
            carries[k], projected, inner = cell(
                upstream[k][frame], previous, gates[k][frame], carries[k], transposed[k]
            )
            d_projected[k], d_inner[k] = d_projected[k].write(frame, projected), d_inner[k].write(frame, inner)
        return i - 1, carries, d_projected, d_inner

    carry = tf.zeros_like(hidden[0][0])
    start = (n_frames - 1, [carry for _ in directions], _arrays(n_frames, directions), _arrays(n_frames, directions))
    *_, d_projected, d_inner = tf.while_loop(lambda i, *_: i >= 0, step, start, maximum_iterations=n_frames)
    return [array.stack() for array in d_projected], [array.stack() for array in d_inner]


def _arrays(n_frames: tf.Tensor, directions: tuple[int, ...]) -> list[Any]:
    return [tf.TensorArray(tf.float32, size=n_frames) for _ in directions]
