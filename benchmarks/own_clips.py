"""Own clips: what preset `recommended` detects in long recordings, next to its rivals.

    python benchmarks/own_clips.py OWN [--seeds 0 1 2] [--events 0 0.5 1] [--corrected] [--from everyday]

OWN holds ``clips/`` with their ``tags.csv`` (File, Sounds) and ``events.tsv``, and the recordings ``field/`` with their
``truth.tsv``; the three files lie in OWN itself. Models are trained, and detect, by the documented commands, on
``clips/`` alone. `--events` are the shares of clips whose events train, in the order of the SHA-256 of their names.
`--corrected`: the events of all recordings of ``field/`` but one train too, and that one is detected. Rivals: the
bundled model, a forest, and a script that is called with OWN, ``--targets events`` or ``loud`` and ``--seed``. What is
in ``--work``, which belongs to one OWN, is not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import librosa
import numpy as np
from common import print_result, table

import crnn_weak
from crnn_weak.detection.scores import load_scores
from crnn_weak.labels.events import Event, tag_array
from crnn_weak.labels.reading import read_events
from crnn_weak.labels.rolls import n_segments, segment_maximum, segment_roll
from crnn_weak.labels.writing import write_events, write_rows

_HEADER = ("segment F", "error rate", "event F", "mAP", "CPU minutes")


class OwnClips:
    """The folder OWN, or a part of its classes and clips."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.root, self.work = args.own, args.work
        with (self.root / "tags.csv").open(encoding="utf-8") as file:
            tags = {row["File"]: row["Sounds"].split("; ") for row in csv.DictReader(file)}
        self.classes = tuple(args.classes or sorted({label for labels in tags.values() for label in labels}))
        names = sorted((n for n in tags if set(tags[n]) <= set(self.classes)), key=_digest)[: args.clips]
        self.tags = {name: tags[name] for name in names}
        self.clips = [Path(name).stem for name in names]
        self.events = read_events(self.root / "events.tsv")
        self.truth = {name: self.known(events) for name, events in read_events(self.root / "truth.tsv").items()}
        self.field = {path.stem: path for path in (self.root / "field").iterdir()}
        longest = max(librosa.get_duration(path=path) for path in self.field.values())
        self.seconds = n_segments(longest, 1.0)
        self.audio = self.work / "audio"
        self.audio.mkdir(parents=True, exist_ok=True)
        for path in (*(self.root / "clips").iterdir(), *self.field.values()):
            with contextlib.suppress(FileExistsError):
                (self.audio / path.name).symlink_to(path.resolve())
        rows = [[name, ",".join(labels)] for name, labels in self.tags.items()]
        others = sorted((name for name in tags if not set(tags[name]) & set(self.classes)), key=_digest)
        if len(names) < (args.clips or 0) or len(others) < args.others:
            sys.exit(f"{self.root}: {len(names)} clips of these classes, {len(others)} of others; asked for more.")
        rows += [[name, ""] for name in others[: args.others]]
        write_rows(self.work / "tags.tsv", [["filename", "event_labels"], *rows])

    def known(self, events: Collection[Event]) -> list[Event]:
        """Return the events of the classes."""
        return [event for event in events if event.label in self.classes]

    def figures(self, found: dict[str, tuple[np.ndarray, list[Event]]]) -> dict[str, float]:
        """Return the figures of the scores of seconds, (seconds, classes), and of the events of each recording."""
        from sklearn.metrics import average_precision_score

        events = {name: found[name][1] for name in self.truth}
        segment = crnn_weak.segment_metrics(self.truth, events, classes=self.classes, clip_seconds=self.seconds)
        event = crnn_weak.event_metrics(self.truth, events, classes=self.classes)
        where = {"clip_ids": tuple(self.truth), "clip_seconds": self.seconds, "segment_seconds": 1.0}
        roll = np.concatenate(segment_roll(self.truth, classes=self.classes, **where))
        precision = average_precision_score(roll, np.concatenate([found[name][0] for name in self.truth]), average=None)
        mean_precision = float(precision[roll.any(axis=0)].mean())
        values = 100 * segment.f_score, segment.error_rate, 100 * event.f_score, 100 * mean_precision
        return dict(zip(_HEADER, values, strict=False))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def call(*arguments: object) -> str:
    """Run this Python with arguments; return what it printed."""
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def detect(
    own: OwnClips, folder: Path, model: object, names: Sequence[str]
) -> dict[str, tuple[np.ndarray, list[Event]]]:
    """Return the scores of seconds and the events of recordings, as `figures` takes them."""
    outputs = ["--out", folder, "--overwrite", "--format", "desed", "--format", "scores-h5"]
    call("-m", "crnn_weak", "detect", *(own.field[name] for name in names), "--model", model, *outputs)
    events, found = read_events(folder / "events.tsv"), {}
    for name in names:
        scores = load_scores(folder / "scores.h5", own.field[name].name)
        strong = scores.strong[0][:, [scores.classes.index(label) for label in own.classes]]
        length = {"n_segments": own.seconds, "segment_seconds": 1.0}
        found[name] = segment_maximum(strong, scores.hop_seconds, axis=0, **length), own.known(events.get(name, ()))
    return found


