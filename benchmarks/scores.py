"""Scores and the search for thresholds, against sed_eval, in one run.

The data have the shape of the task's evaluation set (1,103 clips, 17 classes, 500 frames; made up, seeded):

* one evaluation of event lists, on segments and event by event: sed_eval, grouped by file (its faster way), and our
  count;
* one evaluation of tags (100 clips: sed_eval's time grows with the square of their number);
* one threshold of an exhaustive search on segments: sed_eval needs event lists and an evaluation for each threshold,
  the search gives the figures at 99 at once. Everything from scores to figures counts, for both.

CPU seconds are counted, so that other work on the machine is not. Metrics are compared before they are timed. Run it as
``python benchmarks/scores.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from common import alternate, cpu_timed, parse, report

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.postprocessing import OperatingPoint, scores_to_events
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.tuning import Reference, tune
from crnn_weak.labels.events import DCASE2017_TASK4 as CLASSES
from crnn_weak.labels.events import Event
from crnn_weak.metrics.counting import event_metrics, segment_metrics, tagging_metrics
from crnn_weak.metrics.sed_eval import reported_event_metrics, reported_segment_metrics

HOP = 0.02
N_THRESHOLDS = 99


def made_up(n_clips: int, seed: int = 0) -> tuple[Scores, dict[str, tuple[Event, ...]]]:
    """Return scores that know something of the events, and the events."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-3.0, 0.8, (n_clips, 10, len(CLASSES))).repeat(50, axis=1).astype(np.float32)
    events: dict[str, tuple[Event, ...]] = {}
    for clip in range(n_clips):
        rows = []
        for c in rng.choice(len(CLASSES), rng.choice([1, 2, 3], p=[0.78, 0.2, 0.02]), replace=False):
            onset = round(rng.uniform(0, 6), 3)
            offset = round(min(10.0, onset + rng.gamma(2.0, 2.5)), 3)
            rows.append(Event(onset, offset, CLASSES[c]))
            logits[clip, int(onset / HOP) : int(offset / HOP), c] += rng.normal(3.5, 1.5)
        events[f"clip-{clip:04d}"] = tuple(rows)
    logits += rng.normal(0, 0.15, logits.shape).astype(np.float32)
    strong = 1 / (1 + np.exp(-logits))
    return Scores(tuple(events), CLASSES, HOP, strong, strong.max(axis=1)), events


def sed_eval_tags(reference: Mapping[str, list[str]], estimated: Mapping[str, list[str]]) -> float:
    """Return micro F1 as sed_eval counts it."""
    import dcase_util
    import sed_eval

    lists = [
        dcase_util.containers.MetaDataContainer([{"filename": clip, "tags": tags[clip]} for clip in reference])
        for tags in (reference, estimated)
    ]
    metrics = sed_eval.audio_tag.AudioTaggingMetrics(tags=list(CLASSES))
    metrics.evaluate(lists[0], lists[1])
    overall = metrics.overall
    return 2 * overall["Ntp"] / (overall["Nref"] + overall["Nsys"])


def main() -> None:
    args = parse(__doc__, {"clips": 1103, "rounds": 5})
    scores, events = made_up(args.clips)
    paper = OperatingPoint.from_config(OperatingPointConfig(), CLASSES)
    estimated = scores_to_events(scores, paper)
    options: dict[str, Any] = {"classes": CLASSES}
    tags = {clip: sorted({event.label for event in rows}) for clip, rows in events.items()}
    few = dict(list(tags.items())[:100])
    guessed = {clip: sorted({event.label for event in estimated[clip]}) for clip in few}

    def at_threshold(threshold: float) -> float:
        found = scores_to_events(scores, paper.replace(thresholds=threshold))
        return reported_segment_metrics(events, found, **options).f_score

    def search(metric: str, per_class: bool = False) -> float:
        return tune(scores, Reference(tags, events), metric=metric, per_class=per_class).after

    difference = max(
        abs(at_threshold(t) - tune(scores, Reference(events=events), metric="segment_f1", candidates=[t]).after)
        for t in (0.1, 0.3, 0.5, 0.7, 0.9)
    )
    pairs = [
        (reported_event_metrics, event_metrics, events, estimated),
        (reported_segment_metrics, segment_metrics, events, estimated),
    ]
    for theirs, ours, reference, found in pairs:
        a, b = theirs(reference, found, **options), ours(reference, found, **options)
        difference = max(difference, abs(a.error_rate - b.error_rate), abs(a.f_score - b.f_score))
    f_score = tagging_metrics(few, guessed, **options).f_score
    difference = max(difference, abs(sed_eval_tags(few, guessed) - f_score))

    def compare(name: str, rivals: dict[str, Callable[[], Any]], n_items: Any = 1, **facts: Any) -> None:
        timings = alternate({title: cpu_timed(call) for title, call in rivals.items()}, rounds=args.rounds)
        facts = {"classes": len(CLASSES), "threads": 1, "largest_difference": difference} | facts
        report(name, timings, n_items=n_items, unit="evaluations", ours="ours", packages=["sed_eval"], **facts)

    compare(
        "segment-based figures of event lists",
        {
            "ours": lambda: segment_metrics(events, estimated, **options),
            "sed_eval": lambda: reported_segment_metrics(events, estimated, **options),
        },
        clips=args.clips,
    )
    compare(
        "event-based figures of event lists",
        {
            "ours": lambda: event_metrics(events, estimated, **options),
            "sed_eval": lambda: reported_event_metrics(events, estimated, **options),
        },
        clips=args.clips,
    )
    compare(
        "tagging",
        {"ours": lambda: tagging_metrics(few, guessed, **options), "sed_eval": lambda: sed_eval_tags(few, guessed)},
        clips=len(few),
    )
    compare(
        "thresholds of an exhaustive search, segment F1",
        {"ours": lambda: search("segment_f1"), "sed_eval": lambda: at_threshold(0.5)},
        {"ours": N_THRESHOLDS, "sed_eval": 1},
        clips=args.clips,
        thresholds=N_THRESHOLDS,
    )
    searches = {metric: lambda m=metric: search(m) for metric in ("segment_f1", "error_rate", "tagging_f1", "event_f1")}
    for metric in ("segment_f1", "tagging_f1", "event_f1"):
        searches[f"{metric}, per class"] = lambda m=metric: search(m, per_class=True)
    searches = {name: cpu_timed(call) for name, call in searches.items()}
    timings = alternate(searches, rounds=args.rounds, warm_up=0)
    report("whole searches", timings, clips=args.clips, classes=len(CLASSES), thresholds=N_THRESHOLDS)


if __name__ == "__main__":
    main()
