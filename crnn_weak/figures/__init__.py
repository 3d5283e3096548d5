"""All figures. ``plot_*`` draws on the axes that it is given; ``*_figure`` returns a figure for `save_figure`."""

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
