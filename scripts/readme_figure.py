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
from crnn_weak.synthesis.scene import draw_scene, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["main", "readme_figure"]


def readme_figure(seed: int, index: int) -> Figure:
    """Draw log mel, frame scores, and true above detected events of one street scene."""
    from crnn_weak.figures import new_figure, plot_event_roll, plot_log_mel, plot_scores, style

    detector = crnn_weak.load()
    features = detector.features
    scene = draw_scene(seed, "test", index)
    recording = (render(scene, features.sample_rate_hz), features.sample_rate_hz)
    scores, events = detector.scores(recording), detector.detect(recording, classes=detector.classes)
    shown = [name for name in detector.classes if name in {event.label for event in (*scene.events, *events)}]
    columns = [detector.classes.index(name) for name in shown]
    thresholds = {name: detector.operating_point.thresholds[detector.classes.index(name)] for name in shown}
    with style():
        ratios = (2.0, 0.6 * len(shown), 0.6 * len(shown))
        figure, axes = new_figure(8.0, 2.4 + 1.1 * len(shown), n_rows=3, share_x=True, height_ratios=ratios)
        log_mel, lanes, roll = axes.flat
        plot_log_mel(crnn_weak.log_mel(recording[0], features), features=features, ax=log_mel, time_label=False)
        plot_scores(
            scores.strong[:, columns], classes=shown, hop_seconds=scores.hop_seconds, thresholds=thresholds, ax=lanes,
            time_label=False,
        )  # fmt: skip
        plot_event_roll(scene.events, events, classes=shown, clip_seconds=features.clip_seconds, ax=roll)
        for ax, title in ((log_mel, "log mel energies"), (lanes, "frame scores, thresholds dashed"), (roll, "events")):
            ax.set_title(title, loc="left", fontsize="medium")
    return figure


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
