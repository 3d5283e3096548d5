"""The files of a run folder and of a grid folder: their names, and the documents among them.

No other module names these files. A *run* is one trained model with its scores; a *grid* is a folder of runs,
``<strong>_<weak>/seed-<n>``, with a table over them.
"""

from __future__ import annotations

import abc
import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from crnn_weak.errors import RunError
from crnn_weak.files import convert_document, read_json, replace_file

__all__ = [
    "FitState",
    "GridFiles",
    "RunData",
    "RunEnvironment",
    "RunFiles",
    "RunMetrics",
    "Split",
    "read_history",
    "read_optional",
    "write_history",
]

_AGAIN = "Start the command that wrote it again."


def _named(name: str, doc: str) -> Any:
    return property(lambda files: files.folder / name, doc=doc)


class _Files(abc.ABC):
    """The files that the folders of a run and of a grid share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    config = _named("config.toml", "the whole configuration")
    data = _named("data.json", "provenance, classes, coverage, stores and recordings: `RunData`")
    environment = _named("environment.json", "versions, machine, devices")
    report = _named("report.html", "the page of `crnn-weak report`")
    model_card = _named("model-card.md", "the model card of `crnn-weak report --model-card`")
    saliency = _named("saliency", "folder of saliency maps")

    def saliency_files(self) -> list[Path]:
        """Return the saliency maps and their tables, as far as there are any."""
        return [path for path in self.saliency.glob("*") if path.is_file()]

    @abc.abstractmethod
    def written(self) -> list[Path]:
        """Return the files that the package writes there, in an order in which they may be deleted."""

    def is_begun(self) -> bool:
        """Return whether the package has begun to write there."""
        return self.config.exists()

    def check_own(self) -> None:
        """Refuse a folder whose files of such names are not those of a run or a grid.

        Raises
        ------
        RunError
            The message names one.
        """
        if self.is_begun():
            return
        other = [path.name for path in self.written() if path.exists() and path != self.data]
        if other:
            raise RunError(
                f"{self.folder}: holds {other[0]}, which would be replaced. Choose another folder with --out."
            )


class RunFiles(_Files):
    """Paths of a run folder's files."""

    identity = _named("identity.json", "what the run's results depend on beside its configuration")
    split = _named("split.json", "ids of the training and the validation clips: `Split`")
    last_model = _named("last.keras", "after every epoch: weights, optimizer and the state of the fit")
    best_model = _named("best.keras", "the epoch with the lowest validation loss")
    history = _named("history.csv", "losses, one line per epoch")
    state = _named("state.json", "whether the fit has ended: `FitState`")
    scores = _named("scores.h5", "of the test clips")
    validation_scores = _named("validation_scores.h5", "of the validation clips")
    evaluation_scores = _named("evaluation_scores.h5", "of the challenge's evaluation set, where it is at hand")
    events = _named("events.tsv", "detected events of the test clips")
    tags = _named("tags.tsv", "estimated tags of the test clips")
    operating_point = _named("operating_point.json", "thresholds and post-processing that `crnn-weak tune` chose")
    metrics = _named("metrics.json", "written last: its presence says that the run is whole")
    comparison = _named("comparison.json", "tuned on validation clips, counted on test clips (experiment beyond)")
    tensorboard = _named("tensorboard", "folder of TensorBoard logs")

    def is_begun(self) -> bool:
        """Return whether a run has begun; its identity is the first file."""
        return self.identity.exists() or super().is_begun()

    def of_best_model(self) -> list[Path]:
        """Return the files that follow from the trained model, in an order in which they may be deleted."""
        return [
            self.report, self.model_card, *self.saliency_files(), self.comparison, self.metrics,
            self.operating_point, self.scores, self.validation_scores,
            self.evaluation_scores, self.events, self.tags,
        ]  # fmt: skip

    def written(self) -> list[Path]:
        """Return the files that training and scoring write, in an order in which they may be deleted."""
        return [
            *self.of_best_model(), self.state, self.last_model, self.best_model, self.history, self.split,
            self.environment, self.config, self.identity,
        ]  # fmt: skip


