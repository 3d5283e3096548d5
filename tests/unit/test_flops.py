"""The counted operations are those of the network that is built, and TensorFlow counts the same."""

import dataclasses

import numpy as np
import pytest
from flops import count_flops, forward_flops, training_flops

from crnn_weak.config import preset
from crnn_weak.model.crnn import build_model

tf = pytest.importorskip("tensorflow")


@pytest.mark.parametrize("name", ["paper", "authors_code", "quick"])
@pytest.mark.parametrize("head", ["max", "max_dense"])
def test_two_operations_for_each_weight_and_position(name, head):
    config = preset(name)
    layers = {layer.name: layer for layer in build_model(config, head=head).layers}
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, weak_head=head))
    counted = {layer.name: layer for layer in count_flops(config)}
    with_products = {name for name, layer in layers.items() if any(w.ndim > 1 for w in layer.get_weights())}
    assert set(counted) == with_products
    for layer_name, flops in counted.items():
        # Kernels only: a bias has one axis, or two of which the first is (input, recurrence).
        kernels = [w for w in layers[layer_name].trainable_weights if w.path.endswith("kernel")]
        positions = np.prod(layers[layer_name].output.shape[1:-1], dtype=int)
        expected = 2 * positions * sum(int(np.prod(w.shape)) for w in kernels)
        assert flops.forward == expected, layer_name
        assert flops.training == expected * (2 if layer_name == "conv_1" else 3)


def test_tensorflow_counts_the_same_products():
    """All but the recurrences, whose loop its profiler counts once."""
    from tensorflow.python.profiler import model_analyzer, option_builder

    config = preset("quick")
    model = build_model(config, fast=False, n_frames=None)
    signature = tf.TensorSpec((1, config.features.n_frames, config.features.n_mels))
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature).graph
    options = option_builder.ProfileOptionBuilder(option_builder.ProfileOptionBuilder.float_operation())
    options = options.with_empty_output().with_node_names(show_name_regexes=[".*conv_.*"]).build()
    profile = model_analyzer.profile(graph, options=options)
    counted = sum(layer.forward for layer in count_flops(config) if layer.name.startswith("conv"))
    products = sum(
        node.total_float_ops for node in _nodes(profile) if node.name.endswith("convolution")
    )  # fmt: skip
    assert products == counted


def _nodes(node):
    yield node
    for child in node.children:
        yield from _nodes(child)


def test_the_known_figures():
    assert forward_flops(preset("paper")) == pytest.approx(0.533e9, rel=1e-3)
    assert training_flops(preset("paper")) == pytest.approx(1.576e9, rel=1e-3)
