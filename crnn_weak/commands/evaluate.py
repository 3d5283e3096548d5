"""``crnn-weak evaluate``: scores of label files, of baselines, or of a run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from crnn_weak.errors import ConfigError, CrnnWeakError, DataError

if TYPE_CHECKING:
    from crnn_weak.config import EvaluationConfig
    from crnn_weak.metrics.summary import Evaluation

_EPILOG = """examples:
  crnn-weak evaluate --reference strong.tsv --estimated events.tsv --class-wise --bootstrap 1000
  crnn-weak evaluate --reference weak.tsv --estimated tags.tsv --tags
  crnn-weak evaluate --baselines --reference strong.tsv --tags-reference weak.tsv
  crnn-weak evaluate runs/train/street-quick-max_dense --threshold-free

F, precision and recall are printed in percent, error rates as fractions. Overall metrics are micro averages; class
averages skip the classes where a metric is 0/0 and say how many remain. Detection is scored by sed_eval, tagging by
scikit-learn."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run folder, instead of label files")
    lists = parser.add_argument_group("label files")
    lists.add_argument("--reference", metavar="FILE", help="event list or tags, any of the field's forms")
    lists.add_argument("--estimated", metavar="FILE", help="the same of the system; clips without a row are empty")
    lists.add_argument(
        "--input-format", dest="form", metavar="NAME", help="format of both files (default: found from their rows)"
    )
    kind = lists.add_mutually_exclusive_group()
    kind.add_argument("--tags", dest="kind", action="store_const", const="tags", help="score as clip tags")
    kind.add_argument("--events", dest="kind", action="store_const", const="events", help="score as event lists")
    lists.add_argument("--classes", metavar="FILE", help="class list, one label a line (default: from the files)")
    lists.add_argument("--strip-y", action="store_true", help="names carry the organizers' Y before the id")
    lists.add_argument(
        "--drop-zero-length", action="store_true", help="skip reference rows of length 0 (labeled, not heard)"
    )
    base = parser.add_argument_group("baselines")
    base.add_argument("--baseline", metavar="NAME", help="score nothing, tags or one-class as the estimate")
    base.add_argument("--baselines", action="store_true", help="a table of all three")
    base.add_argument("--yardstick", dest="baseline", help=argparse.SUPPRESS)  # former names
    base.add_argument("--yardsticks", dest="baselines", action="store_true", help=argparse.SUPPRESS)
    base.add_argument("--tags-reference", metavar="FILE", help="true tags (default: the labels of the events)")
    base.add_argument("--one-class", metavar="LABEL", help="class of one-class (default: the most frequent)")
    settings = parser.add_argument_group("metrics")
    settings.add_argument(
        "--clip-seconds", type=float, metavar="S", help="clip length (default: each clip's last offset)"
    )
    settings.add_argument("--segment-seconds", type=float, metavar="S", help="default: 1, or the run's")
    settings.add_argument("--collar", type=float, metavar="S", help="default: 0.2, or the run's")
    settings.add_argument("--offset-fraction", type=float, metavar="SHARE", help="default: 0.5, or the run's")
    settings.add_argument(
        "--bootstrap", type=int, default=0, metavar="N", help="95 %% intervals over clips, N resamples"
    )
    settings.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the bootstrap")
    runs = parser.add_argument_group("runs")
    runs.add_argument(
        "--operating-point",
        metavar="WHICH",
        help="configured (the run's configuration) or a file (default: its operating_point.json, else configured)",
    )
    runs.add_argument("--threshold-free", action="store_true", help="average precision; PSDS with the extra psds")
    output = parser.add_argument_group("output")
    output.add_argument("--class-wise", action="store_true", help="a table of all classes")
    output.add_argument("--format", choices=("text", "json", "csv"), default="text")
    output.add_argument("--json", metavar="FILE", help="write everything to a JSON file as well")
    output.add_argument("--overwrite", action="store_true", help="replace that file")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from pathlib import Path

    from crnn_weak.files import write_text

    if args.json and Path(args.json).exists() and not args.overwrite:
        raise DataError(f"{args.json} is there already; give --overwrite or another name.")
    if args.bootstrap < 0:
        raise ConfigError(f"--bootstrap {args.bootstrap}: expected a number of resamples, 0 or more.")
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: expected a whole number of 0 or more.")
    if args.clip_seconds is not None and not 0 < args.clip_seconds < float("inf"):
        raise ConfigError(f"--clip-seconds {args.clip_seconds:g}: expected a length above 0.")
    _refuse_unused(args)
    if args.run is not None:
        if args.reference or args.estimated or args.baseline or args.baselines:
            raise ConfigError("give either a run folder or label files, not both.")
        result = _evaluate_run(args)
    elif not args.reference:
        raise ConfigError("nothing to score: give --reference and --estimated, or a run folder.")
    elif args.baselines:
        return _print_baselines(args)
    else:
        result = _evaluate_lists(args)
    if args.json:
        write_text(args.json, result.to_json())
    if args.format == "json":
        print(result.to_json(), end="")
    elif args.format == "csv":
        print(result.to_csv(class_wise=args.class_wise), end="")
    else:
        print(result.to_text(class_wise=args.class_wise), end="")
    return 0


