"""One log mel picture for each class of the synthetic street scenes.

``python scripts/street_figure.py`` writes ``experiments/results/street_classes.png`` and ``.pdf``. Each
panel is one made clip with the features of preset ``paper``; the bar above it shows the exact strong labels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.config import preset
from crnn_weak.errors import CrnnWeakError
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.events import Event
from crnn_weak.synthesis.scene import Scene, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["class_scene", "main", "street_figure"]

#: The classes whose real events are short are shown as several, as they are heard.
_TIMES: dict[str, tuple[tuple[float, float], ...]] = {
    "Train horn": ((0.6, 2.6), (3.2, 5.2), (5.7, 6.4), (7.0, 9.6)),
    "Air horn, truck horn": ((0.6, 2.2), (3.0, 3.6), (3.9, 4.5), (6.0, 9.0)),
    "Screaming": ((0.8, 2.6), (3.6, 6.8), (8.0, 9.0)),
}
_LONG = ((0.7, 9.3),)
#: Sources that show what sets the class apart within one event (a siren that falls, a bus that pulls away).
_SOURCES = {"Civil defense siren": 5, "Motorcycle": 2, "Bus": 5, "Car": 6}
_SNR_DB = 15.0


def class_scene(label: str, *, seed: int = 0) -> Scene:
    """Return a scene with events of one class and nothing else over its background."""
    events = tuple(Event(onset, offset, label) for onset, offset in _TIMES.get(label, _LONG))
    index = DCASE2017_TASK4.index(label)
    return Scene(seed + _SOURCES.get(label, 0), "test", index, f"street-figure-{index}", events, {label: _SNR_DB})


def street_figure(*, seed: int = 0) -> Figure:
    """Draw the 17 classes in the order of the class list."""
    from crnn_weak.features.log_mel import log_mel
    from crnn_weak.figures import COLORS, new_figure, plot_log_mel, style

    features = preset("paper").features
    with style():
        figure, axes = new_figure(11.0, 12.0, n_rows=6, n_columns=3)
        for place, ax in enumerate(axes.flat):
            if place >= len(DCASE2017_TASK4):
                ax.set_axis_off()
                continue
            label = DCASE2017_TASK4[place]
            scene = class_scene(label, seed=seed)
            lowest = place + 3 >= len(DCASE2017_TASK4)
            plot_log_mel(
                log_mel(render(scene, features.sample_rate_hz), features), features=features, ax=ax, time_label=lowest
            )
            for event in scene.events:
                ax.plot(
                    [event.onset, event.offset], [features.n_mels + 0.6] * 2, color=COLORS["estimated"], linewidth=3.0,
                    solid_capstyle="butt", clip_on=False,
                )  # fmt: skip
            ax.set_title(label, pad=9.0)
            if place % 3:
                ax.set_ylabel("")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figure and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python scripts/street_figure.py",
        description="One log mel picture for each class of the procedural street scenes.",
        epilog="example: python scripts/street_figure.py --seed 1 --output street_classes_1.png",
    )
    parser.add_argument("--output", type=Path, default=Path("experiments/results/street_classes.png"))
    parser.add_argument("--seed", type=int, default=0, help="other sources, the same layout")
    args = parser.parse_args(argv)
    from crnn_weak.figures import save_figure

    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        for path in save_figure(street_figure(seed=args.seed), args.output, dpi=90):
            print(f"wrote {path}")
    except CrnnWeakError as error:
        print(f"street_figure: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
