"""Event lists, tags and label tracks in the forms that exist in the field."""

import pytest

from crnn_weak.errors import DataError, LabelError
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import (
    read_audacity,
    read_event_folder,
    read_events,
    read_tags,
    recording_id,
    split_labels,
    write_audacity,
    write_events,
    write_tags,
)

HORN = "Air horn, truck horn"


def saved(tmp_path, text, name="list.tsv"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "strip_y", "expected"),
    [
        ("a.wav", False, "a"),
        ("audio\\deep/b.v2.FLAC", False, "audio/deep/b.v2"),
        ("-5QrBL6MzLg_60.000_70.000", False, "-5QrBL6MzLg_60.000_70.000"),
        ("Y-5QrBL6MzLg_60.000_70.000.wav  ", True, "-5QrBL6MzLg_60.000_70.000"),
        ("Y-5QrBL6MzLg_60.000_70.000.wav", False, "Y-5QrBL6MzLg_60.000_70.000"),
        ("YCwoyCnYsY1_0.000_10.000.wav", True, "YCwoyCnYsY1_0.000_10.000"),  # the id itself begins with Y
        ("Yard.wav", True, "Yard"),
    ],
)
def test_clip_ids(name, strip_y, expected):
    assert recording_id(name, strip_y=strip_y) == expected


EXPECTED = {"-a_1": (Event(0.5, 2.0, "Car"), Event(1.0, 3.25, HORN)), "b": (Event(0.0, 0.0, "Bus"),)}
BODY = [("-a_1.wav", "1", "3.250", HORN), ("b.wav", "0", "0", "Bus"), ("-a_1.wav", "0.500", "2.000", "Car")]
HEADER = ("filename", "onset", "offset", "event_label")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", ["\t", ";", ","])
@pytest.mark.parametrize("last", ["", "end"])
def test_event_lists_with_any_separator_header_and_line_end(tmp_path, separator, end, header, last):
    rows = [
        separator.join(f'"{f}"' if separator in f else f for f in row) for row in ([HEADER] if header else []) + BODY
    ]
    path = saved(tmp_path, end.join(rows) + (end if last else ""))
    assert read_events(path) == EXPECTED


def test_a_header_may_put_columns_in_any_order_and_bring_scores(tmp_path):
    path = saved(tmp_path, "\ufeffEvent_Label,Offset,Onset,score,File\nCar,2,1,0.75,x/a.wav\n")
    assert read_events(path) == {"x/a": (Event(1.0, 2.0, "Car", 0.75),)}


def test_rows_with_a_scene_and_rows_of_a_name_only(tmp_path):
    path = saved(tmp_path, "audio/a.wav\tstreet\t0.1\t2.5\tcar\naudio/b.wav\n")
    assert read_events(path) == {"audio/a": (Event(0.1, 2.5, "car"),), "audio/b": ()}


