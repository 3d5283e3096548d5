"""One run: train one setting with one seed, score the test clips, write the metrics.

A task writes to its run folder and to nothing else, so other processes and machines can take it over.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crnn_weak.config import Config, check_continues, load_config
from crnn_weak.files import lock, read_json, write_json
from crnn_weak.run_files import RunFiles, RunMetrics, Split, read_optional
from crnn_weak.runs.identity import Identity, check_identity, identity_of, write_identity

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.labels.events import Event

__all__ = ["RunTask", "check_tasks", "is_complete", "is_done", "run_metrics", "train_and_score"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunTask:
    """One setting with one seed: the task of a worker.

    Attributes
    ----------
    config : Config
    train_store, test_store : str
        Feature stores.
    folder : str
        The run folder.
    initial_model : str, optional
        Model file to start from (fine-tuning).
    evaluation_store : str, optional
        Feature store of the challenge's evaluation set.
    """

    config: Config
    train_store: str
    test_store: str
    folder: str
    initial_model: str | None = None
    evaluation_store: str | None = None

    @property
    def files(self) -> RunFiles:
        """The names of the run folder's files."""
        return RunFiles(self.folder)

    def identity(self) -> Identity:
        """Return what the run depends on beside its configuration."""
        from crnn_weak.features.store import FeatureStore

        features = self.config.features
        with FeatureStore(self.train_store, features) as train, FeatureStore(self.test_store, features) as test:
            return identity_of(train, test, initial_model=self.initial_model, teacher=self.config.targets.teacher)


def is_complete(files: RunFiles) -> bool:
    """Return whether a run has been trained and scored."""
    return files.metrics.exists()


def is_done(task: RunTask) -> bool:
    """Return whether a task's run is complete: with these settings, and scored on all that the task names."""
    files = task.files
    if not is_complete(files) or load_config(files.config) != task.config:
        return False
    return task.evaluation_store is None or "evaluation" in run_metrics(files)


def run_metrics(files: RunFiles) -> dict[str, Any]:
    """Return the content of a complete run's ``metrics.json``."""
    return read_optional(files.metrics, RunMetrics)


def check_tasks(tasks: Sequence[RunTask]) -> None:
    """Refuse a run folder that holds a run of other settings, other data, other classes or another initial model.

    Parameters
    ----------
    tasks : sequence of RunTask
        Of the same stores and first models, so that their identity is computed once.

    Raises
    ------
    RunError
        The message names what differs.
    """
    identity: Identity | None = None
    for task in tasks:
        task.files.check_own()
        if task.files.config.exists():
            check_continues(load_config(task.files.config), task.config, task.folder)
            identity = identity or task.identity()
            check_identity(task.files, identity)


def train_and_score(task: RunTask, *, overwrite: bool = False, **options: Any) -> dict[str, Any]:
    """Train, score and evaluate one run; what is done already is not done again.

    Parameters
    ----------
    task : RunTask
    overwrite : bool
        Delete the run that the folder holds, and start anew; only when nothing else is refused.
    **options
        Passed on to `crnn_weak.training.fit.train`: ``on_batch``, ``tensorboard``.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    RunError
        The folder holds a run of another configuration, other data, other classes or another initial model.
    """
    files = task.files
    # A worker that was declared dead may be alive: the second one waits, and finds the work done.
    with lock(files.folder, wait_seconds=math.inf):
        identity = task.identity()
        files.check_own()
        if not overwrite:
            check_identity(files, identity)
        if files.config.exists() and not overwrite:
            check_continues(load_config(files.config), task.config, task.folder)
            if is_done(task):
                return run_metrics(files)
        options |= {"overwrite": overwrite, "on_begin": lambda: write_identity(files, identity)}
        return _train_and_score(task, options)


def _train_and_score(task: RunTask, options: dict[str, Any]) -> dict[str, Any]:
    # Late, so that the parent process, which only waits, needs no TensorFlow.
    from crnn_weak.environment import set_threads

    config, files = task.config, task.files
    if config.training.deterministic:
        set_threads(1, deterministic=True)
    import keras
    import numpy as np

    from crnn_weak.detection.operating_point import OperatingPoint
    from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
    from crnn_weak.detection.predict import predict_store
    from crnn_weak.detection.scores import save_scores
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.labels.files import write_events, write_tags
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import train

    keras.utils.clear_session()
    with FeatureStore(task.train_store, config.features) as store:
        best = train(config, store, files.folder, initial_model=task.initial_model, **options)
        model, metadata = load_model(best)
        validation = read_json(files.split, Split).validation
        position = {clip_id: row for row, clip_id in enumerate(store.clip_ids)}
        held_out = predict_store(model, metadata, store, np.array([position[clip_id] for clip_id in validation]))
        save_scores(files.validation_scores, held_out)
    point = OperatingPoint.from_config(config.operating_point, metadata.classes)
    with FeatureStore(task.test_store, config.features) as store:
        scores = predict_store(model, metadata, store)
        save_scores(files.scores, scores)
        events, tags = scores_to_events(scores, point), scores_to_tags(scores, point)
        write_events(files.events, events)
        write_tags(files.tags, tags)
        metrics = _metrics(events, tags, store, config) | {"operating_point": point.to_dict()}
    if task.evaluation_store is not None:
        with FeatureStore(task.evaluation_store, config.features) as store:
            scores = predict_store(model, metadata, store)
            save_scores(files.evaluation_scores, scores)
            events, tags = scores_to_events(scores, point), scores_to_tags(scores, point)
            metrics["evaluation"] = _metrics(events, tags, store, config)
    write_json(files.metrics, metrics)
    return metrics


def _metrics(
    events: Mapping[str, Sequence[Event]],
    tags: Mapping[str, Sequence[str]],
    store: FeatureStore,
    config: Config,
) -> dict[str, Any]:
    """Return the metrics of detected events and tags against the labels of their feature store."""
    from crnn_weak.labels.classes import tag_names
    from crnn_weak.metrics.sed_eval import reported_metrics, sources

    classes = store.classes
    true_tags = {clip: tag_names(row, classes) for clip, row in zip(store.clip_ids, store.tags, strict=True)}
    metrics: dict[str, Any] = {
        "split": store.split,
        "n_clips": len(store),
        "n_listed": store.n_listed,
        "scored_by": sources(),
        "tagging": None,
        "segment": None,
        "event": None,
    }
    found = reported_metrics(
        (true_tags, tags),
        (store.events, events) if store.has_events else None,
        classes=classes,
        clip_seconds=config.features.clip_seconds,
        evaluation=config.evaluation,
    )
    return metrics | {output: of_output.to_dict() for output, of_output in found.items()}
