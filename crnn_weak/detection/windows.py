"""A recording of any length, window by window: features that arrive in blocks, scores that join without seams.

Three parts, each fed in pieces of any size and each with bounded memory; their results do not depend on the pieces:

`FrameStream`
    audio -> log mel frames. Blocks carry the context that an analysis window needs, so the frames are those of the
    whole recording.
`WindowPlan`
    which windows of the model's own length are laid over the frames, and how much each frame of a window counts.
`ScoreJoiner`
    windows' scores -> the recording's scores, a weighted mean, handed out as soon as no later window can change them.

Why there are no seams
----------------------
The network looks both ways, over its whole clip: trained with clip labels on every frame, its score of a frame may
change when a sound enters or leaves the window seconds away. The places of the windows therefore show in the scores,
and a crossfade of half-overlapping windows does not hide them. Hence `WindowPlan.crossfade`: a window begins at every
frame (or every hundredth of a window, where frames are finer), and a frame's score is the weighted mean of all windows
that hold it. This mean does not depend on the place of any one window: further than a window from its ends, a
recording's scores are the same wherever it was cut from. The outer eighth of a window, which lacks context on one side,
does not count; from there the weight rises over a quarter of the window.

Only the recording's true beginning and end are scored at a window's edge, as in training. The last window ends with the
recording; a recording shorter than one window is padded with zeros, as training clips are, so a clip of exactly one
window gets exactly the scores that evaluation gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.errors import ConfigError

__all__ = ["FrameStream", "ScoreJoiner", "WindowPlan"]


class FrameStream:
    """Log mel-band energies of audio that arrives in blocks.

    Parameters
    ----------
    extractor : callable
        `crnn_weak.features.log_mel.LogMelExtractor`: audio (n_samples,) -> frames (round(n_samples / hop), n_mels).
    config : FeatureConfig

    Attributes
    ----------
    n_frames : int
        Frames handed out so far.
    n_context : int
        Frames by which these trail the audio.
    """

    def __init__(self, extractor: Callable[[np.ndarray], np.ndarray], config: FeatureConfig) -> None:
        self._extractor = extractor
        self._hop = config.n_hop
        self._n_mels = config.n_mels
        # Frames that a window centered in its cell may reach into, at either side.
        self.n_context = math.ceil(max(config.n_window, config.n_fft) / (2 * self._hop)) + 1
        self._blocks: list[np.ndarray] = []
        self._n_buffered = 0
        self._first = 0  # the frame with which the buffer begins
        self.n_frames = 0

    def push(self, audio: np.ndarray) -> np.ndarray:
        """Take a block, shape (n_samples,); return the frames that are now complete, shape (n_frames, n_mels)."""
        self._blocks.append(np.asarray(audio, dtype=np.float32))
        self._n_buffered += audio.size
        # A frame is complete when all samples that it can see are there.
        return self._frames_until(self._first + self._n_buffered // self._hop - self.n_context)

    def finish(self, *, at_least: int = 1) -> np.ndarray:
        """Return the remaining frames; the recording has ``round(n_samples / hop)``, but at least `at_least`.

        Beyond the end there are zeros, as everywhere in the package.
        """
        n_total = self._first * self._hop + self._n_buffered
        n_frames = max(round(n_total / self._hop), at_least)
        n_needed = (n_frames + self.n_context) * self._hop
        if n_needed > n_total:
            self._blocks.append(np.zeros(n_needed - n_total, np.float32))
            self._n_buffered += n_needed - n_total
        return self._frames_until(n_frames)

    def _frames_until(self, last: int) -> np.ndarray:
        if last <= self.n_frames:
            return np.zeros((0, self._n_mels), np.float32)
        audio = np.concatenate(self._blocks) if len(self._blocks) > 1 else self._blocks[0]
        end = (last + self.n_context - self._first) * self._hop
        frames = self._extractor(audio[:end])[self.n_frames - self._first : last - self._first]
        self.n_frames = last
        first = max(0, last - self.n_context)
        # A copy, so that the block that it was cut from can go.
        rest = audio[(first - self._first) * self._hop :].copy()
        self._blocks, self._n_buffered, self._first = [rest], rest.size, first
        return frames


@dataclass(frozen=True)
class WindowPlan:
    """Places of the windows, and how much each of their frames counts.

    Attributes
    ----------
    n_window : int
        Frames of one window: the clip that the model was trained on.
    n_hop : int
        Frames from one window to the next.
    weights : np.ndarray of float32, shape (n_window,)
        0 or more. The frames with a weight above zero are neighbors, and `n_hop` of them at least.
    """

    n_window: int
    n_hop: int
    weights: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        used = np.flatnonzero(self.weights > 0)
        if self.n_hop < 1 or used.size < self.n_hop or used[-1] - used[0] + 1 != used.size:
            raise ConfigError(
                f"windows of {self.n_window} frames every {self.n_hop}: expected neighboring weights above 0 for at "
                f"least {self.n_hop} frames, received {used.size}."
            )

    @classmethod
    def crossfade(cls, n_window: int, n_hop: int | None = None) -> WindowPlan:
        """Return windows that fade into each other; their outer eighths count only at a recording's ends.

        Parameters
        ----------
        n_window : int
        n_hop : int, optional
            At most half a window. By default a hundredth of it, at least one frame: at one frame the scores do not
            depend on where the windows lie, and computation is proportional to 1 / n_hop.
        """
        n_hop = max(1, min(n_window // 100 if n_hop is None else n_hop, n_window // 2))
        margin = n_window // 8
        distance = np.minimum(np.arange(n_window), np.arange(n_window)[::-1]) + 0.5  # from the nearer edge
        rise = max(n_window // 2 - 2 * margin, 1)
        weights = np.clip((distance - margin) / rise, 0.0, 1.0).astype(np.float32)
        return cls(n_window, n_hop, weights if n_window >= 8 else np.ones(n_window, np.float32))

    @classmethod
    def low_delay(cls, n_window: int, *, n_delay: int, n_hop: int) -> WindowPlan:
        """Return windows of which only the `n_hop` frames count that lie `n_delay` frames before their end."""
        n_delay = min(max(n_delay, 0), n_window - n_hop)
        weights = np.zeros(n_window, np.float32)
        weights[n_window - n_delay - n_hop : n_window - n_delay] = 1.0
        return cls(n_window, n_hop, weights)

    @property
    def n_margin(self) -> int:
        """Frames at a window's beginning that do not count."""
        return int(np.argmax(self.weights > 0))

    @property
    def n_delay(self) -> int:
        """Frames by which the scores trail the features, at most."""
        return self.n_window - self.n_margin


