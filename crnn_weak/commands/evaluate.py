"""``crnn-weak evaluate``: scores of label files, of baselines, or of a run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from crnn_weak import cli
from crnn_weak.errors import ConfigError, CrnnWeakError, DataError, visible

if TYPE_CHECKING:
    from crnn_weak.config import EvaluationConfig
    from crnn_weak.labels.reading import LabelPair, Labels
    from crnn_weak.metrics.evaluation import Evaluation

_EPILOG = """examples:
  crnn-weak evaluate --reference strong.tsv --estimated events.tsv --class-wise --bootstrap 1000
  crnn-weak evaluate --baselines --reference strong.tsv --tags-reference weak.tsv
  crnn-weak evaluate runs/train/street-quick-max_dense --threshold-free

F, precision and recall are printed in percent, error rates as fractions. Overall metrics are micro averages; class
averages skip the classes where a metric is 0/0 and say how many remain. Detection is scored by sed_eval, tagging by
scikit-learn."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run folder, instead of label files")
    add = parser.add_argument_group("label files").add_argument
    add("--reference", metavar="FILE", help="event list or tags; a file or a folder of them")
    add("--estimated", metavar="FILE", help="the system's; clips without a row are empty")
    add("--input-format", metavar="NAME", help="the format that both files must have")
    add("--min-score", type=float, metavar="S", help="drop rows of the estimate with lower scores")
    add("--tags", dest="kind", action="store_const", const="tags", help="score as clip tags")
    add("--events", dest="kind", action="store_const", const="events", help="score as event lists")
    add("--classes", metavar="FILE", help="class list, one label a line (default: from the files)")
    add("--strip-y", action="store_true", help="strip the leading 'Y' from clip ids")
    add("--drop-zero-length", action="store_true", help="skip reference rows of length 0 (labeled, not heard)")
    add = parser.add_argument_group("baselines").add_argument
    add("--baselines", action="store_true", help="score nothing, the true tags, and the most frequent class")
    add("--tags-reference", metavar="FILE", help="true tags (default: the labels of the events)")
    add = parser.add_argument_group("metrics").add_argument
    add("--clip-seconds", type=float, metavar="S", help="clip length (default: each clip's last offset)")
    add("--block-seconds", type=float, metavar="S", help="rotate inside blocks of S seconds (default: the clip)")
    add("--segment-seconds", type=float, metavar="S", help="default: 1, or the run's")
    add("--collar", dest="collar_seconds", type=float, metavar="S", help="default: 0.2, or the run's")
    add("--offset-fraction", type=float, metavar="SHARE", help="default: 0.5, or the run's")
    add("--bootstrap", type=int, default=0, metavar="N", help="95 %% intervals over clips, N resamples")
    add("--seed", type=int, default=0, metavar="N", help="seed of the bootstrap")
    add = parser.add_argument_group("runs").add_argument
    add("--operating-point", metavar="WHICH", help="configured, or a file (default: the tuned one, else configured)")
    add("--threshold-free", action="store_true", help="average precision and ROC AUC; PSDS with the extra psds")
    add = parser.add_argument_group("output").add_argument
    add("--class-wise", action="store_true", help="a table of all classes")
    add("--format", choices=("text", "json", "csv"), default="text")


