"""Names of recordings and labels: no two under one name, equal spellings are equal, what is written reads back."""

import unicodedata

import pytest

from crnn_weak.errors import DataError
from crnn_weak.labels.events import Event
from crnn_weak.labels.names import check_classes, recording_id, without_y
from crnn_weak.labels.reading import read_pair
from crnn_weak.labels.writing import EVENT_FORMATS, event_files, write_tags

HEADER = "filename\tonset\toffset\tevent_label\n"
TWO_SITES = HEADER + "siteA/r.wav\t0\t1\tdog\nsiteB/r.wav\t5\t6\tcat\n"
SWAPPED = TWO_SITES.replace("siteA", "x").replace("siteB", "siteA").replace("x/", "siteB/")
ONE_SITE = HEADER + "siteA/r.wav\t0\t1\tdog\nsiteB/s.wav\t5\t6\tcat\n"
SHORT = HEADER + "r.wav\t0\t1\tdog\n/data/siteB/s.wav\t5\t6\tcat\n"
BARE = HEADER + "r.wav\t0\t1\tdog\n"
TAGS = "filename\tevent_label\nsiteA/r.wav\tdog\nsiteB/r.wav\tcat\n"
ACCENTS = HEADER + "été.wav\t0\t1\tcafé\n"


@pytest.mark.parametrize(
    ("reference", "estimated", "share"),
    [
        # recordings of one name in two folders are two
        (TWO_SITES, TWO_SITES, 1.0),
        (TWO_SITES, SWAPPED, 0.0),
        (TAGS, TAGS, 1.0),
        (TAGS, TAGS.replace("cat", "dog"), 0.5),
        # a bare name is a short form of one recording only
        (ONE_SITE, SHORT, 1.0),
        (SHORT, ONE_SITE, 1.0),
        (TWO_SITES, BARE, "'r' may be 'siteA/r' or 'siteB/r'"),
        (BARE, TWO_SITES, "'siteA/r' and 'siteB/r' both stand for 'r'"),
        # spellings of one accent are one name
        (ACCENTS, unicodedata.normalize("NFD", ACCENTS), 1.0),
    ],
)
def test_recordings_with_the_same_labels_in_the_estimate(tmp_path, reference, estimated, share):
    for name, text in (("ref.tsv", reference), ("est.tsv", estimated)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    if isinstance(share, str):
        with pytest.raises(DataError, match=share):
            read_pair(tmp_path / "ref.tsv", tmp_path / "est.tsv")
        return
    pair = read_pair(tmp_path / "ref.tsv", tmp_path / "est.tsv")
    assert pair.estimated.keys() <= pair.reference.keys()
    n_equal = sum(pair.estimated.get(name) == found for name, found in pair.reference.items())
    assert n_equal / len(pair.reference) == share


@pytest.mark.parametrize(
    ("name", "expected", "stripped"),
    [
        ("a.wav", "a", "a"),
        ("audio\\deep/b.v2.FLAC", "audio/deep/b.v2", "audio/deep/b.v2"),
        ("Y-5QrBL6MzLg_60.000_70.000.wav  ", "Y-5QrBL6MzLg_60.000_70.000", "-5QrBL6MzLg_60.000_70.000"),
        ("x/Y-5QrBL6MzLg_60_70", "x/Y-5QrBL6MzLg_60_70", "x/-5QrBL6MzLg_60_70"),
        ("YCwoyCnYsY1_0.000_10.000.wav", "YCwoyCnYsY1_0.000_10.000", "YCwoyCnYsY1_0.000_10.000"),  # the id has the Y
        ("Yard.wav", "Yard", "Yard"),
    ],
)
def test_recording_ids(name, expected, stripped):
    assert recording_id(name) == expected
    assert without_y(expected) == stripped


# Control characters, blanks at the ends, nothing; then what would read back as several labels, or as none.
BAD = ["a\nb", "a\rb", "a\tb", "a\x1b[31mb", "a\x00b", "a\x7fb", "a\u2028b", "a\udcffb", " a", "a ", ""]
FORMULAS = ["=1+1", "+a", "@a", "a\u202eb", "\u200ea", "a\u2066b"]  # and marks of writing direction
JOINED = ["a;b", "a|b", "a,b", "['a', 'b']", "[]", "nan", "a.wav", "nocall"]


@pytest.mark.parametrize("bad", [*BAD, *FORMULAS, *JOINED])
def test_what_would_not_read_back_is_never_written(tmp_path, bad):
    writes = [lambda: write_tags(tmp_path / "out.tsv", {"a": [bad]})]
    for name in EVENT_FORMATS:
        writes += [lambda name=name: event_files(tmp_path / "out", name, {"a": [Event(0, 1, bad)]})]
        writes += [lambda name=name: event_files(tmp_path / "out", name, {bad: []})] if bad in BAD else []
    writes += [lambda: check_classes(["dog", bad], "best.keras")]  # of a model, a store, scores, a run
    for write in writes:
        with pytest.raises(DataError) as error:
            write()
        assert str(error.value).isprintable()
    assert list(tmp_path.iterdir()) == []
