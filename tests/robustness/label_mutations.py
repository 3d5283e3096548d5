"""Label files of every layout, and mutations after which a reader must find the same labels or refuse.

No part of the package is used here, so that nothing is right only because reader and writer agree.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

#: A recording's labels: (onset, offset, label) of events, (label,) of tags.
Labels = dict[str, list[tuple]]


@dataclass(frozen=True)
class Case:
    """A label file before it is text: its rows, the header first where it has one, and what they say."""

    layout: str
    rows: list[list[str]]
    has_header: bool
    separator: str
    expected: Labels
    times: tuple[int, ...] = ()  # columns of onset and offset; none of tags
    name: str = "list.txt"


WORDS = (
    "dog", "Car", "Air horn, truck horn", "none", "NA", "1", "0.5", "speech (male)", "café", "naïve", "犬", "a.b", "-",
    "#1", "six\" pipe", "it's", "A/C", "Ångström", "mid/0k4j", "two words", "100%", "x_y", "True", "=1",
)  # fmt: skip
#: In lists without a header a number is refused as a label.
NOT_NUMBERS = tuple(word for word in WORDS if word not in ("1", "0.5"))

RAVEN = ("Selection", "View", "Begin Time (s)", "End Time (s)", "Begin Path", "File Offset (s)", "Annotation")
BIRDNET = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")
ESC50 = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
URBANSOUND = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
#: Layout -> header, separator, a row of (file, onset, offset, label), the columns of the times.
EVENTS: dict[str, tuple[tuple[str, ...], str, Callable[[list[str]], list[str]], tuple[int, ...]]] = {
    "desed": (("filename", "onset", "offset", "event_label"), "\t", lambda r: r, (1, 2)),
    "dcase": ((), "\t", lambda r: r, (1, 2)),
    "dcase-scene": ((), "\t", lambda r: [r[0], "street", *r[1:]], (2, 3)),
    "audacity": ((), "\t", lambda r: r[1:], (0, 1)),
    "audioset": (("segment_id", "start_time_seconds", "end_time_seconds", "label"), "\t", lambda r: r, (1, 2)),
    "raven": (RAVEN, "\t", lambda r: [r[0] + r[1], "Spectrogram 1", r[1], r[2], r[0], r[1], r[3]], (2, 3)),
    "birdnet": (BIRDNET, ",", lambda r: [r[1], r[2], "Strix", r[3], "0.75", r[0]], (0, 1)),
}
#: Layout -> header, separator, a row of (file, label).
TAGS: dict[str, tuple[tuple[str, ...], str, Callable[[str, str], list[str]]]] = {
    "desed-tags": (("filename", "event_label"), "\t", lambda name, label: [name, label]),
    "dcase-tags": ((), "\t", lambda name, label: [name, label]),
    "esc50": (ESC50, ",", lambda name, label: [name, "1", "0", label, "True", "100032", "A"]),
    "urbansound8k": (URBANSOUND, ",", lambda name, label: [name, "100032", "0.0", "0.3", "1", "5", "3", label]),
}


def _event_case(rng: random.Random, layout: str) -> Case:
    header, separator, row, times = EVENTS[layout]
    found: Labels = {}
    for index in range(1 if layout == "audacity" else rng.randrange(2, 6)):
        folder = rng.choice(("", "", "siteA/", "siteB/", "audio/"))
        name = f"{folder}{rng.choice(('', '-', '--'))}r{index}{rng.choice(('', '.v2', '_x', ' 1'))}.wav"
        onsets = sorted(rng.randrange(0, 9000) for _ in range(rng.randrange(1, 4)))
        words = WORDS if header else NOT_NUMBERS
        found[name] = [(t / 1000, (t + rng.randrange(1, 4000)) / 1000, rng.choice(words)) for t in onsets]
    body = [row([name, f"{on:.3f}", f"{off:.3f}", label]) for name, rows in found.items() for on, off, label in rows]
    if layout == "audacity":
        found = {"list": next(iter(found.values()))}
    return Case(layout, ([list(header)] if header else []) + body, bool(header), separator, found, times)


def _tag_case(rng: random.Random, layout: str) -> Case:
    header, separator, row = TAGS[layout]
    words = WORDS if layout == "desed-tags" else tuple(word for word in NOT_NUMBERS if "," not in word)
    most = 2 if layout in ("esc50", "urbansound8k") else 3
    names = [f"{rng.choice(('', 'siteA/', 'siteB/'))}r{index}.wav" for index in range(rng.randrange(2, 6))]
    found: Labels = {name: [(label,) for label in rng.sample(words, rng.randrange(1, most))] for name in names}
    body = [row(name, label) for name, labels in found.items() for (label,) in labels]
    return Case(layout, ([list(header)] if header else []) + body, bool(header), separator, found)


def to_text(case: Case, *, quote_all: bool = False) -> str:
    """Return the file's text; lists without a header are never quoted."""

    def field(text: str) -> str:
        needed = case.separator in text or text.startswith('"') or ('"' in text and case.separator != "\t")
        return '"' + text.replace('"', '""') + '"' if (needed and case.has_header) or quote_all else text

    return "".join(case.separator.join(map(field, row)) + "\n" for row in case.rows)


# --- mutations: each keeps the meaning, or leaves a file that can only be refused ------------------------------------

Rows = list[list[str]]


def _on_rows(change: Callable[[random.Random, Rows, Case], Rows]) -> Callable[[random.Random, Case], str]:
    return lambda rng, case: to_text(replace(case, rows=change(rng, [list(row) for row in case.rows], case)))


