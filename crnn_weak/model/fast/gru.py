"""A bidirectional GRU as one recurrence over both directions, for TensorFlow on a CPU; XLA compiles the loops alone.

It is ``keras.layers.GRU(reset_after=True)``: with ``m = h R + b_r``, ``x = i K + b_i``, ``z = sigmoid(x_z + m_z)``,
``r = sigmoid(x_r + m_r)``, ``c = tanh(x_c + r m_c)``, ``h' = z h + (1 - z) c``. The gradient is written out, because
XLA cannot differentiate its own loops. Arrays are ``(frames, clips, ...)`` for each direction, in the input's order.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from crnn_weak.environment import n_threads


def bidirectional_gru(sequences: tf.Tensor, cells: tuple[Any, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the outputs of Keras' forward and backward GRU cells, ``(clips, frames, units)``, both in time order."""
    names = ("kernel", "recurrent_kernel", "bias")
    weights = [tf.convert_to_tensor(getattr(cell, name)) for name in names for cell in cells]
    ahead, back = _both_directions(sequences, *weights)
    # The compiled loops forget static shapes; the layers that follow are built on them.
    static = (sequences.shape[0], sequences.shape[1], weights[2].shape[0])
    return tf.ensure_shape(ahead, static), tf.ensure_shape(back, static)


