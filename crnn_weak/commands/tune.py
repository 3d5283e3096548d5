"""``crnn-weak tune``: choose a run's operating point on its validation clips, and store it with the run."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from crnn_weak import cli
from crnn_weak.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from crnn_weak.detection.operating_point import OperatingPoint, StoredPoint
    from crnn_weak.detection.tuning import Tuning
    from crnn_weak.runs.scores import ScoredRun

_EPILOG = """examples:
  crnn-weak tune runs/train/street-quick-max_dense --metric segment_f1 --per-class --median 0 0.3 0.6
  crnn-weak tune runs/train/street-quick-max_dense --metric tagging_f1
  crnn-weak evaluate runs/train/street-quick-max_dense

Only validation clips are used. The result is stored in the run's operating_point.json, which `crnn-weak evaluate` and
`crnn-weak detect` use from then on. Tuning for tags and tuning for events keep each other's choices."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    metrics = "segment_f1, error_rate, event_f1 or tagging_f1"
    parser.add_argument("--metric", required=True, metavar="NAME", help=metrics)
    parser.add_argument("--per-class", action="store_true", help="a threshold (and filters) for each class; F1 only")
    search = parser.add_argument_group("search")
    count = "thresholds, evenly spaced in (0, 1)"
    search.add_argument("--candidates", type=_candidates, default=99, metavar="N", help=count)
    search.add_argument("--median", type=float, nargs="+", metavar="S", help="median filters to choose among, seconds")
    search.add_argument("--min-duration", type=float, nargs="+", metavar="S", help="minimum durations")
    search.add_argument("--min-gap", type=float, nargs="+", metavar="S", help="minimum gaps")
    fixed = parser.add_argument_group("fixed while searching")
    fixed.add_argument("--low-threshold", type=float, metavar="SCORE", help="hysteresis with this low threshold")
    gate = "events only where the clip is tagged"
    fixed.add_argument("--weak-gate", action=argparse.BooleanOptionalAction, help=gate)
    output = parser.add_argument_group("output")
    output.add_argument("--reset", action="store_true", help="start from the run's configuration, forget former tuning")
    output.add_argument("--overwrite", action="store_true", help="replace a former choice for the same output")
    output.add_argument("--dry-run", action="store_true", help="print, store nothing")
    parser.epilog = _EPILOG


def _candidates(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 10000")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Search, print before and after on the validation clips, store."""
    from crnn_weak.detection.tuning import METRICS
    from crnn_weak.files import lock
    from crnn_weak.runs.scores import open_scores

    scored = open_scores(args.run, "validation")
    if METRICS.get(args.metric) == "events" and scored.events is None:
        raise DataError(
            f"{args.run}: the validation clips have no strong labels, so {args.metric} cannot be computed. "
            "tagging_f1 needs tags only."
        )
    if args.dry_run:
        _tune(args, scored)
    else:
        with lock(scored.run.path, wait_seconds=float("inf")):  # another process may tune it for another output
            _tune(args, scored)
    return 0


def _tune(args: argparse.Namespace, scored: ScoredRun) -> None:
    import numpy as np

    from crnn_weak.detection.operating_point import OperatingPoint, stored_point
    from crnn_weak.detection.tuning import tune

    config = scored.run.config
    stored = stored_point(scored.run.path, scored.scores.classes)
    if stored is not None and not args.overwrite and not args.dry_run:
        _refuse_to_replace(args, stored, scored.run.files.operating_point)
    source = "the run's configuration"
    start = OperatingPoint.from_config(config.operating_point, scored.scores.classes)
    if stored is not None and not args.reset:
        start, source = stored.operating_point, f"tuned for {', '.join(stored.tuned) or 'nothing'}"
    start = _with_fixed(args, start)
    result = tune(
        scored.scores,
        metric=args.metric,
        tags=scored.tags,
        events=scored.events,
        per_class=args.per_class,
        operating_point=start,
        candidates=np.arange(1, args.candidates + 1) / (args.candidates + 1),
        medians=args.median,
        min_durations=args.min_duration,
        min_gaps=args.min_gap,
        evaluation=config.evaluation,
        clip_seconds=config.features.clip_seconds,
        show_progress=cli.shows_progress(args),
    )
    if math.isnan(result.before):
        raise DataError(
            f"{args.run}: {args.metric} is undefined on its validation clips: nothing is labeled. Add labeled clips, "
            "or hold out more with training.validation_fraction."
        )
    scale, unit = (1, "") if args.metric == "error_rate" else (100, " %")
    each = " for each class" if args.per_class else ""
    print(f"run        {scored.run.name}, {scored.coverage}")
    print(f"before     {args.metric} {scale * result.before:.3f}{unit}: {start.summary()} ({source})")
    print(f"after      {args.metric} {scale * result.after:.3f}{unit}: {result.operating_point.summary()}")
    print(f"search     the best of {result.n_choices:,} choices{each}, on validation clips only")
    if args.per_class:
        _print_classes(result.operating_point, tags=args.metric == "tagging_f1")
    if not args.dry_run:
        _store(args, stored, result, scored.run.files.operating_point)


def _same_output(metric: str, stored: StoredPoint) -> list[str]:
    """Return the metrics of the same output, tags or events, for which the run is tuned."""
    from crnn_weak.detection.tuning import METRICS

    return [other for other in stored.tuned if METRICS.get(other) == METRICS.get(metric)]


def _refuse_to_replace(args: argparse.Namespace, stored: StoredPoint, path: Path) -> None:
    if args.reset:
        raise DataError(f"{path} exists; --reset needs --overwrite.")
    if former := _same_output(args.metric, stored):
        raise DataError(f"{path}: tuned for {', '.join(former)}; give --overwrite to choose again, or --reset.")


def _store(args: argparse.Namespace, stored: StoredPoint | None, result: Tuning, path: Path) -> None:
    from crnn_weak.detection.operating_point import StoredPoint, TuningRecord

    tuned = {} if stored is None or args.reset else dict(stored.tuned)
    for metric in [] if stored is None else _same_output(args.metric, stored):
        tuned.pop(metric, None)
    tuned[args.metric] = TuningRecord(
        per_class=result.per_class,
        before=result.before,
        after=result.after,
        n_clips=result.n_clips,
        n_choices=result.n_choices,
    )
    StoredPoint(operating_point=result.operating_point, tuned=tuned).write(path)
    print(f"stored     {path}")
    print(f"now        crnn-weak evaluate {args.run}")


def _with_fixed(args: argparse.Namespace, start: OperatingPoint) -> OperatingPoint:
    """Return the start with what the command line fixes."""
    changes: dict[str, Any] = {}
    if args.low_threshold is not None:
        changes["low_thresholds"] = args.low_threshold
        changes["thresholds"] = tuple(max(args.low_threshold, value) for value in start.thresholds)
    if args.weak_gate is not None:
        changes["weak_gate"] = args.weak_gate
    return start.replace(**changes) if changes else start


def _print_classes(point: OperatingPoint, *, tags: bool) -> None:
    width = max(map(len, point.classes))
    values = {"threshold": point.thresholds, "median (s)": point.median_seconds}
    values |= {"gap (s)": point.min_gap_seconds, "duration (s)": point.min_duration_seconds}
    shown = {"tag threshold": point.tag_thresholds} if tags else {name: row for name, row in values.items() if any(row)}
    for index, label in enumerate(point.classes):
        parts = [f"{name} {row[index]:.3g}" for name, row in shown.items()]
        print(f"  {label:<{width}}  " + "  ".join(parts))
