"""The reported values: detection by sed_eval and dcase_util, tagging by scikit-learn.

`crnn_weak.metrics.segment`, `event` and `tagging` count the same, hundreds of times faster, for validation, searches
and confidence intervals; tests check that the values are equal. Clips are passed to sed_eval one by one: filtering one
container of all clips, as its manual shows, takes five times as long. Labels are passed as codes, since dcase_util
reads ``none`` as no label and numbers as numbers. `crnn_weak.metrics.counting` defines the values for 0/0.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from crnn_weak.config import EvaluationConfig
from crnn_weak.errors import DependencyError
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import n_segments
from crnn_weak.metrics.counting import COUNTS, ERROR_COUNTS, RATES, Metrics, check_lengths, event_tables
from crnn_weak.metrics.tagging import Tags, tag_arrays


@functools.cache
def _modules() -> tuple[Any, Any]:
    """Import sed_eval and dcase_util without their warnings (``pkg_resources``)."""
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
    """Return the library and version that computed the values of each task: ``tagging`` and ``detection``."""
    return {"tagging": f"scikit-learn {version('scikit-learn')}", "detection": f"sed_eval {version('sed_eval')}"}


def reported_metrics(
    tags: tuple[Tags, Tags],
    events: tuple[Events, Events] | None,
    *,
    classes: Sequence[str],
    clip_seconds: float | None,
    evaluation: EvaluationConfig,
) -> dict[str, Metrics]:
    """Return the metrics of each output: ``tagging`` and, where there are events, ``segment`` and ``event``.

    `tags` and `events` are pairs of reference and estimate.
    """
    found = {"tagging": reported_tagging_metrics(*tags, classes=classes)}
    if events is not None:
        found["segment"] = reported_segment_metrics(
            *events, classes=classes, clip_seconds=clip_seconds, segment_seconds=evaluation.segment_seconds
        )
        found["event"] = reported_event_metrics(
            *events,
            classes=classes,
            collar_seconds=evaluation.collar_seconds,
            offset_fraction=evaluation.offset_fraction,
        )
    return found


def _row(counts: Iterable[Any], rates: Mapping[str, Any]) -> dict[str, float]:
    """Return counts of reference, estimate and correct with a library's rates, corrected where these are 0/0."""
    row: dict[str, float] = dict(zip(COUNTS, map(int, counts), strict=True))
    row |= {name: float(rate) for name, rate in rates.items()}
    if row["n_reference"] == 0:
        row |= dict.fromkeys(rates, math.nan) | {"precision": 0.0 if row["n_estimated"] else math.nan}
    elif row["n_estimated"] == 0:
        row |= {"precision": 0.0, "f_score": 0.0}
    return row


# --- tagging -------------------------------------------------------------------------------------------------------


