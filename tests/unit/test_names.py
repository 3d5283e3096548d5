"""Names of recordings and labels: no two under one name, equal spellings are equal, what is written reads back."""

import unicodedata

import pytest

from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.labels.events import Event, class_indices
from crnn_weak.labels.names import match_ids, recording_id, without_y
from crnn_weak.labels.reading import read_classes
from crnn_weak.labels.sets import read_pair
from crnn_weak.labels.writing import EVENT_FORMATS, event_files, write_tags

HEADER = "filename\tonset\toffset\tevent_label\n"
TWO_SITES = HEADER + "siteA/r.wav\t0\t1\tdog\nsiteB/r.wav\t5\t6\tcat\n"


def evaluated(tmp_path, reference, estimated):
    """Return the share of the reference's recordings that have the same labels in the estimate."""
    for name, text in (("ref.tsv", reference), ("est.tsv", estimated)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    pair = read_pair(tmp_path / "ref.tsv", tmp_path / "est.tsv")
    assert pair.estimated.keys() <= pair.reference.keys()
    return sum(pair.estimated.get(name) == found for name, found in pair.reference.items()) / len(pair.reference)


def test_recordings_of_one_name_in_two_folders_are_two(tmp_path):
    assert evaluated(tmp_path, TWO_SITES, TWO_SITES) == 1.0
    swapped = TWO_SITES.replace("siteA", "x").replace("siteB", "siteA").replace("x/", "siteB/")
    assert evaluated(tmp_path, TWO_SITES, swapped) == 0.0
    tags = "filename\tevent_label\nsiteA/r.wav\tdog\nsiteB/r.wav\tcat\n"
    assert evaluated(tmp_path, tags, tags) == 1.0
    assert evaluated(tmp_path, tags, tags.replace("cat", "dog")) == 0.5


def test_a_bare_name_is_a_short_form_of_one_recording_only(tmp_path):
    bare = HEADER + "r.wav\t0\t1\tdog\n"
    with pytest.raises(DataError, match="'r' may be 'siteA/r' or 'siteB/r'"):
        evaluated(tmp_path, TWO_SITES, bare)
    one_site = HEADER + "siteA/r.wav\t0\t1\tdog\nsiteB/s.wav\t5\t6\tcat\n"
    estimated = HEADER + "r.wav\t0\t1\tdog\n/data/siteB/s.wav\t5\t6\tcat\n"
    assert evaluated(tmp_path, one_site, estimated) == 1.0
    assert evaluated(tmp_path, estimated, one_site) == 1.0
    with pytest.raises(DataError, match="'siteA/r' and 'siteB/r' both stand for 'r'"):
        evaluated(tmp_path, bare, TWO_SITES)


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


def test_exact_paths_come_before_short_forms():
    assert match_ids(["r", "a/r"], ["r", "a/r"], where="x") == {"r": "r", "a/r": "a/r"}
    assert match_ids(["q"], ["r"], where="x") == {"q": "q"}
    with pytest.raises(DataError, match="'r' and 'a/r' both stand for 'a/r'"):
        match_ids(["r", "a/r"], ["a/r"], where="x")


def test_spellings_of_one_accent_are_one_name(tmp_path):
    composed = HEADER + "été.wav\t0\t1\tcafé\n"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert evaluated(tmp_path, composed, decomposed) == 1.0
    (tmp_path / "classes.txt").write_text(unicodedata.normalize("NFD", "café\nthé\n"), encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt") == ("café", "thé")


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("C\u0430r", "Car", r"Yours is 'C\u0430r'"),
        ("air\u00a0horn", "air horn", r"Yours is 'air\xa0horn'"),
        ("Car\u200b", "Car", r"Yours is 'Car\u200b'"),
    ],
)
def test_names_that_look_alike_are_told_by_code_points(name, known, says):
    with pytest.raises(LabelError) as error:
        class_indices([name], [known])
    assert says in str(error.value)
    assert "Yours" not in nearest_names("Cat", ["Car"])


# Control characters, blanks at the ends, nothing; then what would read back as several labels, or as none.
BAD = ["a\nb", "a\rb", "a\tb", "a\x1b[31mb", "a\x00b", "a\x7fb", "a\u2028b", "a\udcffb", " a", "a ", ""]
JOINED = ["a;b", "a|b", "a,b", "['a', 'b']", "[]", "nan", "a.wav"]


@pytest.mark.parametrize("bad", [*BAD, *JOINED])
def test_what_would_not_read_back_is_never_written(tmp_path, bad):
    writes = [lambda: write_tags(tmp_path / "out.tsv", {"a": [bad]})]
    for name in EVENT_FORMATS:
        writes += [lambda name=name: event_files(tmp_path / "out", name, {"a": [Event(0, 1, bad)]})]
        writes += [lambda name=name: event_files(tmp_path / "out", name, {bad: []})] if bad in BAD else []
    for write in writes:
        with pytest.raises(DataError) as error:
            write()
        assert str(error.value).isprintable()
    assert list(tmp_path.iterdir()) == []
