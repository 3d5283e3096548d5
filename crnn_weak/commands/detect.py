"""``crnn-weak detect``: onsets and offsets for any recording."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crnn_weak import options
from crnn_weak.config import DecisionConfig, apply_overrides, preset
from crnn_weak.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from crnn_weak.events.operating_point import ClassDecisions
    from crnn_weak.inference.detector import Detector
    from crnn_weak.inference.recordings import Recording
    from crnn_weak.inference.results import Detection
    from crnn_weak.inference.writers import ResultWriter
    from crnn_weak.labels.events import Event

_FORMATS = ("dcase", "audacity", "jsonl", "csv", "rttm", "scores", "scores-h5")
_EPILOG = """\
examples:
  crnn-weak detect street.wav
  crnn-weak detect recordings/ --out found --format audacity --format csv --figure
  ffmpeg -i film.mp4 -f wav - | crnn-weak detect -
  arecord -f S16_LE -r 16000 -t raw | crnn-weak detect --follow --rate 16000 --delay 3

exit code: 0 all recordings processed; 1 some failed (listed on stderr, all others processed); 2 nothing processed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, folders, patterns, or - for a WAV on stdin")
    parser.add_argument("--model", metavar="RUN_OR_FILE", help="run folder or .keras file (default: starter model)")
    out = parser.add_argument_group("output")
    out.add_argument("--out", metavar="FOLDER", help="write files here; without it one text --format goes to stdout")
    out.add_argument("--format", action="append", default=[], choices=_FORMATS, help="repeatable (default: a table)")
    out.add_argument("--figure", action="store_true", help="a picture of each recording, in OUT/figures")
    out.add_argument("--tags", action="store_true", help="what sounds anywhere in the recording, not when")
    out.add_argument("--overwrite", action="store_true", help="replace files that are there")
    out.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress, no summary")
    decide = parser.add_argument_group("decisions (default: those stored with the model)")
    decide.add_argument("--threshold", type=float, metavar="SCORE", help="one for all classes, frames and tags")
    decide.add_argument("--classes", action="append", metavar="LABEL", help="only this class; repeatable")
    decide.add_argument("--decisions", metavar="FILE", help="JSON file of decisions, as crnn-weak tune writes it")
    decide.add_argument(
        "--set", action="append", default=[], metavar="decisions.NAME=VALUE", help="e.g. decisions.median_seconds=0.3"
    )
    live = parser.add_argument_group("live")
    live.add_argument("--follow", action="store_true", help="raw PCM on stdin; events are printed as they end")
    live.add_argument("--rate", type=int, metavar="HZ", help="of the raw PCM")
    live.add_argument("--channels", type=int, default=1, metavar="N")
    live.add_argument("--sample-format", default="s16le", choices=("s16le", "f32le"))
    live.add_argument("--delay", type=float, metavar="SECONDS", help="print sooner, at more computation")
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="between windows (default: 1 %% of one; 5 is fastest, and rougher)"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="windows per call of the model")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Detect; 0, 1 when some recordings failed, 2 (by an exception) for a user's error."""
    _check(args)
    if args.follow:
        return _follow(args)
    from crnn_weak.inference.recordings import find_recordings

    recordings = find_recordings(args.paths)
    detector, decisions = _prepare(args)
    return _process(args, recordings, detector, decisions)


def _check(args: argparse.Namespace) -> None:
    if args.follow and (args.paths not in ([], ["-"]) or args.rate is None):
        raise ConfigError("--follow reads raw PCM from standard input: give --rate HZ, and no path.")
    if args.follow and (args.out or args.figure or args.tags):
        raise ConfigError("--follow prints events: --out, --figure and --tags do not go with it.")
    if not args.follow and not args.paths:
        raise ConfigError("no recording was given: name files, folders, patterns, or - for a WAV on standard input.")
    text = [name for name in args.format if not name.startswith("scores")]
    if not args.out and (args.figure or len(args.format) > 1 or len(text) != len(args.format)):
        raise ConfigError("score files, figures and more than one --format need --out FOLDER.")
    if args.follow and args.format not in ([], ["jsonl"], ["csv"], ["dcase"], ["rttm"], ["audacity"]):
        raise ConfigError("--follow prints one text format.")
    if args.batch_size < 1:
        raise ConfigError(f"--batch-size {args.batch_size}: expected 1 or more.")


