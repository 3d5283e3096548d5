"""Label files as people have them (S1 to S17 were once read wrongly in silence): read rightly, or refused in a line."""

import re
from pathlib import Path

import pytest

from crnn_weak.errors import ConfigError, DataError
from crnn_weak.labels.events import Event
from crnn_weak.labels.reading import read_classes, read_events, read_files, read_labels, read_tags
from crnn_weak.labels.tables import KINDS

HORN = "Air horn, truck horn"
DOG = {"a": (Event(0.5, 1.5, "dog"),)}
SCORED = {"a": (Event(0.5, 1.5, "dog", 0.9),)}
TAGS = {"a": ("dog", "cat"), "b": ()}
DESED = "filename\tonset\toffset\tevent_label\n"
RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
ROW = "Spectrogram 1\t1\t0.5\t1.5\t0.0\t8000.0"
BIRDNET = "Start (s),End (s),Scientific name,Common name,Confidence"
URBANSOUND = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
WEAK = "abc_30.000_40.000.wav\t30.000\t40.000\tCar\nxyz_0.000_10.000.wav\t0.000\t10.000\tCar\n"
STRONG = "abc_30.000_40.000.wav\t0.5\t4.2\tCar\nxyz_0.000_10.000.wav\t0\t0\tCar\n"
FROM_0 = "xyz_0.000_10.000.wav\t0.000\t10.000\tCar\n"
ESC50 = "filename,fold,target,category,esc10,src_file,take\n"
FIELD = "File,Site,Sounds,Length (s),class\na.wav,yard,dog; cat,4.0,x\nb.wav,roof,,3.2,y\n"


