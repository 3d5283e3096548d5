"""crnn_weak: sound event detection from weak labels, the CRNN of Adavanne & Virtanen (DCASE 2017).

The public names load on first use: importing the package never imports TensorFlow.

>>> import crnn_weak
>>> crnn_weak.preset("paper").features.n_frames
500
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: public name -> module that holds it
_PUBLIC = {
    "Config": "crnn_weak.config",
    "preset": "crnn_weak.config",
    "load_config": "crnn_weak.config",
    "CrnnWeakError": "crnn_weak.errors",
    "Event": "crnn_weak.labels.events",
    "EventList": "crnn_weak.labels.events",
    "open_dataset": "crnn_weak.data.base",
    "FeatureStore": "crnn_weak.features.store",
    "log_mel": "crnn_weak.features.log_mel",
    "build_model": "crnn_weak.model.crnn",
    "load": "crnn_weak.detection.detector",
    "example": "crnn_weak.bundled",
    "segment_metrics": "crnn_weak.metrics.counting",
    "tagging_metrics": "crnn_weak.metrics.counting",
    "event_metrics": "crnn_weak.metrics.counting",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
