"""Floating-point operations of one clip, layer by layer.

Counted are the multiplications and additions of products (convolutions, matrix products), two for each weight and
position, as in the sgemm peak that they are compared with. Additions of biases, normalization, pooling and the gates'
element-wise work do not count: they are less than two per cent of preset `paper`.
"""

from __future__ import annotations

from crnn_weak.config import Config


def layer_flops(config: Config, n_classes: int = 17) -> dict[str, int]:
    """Return the operations of each layer of `crnn_weak.model.crnn.build_model` that has weights, to score one clip.

    >>> from crnn_weak.config import preset
    >>> layer_flops(preset("paper"))["conv_2"]
    294912000
    """
    model, n_frames = config.model, config.features.n_frames
    forward = {}
    n_bands, n_in = config.features.n_mels, 1
    for index, (pool, n_filters) in enumerate(zip(model.pools, model.filters, strict=True)):
        kernel = model.kernel_size**2 * n_in * n_filters
        forward[f"conv_{index + 1}"] = 2 * kernel * n_frames * n_bands
        n_bands, n_in = n_bands // pool, n_filters
        n_frames //= model.time_pools[index] if model.time_pools else 1
    width = n_bands * n_in
    for index, units in enumerate(model.gru_units):
        weights = 2 * 3 * units * (width + units)  # two directions, three gates, input and recurrence
        forward[f"bidirectional_{index + 1}"] = 2 * weights * n_frames
        width = 2 * units if model.gru_merge == "concat" else units
    forward["time_dense"] = 2 * width * model.dense_units * n_frames
    forward["strong"] = 2 * model.dense_units * n_classes * config.features.n_frames
    if model.weak_head == "max_dense":
        forward["weak"] = 2 * n_classes**2
    return forward


def training_flops(config: Config) -> int:
    """Return the operations of one clip in a training step: scores, gradients of the weights and of the inputs.

    >>> from crnn_weak.config import preset
    >>> round(training_flops(preset("paper")) / 1e9, 3)
    1.576
    """
    forward = layer_flops(config)
    return 3 * sum(forward.values()) - forward["conv_1"]  # its inputs need no gradient