def _on_times(change: Callable[[str], str], **options: str) -> Callable[[random.Random, Case], str]:
    def mutate(rng: random.Random, case: Case) -> str:
        rows = [list(row) for row in case.rows]
        for row in rows[case.has_header :]:
            for column in case.times:
                row[column] = change(row[column])
        return to_text(replace(case, rows=rows, **options))

    return mutate


def _swapped_times(_: random.Random, rows: Rows, case: Case) -> Rows:
    for row in rows[case.has_header :] if case.times else ():
        first, second = case.times
        row[first], row[second] = row[second], row[first]
    return rows


def _permuted(rng: random.Random, rows: Rows, case: Case) -> Rows:
    order = list(range(len(rows[0])))
    rng.shuffle(order)
    return [[row[at] for at in order] for row in rows]


def _foreign_header(_: random.Random, rows: Rows, case: Case) -> Rows:
    names = ["Datei", "Anfang", "Ende", "Klasse", "Ort", "Nummer", "Spalte", "Wert", "Teil", "Quelle"]
    return [names[: len(rows[0])], *rows[case.has_header :]]


def _second_header(_: random.Random, rows: Rows, case: Case) -> Rows:
    return [*rows, rows[0] if case.has_header else ["filename", "onset", "offset", "event_label", "x"][: len(rows[0])]]


def _ragged(rng: random.Random, rows: Rows, case: Case) -> Rows:
    row = rows[rng.randrange(case.has_header, len(rows))]
    if rng.random() < 0.5:
        row.append("surplus")
    elif len(row) > 2:
        row.pop(rng.randrange(1, len(row)))
    return rows


def _extra_column(rng: random.Random, rows: Rows, case: Case) -> Rows:
    name = rng.choice(("present", "onset_ms", "weight", "label_2", "début"))
    for number, row in enumerate(rows):
        row.append(name if case.has_header and not number else rng.choice(("0", "NOT_PRESENT", "x")))
    return rows


def _hostile(rng: random.Random, rows: Rows, case: Case) -> Rows:
    row = rows[rng.randrange(case.has_header, len(rows))]
    row[case.times[0] if case.times else -1] += rng.choice(("\x1b[2J", "\x00", "\x07", "\ud7ff\x85"))
    return rows


Mutation = Callable[[random.Random, Case], str | bytes]
#: Name of a mutation -> text. The first group must be read as before; of the others a file may be refused.
HARMLESS: dict[str, Mutation] = {
    "none": lambda rng, case: to_text(case),
    "crlf": lambda rng, case: to_text(case).replace("\n", "\r\n"),
    "cr": lambda rng, case: to_text(case).replace("\n", "\r"),
    "blank lines": lambda rng, case: to_text(case).replace("\n", "\n\n \n"),
    "no last line end": lambda rng, case: to_text(case).rstrip("\n"),
    "byte order mark": lambda rng, case: to_text(case).encode("utf-8-sig"),
    "utf-16": lambda rng, case: to_text(case).encode("utf-16"),
    "decomposed": lambda rng, case: unicodedata.normalize("NFD", to_text(case)),
}
MUTATIONS: dict[str, Mutation] = {
    "commas": lambda rng, case: to_text(replace(case, separator=",")),
    "semicolons": lambda rng, case: to_text(replace(case, separator=";")),
    "tabs": lambda rng, case: to_text(replace(case, separator="\t")),
    "blanks": lambda rng, case: "".join(" ".join(row) + "\n" for row in case.rows),
    "quotes": lambda rng, case: to_text(case, quote_all=True),
    "decimal commas": _on_times(lambda text: text.replace(".", ",")),
    "semicolons and decimal commas": _on_times(lambda text: text.replace(".", ","), separator=";"),
    "commas and decimal commas": _on_times(lambda text: text.replace(".", ","), separator=","),
    "comment": lambda rng, case: rng.choice(("# v2\n", "#\n", "# made by hand\t1.0\n", ";v2\n")) + to_text(case),
    "epoch": _on_times(lambda text: str(float(text) + 1.7e9)),
    "clock": _on_times(lambda text: f"00:00:{float(text):06.3f}"),
    "swapped times": _on_rows(_swapped_times),
    "swapped columns": _on_rows(_permuted),
    "foreign header": _on_rows(_foreign_header),
    "second header": _on_rows(_second_header),
    "ragged": _on_rows(_ragged),
    "extra column": _on_rows(_extra_column),
    "control character": _on_rows(_hostile),
    "latin-1": lambda rng, case: to_text(case).encode("latin-1", "replace").replace(b"?", b"\xe9"),
    "backslashes": lambda rng, case: re.sub(r"\b(site[AB]|audio)/", r"\1\\", to_text(case)),
    "title line": lambda rng, case: rng.choice(("My labels\n", "version 2\n", "sep=,\n")) + to_text(case),
}


def mutated(seed: int) -> tuple[str, Case, bytes]:
    """Return the name of the mutation, the case, and the file's bytes."""
    rng = random.Random(seed)
    layout = rng.choice((*EVENTS, *TAGS))
    case = _event_case(rng, layout) if layout in EVENTS else _tag_case(rng, layout)
    choice = HARMLESS if rng.random() < 0.25 else MUTATIONS
    name = rng.choice(sorted(choice))
    content = choice[name](rng, case)
    return name, case, content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