class ScoreJoiner:
    """Cut a stream of frames into windows, and join the windows' scores.

    Feed `push` and, at the end, `finish`; after each, score what `windows` gives, in that order, and pass the scores
    to `accept`. `take` returns scores that are final.

    Parameters
    ----------
    plan : WindowPlan
    """

    def __init__(self, plan: WindowPlan) -> None:
        self._plan = plan
        self._frames: np.ndarray | None = None  # from frame self._first on
        self._first = 0
        self._n_known = 0
        self._n_total: int | None = None
        self._n_valid: int | None = None  # without padding
        self._next = 0  # beginning of the next window on the grid
        self._accepted = 0  # beginning of the next window whose scores are to come
        self.n_waiting = 0  # windows whose scores are to come
        self._all_cut = False
        # Sums of weighted strong and weak scores, and of the weights, from frame self._taken on.
        self._sums = np.zeros((0, 1), np.float32)
        self._taken = 0

    def push(self, frames: np.ndarray) -> None:
        """Take standardized frames, shape (n_frames, n_mels)."""
        if not len(frames):
            return
        if self._frames is None:
            self._frames = frames
        else:
            # The recording's last window may begin before the next one on the grid does.
            keep = max(self._first, min(self._next, self._n_known - self._plan.n_window))
            self._frames = np.concatenate([self._frames[keep - self._first :], frames])
            self._first = keep
        self._n_known += len(frames)

    def finish(self, n_valid: int | None = None) -> None:
        """Say that no more frames come; of those pushed, the first `n_valid` are the recording, the rest padding."""
        self._n_total = self._n_known
        self._n_valid = self._n_known if n_valid is None else n_valid

    def windows(self) -> list[tuple[int, np.ndarray]]:
        """Return the windows that can be scored: (first frame, frames of shape (n_window, n_mels)).

        A window is held back until a frame behind it is known or the recording has ended, because the last window of
        a recording is weighted otherwise.
        """
        plan, found = self._plan, []
        while self._next + plan.n_window < self._n_known or (
            self._n_total is not None and self._next + plan.n_window == self._n_total
        ):
            found.append(self._cut(self._next))
            self._next += plan.n_hop
        if self._n_total is not None and not self._all_cut:
            self._all_cut = True
            last = self._n_total - plan.n_window
            # Where the grid does not end with the recording, one more window does.
            if last > 0 and last % plan.n_hop:
                found.append(self._cut(last))
        self.n_waiting += len(found)
        return found

    def _cut(self, first: int) -> tuple[int, np.ndarray]:
        assert self._frames is not None
        return first, self._frames[first - self._first : first - self._first + self._plan.n_window]

    def accept(self, first: int, strong: np.ndarray, weak: np.ndarray) -> None:
        """Take the scores of the window that begins at frame `first`: (n_window, n_classes) and (n_classes,)."""
        plan = self._plan
        weights = plan.weights
        if first == 0 or first + plan.n_window == self._n_total:
            weights = weights.copy()
            used = np.flatnonzero(weights == weights.max())
            if first == 0:
                weights[: used[-1] + 1] = weights.max()
            if first + plan.n_window == self._n_total:
                weights[used[0] :] = weights.max()
        # Frames that have been handed out had all their windows; here they have no weight.
        skip = max(self._taken - first, 0)
        begin, end = first + skip - self._taken, first + plan.n_window - self._taken
        scores = np.concatenate(
            [strong, np.broadcast_to(weak, strong.shape), np.ones((len(strong), 1), np.float32)], axis=1
        )
        if len(self._sums) < end:
            grown = np.zeros((end + 4 * plan.n_window, scores.shape[1]), np.float32)
            grown[: len(self._sums)] = self._sums
            self._sums = grown
        self._sums[begin:end] += weights[skip:, None] * scores[skip:]
        self._accepted = first + plan.n_hop
        self.n_waiting -= 1

    def take(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores that are final and not yet taken, in time order.

        Returns
        -------
        strong, weak : np.ndarray of float32, shape (n_frames, n_classes)
            `weak` is the windows' weak scores, joined in time like the strong ones.
        """
        plan = self._plan
        if self._n_total is not None and self._all_cut and not self.n_waiting:
            until = self._n_valid if self._n_valid is not None else self._n_total
        else:
            # The earliest frame that a window to come can touch: the next on the grid, or the recording's last one,
            # which ends no earlier than what is known.
            until = min(self._accepted, self._n_known - plan.n_window) + plan.n_margin if self._accepted else 0
        n_ready = max(until - self._taken, 0)
        ready = self._sums[:n_ready]
        if n_ready:
            self._sums = self._sums[n_ready:].copy()
        self._taken += n_ready
        n_classes = ready.shape[1] // 2
        joined = ready[:, : 2 * n_classes] / np.maximum(ready[:, -1:], np.float32(1e-12))
        return joined[:, :n_classes], joined[:, n_classes:]
