"""Figures of a grid: metrics and losses over the two loss weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak import paper
from crnn_weak.errors import DataError
from crnn_weak.figures.style import COLOURS, new_figure, style

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


def _ratio(strong: float, weak: float, span: tuple[float, float]) -> float:
    """The weight ratio; a weight of zero stands one decade beyond the last ratio of its side."""
    if weak == 0:
        return span[1] * 10
    return span[0] / 10 if strong == 0 else strong / weak


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
    from matplotlib.ticker import FixedLocator, NullLocator

    settings = sorted({*results, *((row.strong, row.weak) for row in paper.RESULTS if show_paper)})
    ratios = [strong / weak for strong, weak in settings if strong > 0 and weak > 0] or [1.0]
    span = (min(ratios), max(ratios))
    place = {setting: _ratio(*setting, span) for setting in settings}
    panels = (
        (axes[0], (("segment_f", "segment", "o", "detection F"), ("tagging_f", "tagging", "s", "tagging F"))),
        (axes[1], (("error_rate", "error_rate", "D", "error rate"),)),
    )
    drawn: dict[str, Any] = {}
    with style():
        for ax, metrics in panels:
            for metric, colour, marker, label in metrics:
                if show_paper:
                    ax.plot(
                        [place[row.strong, row.weak] for row in paper.RESULTS],
                        [getattr(row, metric) for row in paper.RESULTS],
                        linestyle=(0, (3, 2)),
                        linewidth=1.0,
                        marker=marker,
                        markersize=4.5,
                        markerfacecolor="white",
                        color=COLOURS[colour],
                        alpha=0.65,
                        label=f"{label}, paper",
                    )
                points = []
                for setting in sorted(results, key=lambda s: place[s]):
                    values = np.atleast_1d(np.asarray(results[setting].get(metric, np.nan), dtype=float))
                    values = values[np.isfinite(values)]
                    if values.size:
                        spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
                        points.append((place[setting], float(values.mean()), spread))
                if points:
                    x, mean, spreads = map(list, zip(*points, strict=True))
                    drawn[metric] = ax.errorbar(
                        x,
                        mean,
                        yerr=spreads if any(spreads) else None,
                        color=COLOURS[colour],
                        marker=marker,
                        markersize=5.5,
                        linewidth=1.8,
                        capsize=3,
                        elinewidth=1.1,
                        label=f"{label}, here",
                        zorder=3,
                    )
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator(sorted(set(place.values()))))
            ax.xaxis.set_minor_locator(NullLocator())
            names = {place[s, w]: f"{s:g} : {w:g}" for s, w in settings}
            ax.set_xticklabels([names[tick] for tick in sorted(set(place.values()))], rotation=40, ha="right")
            ax.set_xlabel("loss weights, strong : weak")
            ax.grid(axis="y")
            # Legends stand above: inside, they hide points in one experiment or another.
            if ax.get_legend_handles_labels()[0]:
                ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1, columnspacing=1.2)
        axes[0].set_ylim(0, 100)
        axes[0].set_ylabel("F-score / %")
        axes[1].set_ylim(bottom=0)
        axes[1].set_ylabel("error rate (lower is better)")
        axes[1].axhline(1.0, color=COLOURS["muted"], linewidth=0.8, zorder=0)
        axes[1].annotate(
            "nothing detected",
            (1.0, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color=COLOURS["muted"],
        )
    return drawn


def plot_setting_curves(
    histories: Mapping[tuple[float, float], Mapping[str, Sequence[float]]], *, axes: Sequence[Axes]
) -> list[Any]:
    """Draw the validation losses of several settings, one line each.

    Parameters
    ----------
    histories : mapping of (strong weight, weak weight) to mapping of column to sequence of float
        Columns ``epoch, val_strong_loss, val_weak_loss``; the losses before they are weighted, so that settings
        can be compared. Drawn in the order of the ratio, from the weak output's colour to the strong one's.
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
    # The colours of the two outputs, grey between them: visible on a light page and on a dark one.
    shades = LinearSegmentedColormap.from_list("ratio", [COLOURS["weak"], "#8A919E", COLOURS["strong"]])
    colours = shades(np.linspace(0.0, 1.0, max(len(ordered), 2)))
    dashes = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))  # a second sign beside colour
    lines = []
    with style():
        for ax, output in zip(axes, ("strong", "weak"), strict=True):
            for index, setting in enumerate(ordered):
                history = histories[setting]
                (line,) = ax.plot(
                    history["epoch"],
                    history[f"val_{output}_loss"],
                    color=colours[index],
                    linestyle=dashes[index % len(dashes)],
                    linewidth=1.5,
                    marker="o" if len(history["epoch"]) == 1 else None,
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
