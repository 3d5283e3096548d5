"""Saliency: gradients of one scalar of the network with respect to its log mel input.

* `targets`: which scalar (`Target`) and which map (`Method`), each able to say in words what it is;
* `gradients`: `Explainer`, the maps themselves, through ``tf.GradientTape``;
* `modifiers`: guided and deconvolution ReLU;
* `localisation`: how much of a map falls inside the true events (NumPy only).

TensorFlow is imported with the first use of `Explainer` or `replace_relu`, not with this package.

>>> from crnn_weak.saliency import Target
>>> Target("strong", "Car", span_seconds=(0.0, 2.5)).caption()
"output 'strong', class 'Car', mean over the frames of 0-2.5 s"
"""

from __future__ import annotations

import importlib
from typing import Any

from crnn_weak.saliency.backend import require_tensorflow
from crnn_weak.saliency.localisation import Localisation, LocalisationSummary, localise, summarise
from crnn_weak.saliency.maps import SaliencyMaps
from crnn_weak.saliency.targets import METHODS, Method, Target, method

__all__ = [
    "METHODS",
    "Explainer",
    "Localisation",
    "LocalisationSummary",
    "Method",
    "SaliencyMaps",
    "Target",
    "localise",
    "method",
    "replace_relu",
    "summarise",
]
_LAZY = {
    "Explainer": "crnn_weak.saliency.gradients",
    "replace_relu": "crnn_weak.saliency.modifiers",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_tensorflow()
    return getattr(importlib.import_module(_LAZY[name]), name)
