"""Results out: the formats that the field's tools open.

========== ============================ ==============================================================================
format     files in the output folder   content
========== ============================ ==============================================================================
dcase      ``events.tsv``               ``filename onset offset event_label``, tab separated, header, 3 decimals
audacity   ``audacity/<name>.txt``      a label track per recording: onset, offset, label, 6 decimals, no header
jsonl      ``events.jsonl``             one object per event: filename, onset, offset, label, score
csv        ``events.csv``               ``filename,onset,offset,event_label,score``, quoted where needed
rttm       ``events.rttm``              ``SPEAKER <file> 1 <onset> <duration> <NA> <NA> <label> <score> <NA>``
scores     ``scores/<name>.tsv``        ``onset offset <class> ...``, 6 decimals, gapless: what sed_scores_eval reads
scores-h5  ``scores.h5``                a group per recording: ``strong`` (frames, classes), ``weak`` (classes,)
========== ============================ ==============================================================================

RTTM is a format of speaker diarization, and its fields hold no blanks: label and file name have theirs replaced by
``_``; the class stands where a speaker's name would.

Scores are written as they come, so that their length costs no memory. Every file bears a temporary name until it is
whole; what belongs to a recording that fails half-way is taken out again. After an interrupt the lists of the
recordings that were finished stay, as ``<file>.partial``.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from crnn_weak.errors import ConfigError, DataError, nearest_names
from crnn_weak.inference.recordings import Recording
from crnn_weak.inference.results import Detection
from crnn_weak.inference.score_archive import ScoreArchive
from crnn_weak.labels.events import Event

__all__ = ["FORMATS", "TEXT_FORMATS", "ResultWriter", "file_stems", "tag_lines"]


@dataclass(frozen=True)
class TextFormat:
    """An event list as text: the file for all recordings ("" for one file each), its header, an event's line."""

    file: str
    header: str
    line: Callable[[str, Event], str]


def _csv_line(*fields: object) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="").writerow(fields)
    return buffer.getvalue()


def _tab_line(*fields: str) -> str:
    # Quoted only where a field would break the table (a file name may hold a tab).
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter="\t", lineterminator="").writerow(fields)
    return buffer.getvalue()


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _json_line(name: str, event: Event) -> str:
    score = None if event.score is None else round(event.score, 4)
    content = {"filename": name, "onset": event.onset, "offset": event.offset, "label": event.label, "score": score}
    return json.dumps(content, ensure_ascii=False)


def _rttm_line(name: str, event: Event) -> str:
    file, label = ("_".join(text.split()) for text in (name, event.label))
    score = _number(event.score, 3) or "<NA>"
    return f"SPEAKER {file} 1 {event.onset:.3f} {event.duration:.3f} <NA> <NA> {label} {score} <NA>"


TEXT_FORMATS: dict[str, TextFormat] = {
    "dcase": TextFormat(
        "events.tsv",
        "filename\tonset\toffset\tevent_label",
        lambda name, event: _tab_line(name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label),
    ),
    "audacity": TextFormat(
        "", "", lambda name, event: f"{event.onset:.6f}\t{event.offset:.6f}\t{' '.join(event.label.split())}"
    ),
    "jsonl": TextFormat("events.jsonl", "", _json_line),
    "csv": TextFormat(
        "events.csv",
        "filename,onset,offset,event_label,score",
        lambda name, event: _csv_line(
            name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label, _number(event.score, 4)
        ),
    ),
    "rttm": TextFormat("events.rttm", "", _rttm_line),
}
FORMATS: tuple[str, ...] = (*TEXT_FORMATS, "scores", "scores-h5")


def tag_lines(detection: Detection) -> list[str]:
    """Return a recording's tags as ``filename event_label score`` lines; one with an empty label where it has none."""
    name = detection.recording.name
    return [_tab_line(name, tag.label, f"{tag.score:.4f}") for tag in detection.tags] or [_tab_line(name, "", "")]


def file_stems(recordings: Iterable[Recording]) -> dict[str, str]:
    """Return, per recording name, the name without suffix that its own output files get; no two are the same.

    Examples
    --------
    >>> file_stems([Recording("a.wav", ""), Recording("b.wav", ""), Recording("b.flac", "")])
    {'a.wav': 'a', 'b.wav': 'b.wav', 'b.flac': 'b.flac'}
    """
    names = [recording.name for recording in recordings]
    stems = [name.removesuffix(Path(name).suffix) for name in names]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[stem.casefold()] = counts.get(stem.casefold(), 0) + 1
    chosen = [stem if counts[stem.casefold()] == 1 else name for name, stem in zip(names, stems, strict=True)]
    # Nothing leaves the output folder, whatever the recordings are called.
    return {
        name: "/".join(part for part in stem.split("/") if part not in ("", ".", "..")) or "recording"
        for name, stem in zip(names, chosen, strict=True)
    }


class _TextFile:
    """A text file under a temporary name, renamed when closed as whole."""

    def __init__(self, path: Path, header: str = "") -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._file: IO[str] = self._temporary.open("w", encoding="utf-8", newline="\n")
        if header:
            self._file.write(header + "\n")

    def write(self, lines: Iterable[str]) -> None:
        self._file.writelines(line + "\n" for line in lines)

    def close(self, *, keep: bool, partial: bool = False) -> None:
        self._file.close()
        remains = self.path.with_name(self.path.name + ".partial")
        if keep:
            os.replace(self._temporary, remains if partial else self.path)
            if not partial:
                remains.unlink(missing_ok=True)  # of an earlier, interrupted run
        else:
            self._temporary.unlink(missing_ok=True)


