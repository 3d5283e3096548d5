"""Facts and metrics of a run as texts, for its page and its model card."""

from __future__ import annotations

from crnn_weak.metrics.summary import METRICS
from crnn_weak.runs.run import Run

#: The columns of every table of metrics.
COLUMNS = tuple(metric for metric in METRICS if metric.in_table)

_TARGETS = {
    "repeat": "the clip's tags, repeated for every frame",
    "high_energy": "the clip's tags in the frames that stand out of its noise floor",
    "self_training": "the frame scores of a teacher model, within the clip's tags",
    "none": "none",
}


def facts(run: Run) -> dict[str, str]:
    """Return what describes a run's model and training: name -> text."""
    config, features, model, training = run.config, run.config.features, run.config.model, run.config.training
    seconds = sum(run.history.get("seconds", []))
    return {
        "input": f"log mel-band energies, {features.n_mels} bands up to {features.fmax_hz:g} Hz, "
        f"{1000 * features.hop_seconds:g} ms hop, clips of {features.clip_seconds:g} s at "
        f"{features.sample_rate_hz:,} Hz, mono",
        "network": f"convolutions of {model.n_filters} filters, pooled over {_list(model.pools)} bands; bidirectional "
        f"GRUs of {_list(model.gru_units)} units; dense layer of {model.dense_units} units; weak head "
        f"{model.weak_head}; preset {config.preset}",
        "classes": f"{len(run.classes)}: {'; '.join(run.classes)}",
        "operating point": f"a score above {config.operating_point.threshold:g}, unless the model's folder holds "
        "tuned thresholds",
        "loss weights": "strong {:g}, weak {:g}".format(*run.setting),
        "strong targets": _TARGETS[config.targets.strong],
        "training": f"Adam at {training.learning_rate:g}, batches of {training.batch_size} clips, seed "
        f"{training.seed}, {len(run.history.get('epoch', []))} epochs"
        + (f", epoch {run.best_epoch} kept" if run.best_epoch else "")
        + (f", {seconds / 60:.0f} minutes" if seconds >= 60 else ""),
        "versions": ", ".join(f"{name} {text}" for name, text in run.environment.get("packages", {}).items())
        or "not recorded",
    }


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def coverage(run: Run) -> list[tuple[str, str]]:
    """Return which clips of each split were used: split -> text."""
    rows = []
    for split, counts in run.data.get("coverage", {}).items():
        others = [f"{counts[name]:,} {name}" for name in ("short", "missing", "unreadable") if counts.get(name)]
        text = f"{counts['n_clips']:,} of {counts['n_listed']:,} listed clips used"
        rows.append((split, f"{text} ({', '.join(others)})" if others else text))
    return rows


def class_values(run: Run, output: str, metric: str) -> list[float | None]:
    """Return a metric's fraction of each class; None where it is undefined."""
    rows = (run.metrics.get(output) or {}).get("class_wise", {})
    return [rows.get(name, {}).get(metric) for name in run.classes]


def class_table(run: Run) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the metrics: of all classes, and of each."""
    columns = [column for column in COLUMNS if run.metrics.get(column.output)]
    overall = [column.format(run.metrics[column.output][column.name]) for column in columns]
    rows = [["all classes", f"{run.metrics['n_clips']:,}", *overall]]
    counts = class_values(run, "tagging", "n_reference")
    values = [class_values(run, column.output, column.name) for column in columns]
    for index, name in enumerate(run.classes):
        texts = [column.format(series[index]) for column, series in zip(columns, values, strict=True)]
        rows.append([name, f"{counts[index] or 0:,.0f}", *texts])
    return ["class", "test clips", *(column.heading for column in columns)], rows
