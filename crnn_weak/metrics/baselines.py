"""Baselines: the scores of trivial estimates, against which every result is compared.

``nothing``
    no event and no tag: the scores of a silent system.
``tags``
    the true tags, each over the whole clip: the best scores of a system with perfect tags and without times.
``one-class``
    one class in every clip, over its whole length: the most frequent tag, or a given class.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import ConfigError, LabelError, nearest_names
from crnn_weak.labels.events import Event, Events
from crnn_weak.metrics.counting import Metrics, plain
from crnn_weak.metrics.official import official_event_metrics, official_segment_metrics, official_tagging_metrics

__all__ = [
    "BASELINES",
    "BaselineScores",
    "baseline_events",
    "baseline_tags",
    "baselines_csv",
    "baselines_text",
    "from_plain",
    "most_frequent_class",
    "score_baselines",
    "tags_of_events",
    "to_plain",
]

BASELINES = ("nothing", "tags", "one-class")

#: Name of a baseline -> {(output, metric): value}.
BaselineScores = Mapping[str, Mapping[tuple[str, str], float]]

_METRICS = {
    "tagging": ("precision", "recall", "f_score"),
    "segment": ("error_rate", "f_score", "precision", "recall"),
    "event": ("f_score", "error_rate"),
}


def tags_of_events(events: Events) -> dict[str, tuple[str, ...]]:
    """Return the labels of each clip's events, those of zero-length rows included."""
    return {clip: tuple(dict.fromkeys(row.label for row in rows)) for clip, rows in events.items()}


def most_frequent_class(tags: Mapping[str, Iterable[str]], classes: Sequence[str]) -> str:
    """Return the class in most clips; of equally frequent ones, the first in `classes`.

    Raises
    ------
    LabelError
        There are no classes.
    """
    if not classes:
        raise LabelError("the reference has no label, so no class is the most frequent. Name one with --one-class.")
    counted = Counter(label for labels in tags.values() for label in set(labels))
    return max(classes, key=lambda label: counted[label])


