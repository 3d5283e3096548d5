"""The reported values: detection through sed_eval and dcase_util, tagging through scikit-learn.

`crnn_weak.metrics.segment`, `crnn_weak.metrics.event` and `crnn_weak.metrics.tagging` count the same, hundreds of times
faster, for validation, searches and confidence intervals; tests hold the values equal. The libraries are imported on
the first call, and their own warnings (``pkg_resources``) are silenced.

Lists are grouped by clip before sed_eval receives them: filtering one container of all clips, as its manual shows,
takes five times as long. Labels are passed as codes, since dcase_util reads ``none`` as no label and numbers as
numbers. Where a library gives no value, or one without meaning (0/0), `crnn_weak.metrics.counting` states the value.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from crnn_weak.errors import DependencyError
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import event_table, n_segments
from crnn_weak.metrics.counting import (
    CLASS_ERROR_RATES,
    ERROR_RATES,
    RATES,
    ClassMetrics,
    EventMetrics,
    Metrics,
    SegmentMetrics,
    check_clips,
    check_lengths,
    class_average,
    class_rates,
)
from crnn_weak.metrics.tagging import Tags, tag_arrays

__all__ = [
    "official_event_metrics",
    "official_segment_metrics",
    "official_tagging_metrics",
    "sed_eval_matching",
    "sources",
]


@functools.cache
def _modules() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import dcase_util
            import sed_eval
        except ImportError as error:
            raise DependencyError(
                f"sed_eval cannot be imported ({error}). Reported detection metrics come from it: "
                "pip install sed_eval dcase_util 'setuptools<82'."
            ) from None
    return sed_eval, dcase_util


@functools.cache
def sources() -> dict[str, str]:
    """Return the library and version behind the reported values of each task: ``tagging`` and ``detection``."""
    return {"tagging": f"scikit-learn {version('scikit-learn')}", "detection": f"sed_eval {version('sed_eval')}"}


# --- tagging -------------------------------------------------------------------------------------------------------


def official_tagging_metrics(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> Metrics:
    """Score clip-level tags with scikit-learn; see `crnn_weak.metrics.tagging.tagging_metrics`."""
    from sklearn.metrics import multilabel_confusion_matrix, precision_recall_fscore_support

    clip_ids, true, found = tag_arrays(reference, estimated, classes=classes)
    if not classes:
        nothing = dict.fromkeys(RATES, math.nan)
        return Metrics(
            n_clips=len(clip_ids), n_reference=0, n_estimated=0, n_correct=0, **nothing,
            class_wise={}, class_average=nothing, n_undefined=dict.fromkeys(RATES, 0),
        )  # fmt: skip
    # A second, empty column keeps a single class multilabel for scikit-learn; micro averages do not see it.
    true, found = (np.pad(array, ((0, 0), (0, 1))) for array in (true, found))
    matrix = multilabel_confusion_matrix(true, found)[:-1]
    n_correct, n_missed, n_false = matrix[:, 1, 1], matrix[:, 1, 0], matrix[:, 0, 1]
    rates = np.stack(precision_recall_fscore_support(true, found, average=None, zero_division=np.nan)[:3])[:, :-1]
    rates[2, np.isnan(rates[:2]).any(axis=0)] = np.nan
    micro = precision_recall_fscore_support(true, found, average="micro", zero_division=np.nan)[:3]
    overall = _overall(dict(zip(RATES, map(float, micro), strict=True)), int(true.sum()), int(found.sum()))
    counts = (n_correct + n_missed, n_correct + n_false, n_correct)
    errors = class_rates(*counts)
    rates = np.concatenate([rates, [errors[name] for name in CLASS_ERROR_RATES]])
    rows = {
        label: ClassMetrics(*map(int, numbers), *map(float, values))
        for label, numbers, values in zip(classes, np.transpose(counts), rates.T, strict=True)
    }
    average, undefined = class_average(rows, RATES)
    return Metrics(
        n_clips=len(clip_ids), n_reference=int(true.sum()), n_estimated=int(found.sum()),
        n_correct=int(n_correct.sum()), **overall, class_wise=rows, class_average=average, n_undefined=undefined,
    )  # fmt: skip


def _overall(rates: Mapping[str, float], n_reference: int, n_estimated: int) -> dict[str, float]:
    """Return overall rates with the values of `crnn_weak.metrics.counting` where they are 0/0."""
    if n_reference == 0:
        return {name: 0.0 if name == "precision" and n_estimated else math.nan for name in rates}
    if n_estimated == 0:
        return {**rates, "precision": 0.0, "f_score": 0.0}
    return dict(rates)


# --- detection -----------------------------------------------------------------------------------------------------


def sed_eval_matching(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum matching that sed_eval takes of the graph with edges (rows, columns).

    Parameters
    ----------
    rows, columns : np.ndarray of int, shape (n_edges,)
        Sorted by row, then by column.

    Returns
    -------
    rows, columns : np.ndarray of int, shape (n_matched,)
    """
    sed_eval, _ = _modules()
    graph: dict[int, list[int]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        graph.setdefault(column, []).append(row)
    matching = sed_eval.util.bipartite_match(graph)
    return np.fromiter(matching.keys(), np.int64), np.fromiter(matching.values(), np.int64)


def _codes(classes: Sequence[str]) -> dict[str, str]:
    return {label: f"class {index}" for index, label in enumerate(classes)}


def _code_list(classes: Sequence[str]) -> list[str]:
    return list(_codes(classes).values()) or ["no class"]  # sed_eval needs one


def _evaluate(metrics: Any, reference: Events, estimated: Events, classes: Sequence[str], **settings: Any) -> int:
    """Score every clip of the reference with a sed_eval object; return the number of clips."""
    _, dcase_util = _modules()
    clip_ids = check_clips(reference, estimated)
    for events, where in ((reference, "reference"), (estimated, "estimate")):
        event_table(events, clip_ids=clip_ids, classes=classes, where=where)  # refuses labels that are not in classes
    codes = _codes(classes)

    def container(events: Events, clip_id: str) -> Any:
        rows = [
            {"filename": "clip", "onset": event.onset, "offset": event.offset, "event_label": codes[event.label]}
            for event in events.get(clip_id, ())
        ]
        return dcase_util.containers.MetaDataContainer(rows)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for clip_id in clip_ids:
            metrics.evaluate(container(reference, clip_id), container(estimated, clip_id), **settings)
    return len(clip_ids)


def _class_metrics(metrics: Any, code: str) -> ClassMetrics:
    row, found, errors = (
        metrics.class_wise[code],
        metrics.class_wise_f_measure(code),
        metrics.class_wise_error_rate(code),
    )
    rates = [found["precision"], found["recall"], found["f_measure"]]
    rates += [math.nan if row["Nref"] == 0 else errors[name] for name in CLASS_ERROR_RATES]
    return ClassMetrics(int(row["Nref"]), int(row["Nsys"]), int(row["Ntp"]), *map(float, rates))


def _fields(metrics: Any, classes: Sequence[str], n_clips: int, errors: tuple[str, str, str]) -> dict[str, Any]:
    """Return the fields of a DetectionMetrics from a sed_eval object; `errors` names its counts of S, D and I."""
    counts = metrics.overall
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, rates = metrics.overall_f_measure(), metrics.overall_error_rate()
        rows = {label: _class_metrics(metrics, code) for label, code in _codes(classes).items()}
    values = {"precision": found["precision"], "recall": found["recall"], "f_score": found["f_measure"]}
    values |= {name: rates[name] for name in ERROR_RATES}
    n_reference, n_estimated = int(counts["Nref"]), int(counts["Nsys"])
    average, undefined = class_average(rows, (*RATES, *CLASS_ERROR_RATES))
    names = ("n_substitutions", "n_deletions", "n_insertions")
    return {
        "n_clips": n_clips,
        "n_reference": n_reference,
        "n_estimated": n_estimated,
        "n_correct": int(counts["Ntp"]),
        **{ours: int(counts[theirs]) for ours, theirs in zip(names, errors, strict=True)},
        **_overall({name: float(value) for name, value in values.items()}, n_reference, n_estimated),
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
    metrics = sed_eval.sound_event.SegmentBasedMetrics(_code_list(classes), time_resolution=float(segment_seconds))
    length = {} if clip_seconds is None else {"evaluated_length_seconds": clip_seconds}
    ends = (event.offset for events in (reference, estimated) for rows in events.values() for event in rows)
    n_segments(max(ends, default=0.0) if clip_seconds is None else clip_seconds, segment_seconds)  # refuses too many
    n_clips = _evaluate(metrics, reference, estimated, classes, **length)
    return SegmentMetrics(**_fields(metrics, classes, n_clips, ("S", "D", "I")), segment_seconds=segment_seconds)


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
        _code_list(classes),
        evaluate_offset=not onset_only,
        t_collar=float(collar_seconds),
        percentage_of_length=float(offset_fraction),
    )
    n_clips = _evaluate(metrics, reference, estimated, classes)
    return EventMetrics(
        **_fields(metrics, classes, n_clips, ("Nsubs", "Nfn", "Nfp")),
        collar_seconds=collar_seconds,
        offset_fraction=offset_fraction,
        onset_only=onset_only,
    )
