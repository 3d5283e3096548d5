"""Strong targets of rows of a store (docs/beyond.md): float32 ``(rows, frames, classes)``, 1, 0 or `NO_TARGET`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from crnn_weak.config import Config, TargetConfig
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.events import class_indices
from crnn_weak.labels.names import source_recording
from crnn_weak.labels.rolls import event_roll
from crnn_weak.model.losses import NO_TARGET
from crnn_weak.training.augmentation import DECIBELS

# Rows of a store that are read at a time.
_BLOCK_ROWS = 64


@dataclass(frozen=True)
class Clips:
    """A batch of clips, as a strong target needs them."""

    tags: np.ndarray  # float32, (clips, classes)
    log_mel: np.ndarray  # float32, (clips, frames, bands): natural logarithms, not standardized
    scores: np.ndarray | None = None  # (clips, frames, classes) in [0, 1], or NaN; of a teacher or of the model itself
    levels: np.ndarray | None = None  # (clips,), `recording_levels`; for ``loud``
    n_valid: np.ndarray | None = None  # (clips,), frames that are recorded, where the others are ignored


def _repeat(clips: Clips, settings: TargetConfig) -> np.ndarray:
    return np.repeat(clips.tags[:, None, :], clips.log_mel.shape[1], axis=1)


def _none(clips: Clips, settings: TargetConfig) -> np.ndarray:
    return np.full((len(clips.tags), clips.log_mel.shape[1], clips.tags.shape[1]), NO_TARGET, np.float32)


def _loud(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Mark the frames near the recording's level; where several tags have no scores yet, they have no target."""
    assert clips.levels is not None
    loud = frame_levels(clips.log_mel) > clips.levels[:, None] - settings.loud_db / DECIBELS  # (clips, frames)
    active = np.repeat(clips.tags[:, None, :], loud.shape[1], axis=1)
    if settings.own_scores_from < 1:
        decided = np.full(active.shape, NO_TARGET) if clips.scores is None else _self_training(clips, settings)
        has_several = clips.tags.sum(axis=1) > 1
        active = np.where(has_several[:, None, None] & (active > 0), decided, active)
    return np.where(loud[:, :, None], active, 0.0).astype(np.float32)


