"""Names of recordings and labels: one spelling each, no control characters, no two recordings under one name.

A recording's id is its path in the folder of audio, with ``/``, in Unicode form C, without the audio suffix. A bare
file name is a short form of a longer path and is accepted where only one recording has it.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from crnn_weak.audio.files import AUDIO_SUFFIXES, FOREIGN_SUFFIXES
from crnn_weak.errors import DataError

#: How tables write that a cell has no value.
MISSING = frozenset(("", "nan", "na", "n/a", "<na>", "null"))
#: Labels of a recording in which nothing was found.
NOTHING = frozenset(("nocall", "no call", "no_call", "no-call"))

# The organizers' audio files: a Y before YouTube's id of 11 characters, then the cut's place, perhaps a suffix.
_ORGANIZERS_NAME = re.compile(r"(^|/)Y(?=[^/]{11}_\d+(\.\d+)?_\d+(\.\d+)?(\.[^./]+)?$)")
_CUT = re.compile(r"(?P<video>.+)_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)", re.DOTALL | re.ASCII)
# As `crnn_weak.data.folder` and the organizers write them; other numbers in a name are not times.
_TIMES = re.compile(r"(?<=.)_\d+\.\d{3}_\d+\.\d{3}$", re.DOTALL | re.ASCII)

# Control characters, separators of lines and paragraphs, half surrogates, byte order marks.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")
_LABEL_FAULTS = {
    re.compile(""): "is empty",
    re.compile(r"(?s).*[;|].*"): "holds ; or |, which join labels",
    re.compile(r"(?s)\[.*\]|\{.*\}|\(['\"].*\)"): "is a list in brackets",
    re.compile(r"(?s).*,(?! ).*"): "holds a comma without a blank behind it, which joins labels",
    re.compile(r"(?i)nan|<na>"): "is how tables write a missing value",
    re.compile(r"(?s)[=+@].*"): "begins with =, + or @, which a spreadsheet takes for a formula",
    re.compile("(?s).*[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069].*"): "holds a mark of writing direction",
}


def nfc(text: str) -> str:
    """Return a text in Unicode normalization form C, in which equal-looking accents are equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def has_audio_suffix(name: str) -> bool:
    """Return whether a file name ends in a suffix of an audio file."""
    return "." in name and os.path.splitext(name.rstrip())[1].lower() in AUDIO_SUFFIXES + FOREIGN_SUFFIXES


def recording_path(name: str) -> str:
    """Return the relative path that a name in a label file stands for: ``/`` between folders, form C."""
    path = nfc(name).strip(" \t").replace("\\", "/")
    return posixpath.normpath(path).lstrip("/") if path else path


def recording_id(name: str) -> str:
    """Return the id of the recording that a file name stands for: its path without audio suffix."""
    path = recording_path(name)
    return os.path.splitext(path)[0] if has_audio_suffix(path) else path


def without_y(name: str) -> str:
    """Return a file's name or id without the ``Y`` before the video in the organizers' names."""
    return _ORGANIZERS_NAME.sub(r"\1", name, count=1)


def canonical_id(name: str) -> str:
    """Return the organizers' clip id in a file name: no folder, three decimals in both times."""
    name = recording_id(name).rpartition("/")[2]
    match = _CUT.fullmatch(name)
    return f"{match['video']}_{float(match['start']):.3f}_{float(match['end']):.3f}" if match else name


def video_place(clip_id: str) -> tuple[str, str, str]:
    """Return video id, start and end of one of the organizers' clip ids, split from the right."""
    match = _CUT.fullmatch(clip_id)
    if not match:
        raise DataError(f"clip id {clip_id!r}: expected <video id>_<start>_<end>, e.g. --jc0NAxK8M_30.000_40.000.")
    return match["video"], match["start"], match["end"]


def is_place(name: str, onset: float | None, offset: float | None) -> bool:
    """Return whether times are the cut's place in its video, which the organizers put into the name."""
    match = _CUT.fullmatch(recording_id(name))
    return match is not None and (float(match["start"]), float(match["end"])) == (onset, offset)


def source_recording(clip_id: str) -> str:
    """Return the recording (``yard``) that a clip was cut from (``yard_10.000_20.000``); else the id itself."""
    return _TIMES.sub("", clip_id)


def check_characters(text: str, where: str) -> str:
    """Return a field of a table in form C."""
    sign = _CONTROL.search(text)
    if sign:
        raise DataError(f"{where}: {text!r} holds the control character U+{ord(sign[0]):04X}; rename it.")
    return nfc(text)


def check_name(text: str, where: str) -> str:
    """Return a recording's name or a label in form C, as it can be written and read back."""
    if not text or text != text.strip():
        raise DataError(f"{where}: the name {text!r} is empty or begins or ends with a blank; rename it.")
    return check_characters(text, where)


def check_label(text: str, where: str) -> str:
    """Return a label in form C; what may be several labels, none, or the name of a file is refused."""
    text = nfc(text)
    fault = next((fault for pattern, fault in _LABEL_FAULTS.items() if pattern.fullmatch(text)), "")
    if has_audio_suffix(text):
        fault = "is a file name; check the columns' order"
    if fault:
        raise DataError(f"{where}: label {text[:60]!r} {fault}. Expected one label.")
    return check_name(text, where)


def check_classes(classes: Iterable[str], where: str) -> tuple[str, ...]:
    """Return a class list, made or loaded, of distinct labels that every table, page and terminal can hold."""
    checked = tuple(check_label(label, where) for label in classes)
    for label, n_uses in Counter(checked).items():
        if label.lower() in NOTHING:
            raise DataError(f"{where}: {label!r} marks recordings without labels and cannot be a class; remove it.")
        if n_uses > 1:
            raise DataError(f"{where}: class {label!r} is listed twice; expected distinct labels.")
    return checked


def _tails(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def match_ids(names: Iterable[str], known: Collection[str], *, where: str) -> dict[str, str]:
    """Return the known id that each name stands for: the same path, or the only one of which one ends in the other."""
    exact = set(known)
    ends: dict[str, list[str]] = defaultdict(list)
    for identifier in exact:
        for tail in _tails(identifier):
            ends[tail].append(identifier)
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        matches = [name]
        if name not in exact:
            matches = sorted(ends.get(name, ())) or next(([tail] for tail in _tails(name) if tail in exact), [name])
        if len(matches) > 1:
            raise DataError(
                f"{where}: {name!r} may be {matches[0]!r} or {matches[1]!r}; give the path from the folder of audio."
            )
        if matches[0] in taken:
            raise DataError(f"{where}: {taken[matches[0]]!r} and {name!r} both stand for {matches[0]!r}; rename one.")
        taken[matches[0]] = name
        found[name] = matches[0]
    return found
