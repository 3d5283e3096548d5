"""The metrics of one estimate, and of baselines, as text, JSON and CSV."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crnn_weak.files import csv_text
from crnn_weak.labels.events import Events
from crnn_weak.metrics import sed_eval
from crnn_weak.metrics.counting import Scoring, Tags, count_events, count_segments, count_tags
from crnn_weak.metrics.summary import METRICS, Interval, Intervals, Metrics, bootstrap, defined_mean, find_metric, plain

# Names of rates, in texts.
LABELS = {
    "f_score": "F-score",
    "precision": "precision",
    "recall": "recall",
    "error_rate": "error rate",
    "substitution_rate": "substitutions",
    "deletion_rate": "deletions",
    "insertion_rate": "insertions",
}


_RANKINGS = {"average_precision": "average precision", "roc_auc": "ROC AUC"}
#: Key in ``metrics.json`` -> whose within-clip AUC it is.
AREAS = {"within_clip": "of the frame scores", "loudness": "of the frames' loudness, without a class"}


@dataclass(frozen=True)
class Part:
    """The metrics of one output: ``segment``, ``event``, ``event_onset`` or ``tagging``."""

    name: str
    title: str
    metrics: Metrics
    intervals: Intervals | None = None

    def rows(self) -> list[tuple[str, Mapping[str, float], Mapping[str, Interval]]]:
        """Return label, values and intervals: overall (no label), class average, every class."""
        metrics, spans = self.metrics, self.intervals or Intervals()
        names = [name for name in LABELS if name in metrics.class_average or metrics.n_substitutions is not None]
        overall = {name: getattr(metrics, name) for name in names}
        by_class = [(label, row, spans.class_wise.get(label, {})) for label, row in metrics.class_wise.items()]
        return [("", overall, spans.overall), ("class average", metrics.class_average, spans.class_average), *by_class]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one estimate, and what they are compared with."""

    header: Mapping[str, str]  # lines above the metrics
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()  # on the files
    controls: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # as in `score_baselines`
    areas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of `within_clip_auc`, by key of `AREAS`
    rankings: Sequence[tuple[str, str, Mapping[str, float]]] = ()  # name, title, value of each class
    psds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return everything as JSON; undefined values are null."""
        content: dict[str, Any] = {}
        for part in self.parts:
            content[part.name] = part.metrics.to_dict()
            if part.intervals is not None:
                content[part.name]["intervals"] = part.intervals
        for name, title, found in self.rankings:
            mean, n_undefined = defined_mean(found.values())
            entry = {"class_wise": found, "mean": mean, "n_undefined": n_undefined}
            content.setdefault(name, {})[title] = entry
        content |= self.areas
        for name in ("controls", "psds"):
            content |= {name: getattr(self, name)} if getattr(self, name) else {}
        content = {"header": self.header, "notes": self.notes, **plain(content)}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def to_csv(self, *, class_wise: bool = False) -> str:
        """Return one line for each value and its interval as CSV; undefined values are empty."""
        missing = Interval(math.nan, math.nan)
        rows: list[tuple[str, str, str, float, Interval]] = []
        for part in self.parts:
            for label, values, spans in part.rows():
                rows += [(part.name, label, name, value, spans.get(name, missing)) for name, value in values.items()]
        for title, scores in self.controls.items():
            rows += [(title, "", find_metric(*key.split("/")).name, value, missing) for key, value in scores.items()]
        for name, area in self.areas.items():
            value, low, high = _area(area)
            rows.append((name, "", "auc", value, Interval(low, high)))
        for name, title, found in self.rankings:
            for label, value in {"": defined_mean(found.values())[0], **found}.items():
                rows.append((title, label, name, value, missing))
        rows += [("psds", "", name, value, missing) for name, value in self.psds.items()]
        lines = []
        for output, label, name, value, span in rows:
            if class_wise or label in ("", "class average"):
                lines.append([output, label, name, *map(_csv_number, (value, span.low, span.high))])
        return csv_text(["output", "label", "metric", "value", "low", "high"], lines)

    def to_text(self, *, class_wise: bool = False) -> str:
        """Return the metrics for a terminal: F, precision and recall in percent, error rates as fractions."""
        width = max((len(name) for name in self.header), default=0)
        lines = [f"{name:<{width}}  {text}" for name, text in self.header.items()]
        lines += [f"note: {note}" for note in self.notes]
        for part in self.parts:
            lines += ["", part.title, *_aligned(_overall_table(part), indent=2)]
            if class_wise:
                names = part.metrics.class_average
                table = [["class", "N ref", "N est", *(LABELS[name] for name in names)]]
                for label, row in part.metrics.class_wise.items():
                    rates = [_text(name, row[name]) for name in names]
                    table.append([label, str(row["n_reference"]), str(row["n_estimated"]), *rates])
                lines += ["", *_aligned(table, indent=4)]
        if self.controls:
            lines += ["", "controls, segments", *_aligned(_scores_table(self.controls), indent=2)]
        lines += ["", "within-clip AUC (0.5: no time)"] if self.areas else []
        for name, area in self.areas.items():
            value, low, high = map(functools.partial(find_metric(name, "auc").format, more_digits=1), _area(area))
            lines.append(f"  {value} [{low}, {high}] {AREAS[name]}, {area['n_pairs']:,} pairs of clip and class")
        for name, title, found in self.rankings:
            mean, n_undefined = defined_mean(found.values())
            undefined = f" ({n_undefined} classes undefined)" if n_undefined else ""
            heading = f"{_RANKINGS[name]} (scikit-learn), {title}"
            lines += ["", heading, f"  mean {_text('f_score', mean)}{undefined}"]
            if class_wise:
                lines += _aligned([[name, _text("f_score", value)] for name, value in found.items()], indent=4)
        if self.psds:
            values = "   ".join(f"{name.upper()} {value:.4f}" for name, value in self.psds.items())
            lines += ["", "PSDS (sed_scores_eval)", f"  {values}"]
        return "\n".join(lines) + "\n"


def _area(found: Mapping[str, Any]) -> list[float]:
    """Return the mean and the ends of its interval; NaN where they are undefined."""
    return [math.nan if found[name] is None else found[name] for name in ("auc", "low", "high")]


def _text(name: str, value: float) -> str:
    """Return a rate as text, with one digit more than in a grid's table."""
    return find_metric("segment", name).format(value, more_digits=1)


