"""Folders of runs and grids, planned or finished: configuration, data, identity, scores and results."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from crnn_weak.config import Config, LossWeights, load_config
from crnn_weak.detection.postprocessing import (
    OperatingPoint,
    StoredPoint,
    scores_to_events,
    scores_to_tags,
    stored_point,
)
from crnn_weak.detection.scores import Scores, load_scores
from crnn_weak.errors import ModelFileError, RunError
from crnn_weak.features.store import FeatureStore
from crnn_weak.files import read_json
from crnn_weak.labels.events import Event
from crnn_weak.labels.names import check_classes
from crnn_weak.metrics.counting import Scoring
from crnn_weak.metrics.sed_eval import reported_metrics
from crnn_weak.metrics.summary import find_metric
from crnn_weak.run_files import (
    WAYS_OUT,
    GridFiles,
    RunData,
    RunFiles,
    RunMetrics,
    Split,
    check_continues,
    default_cache,
    read_history,
    read_optional,
)
from crnn_weak.runs.table import ResultsTable, Setting, read_results


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of the data and models that a run's results depend on; content of ``identity.json``."""

    classes: list[str]  # in the order of the outputs
    training_data: str
    testing_data: str
    initial_model: str | None = None  # of a fine-tuned run
    teacher: str | None = None  # gives the strong targets


#: Fields of `Identity` in words.
_DIFFERENCES = {
    "classes": "its classes or their order",
    "training_data": "its training clips or their labels",
    "testing_data": "its test clips or their labels",
    "initial_model": "the model that it starts from (--from)",
    "teacher": "the model that gives its strong targets (targets.teacher)",
}


