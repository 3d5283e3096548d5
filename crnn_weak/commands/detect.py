"""``crnn-weak detect``: onsets and offsets for any recording."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crnn_weak import cli
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import visible

if TYPE_CHECKING:
    from crnn_weak.detection.detector import Detection, Detector, Recording
    from crnn_weak.detection.postprocessing import OperatingPoint
    from crnn_weak.report.recordings import RecordingView

# Those of EVENT_FORMATS, which --help must not import.
_EVENT_FORMATS = ("desed", "dcase", "audacity", "raven", "audioset", "jsonl", "csv")
_EPILOG = """\
examples:
  crnn-weak detect street.wav
  crnn-weak detect recordings/ --out found --format audacity --format csv --report
  ffmpeg -i film.mp4 -f wav - | crnn-weak detect -

exit code: 0 all recordings processed; 1 some failed (listed on stderr, all others processed); 2 nothing processed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, folders, patterns, or - for a WAV on stdin")
    parser.add_argument("--model", metavar="MODEL", help="run folder, .keras file or everyday (default: everyday-cc)")
    out = parser.add_argument_group("output")
    out.add_argument("--out", metavar="FOLDER", help="write files here; without it events go to stdout")
    formats = (*_EVENT_FORMATS, "scores", "scores-h5")
    out.add_argument("--format", action="append", default=[], choices=formats, help="repeatable (default: a table)")
    out.add_argument("--figure", action="store_true", help="a picture of each recording, in OUT/figures")
    out.add_argument("--report", action="store_true", help="OUT/report.html: figure, player and events of each")
    text = "cut the N most uncertain and the N most certain events of each class for review, into OUT/snippets"
    out.add_argument("--snippets", type=int, metavar="N", help=text)
    out.add_argument("--tags", action="store_true", help="the classes that sound anywhere in the recording")
    out.add_argument("--overwrite", action="store_true", help="replace existing files")
    out.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress, no summary")
    point = parser.add_argument_group("operating point (default: the one stored with the model)")
    point.add_argument("--classes", action="append", metavar="LABEL", help="only this class; repeatable")
    point.add_argument("--operating-point", metavar="FILE", help="operating_point.json of crnn-weak tune")
    point.add_argument("--threshold", type=float, metavar="SCORE", help="one for all classes, frames and tags")
    point.add_argument("--low-threshold", type=float, metavar="SCORE", help="events continue while they exceed it")
    point.add_argument("--median", type=float, metavar="S", help="median filter, seconds")
    point.add_argument("--min-duration", type=float, metavar="S", help="drop shorter events")
    point.add_argument("--min-gap", type=float, metavar="S", help="close shorter gaps")
    either = argparse.BooleanOptionalAction
    point.add_argument("--min-tags", type=int, metavar="N", help="0, or 1: tag at least a clip's likeliest class")
    point.add_argument("--weak-gate", action=either, help="events only where the clip is tagged")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows (default: 1 %% of one)")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Detect; 0, 1 when some recordings failed, 2 (by an exception) for a user's error."""
    if not args.paths:
        raise ConfigError("no recording was given: name files, folders, patterns, or - for a WAV on standard input.")
    is_one_list = len(args.format) + args.tags <= 1 and set(args.format) <= set(_EVENT_FORMATS)
    if not args.out and (args.figure or args.report or args.snippets is not None or not is_one_list):
        wants = "score files, figures, a report, snippets, and more than one of --format and --tags"
        raise ConfigError(f"{wants} need --out FOLDER.")
    if args.snippets is not None and args.snippets < 1:
        raise ConfigError(f"--snippets {args.snippets}: expected a whole number of 1 or more.")
    if "-" in args.paths and sys.stdin is None:
        raise DataError("standard input is closed; name a file, or pipe a recording into the command.")
    from crnn_weak.detection.detector import load
    from crnn_weak.detection.recordings import find_recordings
    from crnn_weak.labels.events import class_indices

    recordings = find_recordings(args.paths)
    detector = load(args.model, window_hop_seconds=args.hop)
    point = _operating_point(args, detector)
    class_indices(args.classes or (), detector.classes, where="--classes")
    if not args.quiet:
        trained_on = detector.provenance.get("trained_on") or detector.provenance.get("data")
        model = f"{args.model or 'everyday-cc'}{f' ({trained_on})' if trained_on else ''}"
        print(f"model: {visible(model)}\noperating point: {point.summary()}", file=sys.stderr)
    output = _Output(args, recordings, detector, point)
    with output.bar, output.writer or contextlib.nullcontext():
        advance = output.bar.update if len(recordings) == 1 else None  # many recordings are counted
        options: dict[str, Any] = {"operating_point": point, "classes": args.classes, "on_progress": advance}
        for detection in detector.detect_many(recordings, **options):
            output.add(detection)
    return output.finish()


def _operating_point(args: argparse.Namespace, detector: Detector) -> OperatingPoint:
    """Lay --operating-point and what is set by hand over the one stored with the model."""
    from crnn_weak.detection.postprocessing import StoredPoint

    point = detector.operating_point
    if args.operating_point:
        point = StoredPoint.read(args.operating_point, detector.classes).operating_point
    options = {
        "thresholds": args.threshold, "tag_thresholds": args.threshold, "low_thresholds": args.low_threshold,
        "median_seconds": args.median, "min_duration_seconds": args.min_duration, "min_gap_seconds": args.min_gap,
        "weak_gate": args.weak_gate, "min_tags": args.min_tags,
    }  # fmt: skip
    return point.replace(**{name: value for name, value in options.items() if value is not None})


