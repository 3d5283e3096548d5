"""The faster layers are Keras' own layers: values, gradients, weights, moving statistics; and they fall back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from crnn_weak.model import fast

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
LARGEST = "crnn_weak.model.fast.conv.OneChannelConvolution.largest"
MASK = np.array([[True, True, False, False], [True] * 4])


def _gru(units=5, **options):
    return keras.layers.GRU(units, return_sequences=True, **options)


def _data(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _twins(make, inputs):
    """Build ``make(library)`` of the fast library and of Keras, with the same, non-trivial weights."""
    ours, theirs = make(fast), make(keras.layers)
    ours.build(inputs.shape)
    theirs.build(inputs.shape)
    weights = [_data(*w.shape, seed=i + 1) * 0.5 for i, w in enumerate(theirs.get_weights())]
    weights = [np.abs(w) + 0.1 if "variance" in v.name else w for w, v in zip(weights, theirs.weights, strict=True)]
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in weights]
    assert [v.name for v in ours.weights] == [v.name for v in theirs.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def _values_and_gradients(layer, inputs, *, in_graph, **options):
    """Outputs, and the gradients by the inputs and by every weight of a sum whose terms all weigh differently."""

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, **options)
            upstream = tf.cast(_data(*outputs.shape, seed=99), outputs.dtype)
            total = tf.reduce_sum(outputs * upstream)
        variables = [v.value for v in layer.trainable_weights]
        return outputs, tape.gradient(total, [x, *variables])

    outputs, gradients = (tf.function(run) if in_graph else run)(tf.constant(inputs))
    return np.asarray(outputs), [np.asarray(g) for g in gradients]


def _assert_equal(make, inputs, *, in_graph=True, **options):
    """Compare values, gradients, and the statistics that moved."""
    ours, theirs = _twins(make, inputs)
    mine = _values_and_gradients(ours, inputs, in_graph=in_graph, **options)
    wanted = _values_and_gradients(theirs, inputs, in_graph=in_graph, **options)
    np.testing.assert_allclose(mine[0], wanted[0], **CLOSE)
    for one, other in zip(mine[1], wanted[1], strict=True):
        # A bias in front of a normalization has no gradient but rounding: hence 1 as the least scale.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(other).max()))
    for one, other in zip(ours.non_trainable_weights, theirs.non_trainable_weights, strict=True):
        np.testing.assert_allclose(one, other, err_msg=other.name, **CLOSE)


def _assert_same_answer(make, inputs, **call):
    ours, theirs = _twins(make, inputs)
    np.testing.assert_allclose(ours(inputs, **call), theirs(inputs, **call), **CLOSE)


@pytest.fixture
def no_shortcut(monkeypatch):
    """Make every shortcut fail, so that only the parent's own computation can answer."""

    def fail(*_, **__):
        raise AssertionError("the shortcut was taken")

    monkeypatch.setattr("crnn_weak.model.fast.gru.bidirectional_gru", fail)
    monkeypatch.setattr("tensorflow.raw_ops.FusedBatchNormV3", fail)


def _block(pool=5, pooling=None, normalized=True, dtype=None, of_keras=False, **convolution):
    """Return the maker of a block; `pooling` are other options of the pooling layer, which may be Keras' own."""
    convolution = {"filters": 6, "kernel_size": 3, "padding": "same", **convolution}
    pooling = pooling or {"pool_size": (1, pool)}

    def make(m):
        pooling_layer = (keras.layers if of_keras else m).MaxPooling2D(**pooling, dtype=dtype)
        chain = [m.Conv2D(**convolution, dtype=dtype), pooling_layer]
        if normalized:
            chain.insert(1, m.BatchNormalization(momentum=0.5, dtype=dtype))
        return keras.Sequential(chain)

    return make


def _both(units, merge="concat"):
    return lambda m: m.Bidirectional(_gru(units), merge_mode=merge)


@pytest.mark.parametrize(
    ("make", "shape", "n_threads", "call"),
    [
        # With one thread both directions share a loop; with more each has its own.
        (_both(2), (1, 1, 3), 1, {}),
        (_both(2, "mul"), (1, 1, 3), 2, {"in_graph": False}),
        (_both(1), (5, 12, 1), 1, {}),
        (_both(32), (2, 33, 16), 2, {}),
        (_both(32, "mul"), (2, 33, 16), 1, {}),
        (_both(32), (2, 33, 16), 1, {"in_graph": False}),
        (lambda m: m.TimeDistributed(keras.layers.Dense(5)), (3, 7, 4), 1, {}),
        (lambda m: m.TimeDistributed(keras.layers.Dense(5, activation="sigmoid")), (3, 7, 4), 1, {}),
        (lambda m: m.BatchNormalization(), (3, 7, 5, 4), 1, {"training": False}),
        (lambda m: m.BatchNormalization(), (3, 7, 5, 4), 1, {"training": True}),
        (lambda m: m.BatchNormalization(), (1, 2, 1, 3), 1, {"training": True}),
        (lambda m: m.BatchNormalization(trainable=False), (4, 5, 6, 3), 1, {"training": True}),  # frozen
        (_block(5), (3, 8, 10, 1), 1, {"training": False}),  # frames in chunks
        (_block(5), (3, 8, 10, 1), 1, {"training": True}),
        (_block(4), (1, 1, 4, 1), 1, {"training": True}),
        (_block(3, kernel_size=(2, 4)), (2, 5, 6, 1), 1, {"training": False}),  # pads more behind than in front
        (_block(3, kernel_size=(2, 4)), (2, 5, 6, 1), 1, {"training": True}),
        (_block(1, kernel_size=5), (2, 5, 6, 1), 1, {"training": True}),
        (_block(5, normalized=False), (2, 4, 10, 1), 1, {}),
    ],
)
def test_values_gradients_and_statistics_equal_keras(make, shape, n_threads, call, monkeypatch):
    monkeypatch.setattr("crnn_weak.model.fast.gru.n_threads", lambda: n_threads)
    _assert_equal(make, _data(*shape) if len(shape) == 3 else _data(*shape) * 2 + 3, **call)