def trained(
    own: OwnClips, folder: Path, seed: int, *, share: float, is_corrected: bool = False, initial: str | None = None
) -> dict[str, float]:
    """Train and detect; of several trainings return the mean minutes of CPU."""
    began, found = resource.getrusage(resource.RUSAGE_CHILDREN), {}
    rounds = [[name] for name in own.truth] if is_corrected else [list(own.truth)]
    for number, recordings in enumerate(rounds):
        run = folder / f"run-{number}"
        known = {clip: own.events[clip] for clip in own.clips[: round(share * len(own.clips))]}
        if is_corrected:
            known |= {name: own.truth[name] for name in own.truth.keys() - set(recordings)}
        options = ["--preset", "recommended", "--data", "folder", "--cache", own.work / "cache"]
        options += ["--audio", own.audio, "--metadata", own.work / "tags.tsv"]
        options += ["--set", "data.test_fraction=0", "--set", f"training.seed={seed}"]
        if known:
            write_events(folder / f"events-{number}.tsv", known)
            options += ["--events", folder / f"events-{number}.tsv"]
        if initial is not None:
            options += ["--from", initial]
        call("-m", "crnn_weak", "train", *options, "--out", run)
        found |= detect(own, folder / f"found-{number}", run, recordings)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return own.figures(found) | {"CPU minutes": seconds / 60 / len(rounds)}


def bundled(own: OwnClips, folder: Path, seed: int) -> dict[str, float]:
    """Detect with the bundled model."""
    return own.figures(detect(own, folder / "found", "everyday", list(own.truth)))


def forest(own: OwnClips, folder: Path, seed: int) -> dict[str, float]:
    """Train extra trees with means and deviations of the log mel energies of each second, and the clip's tags."""
    from sklearn.ensemble import ExtraTreesClassifier

    def seconds_of(path: Path) -> np.ndarray:
        signal, rate = librosa.load(path, sr=16_000)
        power = librosa.feature.melspectrogram(y=signal, sr=rate, hop_length=rate // 50, n_mels=64)
        log_mel = librosa.power_to_db(power, ref=np.max).T
        log_mel = np.pad(log_mel, ((0, -len(log_mel) % 50), (0, 0)), mode="wrap").reshape(-1, 50, 64)
        return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)], axis=1)

    clips = [seconds_of(own.audio / name) for name in own.tags]
    tags = np.repeat(tag_array(list(own.tags.values()), own.classes), [len(clip) for clip in clips], axis=0)
    trees = ExtraTreesClassifier(300, min_samples_leaf=2, random_state=seed).fit(np.concatenate(clips), tags)
    found = {}
    for name in own.truth:
        scores = np.zeros((own.seconds, len(own.classes)))
        shares = trees.predict_proba(seconds_of(own.field[name])[: own.seconds])
        scores[: len(shares[0])] = np.stack([share[:, 1] for share in shares], axis=1)
        active = zip(*np.nonzero(scores > 0.5), strict=True)
        found[name] = scores, [Event(float(second), second + 1.0, own.classes[column]) for second, column in active]
    return own.figures(found)


def rival(own: OwnClips, folder: Path, seed: int, *, script: Path, targets: str) -> dict[str, float]:
    """Run a script whose last line says ``segment F 61.1, ER 0.59, mAP 65.6``."""
    last = call(script, own.root, "--targets", targets, "--seed", seed).splitlines()[-1].rpartition(": ")[2]
    values = dict(part.rsplit(" ", 1) for part in last.split(", "))
    return {"segment F": float(values["segment F"]), "error rate": float(values["ER"]), "mAP": float(values["mAP"])}


def measures(args: argparse.Namespace) -> dict[str, Callable[..., dict[str, float]]]:
    """Return what the command line asks for, by name."""
    found: dict[str, Callable[..., dict[str, float]]] = {}
    for initial in (None, args.initial) if args.initial else (None,):
        begin = f"from {initial}, " if initial else ""
        for share in args.events:
            found[f"{begin}events of {share:.0%}"] = partial(trained, share=share, initial=initial)
        if args.corrected:
            found[f"{begin}corrected"] = partial(trained, share=0, initial=initial, is_corrected=True)
    if args.rivals:
        found |= {"everyday, not trained": bundled, "extra trees": forest}
    if args.script:
        found |= {f"script, {name}": partial(rival, script=args.script, targets=name) for name in ("loud", "events")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("own", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/own-clips"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--events", type=float, nargs="*", default=[0, 0.5, 1])
    parser.add_argument("--corrected", action="store_true")
    parser.add_argument("--from", dest="initial", help="also from this model")
    parser.add_argument("--classes", nargs="+", help="only clips of these")
    parser.add_argument("--clips", type=int, help="only so many, in the same order")
    parser.add_argument("--others", type=int, default=0, help="and so many clips of other classes, without tags")
    parser.add_argument("--rivals", action="store_true", help="also the bundled model and a forest")
    parser.add_argument("--script", type=Path, help="also this rival")
    args = parser.parse_args()
    own, rows = OwnClips(args), []
    for name, measure in measures(args).items():
        found = []
        for seed in args.seeds:
            others = f"{args.others} others " if args.others else ""
            what = f"{name} {others}{len(own.tags)} clips of {'-'.join(own.classes)}"
            folder = args.work / re.sub(r"\W+", "-", what)[:200] / f"seed-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "figures.json"
            if not path.exists():
                path.write_text(json.dumps(measure(own, folder, seed)), encoding="utf-8")
            found.append(json.loads(path.read_text(encoding="utf-8")))
        rows.append([name, *(_cell([values.get(column) for values in found]) for column in _HEADER)])
        print(table(rows[-1:], ["", *_HEADER]).splitlines()[-1], flush=True)
    print(table(rows, ["", *_HEADER]))
    print_result("own_clips", ["tensorflow", "tensorflow-cpu", "keras"], clips=len(own.tags), seeds=args.seeds)


def _cell(values: list[float | None]) -> str:
    """Return mean and range over seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    digits = 2 if max(known) < 5 else 1
    spread = f" ({min(known):.{digits}f} to {max(known):.{digits}f})" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
