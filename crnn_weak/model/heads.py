"""Weak heads: from the frame scores of output `strong` to the clip scores of output `weak`.

``max``
    GlobalMaxPooling1D: a clip holds what any of its frames holds. No parameters.
``max_dense``
    GlobalMaxPooling1D, then a Dense sigmoid layer. The published rows exclude ``max`` at one shared threshold: row
    (1, 0.002) tags 100 of 606, so at most 1,000 class-seconds could be right, and its segment F needs 1,175.

A new head is one function here and one line in `WEAK_HEADS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import layers

__all__ = ["WEAK_HEADS"]


def _max(strong: Any, n_classes: int, name: str) -> Any:
    return layers.GlobalMaxPooling1D(name=name)(strong)  # (clips, classes)


def _max_dense(strong: Any, n_classes: int, name: str) -> Any:
    pooled = layers.GlobalMaxPooling1D(name="max_over_time")(strong)  # (clips, classes)
    return layers.Dense(n_classes, activation="sigmoid", name=name)(pooled)


#: name -> function of (strong scores, number of classes, layer name) that returns the weak scores
WEAK_HEADS: dict[str, Callable[[Any, int, str], Any]] = {"max": _max, "max_dense": _max_dense}
