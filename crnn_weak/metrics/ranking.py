"""Metrics that need no threshold: average precision and ROC AUC by scikit-learn, PSDS by sed_scores_eval, times.

Reference: Ebbers et al., "Threshold independent evaluation of sound event detection scores", ICASSP 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from crnn_weak.errors import DataError, DependencyError
from crnn_weak.labels.events import Event, Events
from crnn_weak.labels.rolls import event_roll, frame_times
from crnn_weak.metrics.summary import defined_mean, divide, interval, plain, resampled_sums

# The settings of DCASE 2021 and later: the first rewards exact times, the second the right class.
_PSDS: dict[str, dict[str, float | None]] = {
    "psds1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "cttc_threshold": None, "alpha_ct": 0.0, "alpha_st": 1.0},
    "psds2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0},
}


def rank_classes(reference: np.ndarray, scores: np.ndarray, *, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return ``average_precision`` and ``roc_auc`` of every class from arrays (n, n_classes); NaN where undefined."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    found: dict[str, dict[str, float]] = {"average_precision": {}, "roc_auc": {}}
    for label, true, scored in zip(classes, reference.T, scores.T, strict=True):
        found["average_precision"][label] = float(average_precision_score(true, scored)) if true.any() else math.nan
        is_mixed = true.any() and not true.all()
        found["roc_auc"][label] = float(roc_auc_score(true, scored)) if is_mixed else math.nan
    return found


def score_ranking(tags: np.ndarray, scores: np.ndarray, *, classes: Sequence[str]) -> dict[str, Any]:
    """Return class averages, and values by class, of clip scores (n_clips, n_classes), as in ``metrics.json``."""
    found = rank_classes(tags, scores, classes=classes)
    columns = {"mean_average_precision": found["average_precision"], "roc_auc": found["roc_auc"]}
    by_class = {label: {name: column[label] for name, column in columns.items()} for label in classes}
    averages = {name: defined_mean(column.values())[0] for name, column in columns.items()}
    return dict(plain(averages | {"class_wise": by_class}))


def within_clip_auc(
    strong: np.ndarray,
    events: Events,
    *,
    clip_ids: Sequence[str],
    classes: Sequence[str],
    hop_seconds: float,
    n_frames: Sequence[int] | None = None,  # of each clip, without padding
) -> dict[str, Any]:
    """Return how well frame scores (n_clips, n_frames, n_classes) tell *when* a class sounds, 0.5 without time."""
    # The area under the ROC of each clip and class that is true in a part of it; the interval is over clips.
    areas = np.full((len(clip_ids), len(classes)), np.nan)
    for row, clip in enumerate(clip_ids):
        scores = strong[row] if n_frames is None else strong[row, : n_frames[row]]
        roll = event_roll(events[clip], classes, hop_seconds=hop_seconds, n_frames=len(scores))
        for column in np.flatnonzero(roll.any(axis=0) & ~roll.all(axis=0)):
            true, false = scores[roll[:, column], column], np.sort(scores[~roll[:, column], column])
            n_below = np.searchsorted(false, true, "left") + np.searchsorted(false, true, "right")  # ties count half
            areas[row, column] = n_below.mean() / (2 * len(false))
    sums = np.stack([np.nansum(areas, axis=1), (~np.isnan(areas)).sum(axis=1)], axis=1)
    resampled = resampled_sums(sums, n_resamples=1000, rng=np.random.default_rng(0))
    span = interval(divide(resampled[:, 0], resampled[:, 1]))
    total, n_pairs = sums.sum(axis=0)
    by_class = {label: {"auc": defined_mean(values)[0]} for label, values in zip(classes, areas.T, strict=True)}
    found = {"auc": float(divide(total, n_pairs)), "low": span.low, "high": span.high, "n_pairs": int(n_pairs)}
    return dict(plain(found | {"class_wise": by_class}))


def _merged(events: Sequence[Event], length: float) -> list[tuple[float, float, str]]:
    """Return onset, offset and label, overlapping events as one, cut at the clip's end, those of length 0 dropped."""
    merged: list[tuple[float, float, str]] = []
    for event in sorted(events, key=lambda event: (event.label, event.onset)):
        onset, offset = event.onset, min(event.offset, length)
        if offset <= onset:
            continue
        if merged and merged[-1][2] == event.label and onset <= merged[-1][1]:
            onset, offset = merged[-1][0], max(offset, merged.pop()[1])
        merged.append((onset, offset, event.label))
    return sorted(merged)


def psds(
    strong: np.ndarray, events: Events, *, clip_ids: Sequence[str], classes: Sequence[str], hop_seconds: float
) -> dict[str, float]:
    """Return PSDS1 and PSDS2, exact over all thresholds, of frame scores of shape (n_clips, n_frames, n_classes)."""
    try:
        from sed_scores_eval import intersection_based
        from sed_scores_eval.base_modules.scores import create_score_dataframe
    except ImportError as error:
        raise DependencyError(f"PSDS needs sed_scores_eval ({error}): pip install 'crnn-weak[psds]'.") from None
    length = float(strong.shape[1] * hop_seconds)
    reference = {clip: _merged(events[clip], length) for clip in clip_ids}
    absent = set(classes) - {label for rows in reference.values() for _, _, label in rows}
    if absent:
        raise DataError(
            f"PSDS is not defined: the reference has no event of {', '.join(sorted(absent)[:3])} "
            f"({len(absent)} of {len(classes)} classes). Score clips that hold every class."
        )
    times = frame_times(strong.shape[1], hop_seconds)
    scores = {
        clip: create_score_dataframe(strong[row].astype(np.float64), timestamps=times, event_classes=list(classes))
        for row, clip in enumerate(clip_ids)
    }
    data = {"scores": scores, "ground_truth": reference, "audio_durations": dict.fromkeys(clip_ids, length)}
    found = {}
    for name, settings in _PSDS.items():
        found[name] = float(intersection_based.psds(**data, **settings, max_efpr=100.0, unit_of_time="hour")[0])
    return found
