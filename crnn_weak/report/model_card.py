"""The model card of a run: Markdown with metadata in front, in the fields that model hubs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crnn_weak import __version__, paper
from crnn_weak.errors import RunError
from crnn_weak.files import escape_markdown, write_text
from crnn_weak.report.views import COLUMNS, class_table, class_values, coverage, facts
from crnn_weak.runs.run import Run
from crnn_weak.runs.table import markdown_table

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
_HUB_NAMES = {"f_score": "f1"}
_TASKS = {"tagging": "audio-classification", "segment": "sound-event-detection"}


def model_card(run: Run) -> str:
    """Return the model card of a finished run; its head is JSON, which is valid YAML. Texts of the run are escaped."""
    if not run.is_scored():
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
    described = {**facts(run), "data": run.data.get("provenance") or dataset}
    described |= {f"{split} split": text for split, text in coverage(run)}
    header, rows = class_table(run)
    lines = [
        "---", head_text, "---", "",
        f"# {escape_markdown(name)}", "",
        "A convolutional and recurrent network that detects *which* classes sound in a clip (output `weak`) and *when* "
        "(output `strong`), trained with labels that say only which. It follows Adavanne and Virtanen (2017).", "",
        "## Use", "",
        "```python", "import crnn_weak", f'detector = crnn_weak.load("{run.model_path.name}")',
        'events = detector.detect("recording.wav")  # onsets and offsets in seconds', "```", "",
        "## Model and training", "",
        *(f"- {escape_markdown(fact)}: {escape_markdown(text)}" for fact, text in described.items()), "",
        "## Results", "",
        f"On {run.metrics['n_clips']:,} of {run.metrics['n_listed']:,} test clips, one seed: precision, recall and "
        "F-score in percent, the error rate as a ratio; detection (SED) in segments.", "",
        markdown_table(header, [[escape_markdown(text) for text in row] for row in rows], align="lr"),
        "## Limits", "",
        f"- {limit}",
        *_weakest(run),
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
        rates = run.metrics.get(output) or {}
        metrics = [
            {"type": _HUB_NAMES.get(column.name, column.name), "name": column.heading, "value": round(value, 4)}
            for column in COLUMNS
            if column.output == output and (value := rates.get(column.name)) is not None
        ]
        if metrics:
            kind = {"name": dataset, "type": dataset, "split": "test"}
            results.append({"task": {"type": task, "name": output}, "dataset": kind, "metrics": metrics})
    return results


def _weakest(run: Run, n: int = 3) -> list[str]:
    """Return a line on the classes with the lowest F-scores in tagging."""
    values = zip(class_values(run, "tagging", "f_score"), run.classes, strict=True)
    ranked = sorted((value, name) for value, name in values if value is not None)
    names = ", ".join(escape_markdown(name) for _, name in ranked[:n])
    return [f"- Weakest classes in tagging: {names}."] if names else []


def write_model_card(run: Run, path: str | Path | None = None) -> Path:
    """Write a run's model card, by default ``model-card.md`` in its folder; return its path."""
    target = run.files.model_card if path is None else Path(path)
    text = model_card(run)
    write_text(target, text)
    return target
