"""Style of all figures: colors, type, new figures and saving. Okabe and Ito's colors serve all color vision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnn_weak.files import replace_file, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What is drawn -> its color, the same in every figure and on the pages.
COLORS: dict[str, str] = {
    "reference": "#374151",
    "estimated": "#D55E00",
    "strong": "#0072B2",
    "weak": "#E69F00",
    "ink": "#1F2933",
    "muted": "#6B7280",
    "line": "#D5D9E0",
    "lane": "#F3F4F7",
}
#: Options of a legend in one row above the axes, where no curve is.
LEGEND_ABOVE: Any = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2, "borderaxespad": 0.2}

_RC: Any = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": COLORS["muted"],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "text.parse_math": False,  # a class name may hold dollar signs
    "text.color": COLORS["ink"],
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,  # text stays text in the PDF
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the package's style inside a ``with`` block, whatever the user's matplotlibrc says."""
    import matplotlib.style

    with matplotlib.style.context(["default", _RC]):
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
    """Return a figure of `width` by `height` inches, unknown to pyplot, and its axes, shape (n_rows * n_columns,)."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, sharex=share_x, squeeze=False, height_ratios=height_ratios)
    return figure, axes.ravel()


def save_figure(
    figure: Figure, path: str | Path, *, formats: Sequence[str] = ("png", "pdf"), dpi: int = 200
) -> list[Path]:
    """Write a figure in each of the formats; return the files. The same figure gives the same bytes."""
    stem = str(path).removesuffix(".png").removesuffix(".pdf")
    written = [Path(f"{stem}.{extension}") for extension in formats]
    for target, extension in zip(written, formats, strict=True):
        metadata = {"CreationDate": None} if extension == "pdf" else None
        with replace_file(target) as temporary, style():
            figure.savefig(temporary, format=extension, dpi=dpi, metadata=metadata)
    return written


def short_name(label: str, n_most: int = 32) -> str:
    """Return a label for an axis: one line of at most `n_most` characters, control characters shown."""
    label = visible(label)
    return label if len(label) <= n_most else label[: n_most - 1].rstrip() + "…"
