"""Mutated label files, written without the package: the same labels come back, or one line of refusal."""

import collections
import random
import re
import unicodedata

import pytest
from mutations import damage_bytes

from crnn_weak.errors import CrnnWeakError
from crnn_weak.labels.reading import read_events, read_pair, read_tags

WORDS = (
    "dog", "Car", "none", "NA", "speech (male)", "café", "naïve", "犬", "a.b", "-", "#1", "six\" pipe", "it's", "A/C",
    "Ångström", "mid/0k4j", "two words", "100%", "x_y", "True", "1=",
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

    def __init__(self, rng):
        layout = rng.choice(sorted(LAYOUTS))
        header, self.separator, self.times, row = LAYOUTS[layout]
        is_metadata = layout in ("esc50", "urbansound8k")  # one label a recording
        self.layout, self.n_header, self.expected = layout, bool(header), {}
        self.rows = [list(header)] if header else []
        words = HEADER_WORDS if header and not is_metadata else WORDS
        for index in range(1 if layout == "audacity" else rng.randrange(2, 6)):
            ends = rng.choice(("", "siteA/", "audio/")), rng.choice(("", "--")), rng.choice(("", ".v2", " 1"))
            name = f"{ends[0]}{ends[1]}r{index}{ends[2]}"
            found = self.expected.setdefault("list" if layout == "audacity" else name, [])
            for label in rng.sample(words, 1 if is_metadata else rng.randrange(1, 4)):
                onset = rng.randrange(0, 9000) / 1000
                offset = onset + rng.randrange(1, 4000) / 1000
                self.rows.append(row(f"{name}.wav", f"{onset:.3f}", f"{offset:.3f}", label))
                found.append((round(onset, 3), round(offset, 3), label) if self.times else label)
            found.sort()

    def text(self, rows=None, separator=None, quote_all=False):
        """Return the file's text; lists without a header are never quoted unless all fields are."""
        separator = separator or self.separator

        def field(text):
            needed = separator in text or text.startswith('"') or ('"' in text and separator != "\t")
            return '"' + text.replace('"', '""') + '"' if (needed and self.n_header) or quote_all else text

        return "".join(separator.join(map(field, row)) + "\n" for row in rows or self.rows)

    def with_times(self, change, separator=None):
        """Return the text with other times."""
        rows = [list(row) for row in self.rows]
        for row in rows[self.n_header :]:
            for column in self.times:
                row[column] = change(row[column])
        return self.text(rows, separator)


def swapped_columns(rng, case):
    columns = range(len(case.rows[0]))
    order = rng.sample(columns, len(columns))
    if case.layout == "dcase-scene":  # scene and label alone cannot be told apart
        order = list(reversed(columns))
    return case.text([[row[at] for at in order] for row in case.rows])


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
    "separator": lambda rng, case: case.text(separator=rng.choice(",;\t")),
    "blanks": lambda rng, case: "".join(" ".join(row) + "\n" for row in case.rows),
    "quotes": lambda rng, case: case.text(quote_all=True),
    "decimal commas": lambda rng, case: case.with_times(lambda text: text.replace(".", ","), rng.choice(",;\t")),
    "epoch": lambda rng, case: case.with_times(lambda text: str(float(text) + 1.7e9)),
    "clock": lambda rng, case: case.with_times(lambda text: f"00:00:{float(text):06.3f}"),
    "swapped columns": swapped_columns,
    "latin-1": lambda rng, case: case.text().encode("latin-1", "replace").replace(b"?", b"\xe9"),
    "backslashes": lambda rng, case: re.sub(r"\b(site[AB]|audio)/", r"\1\\", case.text()),
    "title line": lambda rng, case: rng.choice(("# v2\n", "# by hand\t1.0\n", "My labels\n", "sep=,\n")) + case.text(),
}


def outcome(case, path):
    """Return what became of the file: same, refused or other."""
    try:
        if case.times:
            found = {n: sorted((e.onset, e.offset, e.label) for e in rows) for n, rows in read_events(path).items()}
        else:
            found = {name: sorted(labels) for name, labels in read_tags(path).items()}
    except CrnnWeakError as error:
        return "refused" if str(path) in str(error) and str(error).isprintable() else f"unclear: {error}"
    return "same" if found == case.expected else "other"


@pytest.mark.parametrize("seeds", [range(400), pytest.param(range(400, 12_000), marks=pytest.mark.slow)])
def test_mutated_files_are_read_rightly_or_refused_and_damaged_ones_cause_no_traceback(tmp_path, seeds):
    path, others, counts, messages = tmp_path / "list.txt", [], collections.Counter(), []
    for seed in seeds:
        rng = random.Random(seed)
        case, is_harmless = Case(rng), rng.random() < 0.25
        name, mutate = rng.choice(sorted((HARMLESS if is_harmless else MUTATIONS).items()))
        content = mutate(rng, case)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        result = outcome(case, path)
        counts[result] += 1
        if result not in ("same", "refused") or (is_harmless and result != "same"):
            others.append((seed, case.layout, name, result))
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
        for read in (read_events, read_tags, lambda path: read_pair(path, path)):
            try:
                read(path)
            except CrnnWeakError as error:
                messages.append(str(error))
    assert not others
    assert counts["refused"] > len(seeds) / 8
    assert counts["same"] > len(seeds) / 3
    assert all(map(str.isprintable, messages))