def _high_energy(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Mark the frames of tagged classes that stand out from the clip's floor; where none does, all: a steady sound."""
    levels = clips.log_mel if settings.per_band else np.logaddexp.reduce(clips.log_mel, axis=2, keepdims=True)
    counted = levels
    if clips.n_valid is not None:
        silence = levels.min(axis=(1, 2), keepdims=True)
        is_sound = _is_recorded(clips.n_valid, levels.shape[1])[:, :, None] & (levels > silence + 1e-3)
        counted = np.where(is_sound | ~is_sound.any(axis=(1, 2), keepdims=True), levels, np.nan)
    percentile = np.percentile if clips.n_valid is None else np.nanpercentile
    floor = percentile(counted, settings.floor_percentile, axis=1, keepdims=True)
    loud = ((levels - floor) * DECIBELS >= settings.energy_db).any(axis=2)  # (clips, frames)
    loud |= ~loud.any(axis=1, keepdims=True)
    quiet = 0.0 if settings.quiet_is_inactive else NO_TARGET
    return np.where(clips.tags[:, None, :] > 0, np.where(loud, 1.0, quiet)[:, :, None], 0.0).astype(np.float32)


def _self_training(clips: Clips, settings: TargetConfig) -> np.ndarray:
    """Take the frame scores as shares of the class's highest (Lee, "Pseudo-label", ICML 2013 workshops)."""
    assert clips.scores is not None
    scores = clips.scores.astype(np.float32)
    share = scores / np.maximum(scores.max(axis=1, keepdims=True), 1e-7)
    target = np.where(share >= settings.teacher_high, 1.0, np.where(share < settings.teacher_low, 0.0, NO_TARGET))
    return np.where(clips.tags[:, None, :] > 0, target, 0.0).astype(np.float32)


STRONG_TARGETS: dict[str, Callable[[Clips, TargetConfig], np.ndarray]] = {
    "repeat": _repeat,
    "high_energy": _high_energy,
    "loud": _loud,
    "self_training": _self_training,
    "none": _none,
}


class StrongTargets:
    """The strong targets of rows of a store; `scores` are the frame scores, (frames, classes), by row."""

    def __init__(
        self, store: FeatureStore, config: Config | None = None, scores: Mapping[int, np.ndarray] | None = None
    ) -> None:
        config = config or Config()
        self.store, self.settings, self.scores = store, config.targets, scores or {}
        self.n_valid = store.n_valid_frames
        self.levels = recording_levels(store) if config.is_mixed or config.targets.strong == "loud" else None
        self.events = store.events if config.trains_events else {}
        annotated = class_indices(getattr(config.data, "annotated", ()) or store.classes, store.classes)
        self._is_annotated = np.isin(np.arange(len(store.classes)), annotated)

    def __call__(self, rows: np.ndarray, log_mel: np.ndarray) -> np.ndarray:
        """Return the targets of `rows`, whose log mel energies are (rows, frames, bands)."""
        store, settings = self.store, self.settings
        levels = None if self.levels is None else self.levels[rows]
        n_valid = self.n_valid[rows] if settings.padding == "ignored" else None
        clips = Clips(store.tags[rows].astype(np.float32), log_mel, self._scores(rows), levels, n_valid)
        strong = STRONG_TARGETS[settings.strong](clips, settings)
        for target, row in zip(strong, rows, strict=True):
            events = self.events.get(store.clip_ids[row])
            if events is not None:
                roll = event_roll(events, store.classes, hop_seconds=store.features.hop_seconds, n_frames=len(target))
                target[:] = np.where(self._is_annotated, roll, NO_TARGET)
        if n_valid is not None:
            strong[~_is_recorded(n_valid, strong.shape[1])] = NO_TARGET
        return strong

    def _scores(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the scores of rows, NaN where there are none."""
        if not self.scores:
            return None
        unknown = np.full((self.store.features.n_frames, len(self.store.classes)), np.nan, np.float32)
        return np.stack([self.scores.get(row, unknown) for row in rows.tolist()])

    def active_frames(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean number of active frames of each class in a recording that has the class, (classes,)."""
        n_active = np.zeros((len(rows), len(self.store.classes)))
        for first in range(0, len(rows), _BLOCK_ROWS):
            block = rows[first : first + _BLOCK_ROWS]
            is_recorded = _is_recorded(self.n_valid[block], self.store.features.n_frames)
            is_active = (self(block, self.store.read(block)) == 1) & is_recorded[:, :, None]
            n_active[first : first + _BLOCK_ROWS] = is_active.sum(axis=1)
        names = [source_recording(self.store.clip_ids[row]) for row in rows]
        _, recording_of = np.unique(names, return_inverse=True)
        of_recordings = np.zeros((recording_of.max() + 1, n_active.shape[1]))
        np.add.at(of_recordings, recording_of, n_active)
        return of_recordings.sum(axis=0) / np.maximum((of_recordings > 0).sum(axis=0), 1)


def _is_recorded(n_valid: np.ndarray, n_frames: int) -> np.ndarray:
    """Return which frames are recorded, not padded, bool (clips, frames)."""
    return np.arange(n_frames)[None, :] < n_valid[:, None]


def frame_levels(log_mel: np.ndarray) -> np.ndarray:
    """Return the levels of frames (..., bands) in nepers: half the logarithms of their powers."""
    return np.log(np.maximum(np.exp(2 * log_mel).sum(axis=-1), 1e-37)) / 2  # as in logaddexp.reduce, which is slow


def recording_levels(store: FeatureStore) -> np.ndarray:
    """Return the level of each row's recording, in nepers, float32 (rows,): the power of its loud frames."""
    names, recording_of = np.unique([source_recording(clip_id) for clip_id in store.clip_ids], return_inverse=True)
    power, squares = np.full(len(names), 1e-30), np.full(len(names), 1e-60)
    for first in range(0, len(store), _BLOCK_ROWS):
        rows = np.arange(first, min(first + _BLOCK_ROWS, len(store)))
        of_frames = np.exp(2 * frame_levels(store.read(rows)).astype(np.float64))
        np.add.at(power, recording_of[rows], of_frames.sum(axis=1))
        np.add.at(squares, recording_of[rows], (of_frames**2).sum(axis=1))
    return (np.log(squares / power) / 2).astype(np.float32)[recording_of]
