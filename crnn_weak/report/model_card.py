"""The model card: what a trained model is, was trained on, reaches, and is not good for.

Markdown with YAML metadata in front, in the fields that model hubs read (licence, tags, datasets, metrics,
model-index). Every figure is of the run's own ``metrics.json``; what is not known is not written.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crnn_weak import __version__, paper
from crnn_weak.errors import RunError
from crnn_weak.figures.network import blocks_of_config
from crnn_weak.runs.run import Run

__all__ = ["model_card", "write_model_card"]

_SOURCES = {  # data source -> (name, short name, what a model of it is not)
    "dcase2017_task4": (
        "DCASE 2017 task 4 (AudioSet excerpts)",
        "dcase2017-task4",
        "The recordings are excerpts of web videos: which of them could still be had decides what was learnt.",
    ),
    "street": (
        "procedural street scenes",
        "crnn-weak-street",
        "The model has heard synthetic sounds only. It shows that the method works; it is not fit for real streets.",
    ),
    "scenes": (
        "scenes mixed from isolated recordings",
        "crnn-weak-scenes",
        "The scenes are mixtures: reverberation, distance and overlap are simpler than in real recordings.",
    ),
    "folder": (
        "a user's own recordings",
        "user-recordings",
        "What the recordings do not contain (places, devices, seasons) the model has not learnt.",
    ),
}


def _yaml(value: Any, indent: int = 0) -> Iterator[str]:
    """Write mappings, lists and scalars as YAML; texts as JSON strings, which YAML reads as they are."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list):
                yield f"{pad}{key}:"
                yield from _yaml(item, indent + 1)
            else:
                yield f"{pad}{key}: {_scalar(item)}"
    else:
        for item in value:
            if isinstance(item, Mapping):
                first, *others = _yaml(item, indent + 1)
                yield f"{pad}- {first.lstrip()}"
                yield from others
            else:
                yield f"{pad}- {_scalar(item)}"


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_METRICS = (  # place in metrics.json, type for the index, name, percent?
    ("tagging", "f_score", "f1", "tagging F-score (micro)", True),
    ("tagging", "precision", "precision", "tagging precision (micro)", True),
    ("tagging", "recall", "recall", "tagging recall (micro)", True),
    ("segment", "f_score", "f1", "detection F-score (1 s segments, micro)", True),
    ("segment", "error_rate", "error_rate", "detection error rate (1 s segments)", False),
)


def _index(run: Run, name: str, dataset: tuple[str, str]) -> list[dict[str, Any]]:
    results = []
    for output, task, label in (
        ("tagging", "audio-classification", "tagging"),
        ("segment", "sound-event-detection", "detection"),
    ):
        metrics = [
            {"type": kind, "name": title, "value": round(float(run.metrics[output][metric]), 4)}
            for place, metric, kind, title, _ in _METRICS
            if place == output and run.metrics.get(output) and _known(run.metrics[output].get(metric))
        ]
        if metrics:
            results.append(
                {
                    "task": {"type": task, "name": label},
                    "dataset": {"name": dataset[0], "type": dataset[1], "split": run.metrics.get("split", "test")},
                    "metrics": metrics,
                }
            )
    return [{"name": name, "results": results}]


def _known(value: Any) -> bool:
    return value is not None and not math.isnan(float(value))


def _plain(text: str) -> str:
    """A text from outside, harmless in a Markdown table or line."""
    text = " ".join(str(text).split())
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, "\\" + sign)
    return text


def _class_table(run: Run) -> list[str]:
    tagging = (run.metrics.get("tagging") or {}).get("class_wise", {})
    segment = (run.metrics.get("segment") or {}).get("class_wise", {})

    def percent(row: Mapping[str, Any]) -> str:
        if row.get("f_score") is not None:
            return f"{100 * row['f_score']:.0f}"
        return "0" if row.get("n_reference") else "–"

    lines = ["| class | testing clips | tagging F / % | detection F / % |", "|---|---:|---:|---:|"]
    for name in run.classes:
        row = tagging.get(name, {})
        lines.append(
            f"| {_plain(name)} | {row.get('n_reference', 0)} | {percent(row)} | "
            f"{percent(segment[name]) if name in segment else '–'} |"
        )
    return lines


def _weakest(run: Run, n: int = 3) -> Sequence[str]:
    rows = (run.metrics.get("tagging") or {}).get("class_wise", {})
    heard = [(row.get("f_score") or 0.0, name) for name, row in rows.items() if row.get("n_reference")]
    return [name for _, name in sorted(heard)[:n]]


