"""The metrics of an estimate against a reference, as text, JSON and CSV."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crnn_weak.config import EvaluationConfig
from crnn_weak.labels.events import Events
from crnn_weak.metrics.bootstrap import Interval, Intervals, bootstrap
from crnn_weak.metrics.counting import Counts, DetectionMetrics, Metrics, plain
from crnn_weak.metrics.event import count_events
from crnn_weak.metrics.official import (
    official_event_metrics,
    official_segment_metrics,
    official_tagging_metrics,
    sources,
)
from crnn_weak.metrics.ranking import AveragePrecision
from crnn_weak.metrics.segment import count_segments
from crnn_weak.metrics.tagging import count_tags

__all__ = ["METRICS", "Evaluation", "Metric", "Part", "evaluate_events", "evaluate_tags"]


class Metric(NamedTuple):
    """One metric of a run: its place in ``metrics.json``, and how tables, figures and pages show it."""

    name: str
    output: str
    heading: str
    scale: float = 100  # from the fraction to the unit shown: 100 for percent, 1 for a ratio
    digits: int = 1
    higher_is_better: bool = True
    in_table: bool = False  # a column of the results table
    published: str = ""  # field of `paper.PaperRow`; that of the challenge has "challenge_" before it

    def format(self, value: float | None, sign: str = "") -> str:
        """Return a fraction in the unit shown; "-" where it is None or NaN. `sign` "+" writes the sign always."""
        return "-" if value is None or math.isnan(value) else f"{value * self.scale:{sign}.{self.digits}f}"


#: What is recorded of every run, in the order of ``results.csv``.
METRICS = (
    Metric("precision", "tagging", "tag P", in_table=True, published="tagging_precision"),
    Metric("recall", "tagging", "tag R", in_table=True, published="tagging_recall"),
    Metric("f_score", "tagging", "tag F", in_table=True, published="tagging_f"),
    Metric("error_rate", "segment", "SED ER", 1, 2, False, in_table=True, published="error_rate"),
    Metric("f_score", "segment", "SED F", in_table=True, published="segment_f"),
    Metric("precision", "segment", "SED P"),
    Metric("recall", "segment", "SED R"),
    Metric("substitution_rate", "segment", "SED S", 1, 2, False),
    Metric("deletion_rate", "segment", "SED D", 1, 2, False),
    Metric("insertion_rate", "segment", "SED I", 1, 2, False),
    Metric("f_score", "event", "event F"),
    Metric("error_rate", "event", "event ER", 1, 2, False),
)

_TITLES = {"precision": "precision", "recall": "recall", "f_score": "F1", "error_rate": "ER"}
_RATE_TITLES = {
    "substitution_rate": "substitutions",
    "deletion_rate": "deletions",
    "insertion_rate": "insertions",
}


@dataclass(frozen=True)
class Part:
    """One family of metrics: ``segment``, ``event``, ``event_onset`` or ``tagging``."""

    name: str
    title: str
    metrics: Metrics
    intervals: Intervals | None = None

    @property
    def is_detection(self) -> bool:
        """True if the metrics include error rates."""
        return isinstance(self.metrics, DetectionMetrics)

    @property
    def rates(self) -> tuple[str, ...]:
        """Names of the overall rates."""
        return (*_TITLES, *_RATE_TITLES) if self.is_detection else ("precision", "recall", "f_score")


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one estimate.

    Attributes
    ----------
    header : dict
        Name and text of each line above the metrics: files, clips, operating point.
    parts : tuple of Part
    notes : tuple of str
        Remarks on the files.
    average_precisions : dict of str to AveragePrecision
        Metrics that need no threshold, by title.
    psds : dict of str to float
        PSDS1 and PSDS2, if computed.
    """

    header: Mapping[str, str]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    average_precisions: Mapping[str, AveragePrecision] = field(default_factory=dict)
    psds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; undefined values are None."""
        content: dict[str, Any] = {"header": dict(self.header), "notes": list(self.notes)}
        for part in self.parts:
            content[part.name] = part.metrics.to_dict()
            if part.intervals is not None:
                content[part.name]["intervals"] = part.intervals.to_dict()
        if self.average_precisions:
            content["average_precision"] = {name: ap.to_dict() for name, ap in self.average_precisions.items()}
        if self.psds:
            content["psds"] = plain(dict(self.psds))
        return content

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def rows(self) -> list[tuple[str, str, str, float, float, float]]:
        """Return (output, label, metric, value, low, high) in long form; the label is empty for overall metrics."""
        found: list[tuple[str, str, str, float, float, float]] = []

        def add(part: Part, label: str, values: Mapping[str, float], intervals: Mapping[str, Interval]) -> None:
            for name, value in values.items():
                interval = intervals.get(name, Interval(math.nan, math.nan))
                found.append((part.name, label, name, value, interval.low, interval.high))

        for part in self.parts:
            spans = part.intervals
            overall = {name: getattr(part.metrics, name) for name in part.rates}
            add(part, "", overall, spans.overall if spans else {})
            add(part, "class average", part.metrics.class_average, spans.class_average if spans else {})
            for label, row in part.metrics.class_wise.items():
                names = [*part.metrics.class_average, "n_reference", "n_estimated", "n_correct"]
                values = {name: getattr(row, name) for name in names}
                add(part, label, values, spans.class_wise.get(label, {}) if spans else {})
        for title, ap in self.average_precisions.items():
            values = {"": ap.mean, **ap.class_wise}
            found += [(title, label, "average_precision", value, math.nan, math.nan) for label, value in values.items()]
        found += [("psds", "", name, value, math.nan, math.nan) for name, value in self.psds.items()]
        return found

    def to_csv(self, *, class_wise: bool = False) -> str:
        """Return the rows as CSV; undefined values are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["output", "label", "metric", "value", "low", "high"])
        for output, label, metric, *values in self.rows():
            if class_wise or label in ("", "class average"):
                writer.writerow([output, label, metric, *("" if math.isnan(v) else f"{v:.10g}" for v in values)])
        return text.getvalue()

    def to_text(self, *, class_wise: bool = False) -> str:
        """Return the metrics for a terminal: F, precision and recall in percent, error rates as fractions."""
        width = max((len(name) for name in self.header), default=0)
        lines = [f"{name:<{width}}  {text}" for name, text in self.header.items()]
        lines += [f"note: {note}" for note in self.notes]
        for part in self.parts:
            lines += ["", part.title, *_overall_lines(part), *_average_lines(part)]
            if class_wise:
                lines += ["", *_class_table(part)]
        for title, ap in self.average_precisions.items():
            undefined = f" ({ap.n_undefined} classes undefined)" if ap.n_undefined else ""
            lines += ["", f"average precision (scikit-learn), {title}", f"  mean {_percent(ap.mean)}{undefined}"]
            lines += [f"  all pairs {_percent(ap.micro)}"]
            if class_wise:
                name_width = max(map(len, ap.class_wise), default=0)
                lines += [f"    {label:<{name_width}}  {_percent(v):>6}" for label, v in ap.class_wise.items()]
        if self.psds:
            lines += [
                "",
                "PSDS (sed_scores_eval)",
                "  " + "   ".join(f"{name.upper()} {v:.4f}" for name, v in self.psds.items()),
            ]
        return "\n".join(lines) + "\n"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _rate(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _with_interval(value: float, interval: Interval | None, style: Callable[[float], str]) -> str:
    text = style(value)
    return text if interval is None else f"{text} [{style(interval.low)}, {style(interval.high)}]"


def _overall_lines(part: Part) -> list[str]:
    spans = part.intervals.overall if part.intervals else {}
    shown = [
        f"{_TITLES[name]} {_with_interval(getattr(part.metrics, name), spans.get(name), _percent)}"
        for name in ("f_score", "precision", "recall")
    ]
    lines = ["  " + "   ".join(shown)]
    if part.is_detection:
        names = {"error_rate": "ER", **_RATE_TITLES}
        shown = [
            f"{title} {_with_interval(getattr(part.metrics, name), spans.get(name), _rate)}"
            for name, title in names.items()
        ]
        lines.append("  " + "   ".join(shown))
    return lines


def _average_lines(part: Part) -> list[str]:
    average, undefined = part.metrics.class_average, part.metrics.n_undefined
    n_classes = len(part.metrics.class_wise)
    spans = part.intervals.class_average if part.intervals else {}
    shown = []
    for name, style in (("f_score", _percent), ("precision", _percent), ("recall", _percent), ("error_rate", _rate)):
        if name in average:
            defined = f" ({n_classes - undefined[name]} of {n_classes})" if undefined[name] else ""
            shown.append(f"{_TITLES[name]} {_with_interval(average[name], spans.get(name), style)}{defined}")
    counted = any(undefined.get(name) for name in average)
    hint = "; in brackets: number of classes where defined" if counted else ""
    return [f"  class average ({n_classes} classes{hint}): " + "   ".join(shown)]


def _class_table(part: Part) -> list[str]:
    detection = part.is_detection
    head = ["class", "N ref", "N est", "precision", "recall", "F1"] + (["ER", "deletions", "insertions"] * detection)
    body = []
    for label, row in part.metrics.class_wise.items():
        cells = [label, str(row.n_reference), str(row.n_estimated)]
        cells += [_percent(value) for value in (row.precision, row.recall, row.f_score)]
        if detection:
            cells += [_rate(value) for value in (row.error_rate, row.deletion_rate, row.insertion_rate)]
        body.append(cells)
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = []
    for label, *cells in [head, *body]:
        right = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("    " + "  ".join([f"{label:<{widths[0]}}", *right]))
    return lines


def _intervals(count: Callable[[], Counts], classes: Sequence[str], n_resamples: int, seed: int) -> Intervals | None:
    return bootstrap(count(), classes=classes, n_resamples=n_resamples, seed=seed) if n_resamples else None


def evaluate_events(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = None,
    evaluation: EvaluationConfig | None = None,
    n_resamples: int = 0,
    seed: int = 0,
) -> tuple[Part, ...]:
    """Return segment-based metrics, and event-based ones with and without offsets, by sed_eval.

    Parameters
    ----------
    reference, estimated : mapping of clip id to sequence of Event
    classes : sequence of str
    clip_seconds : float, optional
        See `crnn_weak.metrics.segment.segment_metrics`.
    evaluation : EvaluationConfig, optional
        Segment length and collars.
    n_resamples : int
        Number of bootstrap resamples; 0 gives no intervals.
    seed : int
        Seed of the bootstrap.

    See Also
    --------
    evaluate_tags : The same for clip tags.
    """
    settings = evaluation or EvaluationConfig()
    collar, fraction, length = settings.collar_seconds, settings.offset_fraction, settings.segment_seconds
    by = sources()["detection"]
    options: dict[str, Any] = {"classes": classes, "clip_seconds": clip_seconds, "segment_seconds": length}
    parts = [
        Part(
            "segment",
            f"detection on segments of {length:g} s ({by})",
            official_segment_metrics(reference, estimated, **options),
            _intervals(lambda: count_segments(reference, estimated, **options)[1], classes, n_resamples, seed),
        )
    ]
    collars: dict[str, Any] = {"classes": classes, "collar_seconds": collar, "offset_fraction": fraction}
    for name, only, offsets in (
        ("event", False, f"offsets within max({collar:g} s, {100 * fraction:g} % of the event)"),
        ("event_onset", True, "onsets only"),
    ):
        count = functools.partial(_event_counts, reference, estimated, onset_only=only, **collars)
        parts.append(
            Part(
                name,
                f"detection of events, onsets within {collar:g} s, {offsets} ({by})",
                official_event_metrics(reference, estimated, onset_only=only, **collars),
                _intervals(count, classes, n_resamples, seed),
            )
        )
    return tuple(parts)


def _event_counts(reference: Events, estimated: Events, **options: Any) -> Counts:
    return count_events(reference, estimated, **options)[1]


def evaluate_tags(
    reference: Mapping[str, Iterable[str]],
    estimated: Mapping[str, Iterable[str]],
    *,
    classes: Sequence[str],
    n_resamples: int = 0,
    seed: int = 0,
) -> tuple[Part, ...]:
    """Return the metrics of tagging, by scikit-learn; see `evaluate_events` for the parameters."""
    return (
        Part(
            "tagging",
            f"tagging, micro average over clips and classes ({sources()['tagging']})",
            official_tagging_metrics(reference, estimated, classes=classes),
            _intervals(lambda: count_tags(reference, estimated, classes=classes)[1], classes, n_resamples, seed),
        ),
    )
