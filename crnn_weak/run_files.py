"""The files of run and grid folders: names (no other module has them), documents, whether a folder may be continued.

A *run* is one trained model with its scores; a *grid* a folder of runs, ``<strong>_<weak>/seed-<n>``, and a table.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from crnn_weak.config import Config, load_config, to_dict
from crnn_weak.errors import RunError
from crnn_weak.files import convert_document, csv_text, read_bytes, read_json, refuse_existing, write_text

_AGAIN = "Start the command that wrote it again."
#: The end of a refusal to continue a folder.
WAYS_OUT = "Choose another folder with --out, or start over with --overwrite."


def default_cache() -> Path:
    """Return the folder of synthetic clips and feature stores, where no other is given."""
    return Path(os.environ.get("CRNN_WEAK_CACHE", "cache"))


def _named(name: str, doc: str) -> Any:
    return property(lambda files: files.folder / name, doc=doc)


def _is_own_page(path: Path) -> bool:
    """Return whether a file is a page that this package wrote."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'name="generator" content="crnn_weak' in file.read(4000)


def refuse_foreign_page(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a page that this package did not write, unless that was asked for."""
    if not _is_own_page(path):
        refuse_existing([path], overwrite=overwrite)


class _Files:
    """Files that the folders of a run and of a grid share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    config = _named("config.toml", "the whole configuration")
    data = _named("data.json", "provenance, classes, coverage, stores and recordings: `RunData`")
    environment = _named("environment.json", "versions, machine, devices: `RunEnvironment`")
    report = _named("report.html", "the page of `crnn-weak report`")
    saliency = _named("saliency", "folder of saliency maps")

    def pictured(self) -> list[Path]:
        """Return the report, the saliency maps and their tables, where this package wrote them."""
        found = [path for pattern in ("saliency_*", "localization.*") for path in self.saliency.glob(pattern)]
        return [*found, self.report] if _is_own_page(self.report) else found

    def is_begun(self) -> bool:
        """Return whether the package has begun to write there."""
        return self.config.exists()


class RunFiles(_Files):
    """Paths of a run folder's files."""

    identity = _named("identity.json", "digests of the data and models that the results depend on")
    split = _named("split.json", "ids of the training and the validation clips: `Split`")
    last_model = _named("last.keras", "after every epoch: weights, optimizer and the state of the fit")
    best_model = _named("best.keras", "the epoch with the lowest validation loss, or the last: `Config.keeps_last`")
    history = _named("history.csv", "losses, one line per epoch")
    state = _named("state.json", "whether the fit has ended, its best epoch, active frames of the classes")
    scores = _named("scores.h5", "of the test clips")
    validation_scores = _named("validation_scores.h5", "of the validation clips")
    evaluation_scores = _named("evaluation_scores.h5", "of the challenge's evaluation set, where its audio exists")
    events = _named("events.tsv", "detected events of the test clips")
    tags = _named("tags.tsv", "estimated tags of the test clips")
    operating_point = _named("operating_point.json", "thresholds and post-processing that training or `tune` chose")
    metrics = _named("metrics.json", "`RunMetrics`; written last, so a folder that has it is complete")
    comparison = _named("comparison.json", "tuned on validation clips, counted on test clips (experiment beyond)")
    tensorboard = _named("tensorboard", "folder of TensorBoard logs")

    def is_begun(self) -> bool:
        """Return whether a run has begun; its identity is the first file."""
        return self.identity.exists() or super().is_begun()

    def of_best_model(self) -> list[Path]:
        """Return the files that follow from the trained model, in an order in which they may be deleted."""
        return [
            *self.pictured(), self.comparison, self.metrics, self.operating_point,
            self.scores, self.validation_scores, self.evaluation_scores, self.events, self.tags,
        ]  # fmt: skip

    def written(self) -> list[Path]:
        """Return the files that training and scoring write, in an order in which they may be deleted."""
        return [
            *self.of_best_model(), self.state, self.last_model, self.best_model, self.history, self.split,
            self.environment, self.config, self.identity,
        ]  # fmt: skip


class GridFiles(_Files):
    """Paths of a grid folder's files."""

    results = _named("results.csv", "every metric of every setting and seed, in long form; written last")
    scores = _named("scores.json.gz", "counts of every test clip of every run (experiment beyond)")
    baselines = _named("baselines.json", "metrics of the baselines")
    figure = _named("figure", "the figure's name without its suffix")

    def table(self, suffix: str) -> Path:
        """Return the path of the table as ``txt``, ``csv``, ``md`` or ``tex``."""
        return self.folder / f"table.{suffix}"

    def short_table(self, suffix: str) -> Path:
        """Return the path of the table of one page's width, as ``txt`` or ``tex``."""
        return self.folder / f"table_short.{suffix}"

    def run(self, strong: float, weak: float, seed: int) -> RunFiles:
        """Return the files of one setting's run."""
        return RunFiles(self.folder / f"{strong:g}_{weak:g}" / f"seed-{seed}")

    def runs(self) -> dict[tuple[float, float, int], RunFiles]:
        """Return the run folders that exist: (strong weight, weak weight, seed) to files."""
        found = {}
        for folder in sorted(self.folder.glob("*_*/seed-*/")):
            strong, _, weak = folder.parent.name.partition("_")
            with contextlib.suppress(ValueError):  # not a run's folder
                found[float(strong), float(weak), int(folder.name.removeprefix("seed-"))] = RunFiles(folder)
        return found

    def written(self) -> list[Path]:
        """Return the files that the grid writes next to its runs."""
        tables = [self.table(suffix) for suffix in ("txt", "csv", "md", "tex")]
        tables += [self.short_table(suffix) for suffix in ("txt", "tex")]
        figures = [self.figure.with_suffix(suffix) for suffix in (".png", ".pdf")]
        return [
            *self.pictured(), self.results, self.baselines, *tables, *figures, self.environment,
            self.data, self.config,
        ]  # fmt: skip


_Count = Annotated[int, msgspec.Meta(ge=0)]


class Split(msgspec.Struct):
    """Ids of the training and the validation clips."""

    training: list[str]
    validation: list[str]


class Coverage(msgspec.Struct):
    """Clips of a split that are used, those that are listed, and why others are not used."""

    n_clips: _Count
    n_listed: _Count
    short: _Count = 0
    missing: _Count = 0
    unreadable: _Count = 0
    untagged: _Count = 0  # without a true tag


class RunEnvironment(msgspec.Struct):
    """Versions of the packages; more is written than is read."""

    packages: dict[str, str] = {}


class RunData(msgspec.Struct):
    """The data of a run or a grid; paths are relative to the folder of the document."""

    provenance: str = ""
    classes: list[str] = []
    coverage: dict[str, Coverage] = {}
    train_store: str | None = None
    test_store: str | None = None
    evaluation_store: str | None = None
    audio: dict[str, str] = {}  # test clip to recording


class _Rates(msgspec.Struct):
    """Metrics of one output that readers rely on; an undefined value is null."""

    precision: float | None
    recall: float | None
    f_score: float | None
    class_wise: dict[str, dict[str, float | None]]


class _DetectionRates(_Rates):
    error_rate: float | None


class _Control(msgspec.Struct):
    """A control's or a ranking's metrics; which there are depends on its output."""

    f_score: float | None = None
    error_rate: float | None = None
    mean_average_precision: float | None = None
    roc_auc: float | None = None
    psds1: float | None = None
    psds2: float | None = None
    class_wise: dict[str, dict[str, float | None]] = {}


class _WithinClip(msgspec.Struct):
    auc: float | None
    low: float | None
    high: float | None
    n_pairs: _Count
    class_wise: dict[str, dict[str, float | None]]


class RunMetrics(msgspec.Struct):
    """Metrics of the test clips that readers rely on."""

    n_clips: _Count
    n_listed: _Count
    tagging: _Rates
    tagging_threshold: _Rates | None = None  # and the other `TAGGINGS`
    tagging_at_least_one: _Rates | None = None
    tagging_strong_threshold: _Rates | None = None
    tagging_strong_at_least_one: _Rates | None = None
    segment: _DetectionRates | None = None
    event: _DetectionRates | None = None
    rotated: _Control | None = None
    timing_gain: _Control | None = None
    whole_clip: _Control | None = None
    within_clip: _WithinClip | None = None
    loudness: _WithinClip | None = None  # of the frames, as `within_clip`
    weak_ranking: _Control | None = None
    strong_ranking: _Control | None = None
    psds: _Control | None = None


def read_optional(path: Path, kind: type) -> dict[str, Any]:
    """Return the content of a JSON document, checked against its declaration; empty if the file does not exist."""
    if not path.exists():
        return {}
    content: dict[str, Any] = read_json(path, dict[str, Any], advice=_AGAIN)
    convert_document(content, kind, str(path), advice=_AGAIN)
    return content


_DRAWN_LOSSES = ("epoch", "val_loss", "strong_loss", "weak_loss", "val_strong_loss", "val_weak_loss")


def read_history(path: Path) -> dict[str, list[float]]:
    """Return the losses by epoch, column to values; NaN without validation clips, empty before the first epoch."""
    if not path.exists():
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, advice="Train the run again.").decode(), newline="")))
        missing = [name for name in _DRAWN_LOSSES if rows and name not in rows[0]]
        if missing:
            raise ValueError(f"no column {missing[0]!r}")
        columns = list(rows[0]) if rows else []
        return {name: [math.nan if row[name] == "" else float(row[name]) for row in rows] for name in columns}
    except (TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a history of losses ({error}). Train the run again.") from None


def write_history(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, float]]) -> None:
    """Write the losses by epoch."""
    write_text(path, csv_text(columns, [[row.get(name, "") for name in columns] for row in rows]))


