"""The faster layers are Keras' own layers: values, gradients, weights, moving statistics, files; and they fall back."""

import numpy as np
import pytest

from crnn_weak.model.fast import layers as fast

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def _gru(units=5, **options):
    return keras.layers.GRU(units, return_sequences=True, **options)


def _data(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _twins(fast_layer, stock_layer, inputs):
    """Build both on the same input and give them the same, non-trivial weights."""
    fast_layer.build(inputs.shape)
    stock_layer.build(inputs.shape)
    weights = [_data(*w.shape, seed=i + 1) * 0.5 for i, w in enumerate(stock_layer.get_weights())]
    weights = [
        np.abs(w) + 0.1 if "variance" in v.name else w for w, v in zip(weights, stock_layer.weights, strict=True)
    ]
    assert [w.shape for w in fast_layer.get_weights()] == [w.shape for w in weights]
    assert [v.name for v in fast_layer.weights] == [v.name for v in stock_layer.weights]
    fast_layer.set_weights(weights)
    stock_layer.set_weights(weights)


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


def _assert_equal(fast_layer, stock_layer, inputs, *, in_graph=True, **options):
    ours = _values_and_gradients(fast_layer, inputs, in_graph=in_graph, **options)
    theirs = _values_and_gradients(stock_layer, inputs, in_graph=in_graph, **options)
    np.testing.assert_allclose(ours[0], theirs[0], **CLOSE)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        # A bias in front of a normalization has no gradient but rounding: hence 1 as the least scale.
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(other).max()))


@pytest.fixture
def no_shortcut(monkeypatch):
    """Make every shortcut fail, so that only the parent's own computation can answer."""

    def fail(*_, **__):
        raise AssertionError("the shortcut was taken")

    monkeypatch.setattr("crnn_weak.model.fast.gru.bidirectional_gru", fail)
    monkeypatch.setattr("tensorflow.raw_ops.FusedBatchNormV3", fail)


def _assert_same_answer(make, inputs, **call):
    """Compare the layers that ``make(module)`` makes of the fast library and of Keras."""
    ours, theirs = make(fast), make(keras.layers)
    _twins(ours, theirs, inputs)
    np.testing.assert_allclose(ours(inputs, **call), theirs(inputs, **call), **CLOSE)


MASK = np.array([[True, True, False, False], [True] * 4])


class TestBidirectional:
    @pytest.mark.parametrize("merge", ["concat", "mul", "sum", "ave"])
    def test_equals_keras(self, merge):
        inputs = _data(3, 7, 4)
        ours, theirs = (m.Bidirectional(_gru(), merge_mode=merge) for m in (fast, keras.layers))
        _twins(ours, theirs, inputs)
        _assert_equal(ours, theirs, inputs)

    @pytest.mark.parametrize("in_graph", [False, True])
    @pytest.mark.parametrize("n_threads", [1, 2], ids=["one loop for both directions", "a loop for each"])
    @pytest.mark.parametrize(("clips", "frames", "features", "units"), [(1, 1, 3, 2), (2, 33, 16, 32), (5, 12, 1, 1)])
    def test_equals_keras_in_every_size(self, clips, frames, features, units, in_graph, n_threads, monkeypatch):
        monkeypatch.setattr("crnn_weak.model.fast.gru.n_threads", lambda: n_threads)
        inputs = _data(clips, frames, features)
        ours, theirs = fast.Bidirectional(_gru(units)), keras.layers.Bidirectional(_gru(units))
        _twins(ours, theirs, inputs)
        _assert_equal(ours, theirs, inputs, in_graph=in_graph)

    @pytest.mark.usefixtures("no_shortcut")
    def test_the_shortcut_is_taken(self):
        with pytest.raises(AssertionError, match="shortcut"):
            fast.Bidirectional(_gru())(_data(2, 3, 4))

    @pytest.mark.usefixtures("no_shortcut")
    @pytest.mark.parametrize(
        ("make", "call"),
        [
            (lambda m: m.Bidirectional(_gru(reset_after=False)), {}),
            (lambda m: m.Bidirectional(_gru(use_bias=False)), {}),
            (lambda m: m.Bidirectional(_gru(activation="relu")), {}),
            (lambda m: m.Bidirectional(_gru(recurrent_activation="hard_sigmoid")), {}),
            (lambda m: m.Bidirectional(_gru(unroll=True)), {}),
            (lambda m: m.Bidirectional(_gru(dtype="float64"), dtype="float64"), {}),
            (lambda m: m.Bidirectional(_gru(go_backwards=True), backward_layer=_gru()), {}),
            (lambda m: m.Bidirectional(keras.layers.GRU(5)), {}),  # the last output only
            (lambda m: m.Bidirectional(keras.layers.LSTM(5, return_sequences=True)), {}),
            (lambda m: m.Bidirectional(_gru()), {"mask": MASK}),
            (lambda m: m.Bidirectional(_gru()), {"initial_state": [_data(2, 5, seed=3), _data(2, 5, seed=4)]}),
        ],
    )
    def test_falls_back(self, make, call):
        _assert_same_answer(make, _data(2, 4, 3), **call)

    @pytest.mark.usefixtures("no_shortcut")
    @pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"dtype": "mixed_bfloat16"}])
    def test_falls_back_for_dropout_and_half_precision(self, options):
        layer = fast.Bidirectional(_gru(**options), dtype=options.get("dtype"))
        outputs = layer(_data(2, 4, 3), training=True)
        assert outputs.shape == (2, 4, 10)
        assert outputs.dtype == ("bfloat16" if "dtype" in options else "float32")


