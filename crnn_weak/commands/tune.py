"""``crnn-weak tune``: choose a run's operating point on its validation clips, and store it with the run."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from crnn_weak import options
from crnn_weak.errors import ConfigError, DataError

if TYPE_CHECKING:
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
    parser.add_argument(
        "--metric", required=True, metavar="NAME", help="segment_f1, error_rate, event_f1 or tagging_f1"
    )
    parser.add_argument("--per-class", action="store_true", help="a threshold (and filters) for each class")
    search = parser.add_argument_group("search")
    search.add_argument(
        "--candidates", type=_candidates, default=99, metavar="N", help="thresholds, evenly spaced in (0, 1)"
    )
    search.add_argument("--median", type=float, nargs="+", metavar="S", help="median filters to choose among, seconds")
    search.add_argument("--min-duration", type=float, nargs="+", metavar="S", help="minimum durations")
    search.add_argument("--min-gap", type=float, nargs="+", metavar="S", help="minimum gaps")
    fixed = parser.add_argument_group("fixed while searching")
    fixed.add_argument("--low-threshold", type=float, metavar="SCORE", help="hysteresis with this low threshold")
    fixed.add_argument(
        "--weak-gate", action=argparse.BooleanOptionalAction, help="events only where the clip is tagged"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--reset", action="store_true", help="start from the run's configuration, forget earlier tuning"
    )
    output.add_argument("--overwrite", action="store_true", help="replace an earlier choice for the same output")
    output.add_argument("--dry-run", action="store_true", help="print, store nothing")
    parser.epilog = _EPILOG


def _candidates(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 10000")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Search, print before and after on the validation clips, store."""
    from crnn_weak.detection.tuning import METRICS
    from crnn_weak.errors import nearest_names
    from crnn_weak.files import lock
    from crnn_weak.runs.scores import open_scores

    if args.metric not in METRICS:
        raise ConfigError(f"--metric {args.metric!r} is not known. {nearest_names(args.metric, METRICS)}")
    scored = open_scores(args.run, "validation")
    if METRICS[args.metric] == "events" and scored.events is None:
        raise DataError(
            f"{args.run}: the validation clips have no strong labels, so {args.metric} cannot be computed. "
            "tagging_f1 needs tags only."
        )
    if args.dry_run:
        _tune(args, scored)
        return 0
    with lock(scored.run.path, wait_seconds=float("inf")):  # what another process tunes meanwhile is kept
        _tune(args, scored)
    return 0


def _tune(args: argparse.Namespace, scored: ScoredRun) -> None:
    from crnn_weak.detection.operating_point import OperatingPoint, stored_point

    path = scored.run.files.operating_point
    stored = stored_point(scored.run.path, scored.scores.classes)
    _refuse_to_overwrite(args, stored, path)
    source = "the run's configuration"
    start = OperatingPoint.from_config(scored.run.config.operating_point, scored.scores.classes)
    if stored is not None and not args.reset:
        start, source = stored.operating_point, f"tuned for {', '.join(stored.tuned) or 'nothing'}"
    begin = _held(args, start)
    result = _search(args, scored, begin)
    if math.isnan(result.before) or math.isnan(result.after):
        raise DataError(
            f"{args.run}: {args.metric} is undefined on its validation clips: nothing is labeled and nothing found. "
            "Add labeled clips, or hold out more with training.validation_fraction."
        )
    scale, unit = (1, "") if args.metric == "error_rate" else (100, " %")
    print(f"run        {scored.run.name}, {scored.coverage}")
    print(f"before     {args.metric} {scale * result.before:.3f}{unit}: {begin.summary()} ({source})")
    print(f"after      {args.metric} {scale * result.after:.3f}{unit}: {result.operating_point.summary()}")
    how = "the best of" if result.exact else "no change of one class improves it; a heuristic over"
    each = " for each class" if args.per_class else ""
    print(f"search     {how} {result.n_choices:,} choices{each}, on validation clips only")
    if args.per_class:
        _print_classes(result.operating_point, tags=args.metric == "tagging_f1")
    if not args.dry_run:
        _stored(args, stored, result).write(path)
        print(f"stored     {path}")
        print(f"now        crnn-weak evaluate {args.run}")


def _same_output(args: argparse.Namespace, stored: StoredPoint | None) -> list[str]:
    """Return the metrics of the same output, tags or events, for which the run is tuned already."""
    from crnn_weak.detection.tuning import METRICS

    tuned = () if stored is None else stored.tuned
    return [metric for metric in tuned if METRICS.get(metric) == METRICS[args.metric]]


def _refuse_to_overwrite(args: argparse.Namespace, stored: StoredPoint | None, path: Any) -> None:
    if args.overwrite or args.dry_run or stored is None:
        return
    if args.reset:
        raise DataError(f"{path} is there already; --reset needs --overwrite.")
    if same := _same_output(args, stored):
        raise DataError(f"{path}: tuned for {', '.join(same)} already; give --overwrite to choose anew, or --reset.")


def _held(args: argparse.Namespace, start: OperatingPoint) -> OperatingPoint:
    """Return the start with what the command line holds fixed."""
    changes: dict[str, Any] = {}
    if args.low_threshold is not None:
        changes["low_thresholds"] = args.low_threshold
        changes["thresholds"] = tuple(max(args.low_threshold, value) for value in start.thresholds)
    if args.weak_gate is not None:
        changes["weak_gate"] = args.weak_gate
    return start.replace(**changes) if changes else start


def _search(args: argparse.Namespace, scored: ScoredRun, begin: OperatingPoint) -> Tuning:
    import numpy as np

    from crnn_weak.detection.tuning import tune

    config = scored.run.config
    return tune(
        scored.scores,
        metric=args.metric,
        tags=scored.tags,
        events=scored.events,
        per_class=args.per_class,
        operating_point=begin,
        candidates=np.arange(1, args.candidates + 1) / (args.candidates + 1),
        medians=args.median,
        min_durations=args.min_duration,
        min_gaps=args.min_gap,
        evaluation=config.evaluation,
        clip_seconds=config.features.clip_seconds,
        show_progress=options.shows_progress(args),
    )


def _stored(args: argparse.Namespace, stored: StoredPoint | None, result: Tuning) -> StoredPoint:
    from crnn_weak.detection.operating_point import StoredPoint, TuningRecord

    same = _same_output(args, stored)
    earlier = {} if stored is None or args.reset else stored.tuned
    record = TuningRecord(
        per_class=result.per_class,
        before=result.before,
        after=result.after,
        exact=result.exact,
        n_clips=result.n_clips,
        n_choices=result.n_choices,
    )
    kept = {metric: other for metric, other in earlier.items() if metric not in same}
    return StoredPoint(operating_point=result.operating_point, tuned=kept | {args.metric: record})


def _print_classes(point: OperatingPoint, *, tags: bool) -> None:
    width = max(map(len, point.classes))
    names = {"median_seconds": "median", "min_gap_seconds": "gap", "min_duration_seconds": "duration"}
    for index, label in enumerate(point.classes):
        if tags:
            print(f"  {label:<{width}}  tag threshold {point.tag_thresholds[index]:.3f}")
            continue
        used = [name for name in names if any(getattr(point, name))]
        parts = [f"threshold {point.thresholds[index]:.3f}"]
        parts += [f"{names[name]} {getattr(point, name)[index]:g} s" for name in used]
        print(f"  {label:<{width}}  " + "  ".join(parts))
