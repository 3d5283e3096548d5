"""Figures of runs and grids: loss weights, learning curves, classes, and the tradeoff of the two tasks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak import paper
from crnn_weak.figures.style import COLORS, LEGEND_ABOVE, new_figure, short_name, style
from crnn_weak.metrics.summary import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

Setting = tuple[float, float]
History = Mapping[str, Sequence[float]]


def loss_weight_figure(table: Any) -> Figure:
    """Draw the F-scores and error rates of a `ResultsTable` over the ratio of the loss weights; hollow: the paper's."""
    figure, (f_scores, error_rates) = new_figure(8.4, 3.7, n_columns=2)
    published_rows = paper.RESULTS if table.published else ()
    place = _places({*table.settings, *((row.strong, row.weak) for row in published_rows)})
    drawn = [metric for metric in METRICS if metric.published and metric.name in ("f_score", "error_rate")]
    with style():
        for metric, marker in zip(drawn, itertools.cycle("sDo"), strict=False):
            ax = f_scores if metric.name == "f_score" else error_rates
            look: dict[str, Any] = {"color": COLORS["weak" if metric.output == "tagging" else "strong"]}
            look["marker"] = marker
            published = [(place[row.strong, row.weak], getattr(row, metric.published)) for row in published_rows]
            if published:
                ax.plot(
                    *np.transpose(published), label=f"{metric.heading}, {table.published.removeprefix('the ')}",
                    markersize=4.5, markerfacecolor="white", linestyle=(0, (3, 2)), linewidth=1.0, alpha=0.65, **look,
                )  # fmt: skip
            points = []
            for setting in table.settings:
                seeds = metric.scale * np.array(table.values(setting, metric.output, metric.name))
                if len(seeds):
                    points.append((place[setting], seeds.mean(), seeds.std(ddof=1) if len(seeds) > 1 else 0.0))
            if points:
                x, mean, spread = np.transpose(points)
                ax.errorbar(
                    x, mean, yerr=spread if spread.any() else None, label=f"{metric.heading}, here",
                    markersize=5.5, linewidth=1.8, capsize=3, elinewidth=1.1, zorder=3, **look,
                )  # fmt: skip
        if error_rates.lines:  # own clips without events have no error rates
            error_rates.axhline(1.0, color=COLORS["muted"], linewidth=1.2, zorder=1, label="nothing detected")
        for ax in (f_scores, error_rates):
            _weight_axis(ax, place)
        f_scores.set(ylim=(-2, 102), ylabel="F-score / %")
        error_rates.set(ylim=(0, None), ylabel="error rate (lower is better)")
    return figure


def _places(settings: Iterable[Setting]) -> dict[Setting, float]:
    """Return the ratio of each setting, in ascending order; one with a weight of 0 is a decade beyond the others."""
    place = {(strong, weak): strong / weak for strong, weak in settings if strong > 0 and weak > 0}
    lowest, highest = min(place.values(), default=1) / 10, max(place.values(), default=1) * 10
    for strong, weak in settings:
        if not (strong > 0 and weak > 0):
            place[strong, weak] = highest if weak == 0 else lowest
    return dict(sorted(place.items(), key=lambda item: (item[1], item[0])))


def _weight_axis(ax: Axes, place: Mapping[Setting, float]) -> None:
    """Write the settings on a logarithmic axis of the ratio of their weights, and the legend above."""
    ax.set_xscale("log")
    labels = [f"{strong:g} : {weak:g}" for strong, weak in place]
    ax.set_xticks(list(place.values()), labels, rotation=40, ha="right")
    ax.minorticks_off()
    ax.set_xlabel("loss weights, strong : weak")
    ax.grid(axis="y")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1, columnspacing=1.2)


def _finish_curves(axes: Sequence[Axes]) -> None:
    """Write titles and labels of a strong and a weak loss over the epochs."""
    for ax, output in zip(axes, ("Strong", "Weak"), strict=True):
        ax.set(title=f"{output} loss", xlabel="epoch", ylim=(0, None))
        ax.grid(axis="y")
        ax.locator_params(axis="x", integer=True)
    axes[0].set_ylabel("mean binary cross-entropy")


def training_figure(history: History, best_epoch: int | None = None) -> Figure:
    """Draw the unweighted strong and weak losses of a ``history.csv``; `best_epoch`, as counted there, is marked."""
    figure, axes = new_figure(9.8, 3.2, n_columns=2)
    epochs = list(history["epoch"])
    with style():
        for ax, output in zip(axes, ("strong", "weak"), strict=True):
            look: dict[str, Any] = {"color": COLORS[output], "marker": "o" if len(epochs) == 1 else None}
            validation = history[f"val_{output}_loss"]
            ax.plot(epochs, history[f"{output}_loss"], "--", label="training", **look)
            ax.plot(epochs, validation, label="validation", **look)
            if best_epoch is not None and best_epoch in epochs:
                best = validation[epochs.index(best_epoch)]
                ax.axvline(best_epoch, color=COLORS["muted"], linewidth=0.8, dashes=(2, 2), zorder=0)
                ax.plot([best_epoch], [best], "o", color=COLORS[output], markeredgecolor="white")
            ax.legend(**LEGEND_ABOVE)
        _finish_curves(axes)
    return figure


