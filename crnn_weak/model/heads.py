"""Weak heads: from the frame scores of output `strong` to the clip scores of output `weak`.

A head is a function of the frame scores ``(clips, frames, classes)``, the features below them
``(clips, frames, units)``, the number of classes and a layer name; it returns clip scores ``(clips, classes)`` in
[0, 1]. A new head is one function here, one line in `WEAK_HEADS`, its name in the
type of `crnn_weak.settings.ModelConfig.weak_head`, and its line in `crnn_weak.figures.network`.

=======================  ==========================================================  ==========================
head                     clip score of one class from its frame scores s             weights learned  (C classes)
=======================  ==========================================================  ==========================
``max_dense``            Dense sigmoid layer over the maxima of all classes          C (C + 1)
``max``                  max s                                                       none
``mean``                 mean s                                                      none
``linear_softmax``       sum s^2 / sum s [1]_                                        none
``exponential_softmax``  sum s exp(s) / sum exp(s) [1]_                              none
``attention``            sum w s; w = softmax over frames of a Dense layer [2]_      C (units + 1)
``auto_pool``            sum w s; w = softmax over frames of a s, a per class [3]_   C
``noisy_or``             1 - prod(1 - s) [4]_                                        none
``power_mean``           (mean s^p)^(1/p), p per class, from 3 [5]_                  C
=======================  ==========================================================  ==========================

``max_dense`` is the paper's default: its published rows exclude ``max`` at one shared threshold (row (1, 0.002) tags
100 of 606, so at most 1,000 class-seconds could be right, and its segment F needs 1,175).

``noisy_or`` saturates at 1 for many undecided frames: give the strong loss a weight, so that frames learn to be low.

References
----------
.. [1] Wang, Li, Metze, "A comparison of five multiple instance learning pooling functions for sound event detection
   with weak labeling", ICASSP 2019, arXiv:1810.09050.
.. [2] Xu, Kong, Wang, Plumbley, "Large-scale weakly supervised audio classification using gated convolutional neural
   network", ICASSP 2018, arXiv:1710.00343.
.. [3] McFee, Salamon, Bello, "Adaptive pooling operators for weakly labeled sound event detection", TASLP 26(11),
   2018, arXiv:1804.10070.
.. [4] Zhang, Platt, Viola, "Multiple instance boosting for object detection", NIPS 2005.
.. [5] Radenovic, Tolias, Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 41(7), 2019,
   arXiv:1711.02512 (generalized mean).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from keras import layers

from crnn_weak.model import pooling

__all__ = ["WEAK_HEADS", "Head"]

# The format is stated, since a user's keras.json may say otherwise.
_MAX = functools.partial(layers.GlobalMaxPooling1D, data_format="channels_last")
_MEAN = functools.partial(layers.GlobalAveragePooling1D, data_format="channels_last")

#: (strong scores, features, number of classes, layer name) -> weak scores
Head = Callable[[Any, Any, int, str], Any]


def _max_dense(strong: Any, features: Any, n_classes: int, name: str) -> Any:
    pooled = _MAX(name="max_over_time")(strong)  # (clips, classes)
    return layers.Dense(n_classes, activation="sigmoid", name=name)(pooled)


def _attention(strong: Any, features: Any, n_classes: int, name: str) -> Any:
    logits = layers.Dense(n_classes, name="attention")(features)  # (clips, frames, classes)
    return pooling.AttentionPooling(name=name)([strong, logits])


def _pooled_by(layer: Callable[..., layers.Layer]) -> Head:
    return lambda strong, features, n_classes, name: layer(name=name)(strong)


WEAK_HEADS: dict[str, Head] = {
    "max_dense": _max_dense,
    "max": _pooled_by(_MAX),
    "mean": _pooled_by(_MEAN),
    "linear_softmax": _pooled_by(pooling.LinearSoftmaxPooling),
    "exponential_softmax": _pooled_by(pooling.ExponentialSoftmaxPooling),
    "attention": _attention,
    "auto_pool": _pooled_by(pooling.AutoPooling),
    "noisy_or": _pooled_by(pooling.NoisyOrPooling),
    "power_mean": _pooled_by(pooling.PowerMeanPooling),
}
