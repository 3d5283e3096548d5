"""Controls, estimates that every result is compared with; docs/which-and-when.md says what each can refute.

A *baseline* is made from the reference alone. An *oracle* replaces the tags of a model's estimate by the truth, to see
what limits the rest. A *rotated* or a *whole-clip* estimate keeps its classes and loses its times.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import DataError
from crnn_weak.labels.events import Event, Events
from crnn_weak.labels.rolls import n_segments
from crnn_weak.metrics.counting import (
    Scoring,
    Tags,
    count_rolls,
    count_segments,
    event_tables,
    segment_rolls,
    segments_per_clip,
)
from crnn_weak.metrics.sed_eval import reported_metrics
from crnn_weak.metrics.summary import METRICS, Counts, Metrics, plain

_SHOWN = ("f_score", "error_rate")


def whole_clip(tags: Tags, clip_seconds: float) -> dict[str, tuple[Event, ...]]:
    """Return each clip's tags as events over the whole clip."""
    return {clip: tuple(Event(0.0, clip_seconds, label) for label in labels) for clip, labels in tags.items()}


def with_true_tags(strong: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return frame scores (n_clips, n_frames, n_classes), 0 where `tags`, bool (n_clips, n_classes), are False."""
    return np.where(tags[:, None, :], strong, strong.dtype.type(0))


def count_rotated(reference: np.ndarray, estimated: np.ndarray, n_valid: np.ndarray) -> Counts:
    """Return the mean counts of rolls (n_clips, n_segments, n_classes) over all n_valid (n_clips,) rotations, exact."""
    # All classes of a clip rotate together. Every segment of the truth meets every one of the estimate equally often.
    n_reference, n_estimated = reference.sum(axis=1), estimated.sum(axis=1)
    length = np.maximum(n_valid, 1)
    n_correct = n_reference * n_estimated / length[:, None]
    levels = np.arange(reference.shape[2] + 1)
    # Segments by their number of classes, shape (n_clips, n_classes + 1).
    true, found = ((roll.sum(axis=2)[..., None] == levels).sum(axis=1) for roll in (reference, estimated))
    found[:, 0] -= estimated.shape[1] - n_valid
    # A deletion is a pair of segments with more and with fewer classes.
    deletions = ((true @ np.maximum(0, levels[:, None] - levels)) * found).sum(axis=1) / length
    substitutions = n_reference.sum(axis=1) - n_correct.sum(axis=1) - deletions
    insertions = n_estimated.sum(axis=1) - n_correct.sum(axis=1) - substitutions
    return Counts(n_reference, n_estimated, n_correct, np.stack([substitutions, deletions, insertions], axis=1))


def count_controls(reference: Events, estimated: Events, scoring: Scoring) -> dict[str, Counts]:
    """Count the segments of an estimate that is ``rotated``, or has its classes over the ``whole_clip``."""
    classes, evaluation, clip_seconds, block_seconds = scoring
    block_seconds = block_seconds or clip_seconds
    if block_seconds is None:
        raise DataError("rotation needs the length of a clip: give clip_seconds or block_seconds.")
    seconds, n_clips, tables = evaluation.segment_seconds, len(reference), event_tables(reference, estimated, classes)
    n_total = segments_per_clip(tables, clip_seconds, seconds)
    length = max(1, min(n_segments(block_seconds, seconds), n_total))
    n_recorded = np.full(n_clips, n_total if clip_seconds else 0)
    for table in tables if clip_seconds is None else ():
        np.maximum.at(n_recorded, table.clip, np.ceil(table.offset / seconds).astype(np.int64))
    starts = np.arange(0, max(n_total, 1), length)
    shape = {"n_clips": n_clips, "n_segments": len(starts) * length, "n_classes": len(classes)}
    parts: dict[str, list[Counts]] = {"rotated": [], "whole_clip": []}
    for clips, *rolls in segment_rolls(tables, segment_seconds=seconds, **shape):
        for roll in rolls:
            roll[:, n_total:] = False
        true, found = (
            roll.reshape(len(roll) * len(starts), length, len(classes))  # blocks in the place of clips
            for roll in rolls
        )
        n_valid = np.clip(n_recorded[clips, None] - starts, 0, length).ravel()
        is_valid = np.arange(length) < n_valid[:, None]
        parts["rotated"].append(count_rotated(true, found, n_valid))
        parts["whole_clip"].append(count_rolls(true, found.any(axis=1, keepdims=True) & is_valid[..., None]))

    def of_clips(arrays: Sequence[np.ndarray]) -> np.ndarray:
        blocks = np.concatenate(arrays)
        return blocks.reshape(n_clips, len(starts), blocks.shape[1]).sum(axis=1)

    return {name: Counts(*map(of_clips, zip(*counts, strict=True))) for name, counts in parts.items()}


def control_metrics(reference: Events, estimated: Events, scoring: Scoring) -> dict[str, Metrics]:
    """Return the metrics of the ``estimate`` itself and of `count_controls`."""
    counts = {"estimate": count_segments(reference, estimated, scoring)}
    counts |= count_controls(reference, estimated, scoring)
    return {name: Metrics.of_counts(of_clips, scoring.classes) for name, of_clips in counts.items()}


def score_controls(reference: Events, estimated: Events, scoring: Scoring) -> dict[str, Any]:
    """Return ``rotated``, ``timing_gain`` (the estimate minus rotated) and ``whole_clip``, as in ``metrics.json``."""
    found = control_metrics(reference, estimated, scoring)
    own, rotated = found.pop("estimate"), found["rotated"]
    gain: dict[str, Any] = {name: getattr(own, name) - getattr(rotated, name) for name in _SHOWN}
    gain["class_wise"] = {
        label: {name: row[name] - rotated.class_wise[label][name] for name in _SHOWN}
        for label, row in own.class_wise.items()
    }
    return {name: metrics.to_dict() for name, metrics in found.items()} | {"timing_gain": plain(gain)}


def baseline_tags(tags: Tags | None, events: Events | None, classes: Sequence[str]) -> dict[str, Tags]:
    """Return the tags of the baselines: nothing, the true tags, and the best single class in every clip."""
    if tags is None:
        tags = {clip: tuple(dict.fromkeys(row.label for row in rows)) for clip, rows in (events or {}).items()}
    estimates: dict[str, Tags] = {"nothing": {}, "true tags, whole clip": tags}
    # The best class has the most tags; where another has more active segments, both are listed.
    counted = [Counter(label for labels in tags.values() for label in set(labels))]
    if events:
        n_active = count_segments(events, {}, Scoring(classes, EvaluationConfig(), None)).n_reference.sum(axis=0)
        counted += [Counter(dict(zip(classes, n_active.tolist(), strict=True)))] if n_active.any() else []
    for counts in counted if classes else ():
        best = max(classes, key=lambda label: counts[label])  # of equally frequent ones the first
        estimates[f"{best} everywhere"] = dict.fromkeys(tags, (best,))
    return estimates


def controls_by_title(
    reference: Events, estimated: Events, scoring: Scoring, *, tags: Tags | None = None
) -> dict[str, dict[str, float]]:
    """Return segment F and error rate of an estimate and its controls, counted: title -> {"segment/metric": value}.

    `tags` are the true ones, by default those of the events.
    """
    metrics = control_metrics(reference, estimated, scoring)
    metrics["own classes, whole clip"] = metrics.pop("whole_clip")
    if scoring.clip_seconds is not None:
        for title, found in baseline_tags(tags, reference, scoring.classes).items():
            counts = count_segments(reference, whole_clip(found, scoring.clip_seconds), scoring)
            metrics[title] = Metrics.of_counts(counts, scoring.classes)
    rows = {title: {f"segment/{name}": getattr(row, name) for name in _SHOWN} for title, row in metrics.items()}
    own, rotated = rows.pop("estimate"), rows.pop("rotated")
    gain = {key: value - rotated[key] for key, value in own.items()}
    return {"estimate": own, "rotated": rotated, "timing gain": gain} | rows


def score_baselines(tags: Tags | None, events: Events | None, scoring: Scoring) -> dict[str, dict[str, float]]:
    """Score the estimates of `baseline_tags`, over the whole clip: title -> {"output/metric": fraction or NaN}."""
    assert scoring.clip_seconds is not None  # a tag fills its clip
    estimates = baseline_tags(tags, events, scoring.classes)
    true_tags = estimates["true tags, whole clip"]
    outputs = ("tagging",) if events is None else ("tagging", "segment", "event")
    found: dict[str, dict[str, Metrics]] = {title: {} for title in estimates}
    for title, estimated in estimates.items() if true_tags else ():
        pair = None
        if events:
            pair = (events, whole_clip({clip: estimated.get(clip, ()) for clip in events}, scoring.clip_seconds))
        found[title] = reported_metrics((true_tags, estimated), pair, scoring)
    if events:
        rotated = count_controls(events, events, scoring)["rotated"]
        found["true events, rotated"] = {"segment": Metrics.of_counts(rotated, scoring.classes)}
    shown = [metric for metric in METRICS if metric.output in outputs]
    return {
        title: {metric.key: getattr(by_output.get(metric.output), metric.name, math.nan) for metric in shown}
        for title, by_output in found.items()
    }
