"""Train and score runs: one, or many at once in local processes or on Dask.

A run writes to its own folder and to nothing else, so other processes and machines can take it over.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from tqdm import tqdm

from crnn_weak.config import Config
from crnn_weak.errors import RunError
from crnn_weak.files import lock, read_json, write_json
from crnn_weak.parallel import run_tasks
from crnn_weak.run_files import RunMetrics, Split, read_history, read_optional
from crnn_weak.runs.run import Run

if TYPE_CHECKING:
    from crnn_weak.detection.scores import Scores
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.labels.events import Event

log = logging.getLogger(__name__)


def check_runs(runs: Sequence[Run]) -> None:
    """Refuse the runs if one of their folders may not be continued; all have the same data and models."""
    identity = functools.cache(runs[0].identity)  # reads all labels, so once
    for run in runs:
        run.check_continues(identity)


def train_and_score(run: Run, *, overwrite: bool = False, **options: Any) -> dict[str, Any]:
    """Train, score and evaluate one run, or what is missing of it; return the content of ``metrics.json``.

    With `overwrite`, the folder's run is deleted, once nothing else is refused. `options` are those of
    `crnn_weak.training.fit.train`: ``on_batch``, ``tensorboard``.
    """
    files = run.files
    # A worker that was declared dead may be alive: the second one waits, and finds the work done.
    with lock(files.folder, wait_seconds=math.inf):
        identity = functools.cache(run.identity)
        run.check_continues(identity, overwrite=overwrite)
        if not overwrite and run.is_up_to_date():
            return read_optional(files.metrics, RunMetrics)
        options["on_begin"] = lambda: write_json(files.identity, msgspec.to_builtins(identity()))
        return _train_and_score(run, {**options, "overwrite": overwrite})


def _train_and_score(run: Run, options: dict[str, Any]) -> dict[str, Any]:
    # Late, so that the parent process, which only waits, needs no TensorFlow.
    from crnn_weak.environment import prepare_environment, set_threads

    prepare_environment()  # before the first import of Keras
    config, files = run.config, run.files
    if config.training.deterministic:
        set_threads(1, deterministic=True)
    import keras
    import numpy as np

    from crnn_weak.detection.operating_point import OperatingPoint
    from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
    from crnn_weak.detection.scores import predict_store, save_scores
    from crnn_weak.labels.writing import write_events, write_tags
    from crnn_weak.model.archive import load_model
    from crnn_weak.training.fit import train

    keras.utils.clear_session()
    with run.open_store("train") as store:
        best = train(config, store, files.folder, initial_model=run.initial_model, **options)
        model, metadata = load_model(best)
        validation = read_json(files.split, Split).validation
        position = {clip_id: row for row, clip_id in enumerate(store.clip_ids)}
        held_out = predict_store(model, metadata, store, np.array([position[clip_id] for clip_id in validation]))
        save_scores(files.validation_scores, held_out)
    point = OperatingPoint.from_config(config.operating_point, metadata.classes)

    def detect(scores: Scores) -> tuple[dict[str, Any], dict[str, Any]]:
        return scores_to_events(scores, point), scores_to_tags(scores, point)

    with run.open_store("test") as store:
        scores = predict_store(model, metadata, store)
        save_scores(files.scores, scores)
        events, tags = detect(scores)
        write_events(files.events, events)
        write_tags(files.tags, tags)
        metrics = _metrics(events, tags, store, config) | {"operating_point": point.to_dict()}
    if run.data.get("evaluation_store") is not None:
        with run.open_store("evaluation") as store:
            scores = predict_store(model, metadata, store)
            save_scores(files.evaluation_scores, scores)
            metrics["evaluation"] = _metrics(*detect(scores), store, config)
    write_json(files.metrics, metrics)  # last
    return metrics


def _metrics(
    events: Mapping[str, Sequence[Event]],
    tags: Mapping[str, Sequence[str]],
    store: FeatureStore,
    config: Config,
) -> dict[str, Any]:
    """Return the metrics of detected events and tags against the labels of their feature store."""
    from crnn_weak.labels.events import tag_names
    from crnn_weak.metrics.sed_eval import reported_metrics, sources

    classes = store.classes
    true_tags = {clip: tag_names(row, classes) for clip, row in zip(store.clip_ids, store.tags, strict=True)}
    reported = reported_metrics(
        (true_tags, tags),
        (store.events, events) if store.has_events else None,
        classes=classes,
        clip_seconds=config.features.clip_seconds,
        evaluation=config.evaluation,
    )
    metrics: dict[str, Any] = {
        "split": store.split,
        "n_clips": len(store),
        "n_listed": store.n_listed,
        "scored_by": sources(),
    }
    for output in ("tagging", "segment", "event"):
        metrics[output] = reported[output].to_dict() if output in reported else None
    return metrics


# --- many runs -------------------------------------------------------------------------------------------------------


def train_all(runs: Sequence[Run], *, jobs: int = 1, scheduler: str | None = None, progress: bool = False) -> None:
    """Train and score the runs that are not up to date.

    `jobs` processes take one run and one thread each, up to half as many more in the last round. `scheduler` is the
    address of a Dask scheduler (``tcp://...``).
    """
    waiting = [run for run in runs if not run.is_up_to_date()]
    if not waiting:
        return
    log.info("training: %d of %d runs to do, %d at a time", len(waiting), len(runs), min(jobs, len(waiting)))
    options: dict[str, Any] = {"share_last": True} if scheduler is None else {"scheduler": scheduler}
    with tqdm(unit="epoch", desc="training", disable=not progress, smoothing=0.1) as bar:
        shown = _Progress(waiting, bar)
        for index, metrics in run_tasks(train_and_score, waiting, jobs=jobs, on_poll=shown.poll, **options):
            shown.log_scored(waiting[index], metrics)


class _Progress:
    """The epochs of all runs on one bar, read from their history files."""

    def __init__(self, runs: Sequence[Run], bar: tqdm) -> None:
        self._runs, self._bar = runs, bar
        self._before = [_n_epochs(run) for run in runs]
        bar.total = sum(run.config.training.epochs for run in runs) - sum(self._before)
        bar.refresh()
        self._n_done = self._n_scored = 0
        self._began = time.perf_counter()

    def poll(self) -> None:
        """Read the progress of the runs; one that stopped early counts as whole."""
        done = 0
        for run, before in zip(self._runs, self._before, strict=True):
            n_epochs = run.config.training.epochs if run.is_scored() else _n_epochs(run)
            done += max(0, n_epochs - before)
        self._bar.update(done - self._n_done)
        self._n_done = done

    def log_scored(self, run: Run, metrics: dict[str, Any]) -> None:
        """Log a scored run and an estimate of the time left, from the epochs done and to do."""
        self.poll()
        self._n_scored += 1
        elapsed = time.perf_counter() - self._began
        left = elapsed / max(1, self._n_done) * (self._bar.total - self._n_done)
        tagging, segment = metrics["tagging"], metrics["segment"]
        detection = "" if segment is None else f", SED ER {segment['error_rate']:.2f} F {100 * segment['f_score']:.1f}"
        self._bar.clear()
        log.info(
            "strong %g weak %g seed %d: tagging F %.1f%s (%d of %d runs, %.0f s, about %.0f s left)",
            *run.setting, run.seed, 100 * tagging["f_score"], detection, self._n_scored, len(self._runs), elapsed, left,
        )  # fmt: skip
        self._bar.refresh()


def _n_epochs(run: Run) -> int:
    try:
        return len(read_history(run.files.history).get("epoch", ()))
    except RunError:
        return 0
