"""Clips and feature stores for runs; runs trained and scored, one, or many at once in local processes or on Dask.

A run writes to its own folder and to nothing else, so other processes and machines can take it over.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from tqdm import tqdm

from crnn_weak.config import Config, fingerprint
from crnn_weak.data.base import open_dataset
from crnn_weak.errors import DataError, RunError
from crnn_weak.features.build import build_store
from crnn_weak.files import lock, read_json, relative_path, write_json
from crnn_weak.parallel import run_tasks
from crnn_weak.run_files import RunMetrics, Split, read_history, read_optional
from crnn_weak.runs.folders import Run

if TYPE_CHECKING:
    from crnn_weak.detection.scores import Scores
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.labels.events import Event

log = logging.getLogger(__name__)


def prepare(
    config: Config,
    cache: str | Path,
    folder: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Make the clips and stores that are missing; return the content of ``data.json`` in `folder` (`RunData`).

    `cache` holds synthetic clips and stores, which runs and grids share. `scheduler` is Dask's, for the features.
    """
    cache = Path(cache)
    began = time.perf_counter()
    dataset = open_dataset(config, cache, jobs=jobs, progress=progress)
    log.info("data: %s (%.0f s)", dataset.provenance, time.perf_counter() - began)
    splits = ["train", "test"]
    if "evaluation" in dataset.splits and any(clip.path for clip in dataset.clips("evaluation")):
        splits.append("evaluation")
    trained = {clip.clip_id for clip in dataset.clips("train")}
    for split in splits[1:]:
        both = [clip.clip_id for clip in dataset.clips(split) if clip.clip_id in trained]
        if both:
            raise DataError(
                f"{len(both)} clips are both in the training split and in split {split!r}, e.g. {both[0]}; remove them "
                "from one of the lists."
            )
    stores = cache / f"features-{dataset.name}-{fingerprint(config.features, dataset.fingerprint)}"
    stores.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"provenance": dataset.provenance, "classes": list(dataset.classes), "coverage": {}}
    for split in splits:
        began = time.perf_counter()
        path = stores / f"{split}.h5"
        work: dict[str, Any] = {"jobs": jobs, "scheduler": scheduler, "progress": progress}
        with build_store(dataset, split, config.features, path, **work) as store:
            coverage = {"n_clips": len(store), "n_listed": store.n_listed, **store.counts}
        data["coverage"][split] = coverage
        data[f"{split}_store"] = relative_path(path, folder)
        seconds = time.perf_counter() - began
        log.info("features: %s, %d of %d clips (%.0f s)", split, coverage["n_clips"], coverage["n_listed"], seconds)
    data["audio"] = {c.clip_id: relative_path(c.path, folder) for c in dataset.clips("test") if c.path is not None}
    return data


# --- one run ---------------------------------------------------------------------------------------------------------


def train_and_score(run: Run, *, overwrite: bool = False, **options: Any) -> dict[str, Any]:
    """Train, score and evaluate one run, or what is missing of it; return the content of ``metrics.json``.

    With `overwrite`, the folder's run is deleted, once nothing else is refused. `options` are those of
    `crnn_weak.training.fit.train`: ``on_batch``, ``tensorboard``.
    """
    files = run.files
    # A worker that was declared dead may be alive: the second one waits, and finds the work done.
    with lock(files.folder, wait_seconds=math.inf):
        run.check_continues(overwrite=overwrite)
        if not overwrite and run.is_up_to_date():
            return read_optional(files.metrics, RunMetrics)
        options["on_begin"] = lambda: write_json(files.identity, msgspec.to_builtins(run.identity))
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

    from crnn_weak.detection.postprocessing import OperatingPoint, scores_to_events, scores_to_tags
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
    events: Mapping[str, Sequence[Event]], tags: Mapping[str, Sequence[str]], store: FeatureStore, config: Config
) -> dict[str, Any]:
    """Return the metrics of detected events and tags against the labels of their feature store."""
    from crnn_weak.labels.events import tag_names
    from crnn_weak.metrics.sed_eval import reported_metrics, sources

    names = [tag_names(row, store.classes) for row in store.tags]
    reported = reported_metrics(
        (dict(zip(store.clip_ids, names, strict=True)), tags),
        (store.events, events) if store.has_events else None,
        classes=store.classes,
        clip_seconds=config.features.clip_seconds,
        evaluation=config.evaluation,
    )
    counts = {"split": store.split, "n_clips": len(store), "n_listed": store.n_listed, "scored_by": sources()}
    outputs = ("tagging", "segment", "event")
    return counts | {output: reported[output].to_dict() if output in reported else None for output in outputs}


# --- many runs -------------------------------------------------------------------------------------------------------


def train_all(runs: Sequence[Run], *, jobs: int = 1, scheduler: str | None = None, progress: bool = False) -> None:
    """Train and score the runs that are not up to date; the log has a line on each.

    `jobs` processes take one run and one thread each, up to half as many more in the last round. `scheduler` is the
    address of a Dask scheduler (``tcp://...``). The epochs of all runs, read from their history files,
    are one bar.
    """
    waiting = [run for run in runs if not run.is_up_to_date()]
    if not waiting:
        return
    log.info("training: %d of %d runs to do, %d at a time", len(waiting), len(runs), min(jobs, len(waiting)))
    options: dict[str, Any] = {"share_last": True} if scheduler is None else {"scheduler": scheduler}
    n_before = [_n_epochs(run) for run in waiting]
    n_epochs = sum(run.config.training.epochs for run in waiting) - sum(n_before)
    began = time.perf_counter()
    with tqdm(total=n_epochs, unit="epoch", desc="training", disable=not progress, smoothing=0.1) as bar:

        def show() -> None:
            bar.update(sum(map(_n_epochs, waiting)) - sum(n_before) - bar.n)

        results = run_tasks(train_and_score, waiting, jobs=jobs, on_poll=show, **options)
        for n_scored, (index, metrics) in enumerate(results, 1):
            show()
            bar.clear()
            line, seconds = scored_line(waiting[index], metrics), time.perf_counter() - began
            log.info("%s (%d of %d runs, %.0f s)", line, n_scored, len(waiting), seconds)
            bar.refresh()


def scored_line(run: Run, metrics: Mapping[str, Any]) -> str:
    """Return one line about a scored run."""
    strong, weak = run.setting
    line = f"strong {strong:g} weak {weak:g} seed {run.seed}: tagging F {100 * metrics['tagging']['f_score']:.1f}"
    segment = metrics["segment"]
    return line if segment is None else f"{line}, SED ER {segment['error_rate']:.2f} F {100 * segment['f_score']:.1f}"


def _n_epochs(run: Run) -> int:
    """Return how many epochs of a run are done; a run that stopped early counts as whole."""
    try:
        n_done = len(read_history(run.files.history).get("epoch", ()))
        return run.config.training.epochs if run.is_up_to_date() else n_done
    except RunError:
        return 0
