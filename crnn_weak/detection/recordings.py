"""Find the recordings that files, folders, patterns and standard input stand for."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_weak.audio import AUDIO_SUFFIXES, STDIN, audio_files
from crnn_weak.errors import DataError
from crnn_weak.files import visible

__all__ = ["STDIN", "Recording", "find_recordings", "listed_name", "unique_names"]


@dataclass(frozen=True)
class Recording:
    """One recording to process.

    Attributes
    ----------
    name : str
        How it is listed: the file's name, or its path below the folder that was given; see `listed_name`.
    source : path, ``"-"``, binary file, or (array, sample_rate_hz)
        The array has shape ``(n_samples,)`` or ``(n_samples, n_channels)``, floating point in [-1, 1] or integers.
    """

    name: str
    source: Any

    @classmethod
    def of(cls, source: Any) -> Recording:
        """Return a source as a recording, listed under its file name where it is a path."""
        return cls(listed_name(Path(source).name) if isinstance(source, str | Path) else "", source)


def listed_name(path: str) -> str:
    """Return a path as text that every list and terminal can hold: NFC, one line, no control characters.

    What cannot be listed as it is (line feeds, escape sequences, marks that turn the writing direction, bytes that are
    not UTF-8) is written as a Python escape.

    Examples
    --------
    >>> listed_name("street\\nnight.wav")
    'street\\\\nnight.wav'
    """
    return visible(unicodedata.normalize("NFC", path))


def find_recordings(paths: Iterable[str | Path]) -> list[Recording]:
    """Expand files, folders (with their subfolders), glob patterns and ``-``.

    Parameters
    ----------
    paths : iterable of path
        A folder stands for the files in it whose suffix is one of `crnn_weak.audio.AUDIO_SUFFIXES`, hidden ones
        excepted; a file that is named itself may have any suffix.

    Returns
    -------
    list of Recording
        In the order of `paths`, each file once. A path that does not exist is in the list (opening it will fail), so
        that one missing name among thousands is reported like one broken file.

    Raises
    ------
    DataError
        Nothing at all is found, or a folder or a pattern holds no audio.
    """
    found: dict[str, Recording] = {}

    def add(name: str, path: str) -> None:
        found.setdefault(path if path == STDIN else os.path.abspath(path), Recording(listed_name(name), path))

    missing = []
    for entry in (os.fspath(path) for path in paths):
        if entry == STDIN:
            add("stdin", STDIN)
        elif os.path.isdir(entry):
            _add_folder(entry, add)
        elif os.path.exists(entry):
            add(os.path.basename(entry), entry)
        elif glob.has_magic(entry):
            matches = sorted(glob.glob(entry, recursive=True))
            if not matches:
                raise DataError(f"{listed_name(entry)}: no file matches this pattern.")
            for match in matches:
                if os.path.isdir(match):
                    _add_folder(match, add, strict=False)
                else:
                    add(os.path.basename(match), match)
        else:
            missing.append(entry)
            add(os.path.basename(entry) or entry, entry)
    if missing and len(missing) == len(found):
        raise DataError(f"{listed_name(missing[0])}: no such file or folder.")
    return _distinct(list(found.values()))


def _add_folder(folder: str, add: Any, *, strict: bool = True) -> None:
    n_found = 0
    for path in audio_files(folder):
        add(path.relative_to(folder).as_posix(), str(path))
        n_found += 1
    if strict and not n_found:
        wanted = " ".join(AUDIO_SUFFIXES)
        raise DataError(f"{listed_name(folder)}: the folder holds no audio files (looked for {wanted}).")


def _distinct(recordings: list[Recording]) -> list[Recording]:
    """Give recordings of one name (``a/x.wav b/x.wav``) longer names, from the ends of their paths."""
    by_name: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_name.setdefault(recording.name, []).append(recording)
    longer = [_longer(recording, by_name[recording.name]) for recording in recordings]
    names = unique_names([recording.name for recording in longer])
    return [Recording(name, recording.source) for name, recording in zip(names, longer, strict=True)]


def _longer(recording: Recording, of_one_name: list[Recording]) -> Recording:
    if len(of_one_name) == 1:
        return recording
    parts = Path(os.path.abspath(recording.source)).parts[1:]
    others = [Path(os.path.abspath(other.source)).parts for other in of_one_name if other is not recording]
    n_parts = next((n for n in range(1, len(parts)) if all(o[-n:] != parts[-n:] for o in others)), len(parts))
    return Recording(listed_name("/".join(parts[-n_parts:])), recording.source)


def unique_names(names: Sequence[str], *, key: Callable[[str], str] = str) -> list[str]:
    """Return the names, with a number behind those that came before; names are equal where their keys are.

    Examples
    --------
    >>> unique_names(["a", "b", "A"], key=str.casefold)
    ['a', 'b', 'A (2)']
    """
    found: list[str] = []
    taken = {key(name) for name in names}
    seen: set[str] = set()
    for name in names:
        chosen, number = name, 1
        while key(chosen) in seen or (number > 1 and key(chosen) in taken):
            number += 1
            chosen = f"{name} ({number})"
        seen.add(key(chosen))
        found.append(chosen)
    return found
