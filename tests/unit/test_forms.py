"""Forms of label files: each is read as what it is, or refused; never as something else."""

import json
from pathlib import Path

import pytest

from crnn_weak.cli import main
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.labels.events import Event
from crnn_weak.labels.files import read_events, read_files, read_tags
from crnn_weak.labels.forms import FORMS, read_label_file


def saved(tmp_path, content, name="list.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def evaluated(capsys, tmp_path, reference, estimated, *options):
    """Return the exit code and the segment-based or tagging F1."""
    paths = [str(saved(tmp_path, text, name)) for text, name in ((reference, "ref.txt"), (estimated, "est.txt"))]
    code = main(["evaluate", "--reference", paths[0], "--estimated", paths[1], "--format", "json", *options])
    out, err = capsys.readouterr()
    if code:
        assert (code, out, err.count("\n")) == (2, "", 1)
        return code, err
    found = json.loads(out)
    return code, (found.get("segment") or found["tagging"])["f_score"]


URBANSOUND = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


def test_urbansounds_places_in_freesound_recordings_are_no_events(capsys, tmp_path):
    rows = ["1-3-0-0.wav,1,{},1,1,3,dog_bark\n", "2-2-0-0.wav,2,{},1,1,2,children_playing\n"]
    reference = URBANSOUND + rows[0].format("0.0,4.0") + rows[1].format("6.0,8.0")
    estimated = URBANSOUND + rows[0].format("6.0,8.0") + rows[1].format("0.0,4.0")
    code, err = evaluated(capsys, tmp_path, reference, estimated)
    assert code == 2
    assert "--events or --tags" in err
    assert evaluated(capsys, tmp_path, reference, estimated, "--tags") == (0, 1.0)
    code, err = evaluated(capsys, tmp_path, reference, estimated, "--events")
    assert code == 2
    assert "holds tags (UrbanSound8K's metadata)" in err


def test_decimal_commas_between_semicolons_are_times(tmp_path):
    path = saved(tmp_path, "0,5;1,5;Hund\n2;2,25;Katze\n")
    assert read_events(path) == {"list": (Event(0.5, 1.5, "Hund"), Event(2.0, 2.25, "Katze"))}


def test_numbers_may_be_names_of_files(capsys, tmp_path):
    reference, estimated = "1\t5.0\t6.0\tdog\n2\t7.0\t8.0\tcat\n", "1\t5.0\t6.0\tcat\n2\t7.0\t8.0\tdog\n"
    assert read_events(saved(tmp_path, reference)) == {"1": (Event(5.0, 6.0, "dog"),), "2": (Event(7.0, 8.0, "cat"),)}
    assert evaluated(capsys, tmp_path, reference, estimated) == (0, 0.0)
    # With blanks, the first number may as well be an onset.
    code, err = evaluated(capsys, tmp_path, reference.replace("\t", " "), estimated.replace("\t", " "))
    assert code == 2
    assert "may be of the form dcase or audacity" in err
    code, score = evaluated(
        capsys, tmp_path, reference.replace("\t", " "), estimated.replace("\t", " "), "--input-format", "dcase"
    )
    assert (code, score) == (0, 0.0)


@pytest.mark.parametrize("comment", ["# v2\n", "# v2\t1\n", "#\n"])
def test_a_comment_is_no_clip(capsys, tmp_path, comment):
    table = "filename\tevent_label\na.wav\tdog\n"
    code, err = evaluated(capsys, tmp_path, comment + table, table)
    assert code == 2
    assert "ref.txt, line 1:" in err
    assert "remove lines that begin with #" in err


def test_blanks_may_separate_times_and_label(tmp_path):
    path = saved(tmp_path, "0.0 1.5 verse\n1.5  2.0  second verse\n")
    assert read_events(path) == {"list": (Event(0.0, 1.5, "verse"), Event(1.5, 2.0, "second verse"))}
    assert read_events(saved(tmp_path, "a.wav 0.0 1.5 verse\n")) == {"a": (Event(0.0, 1.5, "verse"),)}


def test_durations_become_offsets(tmp_path):
    path = saved(tmp_path, "filename\tonset\tduration\tevent_label\na.wav\t0.1\t0.2\tdog\n")
    assert read_events(path) == {"a": (Event(0.1, 0.3, "dog"),)}
    assert read_label_file(path).kind == "events"


# --- more of the same kinds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Datei,Anfang,Ende,Klasse\na.wav,0,1,Hund\n", "line 1"),  # a header in another language
        ("Datei\tKlasse\na.wav\tHund\n", "line 1: 'Datei' is no audio file's name"),
        ("filename,début,fin,label\na.wav,0,1,x\n", "column 'début' is not known"),
        ("filename,onset_ms,offset_ms,label\na.wav,0,1500,x\n", "line 1: the column 'onset_ms'"),
        ("filename,label,present\na.wav,x,NOT_PRESENT\n", "column 'present' is not known"),
        ("filename,path,label\na.wav,b.wav,x\n", "'filename' and 'path' may both be the file"),
        ("filename,start,onset,end,label\na.wav,0,1,2,x\n", "may both be the onset"),
        ("filename,label\na.wav,x\nfilename,label\nb.wav,y\n", "line 3: the header is repeated"),
        ("a.wav\t0\t1\tx\nfilename\tonset\toffset\tevent_label\n", "line 2: 'onset' is not a time"),
        ("a.wav\t0\t1\tx\nb.wav\t0\t1\tx\t0.5\n", "line 2: 5 columns"),  # ragged
        ("filename,onset,offset,event_label\na.wav,0,1\n", "line 2: 3 columns, the header has 4"),
        ("dog\ta.wav\ncat\tb.wav\n", "line 1: 'dog' is no audio file's name"),  # swapped columns
        ("dog\t0\t1\ta.wav\n", "the columns are in another order"),
        ("0\t1\ta.wav\tdog\n", "line 1"),
        ("0\t1\ta.wav\n", "the columns are in another order"),
        ("1\t5.0\t6.0\n2\t7.0\t8.0\n", "three numbers a row"),
        ("a.wav\t1,500\t2000.5\tdog\n", "the comma may divide thousands"),
        ("SPEAKER 1 1 0.5 1.0 <NA> <NA> dog <NA> <NA>\n", "an RTTM file"),
        ("SPEAKER a 1 0.5 1.0 <NA> <NA> dog <NA> <NA>\n", "line 1"),
        ('--PJHxphWEs, 30.000, 40.000, "/t/dd00088,/m/0k4j"\n', "places in videos"),
        (
            "# YTID, start_seconds, end_seconds, positive_labels\nx, 0.000, 1.000, /m/0k4j\n",
            "remove lines that begin with #",
        ),
        ("a.wav\t1\t0\tdog\n", "line 1: event 'dog' from 1 to 0"),
        ("a.wav,0,5,1,5,Hund\n", "line 1: 6 columns"),  # decimal commas between commas
        ("a.wav\t0:01\t0:02\tdog\n", "'0:01' is not a time in seconds"),
        ("a.wav\t1_0\t2_0\tdog\n", "'1_0' is not a time in seconds"),
        ("a.wav\t1700000000\t1700000001\tdog\n", "line 1: event 'dog' ends at 1700000001 s, after more than 11 days"),
        ("filename,onset,offset,label\na.wav,0,1e300,dog\n", "after more than 11 days"),
        ("a.wav\t0\t" + "9" * 400 + "\tdog\n", "is not a time in seconds"),
        ('a.wav,0,1,"dog\nb.wav,0,1,cat\n', "line 1: quotation marks do not match"),
        ("a.wav\t0\t1\tdog\x1b[2J\n", r"line 1: label: 'dog\\x1b\[2J' holds the control character U\+001B"),
        ('"a\tb.wav"\t0\t1\tdog\n', "control character U\\+0009"),
        ("a.wav\t0\t1\tdog\x0bcat\n", "control character U\\+000B"),
        ("a.wav\t0\t1\tdog\u2028b.wav\t0\t1\tcat\n", "line 1: 7 columns"),
        ("a.wav\t0\t1\tdog\na.flac\t0\t1\tdog\n", "line 2: 'a.wav' and 'a.flac' differ only in their suffix"),
        ("filename,onset,offset,label,score\na.wav,0,1,x,high\n", "line 2: 'high' is not a score"),
    ],
)
def test_what_is_of_no_form_is_refused_with_its_line(capsys, tmp_path, text, says):
    path = saved(tmp_path, text)
    with pytest.raises(DataError, match=says) as error:
        read_tags(path)
    assert "list.txt" in str(error.value)
    assert "\n" not in str(error.value)
    code, _ = evaluated(capsys, tmp_path, text, text)
    assert code == 2


