"""``crnn-weak convert``: any format into any that is written, counted, whole or not at all."""

import json

import pytest

from crnn_weak.cli import main
from crnn_weak.labels.events import Event
from crnn_weak.labels.reading import read_events
from crnn_weak.labels.writing import EVENT_FORMATS

FORMATS = [name for name in EVENT_FORMATS if name != "jsonl"]  # which is not read
DESED = (
    "filename\tonset\toffset\tevent_label\nsiteA/r_0.000_10.000.wav\t0.5\t1.25\tCar\n"
    "siteA/r_0.000_10.000.wav\t2\t2.000001\tAir horn, truck horn\nsiteB/r_30.000_40.000.wav\t0\t0\tBus\n"
)
EVENTS = {
    "siteA/r_0.000_10.000": (Event(0.5, 1.25, "Car"), Event(2.0, 2.000001, "Air horn, truck horn")),
    "siteB/r_30.000_40.000": (Event(0.0, 0.0, "Bus"),),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.tsv").write_text(DESED)
    return tmp_path


def convert(capsys, *arguments):
    code = main(["-q", "convert", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("name", FORMATS)
def test_events_survive_every_format(here, capsys, name):
    code, out, _ = convert(capsys, "events.tsv", "out", "--to", name)
    assert (code, out) == (0, f"out: 3 events of 2 recordings, desed to {name}\n")
    assert read_events(here / "out") == EVENTS
    assert convert(capsys, "out", "back.tsv", "--to", "desed")[0] == 0
    assert read_events("back.tsv") == EVENTS


def test_suffixes_of_audio_are_kept_and_json_has_all(here, capsys):
    (here / "events.tsv").write_text(DESED.replace("siteA/r_0.000_10.000.wav", "s.flac"))
    for name, file in (("dcase", "dcase"), ("csv", "csv"), ("raven", "raven/s.txt"), ("jsonl", "jsonl")):
        assert convert(capsys, "events.tsv", name, "--to", name)[0] == 0
        assert "s.flac" in (here / file).read_text()
    first = json.loads((here / "jsonl").read_text().splitlines()[0])
    assert first == {"filename": "s.flac", "onset": 0.5, "offset": 1.25, "label": "Car", "score": None}
    (here / "one.tsv").write_text(DESED.partition("siteB")[0])
    assert convert(capsys, "one.tsv", "track.txt", "--to", "audacity")[0] == 0  # one recording may go to a file
    assert (here / "track.txt").read_text().splitlines()[0] == "0.500000\t1.250000\tCar"


def test_recordings_without_events_are_written_or_counted(here, capsys):
    (here / "events.tsv").write_text(DESED + "silent.wav\n")
    for name in ("desed", "dcase", "csv", "audacity", "raven"):
        assert convert(capsys, "events.tsv", f"out-{name}", "--to", name)[0] == 0
        assert read_events(here / f"out-{name}")["silent"] == ()
    assert convert(capsys, "events.tsv", "out.tsv", "--to", "audioset")[1] == (
        "out.tsv: 3 events of 2 recordings, desed to audioset\n"
        "not written: 1 recordings without events, which audioset cannot list\n"
    )


def test_scores_are_written_or_filtered_and_what_is_not_written_is_said(here, capsys):
    """S14 of the tables in test_label_files.py."""
    (here / "events.csv").write_text("filename,onset,offset,label,score\na.wav,0,1,dog,0.8765\nb.wav,0,1,dog,0\n")
    for name in ("csv", "raven"):
        assert convert(capsys, "events.csv", f"out-{name}", "--to", name)[0] == 0
        found = read_events(here / f"out-{name}")
        assert [event.score for events in found.values() for event in events] == [0.8765, 0.0]
    _, out, _ = convert(capsys, "events.csv", "out.tsv", "--to", "desed", "--min-score", "0.1")
    assert out == (
        "out.tsv: 1 events of 2 recordings, csv to desed\n"
        "not written: scores, which desed cannot hold; csv, raven and jsonl can\n"
    )
    (here / "tags.csv").write_text("filename,label,split,score\na.wav,dog,train,0.5\n")
    _, out, _ = convert(capsys, "tags.csv", "more.tsv", "--to", "desed-tags")
    assert "not written: splits, which desed-tags cannot hold\n" in out
    assert "not written: scores, which desed-tags cannot hold; csv" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent.tsv", "out", "--to", "desed"], "absent.tsv: cannot be read (No such file"),
        (["events.tsv", "events.tsv", "--to", "dcase"], "events.tsv: exists. Give --overwrite"),
        (["events.tsv", "one.txt", "--to", "audacity"], "2 recordings; a file of this format holds one"),
        (["tags.tsv", "out", "--to", "raven"], "tags.tsv: holds tags"),
        (["unclear.tsv", "out", "--to", "csv"], "Give --input-format dcase"),
        (["unclear.tsv", "out", "--to", "desed-tags"], "may be places in other recordings"),
        (["empty.tsv", "out", "--to", "audacity"], "no recording"),
        (["up.tsv", "out", "--to", "audacity"], "outside of the folder"),
        (["classes.tsv", "out", "--to", "audacity"], "would be classes.txt"),
        (["events.tsv", "out", "--to", "desed", "--min-score", "0.5"], "line 2: no score, which --min-score needs"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(here, refused, arguments, says):
    (here / "tags.tsv").write_text("a.wav\tdog\n")
    (here / "unclear.tsv").write_text("a_0.000_10.000.wav\t0\t10\tdog\n")
    (here / "empty.tsv").write_text("")
    (here / "up.tsv").write_text("../a.wav\t0\t1\tx\n")
    (here / "classes.tsv").write_text("classes.wav\t0\t1\tx\n")
    before = set(here.iterdir())
    assert says in refused("-q", "convert", *arguments)
    assert set(here.iterdir()) == before
