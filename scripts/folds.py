"""Print a cross-validation with its controls, untuned: means over folds and seeds, with the range over folds.

``python scripts/folds.py runs/beyond/unmixed`` reads the runs that `crnn-weak beyond` has left; a data set is a fold.
The reference of single sounds comes from an energy detector. ``--gaps 1`` closes its gaps below one second, ``--bands
RECORDINGS`` takes another detector's events in its place. ``--inside`` scores the recordings without their padding and
rotates inside them. ``--to FOLDER`` keeps the values of each run and, with none of these, losses and metrics by class.
"""

import argparse
import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from publish import Values, class_metrics, controls_tables, histories

from crnn_weak import Event
from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
from crnn_weak.files import csv_text, write_text
from crnn_weak.metrics.controls import count_controls
from crnn_weak.metrics.counting import Scoring, count_segments
from crnn_weak.metrics.summary import Counts, Metrics
from crnn_weak.runs.folders import open_run
from crnn_weak.runs.train import run_controls


def closed(events: Sequence[Event], gap: float) -> list[Event]:
    """Return the events of one class with gaps below `gap` seconds closed."""
    found = list(events[:1])
    for event in events[1:]:
        onset = found.pop().onset if event.onset - found[-1].offset < gap else event.onset
        found.append(Event(onset, event.offset, event.label))
    return found


@functools.cache
def band_events(path: Path, label: str) -> list[Event]:
    """Return where the bands of a recording are, in the mean, at least half as far above their floors as at most."""
    # In decibels, so that a strong band counts no more than a weak one. A band's floor is its 10th percentile.
    signal, _ = librosa.load(path, sr=16_000)
    power = librosa.feature.melspectrogram(y=signal, sr=16_000, n_fft=1024, hop_length=320, n_mels=64)
    level = librosa.power_to_db(power, ref=np.max)
    above = (level - np.percentile(level, 10, axis=1, keepdims=True)).mean(axis=0)
    highest = np.percentile(above, 95)
    active = (above >= highest / 2) | (highest < 6)  # a steady recording has one event
    times = np.flatnonzero(np.diff(active, prepend=False, append=False)) * 0.02
    return closed([Event(*ends, label) for ends in times.reshape(-1, 2).tolist()], 0.3)


def rescored(folder: Path, change: Callable[[str, Sequence[Event]], list[Event]]) -> dict[str, Any]:
    """Return the metrics of a run with a changed reference."""
    run = open_run(folder)
    with run.open_store("test") as store:
        store.events = {clip: change(clip, events) for clip, events in store.events.items()}
        point, _ = run.operating_point(store.classes)
        events = scores_to_events(run.scores, point)
        found = run.measure(store, events, scores_to_tags(run.scores, point))
        return found | run_controls(run.config, store, run.scores, events)


def stored(folder: Path) -> dict[str, Any]:
    """Return the metrics that a run has kept."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def inside(folder: Path) -> dict[str, Any]:
    """Return the metrics of a run's segments and events, cut at the ends of the recordings and rotated inside them."""
    run = open_run(folder)
    with run.open_store("test") as store:
        events = scores_to_events(run.scores, run.operating_point(store.classes)[0])
        ends = dict(zip(store.clip_ids, store.durations.tolist(), strict=True))
        cut = {
            clip: tuple(
                replace(event, offset=min(event.offset, ends[clip])) for event in own if event.onset < ends[clip]
            )
            for clip, own in events.items()
        }
        found = run.measure(store, cut, {})
        parts: dict[str, list[Counts]] = {}
        for n_seconds in {math.ceil(end) for end in ends.values()}:  # rotation needs one length
            reference = {clip: events for clip, events in store.events.items() if math.ceil(ends[clip]) == n_seconds}
            lists = reference, {clip: cut.get(clip, ()) for clip in reference}
            scoring = Scoring(store.classes, run.config.evaluation, float(n_seconds))
            for name, counts in {"segment": count_segments(*lists, scoring), **count_controls(*lists, scoring)}.items():
                parts.setdefault(name, []).append(counts)
    totals = {name: Counts(*map(np.concatenate, zip(*counts, strict=True))) for name, counts in parts.items()}
    found |= {name: Metrics.of_counts(counts, scoring.classes).to_dict() for name, counts in totals.items()}
    gain = {name: found["segment"][name] - found["rotated"][name] for name in ("f_score", "error_rate")}
    return {"segment": found["segment"], "event": found["event"], "rotated": found["rotated"], "timing_gain": gain}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Print a cross-validation with its controls.")
    parser.add_argument("runs", type=Path)
    changes = parser.add_mutually_exclusive_group()
    changes.add_argument("--gaps", type=float, metavar="SECONDS")
    changes.add_argument("--bands", type=Path, metavar="RECORDINGS")
    changes.add_argument("--inside", action="store_true")
    parser.add_argument("--to", type=Path, metavar="FOLDER")
    args = parser.parse_args()

    def changed(clip: str, events: Sequence[Event]) -> list[Event]:
        if args.bands:
            return band_events(next(args.bands.glob(f"{clip}.*")), events[0].label)
        return closed(events, args.gaps)

    score: Callable[[Path], dict[str, Any]] = inside if args.inside else stored
    if args.bands or args.gaps:
        score = functools.partial(rescored, change=changed)
    paths = [path.parent for path in sorted(args.runs.glob("*/*/seed-*/metrics.json"))]
    runs = {(run.parts[-2], run.parts[-3], run.name.removeprefix("seed-")): run for run in paths}
    changed_by = "-inside" if args.inside else "-bands" if args.bands else "-gaps" if args.gaps else ""
    found: dict[str, dict[tuple[str, str], dict[str, list[float]]]] = {}
    lines = []
    for (entry, fold, seed), run in runs.items():
        for output, metrics in score(run).items():
            for name, value in metrics.items() if isinstance(metrics, dict) else ():
                if isinstance(value, int | float | None):
                    of_fold = found.setdefault(entry, {}).setdefault((output, name), {}).setdefault(fold, [])
                    of_fold.append(np.nan if value is None else value)  # what is undefined leaves its field empty
                    lines.append([entry, fold, seed, output, name, f"{of_fold[-1]:.6g}"])
    names = ("entry", "data", "seed")
    if args.to:
        write_text(args.to / f"values{changed_by}.csv", csv_text([*names, "output", "metric", "value"], lines))
    if args.to and not changed_by:
        write_text(args.to / "history.csv", histories(runs, names))
        write_text(args.to / "classes.csv", class_metrics(runs, names))
    rows: dict[str, Values] = {
        entry: {key: [float(np.mean(values)) for values in folds.values()] for key, folds in of_entry.items()}
        for entry, of_entry in found.items()
    }
    print(controls_tables(rows, "entry", lambda folds, n: f" ({min(folds):.{n}f} to {max(folds):.{n}f})"))


if __name__ == "__main__":
    main()