def run(args: argparse.Namespace) -> int:
    _check(args)
    if args.baselines:
        print(_baseline_table(args), end="")
        return 0
    result = _evaluate_lists(args) if args.run is None else _evaluate_run(args)
    wide = {"class_wise": args.class_wise}
    shown = {"json": result.to_json(), "csv": result.to_csv(**wide), "text": result.to_text(**wide)}
    print(shown[args.format], end="")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse values out of range, and options that would be ignored."""
    if args.bootstrap < 0 or args.seed < 0:
        raise ConfigError("--bootstrap and --seed: expected whole numbers of 0 or more.")
    for name, seconds in (("--clip-seconds", args.clip_seconds), ("--block-seconds", args.block_seconds)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise ConfigError(f"{name} {seconds:g}: expected a length above 0.")
    is_run = args.run is not None
    if is_run == bool(args.reference) or (not is_run and bool(args.estimated) == args.baselines):
        raise ConfigError("give --reference with --estimated or --baselines, or a run folder instead.")
    of_lists = ("classes", "input_format", "kind", "strip_y", "drop_zero_length", "baselines", "estimated")
    for names, fits, what in (
        (of_lists, not is_run, "label files"),
        (("min_score",), bool(args.estimated), "--estimated"),
        (("operating_point", "threshold_free"), is_run, "a run"),
        (("tags_reference",), args.baselines, "--baselines"),
        (("block_seconds",), not args.baselines, "--estimated or a run"),
    ):
        given = [name for name in names if getattr(args, name) is not None and getattr(args, name) is not False]
        if given and not fits:
            option = args.kind if given[0] == "kind" else given[0].replace("_", "-")
            raise ConfigError(f"--{option} goes with {what}. Remove it.")


def _settings(args: argparse.Namespace, base: EvaluationConfig | None = None) -> EvaluationConfig:
    from crnn_weak.config import EvaluationConfig

    names = ("segment_seconds", "collar_seconds", "offset_fraction")
    changes: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return dataclasses.replace(base or EvaluationConfig(), **changes)


def _read(args: argparse.Namespace) -> tuple[LabelPair, tuple[str, ...]]:
    """Return reference and estimate, and the classes of --classes."""
    from crnn_weak.labels.reading import read_classes, read_pair

    classes = read_classes(args.classes) if args.classes else ()
    names = ("kind", "strip_y", "input_format", "min_score", "drop_zero_length")
    options = {name: getattr(args, name) for name in names}
    return read_pair(args.reference, args.estimated, classes=classes, **options), classes


def _describe(path: str, lists: Labels, kind: str) -> str:
    return f"{visible(path)}: {len(lists):,} clips, {sum(map(len, lists.values())):,} {kind}"


def _evaluate_lists(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.labels.reading import class_list, labels_of
    from crnn_weak.metrics.controls import controls_by_title
    from crnn_weak.metrics.counting import Scoring
    from crnn_weak.metrics.evaluation import Evaluation, evaluate

    pair, classes = _read(args)
    if args.block_seconds is not None and pair.kind == "tags":
        raise ConfigError("--block-seconds goes with events. Remove it.")
    reference, estimated, notes = pair.reference, pair.estimated, list(pair.notes)
    lists = {"reference": reference, "estimated": estimated}
    header = {name: _describe(getattr(args, name), found, pair.kind) for name, found in lists.items()}
    foreign = sorted(labels_of(estimated) - labels_of(reference) - set(class_list(reference)))
    if foreign and not classes:
        shown = ", ".join(foreign[:4]) + (", ..." if len(foreign) > 4 else "")
        notes.append(f"{len(foreign)} label(s) occur only in the estimate and count as errors: {shown}")
    classes = classes or class_list(reference, estimated)
    if args.clip_seconds is not None and pair.kind == "events":
        notes += _late_events(args, pair)
    scoring = Scoring(classes, _settings(args), args.clip_seconds, args.block_seconds)
    scored: dict[str, Any] = {pair.kind: (reference, estimated)}
    parts, controls = evaluate(scoring, **scored, n_resamples=args.bootstrap, seed=args.seed), {}
    if pair.kind == "events":
        if args.clip_seconds is None and args.block_seconds is None:
            notes.append("no controls for time: rotation needs a length, --clip-seconds S or --block-seconds S")
        else:
            controls = controls_by_title(reference, estimated, scoring)
    return Evaluation(header, parts, tuple(notes), controls)


def _late_events(args: argparse.Namespace, pair: LabelPair) -> list[str]:
    """Refuse reference events that begin after --clip-seconds; return notes on events that end after it."""
    notes = []
    for path, lists in ((args.reference, pair.reference), (args.estimated, pair.estimated)):
        longer = [event for found in lists.values() for event in found if event.offset > args.clip_seconds]
        late = next((event for event in longer if event.onset >= args.clip_seconds), None)
        if late and path == args.reference:
            raise DataError(
                f"{path}: event {late.label!r} begins at {late.onset:g} s, after --clip-seconds "
                f"{args.clip_seconds:g}, and would not count. Give the clips' length."
            )
        if longer:
            notes.append(
                f"{path}: {len(longer)} events end after --clip-seconds {args.clip_seconds:g}: segments count up to it"
            )
    return notes


def _baseline_table(args: argparse.Namespace) -> str:
    """Return the table of all baselines in the format that was asked for."""
    from crnn_weak.labels.reading import class_list, read_pair
    from crnn_weak.metrics.controls import score_baselines
    from crnn_weak.metrics.counting import Scoring
    from crnn_weak.metrics.evaluation import baselines_table
    from crnn_weak.metrics.sed_eval import sources

    pair, classes = _read(args)
    reference, is_tags, path = pair.reference, pair.kind == "tags", args.tags_reference
    tags = reference if is_tags else None
    if path and not is_tags:
        both = read_pair(args.reference, path, kind="tags", classes=classes, strip_y=args.strip_y)
        tags = both.estimated
        other = min(tags.keys() ^ reference.keys(), default=None)
        if other is not None:
            raise DataError(f"{path}: recording {other!r} is only in this list or in the reference; expected the same.")
    scoring = Scoring(classes or class_list(reference, tags or {}), _settings(args), args.clip_seconds or 10.0)
    table = baselines_table(score_baselines(tags, None if is_tags else reference, scoring), args.format)
    if args.format != "text":
        return table
    libraries = f"tagging by {sources()['tagging']}, detection by {sources()['detection']}\n"
    return f"{_describe(args.reference, reference, pair.kind)}\n{table}{libraries}"


def _evaluate_run(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
    from crnn_weak.metrics.controls import controls_by_title
    from crnn_weak.metrics.counting import Scoring
    from crnn_weak.metrics.evaluation import AREAS, Evaluation, evaluate
    from crnn_weak.metrics.summary import tagging_hint
    from crnn_weak.runs.scores import open_scores

    scored = open_scores(args.run, "test")
    scores, config = scored.scores, scored.run.config
    point, source = scored.run.operating_point(scores.classes, args.operating_point)
    header = {"run": scored.run.name, "clips": scored.coverage, "operating point": f"{point.summary()} ({source})"}
    notes, controls, rankings, psds = [], {}, [], {}
    clip_seconds = args.clip_seconds or config.features.clip_seconds
    scoring = Scoring(scores.classes, _settings(args, config.evaluation), clip_seconds, args.block_seconds)
    timed = scored.timed()
    if timed.events is None:
        notes.append("the clips have no strong labels: no detection scores")
        pair = None
    else:
        if len(timed.scores) < len(scores):
            notes.append(f"detection on the {len(timed.scores):,} of {len(scores):,} clips whose events are known")
        pair = (timed.events, scores_to_events(timed.scores, point))
        controls = controls_by_title(*pair, scoring, tags=timed.tags)
    tags = (scored.tags, scores_to_tags(scores, point))
    n_untagged = sum(not labels for labels in scored.tags.values())
    if point.min_tags and n_untagged:
        notes.append(f"clips without a true tag: {n_untagged:,}; min_tags = 1 gives each of them a false one")
    parts = evaluate(scoring, tags=tags, events=pair, n_resamples=args.bootstrap, seed=args.seed)
    if hint := tagging_hint([parts[0].metrics.f_score]):
        notes.append(hint)
    if args.threshold_free:
        rankings = scored.rankings(scoring.evaluation.segment_seconds)
        try:
            psds = scored.psds()
        except CrnnWeakError as error:
            notes.append(str(error))
            cli.say(f"crnn-weak evaluate: {error}", file=sys.stderr)
    areas = {name: area for name in AREAS if (area := scored.run.metrics.get(name))}  # no operating point is in them
    return Evaluation(header, parts, tuple(notes), controls, areas, rankings, psds)
