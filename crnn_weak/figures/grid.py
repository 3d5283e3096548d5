"""Figures of a grid: metrics and losses over the two loss weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak import paper
from crnn_weak.errors import DataError
from crnn_weak.figures.results import history_column
from crnn_weak.figures.style import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crnn_weak.runs.table import ResultsTable

__all__ = ["loss_weight_figure", "loss_weight_values", "plot_loss_weight_grid", "plot_setting_curves"]

_FIGURES = (  # metric of the figure, its place in the results, its scale
    ("tagging_f", "tagging", "f_score", 100.0),
    ("segment_f", "segment", "f_score", 100.0),
    ("error_rate", "segment", "error_rate", 1.0),
)


def loss_weight_values(table: ResultsTable) -> dict[tuple[float, float], dict[str, list[float]]]:
    """Return what `plot_loss_weight_grid` draws, seed by seed, from a table of results."""
    return {
        setting: {
            name: [scale * value for value in table.values(setting, output, metric)]
            for name, output, metric, scale in _FIGURES
        }
        for setting in table.settings
    }


def loss_weight_figure(table: ResultsTable) -> Figure:
    """Return the seven-setting figure of a table of results, for `save_figure`."""
    figure, axes = new_figure(8.4, 3.7, n_columns=2)
    plot_loss_weight_grid(loss_weight_values(table), axes=axes)
    return figure


def plot_loss_weight_grid(
    results: Mapping[tuple[float, float], Mapping[str, Sequence[float] | float]],
    *,
    axes: Sequence[Axes],
    show_paper: bool = True,
) -> dict[str, Any]:
    """Draw both tasks' metrics over the ratio of the loss weights, beside the published values.

    Parameters
    ----------
    results : mapping of (strong weight, weak weight) to mapping of metric to value(s)
        Metrics ``tagging_f`` and ``segment_f`` in percent, ``error_rate`` as a ratio, as in `paper.PaperRow`; each
        one number or one per seed (the mean is drawn, with the standard deviation over two or more seeds). A
        missing metric or NaN is not drawn.
    axes : sequence of two Axes
        F-scores; error rate.
    show_paper : bool
        Draw the published values, hollow and dashed.

    Returns
    -------
    dict of str to matplotlib.container.ErrorbarContainer
        By metric.

    Notes
    -----
    The ratio is on a logarithmic axis. A setting with a weight of zero stands one decade beyond the others.
    """
    if len(axes) != 2:
        raise DataError(f"plot_loss_weight_grid: expected two axes, received {len(axes)}.")
    place = _places({*results, *((row.strong, row.weak) for row in paper.RESULTS if show_paper)})
    drawn: dict[str, Any] = {}
    with style():
        for metric, (panel, color, marker, label) in _SERIES.items():
            if show_paper:
                _draw_paper(metric, place, axes[panel], color=COLORS[color], marker=marker, label=f"{label}, paper")
            found = _draw_means(
                results, metric, place, axes[panel], color=COLORS[color], marker=marker, label=f"{label}, here"
            )
            if found is not None:
                drawn[metric] = found
        for ax in axes:
            _weight_axis(ax, place)
        axes[0].set_ylim(0, 100)
        axes[0].set_ylabel("F-score / %")
        axes[1].set_ylim(bottom=0)
        axes[1].set_ylabel("error rate (lower is better)")
        _mark_nothing_detected(axes[1])
    return drawn


_SERIES = {  # metric -> its axes, color, marker, name
    "segment_f": (0, "segment", "o", "detection F"),
    "tagging_f": (0, "tagging", "s", "tagging F"),
    "error_rate": (1, "error_rate", "D", "error rate"),
}


def _places(settings: Iterable[tuple[float, float]]) -> dict[tuple[float, float], float]:
    """Return the place of each setting on the axis; a weight of zero stands one decade beyond the other ratios."""
    ordered = sorted(settings)
    ratios = [strong / weak for strong, weak in ordered if strong > 0 and weak > 0] or [1.0]

    def place(strong: float, weak: float) -> float:
        if weak == 0:
            return max(ratios) * 10
        return min(ratios) / 10 if strong == 0 else strong / weak

    return {setting: place(*setting) for setting in ordered}


def _draw_paper(metric: str, place: Mapping[tuple[float, float], float], ax: Axes, **options: Any) -> None:
    """Draw the published values, hollow and dashed."""
    x = [place[row.strong, row.weak] for row in paper.RESULTS]
    y = [getattr(row, metric) for row in paper.RESULTS]
    line: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 1.0, "alpha": 0.65}
    ax.plot(x, y, markersize=4.5, markerfacecolor="white", **line, **options)


def _draw_means(
    results: Mapping[tuple[float, float], Mapping[str, Sequence[float] | float]],
    metric: str,
    place: Mapping[tuple[float, float], float],
    ax: Axes,
    **options: Any,
) -> Any:
    """Draw each setting's mean over seeds with its standard deviation; None where there is no value."""
    points = []
    for setting in sorted(results, key=lambda one: place[one]):
        values = np.atleast_1d(np.asarray(results[setting].get(metric, np.nan), dtype=float))
        values = values[np.isfinite(values)]
        if values.size:
            points.append((place[setting], values.mean(), values.std(ddof=1) if values.size > 1 else 0.0))
    if not points:
        return None
    x, mean, spread = np.transpose(points)
    bars = spread if spread.any() else None
    return ax.errorbar(
        x, mean, yerr=bars, markersize=5.5, linewidth=1.8, capsize=3, elinewidth=1.1, zorder=3, **options
    )


