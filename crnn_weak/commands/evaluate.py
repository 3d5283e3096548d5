"""``crnn-weak evaluate``: label files against each other, yardsticks, or a run's scores."""

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
  crnn-weak evaluate --yardsticks --reference strong.tsv --tags-reference weak.tsv
  crnn-weak evaluate runs/train/street-quick-max_dense --threshold-free

F, precision and recall are printed in percent, error rates as fractions. Overall figures are micro averages; class
averages leave out classes where a figure is 0/0 and say how many are left."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run folder, instead of label files")
    lists = parser.add_argument_group("label files")
    lists.add_argument("--reference", metavar="FILE", help="event list or tags, any of the field's forms")
    lists.add_argument("--estimated", metavar="FILE", help="the same of the system; clips without a row are empty")
    kind = lists.add_mutually_exclusive_group()
    kind.add_argument("--tags", dest="kind", action="store_const", const="tags", help="score as clip tags")
    kind.add_argument("--events", dest="kind", action="store_const", const="events", help="score as event lists")
    lists.add_argument("--classes", metavar="FILE", help="class list, one label a line (default: from the files)")
    lists.add_argument("--strip-y", action="store_true", help="names carry the organisers' Y before the id")
    lists.add_argument(
        "--drop-zero-length", action="store_true", help="leave out reference rows of length 0 (labelled, not heard)"
    )
    stick = parser.add_argument_group("yardsticks")
    stick.add_argument("--yardstick", metavar="NAME", help="score nothing, tags or one-class as the estimate")
    stick.add_argument("--yardsticks", action="store_true", help="a table of all three")
    stick.add_argument("--tags-reference", metavar="FILE", help="true tags (default: those that the events imply)")
    stick.add_argument("--one-class", metavar="LABEL", help="of the yardstick (default: the most frequent)")
    settings = parser.add_argument_group("metrics")
    settings.add_argument("--clip-seconds", type=float, metavar="S", help="cut at S (default: each clip's last offset)")
    settings.add_argument("--segment-seconds", type=float, metavar="S", help="default: 1, or the run's")
    settings.add_argument("--collar", type=float, metavar="S", help="default: 0.2, or the run's")
    settings.add_argument("--offset-fraction", type=float, metavar="SHARE", help="default: 0.5, or the run's")
    settings.add_argument("--backend", default="sed_eval", metavar="NAME", help="sed_eval (default), numpy; equal")
    settings.add_argument(
        "--bootstrap", type=int, default=0, metavar="N", help="95 %% intervals over clips, N resamples"
    )
    settings.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap")
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

    from crnn_weak.storage import write_text

    if args.json and Path(args.json).exists() and not args.overwrite:
        raise DataError(f"{args.json} is there already; give --overwrite or another name.")
    if args.bootstrap < 0:
        raise ConfigError(f"--bootstrap {args.bootstrap}: expected a number of resamples, 0 or more.")
    if args.run is not None:
        if args.reference or args.estimated or args.yardstick or args.yardsticks:
            raise ConfigError("give either a run folder or label files, not both.")
        result = _evaluate_run(args)
    elif not args.reference:
        raise ConfigError("nothing to score: give --reference and --estimated, or a run folder.")
    elif args.yardsticks:
        return _yardstick_table(args)
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
    from crnn_weak.labels.lists import class_list, drop_zero_length, labels_of, read_classes, read_pair
    from crnn_weak.metrics.summary import Evaluation, evaluate_events, evaluate_tags

    if bool(args.estimated) == bool(args.yardstick):
        raise ConfigError("give --estimated FILE, or --yardstick NAME in its place.")
    classes = read_classes(args.classes) if args.classes else ()
    pair = read_pair(args.reference, args.estimated, kind=args.kind, classes=classes, strip_y=args.strip_y)
    reference, estimated, notes = pair.reference, pair.estimated, list(pair.notes)
    header = {"reference": _describe(args.reference, reference, pair.kind)}
    if pair.kind == "events" and args.drop_zero_length:
        reference = drop_zero_length(reference)
        notes = [note for note in notes if "zero-length" not in note]
    if args.yardstick:
        classes = classes or class_list(reference)
        estimated = _yardstick(args, pair.kind, reference, classes)
        header["yardstick"] = args.yardstick
    else:
        header["estimated"] = _describe(args.estimated, estimated, pair.kind)
        foreign = sorted(labels_of(estimated) - labels_of(reference) - set(class_list(reference)))
        if foreign and not classes:
            notes.append(
                f"{len(foreign)} label(s) stand in the estimate only and count as false: {', '.join(foreign[:4])}"
                f"{', ...' if len(foreign) > 4 else ''}"
            )
        classes = classes or class_list(reference, estimated)
    options: dict[str, Any] = {"classes": classes, "n_resamples": args.bootstrap, "seed": args.seed}
    if pair.kind == "tags":
        return Evaluation(header, evaluate_tags(reference, estimated, **options), tuple(notes))
    options |= {"clip_seconds": args.clip_seconds, "evaluation": _settings(args), "backend": args.backend}
    return Evaluation(header, evaluate_events(reference, estimated, **options), tuple(notes))


