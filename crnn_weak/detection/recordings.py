"""Find the recordings that files, folders, patterns and standard input stand for."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_weak.audio import AUDIO_SUFFIXES, STDIN, audio_files
from crnn_weak.errors import DataError
from crnn_weak.files import relative_path, visible


@dataclass(frozen=True)
class Recording:
    """One recording: the name under which it is listed, and its source, as `crnn_weak.audio.AudioBlocks` takes it."""

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
    if found and not any(one.source == STDIN or os.path.exists(one.source) for one in found):
        raise DataError(f"{listed_name(found[0].source)}: no such file or folder.")
    return _distinct(found)


def _distinct(recordings: list[Recording]) -> list[Recording]:
    """Give recordings of one name (``a/x.wav b/x.wav``) their paths below the folder that holds all of that name."""
    paths = defaultdict(list)
    for recording in recordings:
        paths[recording.name].append(os.path.abspath(recording.source))
    names = []
    for recording in recordings:
        name = recording.name
        if len(paths[name]) > 1:
            folder = os.path.dirname(os.path.commonprefix(paths[name]))  # noqa: RUF071 - cut at a whole name
            name = listed_name(relative_path(recording.source, folder))
        names.append(name)
    return [Recording(name, one.source) for name, one in zip(unique_names(names), recordings, strict=True)]


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
