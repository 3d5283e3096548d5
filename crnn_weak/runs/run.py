"""The folder of one run, as an object. Large files (scores, features) are read when they are asked for."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnn_weak.config import Config, load_config
from crnn_weak.detection.scores import Scores, load_scores
from crnn_weak.errors import RunError, nearest_names
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import read_events, read_tags
from crnn_weak.run_files import FitState, RunData, RunEnvironment, RunFiles, RunMetrics, read_history, read_optional

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

__all__ = ["Run", "Setting", "check_folder", "open_run"]

#: The weights of the (strong, weak) loss.
Setting = tuple[float, float]


def check_folder(path: Path) -> None:
    if not path.is_dir():
        runs = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
        hint = f" {nearest_names(path.name, runs)}" if runs else ""
        raise RunError(f"{path}: no such run folder.{hint}")


@dataclass(frozen=True)
class Run:
    """One trained model and its results; made by `open_run`.

    Attributes
    ----------
    path : Path
    config : Config
        The whole resolved configuration.
    environment : dict
        Versions, machine, devices.
    history : dict of column to list of float
        Losses by epoch; empty before the first epoch.
    state : dict
        ``finished``, ``epoch``, ``best_epoch``, of the fit.
    metrics : dict
        ``metrics.json``; empty until the run is scored.
    """

    path: Path
    config: Config
    environment: dict[str, Any] = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    state: dict[str, Any] = field(repr=False)
    metrics: dict[str, Any] = field(repr=False)

    @property
    def files(self) -> RunFiles:
        """The names of its files."""
        return RunFiles(self.path)

    @property
    def finished(self) -> bool:
        """True if the run is trained and scored."""
        return bool(self.metrics)

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
        """Experiment, setting and seed, as the folders say."""
        if self.path.name.startswith("seed-"):
            return "/".join(self.path.resolve().parts[-3:])
        return self.path.resolve().name

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights are kept, as counted in ``history["epoch"]``."""
        stored = self.state.get("best_epoch")
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
    def data_folder(self) -> Path:
        """The folder whose ``data.json`` names this run's data: its own, or its experiment's."""
        for folder in (self.path, *list(self.path.resolve().parents)[:2]):
            if RunFiles(folder).data.is_file():
                return folder
        return self.path

    @cached_property
    def data(self) -> dict[str, Any]:
        """Content of ``data.json``: provenance, classes, coverage, stores, audio; empty where there is none."""
        return read_optional(RunFiles(self.data_folder).data, RunData)

    @cached_property
    def scores(self) -> Scores:
        """Scores of the test clips."""
        return load_scores(self.files.scores)

    @cached_property
    def events(self) -> dict[str, tuple[Event, ...]]:
        """Detected events of the test clips, as they were counted."""
        return read_events(self.files.events)

    @cached_property
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Estimated tags of the test clips, as they were counted."""
        return read_tags(self.files.tags)

    def audio_path(self, clip_id: str) -> Path | None:
        """Return where a test clip's recording lies, or None where that is not known or it is gone."""
        place = self.data.get("audio", {}).get(clip_id)
        if place is None:
            return None
        path = self.data_folder / place
        return path if os.path.isfile(path) else None

    def open_store(self, split: str = "test") -> FeatureStore | None:
        """Open the feature store of a split, or return None where it is not known or gone."""
        place = self.data.get(f"{split}_store")
        if place is None or not os.path.isfile(self.data_folder / place):  # a name may be longer than `Path` allows
            return None
        from crnn_weak.features.store import FeatureStore

        return FeatureStore(self.data_folder / place, self.config.features)

    def summary(self) -> dict[str, str]:
        """Return the run in a few words: name -> text."""
        rows = {
            "loss weights": "strong {:g}, weak {:g}".format(*self.setting),
            "seed": str(self.seed),
            "preset": f"{self.config.preset}, head {self.config.model.weak_head}",
            "epochs": f"{len(self.history.get('epoch', []))} of at most {self.config.training.epochs}"
            + (f", best {self.best_epoch}" if self.best_epoch else ""),
        }
        if not self.metrics:
            return rows | {"results": "not finished"}
        tagging, segment = self.metrics["tagging"], self.metrics.get("segment")
        rows["clips"] = f"{self.metrics['n_clips']:,} of {self.metrics['n_listed']:,}"
        rows["tagging"] = "F {f_score:.1%}, P {precision:.1%}, R {recall:.1%}".format(**_numbers(tagging))
        if segment:
            seconds = self.config.evaluation.segment_seconds
            rows["detection"] = (
                "ER {error_rate:.2f}, F {f_score:.1%}".format(**_numbers(segment)) + f" ({seconds:g} s segments)"
            )
        return rows

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in self.summary().items()
        )
        return f"<table><caption>{html.escape(self.name)}</caption><tbody>{body}</tbody></table>"


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Undefined figures (None in JSON) as NaN, so that they can be formatted."""
    return {
        name: float("nan") if value is None else value
        for name, value in values.items()
        if value is None or isinstance(value, int | float)
    }


def open_run(path: str | Path, *, unfinished: bool = False) -> Run:
    """Open a run folder.

    Parameters
    ----------
    path : path
    unfinished : bool
        Open a run that is still training, or that was stopped, as well.

    Raises
    ------
    RunError
        There is no such folder, it holds no run, or the run is not finished.
    """
    check_folder(Path(path))
    files = RunFiles(path)
    if not files.config.is_file():
        raise RunError(
            f"{path}: holds no {files.config.name}, so it is not a run. Expected a folder written by crnn-weak train."
        )
    run = Run(
        files.folder,
        load_config(files.config),
        read_optional(files.environment, RunEnvironment),
        read_history(files.history),
        read_optional(files.state, FitState),
        read_optional(files.metrics, RunMetrics),
    )
    if not run.finished and not unfinished:
        n_epochs = len(run.history.get("epoch", []))
        raise RunError(
            f"{path}: the run is not finished ({n_epochs} of at most {run.config.training.epochs} epochs, not scored). "
            "Start the command that trains it again; it goes on where it stopped."
        )
    return run