def _true_tags(args: argparse.Namespace, classes: tuple[str, ...]) -> dict[str, tuple[str, ...]] | None:
    if not args.tags_reference:
        return None
    from crnn_weak.labels.classes import DCASE2017_TASK4
    from crnn_weak.labels.files import read_tags

    return read_tags(args.tags_reference, classes=classes or DCASE2017_TASK4, strip_y=args.strip_y)


def _yardstick(
    args: argparse.Namespace, kind: str, reference: dict[str, tuple[Any, ...]], classes: tuple[str, ...]
) -> dict[str, tuple[Any, ...]]:
    from crnn_weak.metrics.baselines import event_yardstick, tag_yardstick

    if kind == "tags":
        return dict(tag_yardstick(args.yardstick, reference, classes=classes, one_class=args.one_class))
    return dict(
        event_yardstick(
            args.yardstick,
            reference,
            classes=classes,
            tags=_true_tags(args, classes),
            clip_seconds=args.clip_seconds or 10.0,
            one_class=args.one_class,
        )
    )


def _yardstick_table(args: argparse.Namespace) -> int:
    """Print the three yardsticks side by side."""
    import json

    from crnn_weak.labels.lists import class_list, drop_zero_length, read_classes, read_pair
    from crnn_weak.metrics.baselines import yardsticks
    from crnn_weak.metrics.counting import plain
    from crnn_weak.storage import write_text

    classes = read_classes(args.classes) if args.classes else ()
    pair = read_pair(args.reference, kind=args.kind, classes=classes, strip_y=args.strip_y)
    reference = drop_zero_length(pair.reference) if args.drop_zero_length else pair.reference
    is_tags = pair.kind == "tags"
    tags = dict(pair.reference) if is_tags else _true_tags(args, classes)
    lists = [reference] if tags is None else [reference, tags]
    found = yardsticks(
        tags,
        None if is_tags else reference,
        classes=classes or class_list(*lists),
        clip_seconds=args.clip_seconds or 10.0,
        segment_seconds=_settings(args).segment_seconds,
        one_class=args.one_class,
    )
    plain_rows = plain({name: {"/".join(key): value for key, value in row.items()} for name, row in found.items()})
    if args.json:
        write_text(args.json, json.dumps(plain_rows, indent=1, ensure_ascii=False) + "\n")
    if args.format == "json":
        print(json.dumps(plain_rows, indent=1, ensure_ascii=False))
        return 0
    columns = [key for key in next(iter(found.values())) if key[1] in ("f_score", "error_rate")]
    if args.format == "csv":
        print("yardstick,output,metric,value")
        for name, row in found.items():
            for (output, metric), value in row.items():
                print(f'"{name}",{output},{metric},{value:.10g}')
        return 0
    print(f"{_describe(args.reference, dict(reference), pair.kind)}")
    width = max(map(len, found))
    titles = [f"{output} {'F1' if metric == 'f_score' else 'ER'}" for output, metric in columns]
    print(f"{'':<{width}}  " + "  ".join(titles))
    for name, row in found.items():
        cells = [f"{100 * row[key]:.1f}" if key[1] == "f_score" else f"{row[key]:.3f}" for key in columns]
        print(f"{name:<{width}}  " + "  ".join(f"{c:>{len(t)}}" for c, t in zip(cells, titles, strict=True)))
    return 0


# --- runs -----------------------------------------------------------------------------------------------------------


def _evaluate_run(args: argparse.Namespace) -> Evaluation:
    from crnn_weak.events.decode import scores_to_events, scores_to_tags
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
            backend=args.backend,
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