def test_an_empty_list_is_empty(tmp_path):
    assert read_events(saved(tmp_path, "")) == {}
    assert read_events(saved(tmp_path, "filename\tonset\toffset\tevent_label\n")) == {}
    assert read_tags(saved(tmp_path, "\n \n")) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.wav\t0\t1\tCar\nb.wav\t3\t2\tCar\n", "line 2: event 'Car' from 3 to 2"),
        ("a.wav\t0\t1\tCar\n\nb.wav\t1\t2\n", "line 3: 3 columns"),
        ("a.wav\t0\t1\tCar\nb.wav\tx\t2\tCar\n", "line 2"),
        ("filename\tonset\toffset\tevent_label\na.wav\tone\t2\tCar\n", "line 2: 'one' is not a time"),
        ("filename\tonset\toffset\tevent_label\na.wav\t1\t2\t\n", "line 2: the event from 1 to 2 s has no label"),
        ("filename\tonset\tevent_label\na.wav\t1\tCar\n", "line 1: the header is 'filename, onset, event_label"),
        ("a.wav\t-1\t1\tCar\n", "line 1: event 'Car' from -1 to 1"),
        ("a.wav\t0\tnan\tCar\n", "line 1"),
        ("x\0y", "not a text file"),
    ],
)
def test_bad_event_lists_name_file_and_line(tmp_path, text, says):
    with pytest.raises(DataError, match=says) as error:
        read_events(saved(tmp_path, text))
    assert "list.tsv" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(DataError, match="no such label file"):
        read_events(tmp_path / "absent.tsv")
    (tmp_path / "latin.tsv").write_bytes(b"a.wav\t0\t1\tcaf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_events(tmp_path / "latin.tsv")
    with pytest.raises(DataError, match="cannot be read"):
        read_events(tmp_path)


def test_a_list_of_places_in_videos_is_no_event_list(tmp_path):
    path = saved(tmp_path, "-a_30.000_40.000.wav\t30.000\t40.000\tCar\nb_0.000_10.000.wav\t0.000\t10.000\tCar\n")
    with pytest.raises(DataError, match="place"):
        read_events(path)
    assert read_tags(path) == {"-a_30.000_40.000": ("Car",), "b_0.000_10.000": ("Car",)}
    # Clips that are cut from the start: events over the whole clip look the same, and are events.
    assert read_events(saved(tmp_path, "b_0.000_10.000.wav\t0.000\t10.000\tCar\n"))


def test_unknown_labels_are_named_with_their_line(tmp_path):
    path = saved(tmp_path, "a.wav\t0\t1\tCar\na.wav\t0\t1\tCra\n")
    with pytest.raises(LabelError, match=r"line 2: label 'Cra' .* 'Car'"):
        read_events(path, classes=["Car", "Bus"])
    with pytest.raises(LabelError, match="line 2"):
        read_tags(path, classes=["Car", "Bus"], strict=True)


def test_written_event_lists(tmp_path):
    path = tmp_path / "out" / "events.tsv"
    write_events(path, {"b": [Event(0.5, 1.0, HORN), Event(0.0004, 0.25, "Car")], "a": []})
    assert path.read_bytes() == (
        b"filename\tonset\toffset\tevent_label\na.wav\nb.wav\t0.000\t0.250\tCar\n"
        b"b.wav\t0.500\t1.000\tAir horn, truck horn\n"
    )
    write_events(path, {"b": [Event(0.5, 1.0, HORN, 0.875)]}, scores=True, separator=",")
    assert path.read_text().splitlines()[1] == 'b.wav,0.500,1.000,"Air horn, truck horn",0.8750'
    assert read_events(path) == {"b": (Event(0.5, 1.0, HORN, 0.875),)}


# --- Audacity


def test_audacity_tracks_edited_by_hand(tmp_path):
    path = saved(tmp_path, "1,5\t2,25\tdog\r\n\\\t100.0\t3000.0\r\n0.25\t0.25\tclick\r\n", "rec.txt")
    assert read_audacity(path) == (Event(0.25, 0.25, "click"), Event(1.5, 2.25, "dog"))
    assert read_events(path) == {"rec": read_audacity(path)}
    saved(tmp_path, "", "silent.txt")
    assert read_event_folder(tmp_path) == {"rec": read_audacity(path), "silent": ()}


def test_an_audacity_label_needs_its_text(tmp_path):
    with pytest.raises(DataError, match=r"rec.txt, line 2: .* no label"):
        read_audacity(saved(tmp_path, "0\t1\ta\n1\t2\t\n", "rec.txt"))
    with pytest.raises(DataError, match="line 1: 2 columns"):
        read_audacity(saved(tmp_path, "0\t1\n", "rec.txt"))
    with pytest.raises(DataError, match="no such label file"):
        read_event_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no label files"):
        read_event_folder(tmp_path / "empty")


def test_written_audacity_tracks(tmp_path):
    write_audacity(tmp_path / "a.txt", [Event(1, 2, "b"), Event(0.1234567, 1, HORN)])
    assert (tmp_path / "a.txt").read_text() == "0.123457\t1.000000\tAir horn, truck horn\n1.000000\t2.000000\tb\n"


# --- tags


@pytest.mark.parametrize(
    "text",
    [
        f"a.wav\tTrain\na.wav\t{HORN}\nb.wav\t\n",  # long form
        f"filename\tevent_label\na.wav\tTrain\na.wav\t{HORN}\nb.wav\t\n",  # ... with header
        f"filename\tevent_labels\na.wav\tTrain,{HORN}\nb.wav\n",  # DESED
        f"a.wav\tTrain,{HORN}\nb.wav\n",
        f"a.wav\tTrain;{HORN};\nb.wav\t\n",  # dcase_util
        f"a.wav\thome\tTrain;{HORN};\trec0\nb.wav\n",
        f'file,labels,licence\r\na.wav,"Train,{HORN}",CC0\r\nb.wav,,CC0\r\n',
        f'a.wav,"Train,{HORN}"\nb.wav\n',
        f"a.wav;Train\na.wav;{HORN}\nb.wav;\n",
        f"a.wav\t30.000\t40.000\tTrain\na.wav\t30.000\t40.000\t{HORN}\nb.wav\n",  # the organizers' weak form
    ],
)
def test_tags_in_every_form(tmp_path, text):
    assert read_tags(saved(tmp_path, text)) == {"a": ("Train", HORN), "b": ()}


def test_the_organizers_set_file_is_read_by_its_audioset_ids(tmp_path):
    path = saved(
        tmp_path, '-G,0.000,10.000,"Train horn,Air horn, truck horn,Train","/m/0284vy3,/m/05x_td,/m/07jdr"\r\n'
    )
    assert read_tags(path) == {"-G_0.000_10.000": ("Train horn", HORN, "Train")}


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("dog, cat", (), ["dog, cat"]),  # nothing says that these are two
        ("dog, cat", ("dog", "cat"), ["dog", "cat"]),
        (HORN, ("Air horn", HORN), [HORN]),
        ("a;b, c", (), ["a", "b, c"]),
        ("", (), []),
    ],
)
def test_commas_in_and_between_labels(text, known, expected):
    assert split_labels(text, known) == expected


