"""``crnn-weak detect``: onsets and offsets for any recording."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crnn_weak import options
from crnn_weak.config import OperatingPointConfig, apply_overrides, preset
from crnn_weak.errors import ConfigError, CrnnWeakError, DataError

if TYPE_CHECKING:
    import numpy as np

    from crnn_weak.detection.detector import Detector
    from crnn_weak.detection.job import Detection
    from crnn_weak.detection.operating_point import OperatingPoint
    from crnn_weak.detection.recordings import Recording
    from crnn_weak.labels.events import Event
    from crnn_weak.report.recordings import RecordingView

_TEXT_FORMATS = ("desed", "dcase", "audacity", "raven", "jsonl", "csv")
_FORMATS = (*_TEXT_FORMATS, "scores", "scores-h5")
_EPILOG = """\
examples:
  crnn-weak detect street.wav
  crnn-weak detect recordings/ --out found --format audacity --format csv --report
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
    out.add_argument("--report", action="store_true", help="OUT/report.html: figure, player and events of each")
    out.add_argument("--tags", action="store_true", help="the classes that sound anywhere in the recording")
    out.add_argument("--overwrite", action="store_true", help="replace files that are there")
    out.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress, no summary")
    point = parser.add_argument_group("operating point (default: the one stored with the model)")
    point.add_argument("--threshold", type=float, metavar="SCORE", help="one for all classes, frames and tags")
    which = point.add_mutually_exclusive_group()
    which.add_argument("--classes", action="append", metavar="LABEL", help="only this class; repeatable")
    which.add_argument("--all-classes", action="store_true", help="also the classes that the starter model has off")
    point.add_argument("--operating-point", metavar="FILE", help="operating_point.json of crnn-weak tune")
    point.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="operating_point.NAME=VALUE",
        help="e.g. operating_point.median_seconds=0.3",
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
    from crnn_weak.detection.recordings import find_recordings

    recordings = find_recordings(args.paths)
    detector, point = _prepare(args)
    try:
        with _Output(args, recordings, detector) as output:
            for detection in detector.detect_many(
                recordings, operating_point=point, classes=args.classes, on_scores=output.add_scores
            ):
                output.add(detection)
    except (CrnnWeakError, BrokenPipeError):
        raise
    except OSError as error:
        raise DataError(
            f"{args.out or 'standard output'}: cannot be written ({error.strerror or error}). Free space or choose "
            "another --out, and give the same command again."
        ) from None
    return output.finish()


def _check(args: argparse.Namespace) -> None:
    if args.follow and (args.paths not in ([], ["-"]) or args.rate is None):
        raise ConfigError("--follow reads raw PCM from standard input: give --rate HZ, and no path.")
    if args.follow and (args.out or args.figure or args.tags):
        raise ConfigError("--follow prints events: --out, --figure and --tags do not go with it.")
    if args.report and not args.out:
        raise ConfigError("--report writes a page beside the results: give --out FOLDER.")
    if not args.follow and not args.paths:
        raise ConfigError("no recording was given: name files, folders, patterns, or - for a WAV on standard input.")
    n_text = sum(name in _TEXT_FORMATS for name in args.format)
    if not args.out and (args.figure or len(args.format) > 1 or n_text != len(args.format)):
        raise ConfigError("score files, figures and more than one --format need --out FOLDER.")
    if args.follow and args.format == ["raven"]:
        raise ConfigError("a Raven selection table holds a whole recording: --follow prints the other text formats.")
    if args.batch_size < 1:
        raise ConfigError(f"--batch-size {args.batch_size}: expected 1 or more.")
    if (args.follow or "-" in args.paths) and sys.stdin is None:
        raise DataError("standard input is closed; name a file, or pipe a recording into the command.")


def _prepare(args: argparse.Namespace) -> tuple[Detector, OperatingPoint]:
    from crnn_weak.detection.detector import load
    from crnn_weak.detection.recordings import listed_name
    from crnn_weak.labels.classes import class_indices

    detector = load(args.model, batch_size=args.batch_size, window_hop_seconds=args.hop)
    point = _operating_point(args, detector)
    class_indices(args.classes or (), detector.classes, where="--classes")
    if args.all_classes:
        args.classes = list(detector.classes)
    if not getattr(args, "quiet", False):
        trained = detector.provenance.get("trained_on") or detector.provenance.get("data")
        model = f"{args.model or 'starter'}{f' ({trained})' if trained else ''}"
        print(f"model: {listed_name(model)}", file=sys.stderr)
        print(f"operating point: {point.summary()}", file=sys.stderr)
        if args.classes is None and len(detector.default_classes) < len(detector.classes):
            print(f"classes: {', '.join(detector.default_classes)}; the others with --all-classes", file=sys.stderr)
    return detector, point


