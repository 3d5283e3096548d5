"""Figures of one run: learning curves, bars by class, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.figures.clip import check_shape, shorten
from crnn_weak.figures.style import COLORS, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["co_occurrence", "plot_class_wise", "plot_confusion", "plot_training_curves"]


def plot_class_wise(
    values: Mapping[str, Sequence[float]],
    *,
    classes: Sequence[str],
    ax: Axes,
    n_reference: Sequence[int] | None = None,
    unit: str = "%",
) -> dict[str, Any]:
    """Draw one group of horizontal bars for each class.

    Parameters
    ----------
    values : mapping of str to sequence of float, each of length n_classes
        Series -> values as shown (percent, with the default unit). NaN, for a class that never occurs, is written
        as an en dash. Known series names (``tagging``, ``segment``, ``event``) have their own colors.
    classes : sequence of str, length n_classes
        From the top.
    ax : matplotlib.axes.Axes
    n_reference : sequence of int, optional
        How often the class occurs, written behind its name.
    unit : str

    Returns
    -------
    dict of str to matplotlib.container.BarContainer
    """
    spare = iter(("#009E73", "#CC79A7", "#56B4E9", "#D55E00"))
    names = {"tagging": "tagging (clips)", "segment": "detection (segments)", "event": "events (collar)"}
    height = 0.76 / max(len(values), 1)
    rows = np.arange(len(classes))
    drawn = {}
    with style():
        for index, (name, series) in enumerate(values.items()):
            numbers = np.asarray(series, dtype=float)
            if numbers.shape != (len(classes),):
                raise DataError(f"{name}: expected {len(classes)} values, received shape {numbers.shape}.")
            middle = rows + (index - (len(values) - 1) / 2) * height
            shown = np.where(np.isfinite(numbers), numbers, 0.0)
            color = COLORS.get(name) or next(spare, COLORS["muted"])
            drawn[name] = ax.barh(middle, shown, height=height * 0.88, color=color, label=names.get(name, name))
            for place, number in zip(middle, numbers, strict=True):
                text = f"{number:.0f}" if np.isfinite(number) else "–"
                ax.annotate(
                    text,
                    (number if np.isfinite(number) else 0.0, place),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7.0,
                    color=COLORS["muted"],
                )
        labels = [shorten(name) for name in classes]
        if n_reference is not None:
            labels = [f"{name}  ({count:,})" for name, count in zip(labels, n_reference, strict=True)]
        ax.set_yticks(rows, labels)
        ax.set_ylim(len(classes) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        if unit == "%":
            ax.set_xlim(0, 106)
            ax.set_xticks(range(0, 101, 20))
        ax.set_xlabel(f"F-score / {unit}" if unit == "%" else unit)
        ax.grid(axis="x")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=max(len(values), 1), borderaxespad=0.2)
    return drawn


def plot_training_curves(
    history: Mapping[str, Sequence[float]], *, axes: Sequence[Axes], best_epoch: int | None = None
) -> list[Any]:
    """Draw both losses of training and validation over the epochs.

    Parameters
    ----------
    history : mapping of column to sequence of float
        Columns ``epoch, strong_loss, weak_loss, val_strong_loss, val_weak_loss`` of a run's ``history.csv``; the
        losses before they are weighted.
    axes : sequence of two Axes
        The strong loss, the weak loss.
    best_epoch : int, optional
        Marked: the epoch whose weights are kept; as counted in column ``epoch``.

    Returns
    -------
    list of matplotlib.lines.Line2D
        Training and validation of ``strong``, then of ``weak``.
    """
    if len(axes) != 2:
        raise DataError(f"plot_training_curves: expected two axes, received {len(axes)}.")
    from matplotlib.ticker import MaxNLocator

    epochs = history_column(history, "epoch")
    lines = []
    with style():
        for ax, output in zip(axes, ("strong", "weak"), strict=True):
            single = "o" if len(epochs) == 1 else None  # a line of one point shows nothing
            for column, label, options in (
                (f"{output}_loss", "training", {"linestyle": (0, (4, 1.6)), "linewidth": 1.3, "alpha": 0.9}),
                (f"val_{output}_loss", "validation", {"linewidth": 1.9}),
            ):
                losses = history_column(history, column)
                (line,) = ax.plot(epochs, losses, color=COLORS[output], label=label, marker=single, **options)
                lines.append(line)
                if best_epoch is not None and label == "validation" and best_epoch in epochs:
                    best = float(losses[np.flatnonzero(epochs == best_epoch)[0]])
                    ax.axvline(best_epoch, color=COLORS["muted"], linewidth=0.8, dashes=(2, 2), zorder=0)
                    ax.plot([best_epoch], [best], "o", color=COLORS[output], markeredgecolor="white", markersize=6)
            ax.set_title(f"{output.capitalize()} loss")
            ax.set_xlabel("epoch")
            ax.set_ylim(bottom=0)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(axis="y")
            ax.legend(loc="best")
        axes[0].set_ylabel("mean binary cross-entropy")
    return lines


def history_column(history: Mapping[str, Sequence[float]], name: str) -> np.ndarray:
    """Return a column of ``history.csv``; raise DataError where it is missing."""
    if name not in history:
        raise DataError(f"history: column {name!r} is missing. Expected the columns of history.csv.")
    return np.asarray(history[name], dtype=float)


def co_occurrence(reference: np.ndarray, estimated: np.ndarray, *, false_only: bool = True) -> np.ndarray:
    """Return how often class ``c`` is estimated where class ``r`` is true.

    Parameters
    ----------
    reference, estimated : np.ndarray of bool, shape (n, n_classes)
        Rows are clips, segments or frames.
    false_only : bool
        Off the diagonal count only rows in which ``c`` is *not* true: classes that really sound together are no
        confusion. The diagonal is the recall in either case.

    Returns
    -------
    np.ndarray of float, shape (n_classes, n_classes)
        Rows true, columns estimated, in [0, 1]; a row of NaN where the class never occurs.

    Examples
    --------
    >>> co_occurrence([[1, 0], [1, 1]], [[1, 1], [1, 1]])[0].tolist()
    [1.0, 0.5]
    """
    truth, guess = np.asarray(reference, dtype=bool), np.asarray(estimated, dtype=bool)
    if truth.ndim != 2 or truth.shape != guess.shape:
        raise DataError(
            f"confusion: expected two arrays of one shape (n, classes), received {truth.shape}, {guess.shape}."
        )
    counted = guess & ~truth if false_only else guess
    counts = truth.T.astype(float) @ counted.astype(float)
    np.fill_diagonal(counts, (truth & guess).sum(axis=0))
    totals = truth.sum(axis=0).astype(float)
    totals[totals == 0] = np.nan
    shares: np.ndarray = counts / totals[:, None]
    return shares


def plot_confusion(shares: np.ndarray, *, classes: Sequence[str], ax: Axes) -> Any:
    """Draw what `co_occurrence` counts, in percent.

    Parameters
    ----------
    shares : np.ndarray, shape (n_classes, n_classes)
        In [0, 1]; rows true, columns estimated. A row of NaN is left empty, as is what rounds to 0 %.
    classes : sequence of str, length n_classes

    Returns
    -------
    matplotlib.image.AxesImage
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    shares = check_shape("shares", shares, (len(classes), len(classes))) * 100.0
    blue = to_rgb(COLORS["strong"])
    # Opacity, not lightness: the same picture on a light page and on a dark one.
    shades = LinearSegmentedColormap.from_list("share", [(*blue, 0.03), (*blue, 1.0)])
    with style():
        image = ax.imshow(np.ma.masked_invalid(shares), cmap=shades, vmin=0, vmax=100, aspect="equal")
        names = [shorten(name) for name in classes]
        ax.set_xticks(range(len(classes)), names, rotation=50, ha="left", rotation_mode="anchor")
        ax.set_yticks(range(len(classes)), names)
        ax.xaxis.tick_top()
        ax.xaxis.set_label_position("top")
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xlabel("estimated")
        ax.set_ylabel("true")
        size = 7.0 if len(classes) <= 20 else 5.0
        for row, column in np.argwhere(np.nan_to_num(shares) >= 0.5):
            value = shares[row, column]
            color = "#fefefe" if value > 55 else COLORS["ink"]
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size, color=color)
    return image
