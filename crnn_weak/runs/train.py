"""Clips and feature stores for runs; runs trained and scored, one, or many at once in local processes or on Dask.

A run writes to its own folder and to nothing else, so other processes and machines can take it over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from crnn_weak.config import Config, fingerprint
from crnn_weak.data.base import open_dataset
from crnn_weak.detection.postprocessing import (
    OperatingPoint,
    StoredPoint,
    class_thresholds,
    scores_to_events,
    scores_to_tags,
)
from crnn_weak.detection.scores import Scores, predict_store, save_scores
from crnn_weak.errors import ConfigError, DataError, DependencyError, RunError
from crnn_weak.features.build import build_store
from crnn_weak.features.store import FeatureStore
from crnn_weak.files import lock, output_folder, read_json, relative_path, write_documents, write_json
from crnn_weak.labels.events import Events
from crnn_weak.labels.names import source_recording
from crnn_weak.labels.writing import write_events, write_tags
from crnn_weak.metrics.controls import score_controls
from crnn_weak.metrics.counting import Scoring
from crnn_weak.metrics.ranking import psds, score_ranking, within_clip_auc
from crnn_weak.metrics.sed_eval import reported_tagging_metrics, sources
from crnn_weak.metrics.summary import TAGGINGS
from crnn_weak.parallel import Work, run_tasks
from crnn_weak.run_files import RunMetrics, Split, read_history, read_optional
from crnn_weak.runs.folders import Run

log = logging.getLogger(__name__)


def prepare(config: Config, cache: Path, folder: Path, work: Work) -> dict[str, Any]:
    """Make the clips and stores that `cache` lacks; return the content of ``data.json`` in `folder` (`RunData`)."""
    began = time.perf_counter()
    dataset = open_dataset(config, cache, jobs=work.jobs, progress=work.progress)
    log.info("data: %s (%.0f s)", dataset.provenance, time.perf_counter() - began)
    if "test" not in dataset.splits and not config.training.validation_fraction:
        raise ConfigError("no clips to score: data.test_fraction or training.validation_fraction must be above 0.")
    splits: list[str] = [split for split in ("train", "test") if split in dataset.splits]
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
    folder = folder.resolve()  # a link may be replaced by the folder itself
    data: dict[str, Any] = {"provenance": dataset.provenance, "classes": list(dataset.classes), "coverage": {}}
    for split in splits:
        began = time.perf_counter()
        path = stores / f"{split}.h5"
        with build_store(dataset, split, config.features, path, **work._asdict()) as store:
            n_untagged = len(store) - int(store.tags.any(axis=1).sum())
            counts = {"n_clips": len(store), "n_listed": store.n_listed, **store.counts, "untagged": n_untagged}
            data["coverage"][split] = counts
            log.info("features: %s, %s (%.0f s)", split, store.coverage, time.perf_counter() - began)
            if store.odd:
                found = "; ".join(f"{count} clips: {kind}" for kind, count in store.odd.items())
                log.warning("features: %s: %s (`crnn-weak data check --decode` lists them)", split, found)
            if split == "train" and store.events and config.trains_events:
                text = f"trained with events of {len(store.events)} of {len(store)} clips"
                data["provenance"] += f"; {text}"
                log.info("targets: %s", text)
            elif split == "train" and store.events and dataset.name == "folder":
                log.info("targets: events do not train (targets.events = %s)", config.targets.events)
        data[f"{split}_store"] = relative_path(path, folder)
    tested = dataset.clips("test" if "test" in splits else "train")
    data["audio"] = {c.clip_id: relative_path(c.path, folder) for c in tested if c.path is not None}
    return data


def train_and_score(run: Run, *, overwrite: bool = False, **options: Any) -> dict[str, Any]:
    """Train, score and evaluate one run, or what is missing of it; return the content of ``metrics.json``."""
    config, files = run.config, run.files
    # A worker that was declared dead may be alive: the second one waits, and finds the work done.
    with output_folder(run.data_folder), lock(files.folder, wait=True):
        run.check_continues(overwrite=overwrite)
        own_data = {files.data: run.data} if run.data_folder == run.path else {}
        if files.is_begun():
            write_documents(own_data)  # its stores may be in another place now
        if not overwrite and run.is_up_to_date():
            return read_optional(files.metrics, RunMetrics)
        # Late, so that the parent process, which only waits, needs no TensorFlow.
        from crnn_weak.environment import prepare_environment, set_threads

        prepare_environment()  # before the first import of Keras
        if config.training.deterministic:
            set_threads(1, deterministic=True)
        import keras

        from crnn_weak.model.archive import load_model
        from crnn_weak.training.fit import train

        keras.utils.clear_session()
        options |= {"overwrite": overwrite, "initial_model": run.initial_model}
        own_data = {files.identity: msgspec.to_builtins(run.identity), **own_data}
        options["on_begin"] = lambda: write_documents(own_data)
        with run.open_store("train") as store:
            model, metadata = load_model(train(config, store, files.folder, **options))
            _score_validation(run, store, model, metadata)
        point, _ = run.operating_point(metadata.classes)
        metrics = _score(run, "test", model, metadata, point) | {"operating_point": point.to_dict()}
        if run.data.get("evaluation_store") is not None:
            metrics["evaluation"] = _score(run, "evaluation", model, metadata, point)
        write_json(files.metrics, metrics)  # last
        return metrics


def _score_validation(run: Run, store: FeatureStore, model: Any, metadata: Any) -> None:
    """Write the scores of the validation clips and, where the preset wants them, the thresholds that follow."""
    row_of = {clip_id: row for row, clip_id in enumerate(store.clip_ids)}
    rows = np.array([row_of[clip_id] for clip_id in read_json(run.files.split, Split).validation], np.int64)
    names, recording_of = np.unique([source_recording(store.clip_ids[row]) for row in rows], return_inverse=True)
    highest = np.zeros((len(names), len(store.classes)), np.float32)
    tags = np.zeros(highest.shape, bool)
    if len(rows):
        scores = predict_store(model, metadata, store, rows)
        save_scores(run.files.validation_scores, scores)
        np.maximum.at(highest, recording_of, scores.strong.max(axis=1))
        np.logical_or.at(tags, recording_of, store.tags[rows] > 0)
    settings = run.config.operating_point
    if settings.class_thresholds:
        n_active = np.array(read_json(run.files.state, dict[str, Any])["active_frames"])
        point = class_thresholds(settings, metadata.classes, n_active, highest, tags)
        StoredPoint(operating_point=point).write(run.files.operating_point)


def _score(run: Run, split: str, model: Any, metadata: Any, point: OperatingPoint) -> dict[str, Any]:
    """Write the scores of a split and, of the test split, the detections; return the metrics."""
    config, files = run.config, run.files
    with run.open_store(split) as store:
        scores = predict_store(model, metadata, store)
        events, tags = scores_to_events(scores, point), scores_to_tags(scores, point)
        save_scores(files.scores if split == "test" else files.evaluation_scores, scores)
        if split == "test":
            write_events(files.events, events)
            write_tags(files.tags, tags)
        found: dict[str, Any] = {"split": store.split, "n_clips": len(store), "n_listed": store.n_listed}
        found |= {"scored_by": sources()} | run.measure(store, events, tags)
        true_tags = store.named_tags()
        for output, (source, min_tags) in TAGGINGS.items():
            of_clips, thresholds = scores.weak, point.tag_thresholds
            if source == "strong":
                of_clips, thresholds = scores.strong.max(axis=1), point.thresholds
            way = point.replace(min_tags=min_tags, tag_thresholds=thresholds)
            tags = scores_to_tags(dataclasses.replace(scores, weak=of_clips), way)
            found[output] = reported_tagging_metrics(true_tags, tags, classes=store.classes).to_dict()
        return found | run_controls(config, store, scores, events)


def run_controls(config: Config, store: FeatureStore, scores: Scores, events: Events) -> dict[str, Any]:
    """Return what tells *which* from *when*, and what needs no threshold; PSDS where its package is installed."""
    from crnn_weak.training.targets import frame_levels  # it needs Keras

    where: dict[str, Any] = {"clip_ids": store.clip_ids, "classes": store.classes, "hop_seconds": scores.hop_seconds}
    found = {"weak_ranking": score_ranking(store.tags, scores.weak, classes=store.classes)}
    found["strong_ranking"] = score_ranking(store.tags, scores.strong.max(axis=1), classes=store.classes)
    if not store.has_events:
        return found
    found |= score_controls(store.events, events, Scoring.of_config(config, store.classes))
    n_frames = store.n_valid_frames.tolist()
    found["within_clip"] = within_clip_auc(scores.strong, store.events, n_frames=n_frames, **where)
    # The control: the loudness of a frame as its score for every class.
    levels = np.stack([frame_levels(store.read([row])[0]) for row in range(len(store))])
    levels = np.broadcast_to(levels[:, :, None], scores.strong.shape)
    found["loudness"] = within_clip_auc(levels, store.events, n_frames=n_frames, **where)
    with contextlib.suppress(DependencyError, DataError):  # not installed, or a class without an event
        found["psds"] = psds(scores.strong, store.events, **where)
    return found


def train_all(runs: Sequence[Run], work: Work) -> None:
    """Train and score the runs that are not up to date; the log has a line on each."""
    jobs, scheduler, progress = work
    waiting = [run for run in runs if not run.is_up_to_date()]
    if not waiting:
        return
    log.info("training: %d of %d runs to do, %d at a time", len(waiting), len(runs), min(jobs, len(waiting)))
    n_before = [_n_epochs(run) for run in waiting]
    n_epochs = sum(run.config.training.epochs for run in waiting) - sum(n_before)
    began = time.perf_counter()
    with tqdm(total=n_epochs, unit="epoch", desc="training", disable=not progress, smoothing=0.1) as bar:

        def show() -> None:
            bar.update(sum(map(_n_epochs, waiting)) - sum(n_before) - bar.n)

        results = run_tasks(train_and_score, waiting, jobs=jobs, scheduler=scheduler, on_poll=show, share_last=True)
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
