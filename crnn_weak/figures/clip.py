"""Figures of one clip: log mel, events, frame scores.

Time runs in seconds on x, from the start of the clip; classes stand in the order of the class list, the first on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak import timing
from crnn_weak.config import FeatureConfig
from crnn_weak.errors import DataError
from crnn_weak.figures.style import COLORS, hertz_axis, relative_decibels, style, time_axis
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.events import Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_shape", "draw_bands", "plot_event_roll", "plot_log_mel", "plot_scores", "shorten"]

_LOG_MEL_MAP = "magma"  # sequential, even in lightness, readable in gray


def shorten(label: str, n_most: int = 32) -> str:
    """Return a label that fits beside its lane."""
    return label if len(label) <= n_most else label[: n_most - 1].rstrip() + "…"


def check_shape(name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return the array if it has the shape (None is any length); otherwise raise DataError."""
    array = np.asarray(array)
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise DataError(f"{name}: expected an array of shape ({wanted}), received {array.shape}.")
    return array


def draw_bands(array: np.ndarray, features: FeatureConfig, ax: Axes, **options: Any) -> Any:
    """Draw ``(n_frames, n_mels)`` with seconds on x and hertz on y."""
    extent = (0.0, array.shape[0] * features.hop_seconds, -0.5, features.n_mels - 0.5)
    image = ax.imshow(array.T, origin="lower", aspect="auto", extent=extent, interpolation="nearest", **options)
    for spine in ax.spines.values():
        spine.set_visible(False)
    hertz_axis(ax, features)
    return image


def plot_log_mel(
    log_mel: np.ndarray, *, features: FeatureConfig, ax: Axes, color_bar: bool = False, time_label: bool = True
) -> Any:
    """Draw log mel-band energies.

    Parameters
    ----------
    log_mel : np.ndarray, shape (n_frames, n_mels)
        Natural logarithm of the amplitude; standardized values may be given as well.
    features : FeatureConfig
        Gives the hop in seconds and the bands' frequencies.
    ax : matplotlib.axes.Axes
    color_bar : bool
        Add a scale in decibels of amplitude, 0 dB at the loudest cell.
    time_label : bool
        Write "time / s"; False where a lower panel carries it.

    Returns
    -------
    matplotlib.image.AxesImage

    Raises
    ------
    DataError
        The array has another number of bands.
    """
    log_mel = check_shape("log_mel", log_mel, (None, features.n_mels))
    with style():
        values, floor = relative_decibels(log_mel)
        image = draw_bands(values, features, ax, cmap=_LOG_MEL_MAP, vmin=floor, vmax=0.0)
        time_axis(ax, log_mel.shape[0] * features.hop_seconds, label=time_label)
        if color_bar:
            bar = ax.figure.colorbar(image, ax=ax, pad=0.015, fraction=0.04)
            bar.set_label("dB below the loudest")
            bar.outline.set_visible(False)
    return image


def _lanes(classes: Sequence[str], ax: Axes) -> None:
    """One lane for each class, the first on top; class ``k`` covers ``[k - 0.5, k + 0.5)``, y runs downwards."""
    for row in range(0, len(classes), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=COLORS["lane"], linewidth=0, zorder=0)
    ax.set_yticks(range(len(classes)), [shorten(name) for name in classes])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(classes) - 0.5, -0.5)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)


def plot_event_roll(
    reference: Iterable[Event] | None,
    estimated: Iterable[Event] | None,
    *,
    classes: Sequence[str],
    clip_seconds: float,
    ax: Axes,
    legend: bool = True,
    time_label: bool = True,
) -> dict[str, list[Any]]:
    """Draw events as bars, in each class's lane the truth above the estimate.

    Parameters
    ----------
    reference, estimated : iterable of Event, optional
        Seconds from the start of the clip; None where there is none to draw. A zero-length event is a thin mark.
    classes : sequence of str
        One lane each, the first on top. An event whose class is not listed is an error.
    clip_seconds : float
    ax : matplotlib.axes.Axes
    legend, time_label : bool

    Returns
    -------
    dict of str to list of matplotlib.patches.Rectangle
        Keys ``reference`` and ``estimated``; in the events' order.

    Raises
    ------
    LabelError
        An event's label is not in `classes`.
    """
    from matplotlib.patches import Patch, Rectangle

    drawn: dict[str, list[Any]] = {"reference": [], "estimated": []}
    with style():
        _lanes(classes, ax)
        # Top and height of the half lanes; the truth solid, the estimate hatched for readers without color.
        for role, events, top in (("reference", reference, -0.40), ("estimated", estimated, 0.04)):
            for event in events or ():
                (row,) = class_indices([event.label], classes, where=role)
                width = max(event.duration, clip_seconds / 400)
                bar = Rectangle(
                    (event.onset, row + top),
                    width,
                    0.36,
                    facecolor=COLORS[role],
                    alpha=1.0 if role == "reference" else 0.9,
                    edgecolor="white",
                    linewidth=0.4,
                    hatch=None if role == "reference" else "/////",
                    zorder=2,
                )
                ax.add_patch(bar)
                drawn[role].append(bar)
        time_axis(ax, clip_seconds, label=time_label)
        ax.grid(axis="x", zorder=1)
        if legend:
            handles = [
                Patch(facecolor=COLORS["reference"], label="truth"),
                Patch(facecolor=COLORS["estimated"], hatch="/////", edgecolor="white", linewidth=0, label="detected"),
            ]
            ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    return drawn


