"""``crnn-weak grid``: the same as ``python -m crnn_weak.experiments.loss_weight_grid``."""

from crnn_weak.experiments.loss_weight_grid import add_arguments, run

__all__ = ["add_arguments", "run"]
