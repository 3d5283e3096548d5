"""The only place that converts between seconds, samples, frames and segments.

Conventions
-----------
* Time runs in seconds from the start of the clip.
* Frame ``k`` is the cell ``[k * hop, (k + 1) * hop)``; its analysis window is centred on the middle of that cell.
* A clip of ``T`` seconds has ``round(T / hop)`` frames: the 10 s clip at 20 ms has the 500 frames of the paper.
* A segment is the fixed unit of evaluation (1 s in the task). An event touches every segment that it overlaps:
  its onset is floored, its offset ceiled (Mesaros et al., "Metrics for polyphonic sound event detection",
  Applied Sciences 6(6):162, 2016).
"""

from __future__ import annotations

import math

__all__ = ["frame_edges", "frames_to_seconds", "n_frames", "n_samples"]

# Event times are written with three to six decimals; a quotient this close to a whole number is that number.
_SLACK = 1e-6


def n_samples(seconds: float, sample_rate_hz: int) -> int:
    """Return the number of samples in `seconds`.

    >>> n_samples(10.0, 44_100)
    441000
    """
    return round(seconds * sample_rate_hz)


def n_frames(clip_seconds: float, hop_seconds: float) -> int:
    """Return the number of frames of a clip.

    >>> n_frames(10.0, 0.020)
    500
    """
    return round(clip_seconds / hop_seconds)


def frame_edges(onset: float, offset: float, hop_seconds: float) -> tuple[int, int]:
    """Return the frames ``[first, last)`` whose cells overlap ``[onset, offset)`` seconds.

    A zero-length event has no frames.

    >>> frame_edges(0.05, 0.11, 0.02)
    (2, 6)
    >>> frame_edges(0.0, 0.0, 0.02)
    (0, 0)
    """
    if offset <= onset:
        first = math.floor(onset / hop_seconds + _SLACK)
        return first, first
    return math.floor(onset / hop_seconds + _SLACK), math.ceil(offset / hop_seconds - _SLACK)


def frames_to_seconds(frame: float, hop_seconds: float) -> float:
    """Return the time at which a frame begins, in seconds.

    >>> frames_to_seconds(50, 0.02)
    1.0
    """
    return frame * hop_seconds
