"""Write results in the formats that the field's tools open.

========== ============================ ==============================================================================
format     files in the output folder   content
========== ============================ ==============================================================================
desed      ``events.tsv``               ``filename onset offset event_label``, tab separated, header, 3 decimals
dcase      ``events.txt``               the same without header
audacity   ``audacity/<name>.txt``      a label track per recording: onset, offset, label, 6 decimals, no header
raven      ``raven/<name>.txt``         a selection table per recording, tab separated, header, 6 decimals
jsonl      ``events.jsonl``             one object per event: filename, onset, offset, label, score
csv        ``events.csv``               ``filename,onset,offset,event_label,score``, quoted where needed
scores     ``scores/<name>.tsv``        ``onset offset <class> ...``, 6 decimals, gapless: what sed_scores_eval reads
scores-h5  ``scores.h5``                see `crnn_weak.detection.scores`
========== ============================ ==============================================================================

Scores are written as they come, so that their length costs no memory. Every file appears under its name when it is
whole; nothing is written of a recording that fails half-way. After an interrupt the lists of the recordings that were
finished stay, as ``<file>.partial``. No two recordings share a file, and no file lies outside the folder, whatever the
recordings are called.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from crnn_weak import timing
from crnn_weak.detection.job import Detection
from crnn_weak.detection.recordings import Recording, listed_name, unique_names
from crnn_weak.detection.scores import ScoreWriter
from crnn_weak.errors import ConfigError, DataError, nearest_names
from crnn_weak.files import replace_file
from crnn_weak.labels.classes import CLASS_LIST
from crnn_weak.labels.events import Event
from crnn_weak.labels.old_writing import RAVEN_COLUMNS

__all__ = ["FORMATS", "TEXT_FORMATS", "ResultWriter", "file_stems", "tag_lines"]

# Bytes of a part of an output file's path; file systems allow 255, and a suffix is to come.
_MAX_BYTES = 200


@dataclass(frozen=True)
class TextFormat:
    """An event list as text: the file for all recordings ("" for one file each), its header, a recording's lines."""

    file: str
    header: str
    lines: Callable[[str, Sequence[Event]], Iterable[str]]


def _row(*fields: str, delimiter: str = "\t") -> str:
    """Return one line of a table, with a field quoted where it would break the table."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator="").writerow(fields)
    return buffer.getvalue()


def _dcase_lines(name: str, events: Sequence[Event]) -> Iterator[str]:
    return (_row(name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label) for event in events)


def _csv_lines(name: str, events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        score = "" if event.score is None else f"{event.score:.4f}"
        yield _row(name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label, score, delimiter=",")


def _audacity_lines(name: str, events: Sequence[Event]) -> Iterator[str]:
    return (f"{event.onset:.6f}\t{event.offset:.6f}\t{' '.join(event.label.split())}" for event in events)


def _raven_lines(name: str, events: Sequence[Event]) -> Iterator[str]:
    for number, event in enumerate(events, start=1):
        score = "" if event.score is None else f"{event.score:.4f}"
        begin, end = f"{event.onset:.6f}", f"{event.offset:.6f}"
        yield _row(str(number), "Spectrogram 1", "1", begin, end, "0.0", "20000.0", name, begin, score, event.label)


def _json_lines(name: str, events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        score = None if event.score is None else round(event.score, 4)
        content = {"filename": name, "onset": event.onset, "offset": event.offset, "label": event.label, "score": score}
        yield json.dumps(content, ensure_ascii=False)


TEXT_FORMATS: dict[str, TextFormat] = {
    "desed": TextFormat("events.tsv", "filename\tonset\toffset\tevent_label", _dcase_lines),
    "dcase": TextFormat("events.txt", "", _dcase_lines),
    "audacity": TextFormat("", "", _audacity_lines),
    "raven": TextFormat("", "\t".join(RAVEN_COLUMNS), _raven_lines),
    "jsonl": TextFormat("events.jsonl", "", _json_lines),
    "csv": TextFormat("events.csv", "filename,onset,offset,event_label,score", _csv_lines),
}
FORMATS: tuple[str, ...] = (*TEXT_FORMATS, "scores", "scores-h5")


def tag_lines(detection: Detection) -> list[str]:
    """Return a recording's tags as ``filename event_label score`` lines; one with an empty label where it has none."""
    name = detection.recording.name
    return [_row(name, tag.label, f"{tag.score:.4f}") for tag in detection.tags] or [_row(name, "", "")]


