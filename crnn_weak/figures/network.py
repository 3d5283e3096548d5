"""Figure of the network, drawn from the model itself (or from its configuration, without Keras).

No graphviz: a column of boxes, from the input at the top to the two outputs, each with its name, what it does, the
shape of what leaves it, and its trainable weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from crnn_weak.config import Config, ModelConfig
from crnn_weak.errors import ConfigError
from crnn_weak.figures.style import COLORS, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Block", "blocks_of_config", "blocks_of_model", "draw_architecture"]

# A page in the dark exchanges the figures' colors, but not these: text stands on them.
_DARK, _LIGHT = "#16202B", "#FEFEFE"
_TINTS = {
    "input": "#E5E7EB",
    "convolutional": "#CFE3F3",
    "recurrent": "#D3ECE2",
    "dense": "#EFE3F0",
    "strong": "#0071B1",
    "weak": "#E59E00",
}


class Block(NamedTuple):
    """One box: `shape` is that of what leaves it, without the clips' axis; `n_weights` counts trainable ones."""

    name: str
    kind: str
    what: str
    shape: tuple[int | None, ...]
    n_weights: int


#: weak head -> what it does, trainable weights per class by (classes, units of the dense layer)
_HEADS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "max_dense": ("maximum over frames, dense, sigmoid", lambda classes, units: classes + 1),
    "max": ("maximum over frames", lambda classes, units: 0),
    "mean": ("mean over frames", lambda classes, units: 0),
    "linear_softmax": ("linear softmax over frames", lambda classes, units: 0),
    "exponential_softmax": ("exponential softmax over frames", lambda classes, units: 0),
    "attention": ("attention over frames", lambda classes, units: units + 1),
    "auto_pool": ("learned softmax over frames", lambda classes, units: 1),
    "noisy_or": ("noisy or over frames", lambda classes, units: 0),
    "power_mean": ("power mean over frames", lambda classes, units: 1),
}


def blocks_of_config(
    config: ModelConfig, *, n_classes: int = 17, n_frames: int | None = 500, n_mels: int = 40
) -> list[Block]:
    """Return the boxes of a configuration; the counts are arithmetic and equal those of the built model.

    Parameters
    ----------
    config : ModelConfig
    n_classes : int
        Of the outputs; by default the paper's 17.
    n_frames, n_mels : int
        Of the input.

    Examples
    --------
    >>> sum(block.n_weights for block in blocks_of_config(ModelConfig()))
    218307
    >>> sum(block.n_weights for block in blocks_of_config(ModelConfig(weak_head="max")))
    218001
    """
    k, filters, bands, channels = config.kernel_size, config.n_filters, n_mels, 1
    blocks = [Block("log_mel", "input", "standardized log mel-band energies", (n_frames, n_mels), 0)]
    for index, pool in enumerate(config.pools):
        bands //= pool
        if bands < 1:
            raise ConfigError(f"model.pools = {config.pools}: no band is left of {n_mels} mel bands.")
        weights = k * k * channels * filters + filters + 2 * filters  # kernel, bias, scale and shift
        what = f"{k}×{k} conv, batch norm, ReLU, max pool 1×{pool}, dropout {config.dropout:g}"
        blocks.append(Block(f"conv_{index + 1}", "convolutional", what, (n_frames, bands, filters), weights))
        channels = filters
    width = bands * channels
    for index, units in enumerate(config.gru_units):
        biases = 2 if config.gru_reset_after else 1
        weights = 2 * 3 * units * (width + units + biases)  # two directions, three gates
        width = 2 * units if config.gru_merge == "concat" else units
        what = f"bidirectional GRU, {units} units, {config.gru_merge}"
        blocks.append(Block(f"bidirectional_{index + 1}", "recurrent", what, (n_frames, width), weights))
    weights = width * config.dense_units + config.dense_units
    blocks.append(
        Block("time_dense", "dense", f"dense {config.dense_units}, each frame", (n_frames, config.dense_units), weights)
    )
    weights = config.dense_units * n_classes + n_classes
    blocks.append(Block("strong", "strong", "dense, sigmoid, each frame", (n_frames, n_classes), weights))
    what, per_class = _HEADS[config.weak_head]
    blocks.append(Block("weak", "weak", what, (n_classes,), n_classes * per_class(n_classes, config.dense_units)))
    return blocks


_KINDS = {"Conv": "convolutional", "GRU": "recurrent", "LSTM": "recurrent", "Bidirectional": "recurrent"}
_WORDS = {
    "InputLayer": "input",
    "Conv2D": "conv",
    "BatchNormalization": "batch norm",
    "ReLU": "ReLU",
    "MaxPooling2D": "max pool",
    "Dropout": "dropout",
    "Bidirectional": "bidirectional",
    "TimeDistributed": "each frame",
    "GlobalMaxPooling1D": "maximum over frames",
    "Dense": "dense",
    "GRU": "GRU",
}


def _trainable(layer: Any) -> int:
    total = 0
    for weight in layer.trainable_weights:
        size = 1
        for length in weight.shape:
            size *= int(length)
        total += size
    return total