@dataclass(frozen=True, eq=False)
class Run:
    """One model with its scores, or the plan of one, which a worker can take over; files are read on first use."""

    path: Path
    config: Config
    data: Mapping[str, Any] = field(repr=False)  # content of ``data.json`` (`RunData`)
    data_folder: Path  # to which paths in `data` are relative
    initial_model: str | None = None  # model file to start from (fine-tuning)

    @property
    def files(self) -> RunFiles:
        """The names of its files."""
        return RunFiles(self.path)

    @property
    def setting(self) -> Setting:
        """The weights of the (strong, weak) loss."""
        return self.config.loss_weights.strong, self.config.loss_weights.weak

    @property
    def seed(self) -> int:
        """The seed of the fit."""
        return self.config.training.seed

    @property
    def name(self) -> str:
        """The names of its folders: grid, setting and seed."""
        path = self.path.resolve()
        return "/".join(path.parts[-3:]) if path.name.startswith("seed-") else path.name

    def is_up_to_date(self) -> bool:
        """Return whether the folder holds this run, with this configuration, scored on all data that it names."""
        if not self.files.metrics.exists() or load_config(self.files.config) != self.config:
            return False
        metrics = read_optional(self.files.metrics, RunMetrics)  # another process may have written it
        return self.data.get("evaluation_store") is None or "evaluation" in metrics

    @cached_property
    def identity(self) -> Identity:
        """Data and models that the results depend on; reads all labels."""
        teacher = self.config.targets.teacher
        with self.open_store("train") as train:
            classes, training_data = list(train.classes), _data_digest(train)
        testing_data = "validation clips"
        if self.data.get("test_store") is not None:
            with self.open_store("test") as test:
                testing_data = _data_digest(test)
        return Identity(
            classes=classes,
            training_data=training_data,
            testing_data=testing_data,
            initial_model=_file_digest(self.initial_model) if self.initial_model is not None else None,
            teacher=_file_digest(teacher) if teacher else None,
        )

    def check_continues(self, *, like: Run | None = None, overwrite: bool = False) -> None:
        """Refuse a folder of another run; `like` is one of the same data and models, whose identity is read once."""
        check_continues(self.files, self.config, overwrite=overwrite)
        if overwrite or not self.files.is_begun():
            return
        # Otherwise an old model would be kept under new labels, or a test clip could have been trained on.
        stored, identity = read_json(self.files.identity, Identity, advice=WAYS_OUT), (like or self).identity
        differing = [text for name, text in _DIFFERENCES.items() if getattr(stored, name) != getattr(identity, name)]
        if differing:
            raise RunError(f"{self.path}: holds a run that differs in {' and '.join(differing)}. {WAYS_OUT}")

    def open_store(self, split: str = "test") -> FeatureStore:
        """Open the feature store of a split; data without test clips are tested on the validation clips."""
        if split == "test" and "train_store" in self.data and self.data.get("test_store") is None:
            chosen = read_json(self.files.split, Split).validation
            return self.open_store("train").only(set(chosen), "validation")
        place = self.data.get(f"{split}_store")
        path = self._find(place)
        if path is None:
            raise RunError(
                f"{self.path}: the feature store of split {split!r} is gone ({place or 'not named in data.json'}). Set "
                "CRNN_WEAK_CACHE to the cache that has it, or rerun the command that trained the run."
            )
        return FeatureStore(path, self.config.features)

    def audio_path(self, clip_id: str) -> Path | None:
        """Return the path of a test clip's recording; None if it is not known or gone."""
        return self._find(self.data.get("audio", {}).get(clip_id))

    def _find(self, place: str | None) -> Path | None:
        """Return a file by its path from the data folder, which may be a link or a copy; else in the cache."""
        parts = (place or "").split("/")
        candidates = [self.data_folder / (place or ""), Path(os.path.abspath(self.data_folder / (place or "")))]
        for first in range(len(parts) - 1):
            if ".." not in parts[first:]:
                candidates.append(default_cache().joinpath(*parts[first:]))
        # A damaged name may be longer than `Path.is_file` allows.
        return next((path for path in candidates if os.path.isfile(path)), None)

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Losses by epoch, column to values; empty before the first epoch."""
        return read_history(self.files.history)

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights are kept, as counted in ``history["epoch"]``."""
        epochs, losses = self.history.get("epoch", []), self.history.get("val_loss")
        if self.config.keeps_last:
            return int(epochs[-1]) if epochs else None
        return int(epochs[losses.index(min(losses))]) if losses else None

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``; empty until the run is scored."""
        return read_optional(self.files.metrics, RunMetrics)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class list, in the order of the outputs."""
        return tuple(self.data.get("classes") or self.scores.classes)

    @cached_property
    def scores(self) -> Scores:
        """Scores of the test clips."""
        return load_scores(self.files.scores)

    @cached_property
    def detected_events(self) -> dict[str, tuple[Event, ...]]:
        """Detected events by test clip, at the operating point of `evaluate`."""
        return scores_to_events(self.scores, self.operating_point(self.scores.classes)[0])

    @cached_property
    def estimated_tags(self) -> dict[str, tuple[str, ...]]:
        """Estimated tags by test clip, at the operating point of `evaluate`."""
        return scores_to_tags(self.scores, self.operating_point(self.scores.classes)[0])

    @cached_property
    def results(self) -> dict[str, Any]:
        """``metrics.json``, with the metrics at a tuned operating point where there is one, as `evaluate` prints."""
        if not (self.metrics and self.files.operating_point.is_file()):
            return self.metrics
        with self.open_store("test") as store:
            return self.metrics | self.measure(store, self.detected_events, self.estimated_tags)

    def measure(self, store: FeatureStore, events: Mapping[str, Any], tags: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics of detected events and estimated tags of a store's clips, by output."""
        reported = reported_metrics(
            (store.named_tags(), tags),
            (store.events, events) if store.has_events else None,
            Scoring.of_config(self.config, store.classes),
        )
        outputs = ("tagging", "segment", "event")
        return {output: reported[output].to_dict() if output in reported else None for output in outputs}

    def operating_point(self, classes: Sequence[str], which: str | Path | None = None) -> tuple[OperatingPoint, str]:
        """Return the operating point and its origin in words; `which` is ``configured``, or the path of a file."""
        stored = None
        if which is None:
            stored = stored_point(self.path, classes)
        elif which != "configured":
            stored = StoredPoint.read(which, classes)
        if stored is None:
            return OperatingPoint.from_config(self.config.operating_point, classes), "the run's configuration"
        source = f"tuned on validation clips for {', '.join(stored.tuned)}" if stored.tuned else "from the clips' tags"
        return stored.operating_point, source if which is None else f"{source}, {which}"


def _data_digest(store: FeatureStore) -> str:
    """Return the digest of a split's clips, tags and events: the same wherever the data and the store are."""
    digest = hashlib.sha256(json.dumps([store.split, store.clip_ids]).encode())
    digest.update(np.ascontiguousarray(store.tags, dtype=np.uint8).tobytes())
    for clip_id in store.clip_ids:
        events = store.events.get(clip_id)  # None: not labeled, which differs from no events
        rows = None if events is None else sorted((event.onset, event.offset, event.label) for event in events)
        digest.update(json.dumps(rows).encode())
    return digest.hexdigest()[:32]


def _file_digest(model: str) -> str:
    if not Path(model).is_file():  # a pipe would be waited for
        raise ModelFileError(f"{model}: no such model file. Expected a .keras file written by crnn-weak train.")
    with open(model, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@dataclass(frozen=True)
class Grid:
    """Settings and seeds that share a configuration; loss weights and seed vary."""

    path: Path
    config: Config
    settings: Sequence[Setting]
    seeds: Sequence[int] = (0,)

    @property
    def files(self) -> GridFiles:
        """The names of the folder's files."""
        return GridFiles(self.path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    def planned_runs(self, data: Mapping[str, Any]) -> list[Run]:
        """Return the runs on these data (`RunData`), all settings of the first seed first."""
        return [self._run(*setting, seed, data) for seed in self.seeds for setting in self.settings]

    def other_runs(self, data: Mapping[str, Any]) -> list[Run]:
        """Return the folder's finished runs of this configuration that are not planned; they stay in the table."""
        planned = {(*setting, seed) for setting in self.settings for seed in self.seeds}
        found = [self._run(*key, data) for key in self.files.runs() if key not in planned]
        return [run for run in found if run.is_up_to_date()]

    def _run(self, strong: float, weak: float, seed: int, data: Mapping[str, Any]) -> Run:
        training = dataclasses.replace(self.config.training, seed=seed)
        weights = LossWeights(strong=strong, weak=weak)
        config = dataclasses.replace(self.config, loss_weights=weights, training=training)
        return Run(self.files.run(strong, weak, seed).folder, config, data, self.path)

    @cached_property
    def table(self) -> ResultsTable:
        """The results, next to those of the paper and the baselines; read on first use."""
        baselines = read_optional(self.files.baselines, dict[str, dict[str, float | None]])
        data = read_optional(self.files.data, RunData)
        return ResultsTable.of_data(self.config, data, read_results(self.files.results), baselines)

    @property
    def runs(self) -> dict[tuple[float, float, int], Path]:
        """The folders of the table's runs that exist: (strong weight, weak weight, seed) to path."""
        found = self.files.runs()
        keys = [(*setting, seed) for setting in self.settings for seed in self.seeds]
        return {key: found[key].folder for key in keys if key in found}

    def run(self, setting: Setting, seed: int | None = None) -> Run:
        """Open one run of the table; by default that of the first seed."""
        seed = self.seeds[0] if seed is None else seed
        folder = self.runs.get((*setting, seed))
        if folder is None:
            wanted = "strong {:g}, weak {:g}, seed {}".format(*setting, seed)
            names = ", ".join("{:g}:{:g} seed {}".format(*key) for key in self.runs)
            raise RunError(f"{self.path}: has no run of {wanted}. Runs: {names}.")
        return open_run(folder)

    def best_setting(self) -> Setting:
        """Return the setting with the best mean detection F (tagging F without strong labels)."""
        has_events = any(line.output == "segment" for line in self.table.lines)
        metric = find_metric("segment" if has_events else "tagging", "f_score")
        trained = [setting for setting in self.settings if (*setting, self.seeds[0]) in self.runs]
        return max(trained, key=lambda setting: self.table.mean(setting, metric) or 0.0)


def open_run(path: str | Path, *, unfinished: bool = False) -> Run:
    """Open a run folder; with `unfinished`, also one that is still training or was stopped."""
    files = RunFiles(path)
    if not files.config.is_file():
        raise RunError(
            f"{path}: no such run folder: expected one with {files.config.name}, written by crnn-weak train."
        )
    # The data of a grid's runs are named in the grid's folder.
    places = (files.folder, *list(files.folder.resolve().parents)[:2])
    data_folder = next((place for place in places if RunFiles(place).data.is_file()), files.folder)
    data = read_optional(RunFiles(data_folder).data, RunData)
    check_classes(data.get("classes", ()), str(RunFiles(data_folder).data))
    run = Run(files.folder, load_config(files.config), data, data_folder)
    if not unfinished and not run.metrics:
        n_epochs = len(run.history.get("epoch", []))
        raise RunError(
            f"{path}: the run is not finished ({n_epochs} of at most {run.config.training.epochs} epochs, not scored). "
            "Start the command that trains it again to resume it."
        )
    return run


def open_grid(path: str | Path) -> Grid:
    """Open the folder of a finished grid."""
    files = GridFiles(path)
    if not files.results.is_file():
        runs = files.runs().values()
        n_scored = sum(run.metrics.is_file() for run in runs)
        raise RunError(
            f"{path}: the grid is not finished ({n_scored} of {len(runs)} runs scored, no {files.results.name}). "
            "Start the same grid command again to resume it."
        )
    results = ResultsTable(read_results(files.results))
    if not results.lines:
        raise RunError(f"{files.results}: holds no results. Delete it and start the same grid command again.")
    return Grid(files.folder, load_config(files.config), results.settings, results.seeds)


def open_any(path: str | Path) -> Run | Grid:
    """Open a run or a grid, whichever the folder holds."""
    files = GridFiles(path)
    return open_grid(path) if files.results.is_file() or files.runs() else open_run(path)