@pytest.mark.usefixtures("no_shortcut")
@pytest.mark.parametrize(
    ("make", "shape", "call"),
    [
        (lambda m: m.Bidirectional(_gru(reset_after=False)), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(use_bias=False)), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(activation="relu")), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(recurrent_activation="hard_sigmoid")), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(unroll=True)), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(dtype="float64"), dtype="float64"), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(dtype="mixed_bfloat16"), dtype="mixed_bfloat16"), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(go_backwards=True), backward_layer=_gru()), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(keras.layers.GRU(5)), (2, 4, 3), {}),  # the last output only
        (lambda m: m.Bidirectional(keras.layers.LSTM(5, return_sequences=True)), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru(), merge_mode="ave"), (2, 4, 3), {}),
        (lambda m: m.Bidirectional(_gru()), (2, 4, 3), {"mask": MASK}),
        (lambda m: m.Bidirectional(_gru()), (2, 4, 3), {"initial_state": [_data(2, 5, seed=3), _data(2, 5, seed=4)]}),
        (lambda m: m.BatchNormalization(), (3, 7, 4), {"training": True}),
        (lambda m: m.BatchNormalization(axis=1), (3, 4, 5, 6), {"training": True}),
        (lambda m: m.BatchNormalization(scale=False), (3, 7, 5, 4), {"training": True}),
        (lambda m: m.BatchNormalization(renorm=True), (3, 7, 5, 4), {"training": True}),
        (lambda m: m.BatchNormalization(dtype="float64"), (3, 7, 5, 4), {"training": True}),
        (lambda m: m.TimeDistributed(keras.layers.Conv2D(2, 3)), (2, 3, 6, 4, 1), {}),
        (lambda m: m.TimeDistributed(keras.layers.Dense(5)), (2, 4, 3), {"mask": MASK}),
    ],
)
def test_what_the_shortcuts_do_not_hold_for_is_the_parents(make, shape, call):
    _assert_same_answer(make, _data(*shape), **call)


@pytest.mark.usefixtures("no_shortcut")
def test_on_a_gpu_and_with_dropout_everything_is_the_parents(monkeypatch):
    for options in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        assert fast.Bidirectional(_gru(**options))(_data(2, 4, 3), training=True).shape == (2, 4, 10)
    monkeypatch.setattr(fast, "has_gpu", lambda: True)
    _assert_same_answer(lambda m: m.Bidirectional(_gru()), _data(2, 4, 3))
    _assert_same_answer(lambda m: m.BatchNormalization(), _data(2, 3, 4, 5), training=True)


@pytest.mark.usefixtures("no_shortcut")
def test_the_shortcut_of_the_recurrence_is_taken():
    with pytest.raises(AssertionError, match="shortcut"):
        fast.Bidirectional(_gru())(_data(2, 3, 4))


def test_equal_maxima_send_the_gradient_the_same_way():
    """A padded clip is constant, so whole windows of bands are equal."""
    inputs = np.zeros((2, 6, 10, 1), np.float32)
    inputs[0, :3] = _data(3, 10, 1)
    _assert_equal(_block(), inputs, training=True)


@pytest.mark.parametrize("mean", [pytest.param(0, marks=pytest.mark.slow), 100])
def test_it_is_nearer_to_double_precision_than_keras(mean):
    """Sums over many frames round; the covariance is that of centered windows, so that a mean costs no digits."""
    inputs = _data(4, 250, 40, 1) + mean
    ours, theirs = _twins(_block(), inputs)
    exact = _block(dtype="float64")(keras.layers)
    exact.build(inputs.shape)
    exact.set_weights(theirs.get_weights())
    results = [_values_and_gradients(chain, inputs, in_graph=True, training=True) for chain in (ours, theirs)]
    truth = _values_and_gradients(exact, inputs.astype(np.float64), in_graph=True, training=True)
    assert truth[0].dtype == np.float64
    for mine, other, true in zip(*([values, *gradients] for values, gradients in (*results, truth)), strict=True):
        error = abs(mine - true).max()
        assert error <= max(abs(other - true).max(), 1e-6 * abs(true).max())


def test_the_first_block_is_taken_together_in_a_graph_and_not_outside(monkeypatch):
    inputs = _data(2, 4, 10, 1)
    ours, _ = _twins(_block(), inputs)
    taken = []
    monkeypatch.setattr(LARGEST, lambda self, pool: taken.append(pool) or self.inputs[:, :, ::pool])
    ours(inputs)
    assert not taken
    tf.function(ours)(inputs)
    assert taken == [5]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 4, 10, 2), {}),
        ((2, 4, 10, 1), {"use_bias": False}),
        ((2, 4, 10, 1), {"activation": "relu"}),
        ((2, 5, 12, 1), {"padding": "valid"}),
        ((2, 4, 10, 1), {"strides": (1, 2)}),
        ((2, 4, 10, 1), {"dilation_rate": (2, 1)}),
        ((2, 4, 11, 1), {}),
        ((2, 4, 10, 1), {"pooling": {"pool_size": (2, 2)}}),
        ((2, 4, 10, 1), {"pooling": {"pool_size": (1, 5), "strides": (1, 2)}}),
        ((2, 4, 10, 1), {"of_keras": True}),
    ],
    ids=str,
)
def test_the_first_block_falls_back(shape, options, monkeypatch):
    monkeypatch.setattr(LARGEST, None)
    _assert_equal(_block(**options), _data(*shape), training=True)
