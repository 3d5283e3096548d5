"""``crnn-weak convert``: any form into any other, counted, whole or not at all."""

import json

import pytest

from crnn_weak.cli import main
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import events_of, file_names, read_events, read_files, read_tags, tags_of
from crnn_weak.labels.forms import FORMS

EVENT_FORMS = [form.name for form in FORMS.values() if form.kind == "events"]
TAG_FORMS = [form.name for form in FORMS.values() if form.kind == "tags"]
DESED = (
    "filename\tonset\toffset\tevent_label\nsiteA/r_0.000_10.000.wav\t0.5\t1.25\tCar\n"
    "siteA/r_0.000_10.000.wav\t2\t2.0000005\tAir horn, truck horn\nsiteB/r_30.000_40.000.wav\t0\t0\tBus\n"
)
EVENTS = {
    "siteA/r_0.000_10.000": (Event(0.5, 1.25, "Car"), Event(2.0, 2.0000005, "Air horn, truck horn")),
    "siteB/r_30.000_40.000": (Event(0.0, 0.0, "Bus"),),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.tsv").write_text(DESED)
    return tmp_path


def convert(capsys, *arguments):
    code = main(["convert", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def all_events(path):
    files = read_files(path)
    return {name: found for file in files for name, found in events_of(file).items()}


@pytest.mark.parametrize("form", EVENT_FORMS)
def test_events_survive_every_form(here, capsys, form):
    code, out, _ = convert(capsys, "events.tsv", "out", "--to", form)
    assert code == 0
    assert f"out: 3 events of 2 recordings, desed to {form}; read 3 rows, skipped 0 recordings" in out
    expected = EVENTS
    if form == "audacity":  # six decimals
        expected = {
            name: tuple(Event(e.onset, float(f"{e.offset:.6f}"), e.label) for e in found)
            for name, found in EVENTS.items()
        }
    assert all_events(here / "out") == expected
    code, _, _ = convert(capsys, "out", "back.tsv", "--to", "desed")
    assert code == 0
    assert read_events("back.tsv") == expected


@pytest.mark.parametrize("form", TAG_FORMS)
def test_tags_survive_every_form(here, capsys, form):
    (here / "tags.tsv").write_text(
        "filename\tevent_label\nr_5.000_15.000.wav\tAir horn, truck horn\ns_30.000_40.000.wav\tCar\n"
    )
    code, out, _ = convert(capsys, "tags.tsv", "out.csv", "--to", form)
    assert code == 0
    assert "2 tags of 2 recordings" in out
    expected = {"r_5.000_15.000": ("Air horn, truck horn",), "s_30.000_40.000": ("Car",)}
    assert read_tags("out.csv") == expected
    code, _, _ = convert(capsys, "out.csv", "back.tsv", "--to", "desed-tags")
    assert code == 0
    assert read_tags("back.tsv") == expected


@pytest.mark.parametrize("form", [name for name in TAG_FORMS if name not in ("urbansound8k", "esc50")])
def test_events_become_tags(here, capsys, form):
    assert convert(capsys, "events.tsv", "out.csv", "--to", form)[0] == 0
    (found,) = read_files("out.csv")
    names = [name.rpartition("/")[2] if form.startswith("task4") else name for name in EVENTS]
    tags = {name.rpartition("/")[2] if form.startswith("task4") else name: t for name, t in tags_of(found).items()}
    assert tags == dict(zip(names, [("Car", "Air horn, truck horn"), ("Bus",)], strict=True))


def test_audio_suffixes_are_kept(here, capsys):
    (here / "events.tsv").write_text(DESED.replace("siteB/r_30.000_40.000.wav", "s.flac"))
    for form in ("dcase", "raven", "birdnet"):
        assert convert(capsys, "events.tsv", "out.txt", "--to", form, "--overwrite")[0] == 0
        (found,) = read_files("out.txt")
        assert list(file_names(found).values()) == ["siteA/r_0.000_10.000.wav", "s.flac"]


def test_recordings_that_a_form_has_no_row_for_are_counted(here, capsys):
    (here / "events.tsv").write_text(DESED + "silent.wav\n")
    _, out, _ = convert(capsys, "events.tsv", "a.csv", "--to", "birdnet")
    assert "3 events of 2 recordings" in out
    assert "read 4 rows, skipped 1 recordings without labels" in out
    assert convert(capsys, "events.tsv", "tracks", "--to", "audacity")[0] == 0
    assert (here / "tracks" / "silent.txt").read_bytes() == b""
    assert all_events(here / "tracks")["silent"] == ()


def test_scores_travel(here, capsys):
    (here / "events.tsv").write_text("filename,onset,offset,label,score\na.wav,0,1,dog,0.87654\nb.wav,0,1,dog,0.5\n")
    for form in ("desed", "raven", "birdnet", "jams"):
        assert convert(capsys, "events.tsv", f"out-{form}", "--to", form)[0] == 0
        assert [e.score for found in all_events(here / f"out-{form}").values() for e in found] == [0.87654, 0.5]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent.tsv", "out", "--to", "desed"], "absent.tsv: no such label file"),
        (["events.tsv", "events.tsv", "--to", "dcase"], "events.tsv exists; give --overwrite"),
        (["events.tsv", "one.txt", "--to", "audacity"], "2 recordings; a file of this form holds one"),
        (["events.tsv", "out", "--to", "ravem"], "form 'ravem' is not known. Did you mean 'raven'"),
        (["events.tsv", "out", "--to", "esc50"], "2 labels; the form esc50 holds one a recording"),
        (["tags.tsv", "out", "--to", "raven"], "tags.tsv: holds tags"),
        (["cats.tsv", "out", "--to", "task4-set"], "label 'cat' has no AudioSet id"),
        (["cats.tsv", "out", "--to", "task4-weak"], "expected <video id>_<start>_<end>"),
        (["empty.tsv", "out", "--to", "jams"], "no recording"),
        (["up.tsv", "out", "--to", "audacity"], "outside of the folder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(here, capsys, arguments, says):
    (here / "tags.tsv").write_text("a.wav\tdog\n")
    (here / "cats.tsv").write_text("filename,onset,offset,label\na.wav,0,1,cat\n")
    (here / "empty.tsv").write_text("")
    (here / "up.tsv").write_text("../a.wav\t0\t1\tx\n")
    before = sorted(path.name for path in here.iterdir())
    code, out, err = convert(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == before


# --- specimens, in the columns that the tools write


def test_raven_counts_each_selection_once_and_times_from_its_file(here):
    header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
    rows = [f"{view}\t1\t10.5\t12.25\t0.0\t8000.0" for view in ("Waveform 1", "Spectrogram 1")]
    (here / "rec.Table.1.selections.txt").write_text(
        f"{header}\tAnnotation\n" + "".join(f"1\t{row}\towl\n" for row in rows) + f"2\t{rows[0]}\tfrog\n"
    )
    expected = {"rec": (Event(10.5, 12.25, "frog"), Event(10.5, 12.25, "owl"))}
    assert read_events("rec.Table.1.selections.txt") == expected
    # Of a sequence of files, times run on; the offset in the file counts.
    (here / "two.txt").write_text(
        f"{header}\tBegin File\tFile Offset (s)\tSpecies\n"
        f"1\t{rows[1]}\tb.wav\t0.5\towl\n2\t{rows[1]}\ta.wav\t10.5\towl\n"
    )
    assert read_events("two.txt") == {"b": (Event(0.5, 2.25, "owl"),), "a": (Event(10.5, 12.25, "owl"),)}
    (here / "two.txt").write_text(
        f"{header}\tBegin File\tSpecies\n1\t{rows[1]}\tb.wav\towl\n2\t{rows[1]}\ta.wav\towl\n"
    )
    assert main(["convert", "two.txt", "out.tsv", "--to", "desed"]) == 2


def test_birdnet_names_its_recording_in_a_column_or_in_the_name_of_the_table(here):
    row = "0.0,3.0,Strix aluco,Tawny Owl,0.8712"
    header = "Start (s),End (s),Scientific name,Common name,Confidence"
    (here / "rec.BirdNET.results.csv").write_text(f"{header}\n{row}\n")
    assert read_events("rec.BirdNET.results.csv") == {"rec": (Event(0.0, 3.0, "Tawny Owl", 0.8712),)}
    (here / "all.csv").write_text(f"{header},File\n{row},/data/siteA/rec.wav\n{row},/data/siteB/rec.wav\n")
    assert list(read_events("all.csv")) == ["data/siteA/rec", "data/siteB/rec"]


def test_esc50_and_urbansound_are_tags(here):
    (here / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    )
    assert read_tags("esc50.csv") == {"1-100032-A-0": ("dog",)}
    (here / "us.csv").write_text(
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark\n"
    )
    assert read_tags("us.csv") == {"100032-3-0-0": ("dog_bark",)}


def test_audioset_names_segments_by_video_and_millisecond(here):
    (here / "strong.tsv").write_text(
        "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\nb0RFKhbpFJA_30000\t0.000\t10.000\t/m/03m9d0z\n"
    )
    assert read_events("strong.tsv") == {"b0RFKhbpFJA_30000": (Event(0.0, 10.0, "/m/03m9d0z"),)}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (
            {"namespace": "segment_open", "data": [{"time": 1, "duration": 0.5, "value": "dog", "confidence": None}]},
            (Event(1.0, 1.5, "dog"),),
        ),
        (
            {"namespace": "tag_open", "data": {"time": [0.1], "duration": [0.2], "value": ["x"], "confidence": [1.0]}},
            (Event(0.1, 0.3, "x", 1.0),),
        ),
        (
            {
                "namespace": "scaper",
                "data": [
                    {"time": 0, "duration": 10, "value": {"label": "park", "role": "background"}, "confidence": 1},
                    {"time": 2, "duration": 1, "value": {"label": "siren", "role": "foreground"}, "confidence": 1},
                ],
            },
            (Event(2.0, 3.0, "siren", 1.0),),
        ),
        ({"namespace": "tag_open", "data": []}, ()),
    ],
)
def test_jams(here, annotation, expected):
    (here / "rec.jams").write_text(json.dumps({"annotations": [annotation], "file_metadata": {}, "sandbox": {}}))
    assert read_events("rec.jams") == {"rec": expected}


@pytest.mark.parametrize(
    "document",
    [
        "[]", "{", "{}", '{"annotations": 3}', '{"annotations": [{"namespace": "chord", "data": []}]}',
        '{"annotations": [{"namespace": "tag_open", "data": [{"time": "x", "duration": 1, "value": "a"}]}]}',
        '{"annotations": [{"namespace": "tag_open", "data": [{"time": NaN, "duration": 1, "value": "a"}]}]}',
        '{"annotations": [{"namespace": "tag_open", "data": [{"time": 1, "duration": 1e10, "value": "a"}]}]}',
        '{"annotations": [{"namespace": "tag_open", "data": [{"time": 1, "duration": 1, "value": 3}]}]}',
        '{"annotations": [{"namespace": "tag_open", "data": {"time": [1], "value": []}}]}',
        '{"annotations": [{"namespace": "tag_open", "data": [{"time": 1, "duration": -1, "value": "a"}]}]}',
        '{"annotations": [{"namespace": "scaper", "data": [{"time": 1, "duration": 1, "value": "a"}]}]}',
        '{"annotations": [{"namespace": "tag_open", "data": []}, {"namespace": "segment_open", "data": []}]}',
        "[" * 100_000, '{"annotations": [{"namespace": "tag_open", "data": [{"time": ' + "1" * 5000 + "}]}]}",
    ],
)  # fmt: skip
def test_damaged_jams_files_are_one_line(here, capsys, document):
    (here / "rec.jams").write_text(document)
    code, out, err = convert(capsys, "rec.jams", "out.tsv", "--to", "desed")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "rec.jams" in err


def test_a_name_too_long_for_a_file_is_refused_before_any_is_written(here, capsys):
    (here / "events.tsv").write_text(
        f"filename\tonset\toffset\tevent_label\na.wav\t0\t1\tdog\n{'b' * 300}.wav\t0\t1\tdog\n"
    )
    code, _, err = convert(capsys, "events.tsv", "tracks", "--to", "audacity")
    assert (code, err.count("\n")) == (2, 1)
    assert "over 255 bytes" in err
    assert not (here / "tracks").exists()
