"""The only place that converts between seconds, samples, frames and segments.

Time runs in seconds from the start of the clip. Frame ``k`` covers ``[k * hop, (k + 1) * hop)``, a whole number of
samples, and its analysis window is centered on its middle. A segment is the fixed unit of evaluation (1 s in the task);
an event touches every segment that it overlaps: its onset is floored, its offset ceiled (Mesaros et al., "Metrics for
polyphonic sound event detection", Applied Sciences 6(6):162, 2016).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Event times are written with three to six decimals; a quotient this close to an integer is that integer.
_SLACK = 1e-6


def n_samples(seconds: float, sample_rate_hz: int) -> int:
    """Return the number of samples in `seconds`."""
    return round(seconds * sample_rate_hz)


def n_frames(n_samples: int, n_hop: int) -> int:
    """Return the number of frames of audio.

    >>> n_frames(441_000, 882)
    500
    """
    return round(n_samples / n_hop)


def frame_edges(onset: float, offset: float, hop_seconds: float) -> tuple[int, int]:
    """Return the frames ``[first, last)`` that overlap ``[onset, offset)`` seconds; none for a zero-length event.

    >>> frame_edges(0.05, 0.11, 0.02)
    (2, 6)
    >>> frame_edges(0.0, 0.0, 0.02)
    (0, 0)
    """
    first = math.floor(onset / hop_seconds + _SLACK)
    return first, math.ceil(offset / hop_seconds - _SLACK) if offset > onset else first


def frame_times(n_frames: int, hop_seconds: float, *, first: int = 0) -> np.ndarray:
    """Return when frames begin, and when the last one ends: float64 seconds, shape (n_frames + 1,), to microseconds.

    >>> frame_times(2, 0.02, first=50).tolist()
    [1.0, 1.02, 1.04]
    """
    import numpy as np  # not at import: settings and --help need this module

    return np.round(np.arange(first, first + n_frames + 1) * hop_seconds, 6)