def _operating_point(args: argparse.Namespace, detector: Detector) -> OperatingPoint:
    """Lay --operating-point, --set and --threshold over the one stored with the model."""
    from crnn_weak.detection.operating_point import StoredPoint

    point = detector.operating_point
    if args.operating_point:
        point = StoredPoint.read(args.operating_point, detector.classes).operating_point
    changes: dict[str, Any] = {}
    names = [override.partition("=")[0].strip() for override in args.set]
    for name in names:
        if not name.startswith("operating_point."):
            raise ConfigError(
                f"--set {name}: a trained model's {name.partition('.')[0]} cannot change, only operating_point.*"
            )
    # The checks of the configuration, against a threshold that leaves a low one all room; the model's own comes below.
    base = dataclasses.replace(preset("paper"), operating_point=OperatingPointConfig(threshold=0.999))
    given = apply_overrides(base, args.set).operating_point
    fields = {"threshold": ("thresholds", "tag_thresholds"), "low_threshold": ("low_thresholds",)}
    for name in (name.removeprefix("operating_point.") for name in names):
        changes |= dict.fromkeys(fields.get(name, (name,)), getattr(given, name))
    if args.threshold is not None:
        changes |= {"thresholds": args.threshold, "tag_thresholds": args.threshold}
    return point.replace(**changes) if changes else point


class _Output:
    """All that a run of the command shows and writes: files, standard output, progress, summary."""

    def __init__(self, args: argparse.Namespace, recordings: Sequence[Recording], detector: Detector) -> None:
        from crnn_weak.detection.writers import ResultWriter

        self._args, self._detector, self._n = args, detector, len(recordings)
        self._stack = contextlib.ExitStack()
        self._writer = None
        if args.out:
            self._writer = ResultWriter(
                args.out,
                args.format or ([] if args.tags else ["desed"]),
                recordings=recordings,
                classes=detector.classes,
                hop_seconds=detector.features.hop_seconds,
                tags=args.tags,
                overwrite=args.overwrite,
            )
        self._page = Path(args.out or ".") / "report.html"
        if args.report and os.path.lexists(self._page) and not args.overwrite:
            raise DataError(f"{self._page}: is there already; choose another --out, or pass --overwrite.")
        self._views: list[RecordingView] = []
        self._printer = _Printer(args, n_recordings=self._n)
        self._failed: list[Detection] = []
        self._n_events, self._seconds, self._began = 0, 0.0, time.perf_counter()
        # One recording shows its seconds, many are counted.
        unit, total = ("s", None) if self._n == 1 else ("recording", self._n)
        show = options.shows_progress(args)
        self._bar = tqdm(total=total, unit=unit, unit_scale=self._n == 1, desc="detecting", disable=not show)

    def __enter__(self) -> _Output:
        self._stack.enter_context(self._bar)
        if self._writer is not None:
            self._stack.enter_context(self._writer)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if self._args.report and error[0] is None:
            from crnn_weak.report.recordings import write_recordings_page

            paths = self._args.paths
            title = Path(paths[0]).resolve().name if len(paths) == 1 else "Recordings"
            write_recordings_page(self._page, self._views, title=title)

    def add_scores(self, recording: Recording, strong: np.ndarray) -> None:
        if self._writer is not None:
            self._writer.add_scores(recording, strong)
        if self._n == 1:
            self._bar.update(len(strong) * self._detector.features.hop_seconds)

    def add(self, detection: Detection) -> None:
        if self._writer is not None:
            self._writer.write(detection)
        if not self._bar.disable:
            self._bar.clear()
        if detection.error is not None:
            self._failed.append(detection)
        else:
            self._seconds += detection.duration_seconds
            self._n_events += len(detection.events)
            for warning in detection.warnings:
                print(f"warning: {detection.recording.name}: {warning}", file=sys.stderr)
            self._printer.show(detection)
        if self._args.figure or self._args.report:
            self._draw(detection)
        if self._n > 1:
            self._bar.update()

    def _draw(self, detection: Detection) -> None:
        from crnn_weak.report.recordings import recording_view, save_recording_picture

        assert self._writer is not None
        picture = None
        if detection.error is None:
            path = self._writer.path(detection.recording.name, "figures")
            try:
                picture = save_recording_picture(detection, self._detector, path, self._page)
            except DataError as error:  # standard input cannot be read twice
                print(f"warning: no figure: {error}", file=sys.stderr)
        self._views.append(recording_view(detection, self._page, picture))

    def finish(self) -> int:
        """Print the summary and the failures; return the exit code."""
        from crnn_weak.detection.recordings import listed_name

        took = time.perf_counter() - self._began
        if not getattr(self._args, "quiet", False):
            rate = f", {self._seconds / took:.0f} times real time" if self._seconds > 60 else ""
            written = f", written to {listed_name(self._args.out)}" if self._args.out else ""
            print(
                f"{self._n - len(self._failed)} of {self._n} recordings, {self._seconds:.1f} s of sound in "
                f"{took:.1f} s{rate}: {self._n_events} events{written}",
                file=sys.stderr,
            )
        for detection in self._failed:
            print(f"failed: {listed_name(' '.join(str(detection.error).split()))}", file=sys.stderr)
        if len(self._failed) == self._n:
            return 2
        return 1 if self._failed else 0


