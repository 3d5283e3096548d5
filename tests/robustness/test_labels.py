"""Mutated label files: the same labels come back, or one line of refusal; never other labels, never a traceback.

The files are written here without the package, so that nothing is right only because reader and writer agree.
"""

import collections
import random
import re
import unicodedata

import pytest

from crnn_weak.errors import CrnnWeakError
from crnn_weak.labels.reading import read_events, read_tags
from crnn_weak.labels.sets import read_pair

WORDS = (
    "dog", "Car", "none", "NA", "speech (male)", "café", "naïve", "犬", "a.b", "-", "#1", "six\" pipe", "it's", "A/C",
    "Ångström", "mid/0k4j", "two words", "100%", "x_y", "True", "=1",
)  # fmt: skip
#: Labels that a list without a header, or one of tags with commas between, cannot hold.
HEADER_WORDS = (*WORDS, "Air horn, truck horn", "1", "0.5")
DESED = ("filename", "onset", "offset", "event_label")
AUDIOSET = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
RAVEN = ("Selection", "View", "Begin Time (s)", "End Time (s)", "Begin Path", "File Offset (s)", "Annotation")
BIRDNET = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")
ESC50 = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
URBANSOUND = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
#: Layout -> header, separator, the columns of the times (none: tags), a row of file, onset, offset and label.
LAYOUTS = {
    "desed": (DESED, "\t", (1, 2), lambda f, on, off, label: [f, on, off, label]),
    "dcase": ((), "\t", (1, 2), lambda f, on, off, label: [f, on, off, label]),
    "dcase-scene": ((), "\t", (2, 3), lambda f, on, off, label: [f, "street", on, off, label]),
    "audacity": ((), "\t", (0, 1), lambda f, on, off, label: [on, off, label]),
    "audioset": (AUDIOSET, "\t", (1, 2), lambda f, on, off, label: [f, on, off, label]),
    "raven": (RAVEN, "\t", (2, 3), lambda f, on, off, label: [f + on, "Spectrogram 1", on, off, f, on, label]),
    "birdnet": (BIRDNET, ",", (0, 1), lambda f, on, off, label: [on, off, "Strix", label, "0.75", f]),
    "desed-tags": (("filename", "event_label"), "\t", (), lambda f, on, off, label: [f, label]),
    "dcase-tags": ((), "\t", (), lambda f, on, off, label: [f, label]),
    "esc50": (ESC50, ",", (), lambda f, on, off, label: [f, "1", "0", label, "True", "100032", "A"]),
    "urbansound8k": (URBANSOUND, ",", (), lambda f, on, off, label: [f, "9", "0.0", "0.3", "1", "5", "3", label]),
}  # fmt: skip


class Case:
    """A label file before it is text: its rows, the header first where it has one, and what they say."""

    def __init__(self, rng, layout):
        self.layout = layout
        header, self.separator, self.times, row = LAYOUTS[layout]
        self.n_header = bool(header)
        self.rows, self.expected = ([list(header)] if header else []), {}
        words = HEADER_WORDS if header and layout not in ("esc50", "urbansound8k") else WORDS
        for index in range(1 if layout == "audacity" else rng.randrange(2, 6)):
            name = (
                f"{rng.choice(('', 'siteA/', 'audio/'))}{rng.choice(('', '--'))}r{index}{rng.choice(('', '.v2', ' 1'))}"
            )
            found = self.expected.setdefault("list" if layout == "audacity" else name, [])
            for label in rng.sample(words, rng.randrange(1, 2 if layout in ("esc50", "urbansound8k") else 4)):
                onset = rng.randrange(0, 9000) / 1000
                offset = onset + rng.randrange(1, 4000) / 1000
                self.rows.append(row(f"{name}.wav", f"{onset:.3f}", f"{offset:.3f}", label))
                found.append((round(onset, 3), round(offset, 3), label) if self.times else label)

    def text(self, rows=None, separator=None, quote_all=False):
        """Return the file's text; lists without a header are never quoted unless all fields are."""
        separator = separator or self.separator

        def field(text):
            needed = separator in text or text.startswith('"') or ('"' in text and separator != "\t")
            return '"' + text.replace('"', '""') + '"' if (needed and self.n_header) or quote_all else text

        return "".join(separator.join(map(field, row)) + "\n" for row in rows or self.rows)

    def changed(self, change, separator=None):
        """Return the text with `change` applied to copies of the rows below the header, in place."""
        rows = [list(row) for row in self.rows]
        for row in rows[self.n_header :]:
            change(row)
        return self.text(rows, separator)

    def with_times(self, change, separator=None):
        """Return the text with other times."""

        def each(row):
            for column in self.times:
                row[column] = change(row[column])

        return self.changed(each, separator)


def swapped_times(rng, case):
    def swap(row):
        if case.times:
            first, second = case.times
            row[first], row[second] = row[second], row[first]

    return case.changed(swap)


def swapped_columns(rng, case):
    columns = range(len(case.rows[0]))
    order = rng.sample(columns, len(columns))
    if case.layout == "dcase-scene":  # scene and label alone cannot be told apart
        order = list(reversed(columns))
    return case.text([[row[at] for at in order] for row in case.rows])


def foreign_header(rng, case):
    names = ["Datei", "Anfang", "Ende", "Klasse", "Ort", "Nummer", "Spalte", "Wert"]
    return case.text([names[: len(case.rows[0])], *case.rows[case.n_header :]])


def second_header(rng, case):
    names = ["filename", "onset", "offset", "event_label", "x"]
    return case.text([*case.rows, case.rows[0] if case.n_header else names[: len(case.rows[0])]])


def on_one_row(change):
    """Return a mutation of one row below the header, drawn at random."""

    def mutation(rng, case):
        rows = [list(row) for row in case.rows]
        change(rng, case, rng.choice(rows[case.n_header :]))
        return case.text(rows)

    return mutation