def file_stems(recordings: Iterable[Recording]) -> dict[str, str]:
    """Return, per recording name, the name of its own output files without their suffix; no two are the same.

    Examples
    --------
    >>> file_stems([Recording("a.wav", ""), Recording("b.wav", ""), Recording("b.flac", "")])
    {'a.wav': 'a', 'b.wav': 'b.wav', 'b.flac': 'b.flac'}
    """
    names = [recording.name for recording in recordings]
    plain = [_inside(name.removesuffix(Path(name).suffix)) for name in names]
    whole = [_inside(name) for name in names]
    # Read again, labels of this name would be taken for a class list.
    plain = [full if Path(stem + ".txt").name == CLASS_LIST else stem for stem, full in zip(plain, whole, strict=True)]
    # A name without its suffix may be another's name with it: b.wav.mp3 and b.wav.
    n_claims: dict[str, int] = {}
    for key in [stem.casefold() for stem in (*plain, *whole)]:
        n_claims[key] = n_claims.get(key, 0) + 1
    chosen = [
        stem if n_claims[stem.casefold()] == 1 or (stem == full and n_claims[stem.casefold()] == 2) else full
        for stem, full in zip(plain, whole, strict=True)
    ]
    return dict(zip(names, unique_names(chosen, key=str.casefold), strict=True))


def _inside(name: str) -> str:
    """Return a relative path that stays in its folder, and whose parts a file system can hold."""
    parts = [part for part in name.replace("\\", "_").split("/") if part not in ("", ".", "..")]
    return "/".join(_short(part) for part in parts) or "recording"


def _short(part: str) -> str:
    data = part.encode("utf-8")
    if len(data) <= _MAX_BYTES:
        return part
    return data[: _MAX_BYTES - 9].decode("utf-8", "ignore") + "~" + hashlib.sha256(data).hexdigest()[:8]


class _Discarded(Exception):
    """Ends the writing of a file that is not to appear."""


class _File:
    """A file that appears when it is closed as whole.

    Parameters
    ----------
    path : Path
    header : str
        First line; "" for none.
    """

    def __init__(self, path: Path, header: str = "") -> None:
        self._path, self._stack = path, contextlib.ExitStack()
        self._temporary = self._stack.enter_context(replace_file(path))
        self._file = self._temporary.open("w", encoding="utf-8", newline="\n")
        if header:
            self.write([header])

    def write(self, lines: Iterable[str]) -> None:
        self._file.writelines(line + "\n" for line in lines)

    def close(self) -> None:
        self._file.close()
        self._stack.close()
        self._partial.unlink(missing_ok=True)  # of an earlier, interrupted run

    def discard(self, *, partial: bool = False) -> None:
        """Remove the file; with `partial`, what it holds stays beside its name."""
        with contextlib.suppress(OSError):
            self._file.close()
            if partial:
                with replace_file(self._partial) as copy:
                    shutil.copyfile(self._temporary, copy)
        self._stack.__exit__(_Discarded, _Discarded(), None)

    @property
    def _partial(self) -> Path:
        return self._path.with_name(self._path.name + ".partial")


