"""The model card of a run: Markdown with metadata in front, in the fields that model hubs read; facts for its page."""

from __future__ import annotations

import json
from typing import Any

from crnn_weak import __version__, paper
from crnn_weak.errors import RunError
from crnn_weak.files import escape_markdown, markdown_table
from crnn_weak.metrics.summary import METRICS
from crnn_weak.run_files import RunEnvironment, read_optional
from crnn_weak.runs.folders import Run

# The columns of every table of metrics.
_COLUMNS = tuple(metric for metric in METRICS if metric.in_table)

_TARGETS = {
    "repeat": "the clip's tags, repeated for every frame",
    "high_energy": "the clip's tags in the frames that stand out of its noise floor",
    "loud": "the clip's tags in the recording's loud frames; of several tags, those that the model's own scores name",
    "self_training": "the frame scores of a teacher model, within the clip's tags",
    "none": "none",
}
_SOURCES = {  # data source -> (name for the hub, a limit of its models)
    "dcase2017_task4": (
        "dcase2017-task4",
        "The recordings are excerpts of web videos: what the model learned depends on which are still available.",
    ),
    "street": (
        "crnn-weak-street",
        "Trained on synthetic sounds only. The model shows that the method works; it is not fit for real streets.",
    ),
    "scenes": (
        "crnn-weak-scenes",
        "The scenes are mixtures: reverberation, distance and overlap are simpler than in real recordings.",
    ),
    "folder": (
        "user-recordings",
        "What the recordings do not contain (places, devices, seasons) the model has not learned.",
    ),
}
_TASKS = {"tagging": "audio-classification", "segment": "sound-event-detection"}


def facts(run: Run) -> dict[str, str]:
    """Return what describes a run's model, training and data: name -> text."""
    config, features, model, training = run.config, run.config.features, run.config.model, run.config.training
    point, source = run.operating_point(run.classes)
    seconds = sum(run.history.get("seconds", []))
    environment = read_optional(run.files.environment, RunEnvironment)
    packages = ", ".join(f"{name} {text}" for name, text in environment.get("packages", {}).items())
    filters = ", ".join(map(str, dict.fromkeys(model.filters)))
    found = {
        "input": f"log mel-band energies, {features.n_mels} bands up to {features.fmax_hz:g} Hz, "
        f"{1000 * features.hop_seconds:g} ms hop, clips of {features.clip_seconds:g} s at "
        f"{features.sample_rate_hz:,} Hz, mono",
        "network": f"convolutions of {filters} filters, pooled over {', '.join(map(str, model.pools))} bands; "
        f"bidirectional GRUs of {', '.join(map(str, model.gru_units))} units; "
        f"dense layer of {model.dense_units} units; weak head {model.weak_head}; preset {config.preset}",
        "classes": f"{len(run.classes)}: {'; '.join(run.classes)}",
        "operating point": f"{point.summary()} ({source})",
        "loss weights": "strong {:g}, weak {:g}".format(*run.setting),
        "strong targets": _TARGETS[config.targets.strong],
        "training": f"{training.optimizer} at {training.learning_rate:g}, batches of {training.batch_size} clips, seed "
        f"{training.seed}, {len(run.history.get('epoch', []))} epochs"
        + (f", epoch {run.best_epoch} kept" if run.best_epoch else "")
        + (f", {seconds / 60:.0f} minutes" if seconds >= 60 else ""),
        "versions": packages or "not recorded",
        "data": run.data.get("provenance") or "not recorded",
    }
    for split, counts in run.data.get("coverage", {}).items():
        names = ("short", "missing", "unreadable", "untagged")
        others = [f"{counts[name]:,} {name}" for name in names if counts.get(name)]
        text = f"{counts['n_clips']:,} of {counts['n_listed']:,} listed clips used"
        found[f"{split} split"] = f"{text} ({', '.join(others)})" if others else text
    return found


def class_values(run: Run, output: str, metric: str) -> list[float | None]:
    """Return a metric's fraction of each class; None where it is undefined."""
    rows = (run.results.get(output) or {}).get("class_wise", {})
    return [rows.get(name, {}).get(metric) for name in run.classes]