def reported_tagging_metrics(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> Metrics:
    """Score clip-level tags with scikit-learn; see `crnn_weak.metrics.tagging.tagging_metrics`."""
    from sklearn.metrics import multilabel_confusion_matrix, precision_recall_fscore_support

    true, found = tag_arrays(reference, estimated, classes=classes)
    n_clips = len(true)
    if not classes:
        return Metrics.of_values(n_clips, _row((0, 0, 0), dict.fromkeys(RATES, math.nan)), {})
    # A second, empty column keeps a single class multilabel for scikit-learn; micro averages do not see it.
    true, found = (np.pad(array, ((0, 0), (0, 1))) for array in (true, found))
    matrix = multilabel_confusion_matrix(true, found)[:-1]
    n_correct, n_missed, n_false = matrix[:, 1, 1], matrix[:, 1, 0], matrix[:, 0, 1]
    counts = np.stack([n_correct + n_missed, n_correct + n_false, n_correct])
    by_class = precision_recall_fscore_support(true, found, average=None, zero_division=np.nan)[:3]
    micro = precision_recall_fscore_support(true, found, average="micro", zero_division=np.nan)[:3]
    rows = {
        label: _row(counts[:, index], {name: rate[index] for name, rate in zip(RATES, by_class, strict=True)})
        for index, label in enumerate(classes)
    }
    overall = _row(counts.sum(axis=1), dict(zip(RATES, micro, strict=True)))
    return Metrics.of_values(n_clips, overall, rows)


# --- detection -----------------------------------------------------------------------------------------------------


def sed_eval_matching(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum matching that sed_eval takes of the graph with edges (rows, columns), sorted by both."""
    sed_eval, _ = _modules()
    graph: dict[int, list[int]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        graph.setdefault(column, []).append(row)
    matching = sed_eval.util.bipartite_match(graph)
    return np.fromiter(matching.keys(), np.int64), np.fromiter(matching.values(), np.int64)


def _codes(classes: Sequence[str]) -> dict[str, str]:
    """Return the name of each class for sed_eval, which needs one at least."""
    return {label: f"class {index}" for index, label in enumerate(classes or ("no class",))}


def _evaluate(metrics: Any, reference: Events, estimated: Events, classes: Sequence[str], **settings: Any) -> int:
    """Score every clip of the reference with a sed_eval object; return the number of clips."""
    _, dcase_util = _modules()
    clip_ids, _, _ = event_tables(reference, estimated, classes)
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


def _detection_metrics(
    scored: Any, classes: Sequence[str], n_clips: int, errors: tuple[str, str, str], **settings: float | bool
) -> Metrics:
    """Return the metrics of a sed_eval object; `errors` are its names of the counts of S, D and I."""

    def row(counts: Mapping[str, Any], f_score: Mapping[str, Any], error_rates: Mapping[str, Any]) -> dict[str, float]:
        rates = {"precision": f_score["precision"], "recall": f_score["recall"], "f_score": f_score["f_measure"]}
        return _row([counts[name] for name in ("Nref", "Nsys", "Ntp")], rates | dict(error_rates))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overall = row(scored.overall, scored.overall_f_measure(), scored.overall_error_rate())
        rows = {
            label: row(scored.class_wise[code], scored.class_wise_f_measure(code), scored.class_wise_error_rate(code))
            for label, code in _codes(classes).items()
            if classes
        }
    overall |= {ours: int(scored.overall[theirs]) for ours, theirs in zip(ERROR_COUNTS, errors, strict=True)}
    return Metrics.of_values(n_clips, overall, rows, **settings)


def reported_segment_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = 10.0,
    segment_seconds: float = 1.0,
) -> Metrics:
    """Score event lists on segments with sed_eval; see `crnn_weak.metrics.segment.segment_metrics`."""
    check_lengths(clip_seconds=clip_seconds, segment_seconds=segment_seconds)
    sed_eval, _ = _modules()
    scored = sed_eval.sound_event.SegmentBasedMetrics(
        list(_codes(classes).values()), time_resolution=float(segment_seconds)
    )
    length = {} if clip_seconds is None else {"evaluated_length_seconds": clip_seconds}
    ends = (event.offset for events in (reference, estimated) for rows in events.values() for event in rows)
    n_segments(max(ends, default=0.0) if clip_seconds is None else clip_seconds, segment_seconds)  # refuses too many
    n_clips = _evaluate(scored, reference, estimated, classes, **length)
    return _detection_metrics(scored, classes, n_clips, ("S", "D", "I"), segment_seconds=segment_seconds)


def reported_event_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    collar_seconds: float = 0.2,
    offset_fraction: float = 0.5,
    onset_only: bool = False,
) -> Metrics:
    """Score event lists event by event with sed_eval; see `crnn_weak.metrics.event.event_metrics`."""
    check_lengths(collar_seconds=collar_seconds)
    sed_eval, _ = _modules()
    scored = sed_eval.sound_event.EventBasedMetrics(
        list(_codes(classes).values()),
        evaluate_offset=not onset_only,
        t_collar=float(collar_seconds),
        percentage_of_length=float(offset_fraction),
    )
    n_clips = _evaluate(scored, reference, estimated, classes)
    settings = {"collar_seconds": collar_seconds, "offset_fraction": offset_fraction, "onset_only": onset_only}
    return _detection_metrics(scored, classes, n_clips, ("Nsubs", "Nfn", "Nfp"), **settings)
