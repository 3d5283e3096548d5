"""Controls, estimates that every result is compared with: baselines, from the reference alone, and oracles.

An oracle replaces the tags or the times of a model's estimate by the truth, to see what limits the rest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from crnn_weak.config import EvaluationConfig
from crnn_weak.labels.events import Event, Events
from crnn_weak.metrics.counting import Tags
from crnn_weak.metrics.sed_eval import reported_metrics
from crnn_weak.metrics.summary import METRICS


def whole_clip(tags: Tags, clip_seconds: float) -> dict[str, tuple[Event, ...]]:
    """Return each clip's tags as events over the whole clip."""
    return {clip: tuple(Event(0.0, clip_seconds, label) for label in labels) for clip, labels in tags.items()}


def with_true_tags(strong: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return frame scores (n_clips, n_frames, n_classes), 0 where `tags`, bool (n_clips, n_classes), are False."""
    return np.where(tags[:, None, :], strong, strong.dtype.type(0))


def with_true_times(tags: Tags, reference: Events, estimated: Events) -> dict[str, list[Event]]:
    """Return each clip's tagged classes with their true events; those of false tags are the estimate's own."""
    result: dict[str, list[Event]] = {}
    for clip, labels in tags.items():
        result[clip] = []
        for label in labels:
            true = [event for event in reference[clip] if event.label == label]
            result[clip] += true or [event for event in estimated.get(clip, ()) if event.label == label]
    return result


def score_baselines(
    tags: Tags | None,
    events: Events | None,
    *,
    classes: Sequence[str],
    clip_seconds: float,
    evaluation: EvaluationConfig,
) -> dict[str, dict[str, float]]:
    """Score nothing, the true tags over the whole clip, and the most frequent tag in every clip.

    Return the scores, by scikit-learn and sed_eval: title -> {"output/metric": fraction or NaN}. Without `tags`, those
    of the events are taken, zero-length rows included; without `events`, detection is not scored.
    """
    if tags is None:
        tags = {clip: tuple(dict.fromkeys(row.label for row in rows)) for clip, rows in (events or {}).items()}
    estimates: dict[str, Tags] = {"nothing": {}, "true tags, whole clip": tags}
    if classes:
        counted = Counter(label for labels in tags.values() for label in set(labels))
        frequent = max(classes, key=lambda label: counted[label])  # of equally frequent ones the first
        estimates[f"{frequent} everywhere"] = dict.fromkeys(tags, (frequent,))
    outputs = ("tagging",) if events is None else ("tagging", "segment", "event")
    scores: dict[str, dict[str, float]] = {title: {} for title in estimates}
    for title, estimated in estimates.items():
        pair = None
        if events:
            pair = (events, whole_clip({clip: estimated.get(clip, ()) for clip in events}, clip_seconds))
        found = {}
        if tags:
            found = reported_metrics(
                (tags, estimated), pair, classes=classes, clip_seconds=clip_seconds, evaluation=evaluation
            )
        for metric in METRICS:
            if metric.output in outputs:
                scores[title][metric.key] = getattr(found.get(metric.output), metric.name, math.nan)
    return scores