def saved(tmp_path, content, name="list.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


EVENT_LISTS = {
    "a header": (DESED + "a.wav\t0.5\t1.5\tdog\n", DOG),
    "quotes": ('"filename"\t"onset"\t"offset"\t"event_label"\n"a.wav"\t"0.5"\t"1.5"\t"dog"\n', DOG),
    "semicolons": ("filename;onset;offset;event_label\na.wav;0.5;1.5;dog\n", DOG),
    "any order": ("\ufeffLabel,END,Start (s),source,File Name\ndog,1.5,.5,x,a.wav\n", DOG),
    "durations": ("filename,onset,duration,label\na.wav,0.5,1.0,dog\n", DOG),
    "a recording's duration": ("filename,duration,onset,offset,label\na.wav,10,0.5,1.5,dog\n", DOG),
    "S8 scores": ("file,start,end,label,confidence\na.wav,0.5,1.5,dog,0.9\n", SCORED),
    "S3 an index column": (",filename,onset,offset,label\n0,a.wav,0.5,1.5,dog\n", DOG),
    "trailing tabs": ("filename\tonset\toffset\tlabel\t\t\na.wav\t0.5\t1.5\tdog\t\t\t\n", DOG),
    "empty rows": ("filename,onset,offset,label\n,,,\na.wav,0.5,1.5,dog\nNaN,NA,nan,\n\n", DOG),
    "minutes and hours": (
        "filename,onset,offset,label\na.wav,1:05,1:05.5,dog\na.wav,75:00,01:15:01,cat\n",
        {"a": (Event(65.0, 65.5, "dog"), Event(4500.0, 4501.0, "cat"))},
    ),
    "a first line for spreadsheets": ("sep=;\nfile;onset;offset;label\na.wav;0.5;1.5;dog\n", DOG),
    "a first line alone": ("sep=;\n", {}),
    "no header": ("a.wav\t0.5\t1.5\tdog\n", DOG),
    "no header, a score": ("a.wav\t 0.5\t 1.5\tdog\t0.9\n", SCORED),
    "TUT Sound Events": ("a.wav\tstreet\t0.5\t1.5\tdog\tm\ta001\n", DOG),
    "an Audacity track": ("0.5\t1.5\tdog\n\\\t100.0\t3000.0\n", DOG),
    "a track with a header": ("onset,offset,label\n0.5,1.5,dog\n", DOG),
    "BirdNET's track": ("0.5\t1.5\tdog\t0.9\n", SCORED),
    "BirdNET's table": (f"{BIRDNET}\n0.5,1.5,Canis,dog,0.9\n", SCORED),
    "BirdNET's table of files": (f"{BIRDNET},File\n0.5,1.5,Canis,dog,0.9,a.wav\n", SCORED),
    "AudioSet": ("segment_id\tstart_time_seconds\tend_time_seconds\tlabel\na\t0.5\t1.5\tdog\n", DOG),
    "Raven": (f"{RAVEN}\tAnnotation\n1\tWaveform 1\t1\t0.5\t1.5\t0\t1\tdog\n1\t{ROW}\tdog\n", DOG),  # a row per view
    "Raven, several files": (
        f"{RAVEN}\tBegin File\tFile Offset (s)\tSpecies\n1\t{ROW}\tb.wav\t0.25\towl\n2\t{ROW}\ta.wav\t0.5\tdog\n",
        {"b": (Event(0.25, 1.25, "owl"),), **DOG},
    ),
    "Raven without rows": (f"{RAVEN}\tAnnotation\n", {}),
    "no events": (DESED + "a.wav\nb.wav\tNaN\tNaN\tNaN\nc.wav\t\t\t\n", {"a": (), "b": (), "c": ()}),
    "no header, without events": ("b.wav\na.wav\t0.5\t1.5\tdog\n", {"b": (), **DOG}),
    "S7 nothing found": ("filename,onset,offset,label,confidence\na.wav,0,3,nocall,1\n", {"a": ()}),
    "zero length": (DESED + "a.wav\t0\t0\tdog\n", {"a": (Event(0.0, 0.0, "dog"),)}),
    "odd labels": (
        'file,onset,offset,label\na.wav,0,1,1\na.wav,0,2,None\na.wav,0,3,#1\na.wav,0,4,"six"" pipe"\n',
        {"a": (Event(0, 1, "1"), Event(0, 2, "None"), Event(0, 3, "#1"), Event(0, 4, 'six" pipe'))},
    ),
    "an empty file": ("", {}),
    "folders": (
        DESED + ".\\siteA\\r.wav\t0\t1\tdog\n/siteB/r.wav\t0\t1\tcat\n",
        {"siteA/r": (Event(0.0, 1.0, "dog"),), "siteB/r": (Event(0.0, 1.0, "cat"),)},
    ),
}  # fmt: skip
TAG_LISTS = {
    "one tag a row": ("filename\tevent_label\na.wav\tdog\na.wav\tcat\nb.wav\t\n", TAGS),
    "several tags": ('file,labels,licence\r\na.wav,"dog,cat",CC0\r\nb.wav,,CC0\r\n', TAGS),
    "several tags, semicolons": ("file,tags\na.wav,dog;cat;\nb.wav\n", TAGS),
    "no header": ("a.wav\tdog\na.wav\tcat\nb.wav\n", TAGS),
    "dcase_util": ("a.wav\thome\tdog;cat;\trec0\nb.wav\n", TAGS),
    "one-hot": (",filename,dog,cat\n0,a.wav,1,1\n1,b.wav,0,0\n", TAGS),
    "scores": ("filename,label,probability\na.wav,dog,0.0\na.wav,cat,0.1\nb.wav,,\n", TAGS),
    "missing values": ("filename,label\na.wav,dog\na.wav,cat\nb.wav,NaN\n", TAGS),
    "nothing and something": ("filename,labels\na.wav,dog;nocall;cat\nb.wav,nocall\n", TAGS),
    "UrbanSound8K": (URBANSOUND + "a.wav,1,6.0,8.0,1,5,3,dog\n", {"a": ("dog",)}),
    "ESC-50": (ESC50 + "1-100032-A-0.wav,1,0,dog,True,100032,A\n", {"1-100032-A-0": ("dog",)}),
    "the organizers' weak list": (
        f"-a_30.000_40.000.wav\t30.000\t40.000\t{HORN}\r\nb_0.000_10.000.wav\t0.000\t10.000\tCar\r\n",
        {"-a_30.000_40.000": (HORN,), "b_0.000_10.000": ("Car",)},
    ),
    "task 4's set file": (f'-G,0,10,"Train,{HORN}","/m/07jdr,/m/05x_td"\r\n', {"-G_0.000_10.000": ("Train", HORN)}),
    "events as tags": ("a.wav\t0\t1\tdog\na.wav\t3\t4\tcat\nb.wav\n", TAGS),
    "commas in a label": (f'file,labels\na.wav,"Train,{HORN}"\n', {"a": ("Train", HORN)}),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), EVENT_LISTS.values(), ids=EVENT_LISTS)
def test_event_lists(tmp_path, content, expected):
    assert read_events(saved(tmp_path, content, "a.txt")) == expected


