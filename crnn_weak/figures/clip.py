"""Figures of one clip or recording over seconds: log mel, events, frame scores, saliency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.errors import DataError
from crnn_weak.figures.style import COLORS, LEGEND_ABOVE, new_figure, short_name, style
from crnn_weak.labels.events import Event, class_indices
from crnn_weak.labels.rolls import frame_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HERTZ = (200, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000)
#: Words, shade of the scores above it, and dashes of a class's threshold and low threshold.
_LEVELS = (("threshold", 0.75, (3, 2)), ("event continues above", 0.25, (1, 2)))


def _time_axis(ax: Axes, seconds: float) -> None:
    """Let x run over `seconds`; the lowest panel of a figure carries the label."""
    ax.set_xlim(0.0, seconds)
    ax.locator_params(axis="x", nbins=10, steps=[1, 2, 5, 10])
    place = ax.get_subplotspec()
    if place is None or place.is_last_row():
        ax.set_xlabel("time / s")


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, int]) -> None:
    if np.shape(array) != shape:
        raise DataError(f"{name}: expected an array of shape {shape}, received {np.shape(array)}.")


def _draw_bands(array: np.ndarray, features: FeatureConfig, ax: Axes, **options: Any) -> None:
    """Draw ``(n_frames, n_mels)`` with seconds on x and hertz on y."""
    from librosa import hz_to_mel

    seconds = len(array) * features.hop_seconds
    extent = (0.0, seconds, -0.5, features.n_mels - 0.5)
    ax.imshow(array.T, origin="lower", aspect="auto", extent=extent, **options)
    ax.spines[:].set_visible(False)
    low, high = hz_to_mel([features.fmin_hz, features.fmax_hz])
    bands = (hz_to_mel(_HERTZ) - low) / (high - low) * (features.n_mels + 1) - 1  # 0: the middle of the lowest band
    texts = [f"{hertz / 1000:g}k" if hertz >= 1000 else str(hertz) for hertz in _HERTZ]
    ticks = {band: text for band, text in zip(bands, texts, strict=True) if 0 <= band <= features.n_mels - 1}
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set_ylim(-0.5, features.n_mels - 0.5)
    ax.set_ylabel("frequency / Hz")
    _time_axis(ax, seconds)


def _lanes(classes: Sequence[str], ax: Axes) -> None:
    """Draw one lane for each class; class ``k`` covers ``[k - 0.5, k + 0.5)``, y runs downwards."""
    for row in range(0, len(classes), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=COLORS["lane"], linewidth=0, zorder=0)
    ax.set_yticks(range(len(classes)), [short_name(name) for name in classes])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(classes) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", zorder=1)


def plot_log_mel(log_mel: np.ndarray, *, features: FeatureConfig, ax: Axes) -> None:
    """Draw log mel-band energies of shape (n_frames, n_mels), raw or standardized, in decibels."""
    _check_shape("log_mel", log_mel, (len(log_mel), features.n_mels))
    decibels = (np.asarray(log_mel, dtype=float) - np.max(log_mel)) * (20.0 / np.log(10.0))
    # Padded frames and silence, and the lowest fiftieth of the rest, share one color; they would take the whole range.
    floor = float(np.clip(np.quantile(decibels[decibels > -80.0], 0.02), -80.0, -1.0))
    with style():
        _draw_bands(decibels, features, ax, cmap="magma", vmin=floor, vmax=0.0)


def plot_event_roll(
    reference: Iterable[Event] | None,
    estimated: Iterable[Event] | None,
    *,
    classes: Sequence[str],
    clip_seconds: float,
    ax: Axes,
) -> None:
    """Draw events as bars, in each class's lane the truth above the estimate; without the other, in its middle."""
    from matplotlib.patches import Patch, Rectangle

    are_both = reference is not None and estimated is not None
    # Height of the top of each half lane, and fill: the estimate is hatched for readers without color.
    roles = {"reference": (reference, -0.40, "", "truth"), "estimated": (estimated, 0.04, "/////", "detected")}
    handles = []
    with style():
        _lanes(classes, ax)
        for role, (events, top, hatch, name) in roles.items():
            look: dict[str, Any] = {"facecolor": COLORS[role], "edgecolor": "white", "linewidth": 0.4, "hatch": hatch}
            handles.append(Patch(label=name, **look))
            for event in events or ():
                (row,) = class_indices([event.label], classes, where=role)
                width, y = max(event.duration, clip_seconds / 400), row + (top if are_both else -0.18)
                ax.add_patch(Rectangle((event.onset, y), width, 0.36, zorder=2, **look))
        _time_axis(ax, clip_seconds)
        if are_both:
            ax.legend(handles=handles, **LEGEND_ABOVE)


