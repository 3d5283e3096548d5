"""Saliency: gradients of one scalar of the network with respect to its log mel input.

* `targets`: the scalar (`Target`) and the kind of map (`Method`), with their captions;
* `explainer`: `Explainer`, the maps of a model;
* `gradients`: compiled gradients through ``tf.GradientTape``, rules for ReLUs, averages of gradients;
* `localization`: how much of a map lies inside the true event;
* `table`: the same for every run of a grid, beside baselines.

TensorFlow is imported with the first use of `Explainer` or `replace_relu`, not with this package.

>>> from crnn_weak.saliency import Target
>>> Target("strong", "Car", span_seconds=(0.0, 2.5)).caption()
"output 'strong', class 'Car', mean over the frames of 0-2.5 s"
"""

from __future__ import annotations

import importlib
from typing import Any

from crnn_weak.saliency.localization import Localization, LocalizationSummary, localize, summarize
from crnn_weak.saliency.maps import SaliencyMaps, require_tensorflow
from crnn_weak.saliency.targets import METHODS, Method, Target, method

__all__ = [
    "METHODS",
    "Explainer",
    "Localization",
    "LocalizationSummary",
    "Method",
    "SaliencyMaps",
    "Target",
    "localize",
    "method",
    "replace_relu",
    "summarize",
]
_LAZY = {
    "Explainer": "crnn_weak.saliency.explainer",
    "replace_relu": "crnn_weak.saliency.gradients",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_tensorflow()
    return getattr(importlib.import_module(_LAZY[name]), name)
