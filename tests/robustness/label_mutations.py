"""Label files of every form, and mutations after which a reader must find the same labels or refuse.

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

    form: str
    rows: list[list[str]]
    header: bool
    separator: str
    expected: Labels
    kind: str
    times: tuple[int, int] | None = None  # columns of onset and offset
    name: str = "list.txt"

    @property
    def body(self) -> list[list[str]]:
        return self.rows[1:] if self.header else self.rows


WORDS = (
    "dog", "Car", "Air horn, truck horn", "none", "NA", "1", "0.5", "speech (male)", "café", "naïve", "犬",
    "a.b", "-", "#1", "six\" pipe", "it's", "A/C", "Ångström", "mid/0k4j", "two words", "100%", "x_y", "True", "=1",
)  # fmt: skip


#: In lists without a header a number is refused as a label.
NOT_NUMBERS = tuple(word for word in WORDS if word not in ("1", "0.5"))


def _events(
    rng: random.Random, n_recordings: int, suffix: str, stems: str = "r", words: tuple[str, ...] = WORDS
) -> Labels:
    found: Labels = {}
    for index in range(n_recordings):
        folder = rng.choice(("", "", "siteA/", "siteB/", "audio/"))
        name = f"{folder}{rng.choice(('', '-', '--'))}{stems}{index}{rng.choice(('', '.v2', '_x', ' 1'))}{suffix}"
        onsets = sorted(rng.randrange(0, 9000) for _ in range(rng.randrange(1, 4)))
        found[name] = [(t / 1000, (t + rng.randrange(1, 4000)) / 1000, rng.choice(words)) for t in onsets]
    return found


def _rows(found: Labels) -> list[list[str]]:
    return [[name, f"{on:.3f}", f"{off:.3f}", label] for name, rows in found.items() for on, off, label in rows]


def _tags(rng: random.Random, words: tuple[str, ...] = WORDS, n: int = 3) -> Labels:
    names = [f"{rng.choice(('', 'siteA/', 'siteB/'))}r{index}.wav" for index in range(rng.randrange(2, 6))]
    return {name: [(label,) for label in rng.sample(words, rng.randrange(1, n))] for name in names}


def build(rng: random.Random) -> Case:
    """Return a random file of a random form."""
    form = rng.choice(
        ("desed", "dcase", "dcase-scene", "audacity", "audioset", "raven", "birdnet", "desed-tags", "dcase-tags",
         "esc50", "urbansound8k")
    )  # fmt: skip
    words = NOT_NUMBERS if form in ("dcase", "dcase-scene", "audacity") else WORDS
    found = _events(rng, rng.randrange(2, 6), ".wav", words=words)
    rows = _rows(found)
    if form == "desed":
        return Case(form, [["filename", "onset", "offset", "event_label"], *rows], True, "\t", found, "events", (1, 2))
    if form == "dcase":
        return Case(form, rows, False, "\t", found, "events", (1, 2))
    if form == "dcase-scene":
        return Case(form, [[r[0], "street", *r[1:]] for r in rows], False, "\t", found, "events", (2, 3))
    if form == "audacity":
        one = {"list": next(iter(found.values()))}
        return Case(form, [row[1:] for row in _rows(one)], False, "\t", one, "events", (0, 1))
    if form == "audioset":
        found = _events(rng, 3, "_30000", "Yt")
        header = ["segment_id", "start_time_seconds", "end_time_seconds", "label"]
        return Case(form, [header, *_rows(found)], True, "\t", found, "events", (1, 2))
    if form == "raven":
        header = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]
        body = [
            [str(k), "Spectrogram 1", "1", r[1], r[2], "0.0", "8000.0", r[0], r[1], r[3]] for k, r in enumerate(rows)
        ]
        header += ["Begin Path", "File Offset (s)", "Annotation"]
        return Case(form, [header, *body], True, "\t", found, "events", (3, 4))
    if form == "birdnet":
        header = ["Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"]
        body = [[r[1], r[2], "Strix", r[3], "0.75", r[0]] for r in rows]
        return Case(form, [header, *body], True, ",", found, "events", (0, 1))
    return _build_tags(rng, form)


def _build_tags(rng: random.Random, form: str) -> Case:
    plain = tuple(word for word in NOT_NUMBERS if not set(word) & set(",;"))
    if form == "desed-tags":
        found = _tags(rng)
        body = [[name, label] for name, labels in found.items() for (label,) in labels]
        return Case(form, [["filename", "event_label"], *body], True, "\t", found, "tags")
    if form == "dcase-tags":
        found = _tags(rng, plain)
        return Case(
            form, [[n, label] for n, labels in found.items() for (label,) in labels], False, "\t", found, "tags"
        )
    found = _tags(rng, plain, 2)
    if form == "esc50":
        header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
        body = [[n, "1", "0", label, "True", "100032", "A"] for n, ((label,),) in found.items()]
    else:
        header = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
        body = [[n, "100032", "0.0", "0.317551", "1", "5", "3", label] for n, ((label,),) in found.items()]
    return Case(form, [header, *body], True, ",", found, "tags")


def to_text(case: Case, *, quote_all: bool = False) -> str:
    """Return the file's text."""

    def field(text: str) -> str:
        needed = case.separator in text or text.startswith('"') or ('"' in text and case.separator != "\t")
        return '"' + text.replace('"', '""') + '"' if needed or quote_all else text

    return "".join(case.separator.join(map(field, row)) + "\n" for row in case.rows)


