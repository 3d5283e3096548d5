"""The trade between the two tasks: tagging F against segment F, one point for each entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from crnn_weak.figures.style import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import BboxBase

__all__ = ["trade_figure"]

_LINES = ("-", "--", ":", "-.")
# Places of a name beside its point, the best first.
_CORNERS = [
    {"position": (4 * right, 4 * up), "ha": "left" if right > 0 else "right", "va": "bottom" if up > 0 else "top"}
    for right, up in ((1, 1), (1, -1), (-1, 1), (-1, -1))
]


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
        # A curve's first word is in the legend; the names of its points omit it.
        joined = {name: name.removeprefix(curve[0].split()[0] + " ") for curve in curves for name in curve}
        for name, point in points.items():
            (x, *x_ends), (y, *y_ends) = point["segment"], point["tagging"]
            ax.errorbar(
                x, y, xerr=[[x - x_ends[0]], [x_ends[1] - x]], yerr=[[y - y_ends[0]], [y_ends[1] - y]],
                fmt="o", markersize=4, elinewidth=0.6,
                color=COLORS["muted"] if name in joined else COLORS["strong"],
            )  # fmt: skip
        ax.margins(x=0.15)  # room for names
        ax.set_xlabel("segment F (%)")
        ax.set_ylabel("tagging F (%)")
        if curves:
            ax.legend(loc="lower right")
        centers = {name: (point["segment"][0], point["tagging"][0]) for name, point in points.items()}
        figure.draw_without_rendering()  # lays the axes out: names are placed on the page
        _label(ax, centers, joined)
    return figure


def _label(ax: Axes, centers: Mapping[str, tuple[float, float]], joined: Mapping[str, str]) -> None:
    """Write each name at the corner of its point with the fewest overlaps; points off the curves come first."""
    dots = ax.transData.transform(list(centers.values()))
    page = ax.figure.bbox
    taken: list[BboxBase] = []
    for name in sorted(centers, key=lambda name: name in joined):
        color = COLORS["muted"] if name in joined else COLORS["ink"]
        text = ax.annotate(
            joined.get(name, name), centers[name], (0, 0), textcoords="offset points", fontsize=6.5, color=color
        )
        boxes = []
        for corner in _CORNERS:
            text.set(**corner)
            box = text.get_window_extent()
            outside = 3 * (box.x1 > page.x1 or box.x0 < page.x0)
            boxes.append((outside + box.count_overlaps(taken) + box.count_contains(dots), corner, box))
        _, corner, box = min(boxes, key=lambda one: one[0])
        text.set(**corner)
        taken.append(box)
