"""The model card of a run: its model, training data, metrics and limits.

Markdown with YAML metadata in front, in the fields that model hubs read (license, tags, datasets, metrics,
model-index). Every value comes from the run's own ``metrics.json``; unknown values are skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crnn_weak import __version__, paper
from crnn_weak.errors import RunError
from crnn_weak.figures.network import blocks_of_config
from crnn_weak.files import escape_markdown, write_text
from crnn_weak.runs.run import Run

__all__ = ["ModelCard", "model_card", "write_model_card"]

_SOURCES = {  # data source -> (name, short name, what a model of it is not)
    "dcase2017_task4": (
        "DCASE 2017 task 4 (AudioSet excerpts)",
        "dcase2017-task4",
        "The recordings are excerpts of web videos: what the model learned depends on which are still available.",
    ),
    "street": (
        "procedural street scenes",
        "crnn-weak-street",
        "Trained on synthetic sounds only. The model shows that the method works; it is not fit for real streets.",
    ),
    "scenes": (
        "scenes mixed from isolated recordings",
        "crnn-weak-scenes",
        "The scenes are mixtures: reverberation, distance and overlap are simpler than in real recordings.",
    ),
    "folder": (
        "a user's own recordings",
        "user-recordings",
        "What the recordings do not contain (places, devices, seasons) the model has not learned.",
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
    # JSON is YAML. Readers of Markdown without YAML see this head as text: no markup there either.
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


_METRICS = (  # place in metrics.json, type for the index, name, percent?
    ("tagging", "f_score", "f1", "tagging F-score (micro)", True),
    ("tagging", "precision", "precision", "tagging precision (micro)", True),
    ("tagging", "recall", "recall", "tagging recall (micro)", True),
    ("segment", "f_score", "f1", "detection F-score (segment-based, micro)", True),
    ("segment", "error_rate", "error_rate", "detection error rate (segment-based)", False),
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


def _class_table(run: Run) -> list[str]:
    tagging = (run.metrics.get("tagging") or {}).get("class_wise", {})
    segment = (run.metrics.get("segment") or {}).get("class_wise", {})

    def percent(row: Mapping[str, Any]) -> str:
        if row.get("f_score") is not None:
            return f"{100 * row['f_score']:.0f}"
        return "0" if row.get("n_reference") else "–"

    lines = ["| class | test clips | tagging F / % | detection F / % |", "|---|---:|---:|---:|"]
    for name in run.classes:
        row = tagging.get(name, {})
        lines.append(
            f"| {escape_markdown(name)} | {row.get('n_reference', 0)} | {percent(row)} | "
            f"{percent(segment[name]) if name in segment else '–'} |"
        )
    return lines


def _weakest(run: Run, n: int = 3) -> Sequence[str]:
    rows = (run.metrics.get("tagging") or {}).get("class_wise", {})
    heard = [(row.get("f_score") or 0.0, name) for name, row in rows.items() if row.get("n_reference")]
    return [name for _, name in sorted(heard)[:n]]


class ModelCard(str):
    """A model card: Markdown that a notebook shows as text, without its YAML head."""

    def _repr_markdown_(self) -> str:
        return self.split("---\n", 2)[2]


def model_card(run: Run) -> ModelCard:
    """Return a run's model card.

    Parameters
    ----------
    run : Run
        Finished.

    Returns
    -------
    ModelCard
        Markdown; its YAML head is valid by itself. Names and texts of the run are escaped.

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
    lines = [
        "---", *_yaml(head), "---", "",
        f"# {escape_markdown(name)}", "",
        "A convolutional and recurrent network that detects *which* classes sound in a clip (output `weak`) and *when* "
        "(output `strong`), trained with labels that say only which. It follows Adavanne and Virtanen (2017).", "",
        "## Use", "",
        "```python", "import crnn_weak", f'detector = crnn_weak.load("{run.model_path.name}")',
        'events = detector.detect("recording.wav")   # onsets and offsets in seconds', "```", "",
        *_model_lines(run),
        *_training_lines(run, source),
        *_result_lines(run),
        *_limit_lines(run, limit),
        "## Citation", "",
        f"{paper.CITATION}.", "",
        f"Written by crnn_weak {__version__}.",
    ]  # fmt: skip
    return ModelCard("\n".join(lines) + "\n")


