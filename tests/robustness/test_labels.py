"""Mutated label files: the same labels come back, or one line of refusal; never other labels, never a traceback."""

import collections
import random
import unicodedata

import pytest
from label_mutations import HARMLESS, mutated

from crnn_weak.errors import CrnnWeakError
from crnn_weak.labels.reading import read_events, read_tags
from crnn_weak.labels.sets import read_pair


def outcome(folder, seed):
    """Return the mutation and what became of the file: same, refused or other."""
    mutation, case, content = mutated(seed)
    path = folder / case.name
    path.write_bytes(content)
    expected = {
        unicodedata.normalize("NFC", name).removesuffix(".wav"): sorted(rows) for name, rows in case.expected.items()
    }
    try:
        if case.times:
            found = {n: sorted((e.onset, e.offset, e.label) for e in rows) for n, rows in read_events(path).items()}
        else:
            found = {name: sorted((label,) for label in labels) for name, labels in read_tags(path).items()}
    except CrnnWeakError as error:
        clear = str(path) in str(error) and str(error).isprintable()
        return mutation, case, "refused" if clear else f"unclear: {error}"
    return mutation, case, "same" if found == expected else "other"


def check(folder, seeds):
    others, counts = [], collections.Counter()
    for seed in seeds:
        mutation, case, result = outcome(folder, seed)
        counts[result] += 1
        if result not in ("same", "refused") or (mutation in HARMLESS and result != "same"):
            others.append((seed, case.layout, mutation, result))
    assert not others
    assert counts["refused"] > len(seeds) / 8
    assert counts["same"] > len(seeds) / 3


def test_a_few_hundred_mutated_files(tmp_path):
    check(tmp_path, range(400))


@pytest.mark.slow
def test_thousands_of_mutated_files(tmp_path):
    check(tmp_path, range(400, 12_000))


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


def bear(folder, seeds):
    """Read damaged files in every way; whatever they say, only the package's own errors come out."""
    messages = []
    for seed in seeds:
        _, case, content = mutated(seed)
        path = folder / case.name
        path.write_bytes(damaged(random.Random(seed), content))
        for read in (read_events, read_tags, lambda path: read_pair(path, path)):
            try:
                read(path)
            except CrnnWeakError as error:
                messages.append(str(error))
    assert all(map(str.isprintable, messages))


def test_a_few_hundred_damaged_files_cause_no_traceback(tmp_path):
    bear(tmp_path, range(300))


@pytest.mark.slow
def test_thousands_of_damaged_files_cause_no_traceback(tmp_path):
    bear(tmp_path, range(300, 6000))