def ragged(rng, case, row):
    if rng.random() < 0.5:
        row.append("surplus")
    elif len(row) > 2:
        row.pop(rng.randrange(1, len(row)))


def hostile(rng, case, row):
    row[case.times[0] if case.times else -1] += rng.choice(("\x1b[2J", "\x00", "\x07", "\ud7ff\x85"))


def extra_column(rng, case):
    name = rng.choice(("present", "onset_ms", "weight", "label_2", "début"))
    body = [[*row, rng.choice(("0", "NOT_PRESENT", "x"))] for row in case.rows[case.n_header :]]
    return case.text([[*row, name] for row in case.rows[: case.n_header]] + body)


#: Name of a mutation -> text or bytes. The first group must be read as before; of the others a file may be refused.
HARMLESS = {
    "none": lambda rng, case: case.text(),
    "crlf": lambda rng, case: case.text().replace("\n", "\r\n"),
    "cr": lambda rng, case: case.text().replace("\n", "\r"),
    "blank lines": lambda rng, case: case.text().replace("\n", "\n\n \n"),
    "no last line end": lambda rng, case: case.text().rstrip("\n"),
    "byte order mark": lambda rng, case: case.text().encode("utf-8-sig"),
    "utf-16": lambda rng, case: case.text().encode("utf-16"),
    "decomposed": lambda rng, case: unicodedata.normalize("NFD", case.text()),
}
MUTATIONS = {
    "commas": lambda rng, case: case.text(separator=","),
    "semicolons": lambda rng, case: case.text(separator=";"),
    "tabs": lambda rng, case: case.text(separator="\t"),
    "blanks": lambda rng, case: "".join(" ".join(row) + "\n" for row in case.rows),
    "quotes": lambda rng, case: case.text(quote_all=True),
    "decimal commas": lambda rng, case: case.with_times(lambda text: text.replace(".", ",")),
    "semicolons and decimal commas": lambda rng, case: case.with_times(lambda text: text.replace(".", ","), ";"),
    "commas and decimal commas": lambda rng, case: case.with_times(lambda text: text.replace(".", ","), ","),
    "comment": lambda rng, case: rng.choice(("# v2\n", "#\n", "# made by hand\t1.0\n", ";v2\n")) + case.text(),
    "epoch": lambda rng, case: case.with_times(lambda text: str(float(text) + 1.7e9)),
    "clock": lambda rng, case: case.with_times(lambda text: f"00:00:{float(text):06.3f}"),
    "swapped times": swapped_times,
    "swapped columns": swapped_columns,
    "foreign header": foreign_header,
    "second header": second_header,
    "ragged": on_one_row(ragged),
    "extra column": extra_column,
    "control character": on_one_row(hostile),
    "latin-1": lambda rng, case: case.text().encode("latin-1", "replace").replace(b"?", b"\xe9"),
    "backslashes": lambda rng, case: re.sub(r"\b(site[AB]|audio)/", r"\1\\", case.text()),
    "title line": lambda rng, case: rng.choice(("My labels\n", "version 2\n", "sep=,\n")) + case.text(),
}


def mutated(folder, seed):
    """Return the name of the mutation, the case, and the file."""
    rng = random.Random(seed)
    case = Case(rng, rng.choice(sorted(LAYOUTS)))
    choice = HARMLESS if rng.random() < 0.25 else MUTATIONS
    name = rng.choice(sorted(choice))
    content = choice[name](rng, case)
    path = folder / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return name, case, path


def outcome(case, path):
    """Return what became of the file: same, refused or other."""
    try:
        if case.times:
            found = {n: sorted((e.onset, e.offset, e.label) for e in rows) for n, rows in read_events(path).items()}
        else:
            found = {name: sorted(labels) for name, labels in read_tags(path).items()}
    except CrnnWeakError as error:
        return "refused" if str(path) in str(error) and str(error).isprintable() else f"unclear: {error}"
    return "same" if found == {name: sorted(rows) for name, rows in case.expected.items()} else "other"


@pytest.mark.parametrize("seeds", [range(400), pytest.param(range(400, 12_000), marks=pytest.mark.slow)])
def test_mutated_files_are_read_rightly_or_refused(tmp_path, seeds):
    others, counts = [], collections.Counter()
    for seed in seeds:
        mutation, case, path = mutated(tmp_path, seed)
        result = outcome(case, path)
        counts[result] += 1
        if result not in ("same", "refused") or (mutation in HARMLESS and result != "same"):
            others.append((seed, case.layout, mutation, result))
    assert not others
    assert counts["refused"] > len(seeds) / 8
    assert counts["same"] > len(seeds) / 3


def damaged(rng, content):
    """Return bytes with a few of them changed, cut, doubled or inserted."""
    data = bytearray(content)
    inserted = (b"9" * 400, b"\t" * 50, b'"', b"\n", b"\x00", rng.randbytes(4), b"1e308", b"nan")
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.randrange(1, 20)]
        else:
            data[at:at] = data[at : at + rng.randrange(1, 40)] if kind == 2 else rng.choice(inserted)
    return bytes(data)


@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(300, 6000), marks=pytest.mark.slow)])
def test_damaged_files_cause_no_traceback(tmp_path, seeds):
    """Whatever they say, only the package's own errors come out."""
    messages = []
    for seed in seeds:
        path = mutated(tmp_path, seed)[2]
        path.write_bytes(damaged(random.Random(seed), path.read_bytes()))
        for read in (read_events, read_tags, lambda path: read_pair(path, path)):
            try:
                read(path)
            except CrnnWeakError as error:
                messages.append(str(error))
    assert all(map(str.isprintable, messages))
