"""Controls: estimates against which every result is compared.

A baseline is made from the reference alone: ``nothing`` (silence), ``tags`` (the true tags, each over the whole clip)
and ``one-class`` (the most frequent tag, or a given class, in every clip). An oracle replaces one part of a model's
estimate by the truth, to see what limits the rest: its tags (`with_true_tags`) or its times (`with_true_times`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import ConfigError, LabelError, nearest_names
from crnn_weak.files import csv_text
from crnn_weak.labels.events import Event, Events
from crnn_weak.metrics.sed_eval import reported_metrics
from crnn_weak.metrics.summary import METRICS
from crnn_weak.metrics.tagging import Tags

BASELINES = ("nothing", "tags", "one-class")

#: Name of a baseline -> {"output/metric": value}, values as fractions, NaN where undefined.
Scores = Mapping[str, Mapping[str, float]]


def tags_of_events(events: Events) -> dict[str, tuple[str, ...]]:
    """Return the labels of each clip's events, those of zero-length rows included."""
    return {clip: tuple(dict.fromkeys(row.label for row in rows)) for clip, rows in events.items()}


def most_frequent_class(tags: Tags, classes: Sequence[str]) -> str:
    """Return the class in most clips; of equally frequent ones, the first in `classes`."""
    if not classes:
        raise LabelError("the reference has no label, so no class is the most frequent. Name one with --one-class.")
    counted = Counter(label for labels in tags.values() for label in set(labels))
    return max(classes, key=lambda label: counted[label])


def baseline_tags(
    name: str, reference: Tags, *, classes: Sequence[str], one_class: str | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the tags of one of `BASELINES` for the clips of the reference."""
    if name not in BASELINES:
        raise ConfigError(f"baseline {name!r} is not known. {nearest_names(name, BASELINES)}")
    if name == "nothing":
        return {clip: () for clip in reference}
    if name == "tags":
        return {clip: tuple(labels) for clip, labels in reference.items()}
    label = one_class or most_frequent_class(reference, classes)
    if label not in classes:
        raise LabelError(f"label {label!r} is not in the class list. {nearest_names(label, classes)}")
    return {clip: (label,) for clip in reference}


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
    clip_seconds: float = 10.0,
    evaluation: EvaluationConfig | None = None,
    one_class: str | None = None,
) -> dict[str, dict[str, float]]:
    """Score every baseline, by scikit-learn and sed_eval: its title -> {"output/metric": value}.

    Without `tags`, those of the events are taken; without `events` detection is not scored. Without `classes`
    (a reference without labels) there is no ``one-class``, and values are NaN.
    """
    tags = tags_of_events(events or {}) if tags is None else tags
    names = {"nothing": "nothing", "true tags, whole clip": "tags"}
    if classes:
        one_class = one_class or most_frequent_class(tags, classes)
        names[f"{one_class} everywhere"] = "one-class"
    outputs = ("tagging",) if events is None else ("tagging", "segment", "event")
    scores: dict[str, dict[str, float]] = {}
    for title, name in names.items():
        found = {}
        if tags:
            estimated = baseline_tags(name, tags, classes=classes, one_class=one_class)
            known = None
            if events:
                own = {clip: estimated.get(clip, ()) for clip in events}
                known = (events, whole_clip(own, clip_seconds))
            found = reported_metrics(
                (tags, estimated), known, classes=classes, clip_seconds=clip_seconds,
                evaluation=evaluation or EvaluationConfig(),
            )  # fmt: skip
        scores[title] = {
            metric.key: getattr(found.get(metric.output), metric.name, math.nan)
            for metric in METRICS
            if metric.output in outputs
        }
    return scores


def baselines_text(scores: Scores) -> str:
    """Return F and error rate of every baseline as a table; "-" where a value is undefined."""
    shown = [
        metric
        for metric in METRICS
        if metric.name in ("f_score", "error_rate") and metric.key in next(iter(scores.values()))
    ]
    width = max(map(len, scores))
    lines = [f"{'':<{width}}  " + "  ".join(f"{metric.heading:>7}" for metric in shown)]
    for name, row in scores.items():
        cells = [f"{metric.format(row[metric.key], more_digits=1):>{max(7, len(metric.heading))}}" for metric in shown]
        lines.append(f"{name:<{width}}  " + "  ".join(cells))
    return "\n".join(lines) + "\n"


def baselines_csv(scores: Scores) -> str:
    """Return the scores in long form as CSV; undefined values are empty."""
    rows = [
        [name, *key.split("/"), "" if math.isnan(value) else f"{value:.10g}"]
        for name, row in scores.items()
        for key, value in row.items()
    ]
    return csv_text(["baseline", "output", "metric", "value"], rows)