# --- mutations: each keeps the meaning, or leaves a file that can only be refused -----------------------------------


def _on_rows(change: Callable[[random.Random, list[list[str]], Case], list[list[str]]]) -> Callable:
    def mutate(rng: random.Random, case: Case) -> str:
        return to_text(replace(case, rows=change(rng, [list(row) for row in case.rows], case)))

    return mutate


def _times(change: Callable[[str], str]) -> Callable:
    def mutate(rng: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
        for row in rows[1:] if case.header else rows:
            for column in case.times or ():
                row[column] = change(row[column])
        return rows

    return _on_rows(mutate)


def _swapped_times(_: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    for row in rows[1:] if case.header else rows:
        if case.times:
            a, b = case.times
            row[a], row[b] = row[b], row[a]
    return rows


def _permuted(rng: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    order = list(range(len(rows[0])))
    rng.shuffle(order)
    return [[row[at] for at in order] for row in rows]


def _foreign_header(_: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    names = ["Datei", "Anfang", "Ende", "Klasse", "Ort", "Nummer", "Spalte", "Wert", "Teil", "Quelle"]
    return [names[: len(rows[0])], *(rows[1:] if case.header else rows)]


def _second_header(rng: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    header = rows[0] if case.header else ["filename", "onset", "offset", "event_label", "x"][: len(rows[0])]
    return [*rows, header]


def _ragged(rng: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    row = rows[rng.randrange(1 if case.header else 0, len(rows))]
    if rng.random() < 0.5:
        row.append("surplus")
    elif len(row) > 2:
        row.pop(rng.randrange(1, len(row)))
    return rows


def _extra_column(rng: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    name = rng.choice(("present", "onset_ms", "weight", "label_2", "début"))
    for number, row in enumerate(rows):
        row.append(name if case.header and not number else rng.choice(("0", "NOT_PRESENT", "x")))
    return rows


def _hostile(rng: random.Random, rows: list[list[str]], case: Case) -> list[list[str]]:
    row = rows[rng.randrange(1 if case.header else 0, len(rows))]
    column = case.times[0] if case.times else len(row) - 1
    row[column] += rng.choice(("\x1b[2J", "\x00", "\x07", "\ud7ff\x85"))
    return rows


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


#: Name of a mutation -> text. The first group must be read as before; of the others a file may be refused.
HARMLESS: dict[str, Callable[[random.Random, Case], str | bytes]] = {
    "none": lambda rng, case: to_text(case),
    "crlf": lambda rng, case: to_text(case).replace("\n", "\r\n"),
    "cr": lambda rng, case: to_text(case).replace("\n", "\r"),
    "blank lines": lambda rng, case: to_text(case).replace("\n", "\n\n \n"),
    "no last line end": lambda rng, case: to_text(case).rstrip("\n"),
    "byte order mark": lambda rng, case: _encoded(to_text(case), "utf-8-sig"),
    "utf-16": lambda rng, case: _encoded(to_text(case), "utf-16"),
    "decomposed": lambda rng, case: unicodedata.normalize("NFD", to_text(case)),
}
MUTATIONS: dict[str, Callable[[random.Random, Case], str | bytes]] = {
    "commas": lambda rng, case: to_text(replace(case, separator=",")),
    "semicolons": lambda rng, case: to_text(replace(case, separator=";")),
    "tabs": lambda rng, case: to_text(replace(case, separator="\t")),
    "blanks": lambda rng, case: "".join(" ".join(row) + "\n" for row in case.rows),
    "quotes": lambda rng, case: to_text(case, quote_all=True),
    "decimal commas": _times(lambda text: text.replace(".", ",")),
    "semicolons and decimal commas": lambda rng, case: _times(lambda text: text.replace(".", ","))(
        rng, replace(case, separator=";")
    ),
    "commas and decimal commas": lambda rng, case: "".join(
        ",".join(
            field.replace(".", ",", 1) if column in (case.times or ()) else field for column, field in enumerate(r)
        )
        + "\n"
        for r in case.rows
    ),
    "comment": lambda rng, case: rng.choice(("# v2\n", "#\n", "# made by hand\t1.0\n", ";v2\n")) + to_text(case),
    "epoch": _times(lambda text: str(float(text) + 1.7e9)),
    "clock": _times(lambda text: f"00:00:{text}"),
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


def mutated(seed: int) -> tuple[str, str, Case, bytes]:
    """Return the name of the form and of the mutation, the case, and the file's bytes."""
    rng = random.Random(seed)
    case = build(rng)
    choice = HARMLESS if rng.random() < 0.25 else MUTATIONS
    name = rng.choice(sorted(choice))
    content = choice[name](rng, case)
    return case.form, name, case, content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
