"""Yardsticks: what needs no system at all, against which every result is to be read.

``nothing``
    no event, no tag: the floor that a silent system scores.
``tags``
    the true tags, each over the whole clip: the ceiling of a system that tags perfectly and knows no times.
``one-class``
    one class for every clip, over its whole length: the most frequent tag, or a class that is named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from crnn_weak.errors import ConfigError, LabelError, nearest_names
from crnn_weak.labels.events import Event, Events
from crnn_weak.metrics.event import event_metrics
from crnn_weak.metrics.segment import segment_metrics
from crnn_weak.metrics.tagging import tagging_metrics

__all__ = ["YARDSTICKS", "event_yardstick", "most_frequent_class", "tag_yardstick", "tags_of_events", "yardsticks"]

YARDSTICKS = ("nothing", "tags", "one-class")


def _check(name: str) -> None:
    if name not in YARDSTICKS:
        raise ConfigError(f"yardstick {name!r} is not known. {nearest_names(name, YARDSTICKS)}")


def tags_of_events(events: Events, *, heard_only: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the tags that event lists imply.

    Parameters
    ----------
    events : mapping of clip id to sequence of Event
    heard_only : bool
        Leave out labels of zero-length rows only: the organisers' ``0 0`` rows say "tagged, but not heard".
    """
    return {
        clip: tuple(dict.fromkeys(row.label for row in rows if row.offset > row.onset or not heard_only))
        for clip, rows in events.items()
    }


def most_frequent_class(tags: Mapping[str, Iterable[str]], classes: Sequence[str]) -> str:
    """Return the class in most clips; among equals the one that comes first in `classes`."""
    counted = Counter(label for labels in tags.values() for label in set(labels))
    return max(classes, key=lambda label: counted[label])


def tag_yardstick(
    name: str,
    reference: Mapping[str, Iterable[str]],
    *,
    classes: Sequence[str],
    one_class: str | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return a yardstick's tags for the clips of the reference; ``tags`` is the reference itself."""
    _check(name)
    if name == "nothing":
        return {clip: () for clip in reference}
    if name == "tags":
        return {clip: tuple(labels) for clip, labels in reference.items()}
    chosen = one_class or most_frequent_class(reference, classes)
    if chosen not in classes:
        raise LabelError(f"label {chosen!r} is not in the class list. {nearest_names(chosen, classes)}")
    return {clip: (chosen,) for clip in reference}


def event_yardstick(
    name: str,
    reference: Events,
    *,
    classes: Sequence[str],
    tags: Mapping[str, Iterable[str]] | None = None,
    clip_seconds: float = 10.0,
    one_class: str | None = None,
) -> dict[str, tuple[Event, ...]]:
    """Return a yardstick's events for the clips of the reference.

    Parameters
    ----------
    name : {"nothing", "tags", "one-class"}
    reference : mapping of clip id to sequence of Event
    classes : sequence of str
    tags : mapping of clip id to iterable of str, optional
        The true tags; those that the events imply, ``0 0`` rows included, where it is not given.
    clip_seconds : float
        Length of the events that are made.
    one_class : str, optional
        For ``one-class``; the most frequent tag by default.
    """
    known = tags_of_events(reference) if tags is None else {clip: tuple(tags.get(clip, ())) for clip in reference}
    chosen = tag_yardstick(name, known, classes=classes, one_class=one_class)
    return {clip: tuple(Event(0.0, clip_seconds, label) for label in labels) for clip, labels in chosen.items()}


_FIGURES = {
    "tagging": ("precision", "recall", "f_score"),
    "segment": ("error_rate", "f_score", "precision", "recall"),
    "event": ("f_score", "error_rate"),
}


def yardsticks(
    tags: Mapping[str, Iterable[str]] | None,
    events: Events | None,
    *,
    classes: Sequence[str],
    clip_seconds: float = 10.0,
    segment_seconds: float = 1.0,
    one_class: str | None = None,
) -> dict[str, dict[tuple[str, str], float]]:
    """Score every yardstick.

    Parameters
    ----------
    tags : mapping of clip id to iterable of str, or None
        The true tags; those that the events imply, where they are not given.
    events : mapping of clip id to sequence of Event, or None
        The true events; without them there are no figures of detection.
    classes : sequence of str
    clip_seconds, segment_seconds : float
    one_class : str, optional
        The most frequent tag by default; its name stands in the yardstick's.

    Returns
    -------
    dict
        Yardstick -> {(output, metric): value}, as fractions; outputs are ``tagging``, ``segment`` and ``event``.
    """
    if tags is None:
        tags = tags_of_events(events or {})
    chosen = one_class or most_frequent_class(tags, classes)
    names = {"nothing": "nothing", "tags": "true tags, whole clip", "one-class": f"{chosen} everywhere"}
    result: dict[str, dict[tuple[str, str], float]] = {}
    for name, title in names.items():
        estimated_tags = tag_yardstick(name, tags, classes=classes, one_class=chosen)
        found = {"tagging": tagging_metrics(tags, estimated_tags, classes=classes).to_dict()}
        if events is not None:
            made = event_yardstick(
                name, events, classes=classes, tags=tags, clip_seconds=clip_seconds, one_class=chosen
            )
            segment = segment_metrics(
                events, made, classes=classes, clip_seconds=clip_seconds, segment_seconds=segment_seconds
            )
            found |= {"segment": segment.to_dict(), "event": event_metrics(events, made, classes=classes).to_dict()}
        result[title] = {
            (output, metric): math.nan if metrics[metric] is None else metrics[metric]
            for output, metrics in found.items()
            for metric in _FIGURES[output]
        }
    return result
