"""The reported values: detection by sed_eval and dcase_util, tagging by scikit-learn; `counting` is the fast equal.

sed_eval gets clip by clip, with the classes that the clip holds, since it loops over clips, classes and segments in
Python. Labels are passed as codes, since dcase_util reads ``none`` as no label and numbers as numbers.
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
from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import EventTable
from crnn_weak.metrics.counting import Scoring, Tags, event_tables, import_sed_eval, segments_per_clip, tag_arrays
from crnn_weak.metrics.summary import COUNTS, ERROR_COUNTS, RATES, Metrics

_DEFAULT = EvaluationConfig()


@functools.cache
def sources() -> dict[str, str]:
    """Return the library and version that score ``tagging`` and ``detection``."""
    return {"tagging": f"scikit-learn {version('scikit-learn')}", "detection": f"sed_eval {version('sed_eval')}"}


def reported_metrics(
    tags: tuple[Tags, Tags], events: tuple[Events, Events] | None, scoring: Scoring
) -> dict[str, Metrics]:
    """Return the metrics of ``tagging`` and, with events, ``segment`` and ``event``, of (reference, estimate)."""
    found = {"tagging": reported_tagging_metrics(*tags, classes=scoring.classes)}
    if events is not None:
        options: dict[str, Any] = {"classes": scoring.classes, "evaluation": scoring.evaluation}
        found["segment"] = reported_segment_metrics(*events, clip_seconds=scoring.clip_seconds, **options)
        found["event"] = reported_event_metrics(*events, **options)
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


def reported_tagging_metrics(reference: Tags, estimated: Tags, *, classes: Sequence[str]) -> Metrics:
    """Score clip-level tags with scikit-learn; see `crnn_weak.metrics.counting.tagging_metrics`."""
    from sklearn.metrics import precision_recall_fscore_support

    true, found = tag_arrays(reference, estimated, classes)
    if not classes:
        return Metrics.of_values(len(true), _row((0, 0, 0), dict.fromkeys(RATES, math.nan)), {})
    counts = np.stack([array.sum(axis=0) for array in (true, found, true & found)])
    # A second, empty column keeps a single class multilabel for scikit-learn; micro averages do not see it.
    true, found = (np.pad(array, ((0, 0), (0, 1))) for array in (true, found))
    by_class = precision_recall_fscore_support(true, found, average=None, zero_division=np.nan)[:3]
    micro = precision_recall_fscore_support(true, found, average="micro", zero_division=np.nan)[:3]
    rows = {
        label: _row(counts[:, index], {name: rate[index] for name, rate in zip(RATES, by_class, strict=True)})
        for index, label in enumerate(classes)
    }
    overall = _row(counts.sum(axis=1), dict(zip(RATES, micro, strict=True)))
    return Metrics.of_values(len(true), overall, rows)


def reported_segment_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    clip_seconds: float | None = 10.0,
    evaluation: EvaluationConfig = _DEFAULT,
) -> Metrics:
    """Score event lists on segments with sed_eval; see `crnn_weak.metrics.counting.segment_metrics`."""
    sed_eval, _ = import_sed_eval()
    seconds, codes = evaluation.segment_seconds, [f"class {index}" for index in range(len(classes))]
    tables = event_tables(reference, estimated, classes)
    segments_per_clip(tables, clip_seconds, seconds)  # refuses times that are dates
    scored = sed_eval.sound_event.SegmentBasedMetrics(codes, time_resolution=float(seconds))
    _evaluate(scored, tables, len(reference), evaluated_length_seconds=clip_seconds)
    return _detection_metrics(scored, classes, len(reference), ("S", "D", "I"), segment_seconds=seconds)


def reported_event_metrics(
    reference: Events,
    estimated: Events,
    *,
    classes: Sequence[str],
    evaluation: EvaluationConfig = _DEFAULT,
    onset_only: bool = False,
) -> Metrics:
    """Score event lists event by event with sed_eval; see `crnn_weak.metrics.counting.event_metrics`."""
    sed_eval, _ = import_sed_eval()
    collar, fraction = evaluation.collar_seconds, evaluation.offset_fraction
    codes = [f"class {index}" for index in range(len(classes))]
    scored = sed_eval.sound_event.EventBasedMetrics(
        codes, evaluate_offset=not onset_only, t_collar=float(collar), percentage_of_length=float(fraction)
    )
    _evaluate(scored, event_tables(reference, estimated, classes), len(reference))
    settings = {"collar_seconds": collar, "offset_fraction": fraction, "onset_only": onset_only}
    return _detection_metrics(scored, classes, len(reference), ("Nsubs", "Nfn", "Nfp"), **settings)


def _evaluate(scored: Any, tables: Sequence[EventTable], n_clips: int, **options: Any) -> None:
    """Add every clip that has events to a sed_eval object."""
    _, dcase_util = import_sed_eval()
    starts = [np.searchsorted(table.clip, np.arange(n_clips + 1)) for table in tables]
    for clip in np.unique(np.concatenate([table.clip for table in tables])).tolist():
        lists, labels = [], set()
        for table, start in zip(tables, starts, strict=True):
            rows = []
            columns = (column[start[clip] : start[clip + 1]].tolist() for column in table[1:])
            for label, onset, offset in zip(*columns, strict=True):
                rows.append({"filename": "clip", "onset": onset, "offset": offset, "event_label": f"class {label}"})
                labels.add(f"class {label}")
            lists.append(dcase_util.containers.MetaDataContainer(rows))
        scored.event_label_list = sorted(labels)  # the classes that it loops over
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scored.evaluate(*lists, **options)


def _detection_metrics(
    scored: Any, classes: Sequence[str], n_clips: int, errors: tuple[str, str, str], **settings: float | bool
) -> Metrics:
    """Return the metrics of a sed_eval object; `errors` are its names of the counts of S, D and I."""

    def row(counts: Mapping[str, Any], f_score: Mapping[str, Any], error_rates: Mapping[str, Any]) -> dict[str, float]:
        rates = {"precision": f_score["precision"], "recall": f_score["recall"], "f_score": f_score["f_measure"]}
        return _row([counts[name] for name in ("Nref", "Nsys", "Ntp")], rates | dict(error_rates))

    rows = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overall = row(scored.overall, scored.overall_f_measure(), scored.overall_error_rate())
        for label, code in zip(classes, scored.class_wise, strict=True):
            found = (scored.class_wise[code], scored.class_wise_f_measure(code), scored.class_wise_error_rate(code))
            rows[label] = row(*found)
    overall |= {ours: int(scored.overall[theirs]) for ours, theirs in zip(ERROR_COUNTS, errors, strict=True)}
    return Metrics.of_values(n_clips, overall, rows, **settings)
