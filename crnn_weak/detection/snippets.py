"""Snippets for review: the most uncertain and the most certain events of each class, as files with label tracks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crnn_weak.audio import STDIN, load_clip, read_header, write_audio
from crnn_weak.detection.detector import Detection
from crnn_weak.detection.postprocessing import OperatingPoint, find_events
from crnn_weak.files import csv_text, write_text
from crnn_weak.labels.events import Event
from crnn_weak.labels.writing import EVENT_FORMATS, lines_text

log = logging.getLogger(__name__)


class _Candidate(NamedTuple):
    """A possible event: the time and the value of its highest score."""

    detection: Detection
    stem: Path  # of its snippets, without their times
    time: float
    score: float


class Snippets:
    """Collect the candidates of recordings, and cut those to review, `n_each` of each kind and class."""

    def __init__(self, n_each: int, point: OperatingPoint, classes: Sequence[str], seconds: float) -> None:
        self._n_each, self._point, self._seconds = n_each, point, seconds
        # Half the thresholds, so that the uncertain ones are on both sides of a threshold.
        self._loose = point.replace(thresholds=[value / 2 for value in point.thresholds], weak_gate=False)
        self._found: dict[str, list[_Candidate]] = {label: [] for label in point.classes if label in classes}

    def add(self, detection: Detection, stem: Path) -> None:
        """Add the candidates of one recording that was read from a file."""
        scores = detection.scores
        if scores is None or detection.recording.source == STDIN:
            return
        kept = dataclasses.replace(detection, scores=None)  # they are the largest part
        for event in find_events(scores.strong, self._loose, scores.hop_seconds)[0]:
            if event.label in self._found:
                first, last = (round(time / scores.hop_seconds) for time in (event.onset, event.offset))
                track = scores.strong[0, first : max(last, first + 1), self._point.classes.index(event.label)]
                time = (first + int(track.argmax()) + 0.5) * scores.hop_seconds
                self._found[event.label].append(_Candidate(kept, stem, time, float(track.max())))

    def write(self, table: Path) -> int:
        """Cut the snippets, each with its Audacity track, and list them in a CSV table; return their number."""
        taken: list[tuple[Path, float, float]] = []  # a recording's stem, begin and end of a snippet in it
        rows = []
        for label, threshold in zip(self._point.classes, self._point.thresholds, strict=True):
            found = self._found.get(label, [])
            uncertain = sorted(found, key=lambda one: abs(one.score - threshold))
            certain = sorted((one for one in found if one.score > threshold), key=lambda one: -one.score)
            for kind, ranked in (("uncertain", uncertain), ("certain", certain)):
                n_cut = 0
                for one in ranked:
                    is_taken = any(stem == one.stem and begin <= one.time < end for stem, begin, end in taken)
                    if n_cut < self._n_each and not is_taken:
                        path, begin, end = self._cut(one)
                        taken.append((one.stem, begin, end))
                        name = path.relative_to(table.parent).as_posix()
                        rows.append([name, label, kind, f"{one.score:.4f}", f"{one.time:.3f}"])
                        n_cut += 1
        write_text(table, csv_text(["snippet", "label", "kind", "score", "seconds"], rows))
        return len(rows)

    def _cut(self, candidate: _Candidate) -> tuple[Path, float, float]:
        """Write one snippet around a candidate and the track of its events; return the path, begin and end."""
        detection, source = candidate.detection, candidate.detection.recording.source
        begin = min(candidate.time - self._seconds / 2, detection.duration_seconds - self._seconds)
        begin = round(max(begin, 0.0), 3)
        end = min(begin + self._seconds, detection.duration_seconds)
        path = candidate.stem.with_name(f"{candidate.stem.name}_{begin:.3f}_{end:.3f}.flac")
        rate, _ = read_header(source)
        write_audio(path, load_clip(source, rate, end - begin, start_seconds=begin)[0], rate)
        track = []
        for event in detection.events:
            onset, offset = max(event.onset, begin) - begin, min(event.offset, end) - begin
            if onset < offset:
                track.append(Event(round(onset, 6), round(offset, 6), event.label, event.score))
        track_file = path.with_suffix(".txt")
        if track_file.exists():
            log.warning("%s exists and is kept: it may have been corrected", track_file)
        else:
            write_text(track_file, lines_text(EVENT_FORMATS["audacity"].lines(path.name, track)))
        return path, begin, end
