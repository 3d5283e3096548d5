"""The trade between the two tasks: tagging F against segment F, one point for each entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from crnn_weak.figures.style import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["trade_figure"]

_LINES = ("-", "--", ":", "-.")


def trade_figure(
    points: Mapping[str, Mapping[str, tuple[float, ...]]], *, curves: Sequence[Sequence[str]] = ()
) -> Figure:
    """Return the figure, for `save_figure`.

    Parameters
    ----------
    points : mapping of entry to mapping of ``tagging`` and ``segment`` to (mean, low, high)
        Percent; the ends of the interval are drawn as bars.
    curves : sequence of sequences of str
        Entries that are joined by a line, in this order.
    """
    figure, (ax,) = new_figure(6.4, 4.8)
    with style():
        for curve, dashes in zip(curves, _LINES, strict=False):
            line = [[points[name][metric][0] for name in curve] for metric in ("segment", "tagging")]
            ax.plot(*line, color=COLORS["muted"], linestyle=dashes, zorder=1, label=curve[0].split()[0])
        joined = {name for curve in curves for name in curve}
        for name, point in points.items():
            (x, *x_ends), (y, *y_ends) = point["segment"], point["tagging"]
            ax.errorbar(
                x, y, xerr=[[x - x_ends[0]], [x_ends[1] - x]], yerr=[[y - y_ends[0]], [y_ends[1] - y]],
                fmt="o", markersize=4, elinewidth=0.6,
                color=COLORS["muted"] if name in joined else COLORS["strong"],
            )  # fmt: skip
            ax.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=6.5)
        ax.set_xlabel("segment F (%)")
        ax.set_ylabel("tagging F (%)")
        if curves:
            ax.legend(loc="lower right")
    return figure
