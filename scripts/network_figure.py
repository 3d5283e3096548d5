"""Draw the network of preset ``paper``: ``python scripts/network_figure.py`` writes ``docs/images/network.png``.

Sizes come from the configuration and from the model's own count of weights.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.config import preset
from crnn_weak.figures import style
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.model.crnn import build_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATH = Path(__file__).resolve().parents[1] / "docs" / "images" / "network.png"


def boxes() -> list[tuple[str, str, str]]:
    """Return title, size of the output and color of each box, from the input to the weak output."""
    config = preset("paper")
    frames, bands, n_classes = f"{config.features.n_frames} frames", config.features.n_mels, len(DCASE2017_TASK4)
    rows = [("log mel\nenergies", f"{frames}\n{bands} bands", "muted")]
    for pool, filters in zip(config.model.pools, config.model.filters, strict=True):
        bands //= pool
        rows.append((f"convolution,\nReLU, pool\n{pool} bands", f"{frames}\n{bands} bands x {filters}", "muted"))
    for units in config.model.gru_units:
        rows.append(("recurrent,\nboth\ndirections", f"{frames}\n{2 * units} units", "muted"))
    rows.append(("dense", f"{frames}\n{config.model.dense_units} units", "muted"))
    rows.append(("strong\noutput", f"{frames}\n{n_classes} classes", "strong"))
    rows.append(("maximum\nover time,\ndense", f"{n_classes} values", "muted"))
    rows.append(("weak\noutput", f"one clip\n{n_classes} classes", "weak"))
    return rows


def network_figure() -> Figure:
    """Draw the boxes in a row, and below each output its loss."""
    from matplotlib.patches import Rectangle

    figure, (ax,) = style.new_figure(11.0, 2.3)
    colors, rows = style.COLORS, boxes()
    losses = {"strong": "strong loss:\nevery frame\nagainst the tags", "weak": "weak loss:\nthe clip\nagainst the tags"}
    with style.style():
        for place, (title, size, color) in enumerate(rows):
            edge = {"facecolor": colors["lane"], "edgecolor": colors[color], "linewidth": 1.8}
            ax.add_patch(Rectangle((place - 0.4, 0.7), 0.8, 0.6, **edge))
            ax.text(place, 1.0, title, ha="center", va="center", fontsize=8.0)
            ax.text(place, 0.6, size, ha="center", va="top", fontsize=7.5, color=colors["muted"])
            ax.text(place, 0.1, losses.get(color, ""), ha="center", va="top", fontsize=8.0, fontweight="bold")
            if place:
                arrow = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", (place - 0.4, 1.0), (place - 0.6, 1.0), arrowprops=arrow)
        n_weights = sum(math.prod(weight.shape) for weight in build_model("paper").trainable_weights)
        ax.set(xlim=(-0.5, len(rows) - 0.4), ylim=(-0.5, 1.4), title=f"Preset paper: {n_weights:,} weights")
        ax.set_axis_off()
    return figure


if __name__ == "__main__":
    print(*style.save_figure(network_figure(), PATH, formats=["png"], dpi=110))
