"""All figures, by one name: axes in, artists out.

Every function draws on the axes that it is given and returns what it drew; none opens a window, and importing this
module imports no matplotlib. A figure for a file:

>>> import io
>>> from crnn_weak import preset
>>> from crnn_weak import figures
>>> figure, (ax,) = figures.new_figure(7, 6)
>>> boxes = figures.draw_architecture(preset("paper"), ax=ax)
>>> figure.savefig(io.BytesIO())        # or figures.save_figure(figure, "network"), which writes PNG and PDF
"""

from __future__ import annotations

from crnn_weak.figures.clip import plot_event_roll, plot_log_mel, plot_scores
from crnn_weak.figures.grid import loss_weight_figure, plot_loss_weight_grid, plot_setting_curves
from crnn_weak.figures.network import draw_architecture
from crnn_weak.figures.results import co_occurrence, plot_class_wise, plot_confusion, plot_training_curves
from crnn_weak.figures.saliency import plot_saliency
from crnn_weak.figures.style import COLORS, new_figure, save_figure, style

__all__ = [
    "COLORS",
    "co_occurrence",
    "draw_architecture",
    "loss_weight_figure",
    "new_figure",
    "plot_class_wise",
    "plot_confusion",
    "plot_event_roll",
    "plot_log_mel",
    "plot_loss_weight_grid",
    "plot_saliency",
    "plot_scores",
    "plot_setting_curves",
    "plot_training_curves",
    "save_figure",
    "style",
]
