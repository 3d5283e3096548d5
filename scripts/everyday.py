"""Make the bundled models and the bundled recording from a folder of single sounds.

``python scripts/everyday.py RECORDINGS --write`` reads the folder as source ``scenes`` does. Folds 1 to 3 train preset
``recommended`` with their events; an eighth of their originals chooses the thresholds instead, in mixes. Fold 4 is
measured. The model goes into the package, the measurements into ``docs/everyday.md``. ``--cc`` makes ``everyday-cc``
in the same way, of the CC0 and CC BY recordings alone, and measures ``everyday`` on the same. ``--example`` writes the
recording.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

import crnn_weak
from crnn_weak import bundled, cli
from crnn_weak.audio import load_clip, write_audio
from crnn_weak.detection.detector import Detection, Detector, Recording
from crnn_weak.detection.postprocessing import OperatingPoint, scale_odds
from crnn_weak.detection.scores import Scores
from crnn_weak.detection.tuning import Objective, Reference
from crnn_weak.errors import RunError
from crnn_weak.files import make_folder, write_text
from crnn_weak.labels.writing import write_events, write_rows
from crnn_weak.model.archive import load_model, save_model
from crnn_weak.synthesis.mixing import PlacedSound, ScenePlan, plan_scene, read_recordings, render_scene
from crnn_weak.synthesis.mixing import Recording as Sound

CARD = Path(__file__).resolve().parents[1] / "docs" / "everyday.md"
#: Share of each class's clips in folds 1 to 3 that chooses thresholds; originals with twice as many clips train.
_HELD_OUT = 1 / 8
# Mixes of held-out recordings had segment and event F 57.9 and 48.6; with one shift for each example, 56.3 and 37.4.
_SETTINGS = (
    "training.steps=5000",
    "training.epochs=50",
    "training.validation_fraction=0.02",
    "augmentation.band_shift=0",
    "augmentation.band_gain_db=0",
)
_RATE_HZ, _WINDOW_HOP_SECONDS = 16_000, 1.0
_N_LONG, _LONG_SECONDS, _SNR_DB = 3, 300.0, 20.0
_N_SHORT, _SHORT_SECONDS, _SHORT_SNR_DB = 200, 10.0, (3.0, 20.0)
_QUIET_SECONDS, _BACKGROUND_DB = 60.0, -46.0


def split(sounds: Iterable[Sound]) -> dict[str, list[Sound]]:
    """Return the sounds to train with, to choose thresholds with, and to measure on."""
    rng = np.random.default_rng(0)
    groups: dict[str, list[Sound]] = {"train": [], "thresholds": [], "test": []}
    for _, members in itertools.groupby(sorted(sounds, key=_name), key=lambda sound: sound.category):
        originals: dict[str, list[Sound]] = {}
        for sound in members:
            if sound.fold == 4:
                groups["test"].append(sound)
            else:
                originals.setdefault(sound.credit.split("; ")[1], []).append(sound)
        n_wanted = n_left = _HELD_OUT * sum(map(len, originals.values()))
        for name in rng.permutation(sorted(originals)):
            n_clips = len(originals[name])
            is_held_out = n_left > 0 and n_clips <= 2 * n_wanted
            groups["thresholds" if is_held_out else "train"] += originals[name]
            n_left -= n_clips if is_held_out else 0
    return groups


def is_cc(sound: Sound) -> bool:
    """Return whether a recording is CC0 or CC BY, as all of ESC-10 in the folder are."""
    return sound.credit.startswith("ESC-10")


def _name(sound: Sound) -> tuple[str, str]:
    return sound.category, sound.name


def by_class(sounds: Iterable[Sound]) -> tuple[dict[str, list[Sound]], list[Sound]]:
    """Return the sounds of each class, and the backgrounds."""
    classes: dict[str, list[Sound]] = {}
    backgrounds = []
    for sound in sounds:
        if sound.background:
            backgrounds.append(sound)
        else:
            classes.setdefault(sound.category, []).append(sound)
    return {label: sorted(classes[label], key=_name) for label in sorted(classes)}, backgrounds


def in_a_row(sounds: Iterable[Sound], background: Sound, rng: Generator, longest: float, pause: float) -> ScenePlan:
    """Place sounds one after the other over a background, with random pauses, as long as they fit."""
    placed, at = [], 0.5
    for sound in sounds:
        first, last = sound.regions[0][0], sound.regions[-1][1]
        if at + last - first > longest - 0.5:
            break
        regions = tuple((round(at + on - first, 3), round(at + off - first, 3)) for on, off in sound.regions)
        placed.append(PlacedSound(sound, first, at, last - first, _SNR_DB, regions))
        at += last - first + rng.uniform(0.3, pause)
    return ScenePlan(min(longest, round(at, 1)), background, float(rng.uniform()), _BACKGROUND_DB, tuple(placed))


def long_plans(sounds: Sequence[Sound], seed: int) -> list[ScenePlan]:
    """Plan recordings of five minutes with up to three sounds of each class."""
    rng, plans = np.random.default_rng(seed), []
    classes, backgrounds = by_class(sounds)
    for _ in range(_N_LONG):
        drawn = [members[rng.integers(len(members))] for members in classes.values() for _ in range(3)]
        order = [drawn[index] for index in rng.permutation(len(drawn))]
        plan = in_a_row(order, backgrounds[rng.integers(len(backgrounds))], rng, _LONG_SECONDS, 4.0)
        plans.append(dataclasses.replace(plan, clip_seconds=_LONG_SECONDS))
    return plans


def train(root: Path, groups: Mapping[str, Sequence[Sound]], work: Path) -> Detector:
    """Train on the unmixed recordings, which preset ``recommended`` mixes; a finished run is taken as it is."""
    events, rows = {}, [["filename", "event_labels", "split"]]
    clips = make_folder(work / "clips")
    for group, split_name in (("train", "train"), ("thresholds", "test")):
        for sound in groups[group]:
            path = clips / Path(sound.name).with_suffix(".flac").name
            if not path.exists():
                write_audio(path, load_clip(root / sound.name, _RATE_HZ)[0], _RATE_HZ)
            rows.append([path.name, "" if sound.background else sound.category, split_name])
            if not sound.background:
                events[path.stem] = [crnn_weak.Event(*region, sound.category) for region in sound.regions]
    write_rows(work / "tags.tsv", rows)
    write_events(work / "events.tsv", events)
    files = ["--audio", clips, "--metadata", work / "tags.tsv", "--events", work / "events.tsv"]
    options = ["train", "--preset", "recommended", "--data", "folder", *files, "--out", work / "run", "--jobs", 1]
    for setting in _SETTINGS:
        options += ["--set", setting]
    if cli.main([str(option) for option in options]):
        raise RunError(f"{work / 'run'}: not trained.")
    return crnn_weak.load(work / "run", window_hop_seconds=_WINDOW_HOP_SECONDS)


def detect(
    detector: Detector, plans: Sequence[ScenePlan], root: Path, labels: Sequence[str] | None = None
) -> dict[str, Detection]:
    """Detect events in planned recordings, by their numbers."""
    recordings = [Recording(str(i), (render_scene(plan, _RATE_HZ, root), _RATE_HZ)) for i, plan in enumerate(plans)]
    return {detection.recording.name: detection for detection in detector.detect_many(recordings, classes=labels)}


def choose_point(detector: Detector, plans: Sequence[ScenePlan], root: Path) -> OperatingPoint:
    """Return the operating point, and then the filters, with the best sum of segment and event F.

    The thresholds of the training, which differ by class, are multiplied by one factor, as odds, for the frames with
    which an event begins, and by another one for those with which it continues.
    """
    found = [detection.scores for detection in detect(detector, plans, root).values()]
    strong, weak = (np.concatenate([getattr(scores, name) for scores in found]) for name in ("strong", "weak"))
    names = tuple(map(str, range(len(plans))))
    scores = Scores(names, detector.classes, found[0].hop_seconds, strong, weak)
    reference = Reference(events={name: plan.events for name, plan in zip(names, plans, strict=True)})
    segment, event = (Objective(scores, reference, metric).value for metric in ("segment_f1", "event_f1"))

    def quality(point: OperatingPoint) -> float:
        return segment(point) + event(point)

    start, points = detector.operating_point, []
    for low, high in itertools.combinations_with_replacement(2 ** np.arange(-4, 2.1, 0.25), 2):
        thresholds = {
            "low_thresholds": scale_odds(start.thresholds, low),
            "thresholds": scale_odds(start.thresholds, high),
        }
        points.append(start.replace(**thresholds))
    best, filtered = max(points, key=quality), []
    for median, gap in itertools.product((0.0, 5, 11), (0.0, 0.3)):
        filtered.append(best.replace(median_seconds=median * scores.hop_seconds, min_gap_seconds=gap))
    best = max(filtered, key=quality)
    print(f"threshold mixes: segment F {100 * segment(best):.1f}, event F {100 * event(best):.1f}; {best.summary()}")
    return best


def measure(detector: Detector, sounds: Sequence[Sound], root: Path, others: Sequence[Sound] = ()) -> str:
    """Return the tables of the card for the classes of the sounds: unmixed recordings, mixes, backgrounds, others."""
    from sklearn.metrics import roc_auc_score

    classes, backgrounds = by_class(sounds)
    labels = tuple(classes)
    recordings = [Recording(sound.name, str(root / sound.name)) for sound in sounds]
    found = list(detector.detect_many(recordings, classes=labels))
    lines = ["| class | recordings | precision | recall | ROC AUC |", "|---|---:|---:|---:|---:|"]
    for label in labels:
        column = detector.classes.index(label)
        has = np.array([sound.category == label for sound in sounds])
        detected = np.array([label in detection.events.labels for detection in found])
        auc = roc_auc_score(has, [detection.scores.strong[0, :, column].max() for detection in found])
        precision, recall = (has & detected).sum() / max(detected.sum(), 1), detected[has].mean()
        lines.append(f"| {label} | {has.sum()} | {100 * precision:.0f} % | {100 * recall:.0f} % | {auc:.2f} |")
    options = {"clip_seconds": _SHORT_SECONDS, "snr_db": _SHORT_SNR_DB}
    short = [plan_scene(classes, backgrounds, seed=(0, 4, index), **options) for index in range(_N_SHORT)]
    lines += ["", "| mixes | segment F | error rate | event F |", "|---|---:|---:|---:|"]
    for name, plans in (("10 s, 3 to 20 dB", short), ("5 minutes, 20 dB", long_plans(sounds, 4))):
        truth = {str(number): plan.events for number, plan in enumerate(plans)}
        events = {number: detection.events for number, detection in detect(detector, plans, root, labels).items()}
        segment = crnn_weak.segment_metrics(truth, events, classes=labels, clip_seconds=plans[0].clip_seconds)
        event = crnn_weak.event_metrics(truth, events, classes=labels)
        rates = f"{100 * segment.f_score:.1f} | {segment.error_rate:.2f} | {100 * event.f_score:.1f}"
        lines.append(f"| {len(plans)} of {name} | {rates} |")
    quiet = [ScenePlan(_QUIET_SECONDS, background, 0.0, _BACKGROUND_DB, ()) for background in backgrounds]
    false = Counter(event.label for found in detect(detector, quiet, root, labels).values() for event in found.events)
    per_hour = false.total() / (len(quiet) * _QUIET_SECONDS / 3600)
    what = f"{len(quiet)} backgrounds, each repeated for {_QUIET_SECONDS:g} s"
    lines += ["", f"False alarms on {what}: {false.total()}, or {per_hour:.0f} per hour."]
    lines += ["Their classes: " + ", ".join(f"{label} {n_events}" for label, n_events in false.most_common()) + "."]
    if others:
        recordings = [Recording(sound.name, str(root / sound.name)) for sound in others]
        n_alarms = sum(bool(detection.events) for detection in detector.detect_many(recordings, classes=labels))
        what = "Recordings of other sounds in which it detects one of these classes"
        lines += ["", f"{what}: {n_alarms} of {len(others)}."]
    return "\n".join([*lines, ""])


def write_example(sounds: Iterable[Sound], root: Path) -> None:
    """Write a texture and three short sounds of CC0 and CC BY recordings, in a row, with their events and authors."""
    rng = np.random.default_rng(0)
    classes, backgrounds = by_class(sound for sound in sounds if is_cc(sound))
    textures = [label for label, members in classes.items() if members[0].texture]
    others = [label for label in classes if label not in textures]
    labels = rng.permutation([*rng.choice(textures, 1), *rng.choice(others, 3, replace=False)])
    drawn = [classes[label][rng.integers(len(classes[label]))] for label in labels]
    plan = in_a_row(drawn, backgrounds[rng.integers(len(backgrounds))], rng, 20.0, 0.6)
    path = bundled.example()
    write_audio(path, render_scene(plan, _RATE_HZ, root), _RATE_HZ)
    rows = [[path.name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label] for event in plan.events]
    write_rows(path.with_suffix(".tsv"), [["filename", "onset", "offset", "event_label"], *rows])
    credits = [f"{sound.category}: {sound.credit}" for sound in (*drawn, plan.background)]
    write_text(
        path.with_suffix(".txt"), "\n".join(["Mixed from (set; Freesound id; title; author; terms):", *credits, ""])
    )
    print(f"{path}: {plan.clip_seconds:g} s, {len(plan.events)} events, {path.stat().st_size / 1e3:.0f} kB")


def store(run: Path, point: OperatingPoint, path: Path, trained_on: str, tables: str) -> None:
    """Write the model of a run into the package, and its measurements into the card."""
    model, metadata = load_model(run / "best.keras")  # saved without the optimizer's state
    data = dataclasses.replace(metadata.config.data, root="", metadata="", events="")
    config = dataclasses.replace(metadata.config, data=data)
    provenance = {**metadata.provenance, "trained_on": trained_on}
    stored = {"config": config, "operating_point": point.to_dict(), "provenance": provenance}
    save_model(model, path, dataclasses.replace(metadata, **stored))
    heading = f"## Measured: {path.stem}\n"
    before, _, rest = CARD.read_text(encoding="utf-8").partition(heading)
    _, next_heading, after = rest.partition("\n## ")
    write_text(CARD, f"{before}{heading}\n{tables}{next_heading}{after}")


def _run(args: argparse.Namespace) -> int:
    path = bundled.EVERYDAY_CC if args.cc else bundled.EVERYDAY
    root, work = args.recordings, args.work or Path("runs") / path.stem
    sounds = read_recordings(root, cache=work).recordings
    groups = split(dataclasses.replace(sound, category=sound.category.replace("_", " ")) for sound in sounds)
    trained_on = f"ESC-10 and UrbanSound8K; {bundled.EVERYDAY_TERMS}"
    others = [sound for sound in groups["test"] if args.cc and not is_cc(sound)]
    if args.cc:
        trained_on = "ESC-10, recordings under CC0 and CC BY"
        groups = {group: [sound for sound in members if is_cc(sound)] for group, members in groups.items()}
    if args.example:
        write_example(groups["test"], root)
        return 0
    detector = train(root, groups, work)
    detector.operating_point = choose_point(detector, long_plans(groups["thresholds"], 3), root)
    tables = measure(detector, groups["test"], root, others)
    if args.cc:
        larger = crnn_weak.load(bundled.EVERYDAY.stem, window_hop_seconds=_WINDOW_HOP_SECONDS)
        tables += "\n`everyday` on the same, of its events those of these classes:\n\n"
        tables += measure(larger, groups["test"], root, others)
    print(tables, end="")
    if args.write:
        store(work / "run", detector.operating_point, path, trained_on, tables)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Train, choose, measure, print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python scripts/everyday.py", description="Make a bundled model.")
    parser.add_argument("recordings", type=Path, help="folder of single sounds with meta.csv")
    parser.add_argument("--work", type=Path, help="default: runs/everyday or runs/everyday-cc")
    parser.add_argument("--cc", action="store_true", help="make everyday-cc, of the CC0 and CC BY recordings")
    parser.add_argument("--write", action="store_true", help="store the model and its measurements")
    parser.add_argument("--example", action="store_true", help="write the bundled recording instead")
    args = parser.parse_args(argv)
    return cli.run_guarded("everyday", lambda: _run(args))


if __name__ == "__main__":
    sys.exit(main())