def _describe(layer: Any) -> str:
    kind = type(layer).__name__
    if kind.startswith("Conv"):
        return f"{'×'.join(map(str, layer.kernel_size))} conv"
    if kind.startswith("MaxPooling"):
        return f"max pool {'×'.join(map(str, layer.pool_size))}"
    if kind.endswith("Bidirectional"):
        inner = layer.forward_layer
        return f"bidirectional {type(inner).__name__}, {inner.units} units, {layer.merge_mode}"
    if kind.endswith("TimeDistributed"):
        inner = layer.layer
        activation = getattr(getattr(inner, "activation", None), "__name__", "linear")
        return f"dense{'' if activation == 'linear' else ', ' + activation}, each frame"
    if kind == "Dense":
        activation = getattr(layer.activation, "__name__", "linear")
        return "dense" if activation == "linear" else f"dense, {activation}"
    if kind == "Dropout":
        return f"dropout {layer.rate:g}"
    return next((words for name, words in _WORDS.items() if kind.endswith(name)), kind)


def blocks_of_model(model: Any) -> list[Block]:
    """Return the boxes of a Keras model.

    A convolution and the layers without weights of their own behind it (and its normalization) share a box, as do
    the layers of the weak head; reshapes are omitted.
    """
    blocks: list[Block] = []
    for layer in model.layers:
        kind = type(layer).__name__
        shape = tuple(layer.output.shape[1:])
        count = _trainable(layer)
        if kind == "Reshape":
            continue
        if kind == "InputLayer":
            blocks.append(Block(layer.name, "input", "standardized log mel-band energies", shape, 0))
            continue
        what = _describe(layer)
        stage = next((stage for part, stage in _KINDS.items() if part in kind), "dense")
        stage = layer.name if layer.name in ("strong", "weak") else stage
        last = blocks[-1] if blocks else None
        joins = last is not None and (
            (last.kind == "convolutional" and kind.endswith(("BatchNormalization", "ReLU", "Dropout", "MaxPooling2D")))
            or (last.kind == "pooling" and stage == "weak")
        )
        if joins and last is not None:
            merged_kind = "weak" if stage == "weak" else last.kind
            name = layer.name if stage == "weak" else last.name
            blocks[-1] = Block(name, merged_kind, f"{last.what}, {what}", shape, last.n_weights + count)
        elif layer.name in ("max_over_time", "weak_attention"):  # the first half of a weak head
            blocks.append(Block(layer.name, "pooling", what, shape, count))
        else:
            blocks.append(Block(layer.name, stage, what, shape, count))
    return blocks


def draw_architecture(
    model: Any, *, ax: Axes, n_classes: int = 17, n_frames: int | None = None, n_mels: int = 40
) -> list[Any]:
    """Draw the network.

    Parameters
    ----------
    model : Config, ModelConfig or keras.Model
        A `Config` brings its own frames and bands; for a `ModelConfig` they are `n_frames` (500) and `n_mels`.
    ax : matplotlib.axes.Axes
        Best about 7 inches wide and 0.5 inches high for each box.
    n_classes : int
        Of the outputs; a `keras.Model` has its own.

    Returns
    -------
    list of matplotlib.patches.FancyBboxPatch
        The boxes, from the top.
    """
    if isinstance(model, Config):
        features = model.features
        blocks = blocks_of_config(model.model, n_classes=n_classes, n_frames=features.n_frames, n_mels=features.n_mels)
    elif isinstance(model, ModelConfig):
        blocks = blocks_of_config(
            model, n_classes=n_classes, n_frames=500 if n_frames is None else n_frames, n_mels=n_mels
        )
    else:
        blocks = blocks_of_model(model)
    return _draw(blocks, ax)


def _draw(blocks: Sequence[Block], ax: Axes) -> list[Any]:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    boxes = []
    with style():
        ax.set_axis_off()
        ax.set_xlim(0, 100)
        ax.set_ylim(len(blocks) + 0.75, -0.85)
        for x, text, align in ((2.2, "layer", "left"), (84, "shape of a clip", "center"), (100, "weights", "right")):
            ax.text(x, -0.6, text, ha=align, va="center", fontsize=8, color=COLORS["muted"])
        for row, block in enumerate(blocks):
            output = block.kind in ("strong", "weak")
            ink = _LIGHT if block.kind == "strong" else _DARK
            box = FancyBboxPatch(
                (0.5, row - 0.33),
                70,
                0.66,
                boxstyle="round,pad=0,rounding_size=0.9",
                mutation_aspect=0.08,
                facecolor=_TINTS.get(block.kind, _TINTS["dense"]),
                edgecolor="none",
            )
            ax.add_patch(box)
            boxes.append(box)
            ax.text(2.2, row, block.name, va="center", fontsize=9, fontweight="bold", color=ink)
            ax.text(20, row, block.what, va="center", fontsize=7.5, color=ink)
            shape = " × ".join("any" if length is None else str(length) for length in block.shape)
            ax.text(84, row, shape, ha="center", va="center", fontsize=8.5, fontweight="bold" if output else "normal")
            count = f"{block.n_weights:,}" if block.n_weights else "–"
            ax.text(100, row, count, ha="right", va="center", fontsize=8.5)
            if row:
                arrow = FancyArrowPatch(
                    (35.5, row - 0.66),
                    (35.5, row - 0.335),
                    arrowstyle="-|>",
                    mutation_scale=7,
                    color=COLORS["muted"],
                    linewidth=0.8,
                    shrinkA=0,
                    shrinkB=0,
                )
                ax.add_patch(arrow)
        bottom = len(blocks) - 0.35
        ax.plot([76, 100], [bottom, bottom], color=COLORS["muted"], linewidth=0.7)
        total = sum(block.n_weights for block in blocks)
        ax.text(84, bottom + 0.42, "trainable weights", ha="center", va="center", fontsize=8.5, color=COLORS["muted"])
        ax.text(100, bottom + 0.42, f"{total:,}", ha="right", va="center", fontsize=9, fontweight="bold")
    return boxes
