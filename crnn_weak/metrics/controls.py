"""Controls: estimates against which every result is compared.

A baseline is made from the reference alone: silence, the true tags over the whole clip, and the most frequent tag (or a
given class) in every clip. An oracle replaces one part of a model's estimate by the truth, to see what limits the rest:
its tags (`with_true_tags`) or its times (`with_true_times`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import LabelError, nearest_names
from crnn_weak.labels.events import Event, Events
from crnn_weak.metrics.counting import Tags
from crnn_weak.metrics.sed_eval import reported_metrics
from crnn_weak.metrics.summary import METRICS


def whole_clip(tags: Tags, clip_seconds: float) -> dict[str, tuple[Event, ...]]:
    """Return each clip's tags as events over the whole clip."""
    return {clip: tuple(Event(0.0, clip_seconds, label) for label in labels) for clip, labels in tags.items()}


def with_true_tags(strong: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return frame scores that are 0 for the classes that a clip does not hold.

    `strong` has shape (n_clips, n_frames, n_classes), `tags` is bool of shape (n_clips, n_classes).
    """
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
    tags: Mapping[str, Iterable[str]] | None,
    events: Events | None,
    *,
    classes: Sequence[str],
    clip_seconds: float,
    evaluation: EvaluationConfig,
    one_class: str | None = None,
) -> dict[str, dict[str, float]]:
    """Score every baseline, by scikit-learn and sed_eval: its title -> {"output/metric": fraction or NaN}.

    Without `tags`, those of the events are taken, zero-length rows included; without `events` detection is not scored.
    `one_class` is the class of the last baseline, by default the one in most clips, the first of equally frequent ones.
    """
    if tags is None:
        tags = {clip: tuple(dict.fromkeys(row.label for row in rows)) for clip, rows in (events or {}).items()}
    estimates: dict[str, dict[str, tuple[str, ...]]] = {
        "nothing": {},
        "true tags, whole clip": {clip: tuple(labels) for clip, labels in tags.items()},
    }
    if one_class is None and classes:
        counted = Counter(label for labels in tags.values() for label in set(labels))
        one_class = max(classes, key=lambda label: counted[label])
    if one_class is not None:
        if one_class not in classes:
            raise LabelError(f"label {one_class!r} is not in the class list. {nearest_names(one_class, classes)}")
        estimates[f"{one_class} everywhere"] = dict.fromkeys(tags, (one_class,))
    outputs = ("tagging",) if events is None else ("tagging", "segment", "event")
    scores: dict[str, dict[str, float]] = {}
    for title, estimated in estimates.items():
        known = None
        if events:
            known = (events, whole_clip({clip: estimated.get(clip, ()) for clip in events}, clip_seconds))
        options: dict[str, Any] = {"classes": classes, "clip_seconds": clip_seconds, "evaluation": evaluation}
        found = reported_metrics((tags, estimated), known, **options) if tags else {}
        scores[title] = {
            metric.key: getattr(found.get(metric.output), metric.name, math.nan)
            for metric in METRICS
            if metric.output in outputs
        }
    return scores
