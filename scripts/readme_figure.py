"""The picture on README's first screen: one synthetic clip, its events, frame scores and detected events.

``python scripts/readme_figure.py`` writes ``docs/images/detection.png``. The clip is not one that the starter model
was trained on: another seed. The scores and events are the starter model's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import crnn_weak
from crnn_weak.cli import run_guarded
from crnn_weak.figures.comparison import comparison_figure
from crnn_weak.synthesis.scene import draw_scene, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["main", "readme_figure"]


def readme_figure(seed: int, index: int) -> Figure:
    """Draw log mel, frame scores, and true above detected events of one street scene."""
    detector = crnn_weak.load()
    scene = draw_scene(seed, "test", index)
    return comparison_figure(render(scene, detector.features.sample_rate_hz), scene.events, detector)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figure and return the exit code."""
    parser = argparse.ArgumentParser(prog="python scripts/readme_figure.py", description="Draw the picture of README.")
    parser.add_argument("--output", type=Path, default=Path("docs/images/detection.png"))
    parser.add_argument("--seed", type=int, default=7, help="of the street scene")
    parser.add_argument("--index", type=int, default=5, help="of the street scene")
    args = parser.parse_args(argv)

    def call() -> int:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        readme_figure(args.seed, args.index).savefig(args.output, dpi=110)
        print(args.output)
        return 0

    return run_guarded("readme_figure", call)


if __name__ == "__main__":
    sys.exit(main())