def plot_scores(
    strong: np.ndarray,
    *,
    classes: Sequence[str],
    hop_seconds: float,
    ax: Axes,
    thresholds: Mapping[str, tuple[float, float]] | None = None,  # high and low (0: none); by default 0.5
    weak: Sequence[float] | np.ndarray | None = None,  # scores of the clip, written at the right edge
) -> None:
    """Draw frame scores in [0, 1], shape (n_frames, n_classes), each class in a lane with its thresholds."""
    _check_shape("strong", strong, (len(strong), len(classes)))
    edges = frame_times(strong.shape[0], hop_seconds)
    height, handles = 0.78, {}
    fill: dict[str, Any] = {"step": "post", "color": COLORS["strong"], "linewidth": 0}
    with style():
        _lanes(classes, ax)
        for row, name in enumerate(classes):
            # A score belongs to its whole frame: steps, not slopes between frames.
            floor, scores = row + 0.40, np.append(strong[:, row], strong[-1:, row])
            curve = floor - height * scores
            ax.fill_between(edges, floor, curve, alpha=0.18, **fill)
            levels = (thresholds or {}).get(name, (0.5, 0.0))
            for level, (text, alpha, dashes) in zip(levels, _LEVELS, strict=True):
                if level > 0:
                    line = floor - height * level
                    ax.fill_between(edges, line, np.minimum(curve, line), alpha=alpha, **fill)
                    handles[text] = ax.axhline(line, color=COLORS["muted"], linewidth=0.6, dashes=dashes, label=text)
            ax.step(edges, curve, where="post", color=COLORS["strong"], linewidth=0.7, alpha=0.9)
            if weak is not None:
                ax.text(1.005, row, f"{weak[row]:.2f}", transform=ax.get_yaxis_transform(), va="center", fontsize=7.5)
        _time_axis(ax, float(edges[-1]))
        if thresholds:
            ax.legend(handles=list(handles.values()), **LEGEND_ABOVE)


def plot_saliency(
    strong: np.ndarray,
    weak: np.ndarray,
    log_mel: np.ndarray,
    *,
    features: FeatureConfig,
    axes: Sequence[Axes],
    label: str,  # only events of this class are marked
    reference: Iterable[Event] = (),
    estimated: Iterable[Event] = (),
) -> None:
    """Draw gradients of the strong and the weak output, and the log mel, each (n_frames, n_mels)."""
    from matplotlib.lines import Line2D

    reference = [event for event in reference if event.label == label]
    estimated = [event for event in estimated if event.label == label]
    with style():
        for ax, values, output in zip(axes[:2], (strong, weak), ("strong", "weak"), strict=True):
            _check_shape(output, values, (len(log_mel), features.n_mels))
            # The largest thousandth may saturate: single values would otherwise hide the rest.
            peak = float(np.quantile(np.abs(values), 0.999)) or float(np.abs(values).max()) or 1.0
            scale: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": peak}
            if float(values.min()) < 0:  # centered on zero
                scale = {"cmap": "RdBu_r", "vmin": -peak, "vmax": peak}
            _draw_bands(values, features, ax, **scale)
            ax.set_title(f"Gradients of the {output} output: {short_name(label)}", pad=13)
        plot_log_mel(log_mel, features=features, ax=axes[2])
        axes[2].set_title("Log mel-band energies", pad=13)
        for ax in axes:
            _mark_events(ax, reference, estimated)
        handles = [
            Line2D([], [], color=COLORS[role], linewidth=3, label=words)
            for role, events, words in (("reference", reference, "truth"), ("estimated", estimated, "detected"))
            if events
        ]
        if handles:
            axes[2].legend(handles=handles, loc="upper right", bbox_to_anchor=(1.0, 0.0), ncols=2, borderaxespad=2.0)