@pytest.mark.parametrize(("content", "expected"), TAG_LISTS.values(), ids=TAG_LISTS)
def test_tag_lists(tmp_path, content, expected):
    assert read_tags(saved(tmp_path, content)) == expected


HEADER = "filename,onset,offset,label\n"
REFUSED = {
    # without a header
    "S1 label before file": ("dog,y1.wav\n", "line 1: neither a header"),
    "S1 events with commas": ("0.5,1.5,dog,y.wav\n", "line 1: neither a header"),
    "S3 an index without a header": ("0,a.wav,0.5,1.5,dog\n", "line 1: neither a header"),
    "S4 numbers for a header": ("0,1,2,3\na.wav,0.5,1.5,dog\n", "line 1: neither a header"),
    "S11 blanks": ("a.wav dog 0.5 1.5 0.9\n", "line 1: neither a header"),
    "S15 four numbers, tabs": ("10\t14\t30\t10\n", "line 1: '10, 14, 30, 10' has no layout of a list without a header"),
    "durations of files": ("a.wav\t10.0\n", "has no layout of a list .* no number as label"),
    "a list of files": ("a.wav\nb.wav\n", "line 1: 'a.wav' has no layout of a list"),
    "a file name as label": ("0\t1\ta.wav\n", "label 'a.wav' is a file name"),
    "another number of columns": ("a.wav\t0\t1\tx\nb.wav\t0\t1\tx\t0.5\n", "line 2: .* the rows before have"),
    "a track with another fourth column": ("0\t1\ta\t7\n", "'0, 1, a, 7' has no layout of a list"),
    "a torn line": ("a.wav\tdog\nsite\n", "line 2: 'site', but the rows before"),
    "a file name with commas alone": ("a.wav\t0\t1\tdog\nb.wav,0,1,c.wav\n", "line 2"),
    # headers
    "S5 an id": ("id,onset,offset,label\n7,0,1,dog\n", "no column of the file, and 'id' may be one. Known names: f"),
    "milliseconds": ("filename,onset_ms,offset_ms,label\na.wav,0,1500,x\n", "'onset_ms' is in ms; .*divide by 1000"),
    "a column that may say which rows count": ("filename,label,present\na.wav,x,0\nb.wav,x,1\n", "'present' holds"),
    "S17 two columns of labels": ("filename,category,tags\na.wav,x,y\n", "'category' and 'tags' are both labels"),
    "no offset": ("filename,onset,label\na.wav,1,x\n", "no column of the offset"),
    "no label": ("filename,onset\na.wav,1\n", "line 1: no column of the label. Known names: event_label"),
    "a repeated header": ("filename,label\na.wav,x\nfilename,label\nb.wav,y\n", "line 3: the header is repeated"),
    "a comment below": (HEADER + "# v2\n", "line 2: a comment"),
    "one class in two columns": ("filename,dog,cat,dog\na.wav,1,0,1\n", "two columns have one name"),
    "one column of 0 and 1": ("filename,dog\na.wav,1\n", "no column of the label, nor columns of 0 and 1"),
    "Raven with two columns of labels": (
        f"{RAVEN}\tSpecies\tAnnotation\n1\t{ROW}\towl\tloud\n",
        "the columns 'Species' and 'Annotation' are both labels",
    ),
    "Raven without labels": (f"{RAVEN}\n1\t{ROW}\n", "no column of the label"),
    "Raven of several recordings": (
        f"{RAVEN}\tBegin File\tSpecies\n1\t{ROW}\tb.wav\towl\n2\t{ROW}\ta.wav\towl\n",
        "without the column File Offset",
    ),
    # fields
    "no file name": ("filename,label\n,dog\n", "line 2: no file name"),
    "no event label": (HEADER + "a.wav,0,1,\n", "line 2: label '' is empty"),
    "no time": (HEADER + "a.wav,one,2,Car\n", "line 2: 'one' is not a time"),
    "times out of order": (HEADER + "a.wav,3,2,Car\n", "line 2: an event from 3 to 2"),
    "S12 a decimal comma": (HEADER + 'a.wav,0,"1,500",dog\n', "line 2: '1,500' is not a time in seconds with a dec"),
    "scores of columns of 0 and 1": ("filename,score,dog,cat\na.wav,0.5,1,0\n", "no column of the label"),
    "a missing field": (HEADER + "a.wav,0,1\n", "line 2: 3 columns, the header has 4"),
    "dates": (HEADER + "a.wav,1700000000,1700000001,dog\n", "after more than 11 days"),
    "a long number": (HEADER + f"a.wav,0,{'9' * 400},dog\n", "is not a time"),
    "a score in words": ("file,onset,offset,label,score\na.wav,0,1,x,high\n", "line 2: 'high' is not a score"),
    "S9 labels in brackets": ("filename,labels\na.wav,\"['dog', 'cat']\"\n", "label .* is a list in brackets"),
    "S9 an empty list": ("filename,labels\na.wav,[]\n", "is a list in brackets"),
    "S10 labels with a semicolon in events": (HEADER + "a.wav,0,1,dog;cat\n", "holds ; or |, which join labels"),
    "S10 labels with a bar": ("filename,labels\na.wav,dog|cat\n", "holds ; or |, which join labels"),
    "labels with a comma in one label": ('filename,label\na.wav,"dog,cat"\n', "comma without a blank"),
    "S10 one label or two": ('filename,labels\na.wav,"dog, cat"\nb.wav,dog\n', "'dog, cat' may be one label or sev"),
    "one label or two, all joined": ('filename,labels\na.wav,"dog, cat"\nb.wav,"cat, owl"\n', "since 'cat'"),
    "a quote without its end": (HEADER + 'a.wav,0,1,"dog\nb.wav,0,1,cat\n', "line 2: quotation marks do not match"),
    "a control character": ("a.wav\t0\t1\tdog\x1b[2J\n", r"'dog\\x1b\[2J' holds the control character U\+001B"),
    "an odd blank": (DESED + "a.wav\t0\t1\tdog\u00a0\n", r"'dog\\xa0' is empty or begins or ends with a blank"),
    "a huge field": (HEADER + f'a.wav,0,1,"{"x" * 140_000}"\n', "line 2: field larger than field limit"),
    "two suffixes": ("a.wav\t0\t1\tdog\na.flac\t0\t1\tdog\n", "'a.wav' and 'a.flac' differ only in their suffix"),
    "S6 splits": ("filename,onset,offset,label,split\na.wav,0,1,x,train\n", "has a column of splits"),
    "a gap in the splits": ("filename,label,split\na.wav,x,train\nb.wav,x,\n", "line 3: no split"),
    # other files
    "JSON lines": ('{"filename": "a.wav", "onset": 0}\n', "list.txt: looks like JSON, .* save it as CSV"),
    "a TextGrid": ('File type = "ooTextFile"\nObject class = "TextGrid"\n', "a Praat TextGrid; export it as a table"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00", "looks like a spreadsheet; save it as CSV"),
    "Latin-1": (f"{DESED}a.wav\t0\t0.25\tcafé\n".encode("latin-1"), "not a text file in UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_clear_is_refused_in_one_line(tmp_path, content, says):
    path = saved(tmp_path, content)
    messages = []
    for read in (read_tags, read_events):
        with pytest.raises(DataError) as error:
            read(path)
        messages.append(str(error.value))
    assert any(re.search(says, message) for message in messages), messages
    assert all("list.txt" in message and message.isprintable() and len(message) <= 1000 for message in messages)


@pytest.mark.parametrize(
    ("content", "asked", "says"),
    [
        (HEADER + "a.wav,0,1,x\n", "dcase", "has the format csv; asked for is dcase"),  # S2
        ("a.wav,0,1,x\n", "dcase", "neither a header"),
        ("a.wav\tx\n", "ravem", "input format 'ravem' is not known. Did you mean 'raven'"),
        # tags are never events
        ("a.wav\tdog\n", None, "holds tags"),
        (WEAK, "task4-weak", "holds tags"),
        (URBANSOUND + "a.wav,1,6.0,8.0,1,5,3,dog\n", "urbansound8k", "holds tags"),
    ],
)
def test_a_named_format_or_kind_never_widens_what_is_read(tmp_path, content, asked, says):
    with pytest.raises((DataError, ConfigError), match=says):
        read_files(saved(tmp_path, content), kind="events", input_format=asked)


@pytest.mark.parametrize(
    ("content", "options", "kind"),
    [
        (WEAK, {}, "tags"),
        (STRONG, {}, "events"),
        ("\n\n", {}, "empty"),
        ("filename\tlabel\na.wav\tCar\n", {}, "tags"),
        (DESED + "a.wav\n", {}, "empty"),
        (STRONG + FROM_0, {}, "events"),  # a whole-clip event among others
        # both in one file, or nothing that tells: a user must say
        (WEAK + "abc_30.000_40.000.wav\t0.5\t4.2\tCar\n", {}, "unclear"),
        (FROM_0, {}, "unclear"),
        (FROM_0, {"input_format": "dcase"}, "events"),
        (FROM_0, {"input_format": "task4-weak"}, "tags"),
        (FROM_0, {"kind": "events"}, "events"),
        (FROM_0, {"kind": "tags"}, "tags"),
    ],
)
def test_kind_of_a_file(tmp_path, content, options, kind):
    assert read_files(saved(tmp_path, content), **options)[0].kind == kind


def test_a_folder_of_tracks(tmp_path):
    (tmp_path / "site").mkdir()
    for name in ("a.wav.txt", "a.csv", "a.BirdNET.results.csv", "a.Table.1.selections.txt"):
        assert read_events(saved(tmp_path, "0.5\t1.5\tdog\n", name)) == DOG  # of the recording that it is named after
        (tmp_path / name).unlink()
    saved(tmp_path, "0.5\t1.5\tdog\n", "site/a.wav.txt")
    saved(tmp_path, "", "silent.txt")
    saved(tmp_path, "dog\n", "classes.txt")
    assert read_events(tmp_path) == {"silent": (), "site/a": DOG["a"]}
    saved(tmp_path, "0.5\t1.5\tdog\n", "site/a.txt")
    with pytest.raises(DataError, match=r"a.wav.txt and .*a.txt: both are of the recording 'site/a'"):
        read_events(tmp_path)


def test_a_folder_that_is_empty_or_cannot_be_read_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no label files \(.csv, .tsv, .txt\) in this folder"):
        read_events(tmp_path)
    with pytest.raises(DataError, match=r"absent.tsv: cannot be read \(No such file"):
        read_events(tmp_path / "absent.tsv")
    with pytest.raises(DataError, match="not a regular file"):
        read_classes(tmp_path)
    saved(tmp_path, "filename,label,split\na.wav,dog,train\n", "a.csv")
    saved(tmp_path, "filename,label\nb.wav,dog\n", "b.csv")
    with pytest.raises(DataError, match="b has no split, others have"):
        read_labels(tmp_path, tmp_path, None)

    def walk(folder, onerror):
        yield str(folder), ["site"], ["a.txt"]
        onerror(PermissionError(13, "Permission denied", str(folder / "site")))

    monkeypatch.setattr("crnn_weak.labels.reading.os.walk", walk)  # root may read everything
    with pytest.raises(DataError, match="site: Permission denied"):
        read_events(tmp_path)


def test_class_lists(tmp_path, task4_metadata):
    classes = read_classes(task4_metadata / "sound_event_list_17_classes.txt")
    assert (len(classes), classes[1]) == (17, HORN)
    assert read_classes(saved(tmp_path, "label\ndog\t\ncat\nfox \n")) == ("dog", "cat", "fox")
    for content, says in (
        ("\n", "no class"),
        ("Car\nCar\n", "twice"),
        ("é\ne\u0301\n", "twice"),
        ("a\x1bb\n", "control"),
        ("a;b\n", "Expected one label"),
        ("nocall\n", "cannot be a class"),
    ):
        with pytest.raises(DataError, match=says):
            read_classes(saved(tmp_path, content))


def test_the_page_lists_every_format():
    page = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    assert {row[1] for row in rows} == set(KINDS)


def test_the_column_of_labels_can_be_named(tmp_path):
    path = saved(tmp_path, FIELD)
    _, listed = read_labels(tmp_path, path, None, label_column="Sounds")
    assert {recording.name: recording.tags for recording in listed} == TAGS
    for content, column, message in (
        (FIELD, "Sound", "--label-column Sound: no such column"),
        (FIELD.replace("Site", "Sounds"), "Sounds", "or two of them"),
        (URBANSOUND + "a.wav,1,0,1,1,1,1,dog\n", "class", "not for a table of urbansound8k"),
        ("a.wav\tdog\n", "dog", "--label-column dog: no such column"),
        (FIELD.replace("class", "Note"), None, "'File' is the file, 'Site' (yard) is not known, 'Sounds' (dog; cat)"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            read_labels(tmp_path, saved(tmp_path, content), None, label_column=column)
