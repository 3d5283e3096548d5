"""Numbers and settings of a run or an experiment, as texts in tables for the page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crnn_weak.config import PRESETS, Config, source_and_note
from crnn_weak.runs.grid import Experiment
from crnn_weak.runs.results import COLUMNS, measured
from crnn_weak.runs.run import Run
from crnn_weak.runs.table import ResultsTable
from crnn_weak.settings import hints_of

__all__ = [
    "Cell",
    "class_rows",
    "config_sections",
    "coverage_rows",
    "environment_rows",
    "key_figures",
    "results_table",
    "run_rows",
]

_NONE = "–"


class Cell(NamedTuple):
    """One value: ours, its spread over seeds, the paper's, the difference; whether each is its column's best."""

    ours: str
    spread: str = ""
    published: str = ""
    difference: str = ""
    is_best: bool = False
    is_best_published: bool = False


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def results_table(table: ResultsTable) -> dict[str, Any]:
    """Return the table of an experiment for the template: columns, rows (weights and cells), foot."""
    rows = []
    for setting in table.settings:
        cells = []
        for column in COLUMNS:
            ours, spread = table.mean(setting, column), table.deviation(setting, column)
            theirs = column.published_value(setting)
            entry = table.entry(setting, column)
            cells.append(
                Cell(
                    _number(ours, column.digits),
                    "" if spread is None else f"± {spread:.{column.digits}f}",
                    "" if theirs is None else f"{theirs:.{column.digits}f}",
                    "" if ours is None or theirs is None else _signed(ours - theirs, column.digits),
                    entry.is_best,
                    entry.is_best_published,
                )
            )
        errors = [_number(value, 2) for value in table.error_rates(setting).values()]
        rows.append({"strong": f"{setting[0]:g}", "weak": f"{setting[1]:g}", "cells": cells, "errors": errors})
    baselines = [
        {
            "name": name,
            "cells": [
                _number(None if value is None else value * column.scale, column.digits)
                for column in COLUMNS
                for value in [values.get(f"{column.key}/{column.metric}")]
            ],
        }
        for name, values in (table.baselines or {}).items()
    ]
    ranks = [table.rank_correlation(column) for column in COLUMNS]
    return {
        "columns": [
            {"title": column.title, "unit": "%" if column.scale == 100 else "ratio", "output": column.key}
            for column in COLUMNS
        ],
        "rows": rows,
        "baselines": baselines,
        "challenge": [
            "" if best is None else f"{best:.{column.digits}f}"
            for column in COLUMNS
            for best in [column.challenge_best]
        ],
        "has_errors": any(value is not None for s in table.settings for value in table.error_rates(s).values()),
        "ranks": [_NONE if value is None else _signed(value, 2) for value in ranks],
        "caption": sentence(table.caption),
    }


_NAMES = {
    ("tagging", "f_score"): "tagging F-score",
    ("segment", "f_score"): "detection F-score, segment-based",
    ("segment", "error_rate"): "detection error rate, segment-based",
}


def key_figures(run: Run) -> list[dict[str, str]]:
    """Return the three figures at the head of the page, of one run."""
    figures = []
    for output, metric in (("segment", "f_score"), ("segment", "error_rate"), ("tagging", "f_score")):
        value = (run.metrics.get(output) or {}).get(metric)
        if value is None:
            continue
        percent = metric == "f_score"
        figures.append(
            {
                "value": f"{100 * value:.1f}" if percent else f"{value:.2f}",
                "unit": "%" if percent else "",
                "name": _NAMES[output, metric],
            }
        )
    clips = {
        "value": f"{run.metrics['n_clips']:,}",
        "unit": "",
        "name": f"of {run.metrics['n_listed']:,} test clips",
    }
    return [*figures, clips]


def run_rows(run: Run) -> list[dict[str, Any]]:
    """Return a run's figures beside the paper's of the same weights: name, ours, paper's."""
    rows = []
    for column in COLUMNS:
        value = measured(run.metrics, column)
        if value is None and column.split != "test":
            continue
        theirs = column.published_value(run.setting)
        ours = None if value is None else value * column.scale
        rows.append(
            {
                "name": column.title,
                "unit": "%" if column.scale == 100 else "",
                "cell": Cell(
                    _number(ours, column.digits),
                    "",
                    "" if theirs is None else f"{theirs:.{column.digits}f}",
                    "" if ours is None or theirs is None else _signed(ours - theirs, column.digits),
                ),
            }
        )
    return rows


