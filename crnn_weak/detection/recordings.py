"""Find the recordings that files, folders, patterns and standard input stand for."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_weak.audio import AUDIO_SUFFIXES, STDIN, audio_files
from crnn_weak.errors import DataError
from crnn_weak.files import visible


@dataclass(frozen=True)
class Recording:
    """One recording: the name under which it is listed, and its source.

    The source is a path, ``"-"``, a binary file, or (array, sample_rate_hz); the array has shape ``(n_samples,)`` or
    ``(n_samples, n_channels)``, floating point in [-1, 1] or integers.
    """

    name: str
    source: Any

    @classmethod
    def of(cls, source: Any) -> Recording:
        """Return a source as a recording, listed under its file name where it is a path."""
        return cls(listed_name(Path(source).name) if isinstance(source, str | Path) else "", source)


def listed_name(path: str) -> str:
    """Return a path as text that every list and terminal can hold: NFC, one line, no control characters.

    Other characters, and bytes that are not UTF-8, are written as Python escapes.

    >>> listed_name("street\\nnight.wav")
    'street\\\\nnight.wav'
    """
    return visible(unicodedata.normalize("NFC", path))


def find_recordings(paths: Iterable[str | Path]) -> list[Recording]:
    """Expand files, folders (with their subfolders), glob patterns and ``-``; each file once, in the order of `paths`.

    A folder stands for its audio files that are not hidden; a file that is named itself may have any suffix. A path
    that does not exist is in the list (opening it will fail), so that one missing name among thousands is reported like
    one broken file. Nothing found, or a folder or pattern without audio, is a DataError.
    """
    recordings: dict[str, Recording] = {}

    def add(name: str, path: str) -> None:
        recordings.setdefault(path if path == STDIN else os.path.abspath(path), Recording(listed_name(name), path))

    missing = []
    for path in paths:
        entry = os.fspath(path)
        if entry == STDIN:
            add("stdin", STDIN)
        elif os.path.isdir(entry):
            files = list(_folder_files(entry))
            if not files:
                suffixes = " ".join(AUDIO_SUFFIXES)
                raise DataError(f"{listed_name(entry)}: the folder holds no audio files (looked for {suffixes}).")
            for file in files:
                add(*file)
        elif os.path.exists(entry):
            add(os.path.basename(entry), entry)
        elif glob.has_magic(entry):
            matches = sorted(glob.glob(entry, recursive=True))
            if not matches:
                raise DataError(f"{listed_name(entry)}: no file matches this pattern.")
            for match in matches:
                for file in _folder_files(match) if os.path.isdir(match) else [(os.path.basename(match), match)]:
                    add(*file)
        else:
            missing.append(entry)
            add(os.path.basename(entry) or entry, entry)
    if missing and len(missing) == len(recordings):
        raise DataError(f"{listed_name(missing[0])}: no such file or folder.")
    return _distinct(list(recordings.values()))


def _folder_files(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the name below the folder and the path of each audio file."""
    for path in audio_files(folder):
        yield path.relative_to(folder).as_posix(), str(path)


def _distinct(recordings: list[Recording]) -> list[Recording]:
    """Give recordings of one name (``a/x.wav b/x.wav``) longer names, from the ends of their paths."""
    same_name: dict[str, list[Recording]] = {}
    for recording in recordings:
        same_name.setdefault(recording.name, []).append(recording)
    names = []
    for recording in recordings:
        name, others = recording.name, [other for other in same_name[recording.name] if other is not recording]
        if others:
            parts = Path(os.path.abspath(recording.source)).parts[1:]
            other_parts = [Path(os.path.abspath(other.source)).parts for other in others]
            n_parts = 1
            while n_parts < len(parts) and any(other[-n_parts:] == parts[-n_parts:] for other in other_parts):
                n_parts += 1
            name = listed_name("/".join(parts[-n_parts:]))
        names.append(name)
    unique = unique_names(names)
    return [Recording(name, recording.source) for name, recording in zip(unique, recordings, strict=True)]


def unique_names(names: Sequence[str], *, key: Callable[[str], str] = str) -> list[str]:
    """Return the names, with a number after those that came before; names are equal where their keys are.

    >>> unique_names(["a", "b", "A"], key=str.casefold)
    ['a', 'b', 'A (2)']
    """
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
