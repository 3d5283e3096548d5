"""Label files written in any form: rows of each, what a form cannot hold, files that appear whole.

What is written reads back as the same recordings, labels and times (to a nanosecond). A form that has no row for a
recording without labels skips it, and `Written` counts it; what else it cannot hold is refused before anything is
written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.errors import DataError
from crnn_weak.files import write_json
from crnn_weak.labels.classes import CLASS_LIST
from crnn_weak.labels.events import Event
from crnn_weak.labels.forms import FORMS
from crnn_weak.labels.jams import jams_document
from crnn_weak.labels.names import check_name, has_audio_suffix, recording_id, recording_path
from crnn_weak.labels.rows import hides_list, split_labels
from crnn_weak.labels.tables import write_rows
from crnn_weak.labels.task4 import set_rows, weak_rows

__all__ = ["RAVEN_COLUMNS", "Written", "target_paths", "write_labels"]

#: Bytes in a name of a file, on all usual file systems.
_LONGEST_NAME = 255

#: Events of recordings by file name.
_Events = Mapping[str, Sequence[Event]]
#: Tags of recordings by file name.
_Tags = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Written:
    """Counts of written recordings and labels, and of recordings that the form has no row for."""

    n_recordings: int
    n_labels: int
    n_skipped: int


def _seconds(value: float) -> str:
    text = f"{value:.3f}"
    return text if float(text) == value else f"{value:.9f}".rstrip("0")


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if round(value, 4) == value else repr(value)


def _bare_name(name: str) -> str:
    """Return the shortest name that has the recording's id: without suffix, except where a second one would go too."""
    identifier = recording_id(name)
    return f"{identifier}.wav" if has_audio_suffix(identifier) else identifier


def _audio_name(name: str) -> str:
    return name if has_audio_suffix(name) else name + ".wav"


def _pairs(events: _Events) -> Iterable[tuple[str, Event]]:
    return ((_audio_name(name), event) for name in events for event in events[name])


# --- events ----------------------------------------------------------------------------------------------------------


def _dcase(events: _Events) -> list[list[str]]:
    rows = []
    for name, found in events.items():
        rows += [[_audio_name(name), _seconds(e.onset), _seconds(e.offset), e.label] for e in found] or [
            [_audio_name(name)]
        ]
    return rows


def _desed(events: _Events) -> list[list[str]]:
    header = ["filename", "onset", "offset", "event_label"]
    scores = [event.score for found in events.values() for event in found]
    if any(score is None for score in scores) or not scores:
        return [header, *_dcase(events)]
    rows = [[*header, "score"]]
    for name, found in events.items():
        timed = [[_audio_name(name), _seconds(e.onset), _seconds(e.offset), e.label, _score(e.score)] for e in found]
        rows += timed or [[_audio_name(name)]]
    return rows


#: Raven needs the frequencies, other tools the path and its time.
RAVEN_COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin Path",
    "File Offset (s)", "Confidence", "Annotation",
)  # fmt: skip


def _audacity(events: _Events) -> list[list[str]]:
    return [[f"{e.onset:.6f}", f"{e.offset:.6f}", e.label] for found in events.values() for e in found]


def _audioset(events: _Events) -> list[list[str]]:
    rows = [["segment_id", "start_time_seconds", "end_time_seconds", "label"]]
    rows += [[_bare_name(name), _seconds(e.onset), _seconds(e.offset), e.label] for name, e in _pairs(events)]
    return rows


def _raven(events: _Events) -> list[list[str]]:
    rows = [list(RAVEN_COLUMNS)]
    for number, (name, e) in enumerate(_pairs(events), start=1):
        begin = _seconds(e.onset)
        times = [begin, _seconds(e.offset), "0.0", "20000.0", name, begin]
        rows.append([str(number), "Spectrogram 1", "1", *times, _score(e.score), e.label])
    return rows


def _birdnet(events: _Events) -> list[list[str]]:
    rows = [["Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"]]
    for name, e in _pairs(events):
        rows.append([_seconds(e.onset), _seconds(e.offset), e.label, e.label, _score(e.score), name])
    return rows


# --- tags ------------------------------------------------------------------------------------------------------------


def _refuse_joined(label: str, known: Iterable[str] = ()) -> None:
    if split_labels(label, list(known)) != [label]:
        raise DataError(f"label {label!r}: a list of tags would read it as several labels; rename it.")


def _desed_tags(tags: _Tags) -> list[list[str]]:
    rows = [["filename", "event_label"]]
    known = {label for labels in tags.values() for label in labels}
    for name, labels in tags.items():
        for label in labels:
            if hides_list(label, known):
                raise DataError(f"label {label!r}: may be read as several of the other labels; rename it.")
        rows += [[_audio_name(name), label] for label in labels] or [[_audio_name(name), ""]]
    return rows


def _dcase_tags(tags: _Tags) -> list[list[str]]:
    known = {label for labels in tags.values() for label in labels if not set(label) & set(",;")}
    rows = []
    for name, labels in tags.items():
        for label in labels:
            _refuse_joined(label, known)
        rows += [[_audio_name(name), label] for label in labels] or [[_audio_name(name)]]
    # Without a label no row has a tab, and another separator would be looked for.
    split = next((name for (name, *_) in rows if set(name) & set(",;")), None)
    if split is not None and all(len(row) == 1 for row in rows):
        raise DataError(f"{split!r}: in a list without labels the name would be read as several fields; rename it.")
    return rows


def _task4_weak(tags: _Tags) -> list[list[str]]:
    return weak_rows({recording_id(name): labels for name, labels in tags.items()})


def _task4_set(tags: _Tags) -> list[list[str]]:
    return set_rows({recording_id(name): labels for name, labels in tags.items() if labels})


