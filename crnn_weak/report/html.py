"""Pages: one HTML file that opens offline, with pictures and sound as text, or as files of its folder.

Its content security policy forbids every address but its own, and allows its one script by hash. Texts are escaped.
"""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crnn_weak import __version__
from crnn_weak.audio import load_clip
from crnn_weak.figures.style import style
from crnn_weak.files import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATES = Path(__file__).parent / "templates"
_MP3_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class Picture(NamedTuple):
    """A picture over time: its address, and where its time axis begins and how wide it is, in fractions."""

    address: str
    left: float
    width: float

    @classmethod
    def of(cls, figure: Figure, address: str = "") -> Picture:
        """Return a figure at an address, by default as text."""
        address = address or figure_uri(figure)
        box = figure.axes[0].get_position()
        return cls(address, box.x0, box.width)


def figure_uri(figure: Figure) -> str:
    """Return a figure as PNG in a ``data:`` address."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=130)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def audio_uri(path: str | Path, *, sample_rate_hz: int, clip_seconds: float) -> str:
    """Return a recording as the network gets it (mono, the clip's length), MP3 of the next rate, as an address."""
    import soundfile

    rate = next((rate for rate in _MP3_RATES_HZ if rate >= sample_rate_hz), 48_000)
    audio, _ = load_clip(path, rate, clip_seconds)
    buffer = io.BytesIO()
    # Every browser plays MP3, and libsndfile writes the same bytes each time (Ogg carries a random stream number).
    soundfile.write(buffer, np.clip(audio, -1.0, 1.0), rate, format="MP3", subtype="MPEG_LAYER_III")
    return f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def render(template: str, *, files: bool = False, **context: Any) -> str:
    """Return a page as text; with `files`, its pictures and sounds may be files."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # every template: labels and file names come from outside
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, script = ((_TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.js"))
    # The hash is of the script element's text to the letter.
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    media = "data: file: 'self'" if files else "data:"
    policy = (
        f"default-src 'none'; img-src {media}; media-src {media}; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    text: str = environment.get_template(template).render(
        style=Markup(css), script=Markup(script), policy=policy, version=__version__, **context
    )
    return text
