"""The files that come with the package: two models, and a recording with its true events."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "everyday"
EVERYDAY_CC = _FOLDER / "everyday-cc.keras"  # the default
EVERYDAY = _FOLDER / "everyday.keras"
EVERYDAY_TERMS = "weights for non-commercial use only"


def example() -> Path:
    """Return the path of a short recording that comes with the package, mixed from real ones.

    Its true events are next to it, with suffix ``.tsv``; the authors are in the file with suffix ``.txt``.

    Returns
    -------
    Path
    """
    return _FOLDER / "example.flac"
