"""All figures. ``plot_*`` draws on the axes that it is given; ``*_figure`` returns a figure for `save_figure`.

No function opens a window, and importing this module imports no matplotlib.

>>> import io
>>> import numpy as np
>>> from crnn_weak import figures, preset
>>> figure, (ax,) = figures.new_figure(7, 3)
>>> image = figures.plot_log_mel(np.zeros((500, 40)), features=preset("paper").features, ax=ax)
>>> figure.savefig(io.BytesIO())        # or figures.save_figure(figure, "clip"), which writes PNG and PDF
"""

from crnn_weak.figures.clip import clip_figure, plot_event_roll, plot_log_mel, plot_saliency, plot_scores
from crnn_weak.figures.results import loss_weight_figure, tradeoff_figure
from crnn_weak.figures.style import COLORS, new_figure, save_figure, style

__all__ = [
    "COLORS",
    "clip_figure",
    "loss_weight_figure",
    "new_figure",
    "plot_event_roll",
    "plot_log_mel",
    "plot_saliency",
    "plot_scores",
    "save_figure",
    "style",
    "tradeoff_figure",
]
