"""Saliency: gradients of one scalar of the network with respect to its log mel input.

>>> from crnn_weak.saliency import Target
>>> Target("strong", "Car", span_seconds=(0.0, 2.5)).caption()
"output 'strong', class 'Car', mean over the frames of 0-2.5 s"
"""

from crnn_weak.saliency.localization import Localization, LocalizationSummary, localize, summarize
from crnn_weak.saliency.maps import METHODS, Explainer, Method, SaliencyMaps, Target, find_method

__all__ = [
    "METHODS",
    "Explainer",
    "Localization",
    "LocalizationSummary",
    "Method",
    "SaliencyMaps",
    "Target",
    "find_method",
    "localize",
    "summarize",
]