def _refuse_unused(args: argparse.Namespace) -> None:
    """Refuse options that would be ignored: those of label files beside a run, and the other way round."""
    of_lists = ("classes", "form", "kind", "strip_y", "drop_zero_length", "tags_reference", "one_class")
    of_runs = ("operating_point", "threshold_free")
    for name in of_lists if args.run is not None else of_runs:
        if getattr(args, name):
            option = f"--{getattr(args, name) if name == 'kind' else name.replace('_', '-')}"
            other = "label files, not with a run" if args.run is not None else "a run, not with label files"
            raise ConfigError(f"{option} goes with {other}. Leave it out.")
    if not (args.baseline or args.baselines):
        for name in ("tags_reference", "one_class"):
            if getattr(args, name):
                raise ConfigError(f"--{name.replace('_', '-')} goes with --baseline or --baselines. Leave it out.")


def _settings(args: argparse.Namespace, base: EvaluationConfig | None = None) -> EvaluationConfig:
    import dataclasses

    from crnn_weak.config import EvaluationConfig

    given = {
        "segment_seconds": args.segment_seconds,
        "collar_seconds": args.collar,
        "offset_fraction": args.offset_fraction,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(base or EvaluationConfig(), **changes)


# --- label files ----------------------------------------------------------------------------------------------------


def _describe(path: str, lists: dict[str, tuple[Any, ...]], kind: str) -> str:
    return f"{path}: {len(lists):,} clips, {sum(map(len, lists.values())):,} {kind}"


def _evaluate_lists(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.labels.files import read_classes
    from crnn_weak.labels.pair import class_list, drop_zero_length, labels_of, read_pair
    from crnn_weak.metrics.summary import Evaluation, evaluate_events, evaluate_tags

    if bool(args.estimated) == bool(args.baseline):
        raise ConfigError("give --estimated FILE, or --baseline NAME in its place.")
    classes = read_classes(args.classes) if args.classes else ()
    pair = read_pair(
        args.reference, args.estimated, kind=args.kind, classes=classes, strip_y=args.strip_y, form=args.form
    )
    reference, estimated, notes = pair.reference, pair.estimated, list(pair.notes)
    header = {"reference": _describe(args.reference, reference, pair.kind)}
    if pair.kind == "events" and args.drop_zero_length:
        reference = drop_zero_length(reference)
        notes = [note for note in notes if "zero-length" not in note]
    if args.baseline:
        classes = classes or class_list(reference)
        estimated = _baseline(args, pair.kind, reference, classes)
        header["baseline"] = args.baseline
    else:
        header["estimated"] = _describe(args.estimated, estimated, pair.kind)
        foreign = sorted(labels_of(estimated) - labels_of(reference) - set(class_list(reference)))
        if foreign and not classes:
            notes.append(
                f"{len(foreign)} label(s) occur only in the estimate and count as errors: {', '.join(foreign[:4])}"
                f"{', ...' if len(foreign) > 4 else ''}"
            )
        classes = classes or class_list(reference, estimated)
    options: dict[str, Any] = {"classes": classes, "n_resamples": args.bootstrap, "seed": args.seed}
    if pair.kind == "tags":
        return Evaluation(header, evaluate_tags(reference, estimated, **options), tuple(notes))
    options |= {"clip_seconds": args.clip_seconds, "evaluation": _settings(args)}
    return Evaluation(header, evaluate_events(reference, estimated, **options), tuple(notes))


def _true_tags(
    args: argparse.Namespace, classes: tuple[str, ...], reference: dict[str, tuple[Any, ...]]
) -> dict[str, tuple[str, ...]] | None:
    """Return the tags of --tags-reference under the ids of the reference."""
    if not args.tags_reference:
        return None
    from crnn_weak.labels.classes import DCASE2017_TASK4
    from crnn_weak.labels.files import read_tags
    from crnn_weak.labels.names import match_ids

    tags = read_tags(args.tags_reference, classes=classes or DCASE2017_TASK4, strip_y=args.strip_y)
    ids = match_ids(tags, reference, where=args.tags_reference)
    for known, names, place in (
        (reference, ids.values(), "not in the reference"),
        (set(ids.values()), reference, "not listed"),
    ):
        other = next((name for name in names if name not in known), None)
        if other is not None:
            raise DataError(
                f"{args.tags_reference}: recording {other!r} is {place}; expected the tags of the same ones."
            )
    return {ids[name]: labels for name, labels in tags.items()}


def _baseline(
    args: argparse.Namespace, kind: str, reference: dict[str, tuple[Any, ...]], classes: tuple[str, ...]
) -> dict[str, tuple[Any, ...]]:
    from crnn_weak.metrics.controls import baseline_tags, tags_of_events, whole_clip

    if kind == "tags":
        return dict(baseline_tags(args.baseline, reference, classes=classes, one_class=args.one_class))
    tags = _true_tags(args, classes, reference) or tags_of_events(reference)
    tags = baseline_tags(args.baseline, tags, classes=classes, one_class=args.one_class)
    return dict(whole_clip(tags, args.clip_seconds or 10.0))


def _print_baselines(args: argparse.Namespace) -> int:
    """Print the three baselines side by side."""
    import json

    from crnn_weak.files import write_text
    from crnn_weak.labels.files import read_classes
    from crnn_weak.labels.pair import class_list, drop_zero_length, read_pair
    from crnn_weak.metrics.controls import baselines_csv, baselines_text, score_baselines
    from crnn_weak.metrics.counting import plain
    from crnn_weak.metrics.sed_eval import sources

    if args.estimated or args.baseline:
        raise ConfigError("--baselines scores no estimate: remove --estimated and --baseline.")
    classes = read_classes(args.classes) if args.classes else ()
    pair = read_pair(args.reference, kind=args.kind, classes=classes, strip_y=args.strip_y, form=args.form)
    reference = drop_zero_length(pair.reference) if args.drop_zero_length else pair.reference
    is_tags = pair.kind == "tags"
    tags = dict(pair.reference) if is_tags else _true_tags(args, classes, reference)
    lists = [reference] if tags is None else [reference, tags]
    scores = score_baselines(
        tags,
        None if is_tags else reference,
        classes=classes or class_list(*lists),
        clip_seconds=args.clip_seconds or 10.0,
        evaluation=_settings(args),
        one_class=args.one_class,
    )
    as_json = json.dumps(plain(scores), indent=1, ensure_ascii=False) + "\n"
    if args.json:
        write_text(args.json, as_json)
    if args.format == "json":
        print(as_json, end="")
    elif args.format == "csv":
        print(baselines_csv(scores), end="")
    else:
        print(_describe(args.reference, dict(reference), pair.kind))
        print(baselines_text(scores), end="")
        print(f"tagging by {sources()['tagging']}, detection by {sources()['detection']}")
    return 0


# --- runs -----------------------------------------------------------------------------------------------------------


def _evaluate_run(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
    from crnn_weak.metrics.summary import Evaluation, evaluate_events, evaluate_tags
    from crnn_weak.runs.scores import open_scores, run_operating_point

    scored = open_scores(args.run, "test")
    scores, config = scored.scores, scored.run.config
    point, source = run_operating_point(scored.run, scores.classes, args.operating_point)
    header = {
        "run": scored.run.name,
        "clips": scored.coverage,
        "operating point": f"{point.summary()} ({source})",
    }
    options: dict[str, Any] = {"classes": scores.classes, "n_resamples": args.bootstrap, "seed": args.seed}
    parts = evaluate_tags(scored.tags, scores_to_tags(scores, point), **options)
    notes, aps, psds = [], {}, {}
    if scored.events is None:
        notes.append("the clips have no strong labels, so there are no detection scores")
    else:
        parts += evaluate_events(
            scored.events,
            scores_to_events(scores, point),
            clip_seconds=args.clip_seconds or config.features.clip_seconds,
            evaluation=_settings(args, config.evaluation),
            **options,
        )
    if args.threshold_free:
        aps = scored.average_precisions(_settings(args, config.evaluation).segment_seconds)
        try:
            psds = scored.psds()
        except CrnnWeakError as error:
            notes.append(str(error))
            print(f"crnn-weak evaluate: {error}", file=sys.stderr)
    return Evaluation(header, parts, tuple(notes), aps, psds)
