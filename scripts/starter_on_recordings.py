"""Measure the starter model on real recordings, class by class.

``python scripts/starter_on_recordings.py FOLDER`` reads a folder of recordings of single sounds with ``meta.csv``
(columns ``filename``, ``fold``, ``category``) and prints a Markdown table: for each class of the model, in how many
recordings that hold such a sound it is detected, in how many that do not, and the area under the ROC curve of the clip
score. The recordings' categories are not the model's classes; `SOUNDS` says which of them may hold which class.

A class is on by default if the recordings of the first two folds support it (`is_usable`). The printed numbers are
those of the other folds, so that the choice is not made on what is reported. ``--write`` writes the table into
``docs/starter-model.md`` and the choice into the model file.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crnn_weak.cli import run_guarded
from crnn_weak.errors import DataError

_SIREN, _HORN, _ENGINE = ("siren",), ("car_horn",), ("engine_idling",)
#: class of the model -> categories of the recordings that may hold it
SOUNDS: dict[str, tuple[str, ...]] = {
    "Air horn, truck horn": _HORN,
    "Car alarm": _HORN,
    "Ambulance (siren)": _SIREN,
    "Fire engine, fire truck (siren)": _SIREN,
    "Civil defense siren": _SIREN,
    "Police car (siren)": _SIREN,
    "Car": _ENGINE,
    "Bus": _ENGINE,
    "Truck": _ENGINE,
    "Motorcycle": _ENGINE,
}
#: class of the model -> categories that are counted neither for nor against it: they often hold both
UNCLEAR: dict[str, tuple[str, ...]] = {
    "Screaming": ("children_playing", "crying_baby"),
    "Car": ("car_horn", "street_music", "siren"),
    "Car passing by": ("car_horn", "engine_idling", "siren"),
    "Train horn": ("car_horn",),
}
_CHOICE_FOLDS = ("1", "2")
CARD = Path(__file__).resolve().parents[1] / "docs" / "starter-model.md"


class Row(NamedTuple):
    """Counts of one class over some recordings; `auc` is None where no recording holds the class."""

    label: str
    n_with: int
    n_hits: int
    n_without: int
    n_false: int
    auc: float | None


def is_usable(row: Row) -> bool:
    """Return whether a class may be on: few false alarms, and more hits than false alarms where that can be told."""
    false_rate = row.n_false / max(row.n_without, 1)
    if row.n_with:
        return false_rate <= 0.05 and row.n_hits / row.n_with > 2 * false_rate and (row.auc or 0) > 0.6
    return false_rate <= 0.02


def measure(folder: Path, rows: Sequence[dict[str, str]]) -> list[Row]:
    """Detect in recordings, lines of ``meta.csv``, with the starter model; return one row per class of the model."""
    from sklearn.metrics import roc_auc_score

    from crnn_weak.detection.detector import Recording, load

    detector = load()
    recordings = [Recording(row["filename"], str(folder / row["filename"])) for row in rows]
    found = list(detector.detect_many(recordings, classes=detector.classes))
    failed = [result.recording.name for result in found if result.error is not None]
    if failed:
        raise DataError(f"{failed[0]}: cannot be read; {len(failed)} of {len(found)} recordings failed.")
    category = np.array([row["category"] for row in rows])
    counted = []
    for column, label in enumerate(detector.classes):
        detected = np.array([label in result.events.labels for result in found])
        has = np.isin(category, SOUNDS.get(label, ()))
        without = ~has & ~np.isin(category, UNCLEAR.get(label, ()))
        used = has | without
        scores = np.array([result.scores.weak[0, column] for result in found])
        auc = float(roc_auc_score(has[used], scores[used])) if has.any() else None
        counts = has.sum(), (has & detected).sum(), without.sum(), (without & detected).sum()
        counted.append(Row(label, *map(int, counts), auc))
    return counted


def to_markdown(rows: Sequence[Row], on: Sequence[str]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| class | detected where it may sound | detected where it does not | ROC AUC | on by default |"]
    lines.append("|---|---:|---:|---:|---|")
    for row in rows:
        hits = f"{row.n_hits} of {row.n_with}" if row.n_with else "no recordings"
        false = f"{row.n_false} of {row.n_without} ({100 * row.n_false / row.n_without:.0f} %)"
        auc = "-" if row.auc is None else f"{row.auc:.2f}"
        lines.append(f"| {row.label} | {hits} | {false} | {auc} | {'yes' if row.label in on else 'no'} |")
    return "\n".join(lines) + "\n"


def _write(table: str, on: Sequence[str]) -> None:
    """Store the table in the card and the classes that are on by default in the starter model's file."""
    from crnn_weak.detection.detector import STARTER_MODEL
    from crnn_weak.files import write_text
    from crnn_weak.model.archive import load_model, save_model

    card = CARD.read_text(encoding="utf-8")
    start, end = card.index("| class |"), card.index("\n\n", card.index("| class |"))
    write_text(CARD, card[:start] + table.rstrip() + card[end:])
    model, metadata = load_model(STARTER_MODEL)
    provenance = {**metadata.provenance, "default_classes": list(on)}
    save_model(model, STARTER_MODEL, dataclasses.replace(metadata, provenance=provenance))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python scripts/starter_on_recordings.py", description="Measure the starter model on real recordings."
    )
    parser.add_argument("folder", type=Path, help="recordings with meta.csv")
    parser.add_argument("--write", action="store_true", help="update the card and the model file")
    args = parser.parse_args(argv)

    def call() -> int:
        try:
            with (args.folder / "meta.csv").open(encoding="utf-8", newline="") as file:
                lines = list(csv.DictReader(file))
        except OSError as error:
            raise DataError(f"{args.folder}: cannot read meta.csv ({error.strerror}).") from None
        choice = measure(args.folder, [line for line in lines if line["fold"] in _CHOICE_FOLDS])
        on = [row.label for row in choice if is_usable(row)]
        table = to_markdown(measure(args.folder, [line for line in lines if line["fold"] not in _CHOICE_FOLDS]), on)
        print(table, end="")
        if args.write:
            _write(table, on)
        return 0

    return run_guarded("starter_on_recordings", call)


if __name__ == "__main__":
    sys.exit(main())
