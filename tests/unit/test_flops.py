"""The counted operations are those of the network that is built."""

import dataclasses

import numpy as np
import pytest
from flops import count_flops, forward_flops, training_flops

from crnn_weak.config import preset
from crnn_weak.model.crnn import build_model


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


def test_the_known_figures():
    assert forward_flops(preset("paper")) == pytest.approx(0.533e9, rel=1e-3)
    assert training_flops(preset("paper")) == pytest.approx(1.576e9, rel=1e-3)