def _model_lines(run: Run) -> list[str]:
    config, features = run.config, run.config.features
    blocks = blocks_of_config(
        config.model, n_classes=len(run.classes), n_frames=features.n_frames, n_mels=features.n_mels
    )
    return [
        "## The model", "",
        f"- input: log mel-band energies, {features.n_mels} bands up to {features.fmax_hz:g} Hz, "
        f"{1000 * features.hop_seconds:g} ms hop, audio at {features.sample_rate_hz:,} Hz, mono",
        f"- {sum(block.n_weights for block in blocks):,} trainable weights; preset {escape_markdown(config.preset)}, "
        f"weak head {escape_markdown(config.model.weak_head)}",
        f"- {len(run.classes)} classes: {escape_markdown('; '.join(run.classes))}",
        f"- operating point: a score above {config.operating_point.threshold:g}, "
        "unless the file holds tuned thresholds",
        "",
    ]  # fmt: skip


_TARGETS = {
    "repeat": "the clip's tags, repeated for every frame",
    "high_energy": "the clip's tags in the frames that stand out of its floor",
    "self_training": "the frame scores of a first model, within the clip's tags",
    "none": "none",
}


def _training_lines(run: Run, source: str) -> list[str]:
    training, seconds = run.config.training, sum(run.history.get("seconds", []))
    packages = ", ".join(f"{name} {version}" for name, version in run.environment.get("packages", {}).items())
    coverage = [
        f"- {escape_markdown(split)}: {count['n_clips']:,} of {count['n_listed']:,} listed clips"
        for split, count in run.data.get("coverage", {}).items()
    ]
    return [
        "## Training", "",
        f"- data: {escape_markdown(run.data.get('provenance') or source)}", *coverage,
        f"- loss weights: strong {run.setting[0]:g}, weak {run.setting[1]:g}; strong targets: "
        f"{_TARGETS[run.config.targets.strong]}",
        f"- Adam at {training.learning_rate:g}, batches of {training.batch_size} clips, seed {training.seed}, "
        f"{len(run.history.get('epoch', []))} epochs" + (f", epoch {run.best_epoch} kept" if run.best_epoch else "")
        + (f", {seconds / 60:.0f} minutes" if seconds >= 60 else ""),
        f"- versions: {escape_markdown(packages) or 'not recorded'}", "",
    ]  # fmt: skip


def _result_lines(run: Run) -> list[str]:
    values = [
        f"| {title} | {100 * value:.1f} % |" if percent else f"| {title} | {value:.2f} |"
        for output, metric, _, title, percent in _METRICS
        if run.metrics.get(output) and _known(value := run.metrics[output].get(metric))
    ]
    return [
        "## Results", "",
        f"On {run.metrics['n_clips']:,} of {run.metrics['n_listed']:,} clips of split "
        f"{escape_markdown(run.metrics.get('split', 'test'))}, one seed.", "",
        "| metric | value |", "|---|---:|", *values, "", *_class_table(run), "",
    ]  # fmt: skip


def _limit_lines(run: Run, limit: str) -> list[str]:
    weakest = ", ".join(map(escape_markdown, _weakest(run)))
    return [
        "## Limits", "",
        *([f"- {limit}"] if limit else []),
        *([f"- Weakest classes in tagging: {weakest}."] if weakest else []),
        "- Trained on weak labels: onsets and offsets are the network's, not a listener's marks.",
        f"- Trained on clips of {run.config.features.clip_seconds:g} s; longer recordings pass in windows of that "
        "length.",
        "- Scores are not calibrated probabilities, and classes outside the list are never reported.",
        "- Not intended for safety, for surveillance of persons, or for any decision about a person.", "",
    ]  # fmt: skip


def write_model_card(run: Run, path: str | Path | None = None) -> Path:
    """Write a run's model card; by default ``model-card.md`` beside its ``best.keras``.

    Raises
    ------
    RunError
        The run is not finished.
    """
    target = run.files.model_card if path is None else Path(path)
    text = model_card(run)
    write_text(target, text)
    return target