class _Printer:
    """Standard output: a table, or one of the text formats."""

    def __init__(self, args: argparse.Namespace, *, n_recordings: int) -> None:
        from crnn_weak.detection.writers import TEXT_FORMATS

        self._tags = args.tags
        self._many = n_recordings > 1
        self._format = TEXT_FORMATS[args.format[0]] if args.format and not args.out else None
        self._silent = bool(args.out) and getattr(args, "quiet", False)
        if self._format is not None and self._tags:
            raise ConfigError("--tags prints a table; with --format it needs --out FOLDER.")
        if self._format is not None and self._many and not self._format.file:
            raise ConfigError(f"a file of --format {args.format[0]} holds one recording: give --out FOLDER for many.")
        if self._format is not None and self._format.header:
            print(self._format.header)
        self._begun = self._format is not None

    def show(self, detection: Detection) -> None:
        if self._silent:
            return
        name = detection.recording.name
        if self._format is not None:
            for line in self._format.lines(name, detection.events):
                print(line)
        elif self._tags:
            rows = [[f"{tag.score:5.2f}", tag.label] for tag in detection.tags]
            self._rows(name, ["score", "tag"], rows, "no tags")
        else:
            self._rows(name, _EVENT_HEADER, [_fields(event) for event in detection.events], "no events")
        sys.stdout.flush()

    def _rows(self, name: str, header: Sequence[str], rows: list[list[str]], nothing: str) -> None:
        if not self._begun:
            print("  ".join([*header[:-1], f"{header[-1]:<32}  recording" if self._many else header[-1]]))
            self._begun = True
        if not rows:
            rows = [[*(" " * (len(title) - 1) + "-" for title in header[:-1]), f"({nothing})"]]
        for row in rows:
            print("  ".join([*row[:-1], f"{row[-1]:<32}  {name}" if self._many else row[-1]]))


_EVENT_HEADER = ("   onset/s", "  offset/s", "score", "label")


def _fields(event: Event) -> list[str]:
    return [f"{event.onset:10.3f}", f"{event.offset:10.3f}", f"{event.score or 0:5.2f}", event.label]


def _follow(args: argparse.Namespace) -> int:
    from crnn_weak.detection.live import LiveDetector, PcmFormat
    from crnn_weak.detection.writers import TEXT_FORMATS

    detector, point = _prepare(args)
    pcm = PcmFormat(args.rate, args.channels, args.sample_format)
    live = LiveDetector(detector, pcm, operating_point=point, classes=args.classes, delay_seconds=args.delay)
    live.warm_up()
    quiet = getattr(args, "quiet", False)
    if not quiet:
        print(
            f"listening: an event is printed at most {live.delay_seconds:.2f} s after it ends, the first after "
            f"{detector.features.clip_seconds:g} s",
            file=sys.stderr,
            flush=True,
        )
    chosen = TEXT_FORMATS[args.format[0]] if args.format else None
    header = chosen.header if chosen else "  ".join(_EVENT_HEADER)
    if header:
        print(header, flush=True)
    for event in live.events(sys.stdin.buffer):
        lines = chosen.lines("stdin", [event]) if chosen else ["  ".join(_fields(event))]
        for line in lines:
            print(line, flush=True)
    if not live.duration_seconds:
        raise DataError("standard input: it ended without a sample.")
    if not quiet:
        print(f"the stream ended after {live.duration_seconds:.1f} s", file=sys.stderr)
    return 0