def test_tut_sound_events_and_audacity_tracks_with_numbers(tmp_path):
    path = saved(tmp_path, "audio/street/a001.wav\tstreet\t1.58\t3.5\tcar\tm\ta001\n")
    assert read_events(path) == {"audio/street/a001": (Event(1.58, 3.5, "car"),)}
    assert read_events(saved(tmp_path, "0.0\t1.5\t1\n1.5\t3.0\t2\n")) == {
        "list": (Event(0.0, 1.5, "1"), Event(1.5, 3.0, "2"))
    }
    assert read_events(saved(tmp_path, "1\t5.0\t6.0\n"), form="audacity") == {"list": (Event(1.0, 5.0, "6.0"),)}


def test_raven_tables_with_two_columns_of_labels_are_refused(tmp_path):
    header = "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\tAnnotation\n"
    with pytest.raises(DataError, match="'annotation' and 'species' may both be the label"):
        read_events(saved(tmp_path, header + "1\t0\t1\towl\tloud\n"))


EVENTS = {"a": (Event(0.5, 2.0, "dog"),), "b": (Event(0.0, 0.25, "café"),)}
TABLE = "filename\tonset\toffset\tevent_label\na.wav\t0.5\t2.0\tdog\nb.wav\t0\t0.25\tcafé\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode("utf-8-sig"),
        TABLE.encode("utf-16"),
        TABLE.replace("é", "e\u0301").encode(),  # decomposed
        TABLE.replace("\n", "\r").encode(),
        TABLE.replace("\n", "\r\n\r\n").encode(),
        TABLE.rstrip("\n").encode(),
        TABLE.replace("\t", ";").replace(".0", ",0").replace("0.", "0,").encode(),
        "".join("\t".join(f'"{field}"' for field in row.split("\t")) + "\n" for row in TABLE.splitlines()).encode(),
        TABLE.replace("filename", " File Name ").replace("onset", "Start (s)").replace("offset", "END").encode(),
        TABLE.replace("a.wav", ".\\a.wav").encode(),
    ],
)  # fmt: skip
def test_encodings_line_ends_quotes_and_commas_change_nothing(tmp_path, content):
    assert read_events(saved(tmp_path, content)) == EVENTS