class ResultWriter:
    """Write the results of many recordings to a folder; a context manager, and an observer of `detect_many`.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    formats : sequence of str
        Of `FORMATS`.
    recordings : sequence of Recording
        All that will come: their names settle the file names.
    classes : sequence of str
        In the order of the score columns.
    hop_seconds : float
    tags : bool
        Write ``tags.tsv`` (``filename event_label score``) as well.
    overwrite : bool

    Raises
    ------
    ConfigError
        A format is not known.
    DataError
        A file is there and `overwrite` is not given.
    """

    def __init__(
        self,
        folder: str | Path,
        formats: Sequence[str],
        *,
        recordings: Sequence[Recording],
        classes: Sequence[str],
        hop_seconds: float,
        tags: bool = False,
        overwrite: bool = False,
    ) -> None:
        for name in formats:
            if name not in FORMATS:
                raise ConfigError(f"format {name!r} is not known. {nearest_names(name, FORMATS)}")
        self.folder = Path(folder)
        self.classes, self.hop_seconds = tuple(classes), hop_seconds
        self.stems = file_stems(recordings)
        self._formats = tuple(dict.fromkeys(formats))
        if not overwrite:
            self._refuse_to_overwrite(tags)
        self.folder.mkdir(parents=True, exist_ok=True)
        lists = [name for name in self._formats if name in TEXT_FORMATS and TEXT_FORMATS[name].file]
        self._lists = {n: _TextFile(self.folder / TEXT_FORMATS[n].file, TEXT_FORMATS[n].header) for n in lists}
        self._tags = _TextFile(self.folder / "tags.tsv", "filename\tevent_label\tscore") if tags else None
        self._status = _TextFile(self.folder / "recordings.csv", "filename,duration,n_events,status,message")
        self._tables: dict[str, _TextFile] = {}
        self._h5 = ScoreArchive(self.folder / "scores.h5", classes, hop_seconds) if "scores-h5" in formats else None

    def path(self, name: str, kind: str) -> Path:
        """Return where a recording's own file of a format goes."""
        suffix = {"audacity": ".txt", "scores": ".tsv", "figures": ".png"}[kind]
        return self.folder / kind / (self.stems[name] + suffix)

    def _refuse_to_overwrite(self, tags: bool) -> None:
        wanted = [
            self.folder / TEXT_FORMATS[n].file for n in self._formats if n in TEXT_FORMATS and TEXT_FORMATS[n].file
        ]
        wanted += [self.folder / "tags.tsv"] if tags else []
        wanted += [self.folder / "scores.h5"] if "scores-h5" in self._formats else []
        for kind in ("audacity", "scores"):
            if kind in self._formats and (self.folder / kind).is_dir():
                wanted += [self.path(name, kind) for name in self.stems]
        for path in (*wanted, self.folder / "recordings.csv"):
            if path.exists():
                raise DataError(f"{path}: is there already; choose another --out, or pass --overwrite.")

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(whole=kind is None)

    # --- as an observer ---------------------------------------------------------------------------------------------

    def frames(self, recording: Recording, first_frame: int, strong: np.ndarray) -> None:
        """Append frame scores."""
        if "scores" in self._formats:
            if recording.name not in self._tables:
                header = "\t".join(("onset", "offset", *self.classes))
                self._tables[recording.name] = _TextFile(self.path(recording.name, "scores"), header)
            self._tables[recording.name].write(_score_lines(first_frame, strong, self.hop_seconds))
        if self._h5 is not None:
            self._h5.append(recording.name, strong)

    def progress(self, recording: Recording, seconds: float) -> None:
        """Nothing to do."""

    # --- results ----------------------------------------------------------------------------------------------------

    def write(self, detection: Detection) -> None:
        """Write one recording's events; of a failed one only its line in ``recordings.csv``."""
        name, failed = detection.recording.name, detection.error is not None
        if (table := self._tables.pop(name, None)) is not None:
            table.close(keep=not failed)
        if self._h5 is not None:
            self._h5.end(name, None if failed else detection.weak, detection.duration_seconds)
        message = str(detection.error) if failed else "; ".join(detection.warnings)
        status = "failed" if failed else "ok"
        duration = "" if failed else f"{detection.duration_seconds:.3f}"
        count = "" if failed else len(detection.events)
        self._status.write([_csv_line(name, duration, count, status, " ".join(message.split()))])
        if failed:
            return
        for kind, file in self._lists.items():
            file.write(TEXT_FORMATS[kind].line(name, event) for event in detection.events)
        if self._tags is not None:
            self._tags.write(tag_lines(detection))
        if "audacity" in self._formats:
            track = _TextFile(self.path(name, "audacity"))
            track.write(TEXT_FORMATS["audacity"].line(name, event) for event in detection.events)
            track.close(keep=True)

    def close(self, *, whole: bool = True) -> None:
        """Give the files their names; where not `whole`, ``.partial`` behind them."""
        for table in self._tables.values():
            table.close(keep=False)
        for file in (*self._lists.values(), self._tags, self._status):
            if file is not None:
                file.close(keep=True, partial=not whole)
        if self._h5 is not None:
            self._h5.close(keep=whole)


def _score_lines(first_frame: int, strong: np.ndarray, hop_seconds: float) -> Iterable[str]:
    for frame, row in enumerate(strong.tolist(), start=first_frame):
        times = f"{frame * hop_seconds:.6f}\t{(frame + 1) * hop_seconds:.6f}\t"
        yield times + "\t".join([f"{score:.6f}" for score in row])