def class_rows(run: Run) -> list[dict[str, Any]]:
    """Return one row for each class: counts and figures of tagging and of detection."""
    tagging = (run.metrics.get("tagging") or {}).get("class_wise", {})
    segment = (run.metrics.get("segment") or {}).get("class_wise", {})

    def percent(values: Mapping[str, Any], name: str) -> str:
        value = values.get(name)
        return _NONE if value is None else f"{100 * value:.0f}"

    rows = []
    for name in run.classes:
        tags, segments = tagging.get(name, {}), segment.get(name, {})
        error_rate = segments.get("error_rate")
        rows.append(
            {
                "label": name,
                "n_tags": tags.get("n_reference", 0),
                "tagging": [percent(tags, metric) for metric in ("precision", "recall", "f_score")],
                "n_segments": segments.get("n_reference", ""),
                "segment": [percent(segments, metric) for metric in ("precision", "recall", "f_score")],
                "error_rate": _NONE if error_rate is None else f"{error_rate:.2f}",
            }
        )
    return rows


def coverage_rows(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each split: clips listed, used, short, missing and unreadable."""
    rows = []
    for split, counts in data.get("coverage", {}).items():
        listed, used = counts.get("n_listed", 0), counts.get("n_clips", 0)
        rows.append(
            {
                "split": split,
                "listed": f"{listed:,}",
                "used": f"{used:,}",
                "share": f"{100 * used / listed:.1f} %" if listed else _NONE,
                **{name: f"{counts.get(name, 0):,}" for name in ("short", "missing", "unreadable")},
            }
        )
    return rows


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def config_sections(config: Config) -> list[dict[str, Any]]:
    """Return every setting by section, with a mark on those that differ from the preset's default."""
    default = PRESETS.get(config.preset, Config())
    sections = []
    for item in dataclasses.fields(config):
        section, standard = getattr(config, item.name), getattr(default, item.name)
        if not dataclasses.is_dataclass(section):
            continue
        rows = []
        for name, hint in hints_of(type(section)).items():
            value, (source, note) = getattr(section, name), source_and_note(hint)
            rows.append(
                {
                    "name": name,
                    "value": _text(value) if value != "" else _NONE,
                    "changed": value != getattr(standard, name, None),
                    "source": source,
                    "note": note,
                }
            )
        sections.append({"name": item.name, "rows": rows})
    return sections


def environment_rows(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the environment as (name, text); packages in one row."""
    rows = []
    for name, value in environment.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{package} {version}" for package, version in value.items())
        else:
            text = _text(value)
        rows.append((name.replace("_", " "), text or _NONE))
    return rows


def experiment_lead(experiment: Experiment, run: Run) -> str:
    """Return the sentence under the title of an experiment."""
    n, seeds = len(experiment.settings), len(experiment.seeds)
    settings = {1: "One weighting", 7: "Seven weightings"}.get(n, f"{n} weightings")
    each = f", {seeds} seeds each" if seeds > 1 else ""
    return (
        f"{settings} of the strong and the weak loss{each}, beside the published table. Class by class and clip by "
        "clip, the page shows the run with strong weight {:g} and weak weight {:g}, seed {}.".format(
            *run.setting, run.seed
        )
    )


def run_lead(run: Run) -> str:
    """Return the sentence under the title of a single run."""
    epochs = f"{len(run.history.get('epoch', []))} epochs"
    best = f", of which epoch {run.best_epoch} is kept" if run.best_epoch else ""
    return (
        f"One model, strong weight {run.setting[0]:g} and weak weight {run.setting[1]:g}, trained for {epochs}{best}."
    )


def sentence(text: str) -> str:
    """Return a line of text with a capital at its beginning and a full stop at its end."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def reason_groups(reasons: Sequence[str]) -> list[str]:
    """Return a clip's reasons as badges."""
    return [reason.removeprefix("class: ") if reason.startswith("class: ") else reason for reason in reasons]
