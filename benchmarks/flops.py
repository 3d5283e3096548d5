"""Floating-point operations of one clip, layer by layer.

Counted are the multiplications and additions of products (convolutions, matrix products), two for each weight and
position, as in the sgemm peak that they are compared with. Additions of biases, normalization, pooling and the gates'
element-wise work do not count: they are less than two per cent of preset `paper`.
"""

from __future__ import annotations

from dataclasses import dataclass

from crnn_weak.config import Config


@dataclass(frozen=True)
class LayerFlops:
    """Operations of one layer of `crnn_weak.model.crnn.build_model` for one clip: its output and its gradients."""

    name: str
    forward: int
    input_gradient: int  # 0 for the first layer: no weights precede it
    weight_gradient: int

    @property
    def training(self) -> int:
        return self.forward + self.input_gradient + self.weight_gradient


def count_flops(config: Config, n_classes: int = 17) -> list[LayerFlops]:
    """Return the operations of each layer that has weights, for one clip.

    >>> from crnn_weak.config import preset
    >>> for layer in count_flops(preset("paper"))[:2]:
    ...     print(layer.name, layer.forward, layer.training)
    conv_1 23040000 46080000
    conv_2 294912000 884736000
    """
    model, n_frames = config.model, config.features.n_frames
    forward: list[tuple[str, int]] = []
    n_bands, n_in = config.features.n_mels, 1
    for index, (pool, n_filters) in enumerate(zip(model.pools, model.filters, strict=True)):
        kernel = model.kernel_size**2 * n_in * n_filters
        forward.append((f"conv_{index + 1}", 2 * kernel * n_frames * n_bands))
        n_bands, n_in = n_bands // pool, n_filters
        n_frames //= model.time_pools[index] if model.time_pools else 1
    width = n_bands * n_in
    for index, units in enumerate(model.gru_units):
        weights = 2 * 3 * units * (width + units)  # two directions, three gates, input and recurrence
        forward.append((f"bidirectional_{index + 1}", 2 * weights * n_frames))
        width = 2 * units if model.gru_merge == "concat" else units
    forward.append(("time_dense", 2 * width * model.dense_units * n_frames))
    forward.append(("strong", 2 * model.dense_units * n_classes * config.features.n_frames))
    if model.weak_head == "max_dense":
        forward.append(("weak", 2 * n_classes**2))
    return [LayerFlops(name, n, 0 if index == 0 else n, n) for index, (name, n) in enumerate(forward)]


def forward_flops(config: Config) -> int:
    """Return the operations of scoring one clip.

    >>> from crnn_weak.config import preset
    >>> round(forward_flops(preset("paper")) / 1e9, 3)
    0.533
    """
    return sum(layer.forward for layer in count_flops(config))


def training_flops(config: Config) -> int:
    """Return the operations of one clip in a training step, forward and backward.

    >>> from crnn_weak.config import preset
    >>> round(training_flops(preset("paper")) / 1e9, 3)
    1.576
    """
    return sum(layer.training for layer in count_flops(config))