def _mark_events(ax: Axes, reference: Sequence[Event], estimated: Sequence[Event]) -> None:
    """Draw bars above the picture, the truth above the detections, and hairlines at true onsets and offsets."""
    from matplotlib.transforms import ScaledTranslation

    for role, events, points in (("reference", reference, 8.5), ("estimated", estimated, 4.0)):
        above = ScaledTranslation(0, points / 72, ax.figure.dpi_scale_trans)
        look: dict[str, Any] = {"color": COLORS[role], "linewidth": 3.0, "solid_capstyle": "butt", "clip_on": False}
        for event in events:
            ax.plot([event.onset, event.offset], [1, 1], transform=ax.get_xaxis_transform() + above, **look)
    for event in reference:
        for moment in (event.onset, event.offset):
            ax.axvline(moment, color="white", linewidth=0.8, dashes=(4, 3), alpha=0.9)


def clip_figure(
    log_mel: np.ndarray,
    strong: np.ndarray,
    weak: np.ndarray,
    *,
    features: FeatureConfig,
    classes: Sequence[str],
    thresholds: Mapping[str, tuple[float, float]],
    reference: Sequence[Event] = (),
    estimated: Sequence[Event] = (),
) -> Figure:
    """Draw one clip: log mel (n_frames, n_mels), strong (n_frames, n_classes) and weak (n_classes) scores, events."""
    true, detected = {event.label for event in reference}, {event.label for event in estimated}
    # Two to eight classes: true ones, then detected ones, then those with the highest scores.
    ranked = [classes[column] for column in np.argsort(-strong.max(axis=0), kind="stable")]
    ranked.sort(key=lambda name: (name not in true, name not in detected))
    wanted = ranked[: min(max(len(true | detected), 2), 8)]
    shown = [name for name in classes if name in wanted]
    reference = [event for event in reference if event.label in shown]
    estimated = [event for event in estimated if event.label in shown]
    columns = class_indices(shown, classes)
    with style():
        ratios = (2.0, 0.6 * len(shown), 0.6 * len(shown))
        height = 2.6 + 0.9 * len(shown)
        figure, (bands, lanes, roll) = new_figure(8.0, height, n_rows=3, share_x=True, height_ratios=ratios)
        plot_log_mel(log_mel, features=features, ax=bands)
        of_lanes: dict[str, Any] = {"thresholds": thresholds, "weak": weak[columns], "ax": lanes}
        plot_scores(strong[:, columns], classes=shown, hop_seconds=features.hop_seconds, **of_lanes)
        clip_seconds = len(log_mel) * features.hop_seconds
        plot_event_roll(reference, estimated, classes=shown, clip_seconds=clip_seconds, ax=roll)
        bands.set_title("log mel energies")
        lanes.set_title("frame scores; right: score of the clip")
        roll.set_title("events")
    return figure


def recording_figure(
    log_mel: np.ndarray, events: Sequence[Event], *, features: FeatureConfig, seconds: float, title: str
) -> Figure:
    """Draw a recording of any length: log mel, shape (n_columns, n_mels) over all of it, and its detected events."""
    labels = sorted({event.label for event in events}) or ["no events"]
    with style():
        ratios = (2.4, 0.35 * len(labels) + 0.4)
        figure, (bands, roll) = new_figure(10.0, 3.2 + 0.3 * len(labels), n_rows=2, share_x=True, height_ratios=ratios)
        plot_log_mel(log_mel, features=features, ax=bands)
        bands.images[0].set_extent((0.0, seconds, -0.5, features.n_mels - 0.5))  # columns are means over frames
        plot_event_roll(None, events, classes=labels, clip_seconds=seconds, ax=roll)
        bands.set_title(short_name(title, 100))
    return figure
