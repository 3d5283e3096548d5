"""The figures that are reported, through sed_eval; the same dataclasses as the vectorised counts return.

`crnn_weak.metrics.segment` and `crnn_weak.metrics.event` count the same, hundreds of times faster, and serve
validation and searches; tests hold the two equal. sed_eval is imported on the first call, since it brings dcase_util
with it, and what both warn of on today's Python (``pkg_resources``) does not reach the user.

Lists are grouped by clip before sed_eval sees them: filtering one container of all clips, as its manual shows, costs
five times as much. Where sed_eval gives no number or one without meaning (0/0), the policy stated in
`crnn_weak.metrics.counting` is laid over its figures.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

from crnn_weak.activity import event_table
from crnn_weak.errors import DependencyError
from crnn_weak.labels.events import Events
from crnn_weak.metrics.counting import (
    CLASS_FIGURES,
    RATES,
    ClassFigures,
    check_clips,
    check_lengths,
    class_average,
)
from crnn_weak.metrics.event import EventMetrics
from crnn_weak.metrics.segment import SegmentMetrics

__all__ = ["official_event_metrics", "official_segment_metrics", "sed_eval_version"]


@functools.cache
def _modules() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import dcase_util
            import sed_eval
        except ImportError as error:
            raise DependencyError(
                f"sed_eval cannot be imported ({error}): pip install sed_eval dcase_util 'setuptools<82'."
            ) from None
    return sed_eval, dcase_util


def sed_eval_version() -> str:
    """Return the installed version of sed_eval."""
    from importlib.metadata import version

    return version("sed_eval")


def _evaluate(metrics: Any, reference: Events, estimated: Events, classes: Sequence[str], **settings: Any) -> int:
    """Feed every clip of the reference to a sed_eval object; return their number."""
    _, dcase_util = _modules()
    clip_ids = check_clips(reference, estimated)
    for events, where in ((reference, "reference"), (estimated, "estimate")):
        event_table(events, clip_ids=clip_ids, classes=classes, where=where)  # sed_eval words unknown labels badly

    def container(clip_id: str, events: Events) -> Any:
        rows = [
            {"filename": clip_id, "onset": event.onset, "offset": event.offset, "event_label": event.label}
            for event in events.get(clip_id, ())
        ]
        return dcase_util.containers.MetaDataContainer(rows)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for clip_id in clip_ids:
            metrics.evaluate(container(clip_id, reference), container(clip_id, estimated), **settings)
    return len(clip_ids)


def _figures(metrics: Any, classes: Sequence[str], n_clips: int, errors: tuple[str, str, str]) -> dict[str, Any]:
    """Return the fields of a DetectionMetrics from a sed_eval object; `errors` names its counts of S, D and I."""
    counts = metrics.overall
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f_measure, rates = metrics.overall_f_measure(), metrics.overall_error_rate()
        rows = {}
        for label in classes:
            found, wrong = metrics.class_wise_f_measure(label), metrics.class_wise_error_rate(label)
            row = metrics.class_wise[label]
            absent = row["Nref"] == 0
            rows[label] = ClassFigures(
                int(row["Nref"]),
                int(row["Nsys"]),
                int(row["Ntp"]),
                float(found["precision"]),
                float(found["recall"]),
                float(found["f_measure"]),
                *(
                    float("nan") if absent else float(wrong[name])
                    for name in ("error_rate", "deletion_rate", "insertion_rate")
                ),
            )
    n_reference, n_estimated = int(counts["Nref"]), int(counts["Nsys"])
    overall = {
        "precision": float(f_measure["precision"]),
        "recall": float(f_measure["recall"]),
        "f_score": float(f_measure["f_measure"]),
        **{name: float(rates[name]) for name in RATES},
    }
    if n_reference == 0:
        overall = {name: float("nan") if name != "precision" or not n_estimated else 0.0 for name in overall}
    elif n_estimated == 0:
        overall |= {"precision": 0.0, "f_score": 0.0}
    average, undefined = class_average(rows, CLASS_FIGURES)
    return {
        "n_clips": n_clips,
        "n_reference": n_reference,
        "n_estimated": n_estimated,
        "n_correct": int(counts["Ntp"]),
        **dict(
            zip(
                ("n_substitutions", "n_deletions", "n_insertions"),
                (int(counts[name]) for name in errors),
                strict=True,
            )
        ),
        **overall,
        "class_wise": rows,
        "class_average": average,
        "n_undefined": undefined,
    }


def official_segment_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = 10.0,
    segment_seconds: float = 1.0,
) -> SegmentMetrics:
    """Score event lists on segments with sed_eval; see `crnn_weak.metrics.segment.segment_metrics`."""
    check_lengths(clip_seconds=clip_seconds, segment_seconds=segment_seconds)
    sed_eval, _ = _modules()
    metrics = sed_eval.sound_event.SegmentBasedMetrics(list(classes), time_resolution=float(segment_seconds))
    length = {} if clip_seconds is None else {"evaluated_length_seconds": clip_seconds}
    n_clips = _evaluate(metrics, reference, estimated, classes, **length)
    return SegmentMetrics(**_figures(metrics, classes, n_clips, ("S", "D", "I")), segment_seconds=segment_seconds)


def official_event_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> EventMetrics:
    """Score event lists event by event with sed_eval; see `crnn_weak.metrics.event.event_metrics`."""
    check_lengths(collar_seconds=collar_seconds)
    sed_eval, _ = _modules()
    metrics = sed_eval.sound_event.EventBasedMetrics(
        list(classes),
        evaluate_offset=not onset_only,
        t_collar=float(collar_seconds),
        percentage_of_length=float(offset_fraction),
    )
    n_clips = _evaluate(metrics, reference, estimated, classes)
    return EventMetrics(
        **_figures(metrics, classes, n_clips, ("Nsubs", "Nfn", "Nfp")),
        collar_seconds=collar_seconds,
        offset_fraction=offset_fraction,
        onset_only=onset_only,
    )