class ResultWriter:
    """Write the results of many recordings to a folder; a context manager.

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
        self._stems = file_stems(recordings)
        self._formats, self._tags, self._overwrite = tuple(dict.fromkeys(formats)), tags, overwrite
        self._shared: dict[str, _File] = {}
        self._tables: dict[str, _File] = {}  # frame scores of recordings in progress
        self._n_frames: dict[str, int] = {}
        self._archive: ScoreWriter | None = None
        self._stack = contextlib.ExitStack()

    def path(self, name: str, kind: str) -> Path:
        """Return where a recording's own file of a format goes."""
        suffix = {"scores": ".tsv", "figures": ".png"}.get(kind, ".txt")
        return self.folder / kind / (self._stems[name] + suffix)

    def _shared_files(self) -> dict[str, tuple[Path, str]]:
        """Return name -> (path, header) of the text files for all recordings."""
        chosen = [name for name in self._formats if name in TEXT_FORMATS and TEXT_FORMATS[name].file]
        files = {name: (self.folder / TEXT_FORMATS[name].file, TEXT_FORMATS[name].header) for name in chosen}
        if self._tags:
            files["tags"] = (self.folder / "tags.tsv", "filename\tevent_label\tscore")
        return files | {"status": (self.folder / "recordings.csv", "filename,duration,n_events,status,message")}

    def _refuse_to_overwrite(self) -> None:
        wanted = [path for path, _ in self._shared_files().values()]
        wanted += [self.folder / "scores.h5"] if "scores-h5" in self._formats else []
        for kind in self._formats:
            is_shared = kind == "scores-h5" or (kind in TEXT_FORMATS and TEXT_FORMATS[kind].file)
            if not is_shared and (self.folder / kind).is_dir():
                wanted += [self.path(name, kind) for name in self._stems]
        for path in wanted:
            if os.path.lexists(path):
                raise DataError(f"{path}: is there already; choose another --out, or pass --overwrite.")

    def __enter__(self) -> ResultWriter:
        if not self._overwrite:
            self._refuse_to_overwrite()
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is a file; --out needs a folder.")
        with contextlib.ExitStack() as stack:
            for name, (path, header) in self._shared_files().items():
                self._shared[name] = _File(path, header)
                stack.callback(self._shared[name].discard)
            if "scores-h5" in self._formats:
                temporary = self._stack.enter_context(replace_file(self.folder / "scores.h5"))
                self._archive = ScoreWriter(temporary, self.classes, self.hop_seconds)
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for table in self._tables.values():
            table.discard()
        with contextlib.ExitStack() as stack:
            # To discard a file that is closed as whole does nothing.
            for file in self._shared.values():
                stack.callback(file.discard, partial=kind is not None)
            stack.callback(self._stack.__exit__, _Discarded, _Discarded(), None)
            if self._archive is not None:
                self._archive.close()
            if kind is None:
                self._stack.close()
                for file in self._shared.values():
                    file.close()

    def add_scores(self, recording: Recording, strong: np.ndarray) -> None:
        """Append frame scores; recordings come one after the other, see `Detector.detect_many`."""
        name = recording.name
        if "scores" in self._formats:
            if name not in self._tables:
                self._tables[name] = _File(self.path(name, "scores"), _row("onset", "offset", *self.classes))
            first = self._n_frames.get(name, 0)
            self._tables[name].write(_score_lines(first, strong, self.hop_seconds))
            self._n_frames[name] = first + len(strong)
        if self._archive is not None:
            self._archive.append(name, strong)

    def write(self, detection: Detection) -> None:
        """Write one recording's events; of a failed one only its line in ``recordings.csv``."""
        name, failed = detection.recording.name, detection.error is not None
        if (table := self._tables.pop(name, None)) is not None:
            table.discard() if failed else table.close()
        if self._archive is not None and failed:
            self._archive.drop_clip(name)
        elif self._archive is not None:
            self._archive.end_clip(name, detection.weak, detection.duration_seconds)
        message = listed_name(" ".join(str(detection.error).split()) if failed else "; ".join(detection.warnings))
        duration = "" if failed else f"{detection.duration_seconds:.3f}"
        count = "" if failed else str(len(detection.events))
        status = _row(name, duration, count, "failed" if failed else "ok", message, delimiter=",")
        self._shared["status"].write([status])
        if failed:
            return
        for kind in self._formats:
            if kind in self._shared:
                self._shared[kind].write(TEXT_FORMATS[kind].lines(name, detection.events))
            elif kind in TEXT_FORMATS:
                own = _File(self.path(name, kind), TEXT_FORMATS[kind].header)
                own.write(TEXT_FORMATS[kind].lines(name, detection.events))
                own.close()
        if self._tags:
            self._shared["tags"].write(tag_lines(detection))


def _score_lines(first_frame: int, strong: np.ndarray, hop_seconds: float) -> Iterable[str]:
    times = timing.frame_times(len(strong), hop_seconds, first=first_frame).tolist()
    for (begin, end), row in zip(pairwise(times), strong.tolist(), strict=True):
        yield f"{begin:.6f}\t{end:.6f}\t" + "\t".join([f"{score:.6f}" for score in row])