def _single(tags: _Tags, form: str) -> list[tuple[str, str, int]]:
    """Return file name, label and class number; the form has room for one label a recording."""
    several = next((name for name, labels in tags.items() if len(labels) > 1), None)
    if several is not None:
        raise DataError(f"{several!r}: {len(tags[several])} labels; the form {form} holds one a recording.")
    classes = sorted({label for labels in tags.values() for label in labels})
    return [(_audio_name(name), label, classes.index(label)) for name, labels in tags.items() for label in labels]


def _urbansound8k(tags: _Tags) -> list[list[str]]:
    rows = [["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]]
    for name, label, number in _single(tags, "urbansound8k"):
        match = re.fullmatch(r"(?:.*/)?(\d+)-\d+-\d+-\d+\.\w+", name)
        rows.append([name, match[1] if match else "", "", "", "", "", str(number), label])
    return rows


def _esc50(tags: _Tags) -> list[list[str]]:
    rows = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
    for name, label, number in _single(tags, "esc50"):
        match = re.fullmatch(r"(?:.*/)?([1-5])-(\d+)-([A-Z])-\d+\.\w+", name)
        fold, source, take = match.groups() if match else ("", "", "")
        rows.append([name, fold, str(number), label, "", source, take])
    return rows


#: name of a form -> its rows, and the sign between columns; JAMS is no table.
_WRITERS: dict[str, tuple[Callable[..., list[list[str]]], str]] = {
    "desed": (_desed, "\t"),
    "dcase": (_dcase, "\t"),
    "audacity": (_audacity, "\t"),
    "audioset": (_audioset, "\t"),
    "raven": (_raven, "\t"),
    "birdnet": (_birdnet, ","),
    "desed-tags": (_desed_tags, "\t"),
    "dcase-tags": (_dcase_tags, "\t"),
    "task4-weak": (_task4_weak, "\t"),
    "task4-set": (_task4_set, ","),
    "urbansound8k": (_urbansound8k, ","),
    "esc50": (_esc50, ","),
}
_WITHOUT_EMPTY = ("audioset", "raven", "birdnet", "task4-weak", "task4-set", "urbansound8k", "esc50")


def target_paths(path: str | Path, form: str, names: Iterable[str]) -> dict[str, Path]:
    """Return the file that each recording goes to.

    A form of one recording a file writes to the folder `path`; to the file `path` where it ends in the form's suffix
    and there is one recording.

    Raises
    ------
    DataError
        `path` is a file's and there are several recordings, or a name is no plain path inside of the folder, that of a
        class list, or too long for a file.
    """
    path, names = Path(path), list(names)
    if not FORMS[form].one_recording:
        return dict.fromkeys(names, path)
    suffix = ".jams" if form == "jams" else ".txt"
    if path.suffix.lower() == suffix:
        if len(names) != 1:
            raise DataError(f"{path}: {len(names)} recordings; a file of this form holds one: name a folder.")
        return {names[0]: path}
    targets = {name: path / (_bare_name(name) + suffix) for name in names}
    for name, target in targets.items():
        if any(part.startswith(".") for part in recording_id(name).split("/")):
            raise DataError(f"{path}: {name!r} would be a hidden file, or outside of the folder; rename it.")
        if target.name == CLASS_LIST:
            raise DataError(f"{path}: the labels of {name!r} would be {CLASS_LIST}, a class list; rename it.")
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in target.parts):
            raise DataError(f"{path}: {name[:40]!r}... gives a file name of over {_LONGEST_NAME} bytes; rename it.")
    return targets


def _by_path(path: str | Path, labels: Mapping[str, Sequence]) -> dict[str, Sequence]:
    """Return labels by checked relative path."""
    found: dict[str, Sequence] = {}
    ids = set()
    for name, rows in labels.items():
        place = recording_path(check_name(name, str(path)))
        identifier = check_name(recording_id(place), str(path))  # its suffix may have hidden a blank at the end
        if place in ("", ".") or identifier in ids:
            raise DataError(
                f"{path}: {name!r} is no file name, or stands for the same recording as another; rename it."
            )
        ids.add(identifier)
        found[place] = rows
    return found


def write_labels(path: str | Path, form: str, labels: _Events | _Tags) -> Written:
    """Write labels in a form.

    Parameters
    ----------
    path : path
        A file, or a folder for forms of one recording a file.
    form : str
        A name of `crnn_weak.labels.forms.FORMS`.
    labels : mapping of str to sequence
        Per file name the events, or the tags where the form holds tags.

    Raises
    ------
    DataError
        A name or label holds a control character, or the form cannot hold the labels; nothing is written.

    See Also
    --------
    crnn_weak.labels.forms.read_label_file
    """
    labels = _by_path(path, labels)
    for found in labels.values():
        for one in found:
            check_name(one.label if isinstance(one, Event) else one, str(path))
    skipped = [name for name in labels if not labels[name]] if form in _WITHOUT_EMPTY else []
    written = Written(len(labels) - len(skipped), sum(map(len, labels.values())), len(skipped))
    paths = target_paths(path, form, labels)
    if form == "jams":
        for name, found in labels.items():
            write_json(paths[name], jams_document(_audio_name(name), found))  # type: ignore[arg-type]
        return written
    make, separator = _WRITERS[form]
    line_end = "\r\n" if form == "task4-set" else "\n"
    if not FORMS[form].one_recording:
        paths = {"": Path(path)}
    documents = {paths[name]: make(labels if not name else {name: labels[name]}) for name in paths}
    for target, rows in documents.items():
        write_rows(target, rows, separator=separator, line_end=line_end)
    return written