@pytest.mark.usefixtures("no_shortcut")
def test_they_fall_back_on_a_gpu(monkeypatch):
    monkeypatch.setattr(fast, "has_gpu", lambda: True)
    _assert_same_answer(lambda m: m.Bidirectional(_gru()), _data(2, 4, 3))
    _assert_same_answer(lambda m: m.BatchNormalization(), _data(2, 3, 4, 5), training=True)


class TestBatchNormalization:
    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize("shape", [(3, 7, 5, 4), (1, 2, 1, 3), (16, 10, 8, 16)])
    def test_equals_keras(self, shape, training):
        inputs = _data(*shape) * 3 + 1
        ours, theirs = fast.BatchNormalization(), keras.layers.BatchNormalization()
        _twins(ours, theirs, inputs)
        _assert_equal(ours, theirs, inputs, training=training)
        _assert_same_statistics(ours, theirs)

    def test_frozen_it_stays_as_it_is(self):
        layer = fast.BatchNormalization()
        layer.trainable = False
        inputs = _data(4, 5, 6, 3) + 2
        outputs = layer(inputs, training=True)
        np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))
        np.testing.assert_allclose(outputs, inputs / np.sqrt(1 + 1e-3), **CLOSE)

    @pytest.mark.usefixtures("no_shortcut")
    @pytest.mark.parametrize(
        ("options", "shape"),
        [
            ({}, (3, 7, 4)),
            ({"axis": 1}, (3, 4, 5, 6)),
            ({"scale": False}, (3, 7, 5, 4)),
            ({"center": False}, (3, 7, 5, 4)),
            ({"renorm": True}, (3, 7, 5, 4)),
            ({"dtype": "float64"}, (3, 7, 5, 4)),
        ],
        ids=str,
    )
    def test_falls_back(self, options, shape):
        _assert_same_answer(lambda m: m.BatchNormalization(**options), _data(*shape), training=True)


def _assert_same_statistics(ours, theirs):
    for mine, other in zip(ours.non_trainable_weights, theirs.non_trainable_weights, strict=True):
        np.testing.assert_allclose(mine, other, err_msg=other.name, **CLOSE)


class _Chain:
    """Several layers as one layer for `_assert_equal`: a network's first block or a part of it."""

    def __init__(self, *chain):
        self.layers = chain

    def __call__(self, x, training=None):
        for layer in self.layers:
            normalizes = isinstance(layer, keras.layers.BatchNormalization)
            x = layer(x, training=training) if normalizes else layer(x)
        return x

    @property
    def trainable_weights(self):
        return [w for layer in self.layers for w in layer.trainable_weights]

    @property
    def non_trainable_weights(self):
        return [w for layer in self.layers for w in layer.non_trainable_weights]


