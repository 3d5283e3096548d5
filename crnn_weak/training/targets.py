"""Strong targets: from the tags of clips to a target for each frame.

A strong target is a function of `Clips` and the settings; it returns float32 of shape ``(clips, frames, classes)``:
1 active, 0 inactive, `NO_TARGET` for frames that carry no loss (`crnn_weak.model.losses`). A class without a tag is
inactive in all frames, except with ``none``.

==================  ==========================================================================================
target              frames of a tagged class
==================  ==========================================================================================
``repeat``          all active (the paper [1]_)
``high_energy``     active where the clip's level stands out of its floor; elsewhere no target (the slides' future work)
``self_training``   active where a first model's score is high, inactive where it is low, no target in between [2]_
``none``            no target at all, for no class
==================  ==========================================================================================

The strong target is computed batch by batch and never stored: at 500 frames it is 500 times the tags.

References
----------
.. [1] Adavanne, Virtanen, "Sound event detection using weakly labeled dataset with stacked convolutional and recurrent
   neural network", DCASE 2017 workshop, arXiv:1710.02998.
.. [2] Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", ICML 2013
   workshop on challenges in representation learning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crnn_weak.config import TargetConfig

__all__ = ["NO_TARGET", "STRONG_TARGETS", "Clips", "targets"]

#: Target of a frame that carries no loss.
NO_TARGET = -1.0
# The features are logarithms of magnitudes: one neper is 8.7 dB.
_DECIBELS = 20.0 / math.log(10.0)


@dataclass(frozen=True)
class Clips:
    """A batch of clips.

    Attributes
    ----------
    tags : np.ndarray of float32, shape (n_clips, n_classes)
    log_mel : np.ndarray of float32, shape (n_clips, n_frames, n_mels)
        Natural logarithm of mel-band magnitudes, not standardized.
    frame_scores : np.ndarray, shape (n_clips, n_frames, n_classes), optional
        Of a first model, in [0, 1]; ``self_training`` needs them.
    """

    tags: np.ndarray
    log_mel: np.ndarray
    frame_scores: np.ndarray | None = None


def _repeat(clips: Clips, settings: TargetConfig) -> np.ndarray:
    return np.repeat(clips.tags[:, None, :], clips.log_mel.shape[1], axis=1)


def _none(clips: Clips, settings: TargetConfig) -> np.ndarray:
    return np.full((len(clips.tags), clips.log_mel.shape[1], clips.tags.shape[1]), NO_TARGET, np.float32)


def _high_energy(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Mark loud frames of tagged classes.

    The level of a frame is the sum over mel bands; per band, the band that stands out most counts. The floor is a
    percentile over the frames of the clip itself. In a clip in which nothing stands out, every frame is active: a
    steady sound has no quiet frames.
    """
    levels = clips.log_mel if settings.per_band else np.logaddexp.reduce(clips.log_mel, axis=2, keepdims=True)
    floor = np.percentile(levels, settings.floor_percentile, axis=1, keepdims=True)
    loud = ((levels - floor) * _DECIBELS >= settings.energy_db).any(axis=2)  # (clips, frames)
    loud |= ~loud.any(axis=1, keepdims=True)
    quiet = 0.0 if settings.quiet_is_inactive else NO_TARGET
    return np.where(clips.tags[:, None, :] > 0, np.where(loud, 1.0, quiet)[:, :, None], 0.0).astype(np.float32)


def _self_training(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Take a first model's frame scores, as shares of the highest score that the class reaches in the clip.

    The tag says that the class is there, so its highest frame is active even where the first model missed the class.
    """
    assert clips.frame_scores is not None
    scores = clips.frame_scores.astype(np.float32)
    share = scores / np.maximum(scores.max(axis=1, keepdims=True), 1e-7)
    target = np.where(share >= settings.teacher_high, 1.0, np.where(share < settings.teacher_low, 0.0, NO_TARGET))
    return np.where(clips.tags[:, None, :] > 0, target, 0.0).astype(np.float32)


STRONG_TARGETS: dict[str, Callable[[Clips, TargetConfig], np.ndarray]] = {
    "repeat": _repeat,
    "high_energy": _high_energy,
    "self_training": _self_training,
    "none": _none,
}


def targets(clips: Clips, settings: TargetConfig | None = None) -> dict[str, np.ndarray]:
    """Return the targets of both outputs, by name.

    Parameters
    ----------
    clips : Clips
    settings : TargetConfig, optional
        By default the paper's: the tags, repeated for every frame.

    Returns
    -------
    dict
        ``strong``: float32, shape (n_clips, n_frames, n_classes); ``weak``: float32, shape (n_clips, n_classes).

    Examples
    --------
    >>> clip = Clips(tags=np.array([[1, 0]], np.float32), log_mel=np.zeros((1, 3, 2), np.float32))
    >>> targets(clip)["strong"].tolist()
    [[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]
    """
    settings = settings or TargetConfig()
    return {"strong": STRONG_TARGETS[settings.strong](clips, settings), "weak": clips.tags}