def _weight_axis(ax: Axes, place: Mapping[tuple[float, float], float]) -> None:
    """Write the settings on a logarithmic axis of the ratio of their weights."""
    from matplotlib.ticker import FixedLocator, NullLocator

    names = {x: f"{strong:g} : {weak:g}" for (strong, weak), x in place.items()}
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted(names)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([names[x] for x in sorted(names)], rotation=40, ha="right")
    ax.set_xlabel("loss weights, strong : weak")
    ax.grid(axis="y")
    # Legends stand above: inside, they hide points in one experiment or another.
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1, columnspacing=1.2)


def _mark_nothing_detected(ax: Axes) -> None:
    """Mark the error rate of a system that detects nothing."""
    ax.axhline(1.0, color=COLORS["muted"], linewidth=0.8, zorder=0)
    ax.annotate(
        "nothing detected",
        (1.0, 1.0),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=7.5,
        color=COLORS["muted"],
    )


def plot_setting_curves(
    histories: Mapping[tuple[float, float], Mapping[str, Sequence[float]]], *, axes: Sequence[Axes]
) -> list[Any]:
    """Draw the validation losses of several settings, one line each.

    Parameters
    ----------
    histories : mapping of (strong weight, weak weight) to mapping of column to sequence of float
        Columns ``epoch, val_strong_loss, val_weak_loss``; the losses before they are weighted, so that settings
        can be compared. Drawn in the order of the ratio, from the weak output's color to the strong one's.
    axes : sequence of two Axes
        The strong loss, the weak loss.

    Returns
    -------
    list of matplotlib.lines.Line2D
        Of the strong loss, then of the weak loss, in the order of the ratio.
    """
    if len(axes) != 2:
        raise DataError(f"plot_setting_curves: expected two axes, received {len(axes)}.")
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    ordered = sorted(histories, key=lambda setting: setting[0] / setting[1] if setting[1] else np.inf)
    # The colors of the two outputs, gray between them: visible on a light page and on a dark one.
    shades = LinearSegmentedColormap.from_list("ratio", [COLORS["weak"], "#8A919E", COLORS["strong"]])
    colors = shades(np.linspace(0.0, 1.0, max(len(ordered), 2)))
    dashes = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))  # a second sign beside color
    lines = []
    with style():
        for ax, output in zip(axes, ("strong", "weak"), strict=True):
            for index, setting in enumerate(ordered):
                epochs = history_column(histories[setting], "epoch")
                (line,) = ax.plot(
                    epochs,
                    history_column(histories[setting], f"val_{output}_loss"),
                    color=colors[index],
                    linestyle=dashes[index % len(dashes)],
                    linewidth=1.5,
                    marker="o" if len(epochs) == 1 else None,
                    label=f"{setting[0]:g} : {setting[1]:g}",
                )
                lines.append(line)
            ax.set_title(f"{output.capitalize()} loss, validation clips")
            ax.set_xlabel("epoch")
            ax.set_ylim(bottom=0)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(axis="y")
        axes[0].set_ylabel("mean binary cross-entropy")
        axes[1].legend(title="strong : weak", loc="center left", bbox_to_anchor=(1.0, 0.5), title_fontsize=8)
    return lines