def test_a_joined_cell_is_split_by_labels_that_stand_alone_elsewhere(tmp_path):
    path = saved(tmp_path, 'filename,labels\na.wav,"dog, cat"\nb.wav,dog\nc.wav,cat\n')
    assert read_tags(path)["a"] == ("dog", "cat")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("filename,labels\na.wav,dog,cat\n", "line 2: 3 columns, the header has 2"),
        ("a.wav,dog,cat\n", "line 1: 3 columns"),
        ("filename,onset\na.wav,1\n", "line 1: the header"),
        ("filename,label\n,dog\n", "line 2: no file name"),
    ],
)
def test_bad_tag_files_name_file_and_line(tmp_path, text, says):
    with pytest.raises(DataError, match=says) as error:
        read_tags(saved(tmp_path, text))
    assert "list.tsv" in str(error.value)


def test_written_tags(tmp_path):
    write_tags(tmp_path / "t.tsv", {"b": [], "a": [HORN, "Car"]})
    assert (tmp_path / "t.tsv").read_text() == f"filename\tevent_label\na.wav\t{HORN}\na.wav\tCar\nb.wav\t\n"


def test_lists_that_come_with_sed_eval(metric_oracle):
    """Three to five columns, with and without file and scene, empty files, rows of a name only."""
    folder = metric_oracle / "sed_eval" / "sound_event"
    counts = {p.name: sum(map(len, read_events(p).values())) for p in folder.glob("*.txt") if "file_list" not in p.name}
    assert counts["street_fold1_reference.txt"] == 142
    assert counts["office_snr0_high_v2.txt"] == 68
    assert counts["binary4.txt"] == 0
    binary = read_events(folder / "binary5.txt")
    assert (len(binary), sum(map(len, binary.values()))) == (6, 4)
    tags = read_tags(metric_oracle / "sed_eval" / "audio_tagging" / "reference.txt")
    assert len(tags) == 816
    assert tags["CR_lounge_200110_1601.s0_chunk0.16kHz"] == ("child speech", "video game/tv")