def setting_figure(histories: Mapping[Setting, History]) -> Figure:
    """Draw the unweighted validation losses of several settings, colored by the ratio of their weights."""
    from matplotlib.colors import LinearSegmentedColormap

    figure, axes = new_figure(9.8, 3.3, n_columns=2)
    ordered = sorted(histories, key=lambda setting: setting[0] / setting[1] if setting[1] else np.inf)
    shades = LinearSegmentedColormap.from_list("ratio", [COLORS["weak"], "#8A919E", COLORS["strong"]])
    colors = shades(np.linspace(0.0, 1.0, max(len(ordered), 2)))
    with style():
        for ax, output in zip(axes, ("strong", "weak"), strict=True):
            for index, setting in enumerate(ordered):
                history, dashes = histories[setting], ("-", "--", ":")[index % 3]
                ax.plot(
                    history["epoch"], history[f"val_{output}_loss"], dashes, color=colors[index],
                    marker="o" if len(history["epoch"]) == 1 else None, label="{:g} : {:g}".format(*setting),
                )  # fmt: skip
        _finish_curves(axes)
        axes[1].legend(title="strong : weak", loc="center left", bbox_to_anchor=(1.0, 0.5), title_fontsize=8)
    return figure


def class_figure(values: Mapping[str, ArrayLike], classes: Sequence[str]) -> Figure:
    """Draw bars of each class's F-scores in percent, ``tagging``, ``segment`` or both; NaN is an en dash."""
    figure, (ax,) = new_figure(9.8, 1.0 + 0.3 * len(classes))
    names = {"tagging": ("tagging (clips)", "weak"), "segment": ("detection (segments)", "strong")}
    height = 0.76 / max(len(values), 1)
    rows = np.arange(len(classes))
    with style():
        for index, output in enumerate(values):
            label, color = names[output]
            series = np.asarray(values[output], dtype=float)
            middle = rows + (index - (len(values) - 1) / 2) * height
            bars = ax.barh(middle, np.nan_to_num(series), height=height * 0.88, color=COLORS[color], label=label)
            texts = [f"{value:.0f}" if np.isfinite(value) else "–" for value in series]
            ax.bar_label(bars, texts, padding=3, fontsize=7.0, color=COLORS["muted"])
        ax.set_yticks(rows, [short_name(name) for name in classes])
        ax.set(ylim=(len(classes) - 0.5, -0.5), xlim=(0, 106), xticks=range(0, 101, 20), xlabel="F-score / %")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x")
        ax.legend(**LEGEND_ABOVE)
    return figure


def tradeoff_figure(
    points: Mapping[str, Mapping[str, Sequence[float]]], *, curves: Sequence[Sequence[str]] = ()
) -> Figure:
    """Draw tagging F over segment F of entries: (mean, low, high) of ``tagging`` and ``segment`` in percent."""
    from matplotlib.lines import Line2D

    centers = {name: (point["segment"][0], point["tagging"][0]) for name, point in points.items()}
    on_curve = {name for curve in curves for name in curve}
    ranked = sorted(centers.keys() - on_curve, key=lambda name: (-sum(centers[name]), name))
    figure, (ax,) = new_figure(9.0, max(4.4, 1.0 + 0.2 * len(ranked)))
    handles = []
    with style():
        for name, (x, y) in centers.items():
            (_, *x_ends), (_, *y_ends) = points[name]["segment"], points[name]["tagging"]
            color = COLORS["muted" if name in on_curve else "strong"]
            look: dict[str, Any] = {"color": color, "linewidth": 0.6, "alpha": 0.5, "zorder": 1}
            ax.plot(x_ends, [y, y], **look)
            ax.plot([x, x], y_ends, **look)
        for curve, dashes, marker in zip(curves, ("-", "--", ":"), ("o", "s", "^"), strict=False):
            line = np.transpose([centers[name] for name in curve])
            words, first, last = curve[0].rpartition(" ")[0], curve[0].split()[-1], curve[-1].split()[-1]
            label = f"{short_name(words)}, {first} to {last}"
            look = {"color": COLORS["muted"], "linestyle": dashes, "marker": marker, "markersize": 3.5}
            handles += ax.plot(*line, linewidth=1.0, label=label, **look)
        disc: dict[str, Any] = {"marker": "o", "markersize": 8.0, "markeredgecolor": "white", "linestyle": "none"}
        written: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 6.0, "color": "white"}
        for number, name in reversed(list(enumerate(ranked, start=1))):  # the best on top
            height = 3 + 1 / number
            ax.plot(*centers[name], color=COLORS["strong"], zorder=height, **disc)
            ax.text(*centers[name], str(number), zorder=height, **written)
        for number, name in enumerate(ranked, start=1):
            handles.append(Line2D([], [], linestyle="none", label=f"{number}  {short_name(name, 40)}"))
        ax.set(xlabel="segment F / %", ylabel="tagging F / %")
        ax.grid()
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
