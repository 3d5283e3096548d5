"""``crnn-weak evaluate``: scores of label files, of baselines, or of a run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from crnn_weak.errors import ConfigError, CrnnWeakError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crnn_weak.config import EvaluationConfig
    from crnn_weak.labels.pairs import LabelPair, Labels
    from crnn_weak.metrics.evaluation import Evaluation

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
    lists.add_argument("--reference", metavar="FILE", help="event list or tags; a file or a folder of them")
    lists.add_argument("--estimated", metavar="FILE", help="the system's; clips without a row are empty")
    lists.add_argument("--input-format", metavar="NAME", help="the format that both files must have")
    lists.add_argument("--min-score", type=float, metavar="S", help="drop rows of the estimate with lower scores")
    kind = lists.add_mutually_exclusive_group()
    kind.add_argument("--tags", dest="kind", action="store_const", const="tags", help="score as clip tags")
    kind.add_argument("--events", dest="kind", action="store_const", const="events", help="score as event lists")
    lists.add_argument("--classes", metavar="FILE", help="class list, one label a line (default: from the files)")
    lists.add_argument("--strip-y", action="store_true", help="strip the leading 'Y' from clip ids")
    lists.add_argument(
        "--drop-zero-length", action="store_true", help="skip reference rows of length 0 (labeled, not heard)"
    )
    base = parser.add_argument_group("baselines")
    base.add_argument("--baselines", action="store_true", help="score nothing, the true tags, and one class everywhere")
    base.add_argument("--tags-reference", metavar="FILE", help="true tags (default: the labels of the events)")
    base.add_argument("--one-class", metavar="LABEL", help="the class (default: the most frequent)")
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

    _check(args)
    if args.json and Path(args.json).exists() and not args.overwrite:
        raise DataError(f"{args.json} exists; give --overwrite or another name.")
    if args.baselines:
        shown = _baseline_table(args)
    else:
        result = _evaluate_lists(args) if args.run is None else _evaluate_run(args)
        wide = {"class_wise": args.class_wise}
        shown = {"json": result.to_json(), "csv": result.to_csv(**wide), "text": result.to_text(**wide)}
    if args.json:
        write_text(args.json, shown["json"])
    print(shown[args.format], end="")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse values out of range, and options that would be ignored."""
    for name in ("bootstrap", "seed"):
        if getattr(args, name) < 0:
            raise ConfigError(f"--{name} {getattr(args, name)}: expected a whole number of 0 or more.")
    if args.clip_seconds is not None and not 0 < args.clip_seconds < float("inf"):
        raise ConfigError(f"--clip-seconds {args.clip_seconds:g}: expected a length above 0.")
    is_run = args.run is not None
    if is_run and (args.reference or args.estimated or args.baselines):
        raise ConfigError("give either a run folder or label files, not both.")
    if not is_run and not args.reference:
        raise ConfigError("nothing to score: give --reference and --estimated, or a run folder.")
    if not is_run and bool(args.estimated) == args.baselines:
        raise ConfigError("give --estimated FILE, or --baselines in its place.")
    for names, fits, what in (
        (("classes", "input_format", "kind", "strip_y", "drop_zero_length"), not is_run, "label files"),
        (("min_score",), bool(args.estimated), "--estimated"),
        (("operating_point", "threshold_free"), is_run, "a run"),
        (("tags_reference", "one_class"), args.baselines, "--baselines"),
    ):
        given = next(
            (name for name in names if getattr(args, name) is not None and getattr(args, name) is not False), None
        )
        if given is not None and not fits:
            option = args.kind if given == "kind" else given.replace("_", "-")
            raise ConfigError(f"--{option} goes with {what}. Remove it.")


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


# --- label files -----------------------------------------------------------------------------------------------------


def _read(args: argparse.Namespace) -> tuple[LabelPair, tuple[str, ...]]:
    """Return reference and estimate, and the classes of --classes."""
    from crnn_weak.labels.pairs import read_pair
    from crnn_weak.labels.reading import read_classes

    classes = read_classes(args.classes) if args.classes else ()
    pair = read_pair(
        args.reference,
        args.estimated,
        kind=args.kind,
        classes=classes,
        strip_y=args.strip_y,
        input_format=args.input_format,
        min_score=args.min_score,
        drop_zero_length=args.drop_zero_length,
    )
    return pair, classes


def _describe(path: str, lists: Labels, kind: str) -> str:
    return f"{path}: {len(lists):,} clips, {sum(map(len, lists.values())):,} {kind}"