def _prepare(args: argparse.Namespace) -> tuple[Detector, ClassDecisions]:
    from crnn_weak.inference.detector import load
    from crnn_weak.labels.classes import class_indices

    detector = load(args.model, batch_size=args.batch_size, window_hop_seconds=args.hop)
    decisions = _decisions(args, detector)
    class_indices(args.classes or (), detector.classes, where="--classes")
    if not getattr(args, "quiet", False):
        trained = detector.provenance.get("trained_on") or detector.provenance.get("data")
        print(f"model: {args.model or 'starter'}{f' ({trained})' if trained else ''}", file=sys.stderr)
        print(f"decisions: {decisions.summary()}", file=sys.stderr)
    return detector, decisions


def _decisions(args: argparse.Namespace, detector: Detector) -> ClassDecisions:
    """Lay --decisions, --set and --threshold over what is stored with the model."""
    from crnn_weak.events.operating_point import ClassDecisions, as_class_decisions

    decisions = detector.decisions
    if args.decisions:
        try:
            content = json.loads(Path(args.decisions).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{args.decisions}: cannot be read as a JSON file of decisions ({error}).") from None
        stored = content.get("decisions", content) if isinstance(content, dict) else {}
        decisions = as_class_decisions(ClassDecisions.from_dict(stored), detector.classes)
    changes: dict[str, Any] = {}
    names = [override.partition("=")[0].strip() for override in args.set]
    for name in names:
        if not name.startswith("decisions."):
            raise ConfigError(
                f"--set {name}: a trained model's {name.partition('.')[0]} cannot change, only decisions.*"
            )
    # The checks of DecisionConfig, against a threshold that leaves a low one all room; the model's own comes below.
    base = dataclasses.replace(preset("paper"), decisions=DecisionConfig(threshold=0.999))
    given = apply_overrides(base, args.set).decisions
    fields = {"threshold": ("thresholds", "tag_thresholds"), "low_threshold": ("low_thresholds",)}
    for name in (name.removeprefix("decisions.") for name in names):
        changes |= dict.fromkeys(fields.get(name, (name,)), getattr(given, name))
    if args.threshold is not None:
        changes |= {"thresholds": args.threshold, "tag_thresholds": args.threshold}
    return decisions.replace(**changes) if changes else decisions


def _process(
    args: argparse.Namespace, recordings: Sequence[Recording], detector: Detector, decisions: ClassDecisions
) -> int:
    import contextlib

    from crnn_weak.inference.writers import ResultWriter

    quiet = getattr(args, "quiet", False)
    started, seconds, n_events, failed = time.perf_counter(), 0.0, 0, []
    with contextlib.ExitStack() as stack:
        writer = None
        if args.out:
            writer = stack.enter_context(
                ResultWriter(
                    args.out,
                    args.format or (["dcase"] if not args.tags else []),
                    recordings=recordings,
                    classes=detector.classes,
                    hop_seconds=detector.features.hop_seconds,
                    tags=args.tags,
                    overwrite=args.overwrite,
                )
            )
        watch = stack.enter_context(_Watch(recordings, writer, show=options.shows_progress(args)))
        printer = _Printer(args, n_recordings=len(recordings))
        results = detector.detect_many(recordings, decisions=decisions, classes=args.classes, observer=watch)
        for detection in results:
            name = detection.recording.name
            if writer is not None:
                writer.write(detection)
            if detection.error is not None:
                failed.append(detection)
            else:
                seconds += detection.duration_seconds
                n_events += len(detection.events)
                watch.clear()
                for warning in detection.warnings:
                    print(f"warning: {name}: {warning}", file=sys.stderr)
                printer.show(detection)
                if args.figure and writer is not None:
                    _figure(detection, detector, writer)
            watch.done()
    took = time.perf_counter() - started
    if not quiet:
        rate = f", {seconds / took:.0f} times real time" if seconds > 60 else ""
        print(
            f"{len(recordings) - len(failed)} of {len(recordings)} recordings, {seconds:.1f} s of sound in {took:.1f} s"
            f"{rate}: {n_events} events{f', written to {args.out}' if args.out else ''}",
            file=sys.stderr,
        )
    for detection in failed:
        print(f"failed: {' '.join(str(detection.error).split())}", file=sys.stderr)
    return 1 if failed else 0


class _Watch:
    """An observer that shows a bar, of seconds for one recording and of recordings for many."""

    def __init__(self, recordings: Sequence[Recording], writer: ResultWriter | None, *, show: bool) -> None:
        self._single = len(recordings) == 1
        total = None if self._single else len(recordings)
        unit = "s" if self._single else "recording"
        self._bar = tqdm(total=total, unit=unit, unit_scale=self._single, desc="detecting", disable=not show)
        self._writer = writer

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def frames(self, recording: Recording, first_frame: int, strong: np.ndarray) -> None:
        if self._writer is not None:
            self._writer.frames(recording, first_frame, strong)

    def progress(self, recording: Recording, seconds: float) -> None:
        if self._single:
            self._bar.update(seconds)

    def done(self) -> None:
        if not self._single:
            self._bar.update()

    def clear(self) -> None:
        """Make room on the terminal for a line of output."""
        if not self._bar.disable:
            self._bar.clear()


class _Printer:
    """Standard output: a table, or one of the text formats."""

    def __init__(self, args: argparse.Namespace, *, n_recordings: int) -> None:
        from crnn_weak.inference.writers import TEXT_FORMATS

        self._tags = args.tags
        self._many = n_recordings > 1
        self._format = TEXT_FORMATS[args.format[0]] if args.format and not args.out else None
        self._silent = bool(args.out) and getattr(args, "quiet", False)
        if self._format is not None and self._tags:
            raise ConfigError("--tags prints a table; with --format it needs --out FOLDER.")
        if self._format is not None and self._many and not self._format.file:
            raise ConfigError("an Audacity label track holds one recording: give --out FOLDER for many.")
        if self._format is not None and self._format.header:
            print(self._format.header)
        self._begun = self._format is not None

    def show(self, detection: Detection) -> None:
        if self._silent:
            return
        name = detection.recording.name
        if self._format is not None:
            for event in detection.events:
                print(self._format.line(name, event))
        elif self._tags:
            self._row(name, ["score", "tag"], [[f"{t.score:5.2f}", t.label] for t in detection.tags], "no tags")
        else:
            rows = [
                [f"{e.onset:10.3f}", f"{e.offset:10.3f}", f"{e.score or 0:5.2f}", e.label] for e in detection.events
            ]
            self._row(name, ["   onset/s", "  offset/s", "score", "label"], rows, "no events")
        sys.stdout.flush()

    def _row(self, name: str, header: list[str], rows: list[list[str]], nothing: str) -> None:
        if not self._begun:
            print("  ".join([*header[:-1], f"{header[-1]:<32}  recording" if self._many else header[-1]]))
            self._begun = True
        if not rows:
            rows = [[*(" " * (len(title) - 1) + "-" for title in header[:-1]), f"({nothing})"]]
        for row in rows:
            print("  ".join([*row[:-1], f"{row[-1]:<32}  {name}" if self._many else row[-1]]))


def _fields(event: Event) -> list[str]:
    return [f"{event.onset:10.3f}", f"{event.offset:10.3f}", f"{event.score or 0:5.2f}", event.label]


def _figure(detection: Detection, detector: Detector, writer: ResultWriter) -> None:
    from crnn_weak.figures.detection import save_figure

    try:
        save_figure(detection, detector, writer.path(detection.recording.name, "figures"))
    except DataError as error:  # standard input cannot be read twice
        print(f"warning: no figure: {error}", file=sys.stderr)


def _follow(args: argparse.Namespace) -> int:
    from crnn_weak.inference.live import LiveDetector, PcmFormat
    from crnn_weak.inference.writers import TEXT_FORMATS

    detector, decisions = _prepare(args)
    pcm = PcmFormat(args.rate, args.channels, args.sample_format)
    live = LiveDetector(detector, pcm, decisions=decisions, classes=args.classes, delay_seconds=args.delay)
    detector.predict(detector.silence())  # compiled now, not when the first window is due
    quiet = getattr(args, "quiet", False)
    if not quiet:
        print(
            f"listening: an event is printed at most {live.delay_seconds:.2f} s after it ends, the first after "
            f"{detector.features.clip_seconds:g} s",
            file=sys.stderr,
            flush=True,
        )
    chosen = TEXT_FORMATS[args.format[0]] if args.format else None
    header = chosen.header if chosen else "   onset/s    offset/s  score  label"
    if header:
        print(header, flush=True)
    for event in live.events(sys.stdin.buffer):
        if chosen:
            print(chosen.line("stdin", event), flush=True)
        else:
            print("  ".join(_fields(event)), flush=True)
    if not live.duration_seconds:
        raise DataError("standard input: it ended without a sample.")
    if not quiet:
        print(f"the stream ended after {live.duration_seconds:.1f} s", file=sys.stderr)
    return 0