@tf.custom_gradient
def _both_directions(*arguments: tf.Tensor) -> Any:
    """Run both GRUs on the first of the arguments; the others are the weights, forward and backward in turn."""
    # Outside a graph, or under a persistent tape, TensorFlow would record the compiled loop as well and ask XLA for a
    # gradient that it does not have; the one below is all that is needed.
    sequences, *weights = (tf.stop_gradient(x) for x in arguments)
    kernels, recurrent, biases = weights[:2], weights[2:4], weights[4:]
    shape = tf.shape(sequences)
    n_clips, n_frames, units = shape[0], shape[1], recurrent[0].shape[0]
    n_features = sequences.shape[-1]
    inputs = tf.reshape(_swap(sequences), (-1, n_features))  # (frames * clips, features)

    def project(kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        # The biases of z and r do not depend on the state; the candidate's is inside the product with r.
        bias = tf.concat([bias[0, : 2 * units] + bias[1, : 2 * units], bias[0, 2 * units :]], axis=0)
        projected = tf.nn.bias_add(tf.matmul(inputs, kernel), bias)
        return tf.reshape(projected, (n_frames, n_clips, 3 * units))

    projected = [project(kernel, bias) for kernel, bias in zip(kernels, biases, strict=True)]
    inner_biases = [bias[1, 2 * units :] for bias in biases]
    hidden = _in_loops(_forward, projected, recurrent, inner_biases)

    def gradient(*upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # The state before each step: of the frame before it, and of the frame after it backwards in time.
        nothing = tf.zeros((1, n_clips, units))
        before = tf.concat([nothing, hidden[0][:-1]], axis=0), tf.concat([hidden[1][1:], nothing], axis=0)
        states = [tf.reshape(h, (-1, units)) for h in before]
        products = [
            tf.reshape(tf.matmul(h, r), (n_frames, n_clips, 3 * units)) for h, r in zip(states, recurrent, strict=True)
        ]
        gradients = _in_loops(
            _backward, [_swap(u) for u in upstream], before, projected, products, recurrent, inner_biases
        )
        d_projected, d_inner = ([tf.reshape(pair[i], (-1, 3 * units)) for pair in gradients] for i in range(2))
        d_inputs = tf.matmul(d_projected[0], kernels[0], transpose_b=True)
        d_inputs += tf.matmul(d_projected[1], kernels[1], transpose_b=True)
        return (
            _swap(tf.reshape(d_inputs, (n_frames, n_clips, n_features))),
            *[tf.matmul(inputs, d, transpose_a=True) for d in d_projected],
            *[tf.matmul(h, d, transpose_a=True) for h, d in zip(states, d_inner, strict=True)],
            *[tf.stack([_sum_rows(p), _sum_rows(i)]) for p, i in zip(d_projected, d_inner, strict=True)],
        )

    return (_swap(hidden[0]), _swap(hidden[1])), gradient


def _in_loops(function: Any, *arguments: Any) -> list[Any]:
    """Call `function` for the directions (0 forwards, 1 backwards) of each loop; one item for each in all arguments."""
    results = []
    # With several threads each direction has a loop of its own; on one thread a loop for both costs less than two.
    for loop in ((0,), (1,)) if n_threads() > 1 else ((0, 1),):
        of_loop = [[argument[direction] for direction in loop] for argument in arguments]
        results += function(*of_loop, directions=loop)
    return results


def _swap(x: tf.Tensor) -> tf.Tensor:
    """Swap the axes of clips and frames."""
    return tf.transpose(x, (1, 0, 2))


def _sum_rows(x: tf.Tensor) -> tf.Tensor:
    # As a product: three times as fast as TensorFlow's own sum over the first axis.
    return tf.matmul(tf.ones((1, tf.shape(x)[0])), x)[0]


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _forward(
    projected: list[tf.Tensor], recurrent: list[tf.Tensor], biases: list[tf.Tensor], *, directions: tuple[int, ...]
) -> list[tf.Tensor]:
    """Run the loop; return each direction's states, shape (frames, clips, units)."""
    n_frames, n_clips, _ = tf.unstack(tf.shape(projected[0]))
    units = tf.shape(recurrent[0])[0]

    def step(i: tf.Tensor, states: list[tf.Tensor], hidden: list[Any]) -> Any:
        for k, direction in enumerate(directions):
            frame = n_frames - 1 - i if direction else i
            # Each gate by one tf.slice: of a slice of a slice XLA makes code that handles one value at a time, and
            # `projected[k][frame, :, a:b]` with a tensor as frame gives wrong values (TensorFlow 2.21, XLA on CPU).
            x = [tf.slice(projected[k], (frame, 0, gate * units), (1, n_clips, units))[0] for gate in range(3)]
            update, _, candidate, _ = _gates(x, tf.matmul(states[k], recurrent[k]), biases[k])
            state = update * states[k] + (1.0 - update) * candidate
            states[k] = tf.ensure_shape(state, states[k].shape)
            hidden[k] = hidden[k].write(frame, states[k])
        return i + 1, states, hidden

    arrays = [tf.TensorArray(tf.float32, size=n_frames) for _ in directions]
    start = (0, [tf.zeros((n_clips, units)) for _ in directions], arrays)
    *_, hidden = tf.while_loop(lambda i, *_: i < n_frames, step, start, maximum_iterations=n_frames)
    return [array.stack() for array in hidden]


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _backward(
    upstream: list[tf.Tensor],
    before: list[tf.Tensor],
    projected: list[tf.Tensor],
    products: list[tf.Tensor],
    recurrent: list[tf.Tensor],
    biases: list[tf.Tensor],
    *,
    directions: tuple[int, ...],
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Run the loop backwards; return, for each direction, the gradients of the projected input and of ``h R``."""
    # The factors of all steps follow from the states at once; the loop itself only passes the gradient on.
    n_frames, n_clips, units = tf.unstack(tf.shape(before[0]))
    transposed = [tf.transpose(r) for r in recurrent]
    updates, factors, candidate_factors = [], [], []
    for k in range(len(directions)):
        update, reset, candidate, m_c = _gates(tf.split(projected[k], 3, axis=-1), products[k], biases[k])
        of_candidate = (1.0 - update) * (1.0 - candidate * candidate)
        of_update = (before[k] - candidate) * update * (1.0 - update)
        of_reset = of_candidate * m_c * reset * (1.0 - reset)
        updates.append(update)
        factors.append(tf.stack([of_update, of_reset, of_candidate * reset], axis=2))  # (frames, clips, 3, units)
        candidate_factors.append(of_candidate)

    def step(i: tf.Tensor, carries: list[tf.Tensor], d_states: list[Any]) -> Any:
        for k, direction in enumerate(directions):
            frame = n_frames - 1 - i if direction else i
            d_state = upstream[k][frame] + carries[k]
            inner = tf.reshape(d_state[:, None] * factors[k][frame], (n_clips, 3 * units))
            carry = d_state * updates[k][frame] + tf.matmul(inner, transposed[k])
            carries[k] = tf.ensure_shape(carry, carries[k].shape)
            d_states[k] = d_states[k].write(frame, d_state)
        return i - 1, carries, d_states

    arrays = [tf.TensorArray(tf.float32, size=n_frames) for _ in directions]
    start = (n_frames - 1, [tf.zeros_like(before[0][0]) for _ in directions], arrays)
    *_, d_states = tf.while_loop(lambda i, *_: i >= 0, step, start, maximum_iterations=n_frames)
    gradients = []
    for array, factor, of_candidate in zip(d_states, factors, candidate_factors, strict=True):
        d_state = array.stack()
        d_inner = d_state[:, :, None] * factor
        d_projected = tf.concat([d_inner[:, :, :2], (d_state * of_candidate)[:, :, None]], axis=2)
        gradients.append((d_projected, d_inner))
    return gradients


def _gates(x: list[tf.Tensor], product: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Return z, r, c and m_c, shape (..., units), of each gate's projected input and of ``h R`` (..., 3 * units)."""
    x_z, x_r, x_c = x
    m_z, m_r, m_c = tf.split(product, 3, axis=-1)
    update, reset, m_c = tf.sigmoid(x_z + m_z), tf.sigmoid(x_r + m_r), m_c + bias
    return update, reset, tf.tanh(x_c + reset * m_c), m_c
