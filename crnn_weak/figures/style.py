"""Style of all figures: colors, type, the axes of time and of hertz, and saving.

Colors are those of Okabe and Ito ("Color universal design", 2008), which stay apart for all common kinds of color
blindness; where two things must be told apart in print, the form (filled, hollow, dashed) differs as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "hertz_axis", "new_figure", "save_figure", "style", "time_axis"]

#: What is drawn -> its color, the same in every figure and on the page.
COLORS: dict[str, str] = {
    "reference": "#374151",  # the truth, in ink
    "estimated": "#D55E00",  # what the system says
    "strong": "#0072B2",  # the output per frame
    "weak": "#E69F00",  # the output per clip
    "tagging": "#E69F00",
    "segment": "#0072B2",
    "event": "#009E73",
    "error_rate": "#0072B2",
    "paper": "#6B7280",
    "threshold": "#6B7280",
    "ink": "#1F2933",
    "muted": "#6B7280",
    "line": "#D5D9E0",
    "lane": "#F3F4F7",
}

_RC: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": COLORS["ink"],
    "axes.edgecolor": COLORS["muted"],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "text.parse_math": False,  # a class name may hold dollar signs
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "xtick.labelcolor": COLORS["ink"],
    "ytick.labelcolor": COLORS["ink"],
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,  # text stays text in the PDF
    "svg.fonttype": "path",
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}

# Round frequencies, the most useful first: one that would crowd an earlier one is omitted.
_HERTZ = (1000, 200, 5000, 500, 2000, 10_000, 100, 20_000, 40_000, 50)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the package's style inside a ``with`` block; the user's own settings come back after it."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def new_figure(
    width: float = 6.4,
    height: float = 4.0,
    *,
    n_rows: int = 1,
    n_columns: int = 1,
    share_x: bool = False,
    height_ratios: Sequence[float] | None = None,
) -> tuple[Figure, Any]:
    """Return a figure without a window, and its axes.

    Parameters
    ----------
    width, height : float
        Inches.
    n_rows, n_columns : int
        Of the grid of axes.
    share_x : bool
        One time axis for all rows.
    height_ratios : sequence of float, length n_rows

    Returns
    -------
    figure : matplotlib.figure.Figure
        Not known to pyplot: it needs no display and no closing.
    axes : np.ndarray of Axes, shape (n_rows * n_columns,)
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(
            n_rows, n_columns, sharex=share_x, squeeze=False, gridspec_kw={"height_ratios": height_ratios}
        )
    return figure, axes.ravel()


def save_figure(
    figure: Figure, path: str | Path, *, formats: Sequence[str] = ("png", "pdf"), dpi: int = 200
) -> list[Path]:
    """Write a figure as PNG and PDF, each under a temporary name first.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        With or without extension; the extension is replaced by each of the formats.
    formats : sequence of str
        Extensions that matplotlib knows.
    dpi : int
        Of the PNG.

    Returns
    -------
    list of Path
        The files, in the order of `formats`.
    """
    stem = Path(path)
    if stem.suffix.lstrip(".") in {"png", "pdf", "svg"}:
        stem = stem.with_suffix("")
    written = []
    for extension in formats:
        target = stem.with_name(f"{stem.name}.{extension}")
        # Without a date the same figure gives the same bytes, so that a committed figure changes only with its data.
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(extension)
        with replace_file(target) as temporary, style():
            figure.savefig(temporary, format=extension, dpi=dpi, metadata=metadata)
        written.append(target)
    return written


def relative_decibels(log_mel: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a log mel in decibels below its loudest cell, and the level at which a picture should begin.

    The floor of padded frames and of silence would take the whole range: what lies 80 dB below the loudest cell, or
    among the faintest fiftieth of what lies above that, is drawn as one.

    Parameters
    ----------
    log_mel : np.ndarray, shape (n_frames, n_mels)
        Natural logarithm of the amplitude.

    Returns
    -------
    decibels : np.ndarray of float64, shape (n_frames, n_mels)
        At most 0.
    floor : float
        In [-80, -1].
    """
    decibels = (np.asarray(log_mel, dtype=float) - np.max(log_mel)) * (20.0 / np.log(10.0))
    heard = decibels[decibels > -80.0]
    return decibels, float(np.clip(np.quantile(heard, 0.02), -80.0, -1.0))


def time_axis(ax: Axes, clip_seconds: float, *, label: bool = True) -> None:
    """Let x run over the clip in seconds; the label is omitted where a lower panel carries it."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(0.0, clip_seconds)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    if label:
        ax.set_xlabel("time / s")


def hertz_ticks(features: FeatureConfig) -> tuple[list[float], list[str]]:
    """Return the places (in bands, 0 is the middle of the lowest) and the labels of round frequencies.

    The bands are equally spaced on Slaney's mel scale, the scale of the log mel itself.

    Examples
    --------
    >>> hertz_ticks(FeatureConfig())[1]
    ['200', '500', '1k', '2k', '5k', '10k']
    """
    from librosa import hz_to_mel

    low, high = float(hz_to_mel(features.fmin_hz)), float(hz_to_mel(features.fmax_hz))
    step = (high - low) / (features.n_mels + 1)
    kept: dict[int, float] = {}
    for hertz in _HERTZ:
        band = (float(hz_to_mel(hertz)) - low) / step - 1
        if 0 <= band <= features.n_mels - 1 and all(
            abs(band - other) >= features.n_mels / 14 for other in kept.values()
        ):
            kept[hertz] = band
    return (
        [kept[hertz] for hertz in sorted(kept)],
        [f"{hertz / 1000:g}k" if hertz >= 1000 else str(hertz) for hertz in sorted(kept)],
    )


def hertz_axis(ax: Axes, features: FeatureConfig, *, label: bool = True) -> None:
    """Write hertz on the band axis."""
    places, names = hertz_ticks(features)
    ax.set_yticks(places, names)
    ax.set_ylim(-0.5, features.n_mels - 0.5)
    if label:
        ax.set_ylabel("frequency / Hz")
