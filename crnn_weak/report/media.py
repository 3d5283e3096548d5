"""Pictures, drawings and sound as text, so that one HTML file holds everything."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crnn_weak.audio import load_clip
from crnn_weak.figures.style import COLORS, relative_decibels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Sound", "data_uri", "encode_audio", "figure_svg", "log_mel_png", "overlay_png"]

# MP3 plays in every browser, and libsndfile writes the same bytes each time (Ogg carries a random stream number).
_MP3_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class Sound(NamedTuple):
    """An encoded recording."""

    content: bytes
    media_type: str
    suffix: str


def data_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a ``data:`` address."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _palette_png(indices: np.ndarray, palette: np.ndarray, alpha: np.ndarray | None = None) -> bytes:
    """Write an image of one byte per cell with 256 colors (and their opacities): a third of the size of RGBA."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(indices, dtype=np.uint8), mode="P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    options = {} if alpha is None else {"transparency": alpha.astype(np.uint8).tobytes()}
    image.save(buffer, format="PNG", optimize=True, **options)
    return buffer.getvalue()


def _upright(values: np.ndarray) -> np.ndarray:
    """``(n_frames, n_mels)`` as an image: time to the right, low bands at the bottom."""
    return values.T[::-1]


def log_mel_png(log_mel: np.ndarray) -> bytes:
    """Return a log mel as PNG, one pixel for each frame and band, in 256 steps.

    Parameters
    ----------
    log_mel : np.ndarray, shape (n_frames, n_mels)
        Natural logarithm of the amplitude.
    """
    from matplotlib import colormaps

    decibels, floor = relative_decibels(log_mel)
    steps = np.rint((np.clip(decibels, floor, 0.0) / floor - 1.0) * -255.0)
    palette = np.rint(colormaps["magma"](np.arange(256))[:, :3] * 255.0)
    return _palette_png(_upright(steps), palette)


def overlay_png(saliency: np.ndarray, color: str) -> bytes:
    """Return a saliency map as PNG of one color, the more opaque the larger the absolute value.

    Parameters
    ----------
    saliency : np.ndarray, shape (n_frames, n_mels)
        Of any sign and scale; its 99.5th percentile becomes fully opaque.
    color : str
        ``#rrggbb``.
    """
    strength = np.abs(np.asarray(saliency, dtype=float))
    top = float(np.quantile(strength, 0.995)) or float(strength.max()) or 1.0
    # Less than linear, so that the weak cells, which are most of a gradient map, do not vanish.
    steps = np.rint(np.clip(strength / top, 0.0, 1.0) ** 0.75 * 255.0)
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    palette = np.tile(np.array([red, green, blue]), (256, 1))
    return _palette_png(_upright(steps), palette, np.arange(256))


def encode_audio(path: str | Path, *, sample_rate_hz: int, clip_seconds: float) -> Sound:
    """Return a recording as the network receives it (mono, one rate, the clip's length), as MP3.

    Parameters
    ----------
    path : path
    sample_rate_hz : int
        Reduced to 48 kHz where it is higher. A rate that MP3 does not have, or a libsndfile without MP3, gives FLAC.
    clip_seconds : float

    Raises
    ------
    DataError
        The recording cannot be read.
    """
    import soundfile

    rate = min(sample_rate_hz, 48_000)
    audio, _ = load_clip(path, rate, clip_seconds)
    buffer = io.BytesIO()
    mp3 = rate in _MP3_RATES_HZ and "MP3" in soundfile.available_formats()
    kind, subtype = ("MP3", "MPEG_LAYER_III") if mp3 else ("FLAC", "PCM_16")
    soundfile.write(buffer, np.clip(audio, -1.0, 1.0), rate, format=kind, subtype=subtype)
    return Sound(buffer.getvalue(), "audio/mpeg" if mp3 else "audio/flac", kind.lower())


#: Colors of the figures -> the page's variables, so that a drawing follows the page into the dark.
_VARIABLES = {
    COLORS["ink"]: "var(--ink)",
    COLORS["muted"]: "var(--muted)",
    COLORS["line"]: "var(--rule)",
    COLORS["lane"]: "var(--lane)",
    COLORS["reference"]: "var(--truth)",
    COLORS["estimated"]: "var(--detected)",
    COLORS["strong"]: "var(--strong)",
    COLORS["weak"]: "var(--weak)",
    "#ffffff": "var(--paper)",
}


def figure_svg(figure: Figure, *, name: str, label: str) -> str:
    """Return a figure as inline SVG: text stays text, colors are the page's variables, ids are unique to `name`.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Letters and digits; distinct for each figure of a page.
    label : str
        A description of the figure, for readers who do not see it.
    """
    import matplotlib

    buffer = io.StringIO()
    with style(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    for color, variable in _VARIABLES.items():
        svg = re.sub(re.escape(color), variable, svg, flags=re.IGNORECASE)
    # The page's own typeface; matplotlib names the one it measured with.
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", svg)
    svg = re.sub(r'\s(?:xmlns:xlink|version)="[^"]*"', "", svg).replace("xlink:href", "href")
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    width = float(size.group(1)) if size else 500.0
    if size:
        svg = svg.replace(size.group(0), f'style="--width: {width * 4 / 3:.0f}px"', 1)
    attributes = f'<svg class="figure" role="img" aria-label="{html.escape(label, quote=True)}" '
    return svg.replace("<svg ", attributes, 1).strip()