def baseline_tags(
    name: str,
    reference: Mapping[str, Iterable[str]],
    *,
    classes: Sequence[str],
    one_class: str | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return the tags of a baseline for the clips of the reference.

    Parameters
    ----------
    name : {"nothing", "tags", "one-class"}
    reference : mapping of clip id to iterable of str
        The true tags, which are those of ``tags``.
    classes : sequence of str
    one_class : str, optional
        The class of ``one-class``; the most frequent tag by default.

    Raises
    ------
    ConfigError, LabelError
        An unknown name, a class that is not in `classes`.
    """
    if name not in BASELINES:
        raise ConfigError(f"baseline {name!r} is not known. {nearest_names(name, BASELINES)}")
    if name == "nothing":
        return {clip: () for clip in reference}
    if name == "tags":
        return {clip: tuple(labels) for clip, labels in reference.items()}
    chosen = one_class or most_frequent_class(reference, classes)
    if chosen not in classes:
        raise LabelError(f"label {chosen!r} is not in the class list. {nearest_names(chosen, classes)}")
    return {clip: (chosen,) for clip in reference}


def baseline_events(
    name: str,
    reference: Events,
    *,
    classes: Sequence[str],
    tags: Mapping[str, Iterable[str]] | None = None,
    clip_seconds: float = 10.0,
    one_class: str | None = None,
) -> dict[str, tuple[Event, ...]]:
    """Return the events of a baseline for the clips of the reference: its tags over the whole clip.

    Parameters
    ----------
    name : {"nothing", "tags", "one-class"}
    reference : mapping of clip id to sequence of Event
    classes : sequence of str
    tags : mapping of clip id to iterable of str, optional
        The true tags; by default those of the events, ``0 0`` rows included.
    clip_seconds : float
        Length of the events.
    one_class : str, optional
        See `baseline_tags`.
    """
    known = tags_of_events(reference) if tags is None else {clip: tuple(tags.get(clip, ())) for clip in reference}
    chosen = baseline_tags(name, known, classes=classes, one_class=one_class)
    return {clip: tuple(Event(0.0, clip_seconds, label) for label in labels) for clip, labels in chosen.items()}


def score_baselines(
    tags: Mapping[str, Iterable[str]] | None,
    events: Events | None,
    *,
    classes: Sequence[str],
    clip_seconds: float = 10.0,
    evaluation: EvaluationConfig | None = None,
    one_class: str | None = None,
) -> dict[str, dict[tuple[str, str], float]]:
    """Score every baseline, by scikit-learn and sed_eval.

    Parameters
    ----------
    tags : mapping of clip id to iterable of str, or None
        The true tags; by default those of the events.
    events : mapping of clip id to sequence of Event, or None
        The true events; without them there are no detection metrics.
    classes : sequence of str
        Without classes (a reference without labels) there is no ``one-class``, and all values are NaN.
    clip_seconds : float
    evaluation : EvaluationConfig, optional
        Segment length and collars; the defaults of the package without it.
    one_class : str, optional
        See `baseline_tags`.

    Returns
    -------
    dict
        Name of the baseline -> {(output, metric): value}, as fractions; NaN where undefined. Outputs are ``tagging``,
        ``segment`` and ``event``.
    """
    settings = evaluation or EvaluationConfig()
    if tags is None:
        tags = tags_of_events(events or {})
    outputs = ("tagging",) if events is None else ("tagging", "segment", "event")
    names = {"nothing": "nothing", "true tags, whole clip": "tags"}
    if classes:
        one_class = one_class or most_frequent_class(tags, classes)
        names[f"{one_class} everywhere"] = "one-class"
    result: dict[str, dict[tuple[str, str], float]] = {}
    for title, name in names.items():
        found: dict[str, Metrics] = {}
        if tags:
            estimated = baseline_tags(name, tags, classes=classes, one_class=one_class)
            found["tagging"] = official_tagging_metrics(tags, estimated, classes=classes)
        if events:
            whole = baseline_events(
                name, events, classes=classes, tags=tags, clip_seconds=clip_seconds, one_class=one_class
            )
            found["segment"] = official_segment_metrics(
                events, whole, classes=classes, clip_seconds=clip_seconds, segment_seconds=settings.segment_seconds
            )
            found["event"] = official_event_metrics(
                events, whole, classes=classes, collar_seconds=settings.collar_seconds,
                offset_fraction=settings.offset_fraction,
            )  # fmt: skip
        result[title] = {
            (output, metric): getattr(found.get(output), metric, math.nan)
            for output in outputs
            for metric in _METRICS[output]
        }
    return result


def to_plain(scores: BaselineScores) -> dict[str, dict[str, float | None]]:
    """Return plain values for JSON: name -> {"output/metric": value}; undefined values are None.

    See Also
    --------
    from_plain : The inverse.
    """
    return plain({name: {"/".join(key): value for key, value in row.items()} for name, row in scores.items()})


def from_plain(content: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[tuple[str, str], float]]:
    """Return the scores that `to_plain` wrote; keys without a metric are skipped."""
    scores: dict[str, dict[tuple[str, str], float]] = {}
    for name, row in content.items():
        keys = {key: key.partition("/") for key in row}
        scores[name] = {
            (output, metric): math.nan if row[key] is None else float(row[key])  # type: ignore[arg-type]
            for key, (output, _, metric) in keys.items()
            if metric
        }
    return scores


def baselines_text(scores: BaselineScores) -> str:
    """Return F and error rate of every baseline as a table; "-" where a value is undefined."""
    columns = [key for key in next(iter(scores.values())) if key[1] in ("f_score", "error_rate")]
    titles = [f"{output} {'F1' if metric == 'f_score' else 'ER'}" for output, metric in columns]
    width = max(map(len, scores))
    lines = [f"{'':<{width}}  " + "  ".join(titles)]
    for name, row in scores.items():
        cells = []
        for key, title in zip(columns, titles, strict=True):
            value = row[key]
            text = "-" if math.isnan(value) else f"{100 * value:.1f}" if key[1] == "f_score" else f"{value:.3f}"
            cells.append(f"{text:>{len(title)}}")
        lines.append(f"{name:<{width}}  " + "  ".join(cells))
    return "\n".join(lines) + "\n"


def baselines_csv(scores: BaselineScores) -> str:
    """Return the scores in long form as CSV; undefined values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["baseline", "output", "metric", "value"])
    for name, row in scores.items():
        writer.writerows([name, *key, "" if math.isnan(value) else f"{value:.10g}"] for key, value in row.items())
    return text.getvalue()