def plot_scores(
    strong: np.ndarray,
    *,
    classes: Sequence[str],
    hop_seconds: float,
    ax: Axes,
    thresholds: float | Mapping[str, float] = 0.5,
    weak: np.ndarray | None = None,
    reference: Iterable[Event] = (),
    time_label: bool = True,
) -> list[Any]:
    """Draw the frame scores of each class in its own lane, with its threshold.

    Parameters
    ----------
    strong : np.ndarray, shape (n_frames, n_classes)
        In [0, 1]; a lane's floor is 0, its ceiling 1.
    classes : sequence of str, length n_classes
    hop_seconds : float
    ax : matplotlib.axes.Axes
    thresholds : float or mapping of class to float
        Dashed; what rises above it is filled more strongly.
    weak : np.ndarray, shape (n_classes,), optional
        The clip's scores, written at the right edge; bold where they reach the threshold.
    reference : iterable of Event
        The truth, as a line under the lane.

    Returns
    -------
    list of matplotlib.lines.Line2D
        One for each class.
    """
    strong = check_shape("strong", strong, (None, len(classes)))
    edges = timing.frame_times(strong.shape[0], hop_seconds)
    lines = []
    with style():
        _lanes(classes, ax)
        for row, name in enumerate(classes):
            limit = thresholds.get(name, 0.5) if isinstance(thresholds, Mapping) else thresholds
            lines.append(_draw_scores(edges, strong[:, row], limit, row, ax))
            if weak is not None:
                bold = bool(weak[row] >= limit)
                style_of = {"fontweight": "bold" if bold else "normal", "color": COLORS["ink" if bold else "muted"]}
                _beside(ax, f"{weak[row]:.2f}", (1.0, row), ("axes fraction", "data"), va="center", **style_of)
        for event in reference:
            (row,) = class_indices([event.label], classes, where="reference")
            ax.plot([event.onset, event.offset], [row + 0.44] * 2, color=COLORS["reference"], linewidth=2.4)
        if weak is not None:
            _beside(ax, "clip", (1.0, 1.0), "axes fraction", va="bottom")
        time_axis(ax, float(edges[-1]), label=time_label)
        ax.grid(axis="x", zorder=1)
    return lines


def _draw_scores(edges: np.ndarray, scores: np.ndarray, limit: float, row: int, ax: Axes) -> Any:
    """Draw one class's scores in its lane, stronger above the threshold; return the line."""
    floor, height, color = row + 0.40, 0.78, COLORS["strong"]
    # A score belongs to its whole frame: steps, not slopes between frames.
    values, level = np.append(scores, scores[-1:]) * height, limit * height
    fill: dict[str, Any] = {"step": "post", "color": color, "linewidth": 0}
    ax.fill_between(edges, floor, floor - values, alpha=0.18, **fill)
    ax.fill_between(edges, floor - level, floor - np.maximum(values, level), alpha=0.75, **fill)
    ax.plot(edges, np.full_like(edges, floor - level), color=COLORS["threshold"], linewidth=0.6, dashes=(3, 2))
    return ax.step(edges, floor - values, where="post", color=color, linewidth=0.7, alpha=0.9)[0]


def _beside(ax: Axes, text: str, place: tuple[float, float], coords: Any, **options: Any) -> None:
    """Write a text to the right of a place."""
    options = {"xytext": (4, 0), "textcoords": "offset points", "fontsize": 7.5, **options}
    ax.annotate(text, place, xycoords=coords, **options)
