"""The saliency figure of the slides: gradients of the strong and the weak output above the log mel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.errors import DataError
from crnn_weak.figures.clip import check_shape, draw_bands, plot_log_mel
from crnn_weak.figures.style import COLORS, style, time_axis
from crnn_weak.labels.events import Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_saliency"]

_SALIENCY_MAP = "viridis"
_SIGNED_MAP = "RdBu_r"  # diverging, centered on zero


def _mark_events(ax: Axes, reference: Iterable[Event], estimated: Iterable[Event]) -> None:
    """Bars above the picture (truth above detection) and hairlines at onsets and offsets through it."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    top = blended_transform_factory(ax.transData, ax.transAxes)
    for role, events, points in (("reference", reference, 8.5), ("estimated", estimated, 4.0)):
        place = top + ScaledTranslation(0, points / 72, ax.figure.dpi_scale_trans)
        for event in events:
            ax.plot(
                [event.onset, event.offset],
                [1.0, 1.0],
                transform=place,
                color=COLORS[role],
                linewidth=3.0,
                solid_capstyle="butt",
                clip_on=False,
            )
            if role == "reference":
                for moment in (event.onset, event.offset):
                    ax.axvline(moment, color="white", linewidth=0.8, dashes=(4, 3), alpha=0.9)


def plot_saliency(
    strong: np.ndarray,
    weak: np.ndarray,
    log_mel: np.ndarray,
    *,
    features: FeatureConfig,
    axes: Sequence[Axes],
    label: str = "",
    reference: Iterable[Event] = (),
    estimated: Iterable[Event] = (),
) -> list[Any]:
    """Draw the figure of the slides: gradients of the strong output, of the weak output, and the log mel.

    Parameters
    ----------
    strong, weak : np.ndarray, shape (n_frames, n_mels)
        Saliency of one class. Maps without negative values are scaled to their own maximum; signed maps are drawn
        on a diverging scale that is centered on zero.
    log_mel : np.ndarray, shape (n_frames, n_mels)
    features : FeatureConfig
    axes : sequence of three Axes
        From the top; give axes that share x. Only the lowest carries the time label.
    label : str
        The class, for the titles.
    reference, estimated : iterable of Event
        Marked above each panel: the truth (upper bar, dashed lines through the picture) and the detections. With
        a `label` given, only that class's.

    Returns
    -------
    list of three matplotlib.image.AxesImage
    """
    if len(axes) != 3:
        raise DataError(f"plot_saliency: expected three axes, received {len(axes)}.")
    from matplotlib.lines import Line2D

    reference = [event for event in reference if not label or event.label == label]
    estimated = [event for event in estimated if not label or event.label == label]
    images = []
    suffix = f": {label}" if label else ""
    with style():
        for ax, values, title in zip(axes, (strong, weak), ("strong", "weak"), strict=False):
            values = check_shape(title, values, (log_mel.shape[0], features.n_mels))
            # The largest thousandth may saturate: single cells would otherwise blacken the rest.
            peak = float(np.quantile(np.abs(values), 0.999)) or float(np.abs(values).max()) or 1.0
            signed = float(values.min()) < 0
            images.append(
                draw_bands(
                    values,
                    features,
                    ax,
                    cmap=_SIGNED_MAP if signed else _SALIENCY_MAP,
                    vmin=-peak if signed else 0,
                    vmax=peak,
                )
            )
            time_axis(ax, values.shape[0] * features.hop_seconds, label=False)
            ax.tick_params(axis="x", labelbottom=False)
            ax.set_title(f"Gradients of the {title} output{suffix}", pad=13)
        images.append(plot_log_mel(log_mel, features=features, ax=axes[2]))
        axes[2].set_title("Log mel-band energies", pad=13)
        for ax in axes:
            _mark_events(ax, reference, estimated)
        if reference or estimated:
            handles = [
                Line2D([], [], color=COLORS[role], linewidth=3, solid_capstyle="butt", label=words)
                for role, words in (("reference", "truth"), ("estimated", "detected"))
            ]
            axes[2].legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.07), ncols=2, borderaxespad=0)
    return images