class TestFirstBlock:
    """Convolution of one channel, normalization, pooling: taken together where they stand together."""

    def _blocks(self, inputs, pool=5, filters=6, **convolution):
        convolution = {"filters": filters, "kernel_size": 3, "padding": "same", **convolution}
        chains = [
            _Chain(
                m.Conv2D(**convolution),
                m.BatchNormalization(momentum=0.5, dtype=convolution.get("dtype")),
                m.MaxPooling2D((1, pool), dtype=convolution.get("dtype")),
            )
            for m in (fast, keras.layers)
        ]
        shape = inputs.shape
        for ours, theirs in zip(*(chain.layers for chain in chains), strict=True):
            _twins(ours, theirs, tf.zeros(shape))
            shape = theirs.compute_output_shape(shape)
        return chains

    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize(
        ("shape", "pool", "kernel"),
        [
            ((3, 8, 10, 1), 5, 3),  # frames in chunks
            ((2, 7, 8, 1), 2, 3),
            ((1, 1, 4, 1), 4, 3),
            ((2, 5, 6, 1), 3, (2, 4)),  # even kernels pad more behind than in front
            ((2, 5, 6, 1), 1, 5),
        ],
    )
    def test_equals_keras(self, shape, pool, kernel, training):
        inputs = _data(*shape) * 2 + 3
        ours, theirs = self._blocks(inputs, pool, kernel_size=kernel)
        _assert_equal(ours, theirs, inputs, training=training)
        _assert_same_statistics(ours, theirs)

    def test_equal_maxima_send_the_gradient_the_same_way(self):
        """A padded clip is constant, so whole windows of bands are equal."""
        inputs = np.zeros((2, 6, 10, 1), np.float32)
        inputs[0, :3] = _data(3, 10, 1)
        ours, theirs = self._blocks(inputs)
        _assert_equal(ours, theirs, inputs, training=True)

    @pytest.mark.parametrize("mean", [0, 100])
    def test_it_is_nearer_to_double_precision_than_keras(self, mean):
        """Sums over many frames round; the covariance is that of centered windows, so that a mean costs no digits."""
        inputs = _data(4, 250, 40, 1) + mean
        ours, theirs = self._blocks(inputs)
        _, exact = self._blocks(inputs, dtype="float64")
        for layer, other in zip(exact.layers, theirs.layers, strict=True):
            layer.set_weights(other.get_weights())
        results = [_values_and_gradients(chain, inputs, in_graph=True, training=True) for chain in (ours, theirs)]
        truth = _values_and_gradients(exact, inputs.astype(np.float64), in_graph=True, training=True)
        for mine, other, true in zip(*([values, *gradients] for values, gradients in (*results, truth)), strict=True):
            error = abs(mine - true).max()
            assert error <= max(abs(other - true).max(), 1e-6 * abs(true).max())

    def test_the_shortcut_is_taken_in_a_graph_and_not_outside(self, monkeypatch):
        taken = []
        largest = "crnn_weak.model.fast.conv.OneChannelConvolution.largest"
        monkeypatch.setattr(largest, lambda self, pool: taken.append(pool) or self.inputs[:, :, ::pool])
        inputs = _data(2, 4, 10, 1)
        ours, _ = self._blocks(inputs)
        ours(inputs)
        assert not taken
        tf.function(ours)(inputs)
        assert taken == [5]

    def test_the_convolution_itself_is_dropped_from_the_graph(self):
        inputs = _data(2, 4, 10, 1)
        ours, _ = self._blocks(inputs)
        function = tf.function(lambda x: ours(x, training=True)).get_concrete_function(tf.constant(inputs))
        frozen = tf.compat.v1.graph_util.extract_sub_graph(
            function.graph.as_graph_def(), [output.op.name for output in function.outputs]
        )
        assert not [node.name for node in frozen.node if node.op == "Conv2D"]

    @pytest.mark.parametrize(
        ("shape", "options", "pool"),
        [
            ((2, 4, 10, 2), {}, 5),
            ((2, 4, 10, 1), {"use_bias": False}, 5),
            ((2, 4, 10, 1), {"activation": "relu"}, 5),
            ((2, 5, 12, 1), {"padding": "valid"}, 5),
            ((2, 4, 10, 1), {"strides": (1, 2)}, 5),
            ((2, 4, 10, 1), {"dilation_rate": (2, 1)}, 5),
            ((2, 4, 11, 1), {}, 5),
        ],
        ids=str,
    )
    def test_falls_back(self, shape, options, pool, monkeypatch):
        monkeypatch.setattr("crnn_weak.model.fast.conv.OneChannelConvolution.largest", None)
        inputs = _data(*shape)
        ours, theirs = self._blocks(inputs, pool, **options)
        _assert_equal(ours, theirs, inputs, training=True)

    def test_other_poolings_and_layers_behind_it_see_the_convolution(self):
        inputs = _data(2, 4, 10, 1)
        for module_pool in (
            keras.layers.MaxPooling2D((1, 5)),
            fast.MaxPooling2D((2, 2)),
            fast.MaxPooling2D((1, 5), (1, 2)),
        ):
            ours, theirs = self._blocks(inputs)
            ours.layers = (*ours.layers[:2], module_pool)
            theirs.layers = (*theirs.layers[:2], keras.layers.MaxPooling2D.from_config(module_pool.get_config()))
            _assert_equal(ours, theirs, inputs, training=True)

    def test_without_normalization(self):
        inputs = _data(2, 4, 10, 1)
        ours, theirs = self._blocks(inputs)
        for chain in (ours, theirs):
            chain.layers = (chain.layers[0], chain.layers[2])
        _assert_equal(ours, theirs, inputs)

    def test_bands_of_unknown_number(self):
        ours, _ = self._blocks(_data(2, 4, 10, 1))
        layer = ours.layers[0]
        function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 1))])
        np.testing.assert_allclose(function(_data(2, 4, 10, 1)), layer(_data(2, 4, 10, 1)), **CLOSE)


