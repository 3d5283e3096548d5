"""One cell of a grid: train one setting with one seed, score the testing clips, count.

A cell owns its run folder and nothing else; it is the unit that other processes and machines take over.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_weak.config import Config, load_config
from crnn_weak.storage import lock, write_text

__all__ = ["Cell", "cell_metrics", "is_complete", "run_cell"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """What a worker needs to know."""

    config: Config
    train_store: str
    test_store: str
    run_dir: str
    evaluation_store: str | None = None


def is_complete(run_dir: str | Path) -> bool:
    """Return whether a cell has been trained and scored."""
    return (Path(run_dir) / "metrics.json").exists()


def cell_metrics(run_dir: str | Path) -> dict[str, Any]:
    """Return the content of ``metrics.json``."""
    content: dict[str, Any] = json.loads((Path(run_dir) / "metrics.json").read_text(encoding="utf-8"))
    return content


def run_cell(cell: Cell, **options: Any) -> dict[str, Any]:
    """Train, score and count one cell; do nothing over again that is done already.

    Parameters
    ----------
    cell : Cell
    **options
        Passed on to `crnn_weak.training.fit.train`: ``on_batch``, ``initial_model``, ``tensorboard``.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    run_dir = Path(cell.run_dir)
    # A worker that was given up for lost may live: whoever comes second waits, and finds the work done.
    with lock(run_dir, wait_seconds=math.inf):
        if is_complete(run_dir) and load_config(run_dir / "config.toml") == cell.config:
            return cell_metrics(run_dir)
        return _run_cell(cell, run_dir, options)


def _run_cell(cell: Cell, run_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    # Late, so that the parent process, which only waits, needs no TensorFlow.
    from crnn_weak.model.environment import set_threads

    if cell.config.training.deterministic:
        set_threads(1, deterministic=True)
    import keras
    import numpy as np

    from crnn_weak.events.scores import load_scores, save_scores
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.inference.predict import predict_store
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import train

    keras.utils.clear_session()
    with FeatureStore(cell.train_store, cell.config.features) as store:
        best = train(cell.config, store, run_dir, **options)
        model, metadata = load_model(best)
        validation = json.loads((run_dir / "split.json").read_text(encoding="utf-8"))["validation"]
        position = {clip_id: row for row, clip_id in enumerate(store.clip_ids)}
        held_out = predict_store(model, metadata, store, np.array([position[clip_id] for clip_id in validation]))
        save_scores(run_dir / "validation_scores.h5", held_out)
    with FeatureStore(cell.test_store, cell.config.features) as store:
        scores = predict_store(model, metadata, store)
        save_scores(run_dir / "scores.h5", scores)
        # What is counted is what the file holds, so that a later evaluation of the run says the same.
        metrics = _score(run_dir, store, cell.config)
    if cell.evaluation_store is not None:
        with FeatureStore(cell.evaluation_store, cell.config.features) as store:
            scores = predict_store(model, metadata, store)
            save_scores(run_dir / "evaluation_scores.h5", scores)
            metrics["evaluation"] = _metrics(load_scores(run_dir / "evaluation_scores.h5"), store, cell.config)
    write_text(run_dir / "metrics.json", json.dumps(metrics, indent=1))
    return metrics


def _score(run_dir: Path, store: Any, config: Config) -> dict[str, Any]:
    """Write the events and tags of the testing clips; return the content of ``metrics.json``."""
    from crnn_weak.events.decode import scores_to_events, scores_to_tags
    from crnn_weak.events.operating_point import OperatingPoint
    from crnn_weak.events.scores import load_scores
    from crnn_weak.labels.files import write_events, write_tags

    scores = load_scores(run_dir / "scores.h5")
    point = OperatingPoint.from_config(config.decisions, scores.classes)
    write_events(run_dir / "events.tsv", scores_to_events(scores, point))
    write_tags(run_dir / "tags.tsv", scores_to_tags(scores, point))
    return _metrics(scores, store, config) | {"decisions": point.to_dict()}


def _metrics(scores: Any, store: Any, config: Config) -> dict[str, Any]:
    """Return the metrics of scores against the labels of their feature store."""
    from crnn_weak.events.decode import scores_to_events, scores_to_tags
    from crnn_weak.events.operating_point import OperatingPoint
    from crnn_weak.metrics.official import (
        official_event_metrics,
        official_segment_metrics,
        official_tagging_metrics,
        sources,
    )

    classes, evaluation = scores.classes, config.evaluation
    point = OperatingPoint.from_config(config.decisions, classes)
    tags = {
        clip_id: tuple(c for c, on in zip(classes, row, strict=True) if on)
        for clip_id, row in zip(store.clip_ids, store.tags, strict=True)
    }
    metrics: dict[str, Any] = {
        "split": store.split,
        "n_clips": len(store),
        "n_listed": store.n_listed,
        "scored_by": sources(),
        "tagging": official_tagging_metrics(tags, scores_to_tags(scores, point), classes=classes).to_dict(),
        "segment": None,
        "event": None,
    }
    if store.has_events:
        estimated = scores_to_events(scores, point)
        metrics["segment"] = official_segment_metrics(
            store.events,
            estimated,
            classes=classes,
            clip_seconds=config.features.clip_seconds,
            segment_seconds=evaluation.segment_seconds,
        ).to_dict()
        metrics["event"] = official_event_metrics(
            store.events,
            estimated,
            classes=classes,
            collar_seconds=evaluation.collar_seconds,
            offset_fraction=evaluation.offset_fraction,
        ).to_dict()
    return metrics
