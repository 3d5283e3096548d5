"""Names of recordings and labels: no two under one name, equal spellings are equal, what is written reads back."""

import json
import unicodedata

import pytest

from crnn_weak.cli import main
from crnn_weak.errors import DataError, LabelError, nearest_names
from crnn_weak.labels.events import Event, class_indices
from crnn_weak.labels.names import match_ids, recording_id, without_y
from crnn_weak.labels.reading import read_classes, read_events, read_tags
from crnn_weak.labels.writing import EVENT_FORMATS, event_files, write_events, write_tags

HEADER = "filename\tonset\toffset\tevent_label\n"
TWO_SITES = HEADER + "siteA/r.wav\t0\t1\tdog\nsiteB/r.wav\t5\t6\tcat\n"


def evaluated(capsys, tmp_path, reference, estimated):
    for name, text in (("ref.tsv", reference), ("est.tsv", estimated)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = ["--reference", str(tmp_path / "ref.tsv"), "--estimated", str(tmp_path / "est.tsv")]
    code = main(["evaluate", *paths, "--format", "json"])
    out, err = capsys.readouterr()
    if code:
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err
    found = json.loads(out)
    return (found.get("segment") or found["tagging"])["f_score"]


def test_recordings_of_one_name_in_two_folders_are_two(capsys, tmp_path):
    assert evaluated(capsys, tmp_path, TWO_SITES, TWO_SITES) == 1.0
    swapped = TWO_SITES.replace("siteA", "x").replace("siteB", "siteA").replace("x/", "siteB/")
    assert evaluated(capsys, tmp_path, TWO_SITES, swapped) == 0.0
    tags = "filename\tevent_label\nsiteA/r.wav\tdog\nsiteB/r.wav\tcat\n"
    assert evaluated(capsys, tmp_path, tags, tags) == 1.0
    assert evaluated(capsys, tmp_path, tags, tags.replace("cat", "dog")) == 0.5
    (tmp_path / "t.tsv").write_text(tags)
    assert read_tags(tmp_path / "t.tsv") == {"siteA/r": ("dog",), "siteB/r": ("cat",)}


def test_a_bare_name_is_a_short_form_of_one_recording_only(capsys, tmp_path):
    bare = HEADER + "r.wav\t0\t1\tdog\n"
    err = evaluated(capsys, tmp_path, TWO_SITES, bare)
    assert "'r' may be 'siteA/r' or 'siteB/r'" in err
    one_site = HEADER + "siteA/r.wav\t0\t1\tdog\nsiteB/s.wav\t5\t6\tcat\n"
    estimated = HEADER + "r.wav\t0\t1\tdog\n/data/siteB/s.wav\t5\t6\tcat\n"
    assert evaluated(capsys, tmp_path, one_site, estimated) == 1.0
    assert evaluated(capsys, tmp_path, estimated, one_site) == 1.0
    err = evaluated(capsys, tmp_path, bare, TWO_SITES)
    assert "'siteA/r' and 'siteB/r' both stand for 'r'" in err


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


def test_spellings_of_one_accent_are_one_name(capsys, tmp_path):
    composed = HEADER + "été.wav\t0\t1\tcafé\n"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert evaluated(capsys, tmp_path, composed, decomposed) == 1.0
    (tmp_path / "classes.txt").write_text(unicodedata.normalize("NFD", "café\nthé\n"), encoding="utf-8")
    assert read_classes(tmp_path / "classes.txt") == ("café", "thé")
    (tmp_path / "classes.txt").write_text("café\n" + unicodedata.normalize("NFD", "café\n"), encoding="utf-8")
    with pytest.raises(DataError, match="twice"):
        read_classes(tmp_path / "classes.txt")


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


BAD = ["a\nb", "a\rb", "a\tb", "a\x1b[31mb", "a\x00b", "a\x7fb", "a\u2028b", "a\udcffb", " a", "a ", ""]


@pytest.mark.parametrize("bad", BAD)
def test_names_that_would_forge_rows_are_never_written(tmp_path, bad):
    writes = [
        lambda: write_events(tmp_path / "out.tsv", {"a": [Event(0, 1, bad)]}),
        lambda: write_tags(tmp_path / "out.tsv", {"a": [bad]}),
    ]
    for name in EVENT_FORMATS:
        writes += [lambda name=name: event_files(tmp_path / "out", name, {"a": [Event(0, 1, bad)]})]
        writes += [lambda name=name: event_files(tmp_path / "out", name, {bad: []})]
    for write in writes:
        with pytest.raises(DataError) as error:
            write()
        assert str(error.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("good", ['"quoted"', 'six" pipe', "'", "#1", "a, b", "=1+1", "日本", "a\\b", "none"])
def test_every_other_label_reads_back(tmp_path, good):
    events = {"r": (Event(0.0, 1.0, good),)}
    for name in set(EVENT_FORMATS) - {"jsonl"}:
        ((path, text),) = event_files(tmp_path / "r.txt", name, events).items()
        path.write_text(text, encoding="utf-8")
        assert read_events(path) == events
    write_tags(tmp_path / "t.tsv", {"r": [good]})
    assert read_tags(tmp_path / "t.tsv") == {"r": (good,)}


@pytest.mark.parametrize("joined", ["a;b", "a|b", "a,b", "['a', 'b']", "[]", "nan"])
def test_labels_that_would_read_back_as_several_or_none_are_never_written(tmp_path, joined):
    with pytest.raises(DataError, match=r"Expected one label"):
        write_tags(tmp_path / "t.tsv", {"r": [joined]})
