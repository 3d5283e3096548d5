"""Label files written: one table of event formats for `detect` and `convert`, and lists of tags.

What is written reads back as the same recordings and labels, times to a microsecond, scores to four decimals. A name
or label that would not read back is refused before anything is written. Files appear whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.errors import DataError
from crnn_weak.files import write_text
from crnn_weak.labels.events import CLASS_LIST, Event, Events, by_time
from crnn_weak.labels.names import MISSING, NOTHING, check_label, check_name, has_audio_suffix, recording_id
from crnn_weak.labels.tables import table_line


@dataclass(frozen=True)
class EventFormat:
    """A text format of event lists; ``line`` makes the line of a recording's event, which is numbered from 1."""

    line: Callable[[str, Event, int], str]
    header: str = ""
    file: str = ""  #: usual name of the list of all recordings; "" where each recording has a ``.txt`` of its own
    holds_scores: bool = False
    lists_silence: bool = True  #: recordings without events appear: a file of their own, or a line of the name alone

    def lines(self, name: str, events: Iterable[Event]) -> list[str]:
        """Return the lines of one recording."""
        return [self.line(name, event, number) for number, event in enumerate(events, start=1)]


def _seconds(value: float) -> str:
    return f"{value:.6f}".removesuffix("000")


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _desed(name: str, event: Event, number: int) -> str:
    return table_line([name, _seconds(event.onset), _seconds(event.offset), event.label])


def _dcase(name: str, event: Event, number: int) -> str:
    return "\t".join([audio_name(name), _seconds(event.onset), _seconds(event.offset), event.label])


def _audioset(name: str, event: Event, number: int) -> str:
    return _desed(_bare_name(name), event, number)


def _csv(name: str, event: Event, number: int) -> str:
    fields = [name, _seconds(event.onset), _seconds(event.offset), event.label, _score(event.score)]
    return table_line(fields, ",")


def _audacity(name: str, event: Event, number: int) -> str:
    return f"{event.onset:.6f}\t{event.offset:.6f}\t{' '.join(event.label.split())}"


def _raven(name: str, event: Event, number: int) -> str:
    begin, end = f"{event.onset:.6f}", f"{event.offset:.6f}"
    fields = [str(number), "Spectrogram 1", "1", begin, end, "0.0", "20000.0", name, begin]
    return table_line([*fields, _score(event.score), event.label])


def _json(name: str, event: Event, number: int) -> str:
    score = None if event.score is None else round(event.score, 4)
    content = {"filename": name, "onset": event.onset, "offset": event.offset, "label": event.label, "score": score}
    return json.dumps(content, ensure_ascii=False)


_RAVEN_HEADER = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin Path\t"
    "File Offset (s)\tConfidence\tAnnotation"
)
#: The formats of `detect --format` and `convert --to`.
EVENT_FORMATS: dict[str, EventFormat] = {
    "desed": EventFormat(_desed, "filename\tonset\toffset\tevent_label", "events.tsv"),
    "dcase": EventFormat(_dcase, "", "events.txt"),
    "audacity": EventFormat(_audacity),
    "raven": EventFormat(_raven, _RAVEN_HEADER, holds_scores=True),
    "audioset": EventFormat(
        _audioset, "segment_id\tstart_time_seconds\tend_time_seconds\tlabel", "audioset.tsv", lists_silence=False
    ),
    "jsonl": EventFormat(_json, "", "events.jsonl", holds_scores=True, lists_silence=False),
    "csv": EventFormat(_csv, "filename,onset,offset,event_label,score", "events.csv", holds_scores=True),
}


def audio_name(name: str) -> str:
    """Return a file name with a suffix of audio, which lists without a header need."""
    return name if has_audio_suffix(name) else f"{name}.wav"


def _bare_name(name: str) -> str:
    """Return the shortest name that has the recording's id: without suffix, except where a second one would go too."""
    identifier = recording_id(name)
    return f"{identifier}.wav" if has_audio_suffix(identifier) else identifier