def class_table(run: Run) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the metrics: of all classes, and of each."""
    columns = [column for column in _COLUMNS if run.results.get(column.output)]
    overall = [column.format(run.results[column.output][column.name]) for column in columns]
    rows = [["all classes", f"{run.metrics['n_clips']:,}", *overall]]
    counts = class_values(run, "tagging", "n_reference")
    values = [class_values(run, column.output, column.name) for column in columns]
    for index, name in enumerate(run.classes):
        texts = [column.format(series[index]) for column, series in zip(columns, values, strict=True)]
        rows.append([name, f"{counts[index] or 0:,.0f}", *texts])
    return ["class", "test clips", *(column.heading for column in columns)], rows


def model_card(run: Run) -> str:
    """Return the model card of a finished run; its head is JSON, which is valid YAML. Texts of the run are escaped."""
    if not run.metrics:
        raise RunError(f"{run.path}: the run is not finished, so it has no results for a model card.")
    dataset, limit = _SOURCES[run.config.data.source]
    strong, weak = run.setting
    name = f"crnn_weak {run.config.preset}, strong {strong:g}, weak {weak:g}"
    head = {
        "license": "mit",
        "library_name": "keras",
        "pipeline_tag": "audio-classification",
        "tags": ["audio", "sound-event-detection", "audio-tagging", "weak-labels", "crnn", "keras"],
        "datasets": [dataset],
        "metrics": ["f1", "precision", "recall"],
        "model-index": [{"name": name, "results": _index(run, dataset)}],
    }
    # Readers of Markdown without YAML see the head as text: no markup there either.
    head_text = json.dumps(head, indent=1, ensure_ascii=True).replace("<", "\\u003c")
    header, rows = class_table(run)
    f_scores = zip(class_values(run, "tagging", "f_score"), run.classes, strict=True)
    ranked = sorted((value, name) for value, name in f_scores if value is not None)
    names = ", ".join(escape_markdown(name) for _, name in ranked[:3])
    weakest = [f"- Weakest classes in tagging: {names}."] if names else []
    lines = [
        "---", head_text, "---", "",
        f"# {escape_markdown(name)}", "",
        "A convolutional and recurrent network that detects *which* classes sound in a clip (output `weak`) and *when* "
        "(output `strong`), trained with labels that say only which. It follows Adavanne and Virtanen (2017).", "",
        "## Use", "",
        "```python", "import crnn_weak", f'detector = crnn_weak.load("{run.files.best_model.name}")',
        'events = detector.detect("recording.wav")  # onsets and offsets in seconds', "```", "",
        "## Model and training", "",
        *(f"- {escape_markdown(fact)}: {escape_markdown(text)}" for fact, text in facts(run).items()), "",
        "## Results", "",
        f"On {run.metrics['n_clips']:,} of {run.metrics['n_listed']:,} test clips, one seed: precision, recall and "
        "F-score in percent, the error rate as a ratio; detection (SED) in segments.", "",
        markdown_table(header, [[escape_markdown(text) for text in row] for row in rows], align="lr"),
        "## Limits", "",
        f"- {limit}",
        *weakest,
        "- Trained on weak labels: onsets and offsets are the network's, not a listener's marks.",
        f"- Trained on clips of {run.config.features.clip_seconds:g} s; longer recordings pass in windows of that "
        "length.",
        "- Scores are not calibrated probabilities, and classes outside the list are never reported.",
        "- Not intended for safety, for surveillance of persons, or for any decision about a person.", "",
        "## Citation", "",
        f"{paper.CITATION}.", "",
        f"Written by crnn_weak {__version__}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _index(run: Run, dataset: str) -> list[dict[str, Any]]:
    """Return the metrics as model hubs list them."""
    results = []
    for output, task in _TASKS.items():
        rates = run.results.get(output) or {}
        metrics = [
            {"type": column.name.replace("f_score", "f1"), "name": column.heading, "value": round(value, 4)}
            for column in _COLUMNS
            if column.output == output and (value := rates.get(column.name)) is not None
        ]
        if metrics:
            kind = {"name": dataset, "type": dataset, "split": "test"}
            results.append({"task": {"type": task, "name": output}, "dataset": kind, "metrics": metrics})
    return results
