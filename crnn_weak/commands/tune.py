"""``crnn-weak tune``: choose a run's operating point on its validation clips, and store it with the run."""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from crnn_weak import cli
from crnn_weak.errors import ConfigError, DataError

if TYPE_CHECKING:
    from crnn_weak.detection.postprocessing import OperatingPoint
    from crnn_weak.runs.scores import ScoredRun

log = logging.getLogger(__name__)

# Validation clips of a class, below which a threshold of its own is doubtful.
_FEW_CLIPS = 5

_EPILOG = """examples:
  crnn-weak tune runs/train/street-quick-max_dense --metric segment_f1 --per-class --median 0 0.3 0.6
  crnn-weak tune runs/train/street-quick-max_dense --metric tagging_f1
  crnn-weak evaluate runs/train/street-quick-max_dense

The choice is stored in the run's operating_point.json, which `crnn-weak evaluate` and `crnn-weak detect` use from then
on. Tuning for tags and tuning for events keep each other's choices; delete the file to start again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    metrics = "segment_f1, error_rate, event_f1 or tagging_f1"
    parser.add_argument("--metric", required=True, metavar="NAME", help=metrics)
    parser.add_argument("--per-class", action="store_true", help="a threshold (and filters) for each class; F1 only")
    add = parser.add_argument_group("search").add_argument
    add("--candidates", type=int, default=99, metavar="N", help="thresholds, evenly spaced in (0, 1)")
    seconds: dict[str, Any] = {"type": float, "nargs": "+", "metavar": "S"}
    add("--median", dest="median_seconds", help="median filters to choose among, seconds", **seconds)
    add("--min-duration", dest="min_duration_seconds", help="minimum durations", **seconds)
    add("--min-gap", dest="min_gap_seconds", help="minimum gaps", **seconds)
    add = parser.add_argument_group("fixed while searching").add_argument
    add("--low-threshold", type=float, metavar="SCORE", help="hysteresis with this low threshold")
    add("--min-tags", type=int, metavar="N", help="0, or 1: tag at least a clip's likeliest class")
    add("--weak-gate", action=argparse.BooleanOptionalAction, help="events only where the clip is tagged")
    parser.add_argument("--overwrite", action="store_true", help="replace a former choice for the same output")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    from crnn_weak.detection.tuning import TUNING_METRICS
    from crnn_weak.files import lock
    from crnn_weak.runs.scores import open_scores

    if not 1 <= args.candidates <= 10_000:
        raise ConfigError(f"--candidates {args.candidates}: expected a whole number from 1 to 10000.")
    needs_events = TUNING_METRICS.get(args.metric) == "events"
    scored = open_scores(args.run, "validation")
    scored = scored.timed() if needs_events else scored
    if needs_events and scored.events is None:
        raise DataError(
            f"{args.run}: the validation clips have no strong labels, so {args.metric} cannot be computed. "
            "tagging_f1 needs tags only."
        )
    with lock(scored.run.path, wait=True):  # another process may tune it for another output
        _tune(args, scored)
    return 0


def _tune(args: argparse.Namespace, scored: ScoredRun) -> None:
    import numpy as np

    from crnn_weak.detection.postprocessing import StoredPoint, TuningRecord, stored_point
    from crnn_weak.detection.tuning import FILTERS, TUNING_METRICS, tune

    labels = TUNING_METRICS.get(args.metric)
    path, classes = scored.run.files.operating_point, scored.scores.classes
    start, source = scored.run.operating_point(classes)
    stored, tuned = stored_point(scored.run.path, classes), {}
    if stored is not None:
        tuned = {name: record for name, record in stored.tuned.items() if TUNING_METRICS.get(name) != labels}
        former = sorted(stored.tuned.keys() - tuned.keys())
        if former and not args.overwrite:
            raise DataError(f"{path}: tuned for {', '.join(former)}; give --overwrite to choose again.")
    if args.low_threshold is not None:
        thresholds = np.maximum(args.low_threshold, start.thresholds)
        start = start.replace(low_thresholds=args.low_threshold, thresholds=thresholds)
    for name in ("min_tags", "weak_gate"):
        if getattr(args, name) is not None:
            start = start.replace(**{name: getattr(args, name)})
    candidates = np.arange(1, args.candidates + 1) / (args.candidates + 1)
    filters = {name: getattr(args, name) for name in FILTERS if getattr(args, name)}
    point, before, after, n_choices = tune(
        scored.scores, scored.reference, metric=args.metric, per_class=args.per_class, operating_point=start,
        candidates=candidates, filters=filters, show_progress=cli.shows_progress(args),
    )  # fmt: skip
    if math.isnan(before):
        raise DataError(
            f"{args.run}: {args.metric} is undefined on its validation clips: nothing is labeled. Add labeled clips, "
            "or hold out more with training.validation_fraction."
        )
    scale, unit = (1, "") if args.metric == "error_rate" else (100, " %")
    each = " for each class" if args.per_class else ""
    known = " whose events are known" if labels == "events" else ""
    print(f"run        {scored.run.name}, {len(scored.scores):,} validation clips{known}")
    print(f"before     {args.metric} {scale * before:.3f}{unit}: {start.summary()} ({source})")
    print(f"after      {args.metric} {scale * after:.3f}{unit}: {point.summary()}")
    print(f"search     the best of {n_choices:,} choices{each}, on validation clips only")
    if args.per_class:
        _print_classes(point, tags=args.metric == "tagging_f1")
        _warn_of_few(scored)
    tuned[args.metric] = TuningRecord(
        per_class=args.per_class, before=before, after=after, n_clips=len(scored.scores), n_choices=n_choices
    )
    StoredPoint(operating_point=point, tuned=tuned).write(path)
    cli.say(f"stored     {path}", f"now        crnn-weak evaluate {args.run}")


def _warn_of_few(scored: ScoredRun) -> None:
    n_clips = Counter(label for tags in scored.tags.values() for label in tags)
    few = [f"{label} ({n_clips[label]})" for label in scored.scores.classes if n_clips[label] < _FEW_CLIPS]
    if few:
        log.warning("fewer than %d validation clips: %s. Tune without --per-class.", _FEW_CLIPS, ", ".join(few))


def _print_classes(point: OperatingPoint, *, tags: bool) -> None:
    width = max(map(len, point.classes))
    shown = {"threshold": point.thresholds, "low threshold": point.low_thresholds, "median (s)": point.median_seconds}
    shown |= {"gap (s)": point.min_gap_seconds, "duration (s)": point.min_duration_seconds}
    if tags:
        shown = {"tag threshold": point.tag_thresholds}
    for index, label in enumerate(point.classes):
        values = [f"{name} {row[index]:.3g}" for name, row in shown.items() if any(row)]
        print(f"  {label:<{width}}  {'  '.join(values)}")