class TestTimeDistributed:
    @pytest.mark.parametrize("activation", [None, "sigmoid"])
    def test_equals_keras(self, activation):
        inputs = _data(3, 7, 4)
        ours, theirs = (m.TimeDistributed(keras.layers.Dense(5, activation=activation)) for m in (fast, keras.layers))
        _twins(ours, theirs, inputs)
        _assert_equal(ours, theirs, inputs)

    def test_the_graph_does_not_grow_with_the_time_axis(self):
        """The parent's own graph holds a slice for each frame."""

        def n_operations(frames):
            layer = fast.TimeDistributed(keras.layers.Dense(5))
            layer.build((2, frames, 4))
            return len(tf.function(layer).get_concrete_function(tf.zeros((2, frames, 4))).graph.get_operations())

        assert n_operations(200) == n_operations(2)

    def test_other_layers_and_masks_are_the_parents(self):
        _assert_same_answer(lambda m: m.TimeDistributed(keras.layers.Conv2D(2, 3)), _data(2, 3, 6, 4, 1))
        _assert_same_answer(lambda m: m.TimeDistributed(keras.layers.Dense(5)), _data(2, 4, 3), mask=MASK)


def test_a_file_of_them_loads_in_safe_mode(tmp_path):
    inputs = keras.Input((6, 4, 2))
    x = fast.BatchNormalization()(inputs)
    x = keras.layers.Reshape((6, 8))(x)
    x = fast.Bidirectional(_gru(3), merge_mode="mul")(x)
    model = keras.Model(inputs, fast.TimeDistributed(keras.layers.Dense(2))(x))
    batch = _data(2, 6, 4, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    np.testing.assert_array_equal(loaded.predict(batch, verbose=0), model.predict(batch, verbose=0))