class GridFiles(_Files):
    """Paths of a grid folder's files."""

    results = _named("results.csv", "every metric of every setting and seed, in long form")
    scores = _named("scores.json.gz", "counts of every test clip of every run (experiment beyond)")
    baselines = _named("baselines.json", "metrics of the baselines")
    old_baselines = _named("yardsticks.json", "the baselines' name in earlier versions")
    figure = _named("figure", "the figure's name without its suffix")

    def table(self, suffix: str) -> Path:
        """Return the path of the table as ``txt``, ``csv``, ``md`` or ``tex``."""
        return self.folder / f"table.{suffix}"

    def run(self, strong: float, weak: float, seed: int) -> RunFiles:
        """Return the files of one setting's run."""
        return RunFiles(self.folder / f"{strong:g}_{weak:g}" / f"seed-{seed}")

    def runs(self) -> dict[tuple[float, float, int], RunFiles]:
        """Return the run folders that exist: (strong weight, weak weight, seed) to files."""
        found = {}
        for folder in sorted(self.folder.glob("*_*/seed-*")):
            strong, _, weak = folder.parent.name.partition("_")
            try:
                key = float(strong), float(weak), int(folder.name.removeprefix("seed-"))
            except ValueError:
                continue
            if folder.is_dir():
                found[key] = RunFiles(folder)
        return found

    def written(self) -> list[Path]:
        """Return the files that the grid writes beside its runs."""
        tables = [self.table(suffix) for suffix in ("txt", "csv", "md", "tex")]
        figures = [self.figure.with_suffix(suffix) for suffix in (".png", ".pdf")]
        return [
            self.report, *self.saliency_files(), self.results, self.baselines, *tables, *figures, self.environment,
            self.data, self.config,
        ]  # fmt: skip


# --- documents -------------------------------------------------------------------------------------------------------

_Count = Annotated[int, msgspec.Meta(ge=0)]


class FitState(msgspec.Struct):
    """Progress of the fit; the content of ``state.json``."""

    finished: bool = False
    epoch: _Count = 0
    best_epoch: _Count = 0
    best_val_loss: float | None = None


class Split(msgspec.Struct):
    """Ids of the training and the validation clips; the content of ``split.json``."""

    training: list[str]
    validation: list[str]


class Coverage(msgspec.Struct):
    """Clips of a split that were found, of those that are listed, and why others were not used."""

    n_clips: _Count
    n_listed: _Count
    short: _Count = 0
    missing: _Count = 0
    unreadable: _Count = 0


class RunEnvironment(msgspec.Struct):
    """Versions and machine, as far as a reader relies on them; the content of ``environment.json``."""

    packages: dict[str, str] = {}


class RunData(msgspec.Struct):
    """The data of a run; the content of ``data.json``, whose paths are relative to its folder."""

    provenance: str = ""
    classes: list[str] = []
    coverage: dict[str, Coverage] = {}
    train_store: str | None = None
    test_store: str | None = None
    evaluation_store: str | None = None
    audio: dict[str, str] = {}


class _Rates(msgspec.Struct):
    """Metrics of one output, as far as a reader relies on them; an undefined value is null."""

    precision: float | None
    recall: float | None
    f_score: float | None
    class_wise: dict[str, dict[str, float | None]]


class _DetectionRates(_Rates):
    error_rate: float | None


class RunMetrics(msgspec.Struct):
    """Metrics of the test clips, as far as a reader relies on them; the content of ``metrics.json``."""

    n_clips: _Count
    n_listed: _Count
    tagging: _Rates
    segment: _DetectionRates | None = None
    event: _DetectionRates | None = None


def read_optional(path: Path, kind: type = dict) -> dict[str, Any]:
    """Return the content of a JSON document, checked against its declaration; empty where there is no file.

    Raises
    ------
    RunError
        The file is damaged or not of that type.
    """
    if not path.exists():
        return {}
    content: dict[str, Any] = read_json(path, dict[str, Any], advice=_AGAIN)
    convert_document(content, kind, str(path), advice=_AGAIN)
    return content


def read_history(path: Path) -> dict[str, list[float]]:
    """Return the losses by epoch, column to values; empty before the first epoch.

    Raises
    ------
    RunError
        The file is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and "epoch" not in rows[0]:
            raise ValueError("no column 'epoch'")
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    except FileNotFoundError:
        return {}
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a history of losses ({error}). Train the run again.") from None


def write_history(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, float]]) -> None:
    """Write the losses by epoch."""
    with replace_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
