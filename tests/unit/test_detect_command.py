"""``crnn-weak detect``, with a model that costs nothing."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from detection_fakes import RATE, bursts, detector

from crnn_weak.cli import main
from crnn_weak.commands.detect import _EVENT_FORMATS
from crnn_weak.detection.operating_point import StoredPoint
from crnn_weak.detection.scores import load_scores
from crnn_weak.labels.writing import EVENT_FORMATS


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    fake = detector()
    monkeypatch.setattr("crnn_weak.detection.detector.load", lambda path=None, **options: fake)
    return fake


@pytest.fixture
def street(tmp_path):
    path = tmp_path / "street.wav"
    soundfile.write(path, bursts(12.0), RATE)
    return path


def detect(*arguments):
    return main(["detect", *map(str, arguments)])


def events_of(path):
    """Return file name -> number of events, of a DESED list."""
    names = [line.split("\t")[0] for line in path.read_text().splitlines()[1:]]
    return {name: names.count(name) for name in names}


def test_a_table_of_one_recording(street, fake, capsys):
    assert detect(street) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["onset/s", "offset/s", "score", "label"]
    rows = [(float(row[0]), float(row[1]), row[3]) for row in map(str.split, lines[1:])]
    assert rows == [(round(e.onset, 3), round(e.offset, 3), e.label) for e in fake.detect(street)]
    assert "operating point: threshold 0.5" in err
    assert "1 of 1 recordings, 12.0 s of sound" in err
    assert detect(street, "--quiet") == 0
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_one_format_to_standard_output(street, fake, capsys, name):
    assert detect(street, "--format", name, "-q") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(fake.detect(street)) + bool(EVENT_FORMATS[name].header)
    if name == "jsonl":
        assert json.loads(lines[0])["filename"] == "street.wav"
    assert tuple(EVENT_FORMATS) == _EVENT_FORMATS  # repeated there: --help must not import NumPy


def test_files_folders_figures_and_a_report(street, tmp_path, fake, capsys, monkeypatch):
    monkeypatch.setattr("crnn_weak.report.html._MOST_COLUMNS", 70)  # 30 s in frames of 0.05 s, 9 a column
    out = tmp_path / "out"
    soundfile.write(tmp_path / "long.flac", bursts(30.0, 1), RATE)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    formats = [f"--format={name}" for name in ("desed", "audacity", "scores", "scores-h5")]
    assert detect(tmp_path, "--out", out, *formats, "--figure", "--report", "--tags") == 1
    wanted = {name: len(fake.detect(tmp_path / name)) for name in ("long.flac", "street.wav")}
    assert events_of(out / "events.tsv") == wanted
    assert (out / "figures" / "street.png").read_bytes()[1:4] == b"PNG"
    assert len((out / "scores" / "long.tsv").read_text().splitlines()) == 601
    strong = load_scores(out / "scores.h5", ["long.flac"]).strong
    np.testing.assert_array_equal(strong, fake.scores(tmp_path / "long.flac").strong)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3
    assert page.count('<td class="left">') == sum(wanted.values())
    for name in ("long", "street"):
        assert f'<img src="figures/{name}.png"' in page
    sounds = [f'src="../{name}"' in page for name in ("long.flac", "street.wav", "bad.wav")]
    assert sounds == [True, True, False]
    assert f"{tmp_path / 'bad.wav'}: " in page  # why it failed
    assert (out / "tags.tsv").read_text().splitlines()[0] == "filename\tevent_label\tscore"
    capsys.readouterr()
    for option in ("--report", "--tags", "--format=scores"):
        assert detect(street, "--out", out, option) == 2
        assert "--overwrite" in capsys.readouterr().err


def test_tags_and_warnings(street, tmp_path, capsys):
    assert detect(street, "--tags", "--out", tmp_path / "out", "-q") == 0
    assert not (tmp_path / "out" / "events.tsv").exists()
    assert detect(street, "--tags", "-q") == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]} == {"Low", "High"}
    soundfile.write(street, np.zeros(RATE), RATE)
    assert detect(street) == 0
    out, err = capsys.readouterr()
    assert "(no events)" in out
    assert "warning: street.wav: digital silence" in err


def test_broken_recordings_among_many_disturb_none(tmp_path, fake, capsys):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(43):
        soundfile.write(folder / f"{index:02}.wav", bursts(1.0, index), RATE)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        soundfile.write(folder / f"{name}.flac", bursts(50.0, seed), RATE)
    (folder / "07.wav").write_text("text")
    (folder / "21.wav").write_bytes(b"")
    # Truncated after several windows, some of which were scored together with the neighbors' windows.
    data = (folder / "b.flac").read_bytes()
    (folder / "b.flac").write_bytes(data[: int(len(data) * 0.9)])
    assert detect(folder, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err.splitlines()
    assert "43 of 46 recordings" in err[-4]
    assert [line.split(":")[0] for line in err[-3:]] == ["failed"] * 3
    assert ["07.wav" in err[-3], "21.wav" in err[-2], "b.flac" in err[-1]] == [True] * 3
    status = (tmp_path / "out" / "recordings.csv").read_text()
    assert (status.count(",ok,"), status.count(",failed,")) == (43, 3)
    assert fake.model.batch_sizes[:5] == [8] * 5  # short recordings share batches
    found = events_of(tmp_path / "out" / "events.tsv")
    assert [found.get(f"{name}.flac") for name in "abc"] == [
        len(fake.detect(folder / "a.flac")), None, len(fake.detect(folder / "c.flac"))
    ]  # fmt: skip
    assert detect(folder / "07.wav", folder / "21.wav", "--out", tmp_path / "none") == 2
    assert (tmp_path / "none" / "recordings.csv").read_text().count(",failed,") == 2


def test_an_operating_point_from_the_command_line(street, tmp_path, fake, capsys):
    detect(street, "--median", "0.3", "--low-threshold", "0.4", "--threshold", "0.8", "--weak-gate")
    err = capsys.readouterr().err
    assert "threshold 0.8, tag threshold 0.8, low threshold 0.4, median filter 0.3 s, gated by the tags" in err
    point = fake.operating_point.replace(thresholds=(0.3, 0.6))
    StoredPoint(operating_point=point).write(tmp_path / "point.json")
    detect(street, "--operating-point", tmp_path / "point.json")
    assert "threshold 0.3 to 0.6 by class" in capsys.readouterr().err


def test_classes(street, fake, capsys):
    fake.default_classes = ("Low",)
    cases = (["--classes", "High"], {"High"}), ([], {"Low"}), (["--all-classes"], {"Low", "High"})
    for options, classes in cases:
        assert detect(street, *options) == 0
        out, err = capsys.readouterr()
        assert {line.split()[3] for line in out.splitlines()[1:]} == classes
        assert ("classes: Low; the others with --all-classes" in err) == (not options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no recording was given"),
        (["STREET", "--classes", "Hgh"], "'High'"),
        (["STREET", "--threshold", "1.5"], "scores in (0, 1)"),
        (["STREET", "--median", "-1"], "0 or more"),
        (["STREET", "--operating-point", "nowhere.json"], "nowhere.json"),
        (["STREET", "--figure"], "--out"),
        (["STREET", "--report"], "--out"),
        (["STREET", "--format", "scores"], "--out"),
        (["STREET", "--format", "csv", "--tags"], "--out"),
        (["STREET", "STREET.gone", "--format", "raven"], "holds one recording"),
    ],
)
def test_a_users_error_is_one_line_and_2(street, arguments, message, capsys):
    assert detect(*[argument.replace("STREET", str(street)) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err.splitlines()[-1]
    assert out == ""


def test_a_wav_on_standard_input(street, monkeypatch, tmp_path, capsys):
    for options in (["--format", "csv"], ["--out", tmp_path / "out", "--figure"]):
        pipe = io.BytesIO(street.read_bytes())
        pipe.seek = None  # a pipe has no way back
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe))
        assert detect("-", *options, "-q") == 0
    out, err = capsys.readouterr()
    assert "stdin,0." in out
    assert "no figure: a recording on standard input cannot be read twice" in err