def test_latin_1_and_binary_are_refused(tmp_path):
    for content in (TABLE.encode("latin-1"), b"\x00\x01", TABLE.encode("utf-16-le")):
        with pytest.raises(DataError, match="not a text file in UTF-8"):
            read_events(saved(tmp_path, content))


@pytest.mark.parametrize(
    "label", ["none", "None", "nan", "NA", "null", "-", ".", "...", "1", "0.5", "1e5", "True", "#1"]
)
def test_any_string_is_a_label(capsys, tmp_path, label):
    text = f"filename\tonset\toffset\tevent_label\na.wav\t0\t1\t{label}\nb.wav\t0\t1\tother\n"
    assert read_events(saved(tmp_path, text))["a"] == (Event(0.0, 1.0, label),)
    assert evaluated(capsys, tmp_path, text, text) == (0, 1.0)


def test_naming_the_form_decides(tmp_path):
    path = saved(tmp_path, "clip1\tdog\nclip2\tcat\n")
    with pytest.raises(DataError, match=r"'clip1' is no audio file's name.*--input-format NAME"):
        read_tags(path)
    assert read_tags(path, form="dcase-tags") == {"clip1": ("dog",), "clip2": ("cat",)}
    path = saved(tmp_path, "filename,label,present\na.wav,x,y\n")
    assert read_tags(path, form="desed-tags") == {"a": ("x",)}
    with pytest.raises(DataError, match="The form asked for is raven"):
        read_events(path, form="raven")
    with pytest.raises(ConfigError, match=r"form 'ravem' is not known. Did you mean 'raven'"):
        read_events(path, form="ravem")
    with pytest.raises(DataError, match=r"line 2: 'b.wav' has no|line 1: 'name' has no audio suffix"):
        read_tags(saved(tmp_path, "name\tlabel\nb.wav\tx\n"), form="dcase-tags")


def test_a_label_that_could_not_be_written_is_refused_where_it_is_read(tmp_path):
    with pytest.raises(DataError, match=r"line 2: label 'dog\\xa0' begins or ends with U\+00A0"):
        read_tags(saved(tmp_path, "filename\tevent_label\na.wav\tdog\u00a0\n"))


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "a.txt").write_text("0\t1\tdog\n")

    def walk(folder, onerror):
        yield str(folder), ["site"], ["a.txt"]
        onerror(PermissionError(13, "Permission denied", str(folder / "site")))

    monkeypatch.setattr("crnn_weak.labels.files.os.walk", walk)  # root may read everything
    with pytest.raises(DataError, match="site: Permission denied"):
        read_files(tmp_path, form="audacity")


def test_the_page_lists_every_form_with_what_it_holds():
    page = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    assert {row[1]: row[4] for row in rows} == {form.name: form.kind for form in FORMS.values()}
