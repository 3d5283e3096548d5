"""``crnn-weak saliency``: the same as ``python -m crnn_weak.experiments.saliency_maps``."""

from crnn_weak.experiments.saliency_maps import add_arguments, run

__all__ = ["add_arguments", "run"]
