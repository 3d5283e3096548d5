"""Write the results of many recordings to a folder, in the formats that the field's tools open.

Event lists are in one file or in ``<format>/<name>.txt``; frame scores are in ``scores/<name>.tsv`` (gapless, what
sed_scores_eval reads) or all in ``scores.h5``; ``recordings.csv`` lists the recordings and their status. After an
interrupt, the lists of those that were finished stay as ``<file>.partial``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from crnn_weak.detection.detector import Detection
from crnn_weak.detection.recordings import Recording, listed_name, unique_names
from crnn_weak.detection.scores import Scores, ScoreWriter
from crnn_weak.errors import DataError
from crnn_weak.files import replace_file, write_text
from crnn_weak.labels.events import CLASS_LIST
from crnn_weak.labels.rolls import frame_times
from crnn_weak.labels.writing import EVENT_FORMATS, table_line

# Bytes of a part of an output file's path; file systems allow 255, and a suffix is to come.
_MAX_BYTES = 200


def file_stems(recordings: Iterable[Recording]) -> dict[str, str]:
    """Return, per recording name, the name of its own output files without their suffix; no two are the same.

    >>> file_stems([Recording("a.wav", ""), Recording("b.wav", ""), Recording("b.flac", "")])
    {'a.wav': 'a', 'b.wav': 'b.wav', 'b.flac': 'b.flac'}
    """
    names = [recording.name for recording in recordings]
    with_suffix = [_safe_path(name) for name in names]
    without_suffix = [_safe_path(name.removesuffix(Path(name).suffix)) for name in names]
    # A name without its suffix may be another's name with it: b.wav.mp3 and b.wav.
    n_uses = Counter(stem.casefold() for stem in (*without_suffix, *with_suffix))
    stems = []
    for short, whole in zip(without_suffix, with_suffix, strict=True):
        is_class_list = Path(short).name + ".txt" == CLASS_LIST  # labels of this name would be read as a class list
        is_unique = n_uses[short.casefold()] == (2 if short == whole else 1)
        stems.append(short if is_unique and not is_class_list else whole)
    return dict(zip(names, unique_names(stems, key=str.casefold), strict=True))


def _safe_path(name: str) -> str:
    """Return a relative path that stays in its folder, and whose parts a file system can hold."""
    parts = []
    for part in name.replace("\\", "_").split("/"):
        data = part.encode("utf-8")
        if len(data) > _MAX_BYTES:
            part = data[: _MAX_BYTES - 9].decode("utf-8", "ignore") + "~" + hashlib.sha256(data).hexdigest()[:8]
        if part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts) or "recording"


class ResultWriter:
    """Write the results of recordings to a folder; a context manager.

    `formats` are names of `EVENT_FORMATS`, ``scores``, ``scores-h5`` and ``tags``. All recordings that will come are
    named beforehand: their names determine the file names. Existing files are refused unless `overwrite`.
    """

    def __init__(
        self,
        folder: str | Path,
        formats: Iterable[str],
        *,
        recordings: Sequence[Recording],
        classes: Sequence[str],
        hop_seconds: float,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._classes, self._hop_seconds = tuple(classes), hop_seconds
        self._stems = file_stems(recordings)
        self._formats, self._overwrite = tuple(dict.fromkeys(formats)), overwrite
        # Lists of all recordings, written at the end: file name -> lines. The list of recordings is the last.
        self._lists: dict[str, list[str]] = {}
        for kind in self._formats:
            if kind == "tags":
                self._lists["tags.tsv"] = ["filename\tevent_label\tscore"]
            elif kind in EVENT_FORMATS and EVENT_FORMATS[kind].file:
                self._lists[EVENT_FORMATS[kind].file] = _header(kind)
        self._recordings = self._lists["recordings.csv"] = ["filename,duration,n_events,status,message"]
        self._archive: ScoreWriter | None = None
        self._stack = contextlib.ExitStack()

    def path(self, name: str, kind: str) -> Path:
        """Return where a recording's own file of a kind goes."""
        suffix = {"scores": ".tsv", "figures": ".png"}.get(kind, ".txt")
        return self.folder / kind / (self._stems[name] + suffix)

    def __enter__(self) -> ResultWriter:
        paths = [self.folder / file for file in (*self._lists, "scores.h5", "report.html")]
        for kind in self._formats:
            if (self.folder / kind).is_dir():
                paths += [self.path(name, kind) for name in self._stems]
        existing = next(filter(os.path.lexists, paths), None)
        if existing is not None and not self._overwrite:
            raise DataError(f"{existing}: exists already; choose another --out, or pass --overwrite.")
        write_text(self.folder / "recordings.csv.partial", "")  # so that a folder that cannot be written fails at once
        if "scores-h5" in self._formats:
            with contextlib.ExitStack() as stack:
                temporary = stack.enter_context(replace_file(self.folder / "scores.h5"))
                writer = ScoreWriter(temporary, self._classes, self._hop_seconds)
                self._archive = stack.enter_context(contextlib.closing(writer))
                self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        for file, lines in self._lists.items():
            partial = self.folder / f"{file}.partial"
            if kind is None:
                write_text(self.folder / file, _text(lines))
                partial.unlink(missing_ok=True)
            else:
                with contextlib.suppress(OSError):
                    write_text(partial, _text(lines))

    def write(self, detection: Detection) -> None:
        """Write one recording's results; for a failed one only its line in ``recordings.csv``."""
        name, scores = detection.recording.name, detection.scores
        if scores is None:
            self._recordings.append(table_line([name, "", "", "failed", one_line(detection.error)], ","))
            return
        for kind in self._formats:
            if kind == "scores":
                with replace_file(self.path(name, kind)) as temporary, temporary.open("w", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in _score_lines(scores))
            elif kind == "scores-h5" and self._archive is not None:
                self._archive.append(name, scores.strong[0], scores.weak[0], detection.duration_seconds)
            elif kind == "tags":
                rows = [[name, tag.label, f"{tag.score:.4f}"] for tag in detection.tags] or [[name, "", ""]]
                self._lists["tags.tsv"] += map(table_line, rows)
            elif kind in EVENT_FORMATS:
                lines = EVENT_FORMATS[kind].lines(name, detection.events)
                if EVENT_FORMATS[kind].file:
                    self._lists[EVENT_FORMATS[kind].file] += lines
                else:
                    write_text(self.path(name, kind), _text([*_header(kind), *lines]))
        duration, n_events = f"{detection.duration_seconds:.3f}", str(len(detection.events))
        message = listed_name("; ".join(detection.warnings))
        self._recordings.append(table_line([name, duration, n_events, "ok", message], ","))


def _header(kind: str) -> list[str]:
    return [EVENT_FORMATS[kind].header] if EVENT_FORMATS[kind].header else []


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def one_line(error: Exception | None) -> str:
    """Return an error's message in one line without control characters."""
    return listed_name(" ".join(str(error).split()))


def _score_lines(scores: Scores) -> Iterator[str]:
    yield table_line(["onset", "offset", *scores.classes])
    times = frame_times(scores.strong.shape[1], scores.hop_seconds)
    for begin, end, frame in zip(times[:-1], times[1:], scores.strong[0], strict=True):
        values = "\t".join([f"{score:.6f}" for score in frame.tolist()])
        yield f"{begin:.6f}\t{end:.6f}\t{values}"