def _evaluate_lists(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.labels.pairs import class_list, labels_of
    from crnn_weak.metrics.evaluation import Evaluation, evaluate_events, evaluate_tags

    pair, classes = _read(args)
    reference, estimated, notes = pair.reference, pair.estimated, list(pair.notes)
    header = {
        "reference": _describe(args.reference, reference, pair.kind),
        "estimated": _describe(args.estimated, estimated, pair.kind),
    }
    foreign = sorted(labels_of(estimated) - labels_of(reference) - set(class_list(reference)))
    if foreign and not classes:
        shown = ", ".join(foreign[:4]) + (", ..." if len(foreign) > 4 else "")
        notes.append(f"{len(foreign)} label(s) occur only in the estimate and count as errors: {shown}")
    classes = classes or class_list(reference, estimated)
    options: dict[str, Any] = {"classes": classes, "n_resamples": args.bootstrap, "seed": args.seed}
    if pair.kind == "tags":
        return Evaluation(header, evaluate_tags(reference, estimated, **options), tuple(notes))
    if args.clip_seconds is not None:
        notes += _late_events(args, pair)
    options |= {"clip_seconds": args.clip_seconds, "evaluation": _settings(args)}
    return Evaluation(header, evaluate_events(reference, estimated, **options), tuple(notes))


def _late_events(args: argparse.Namespace, pair: LabelPair) -> Iterator[str]:
    """Refuse reference events that begin after --clip-seconds; say which others end after it."""
    for path, lists in ((args.reference, pair.reference), (args.estimated, pair.estimated)):
        events = [(clip, event) for clip, found in lists.items() for event in found]
        late = [(clip, event) for clip, event in events if event.onset >= args.clip_seconds]
        if late and path == args.reference:
            clip, event = late[0]
            raise DataError(
                f"{path}: clip {clip!r}: event {event.label!r} begins at {event.onset:g} s, after --clip-seconds "
                f"{args.clip_seconds:g}, and would not count. Give the clips' length."
            )
        n_longer = sum(event.offset > args.clip_seconds for _, event in events)
        if n_longer:
            yield f"{path}: {n_longer} events end after --clip-seconds {args.clip_seconds:g}: segments count up to it"


def _true_tags(args: argparse.Namespace, classes: tuple[str, ...], reference: Labels) -> Labels | None:
    """Return the tags of --tags-reference under the ids of the reference."""
    if not args.tags_reference:
        return None
    from crnn_weak.labels.names import match_ids
    from crnn_weak.labels.reading import read_tags

    path = args.tags_reference
    tags = read_tags(path, classes=classes, strip_y=args.strip_y)
    ids = match_ids(tags, reference, where=path)
    for listed, names, place in (
        (reference, ids.values(), "not in the reference"),
        (set(ids.values()), reference, "not listed"),
    ):
        other = next((name for name in names if name not in listed), None)
        if other is not None:
            raise DataError(f"{path}: recording {other!r} is {place}; expected the tags of the same ones.")
    return {ids[name]: labels for name, labels in tags.items()}


def _baseline_table(args: argparse.Namespace) -> dict[str, str]:
    """Return the table of all baselines as JSON, CSV and text."""
    import json

    from crnn_weak.labels.pairs import class_list
    from crnn_weak.metrics.controls import baselines_csv, baselines_text, score_baselines
    from crnn_weak.metrics.counting import plain
    from crnn_weak.metrics.sed_eval import sources

    pair, classes = _read(args)
    reference, is_tags = pair.reference, pair.kind == "tags"
    tags = reference if is_tags else _true_tags(args, classes, reference)
    scores = score_baselines(
        tags,
        None if is_tags else reference,
        classes=classes or class_list(reference, tags or {}),
        clip_seconds=args.clip_seconds or 10.0,
        evaluation=_settings(args),
        one_class=args.one_class,
    )
    lines = [_describe(args.reference, reference, pair.kind), baselines_text(scores).rstrip("\n")]
    lines.append(f"tagging by {sources()['tagging']}, detection by {sources()['detection']}")
    return {
        "json": json.dumps(plain(scores), indent=1, ensure_ascii=False) + "\n",
        "csv": baselines_csv(scores),
        "text": "\n".join(lines) + "\n",
    }


# --- runs ------------------------------------------------------------------------------------------------------------


def _evaluate_run(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
    from crnn_weak.metrics.evaluation import Evaluation, evaluate_events, evaluate_tags
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
