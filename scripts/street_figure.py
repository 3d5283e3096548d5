"""Draw one log mel for each class of the synthetic street scenes.

``python scripts/street_figure.py`` writes ``experiments/results/street_classes.png``. Each panel is one synthetic clip
with the features of preset ``paper``; the bars above it are its events.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.config import preset
from crnn_weak.features.log_mel import log_mel
from crnn_weak.figures import clip, style
from crnn_weak.labels.events import DCASE2017_TASK4, Event
from crnn_weak.synthesis.scene import Scene, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATH = Path(__file__).resolve().parents[1] / "experiments" / "results" / "street_classes.png"
#: Classes whose real events are short have several.
_TIMES: dict[str, tuple[tuple[float, float], ...]] = {
    "Train horn": ((0.6, 2.6), (3.2, 5.2), (5.7, 6.4), (7.0, 9.6)),
    "Air horn, truck horn": ((0.6, 2.2), (3.0, 3.6), (3.9, 4.5), (6.0, 9.0)),
    "Screaming": ((0.8, 2.6), (3.6, 6.8), (8.0, 9.0)),
}
_LONG = ((0.7, 9.3),)
#: Sources that show what sets the class apart within one event (a siren that falls, a bus that pulls away).
_SOURCES = {"Civil defense siren": 5, "Motorcycle": 2, "Bus": 5, "Car": 6}
_SNR_DB = 15.0


def class_scene(label: str) -> Scene:
    """Return a scene with events of one class over its background."""
    events = tuple(Event(onset, offset, label) for onset, offset in _TIMES.get(label, _LONG))
    index = DCASE2017_TASK4.index(label)
    return Scene(_SOURCES.get(label, 0), "test", index, f"street-figure-{index}", events, {label: _SNR_DB})


def street_figure() -> Figure:
    """Draw the 17 classes in the order of the class list."""
    features = preset("paper").features
    figure, axes = style.new_figure(11.0, 12.0, n_rows=6, n_columns=3)
    with style.style():
        for place, (label, ax) in enumerate(zip(DCASE2017_TASK4, axes, strict=False)):
            scene = class_scene(label)
            values = log_mel(render(scene, features.sample_rate_hz), features)
            clip.plot_log_mel(values, features=features, ax=ax)
            lowest = place + 3 >= len(DCASE2017_TASK4)
            ax.set_xlabel("time / s" if lowest else "")
            for event in scene.events:
                ax.plot(
                    [event.onset, event.offset], [features.n_mels + 0.6] * 2, color=style.COLORS["reference"],
                    linewidth=3.0, solid_capstyle="butt", clip_on=False,
                )  # fmt: skip
            ax.set_title(label, pad=9.0)
            if place % 3:
                ax.set_ylabel("")
        for ax in axes[len(DCASE2017_TASK4) :]:
            ax.set_axis_off()
    return figure


if __name__ == "__main__":
    print(*style.save_figure(street_figure(), PATH, formats=["png"], dpi=90))
