"""From scores to decisions and events.

The paper's way, and the default: a frame is active where its score is *above* one threshold, a tag likewise, and
nothing is smoothed. The options, each per class, are applied in this order:

1. median filter: the scores' median over an odd number of frames, zeros beyond the clip (filtering the decisions
   gives the same, since a median and a threshold commute);
2. threshold, or hysteresis: with a low threshold, a run above it is kept whole where it rises above the threshold;
3. gaps shorter than a minimum between two runs are closed (never at the clip's ends);
4. runs shorter than a minimum are dropped;
5. weak gate: nothing is left of a class that the weak output does not tag.

Each step is monotone: a higher threshold never adds an active frame. An event's score is the mean of its frames'
strong scores, as they came from the model. All steps run over all clips and classes at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from crnn_weak import timing
from crnn_weak.activity import roll_runs, runs_roll
from crnn_weak.config import DecisionConfig
from crnn_weak.errors import DataError
from crnn_weak.events.operating_point import ClassDecisions, as_class_decisions
from crnn_weak.events.scores import ScoreSet
from crnn_weak.labels.events import Event

__all__ = [
    "ClassDecisions",
    "as_class_decisions",
    "binarize",
    "score_set_events",
    "score_set_tags",
    "scores_to_events",
    "scores_to_tags",
]

# --- runs ----------------------------------------------------------------------------------------------------------


def by_class(frames: np.ndarray) -> np.ndarray:
    """Return (clips, frames, classes) as rows of frames, one for each clip and class, classes fastest."""
    n_clips, n_frames, n_classes = frames.shape
    return np.ascontiguousarray(np.moveaxis(frames, 1, 2)).reshape(n_clips * n_classes, n_frames)


def _frames(seconds: Sequence[float], hop_seconds: float) -> np.ndarray:
    """Return the number of frames that a run needs to be no shorter than each duration."""
    return np.ceil(np.asarray(seconds) / hop_seconds - 1e-6).astype(np.int64)


def median_frames(seconds: float, hop_seconds: float) -> int:
    """Return the odd number of frames nearest to a median filter's length; 1 filters nothing.

    >>> median_frames(0.5, 0.1), median_frames(0.0, 0.1)
    (5, 1)
    """
    return 2 * round((seconds / hop_seconds - 1) / 2) + 1 if seconds > hop_seconds else 1


def median_decisions(active: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Return whether more than half of the frames round each are active.

    Parameters
    ----------
    active : np.ndarray of bool, shape (n_rows, n_frames)
        One row for each clip and class, classes fastest.
    lengths : sequence of int, length n_classes
        Odd; 1 leaves a class as it is.
    """
    if max(lengths, default=1) == 1:
        return active
    n_frames, filtered = active.shape[1], active.copy()
    for n in sorted(set(lengths) - {1}):
        rows = np.flatnonzero(np.tile(np.asarray(lengths) == n, len(active) // len(lengths)))
        half = n // 2
        counted = np.zeros((len(rows), n_frames + n), dtype=np.int32)
        np.cumsum(active[rows], axis=1, out=counted[:, half + 1 : half + 1 + n_frames])
        counted[:, half + 1 + n_frames :] = counted[:, half + n_frames, None]
        filtered[rows] = counted[:, n:] - counted[:, :-n] > half
    return filtered


def binarize(
    strong: np.ndarray,
    decisions: ClassDecisions,
    *,
    hop_seconds: float,
    weak: np.ndarray | None = None,
) -> np.ndarray:
    """Return which frames are active after all steps of the module's docstring.

    Parameters
    ----------
    strong : np.ndarray of float, shape (n_frames, n_classes) or (n_clips, n_frames, n_classes)
        In [0, 1].
    decisions : ClassDecisions
    hop_seconds : float
    weak : np.ndarray of float, shape (n_classes,) or (n_clips, n_classes), optional
        Needed for the weak gate.

    Returns
    -------
    np.ndarray of bool, the shape of `strong`

    Raises
    ------
    DataError
        The shapes do not fit, or the weak gate is on and `weak` is missing.
    """
    single = strong.ndim == 2
    scores = strong[None] if single else strong
    n_classes = len(decisions.classes)
    if scores.ndim != 3 or scores.shape[2] != n_classes:
        raise DataError(f"strong scores: expected (clips, frames, {n_classes}), received {strong.shape}.")
    n_clips, n_frames, _ = scores.shape
    scores = np.ascontiguousarray(np.moveaxis(scores, 1, 2))  # (clips, classes, frames): runs lie side by side
    shape = (n_clips * n_classes, n_frames)
    active = (scores > np.asarray(decisions.thresholds, dtype=scores.dtype)[:, None]).reshape(shape)
    lengths = [median_frames(seconds, hop_seconds) for seconds in decisions.median_seconds]
    active = median_decisions(active, lengths)
    if any(decisions.low_thresholds):
        low = median_decisions(low_decisions(scores, decisions), lengths)
        active = keep_rising(low | active, active)
    active = smooth(active, decisions, hop_seconds)
    active = active.reshape(n_clips, n_classes, n_frames)
    if decisions.weak_gate:
        if weak is None:
            raise DataError("weak_gate is on, but no weak scores were given; pass weak=..., or turn the gate off.")
        gate = np.asarray(weak).reshape(n_clips, n_classes) > np.asarray(decisions.tag_thresholds, dtype=weak.dtype)
        active = active & gate[:, :, None]
    roll = np.moveaxis(active, 2, 1)
    return roll[0] if single else roll


def low_decisions(scores: np.ndarray, decisions: ClassDecisions) -> np.ndarray:
    """Return where scores of shape (clips, classes, frames) are above the low thresholds, one row a clip and class.

    False throughout for a class without hysteresis.
    """
    low = np.asarray(decisions.low_thresholds, dtype=scores.dtype)[:, None]
    return ((scores > low) & (low > 0)).reshape(-1, scores.shape[2])


def keep_rising(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Keep the runs of `low` that hold a frame of `high`; both of shape (n_rows, n_frames)."""
    rows, first, last = roll_runs(low)
    counted = np.zeros((low.shape[0], low.shape[1] + 1), dtype=np.int32)
    np.cumsum(high, axis=1, out=counted[:, 1:])
    keep = counted[rows, last] > counted[rows, first]
    return runs_roll(rows[keep], first[keep], last[keep], low.shape)


def smooth(active: np.ndarray, decisions: ClassDecisions, hop_seconds: float) -> np.ndarray:
    """Close short gaps, then drop short runs; `active` has one row for each clip and class, classes fastest."""
    n_classes = len(decisions.classes)
    if any(decisions.min_gap_seconds):
        n_closed = _frames(decisions.min_gap_seconds, hop_seconds)
        rows, first, last = roll_runs(active)
        short = (rows[1:] == rows[:-1]) & (first[1:] - last[:-1] < n_closed[rows[1:] % n_classes])
        active = active | runs_roll(rows[1:][short], last[:-1][short], first[1:][short], active.shape)
    if any(decisions.min_duration_seconds):
        rows, first, last = roll_runs(active)
        keep = last - first >= _frames(decisions.min_duration_seconds, hop_seconds)[rows % n_classes]
        active = runs_roll(rows[keep], first[keep], last[keep], active.shape)
    return active


# --- events and tags -----------------------------------------------------------------------------------------------


def event_arrays(
    strong: np.ndarray, roll: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return clip, class, first and last frame and mean score of every run, by clip, onset, offset and class.

    Parameters
    ----------
    strong : np.ndarray of float, shape (n_clips, n_frames, n_classes)
    roll : np.ndarray of bool, the same shape
    """
    n_clips, n_frames, n_classes = roll.shape
    rows, first, last = roll_runs(by_class(roll))
    summed = np.zeros((n_clips, n_frames + 1, n_classes))
    np.cumsum(strong, axis=1, dtype=np.float64, out=summed[:, 1:])
    clip, label = rows // n_classes, rows % n_classes
    mean = (summed[clip, last, label] - summed[clip, first, label]) / np.maximum(last - first, 1)
    order = np.lexsort((label, last, first, clip))
    return clip[order], label[order], first[order], last[order], np.clip(mean, 0.0, 1.0)[order].round(6)


def _events(
    strong: np.ndarray, weak: np.ndarray | None, decisions: ClassDecisions, hop_seconds: float
) -> list[list[Event]]:
    roll = binarize(strong, decisions, hop_seconds=hop_seconds, weak=weak)
    found: list[list[Event]] = [[] for _ in range(strong.shape[0])]
    arrays = [array.tolist() for array in event_arrays(strong, roll)]
    for clip, label, first, last, score in zip(*arrays, strict=True):
        onset = round(timing.frames_to_seconds(first, hop_seconds), 6)
        offset = round(timing.frames_to_seconds(last, hop_seconds), 6)
        found[clip].append(Event(onset, offset, decisions.classes[label], score))
    return found


def scores_to_events(
    strong: np.ndarray,
    *,
    classes: Sequence[str],
    hop_seconds: float,
    decisions: DecisionConfig | ClassDecisions,
    weak: np.ndarray | None = None,
) -> list[Event]:
    """Return the events of one recording.

    Parameters
    ----------
    strong : np.ndarray of float, shape (n_frames, n_classes)
        In [0, 1]; frame ``k`` covers ``[k, k + 1) * hop_seconds``.
    classes : sequence of str, length n_classes
    hop_seconds : float
    decisions : DecisionConfig or ClassDecisions
    weak : np.ndarray of float, shape (n_classes,), optional
        Needed for the weak gate.

    Returns
    -------
    list of Event
        By onset, with the mean frame score of each.

    Examples
    --------
    >>> scores = np.array([[0.1], [0.7], [0.9], [0.2]])
    >>> scores_to_events(scores, classes=["Car"], hop_seconds=0.5, decisions=DecisionConfig())
    [Event(onset=0.5, offset=1.5, label='Car', score=0.8)]
    """
    chosen = as_class_decisions(decisions, classes)
    return _events(strong[None], None if weak is None else weak[None], chosen, hop_seconds)[0]


def scores_to_tags(
    weak: np.ndarray, *, classes: Sequence[str], decisions: DecisionConfig | ClassDecisions
) -> list[tuple[str, ...]]:
    """Return the tags of each clip.

    Parameters
    ----------
    weak : np.ndarray of float, shape (n_clips, n_classes)
    """
    chosen = as_class_decisions(decisions, classes)
    active = weak > np.asarray(chosen.tag_thresholds, dtype=weak.dtype)
    return [tuple(label for label, on in zip(chosen.classes, row, strict=True) if on) for row in active.tolist()]


def _blocks(n_clips: int, cells: int) -> Iterable[slice]:
    size = max(1, 30_000_000 // max(cells, 1))
    return (slice(start, min(start + size, n_clips)) for start in range(0, n_clips, size))


def score_set_events(scores: ScoreSet, decisions: DecisionConfig | ClassDecisions) -> dict[str, tuple[Event, ...]]:
    """Return the events of every clip of a ScoreSet, in its order; a clip without events has an empty tuple."""
    chosen = as_class_decisions(decisions, scores.classes)
    events: dict[str, tuple[Event, ...]] = {}
    for block in _blocks(len(scores), scores.strong.shape[1] * scores.strong.shape[2]):
        found = _events(scores.strong[block], scores.weak[block], chosen, scores.hop_seconds)
        events |= {clip: tuple(rows) for clip, rows in zip(scores.clip_ids[block], found, strict=True)}
    return events


def score_set_tags(scores: ScoreSet, decisions: DecisionConfig | ClassDecisions) -> dict[str, tuple[str, ...]]:
    """Return the tags of every clip of a ScoreSet, in its order."""
    tags = scores_to_tags(scores.weak, classes=scores.classes, decisions=decisions)
    return dict(zip(scores.clip_ids, tags, strict=True))