class _Output:
    """All that a run of the command shows and writes: files, standard output, progress, summary."""

    def __init__(
        self, args: argparse.Namespace, recordings: Sequence[Recording], detector: Detector, point: OperatingPoint
    ) -> None:
        from crnn_weak.detection.recordings import ResultWriter
        from crnn_weak.detection.snippets import Snippets
        from crnn_weak.labels.writing import EVENT_FORMATS

        self._args, self._detector = args, detector
        self._n_recordings, self._many = len(recordings), len(recordings) > 1
        self._format = EVENT_FORMATS[args.format[0]] if args.format and not args.out else None
        if self._format is not None and self._many and not self._format.file:
            raise ConfigError(f"a file of --format {args.format[0]} holds one recording: give --out FOLDER for many.")
        columns = ["score", "tag"] if args.tags else ["   onset/s", "  offset/s", "score", "label"]
        self._header = self._row(columns, "recording") if self._format is None else self._format.header
        self._page = Path(args.out or ".") / "report.html"
        self._views: list[RecordingView] = []
        clip_seconds = detector.features.clip_seconds
        self._snippets = Snippets(args.snippets or 0, point, args.classes or detector.classes, clip_seconds)
        self._failed: list[str] = []
        self._n_events, self._seconds, self._began = 0, 0.0, time.perf_counter()
        unit, total = ("recording", self._n_recordings) if self._many else ("s", None)
        hidden = not cli.shows_progress(args)
        self.bar = tqdm(total=total, unit=unit, unit_scale=not self._many, desc="detecting", disable=hidden)
        self.writer = None
        if args.out:
            formats = [*(args.format or ([] if args.tags else ["desed"])), *["tags"] * args.tags]
            options = {"overwrite": args.overwrite, "figures": args.figure or args.report}
            self.writer = ResultWriter(args.out, formats, recordings=recordings, **options)

    def add(self, detection: Detection) -> None:
        """Write and print one recording's results."""
        from crnn_weak.detection.recordings import one_line

        if self.writer is not None:
            self.writer.write(detection)
        self.bar.clear()
        if detection.error is not None:
            self._failed.append(one_line(detection.error))
        else:
            self._seconds += detection.duration_seconds
            self._n_events += len(detection.events)
            for warning in detection.warnings:
                print(f"warning: {detection.recording.name}: {warning}", file=sys.stderr)
            if not self._args.out:
                self._print(detection)
            elif not self._args.quiet:
                counts = Counter(event.label for event in detection.events)
                found = ", ".join(f"{n} {label}" for label, n in sorted(counts.items())) or "no events"
                print(f"{detection.recording.name} ({detection.duration_seconds:.1f} s): {visible(found)}")
        if self.writer is not None and (self._args.figure or self._args.report):
            from crnn_weak.report.recordings import recording_view

            path = self.writer.path(detection.recording.name, "figures")
            self._views.append(recording_view(detection, self._detector, path, self._page))
        if self.writer is not None and self._args.snippets:
            self._snippets.add(detection, self.writer.path(detection.recording.name, "snippets").with_suffix(""))
        if self._many:
            self.bar.update()

    def _print(self, detection: Detection) -> None:
        """Print events or tags as a table or in an event format, after the header at the first recording."""
        name, events = detection.recording.name, detection.events
        if self._format is not None:
            lines = list(self._format.lines(name, events))
        else:
            if self._args.tags:
                rows = [[f"{tag.score:5.2f}", tag.label] for tag in detection.tags] or [["    -", "(no tags)"]]
            else:
                rows = [[f"{e.onset:10.3f}", f"{e.offset:10.3f}", f"{e.score:5.2f}", e.label] for e in events]
                rows = rows or [["         -", "         -", "    -", "(no events)"]]
            lines = [self._row(row, name) for row in rows]
        for line in [self._header, *lines] if self._header else lines:
            print(line, flush=True)
        self._header = ""

    def _row(self, fields: Sequence[str], name: str) -> str:
        last = f"{fields[-1]:<32}  {name}" if self._many else fields[-1]
        return "  ".join([*fields[:-1], last])

    def finish(self) -> int:
        """Write the report, print the summary and the failures; return the exit code."""
        if self._args.report:
            from crnn_weak.report.recordings import write_recordings_page

            paths = self._args.paths
            title = Path(paths[0]).resolve().name if len(paths) == 1 else "Recordings"
            write_recordings_page(self._page, self._views, title=title)
        if self._args.snippets:
            n_snippets = self._snippets.write(Path(self._args.out) / "snippets.csv")
            folder = visible(self._args.out)
            print(f"{n_snippets} snippets with their tracks in {folder}/snippets, listed in snippets.csv")
        n_done, took = self._n_recordings - len(self._failed), time.perf_counter() - self._began
        if not self._args.quiet:
            written = f", written to {visible(self._args.out)}" if self._args.out else ""
            speed = f"{self._seconds:.1f} s of sound in {took:.1f} s, {self._seconds / took:.0f} times as fast"
            counted = f"{n_done} of {self._n_recordings} recordings"
            print(f"{counted}, {speed}: {self._n_events} events{written}", file=sys.stderr)
        for message in self._failed:
            print(f"failed: {message}", file=sys.stderr)
        return (1 if n_done else 2) if self._failed else 0