def _csv_number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"


def _aligned(table: Sequence[Sequence[str]], indent: int = 0) -> list[str]:
    """Return the lines of a table, its first column aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for name, *cells in table:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append((" " * indent + "  ".join([name.ljust(widths[0]), *right])).rstrip())
    return lines


def _overall_table(part: Part) -> list[list[str]]:
    """Return the overall rates and the class averages, with their intervals, and the number of classes averaged."""
    (_, overall, overall_spans), (_, average, average_spans), *_ = part.rows()

    def shown(name: str, values: Mapping[str, float], spans: Mapping[str, Interval]) -> str:
        if name not in values:
            return ""
        interval = f" [{_text(name, spans[name].low)}, {_text(name, spans[name].high)}]" if name in spans else ""
        return _text(name, values[name]) + interval

    n_classes = len(part.metrics.class_wise)
    table = [["", "overall", "class average", "classes"]]
    for name, title in LABELS.items():
        if name in overall:
            n_defined = f"{n_classes - part.metrics.n_undefined[name]} of {n_classes}" if name in average else ""
            cells = [shown(name, overall, overall_spans), shown(name, average, average_spans)]
            table.append([title, *cells, n_defined])
    return table


def baselines_table(scores: Mapping[str, Mapping[str, float]], file_format: str = "text") -> str:
    """Return the scores of `score_baselines` as ``json`` or ``csv``, or F and error rates as ``text``."""
    if file_format == "json":
        return json.dumps(plain(scores), indent=1, ensure_ascii=False) + "\n"
    keys = list(next(iter(scores.values())))
    if file_format == "csv":
        return csv_text(["baseline", *keys], ([name, *map(_csv_number, row.values())] for name, row in scores.items()))
    return "\n".join(_aligned(_scores_table(scores))) + "\n"


def _scores_table(scores: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return F and error rates by title, the keys those of the first row."""
    keys = next(iter(scores.values()))
    shown = [metric for metric in METRICS if metric.name in ("f_score", "error_rate") and metric.key in keys]
    table = [["", *(metric.heading for metric in shown)]]
    for name, row in scores.items():
        sign = "+" if name == "timing gain" else ""
        table.append([name, *(metric.format(row[metric.key], sign, more_digits=1) for metric in shown)])
    return table


def evaluate(
    scoring: Scoring,
    *,
    tags: tuple[Tags, Tags] | None = None,  # reference and estimate
    events: tuple[Events, Events] | None = None,
    n_resamples: int = 0,  # 0: no bootstrap
    seed: int = 0,
) -> tuple[Part, ...]:
    """Return the metrics of tags, and of events: on segments, and one by one with and without offsets."""
    classes, evaluation, clip_seconds, _ = scoring
    options: dict[str, Any] = {"classes": classes, "evaluation": evaluation}
    parts = []

    def add(name: str, title: str, metrics: Metrics, count: Callable[[], Any]) -> None:
        intervals = None
        if n_resamples:
            intervals = bootstrap(count(), classes=classes, n_resamples=n_resamples, seed=seed)
        parts.append(Part(name, title, metrics, intervals))

    if tags is not None:
        title = f"tagging, micro average over clips and classes ({sed_eval.sources()['tagging']})"
        metrics = sed_eval.reported_tagging_metrics(*tags, classes=classes)
        add("tagging", title, metrics, functools.partial(count_tags, *tags, classes=classes))
    if events is not None:
        library = sed_eval.sources()["detection"]
        title = f"detection on segments of {evaluation.segment_seconds:g} s ({library})"
        metrics = sed_eval.reported_segment_metrics(*events, clip_seconds=clip_seconds, **options)
        add("segment", title, metrics, functools.partial(count_segments, *events, scoring))
        collar, fraction = evaluation.collar_seconds, evaluation.offset_fraction
        onsets = f"detection of events, onsets within {collar:g} s"
        offsets = f"offsets within max({collar:g} s, {100 * fraction:g} % of the event)"
        for name, ends in (("event", offsets), ("event_onset", "onsets only")):
            onset_only = name == "event_onset"
            metrics = sed_eval.reported_event_metrics(*events, onset_only=onset_only, **options)
            count = functools.partial(count_events, *events, scoring, onset_only=onset_only)
            add(name, f"{onsets}, {ends} ({library})", metrics, count)
    return tuple(parts)
