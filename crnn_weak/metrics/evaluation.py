"""The metrics of one estimate, as text, JSON and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crnn_weak.config import EvaluationConfig
from crnn_weak.files import csv_text
from crnn_weak.labels.events import Events
from crnn_weak.metrics.bootstrap import Interval, Intervals, bootstrap
from crnn_weak.metrics.counting import Counts, Metrics, plain
from crnn_weak.metrics.event import count_events
from crnn_weak.metrics.ranking import AveragePrecision
from crnn_weak.metrics.sed_eval import (
    reported_event_metrics,
    reported_segment_metrics,
    reported_tagging_metrics,
    sources,
)
from crnn_weak.metrics.segment import count_segments
from crnn_weak.metrics.summary import LABELS, METRICS, find_metric
from crnn_weak.metrics.tagging import count_tags


@dataclass(frozen=True)
class Part:
    """The metrics of one output: ``segment``, ``event``, ``event_onset`` or ``tagging``."""

    name: str
    title: str
    metrics: Metrics
    intervals: Intervals | None = None

    def rows(self) -> list[tuple[str, Mapping[str, float], Mapping[str, Interval]]]:
        """Return label, values and intervals: overall (no label), class average, every class."""
        output = "segment" if self.metrics.is_detection else "tagging"
        overall = {metric.name: getattr(self.metrics, metric.name) for metric in METRICS if metric.output == output}
        spans = self.intervals
        rows: list[tuple[str, Mapping[str, float], Mapping[str, Interval]]] = [
            ("", overall, spans.overall if spans else {}),
            ("class average", self.metrics.class_average, spans.class_average if spans else {}),
        ]
        for label, values in self.metrics.class_wise.items():
            rows.append((label, values, spans.class_wise.get(label, {}) if spans else {}))
        return rows


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one estimate.

    `header` holds the lines above the metrics (files, clips, operating point), `notes` remarks on the files,
    `average_precisions` and `psds` the metrics without a threshold, by title.
    """

    header: Mapping[str, str]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    average_precisions: Mapping[str, AveragePrecision] = field(default_factory=dict)
    psds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return everything as JSON; undefined values are null."""
        content: dict[str, Any] = {"header": dict(self.header), "notes": list(self.notes)}
        for part in self.parts:
            content[part.name] = part.metrics.to_dict()
            if part.intervals is not None:
                content[part.name]["intervals"] = part.intervals.to_dict()
        if self.average_precisions:
            content["average_precision"] = {name: found.to_dict() for name, found in self.average_precisions.items()}
        if self.psds:
            content["psds"] = plain(dict(self.psds))
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self, *, class_wise: bool = False) -> str:
        """Return one line for each value and its interval as CSV; undefined values are empty."""
        missing = Interval(math.nan, math.nan)
        rows: list[tuple[str, str, str, float, Interval]] = []
        for part in self.parts:
            for label, values, spans in part.rows():
                rows += [(part.name, label, name, value, spans.get(name, missing)) for name, value in values.items()]
        for title, found in self.average_precisions.items():
            for label, value in {"": found.mean, **found.class_wise}.items():
                rows.append((title, label, "average_precision", value, missing))
        rows += [("psds", "", name, value, missing) for name, value in self.psds.items()]
        lines = []
        for output, label, metric, value, span in rows:
            if class_wise or label in ("", "class average"):
                numbers = ["" if math.isnan(number) else f"{number:.10g}" for number in (value, span.low, span.high)]
                lines.append([output, label, metric, *numbers])
        return csv_text(["output", "label", "metric", "value", "low", "high"], lines)

    def to_text(self, *, class_wise: bool = False) -> str:
        """Return the metrics for a terminal: F, precision and recall in percent, error rates as fractions."""
        width = max((len(name) for name in self.header), default=0)
        lines = [f"{name:<{width}}  {text}" for name, text in self.header.items()]
        lines += [f"note: {note}" for note in self.notes]
        for part in self.parts:
            lines += ["", part.title, *_overall_lines(part)]
            if class_wise:
                lines += ["", *_class_table(part)]
        for title, found in self.average_precisions.items():
            undefined = f" ({found.n_undefined} classes undefined)" if found.n_undefined else ""
            lines += ["", f"average precision (scikit-learn), {title}"]
            lines += [
                f"  mean {_text('f_score', found.mean)}{undefined}",
                f"  all pairs {_text('f_score', found.micro)}",
            ]
            if class_wise:
                name_width = max(map(len, found.class_wise), default=0)
                for label, value in found.class_wise.items():
                    lines.append(f"    {label:<{name_width}}  {_text('f_score', value):>6}")
        if self.psds:
            values = "   ".join(f"{name.upper()} {value:.4f}" for name, value in self.psds.items())
            lines += ["", "PSDS (sed_scores_eval)", f"  {values}"]
        return "\n".join(lines) + "\n"


def _text(name: str, value: float) -> str:
    """Return a rate as text, with one digit more than in a grid's table."""
    return find_metric("segment", name).format(value, more_digits=1)


