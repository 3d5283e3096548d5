"""One run, planned or trained: a folder, a configuration, and the data that its results depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnn_weak.config import Config, load_config
from crnn_weak.errors import ModelFileError, RunError, nearest_names
from crnn_weak.run_files import (
    FitState,
    Identity,
    RunData,
    RunEnvironment,
    RunFiles,
    RunMetrics,
    check_continues,
    read_history,
    read_optional,
)

if TYPE_CHECKING:
    from crnn_weak.detection.scores import Scores
    from crnn_weak.features.store import FeatureStore

#: The weights of the (strong, weak) loss.
Setting = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Run:
    """One model with its scores, or the plan of one, which a worker can take over.

    `data` is the content of ``data.json`` (`RunData`); its paths are relative to `data_folder`. Documents and scores
    are read on first use.
    """

    path: Path
    config: Config
    data: Mapping[str, Any] = field(repr=False)
    data_folder: Path
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
        """Grid, setting and seed, as the folders are named."""
        if self.path.name.startswith("seed-"):
            return "/".join(self.path.resolve().parts[-3:])
        return self.path.resolve().name

    # --- may it be continued? ----------------------------------------------------------------------------------------

    def is_scored(self) -> bool:
        """Return whether the folder holds a trained and scored run, of whatever configuration."""
        return self.files.metrics.exists()

    def is_up_to_date(self) -> bool:
        """Return whether the folder holds this run, with this configuration, scored on all data that it names."""
        if not self.is_scored() or load_config(self.files.config) != self.config:
            return False
        metrics = read_optional(self.files.metrics, RunMetrics)
        return self.data.get("evaluation_store") is None or "evaluation" in metrics

    def identity(self) -> Identity:
        """Return what the results depend on, apart from the configuration."""
        teacher = self.config.targets.teacher
        with self.open_store("train") as train:
            classes, training_data = list(train.classes), _data_digest(train)
        with self.open_store("test") as test:
            testing_data = _data_digest(test)
        return Identity(
            classes=classes,
            training_data=training_data,
            testing_data=testing_data,
            initial_model=None if self.initial_model is None else _file_digest(Path(self.initial_model)),
            teacher=_file_digest(Path(teacher)) if teacher else None,
        )

    def check_continues(self, identity: Callable[[], Identity] | None = None, *, overwrite: bool = False) -> None:
        """Refuse a folder that this run may not continue; see `crnn_weak.run_files.check_continues`."""
        check_continues(self.files, self.config, identity or self.identity, overwrite=overwrite)

    # --- data --------------------------------------------------------------------------------------------------------

    def open_store(self, split: str = "test") -> FeatureStore:
        """Open the feature store of a split."""
        from crnn_weak.features.store import FeatureStore

        place = self.data.get(f"{split}_store")
        if place is None or not os.path.isfile(self.data_folder / place):  # a name may be longer than `Path` allows
            raise RunError(
                f"{self.path}: the feature store of split {split!r} is gone ({place or 'not named in data.json'}). "
                "Rerun the command that trained the run; it builds what is missing."
            )
        return FeatureStore(self.data_folder / place, self.config.features)

    def audio_path(self, clip_id: str) -> Path | None:
        """Return the path of a test clip's recording; None if it is not known or gone."""
        place = self.data.get("audio", {}).get(clip_id)
        if place is None or not os.path.isfile(self.data_folder / place):
            return None
        return self.data_folder / place

    # --- results -----------------------------------------------------------------------------------------------------

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, devices."""
        return read_optional(self.files.environment, RunEnvironment)

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Losses by epoch, column to values; empty before the first epoch."""
        return read_history(self.files.history)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``; empty until the run is scored."""
        return read_optional(self.files.metrics, RunMetrics)

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights are kept, as counted in ``history["epoch"]``."""
        stored = read_optional(self.files.state, FitState).get("best_epoch")
        if stored:
            return int(stored)
        losses = self.history.get("val_loss")
        return int(self.history["epoch"][losses.index(min(losses))]) if losses else None

    @property
    def model_path(self) -> Path:
        """The model of the best epoch."""
        return self.files.best_model

    @property
    def classes(self) -> tuple[str, ...]:
        """The class list, in the order of the outputs."""
        named = self.data.get("classes")
        return tuple(named) if named else self.scores.classes

    @cached_property
    def scores(self) -> Scores:
        """Scores of the test clips."""
        from crnn_weak.detection.scores import load_scores

        return load_scores(self.files.scores)


def _data_digest(store: FeatureStore) -> str:
    """Return the digest of a split's clips, tags and events: the same wherever the data and the store are."""
    import numpy as np

    digest = hashlib.sha256(json.dumps([store.split, store.clip_ids]).encode())
    digest.update(np.ascontiguousarray(store.tags, dtype=np.uint8).tobytes())
    for clip_id in store.clip_ids:
        events = store.events.get(clip_id)  # None: not labeled, which differs from no events
        rows = None if events is None else sorted((event.onset, event.offset, event.label) for event in events)
        digest.update(json.dumps(rows).encode())
    return digest.hexdigest()[:32]


def _file_digest(model: Path) -> str:
    try:
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise ModelFileError(
            f"{model}: cannot be read ({error.strerror}). Expected a .keras file written by crnn-weak train."
        ) from None


def check_folder(path: Path) -> None:
    """Refuse a folder that does not exist."""
    if not path.is_dir():
        others = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
        hint = f" {nearest_names(path.name, others)}" if others else ""
        raise RunError(f"{path}: no such run folder.{hint}")


def open_run(path: str | Path, *, unfinished: bool = False) -> Run:
    """Open a run folder; with `unfinished`, also one that is still training or was stopped."""
    check_folder(Path(path))
    files = RunFiles(path)
    if not files.config.is_file():
        raise RunError(
            f"{path}: holds no {files.config.name}, so it is not a run. Expected a folder written by crnn-weak train."
        )
    # The data of a grid's runs are named in the grid's folder.
    places = (files.folder, *list(files.folder.resolve().parents)[:2])
    data_folder = next((place for place in places if RunFiles(place).data.is_file()), files.folder)
    data = read_optional(RunFiles(data_folder).data, RunData)
    run = Run(files.folder, load_config(files.config), data, data_folder)
    if not unfinished and not run.metrics:
        n_epochs = len(run.history.get("epoch", []))
        raise RunError(
            f"{path}: the run is not finished ({n_epochs} of at most {run.config.training.epochs} epochs, not scored). "
            "Start the command that trains it again to resume it."
        )
    return run
