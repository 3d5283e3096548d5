"""``crnn-weak tune``: choose thresholds and filters on a run's validation clips, and store them with the run."""

from __future__ import annotations

import argparse
import math
from typing import Any

from crnn_weak.errors import ConfigError, DataError

_EPILOG = """examples:
  crnn-weak tune runs/train/street-quick-max_dense --metric segment_f1 --per-class --median 0 0.3 0.6
  crnn-weak tune runs/train/street-quick-max_dense --metric tagging_f1
  crnn-weak evaluate runs/train/street-quick-max_dense --decisions tuned

Only validation clips are used. The choices are stored in decisions.json and in best.keras, so that `crnn-weak detect`
uses them. Tuning for tags and tuning for events keep each other's choices."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--metric", required=True, metavar="NAME", help="segment_f1, error_rate, event_f1 or tagging_f1"
    )
    parser.add_argument("--per-class", action="store_true", help="a threshold (and filters) for each class")
    search = parser.add_argument_group("what to search")
    search.add_argument(
        "--candidates", type=_candidates, default=99, metavar="N", help="thresholds, evenly spaced in (0, 1), or all"
    )
    search.add_argument("--median", type=float, nargs="+", metavar="S", help="median filters to choose among, seconds")
    search.add_argument("--min-duration", type=float, nargs="+", metavar="S", help="minimum durations")
    search.add_argument("--min-gap", type=float, nargs="+", metavar="S", help="minimum gaps")
    fixed = parser.add_argument_group("what to hold")
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


def _candidates(text: str) -> int | str:
    if text == "all":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of 1 or more, or all")
    return int(text)


def _grid(choice: int | str, scores: Any, metric: str, filters: bool) -> Any:
    """Return the thresholds to search; ``all`` are those at which a decision changes."""
    import numpy as np

    if choice != "all":
        return np.arange(1, int(choice) + 1) / (int(choice) + 1)
    if metric == "event_f1" or filters:
        raise ConfigError("--candidates all: for segment_f1, error_rate and tagging_f1 without filters; give a number.")
    values = np.unique(scores.weak if metric == "tagging_f1" else scores.strong.max(axis=1))
    values = np.unique(np.concatenate([values, scores.strong.ravel()])) if metric != "tagging_f1" else values
    values = values[(values > 0) & (values < 1)]
    if len(values) > 100_000:  # a float16 file holds some 15,000 at most
        values = values[:: math.ceil(len(values) / 100_000)]
    return values if len(values) else np.array([0.5])


def run(args: argparse.Namespace) -> int:
    """Search, print before and after on the validation clips, store."""
    from crnn_weak.errors import nearest_names
    from crnn_weak.runs.run import read_json
    from crnn_weak.runs.scores import DECISIONS_FILE, open_scores, run_decisions, write_decisions
    from crnn_weak.tuning.tune import METRICS, tune

    if args.metric not in METRICS:
        raise ConfigError(f"--metric {args.metric!r} is not known. {nearest_names(args.metric, METRICS)}")
    scored = open_scores(args.run, "validation")
    scores, config = scored.scores, scored.run.config
    path = scored.run.path / DECISIONS_FILE
    stored = {} if args.reset else read_json(path)
    which = "tuned" if stored else "run"
    start, source = run_decisions(scored.run, scores.classes, which)
    earlier = stored.get("tuned", {})
    output = METRICS[args.metric]
    same = [metric for metric in earlier if METRICS.get(metric) == output]
    if same and not args.overwrite and not args.dry_run:
        raise DataError(f"{path}: tuned for {', '.join(same)} already; give --overwrite to choose anew, or --reset.")
    if args.reset and path.exists() and not args.overwrite and not args.dry_run:
        raise DataError(f"{path} is there already; --reset needs --overwrite.")
    if output == "events" and scored.events is None:
        raise DataError(
            f"{args.run}: the validation clips have no strong labels, so {args.metric} cannot be computed. "
            "tagging_f1 needs tags only."
        )
    changes: dict[str, Any] = {}
    if args.low_threshold is not None:
        changes["low_thresholds"] = args.low_threshold
        changes["thresholds"] = tuple(max(args.low_threshold, value) for value in start.thresholds)
    if args.weak_gate is not None:
        changes["weak_gate"] = args.weak_gate
    begin = start.replace(**changes) if changes else start
    filters = bool(args.median or args.min_duration or args.min_gap or not begin.plain_threshold)
    result = tune(
        scores,
        metric=args.metric,
        tags=scored.tags,
        events=scored.events,
        per_class=args.per_class,
        decisions=begin,
        candidates=_grid(args.candidates, scores, args.metric, filters),
        medians=args.median,
        min_durations=args.min_duration,
        min_gaps=args.min_gap,
        evaluation=config.evaluation,
        clip_seconds=config.features.clip_seconds,
    )
    scale, unit = (1, "") if args.metric == "error_rate" else (100, " %")
    print(f"run        {scored.run.name}, {scored.coverage}")
    print(f"before     {args.metric} {scale * result.before:.3f}{unit}: {begin.summary()} ({source})")
    print(f"after      {args.metric} {scale * result.after:.3f}{unit}: {result.decisions.summary()}")
    how = "the best of" if result.exact else "no change of one class improves it; a heuristic over"
    each = " for each class" if args.per_class else ""
    print(f"search     {how} {result.n_choices:,} choices{each}, on validation clips only")
    if args.per_class:
        _print_classes(result.decisions, tags=output == "tags")
    if args.dry_run:
        return 0
    kept = {metric: record for metric, record in earlier.items() if metric not in same}
    record = {
        "per_class": result.per_class, "before": result.before, "after": result.after, "exact": result.exact,
        "n_clips": result.n_clips, "n_choices": result.n_choices,
    }  # fmt: skip
    decisions = result.decisions.to_dict()
    write_decisions(path, {"decisions": decisions, "tuned": kept | {args.metric: record}})
    print(f"stored     {path}{_store_in_model(scored.run.model_path, decisions)}")
    print(f"now        crnn-weak evaluate {args.run} --decisions tuned")
    return 0


def _print_classes(decisions: Any, *, tags: bool) -> None:
    width = max(map(len, decisions.classes))
    for index, label in enumerate(decisions.classes):
        if tags:
            print(f"  {label:<{width}}  tag threshold {decisions.tag_thresholds[index]:.3f}")
            continue
        parts = [f"threshold {decisions.thresholds[index]:.3f}"]
        parts += [
            f"{text} {getattr(decisions, name)[index]:g} s"
            for name, text in (
                ("median_seconds", "median"),
                ("min_gap_seconds", "gap"),
                ("min_duration_seconds", "duration"),
            )
            if any(getattr(decisions, name))
        ]
        print(f"  {label:<{width}}  " + "  ".join(parts))


def _store_in_model(path: Any, decisions: dict[str, Any]) -> str:
    """Put the decisions into the model file where there is one; return what to add to the message."""
    if not path.is_file():
        return f" ({path.name} is not there: nothing stored in a model)"
    import dataclasses

    from crnn_weak.model.archive import read_metadata, update_metadata

    update_metadata(path, dataclasses.replace(read_metadata(path), decisions=decisions))
    return f" and {path.name}"
