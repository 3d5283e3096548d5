"""A recording of any length, window by window: features of blocks of audio, windows, and scores without seams.

The network looks both ways over its whole clip, so its score of a frame depends on the window that holds it, and a
crossfade of half-overlapping windows does not hide that. Hence a window begins at every hundredth of a window, and a
frame's score is the weighted mean over all windows that hold it. Only a recording's true ends are scored at a window's
edge, as in training; a clip of exactly one window gets the scores that evaluation gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.labels.rolls import roll_runs


class FrameStream:
    """Log mel frames, shape (n_frames, n_mels), of a recording in blocks of audio, (n_samples,); iterate once."""

    def __init__(
        self,
        blocks: Iterable[np.ndarray],
        extractor: Callable[[np.ndarray], np.ndarray],
        config: FeatureConfig,
        *,
        min_frames: int = 1,  # zeros are padded to this length
    ) -> None:
        self.n_valid_frames, self._n_hop = 0, config.n_hop  # those that are recorded are known at the end
        self._blocks, self._extractor, self._min_frames = blocks, extractor, min_frames
        self._zeros: list[np.ndarray] = []
        self._n_silent = math.ceil(config.n_window / config.n_hop)
        # Frames that an analysis window, centered in its hop, may reach into, on either side.
        self._n_context = math.ceil(max(config.n_window, config.n_fft) / (2 * config.n_hop)) + 1

    def __iter__(self) -> Iterator[np.ndarray]:
        audio, first, n_done = np.zeros(0, np.float32), 0, 0  # `audio` begins with frame `first`
        for block in self._blocks:
            audio = np.concatenate([audio, block], dtype=np.float32)
            # A frame is complete when all samples that it can see are there.
            n_ready = first + len(audio) // self._n_hop - self._n_context
            if n_ready > n_done:
                yield self._frames(audio, n_done - first, n_ready - first)
                n_done = n_ready
                next_first = max(0, n_done - self._n_context)
                audio, first = audio[(next_first - first) * self._n_hop :], next_first
        n_samples = first * self._n_hop + len(audio)
        self.n_valid_frames = max(round(n_samples / self._n_hop), 1)
        n_frames = max(self.n_valid_frames, self._min_frames)
        n_padding = max((n_frames + self._n_context) * self._n_hop - n_samples, 0)
        if n_frames > n_done:
            yield self._frames(np.pad(audio, (0, n_padding)), n_done - first, n_frames - first)

    def _frames(self, audio: np.ndarray, begin: int, end: int) -> np.ndarray:
        hops = audio[begin * self._n_hop : end * self._n_hop].reshape(-1, self._n_hop)
        self._zeros.append((hops == 0).all(axis=1))
        return self._extractor(audio[: (end + self._n_context) * self._n_hop])[begin:end]

    @property
    def silent(self) -> np.ndarray:
        """The frames in a span of zeros at least as long as an analysis window, bool of shape (n_frames,)."""
        silent: np.ndarray = np.concatenate(self._zeros)
        for _, first, last in zip(*roll_runs(silent[None]), strict=True):
            silent[first:last] = last - first >= self._n_silent
        return silent


class Window(NamedTuple):
    """Frames of one window, shape (n_window, n_mels), and its position in the recording."""

    first: int
    frames: np.ndarray
    is_last: bool


class SlidingWindows:
    """Overlapping windows of `n_window` frames, one every `n_hop` frames, by default a hundredth of a window."""

    def __init__(self, n_window: int, n_hop: int | None = None) -> None:
        self.n_window = n_window
        self.n_hop = max(1, min(n_window // 100 if n_hop is None else n_hop, n_window // 2))
        # The outer eighths, which lack context, count only at a recording's ends; weights rise over the next quarters.
        margin = n_window // 8
        edge_distance = np.minimum(np.arange(n_window), np.arange(n_window)[::-1]) + 0.5
        n_rise = max(n_window // 2 - 2 * margin, 1)
        self.weights = np.clip((edge_distance - margin) / n_rise, 0.0, 1.0).astype(np.float32)

    def cut(self, blocks: Iterable[np.ndarray]) -> Iterator[list[Window]]:
        """Yield, for each block of frames, the complete windows after which a frame is known, and at last the last."""
        frames, first, start = None, 0, 0  # `frames` begins with frame `first`
        for block in blocks:
            if frames is None:
                frames = block
            else:
                # The recording's last window may begin before the next regular one does.
                keep = max(first, min(start, first + len(frames) - self.n_window))
                frames, first = np.concatenate([frames[keep - first :], block]), keep
            windows = []
            while start + self.n_window < first + len(frames):
                windows.append(Window(start, frames[start - first : start - first + self.n_window], False))
                start += self.n_hop
            yield windows
        assert frames is not None
        yield [Window(first + len(frames) - self.n_window, frames[-self.n_window :], True)]


class OverlapAdd:
    """Weighted means of the scores of a recording's windows, which are added in time order."""

    def __init__(self, windows: SlidingWindows, n_classes: int) -> None:
        self._window_weights = windows.weights
        # Weighted sums by frame, with room for more frames.
        self._strong, self._weak = np.zeros((2, 0, n_classes), np.float32)
        self._weights = np.zeros((0, 1), np.float32)

    def add(self, window: Window, strong: np.ndarray, weak: np.ndarray) -> None:
        """Add the scores of a window, (n_window, n_classes) and (n_classes,)."""
        end = window.first + len(strong)
        if len(self._weights) < end:
            n_more = max(end // 4, 4 * len(strong))
            self._strong, self._weak, self._weights = (
                np.concatenate([sums, np.zeros((n_more, sums.shape[1]), np.float32)])
                for sums in (self._strong, self._weak, self._weights)
            )
        weights = self._window_weights[:, None].copy()
        full = np.flatnonzero(weights == weights.max())
        if window.first == 0:  # full up to the recording's ends
            weights[: full[-1] + 1] = weights.max()
        if window.is_last:
            weights[full[0] :] = weights.max()
        self._strong[window.first : end] += weights * strong
        self._weak[window.first : end] += weights * weak
        self._weights[window.first : end] += weights

    def scores(self, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return strong and weak scores in time, each of shape (n_frames, n_classes); call once, at the end."""
        weights = np.maximum(self._weights[:n_frames], np.float32(1e-12))
        strong, weak = self._strong[:n_frames], self._weak[:n_frames]
        strong /= weights
        weak /= weights
        return strong, weak