def check_continues(files: RunFiles | GridFiles, config: Config, *, overwrite: bool = False) -> Config | None:
    """Refuse a folder that may not be continued with this configuration; the message says why.

    A run or a grid may be continued with the same configuration, or with more epochs unless training is planned over
    their number (a cosine rate has ended at 0). With `overwrite`, only a folder that holds other people's files is
    refused. Returns the configuration that the folder holds; None for a new one, or one to overwrite.
    """
    if not files.is_begun():
        foreign = [path.name for path in (*files.written(), files.data, files.report) if path.exists()]
        if foreign:
            raise RunError(
                f"{files.folder}: holds {foreign[0]}, which would be replaced. Choose another folder with --out."
            )
    if overwrite or not files.config.exists():
        return None
    stored = load_config(files.config)
    n_stored, n_epochs = stored.training.epochs, config.training.epochs
    as_long = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=n_stored))
    if stored != as_long or n_epochs < n_stored:
        fewer = " A run can be given more epochs, not fewer." if n_epochs < n_stored else ""
        difference = _difference(stored, config)
        raise RunError(f"{files.folder}: holds another configuration: {difference}.{fewer} {WAYS_OUT}")
    for name in ("schedule", "loss_weighting"):
        value = getattr(config.training, name)
        if n_epochs > n_stored and value in ("cosine", "linear"):
            raise RunError(
                f"{files.folder}: training.{name}={value} depends on the number of epochs, so a run planned for "
                f"{n_stored} epochs cannot be extended to {n_epochs}. {WAYS_OUT}"
            )
    return stored


def _difference(stored: Config, config: Config) -> str:
    """Return the settings that differ, at most three, as ``training.seed 0, now 1``."""
    old, new = _flat(stored), _flat(config)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    rows = [f"{name} {old.get(name)!r}, now {new.get(name)!r}" for name in names]
    return "; ".join(rows[:3]) + (f"; and {len(rows) - 3} more" if len(rows) > 3 else "")


def _flat(config: Config) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, value in to_dict(config).items():
        flat |= {f"{section}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {section: value}
    return flat
