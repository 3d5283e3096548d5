"""Recordings in and results out: find what files, folders and patterns stand for, and write what was found in them.

Event lists are in one file or in ``<format>/<name>.txt``; frame scores are in ``scores/<name>.tsv`` (gapless, what
sed_scores_eval reads) or all in ``scores.h5``; ``recordings.csv`` lists the recordings and their status. After an
interrupt, the lists of those that were finished stay as ``<file>.partial``.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from crnn_weak.audio import AUDIO_SUFFIXES, STDIN, audio_files
from crnn_weak.detection.detector import Detection, Recording, listed_name
from crnn_weak.detection.scores import Scores, score_writer
from crnn_weak.errors import DataError
from crnn_weak.files import output_folder, refuse_existing, relative_path, replace_file, write_text
from crnn_weak.labels.events import CLASS_LIST
from crnn_weak.labels.rolls import frame_times
from crnn_weak.labels.writing import EVENT_FORMATS, lines_text, table_line

# Bytes of a part of an output file's path; file systems allow 255, and a suffix is to come.
_MAX_BYTES = 200


def find_recordings(paths: Iterable[str | Path]) -> list[Recording]:
    """Expand files, folders (with their subfolders), patterns and ``-``; each file once, in the order of `paths`."""
    recordings: dict[str, Recording] = {}  # by absolute path
    for entry in map(str, paths):
        is_pattern = glob.has_magic(entry) and not os.path.exists(entry)
        names: dict[str, str] = {}
        for path in sorted(glob.glob(entry, recursive=True)) if is_pattern else [entry]:
            if os.path.isdir(path):
                names |= {str(file): file.relative_to(path).as_posix() for file in audio_files(path)}
            else:
                names[path] = "stdin" if path == STDIN else os.path.basename(path)
        if not names:
            suffixes = " ".join(AUDIO_SUFFIXES)
            raise DataError(f"{listed_name(entry)}: no audio file there (in folders, looked for {suffixes}).")
        for path, name in names.items():
            recordings.setdefault(os.path.abspath(path), Recording(listed_name(name), path))
    found = list(recordings.values())
    # One missing path among others is reported like a broken file when it is opened.
    if found and not any(one.source == STDIN or os.path.exists(one.source) for one in found):
        raise DataError(f"{listed_name(found[0].source)}: no such file or folder.")
    same_name = defaultdict(list)
    for one in found:
        same_name[one.name].append(os.path.abspath(one.source))
    listed = []
    for one in found:
        name = one.name
        if len(same_name[name]) > 1:  # a/x.wav b/x.wav: their paths below the folder that holds all of that name
            folder = os.path.dirname(os.path.commonprefix(same_name[name]))  # noqa: RUF071 - cut at a whole name
            name = listed_name(relative_path(one.source, folder))
        listed.append(name)
    return [Recording(name, one.source) for name, one in zip(unique_names(listed), found, strict=True)]


def unique_names(names: Sequence[str], *, key: Callable[[str], str] = str) -> list[str]:
    """Return the names, with a number after those that came before; names are equal where their keys are."""
    unique: list[str] = []
    all_keys = {key(name) for name in names}
    used: set[str] = set()
    for name in names:
        candidate, number = name, 1
        while key(candidate) in used or (number > 1 and key(candidate) in all_keys):
            number += 1
            candidate = f"{name} ({number})"
        used.add(key(candidate))
        unique.append(candidate)
    return unique


def file_stems(recordings: Iterable[Recording]) -> dict[str, str]:
    """Return, per recording name, the name of its own output files without their suffix; no two are the same."""
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
    """Write the results of recordings to a folder; a context manager."""

    def __init__(
        self,
        folder: str | Path,
        formats: Iterable[str],  # of `EVENT_FORMATS`, ``scores``, ``scores-h5``, ``tags``
        *,
        recordings: Sequence[Recording],
        overwrite: bool = False,
        figures: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._stems, self._figures = file_stems(recordings), figures
        self._formats, self._overwrite = tuple(dict.fromkeys(formats)), overwrite
        # Lists of all recordings, written at the end: file name -> lines. The list of recordings is the last.
        self._lists: dict[str, list[str]] = {}
        for kind in self._formats:
            if kind == "tags":
                self._lists["tags.tsv"] = ["filename\tevent_label\tscore"]
            elif kind in EVENT_FORMATS and EVENT_FORMATS[kind].file:
                self._lists[EVENT_FORMATS[kind].file] = [EVENT_FORMATS[kind].header]
        self._recordings = self._lists["recordings.csv"] = ["filename,duration,n_events,status,message"]
        self._append: Callable[..., None] | None = None  # to scores.h5
        self._stack = contextlib.ExitStack()

    def path(self, name: str, kind: str) -> Path:
        """Return where a recording's own file of a kind goes."""
        suffix = {"scores": ".tsv", "figures": ".png"}.get(kind, ".txt")
        return self.folder / kind / (self._stems[name] + suffix)

    def __enter__(self) -> ResultWriter:
        paths = [self.folder / file for file in (*self._lists, "scores.h5", "report.html", "snippets.csv")]
        for kind in (*self._formats, *["figures"] * self._figures):
            if (self.folder / kind).is_dir():
                paths += [self.path(name, kind) for name in self._stems]
        self._stack.enter_context(output_folder(self.folder))
        refuse_existing(paths, overwrite=self._overwrite)
        write_text(self.folder / "recordings.csv.partial", "")  # so that a folder that cannot be written fails at once
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.__exit__(*failure)
        if failure[0] is None and "scores-h5" in self._formats and self._append is None:
            (self.folder / "scores.h5").unlink(missing_ok=True)  # of an earlier run: no recording was scored in this
        for file, lines in self._lists.items():
            partial = self.folder / f"{file}.partial"
            if failure[0] is None:
                write_text(self.folder / file, lines_text(lines))
                partial.unlink(missing_ok=True)
            else:
                with contextlib.suppress(OSError):
                    write_text(partial, lines_text(lines))

    def write(self, detection: Detection) -> None:
        """Write one recording's results; for a failed one only its line in ``recordings.csv``."""
        name, scores = detection.recording.name, detection.scores
        if scores is None:
            self._recordings.append(table_line([name, "", "", "failed", one_line(detection.error)], ","))
            return
        for kind in self._formats:
            if kind == "scores":
                _write_scores(self.path(name, kind), scores)
            elif kind == "scores-h5":
                if self._append is None:
                    writer = score_writer(self.folder / "scores.h5", scores.classes, scores.hop_seconds)
                    self._append = self._stack.enter_context(writer)
                self._append(name, scores.strong[0], scores.weak[0], detection.duration_seconds)
            elif kind == "tags":
                rows = [[name, tag.label, f"{tag.score:.4f}"] for tag in detection.tags] or [[name, "", ""]]
                self._lists["tags.tsv"] += map(table_line, rows)
            else:
                form = EVENT_FORMATS[kind]
                lines = form.lines(name, detection.events)
                if form.file:
                    self._lists[form.file] += lines
                else:
                    write_text(self.path(name, kind), lines_text([form.header, *lines]))
        duration, n_events = f"{detection.duration_seconds:.3f}", str(len(detection.events))
        message = listed_name("; ".join(detection.warnings))
        self._recordings.append(table_line([name, duration, n_events, "ok", message], ","))


def one_line(error: Exception | None) -> str:
    """Return an error's message in one line without control characters."""
    return listed_name(" ".join(str(error).split()))


def _write_scores(path: Path, scores: Scores) -> None:
    times = frame_times(scores.strong.shape[1], scores.hop_seconds)
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(table_line(["onset", "offset", *scores.classes]) + "\n")
        for begin, end, frame in zip(times[:-1], times[1:], scores.strong[0], strict=True):
            values = "\t".join([f"{score:.6f}" for score in frame.tolist()])
            file.write(f"{begin:.6f}\t{end:.6f}\t{values}\n")