def _overall_lines(part: Part) -> list[str]:
    """Return the overall rates and the class averages, with their intervals."""
    n_classes, n_undefined = len(part.metrics.class_wise), part.metrics.n_undefined
    (_, overall, overall_spans), (_, average, average_spans), *_ = part.rows()

    def shown(name: str, value: float, span: Interval | None) -> str:
        interval = "" if span is None else f" [{_text(name, span.low)}, {_text(name, span.high)}]"
        return f"{LABELS[name]} {_text(name, value)}{interval}"

    lines = []
    for is_error in (False, True):
        names = [name for name in LABELS if name in overall and name.endswith("_rate") == is_error]
        if names:
            lines.append("  " + "   ".join(shown(name, overall[name], overall_spans.get(name)) for name in names))
    averages = []
    for name in ("f_score", "precision", "recall", "error_rate"):
        if name in average:
            n_defined = f" ({n_classes - n_undefined[name]} of {n_classes})" if n_undefined[name] else ""
            averages.append(shown(name, average[name], average_spans.get(name)) + n_defined)
    hint = "; in brackets: number of classes where defined" if any(n_undefined.values()) else ""
    return [*lines, f"  class average ({n_classes} classes{hint}): {'   '.join(averages)}"]


def _class_table(part: Part) -> list[str]:
    names = part.metrics.class_average
    table = [["class", "N ref", "N est", *(LABELS[name] for name in names)]]
    for label, row in part.metrics.class_wise.items():
        counts = [str(row["n_reference"]), str(row["n_estimated"])]
        table.append([label, *counts, *(_text(name, row[name]) for name in names)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for label, *cells in table:
        right = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("    " + "  ".join([f"{label:<{widths[0]}}", *right]))
    return lines


def evaluate_events(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = None,
    evaluation: EvaluationConfig,
    n_resamples: int = 0,
    seed: int = 0,
) -> tuple[Part, ...]:
    """Return segment-based metrics, and event-based ones with and without offsets, by sed_eval.

    `n_resamples` above 0 adds bootstrap intervals.
    """

    def part(
        name: str, title: str, report: Callable[..., Metrics], count: Callable[..., Counts], **options: Any
    ) -> Part:
        metrics = report(reference, estimated, classes=classes, **options)
        intervals = None
        if n_resamples:
            counts = count(reference, estimated, classes=classes, **options)
            intervals = bootstrap(counts, classes=classes, n_resamples=n_resamples, seed=seed)
        return Part(name, f"{title} ({sources()['detection']})", metrics, intervals)

    collar, fraction, length = evaluation.collar_seconds, evaluation.offset_fraction, evaluation.segment_seconds
    lengths = {"clip_seconds": clip_seconds, "segment_seconds": length}
    collars = {"collar_seconds": collar, "offset_fraction": fraction}
    title = f"detection of events, onsets within {collar:g} s"
    offsets = f"offsets within max({collar:g} s, {100 * fraction:g} % of the event)"
    return (
        part("segment", f"detection on segments of {length:g} s", reported_segment_metrics, count_segments, **lengths),
        part("event", f"{title}, {offsets}", reported_event_metrics, count_events, **collars),
        part("event_onset", f"{title}, onsets only", reported_event_metrics, count_events, onset_only=True, **collars),
    )


def evaluate_tags(
    reference: Mapping[str, Iterable[str]],
    estimated: Mapping[str, Iterable[str]],
    *,
    classes: Sequence[str],
    n_resamples: int = 0,
    seed: int = 0,
) -> tuple[Part, ...]:
    """Return the metrics of tagging, by scikit-learn; `n_resamples` above 0 adds bootstrap intervals."""
    metrics = reported_tagging_metrics(reference, estimated, classes=classes)
    intervals = None
    if n_resamples:
        counts = count_tags(reference, estimated, classes=classes)
        intervals = bootstrap(counts, classes=classes, n_resamples=n_resamples, seed=seed)
    title = f"tagging, micro average over clips and classes ({sources()['tagging']})"
    return (Part("tagging", title, metrics, intervals),)