def _checked(path: str | Path, labels: Mapping[str, Sequence[Event | str]]) -> None:
    """Refuse names and labels that would not read back."""
    ids: set[str] = set()
    for name, found in labels.items():
        identifier = check_name(recording_id(check_name(name, str(path))), str(path))
        if identifier == "." or identifier.lower() in MISSING or identifier in ids:
            raise DataError(f"{path}: {name!r} names no recording, or the same as another name; rename it.")
        ids.add(identifier)
        for one in found:
            label = check_label(one.label if isinstance(one, Event) else one, str(path))
            if label.lower() in NOTHING:
                raise DataError(f"{path}: label {label!r} is read as no label; rename it.")


def _own_files(path: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the file of each recording: in the folder `path`, or `path` itself where it ends in ``.txt``."""
    if path.suffix.lower() == ".txt":
        if len(names) != 1:
            raise DataError(f"{path}: {len(names)} recordings; a file of this format holds one: name a folder.")
        return {names[0]: path}
    targets = {name: path / f"{_bare_name(name)}.txt" for name in names}
    for name, target in targets.items():
        if any(part.startswith(".") for part in recording_id(name).split("/")):
            raise DataError(f"{path}: {name!r} would be a hidden file, or outside of the folder; rename it.")
        if target.name == CLASS_LIST:
            raise DataError(f"{path}: the labels of {name!r} would be {CLASS_LIST}, a class list; rename it.")
    return targets


def event_files(path: str | Path, name: str, events: Events) -> dict[Path, str]:
    """Return the content of each file of a format that holds the events of recordings by file name."""
    path, target = Path(path), EVENT_FORMATS[name]
    _checked(path, events)
    header = [target.header] if target.header else []
    if not target.file:
        files = _own_files(path, list(events))
        return {files[one]: _text([*header, *target.lines(one, found)]) for one, found in events.items()}
    lines = list(header)
    for one, found in events.items():
        lines += target.lines(one, found)
        if not found and target.lists_silence:
            lines.append(table_line([one], ",") if header else audio_name(one))  # quoted where any separator needs it
    return {path: _text(lines)}


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def write_events(path: str | Path, events: Events, *, suffix: str = ".wav") -> None:
    """Write an event list in the DESED format, sorted by clip and time; `suffix` makes file names of the ids."""
    ordered = {clip + suffix: sorted(events[clip], key=by_time) for clip in sorted(events)}
    for file, text in event_files(path, "desed", ordered).items():
        write_text(file, text)


#: Headers of lists of tags.
TAG_HEADER = "filename\tevent_label"
SCORED_TAG_HEADER = f"{TAG_HEADER}\tscore"


def tag_lines(name: str, tags: Mapping[str, float | None], *, scores: bool) -> list[str]:
    """Return a recording's lines of a list of tags, one a tag; one with an empty label where it has none."""
    rows = [[name, label, _score(score)] for label, score in tags.items()] or [[name, "", ""]]
    return [table_line(row if scores else row[:2]) for row in rows]


def tag_text(path: str | Path, tags: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return a list of tags, of scores by label by file name; with a column of scores where there are any."""
    _checked(path, {name: list(found) for name, found in tags.items()})
    scores = any(score is not None for found in tags.values() for score in found.values())
    lines = [SCORED_TAG_HEADER if scores else TAG_HEADER]
    for name, found in tags.items():
        lines += tag_lines(name, found, scores=scores)
    return _text(lines)


def write_tags(path: str | Path, tags: Mapping[str, Iterable[str]], *, suffix: str = ".wav") -> None:
    """Write tags, one a line, sorted by clip; an empty label where a clip has none."""
    ordered = {clip + suffix: dict.fromkeys(tags[clip]) for clip in sorted(tags)}
    write_text(path, tag_text(path, ordered))
