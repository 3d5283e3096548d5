"""Draw why segment F on long events does not measure time: the picture of docs/which-and-when.md.

``python scripts/which_and_when.py`` writes ``docs/images/which_and_when.png``. All values are the package's counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.config import EvaluationConfig
from crnn_weak.figures import style
from crnn_weak.labels.events import Event
from crnn_weak.metrics.controls import controls_by_title
from crnn_weak.metrics.counting import Scoring, segment_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PATH = Path(__file__).resolve().parents[1] / "docs" / "images" / "which_and_when.png"
_CLIP = 10  # seconds, and segments
_LABEL = "Train"
#: F of the true events of the organizers' test list of DCASE 2017 task 4, rotated (docs/which-and-when.md).
_TEST_LIST_ROTATED = 88.1
_LOOKS = {
    "estimate": ("right class, right times", "reference", "o"),
    "own classes, whole clip": ("right class, whole clip", "weak", "s"),
    "rotated": ("right class, times rotated: mean over all rotations", "estimated", "D"),
}


def segments(first: int, last: int) -> list[Event]:
    """Return the segments from `first` up to `last` of a clip, in a circle, as events of one second."""
    return [Event(float(k % _CLIP), k % _CLIP + 1.0, _LABEL) for k in range(first, last)]


def f_score(reference: Sequence[Event], estimated: Sequence[Event]) -> float:
    """Return the F-score in percent."""
    return 100 * segment_metrics({"clip": reference}, {"clip": estimated}, classes=[_LABEL]).f_score


def draw_clips(ax: Axes) -> None:
    """Draw a long and a short event, rotated by three seconds and over the whole clip, with their F-scores."""
    names, row = [], 0
    for first, last in ((0, 8), (2, 4)):
        truth = segments(first, last)
        for name, color, estimate in (
            (f"truth, {last - first} s", "reference", truth),
            ("rotated by 3 s", "estimated", segments(first + 3, last + 3)),
            ("whole clip", "weak", segments(0, _CLIP)),
        ):
            ax.barh([row] * len(estimate), [1] * len(estimate), 0.62, [event.onset for event in estimate],
                    color=style.COLORS[color])  # fmt: skip
            if color != "reference":
                ax.text(_CLIP + 0.2, row, f"F {f_score(truth, estimate):.0f}", va="center", fontweight="bold")
            names.append(name)
            row += 1
        row += 0.7
    ax.set_yticks([0, 1, 2, 3.7, 4.7, 5.7], names)
    ax.invert_yaxis()
    ax.set(xlim=(0, _CLIP), xlabel="time / s", title="One clip, one class")
    ax.tick_params(axis="y", length=0)


def draw_lengths(ax: Axes) -> None:
    """Draw the F-scores of three estimates over the length of the event."""
    lengths = range(1, _CLIP + 1)
    scoring = Scoring([_LABEL], EvaluationConfig(), float(_CLIP))
    rows = []
    for length in lengths:
        truth = {"clip": segments(0, length)}
        rows.append(controls_by_title(truth, truth, scoring))
    for title, (label, color, marker) in _LOOKS.items():
        values = [100 * row[title]["segment/f_score"] for row in rows]
        ax.plot(lengths, values, color=style.COLORS[color], marker=marker, markersize=4.5, label=label)
    ax.axhline(_TEST_LIST_ROTATED, color=style.COLORS["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    ax.text(1, _TEST_LIST_ROTATED - 1.5, "the real test list's truth, rotated: 88.1", fontsize=8, va="top",
            color=style.COLORS["muted"])  # fmt: skip
    ax.set(xlabel="length of the event / s, in a clip of 10 s", ylabel="segment F / %", ylim=(0, 104), xticks=lengths)
    ax.set_title("Long events: F without any time")
    ax.legend(loc="lower right")


def which_and_when_figure() -> Figure:
    """Draw both panels."""
    figure, (clips, lengths) = style.new_figure(9.6, 3.6, n_columns=2)
    with style.style():
        draw_clips(clips)
        draw_lengths(lengths)
    return figure


if __name__ == "__main__":
    print(*style.save_figure(which_and_when_figure(), PATH, formats=["png"], dpi=110))
