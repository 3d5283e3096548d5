"""Label files written: one table of event formats for `detect` and `convert`, lists of tags, and those of task 4.

What is written reads back as the same recordings and labels, times to a microsecond, scores to four decimals. A name
or label that would not read back is refused before anything is written. Files appear whole or not at all.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.files import write_text
from crnn_weak.labels.events import AUDIOSET_IDS, CLASS_LIST, Event, Events, by_time
from crnn_weak.labels.names import (
    MISSING,
    NOTHING,
    check_characters,
    check_label,
    check_name,
    has_audio_suffix,
    recording_id,
    video_place,
)


def table_line(fields: Sequence[str], separator: str = "\t") -> str:
    """Return one line of a table; a field that would break it is quoted as in CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, lineterminator="").writerow(fields)
    return buffer.getvalue()


def write_rows(path: str | Path, rows: Iterable[Sequence[str]], *, separator: str = "\t", line_end: str = "\n") -> None:
    """Write a table; a field with a control character, which could forge rows, is refused."""
    checked = [[check_characters(field, str(path)) for field in row] for row in rows]
    write_text(path, "".join(table_line(row, separator) + line_end for row in checked))


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


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _fields(name: str, event: Event) -> list[str]:
    times = (f"{time:.6f}".removesuffix("000") for time in (event.onset, event.offset))
    return [name, *times, event.label]


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
    "desed": EventFormat(
        lambda name, event, number: table_line(_fields(name, event)),
        "filename\tonset\toffset\tevent_label",
        "events.tsv",
    ),
    "dcase": EventFormat(lambda name, event, number: "\t".join(_fields(audio_name(name), event)), "", "events.txt"),
    "audacity": EventFormat(
        lambda name, event, number: f"{event.onset:.6f}\t{event.offset:.6f}\t{' '.join(event.label.split())}"
    ),
    "raven": EventFormat(_raven, _RAVEN_HEADER, holds_scores=True),
    "audioset": EventFormat(
        lambda name, event, number: table_line(_fields(_bare_name(name), event)),
        "segment_id\tstart_time_seconds\tend_time_seconds\tlabel",
        "audioset.tsv",
        lists_silence=False,
    ),
    "jsonl": EventFormat(_json, "", "events.jsonl", holds_scores=True, lists_silence=False),
    "csv": EventFormat(
        lambda name, event, number: table_line([*_fields(name, event), _score(event.score)], ","),
        "filename,onset,offset,event_label,score",
        "events.csv",
        holds_scores=True,
    ),
}


def audio_name(name: str) -> str:
    """Return a file name with a suffix of audio, which lists without a header need."""
    return name if has_audio_suffix(name) else f"{name}.wav"


def _bare_name(name: str) -> str:
    """Return the shortest name that has the recording's id: without suffix, except where a second one would go too."""
    identifier = recording_id(name)
    return f"{identifier}.wav" if has_audio_suffix(identifier) else identifier


def _check(path: str | Path, labels: Mapping[str, Iterable[str]]) -> None:
    """Refuse names and labels that would not read back."""
    ids: set[str] = set()
    for name, found in labels.items():
        identifier = check_name(recording_id(check_name(name, str(path))), str(path))
        if identifier == "." or identifier.lower() in MISSING or identifier in ids:
            raise DataError(f"{path}: {name!r} names no recording, or the same as another name; rename it.")
        ids.add(identifier)
        for label in found:
            if check_label(label, str(path)).lower() in NOTHING:
                raise DataError(f"{path}: label {label!r} is read as no label; rename it.")


def _own_files(path: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the file of each recording: in the folder `path`, or `path` itself where it ends in ``.txt``."""
    if path.suffix.lower() == ".txt":
        if len(names) != 1:
            raise DataError(f"{path}: {len(names)} recordings; a file of this format holds one: name a folder.")
        return {names[0]: path}
    targets = {name: path / f"{_bare_name(name)}.txt" for name in names}
    for name, target in targets.items():
        if target.name == CLASS_LIST or any(part.startswith(".") for part in recording_id(name).split("/")):
            raise DataError(f"{path}: {name!r} would be {CLASS_LIST}, hidden, or outside of the folder; rename it.")
    return targets


def event_files(path: str | Path, name: str, events: Events) -> dict[Path, str]:
    """Return the content of each file of a format that holds the events of recordings by file name."""
    path, target = Path(path), EVENT_FORMATS[name]
    _check(path, {one: [event.label for event in found] for one, found in events.items()})
    if not target.file:
        files = _own_files(path, list(events))
        return {files[one]: lines_text([target.header, *target.lines(one, found)]) for one, found in events.items()}
    lines = [target.header]
    for one, found in events.items():
        lines += target.lines(one, found)
        if not found and target.lists_silence:
            # Quoted where any separator needs it.
            lines.append(table_line([one], ",") if target.header else audio_name(one))
    return {path: lines_text(lines)}


def lines_text(lines: Iterable[str]) -> str:
    """Return the text of lines; empty ones, as the header of some formats, are skipped."""
    return "".join(f"{line}\n" for line in lines if line)


def tag_text(path: str | Path, tags: Mapping[str, Sequence[str]]) -> str:
    """Return a list of tags by file name, one a line; an empty label where a recording has none."""
    _check(path, tags)
    rows = [table_line([name, label]) for name, labels in tags.items() for label in labels or [""]]
    return lines_text(["filename\tevent_label", *rows])


def write_events(path: str | Path, events: Events) -> None:
    """Write an event list in the DESED format, sorted by clip and time."""
    ordered = {f"{clip}.wav": sorted(events[clip], key=by_time) for clip in sorted(events)}
    write_text(path, event_files(path, "desed", ordered)[Path(path)])


def write_tags(path: str | Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write a list of tags, sorted by clip."""
    write_text(path, tag_text(path, {f"{clip}.wav": list(dict.fromkeys(tags[clip])) for clip in sorted(tags)}))


def write_set_csv(path: str | Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write a set file, ``id,start,end,"label,label","mid,mid"`` with CRLF; every label needs an AudioSet id."""
    mid_of = {label: mid for mid, label in AUDIOSET_IDS.items()}
    rows = []
    for clip, labels in tags.items():
        labels = list(labels)
        unknown = next((label for label in labels if label not in mid_of), None)
        if unknown is not None:
            raise LabelError(f"clip {clip!r}: label {unknown!r} has no AudioSet id. {nearest_names(unknown, mid_of)}")
        rows.append([*video_place(clip), ",".join(labels), ",".join(mid_of[label] for label in labels)])
    write_rows(path, rows, separator=",", line_end="\r\n")


def write_weak_tsv(path: str | Path, tags: Mapping[str, Iterable[str]]) -> None:
    """Write a weak list: the times are the clip's place in its video. Clips without tags have no row."""
    rows = [[f"{clip}.wav", *video_place(clip)[1:], label] for clip, labels in tags.items() for label in labels]
    write_rows(path, rows)


def write_strong_tsv(path: str | Path, events: Events) -> None:
    """Write a strong list, three decimals. Clips without events have no row, as in the organizers' files."""
    rows = []
    for clip, found in events.items():
        for event in sorted(found, key=by_time):
            rows.append([f"{clip}.wav", f"{event.onset:.3f}", f"{event.offset:.3f}", event.label])
    write_rows(path, rows)
