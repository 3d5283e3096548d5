"""Run and experiment folders made in a moment: the layout of real ones, without training."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from helpers import TINY, make_store

from crnn_weak import config as configuration
from crnn_weak.audio import write_audio
from crnn_weak.config import Config, LossWeights
from crnn_weak.detection.postprocessing import OperatingPoint, scores_to_events, scores_to_tags
from crnn_weak.detection.scores import Scores, load_scores, save_scores
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.rolls import event_roll
from crnn_weak.labels.writing import write_events, write_tags
from crnn_weak.metrics.controls import score_controls
from crnn_weak.metrics.counting import Scoring
from crnn_weak.metrics.ranking import within_clip_auc
from crnn_weak.run_files import GridFiles
from crnn_weak.runs.folders import Run
from crnn_weak.runs.table import results_of_run, write_results

#: A label that would be a script, one with a comma, one that matplotlib could take for mathematics.
NASTY = ("<script>alert(1)</script>", "Air horn, truck horn", 'cost $x_$ & "quotes"')
PLAIN = ("bell", "drill", "rain")


def tiny_config(*, setting: tuple[float, float] = (1.0, 1.0), seed: int = 0) -> Config:
    """Return the configuration of a run on `helpers.TINY` features."""
    quick = configuration.preset("quick")
    model = dataclasses.replace(quick.model, n_filters=4, pools=(2, 2, 2), gru_units=(4, 4), dense_units=6)
    training = dataclasses.replace(quick.training, epochs=4, seed=seed)
    weights = LossWeights(strong=setting[0], weak=setting[1])
    return dataclasses.replace(quick, features=TINY, model=model, loss_weights=weights, training=training)


def make_scores(store: FeatureStore, *, quality: float, seed: int) -> Scores:
    """Return scores that follow the truth, blurred; at `quality` 0 they are noise."""
    rng = np.random.default_rng(seed)
    n_frames, n_classes = store.features.n_frames, len(store.classes)
    strong = rng.uniform(0.0, 1.0, (len(store), n_frames, n_classes)) * (1.0 - 0.6 * quality)
    for row, clip_id in enumerate(store.clip_ids):
        events = store.events.get(clip_id, ())
        roll = event_roll(events, store.classes, hop_seconds=store.features.hop_seconds, n_frames=n_frames)
        strong[row] += quality * 0.55 * roll
    strong = np.clip(strong, 0.0, 1.0).astype(np.float32)
    return Scores(store.clip_ids, store.classes, store.features.hop_seconds, strong, strong.max(axis=1))


#: Four epochs, of which the third is the best.
HISTORY = """epoch,loss,strong_loss,weak_loss,val_loss,val_strong_loss,val_weak_loss,seconds
1,1.0,0.5,0.5,1.1,0.55,0.55,1.5
2,0.5,0.25,0.25,0.6,0.3,0.3,1.5
3,0.34,0.17,0.17,0.44,0.22,0.22,1.5
4,0.24,0.12,0.12,0.74,0.37,0.37,1.5
"""


def make_run(
    folder: Path,
    store: FeatureStore,
    *,
    setting: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    quality: float = 0.8,
    finished: bool = True,
    model: bool = False,
) -> dict:
    """Fill a run's folder and return its metrics; `model` adds an untrained ``best.keras``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(setting=setting, seed=seed)
    (folder / "config.toml").write_text(configuration.to_toml(config), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"keras": "3"}, "n_cpus": 2}))
    (folder / "history.csv").write_text(HISTORY)
    if not finished:
        return {}
    (folder / "state.json").write_text(json.dumps({"finished": True}))
    save_scores(folder / "scores.h5", make_scores(store, quality=quality, seed=seed))
    scores = load_scores(folder / "scores.h5")
    point = OperatingPoint.from_config(config.operating_point, store.classes)
    events, tags = scores_to_events(scores, point), scores_to_tags(scores, point)
    write_events(folder / "events.tsv", events)
    write_tags(folder / "tags.tsv", tags)
    common = {"classes": store.classes}
    metrics = {"split": "test", "n_clips": len(store), "n_listed": store.n_listed, "operating_point": point.to_dict()}
    metrics |= Run(folder, config, {}, folder).measure(store, events, tags)
    if store.has_events:
        metrics |= score_controls(store.events, events, Scoring(store.classes, config.evaluation, TINY.clip_seconds))
        where = {"clip_ids": store.clip_ids, "hop_seconds": scores.hop_seconds}
        metrics["within_clip"] = within_clip_auc(scores.strong, store.events, **common, **where)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    if model:
        from crnn_weak.model.archive import ModelMetadata, save_model
        from crnn_weak.model.crnn import build_model

        network = build_model(config, n_classes=len(store.classes))
        save_model(network, folder / "best.keras", ModelMetadata(store.classes, config, Scaler.fit(store)))
    return metrics


def write_sound(folder: Path, store: FeatureStore) -> dict[str, str]:
    """Write a short tone for each clip; return clip id -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = np.arange(round(TINY.clip_seconds * TINY.sample_rate_hz)) / TINY.sample_rate_hz
    paths = {}
    for row, clip_id in enumerate(store.clip_ids):
        tone = 0.3 * np.sin(2 * np.pi * (300 + 40 * row) * seconds).astype(np.float32)
        path = folder / f"{row}.wav"
        write_audio(path, tone, TINY.sample_rate_hz)
        paths[clip_id] = str(path)
    return paths


def make_experiment(
    folder: Path,
    *,
    classes: Sequence[str] = PLAIN,
    settings: Sequence[tuple[float, float]] = ((0.02, 1.0), (1.0, 1.0), (1.0, 0.02)),
    seeds: Sequence[int] = (0,),
    n_clips: int = 12,
    with_events: bool = True,
    sound: bool = True,
    model: bool = False,
) -> Path:
    """Make a finished experiment under `folder` and return its path; the better settings have more strong weight."""
    path = folder / "experiment"
    path.mkdir(parents=True)
    lines = []
    options = {"split": "test", "with_events": with_events, "name": "test.h5", "unreadable": (3,), "seed": 5}
    with make_store(folder, n_clips, classes, **options) as store:
        for seed in seeds:
            for index, setting in enumerate(settings):
                quality = 0.3 + 0.6 * index / max(1, len(settings) - 1)
                run_dir = GridFiles(path).run(*setting, seed).folder
                metrics = make_run(run_dir, store, setting=setting, seed=seed, quality=quality, model=model)
                lines += results_of_run("experiment", setting, seed, metrics, "0123456789ab")
        data = {
            "provenance": f"made for tests, classes {', '.join(classes)}",
            "classes": list(classes),
            "coverage": {"test": {"n_clips": len(store), "n_listed": store.n_listed, **store.counts}},
            "test_store": os.path.relpath(store.path, path),
            "audio": write_sound(folder / "audio", store) if sound else {},
        }
    (path / "config.toml").write_text(configuration.to_toml(tiny_config()), encoding="utf-8")
    (path / "environment.json").write_text(json.dumps({"python": "3.11"}))
    (path / "results.csv").write_text(write_results(lines), encoding="utf-8")
    (path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    baselines = {"nothing": {"tagging/f_score": 0.0, "segment/error_rate": 1.0, "segment/f_score": None}}
    (path / "baselines.json").write_text(json.dumps(baselines))
    return path
