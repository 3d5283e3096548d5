"""What detection gives: events, tags and frame scores of one recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.inference.recordings import Recording
from crnn_weak.labels.events import EventList

__all__ = ["Detection", "FrameScores", "Observer", "Tag"]


class Tag(NamedTuple):
    """A class that sounds somewhere in a recording."""

    label: str
    score: float


@dataclass(frozen=True)
class FrameScores:
    """The frame scores of one recording.

    Attributes
    ----------
    classes : tuple of str
    hop_seconds : float
        Row ``k`` covers ``[k, k + 1) * hop_seconds``.
    strong : np.ndarray of float32, shape (n_frames, n_classes)
        In [0, 1].
    weak : np.ndarray of float32, shape (n_classes,)
        In [0, 1]: of the windows, each class's largest.
    clip_id : str
    duration_seconds : float
    """

    classes: tuple[str, ...]
    hop_seconds: float
    strong: np.ndarray = field(repr=False)
    weak: np.ndarray = field(repr=False)
    clip_id: str = ""
    duration_seconds: float = 0.0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.strong, dtype=dtype)

    @property
    def times(self) -> np.ndarray:
        """The frames' onsets in seconds, shape (n_frames,)."""
        return np.arange(len(self.strong)) * self.hop_seconds


@dataclass
class Detection:
    """What came of one recording.

    Attributes
    ----------
    recording : Recording
    events : EventList
        Empty where `error` is set.
    tags : tuple of Tag
        Classes whose weak score is above their threshold, the likeliest first.
    weak : np.ndarray of float32, shape (n_classes,)
    duration_seconds : float
    error : DataError or None
        Why the recording failed; then nothing else is valid.
    warnings : tuple of str
    """

    recording: Recording
    events: EventList
    tags: tuple[Tag, ...]
    weak: np.ndarray
    duration_seconds: float
    error: DataError | None = None
    warnings: tuple[str, ...] = ()


class Observer(Protocol):
    """What may watch while recordings are processed, e.g. to write scores as they come."""

    def frames(self, recording: Recording, first_frame: int, strong: np.ndarray) -> None:
        """Take final scores, shape (n_frames, n_classes), in time order; a recording may still fail afterwards."""
        ...

    def progress(self, recording: Recording, seconds: float) -> None:
        """Take note that so many more seconds were read."""
        ...