def model_card(run: Run) -> str:
    """Return a run's model card.

    Parameters
    ----------
    run : Run
        Finished.

    Returns
    -------
    str
        Markdown; its YAML head is valid by itself.

    Raises
    ------
    RunError
        The run is not finished.
    """
    if not run.finished:
        raise RunError(f"{run.path}: the run is not finished, so it has no results for a model card.")
    config = run.config
    source, short, limit = _SOURCES.get(config.data.source, (config.data.source, config.data.source, ""))
    name = f"crnn_weak {config.preset}, strong {run.setting[0]:g}, weak {run.setting[1]:g}"
    head = {
        "license": "mit",
        "library_name": "keras",
        "pipeline_tag": "audio-classification",
        "tags": ["audio", "sound-event-detection", "audio-tagging", "weak-labels", "crnn", "keras"],
        "datasets": [short],
        "metrics": ["f1", "precision", "recall"],
        "model-index": _index(run, name, (source, short)),
    }
    features, training = config.features, config.training
    n_weights = sum(
        block.n_weights for block in blocks_of_config(config.model, n_frames=features.n_frames, n_mels=features.n_mels)
    )
    results = [
        f"| {title} | {100 * value:.1f} % |" if percent else f"| {title} | {value:.2f} |"
        for output, metric, _, title, percent in _METRICS
        if run.metrics.get(output) and _known(value := run.metrics[output].get(metric))
    ]
    packages = ", ".join(f"{k} {v}" for k, v in run.environment.get("packages", {}).items()) or "not recorded"
    coverage = [
        f"- {split}: {count['n_clips']:,} of {count['n_listed']:,} listed clips"
        for split, count in run.data.get("coverage", {}).items()
    ]
    weakest = ", ".join(map(_plain, _weakest(run)))
    seconds = sum(run.history.get("seconds", []))
    lines = [
        "---", *_yaml(head), "---", "",
        f"# {name}", "",
        "A convolutional and recurrent network that hears *what* sounds in a clip (output `weak`) and *when* "
        "(output `strong`), trained with labels that say only what. It follows Adavanne and Virtanen (2017).", "",
        "## Use", "",
        "```python", "import crnn_weak", 'detector = crnn_weak.load("best.keras")',
        'events = detector.detect("recording.wav")   # onsets and offsets in seconds', "```", "",
        "## The model", "",
        f"- input: log mel-band energies, {features.n_mels} bands up to {features.fmax_hz:g} Hz, "
        f"{1000 * features.hop_seconds:g} ms hop, audio at {features.sample_rate_hz:,} Hz, mono",
        f"- {n_weights:,} trainable weights; preset `{config.preset}`, weak head `{config.model.weak_head}`",
        f"- {len(run.classes)} classes: {_plain('; '.join(run.classes))}",
        f"- decisions: score of {config.decisions.threshold:g} or more, unless the file holds tuned thresholds", "",
        "## Training", "",
        f"- data: {_plain(run.data.get('provenance') or source)}", *coverage,
        f"- loss weights: strong {run.setting[0]:g}, weak {run.setting[1]:g}; the strong targets are the clip's tags, "
        "repeated for every frame",
        f"- Adam at {training.learning_rate:g}, batches of {training.batch_size} clips, seed {training.seed}, "
        f"{len(run.history.get('epoch', []))} epochs" + (f", epoch {run.best_epoch} kept" if run.best_epoch else "")
        + (f", {seconds / 60:.0f} minutes" if seconds >= 60 else ""),
        f"- versions: {_plain(packages)}", "",
        "## Results", "",
        f"On {run.metrics['n_clips']:,} of {run.metrics['n_listed']:,} clips of split "
        f"`{_plain(run.metrics.get('split', 'test'))}`, one seed.", "",
        "| figure | value |", "|---|---:|", *results, "", *_class_table(run), "",
        "## Limits", "",
        *([f"- {limit}"] if limit else []),
        *([f"- Weakest classes in tagging: {weakest}."] if weakest else []),
        "- Trained on weak labels: onsets and offsets are what the network found useful, not a listener's marks.",
        f"- Trained on clips of {features.clip_seconds:g} s; longer recordings are heard in windows of that length.",
        "- Scores are not calibrated probabilities, and classes outside the list are never reported.",
        "- Not made for safety, for surveillance of persons, or for any decision about a person.", "",
        "## Citation", "",
        f"{paper.CITATION}.", "",
        f"Written by crnn_weak {__version__}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_model_card(run: Run, path: str | Path | None = None) -> Path:
    """Write a run's model card; by default ``model-card.md`` beside its ``best.keras``.

    Raises
    ------
    RunError
        The run is not finished.
    """
    target = run.path / "model-card.md" if path is None else Path(path)
    text = model_card(run)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)
    return target
