"""``crnn-weak detect``, with a model that costs nothing."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from detection_fakes import RATE, bursts, detector

from crnn_weak.cli import main
from crnn_weak.commands.detect import _FORMATS
from crnn_weak.detection.operating_point import OperatingPoint, StoredPoint
from crnn_weak.detection.writers import FORMATS
from crnn_weak.labels.files import read_events


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    found = detector()
    monkeypatch.setattr("crnn_weak.detection.detector.load", lambda path=None, **options: found)
    return found


@pytest.fixture
def street(tmp_path):
    path = tmp_path / "street.wav"
    soundfile.write(path, bursts(12.0), RATE)
    return path


def detect(*arguments):
    return main(["detect", *map(str, arguments)])


def test_a_table_of_one_recording(street, fake, capsys):
    assert detect(street) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["onset/s", "offset/s", "score", "label"]
    rows = [(float(row[0]), float(row[1]), row[3]) for row in map(str.split, lines[1:])]
    assert rows == [(round(e.onset, 3), round(e.offset, 3), e.label) for e in fake.detect(street)]
    assert "operating point: threshold 0.5" in err
    assert "1 of 1 recordings, 12.0 s of sound" in err


def test_quiet_prints_the_table_alone(street, capsys):
    assert detect(street, "--quiet") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Low" in out


@pytest.mark.parametrize("name", ["jsonl", "csv", "desed", "dcase", "raven", "audacity"])
def test_one_format_to_standard_output(street, fake, capsys, name):
    assert detect(street, "--format", name, "-q") == 0
    lines = capsys.readouterr().out.splitlines()
    n_events = len(fake.detect(street))
    assert len(lines) == n_events + (name in ("csv", "desed", "raven"))
    if name == "jsonl":
        assert json.loads(lines[0])["filename"] == "street.wav"


def test_files_folders_and_figures(street, tmp_path, capsys):
    out = tmp_path / "out"
    soundfile.write(tmp_path / "long.flac", bursts(30.0, 1), RATE)
    formats = [x for name in ("desed", "audacity", "scores", "scores-h5") for x in ("--format", name)]
    assert detect(tmp_path, "--out", out, *formats, "--figure") == 0
    assert sorted(read_events(out / "events.tsv")) == ["long", "street"]
    assert (out / "figures" / "street.png").read_bytes()[1:4] == b"PNG"
    assert len((out / "scores" / "long.tsv").read_text().splitlines()) == 601
    assert detect(street, "--out", out) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_report_over_all_recordings(street, tmp_path, capsys):
    (tmp_path / "recordings").mkdir()
    street.rename(tmp_path / "recordings" / "a.wav")
    (tmp_path / "recordings" / "b.wav").write_bytes(b"no audio")
    assert detect(tmp_path / "recordings", "--out", tmp_path / "found", "--report") == 1
    page = (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    (events,) = read_events(tmp_path / "found" / "events.tsv").values()
    assert page.count('<td class="left">') == len(events)
    assert page.count("<article") == 2
    assert page.count('<audio controls preload="none" src="../recordings/a.wav">') == 1
    assert page.count('<img src="figures/a.wav.png"') or page.count('<img src="figures/a.png"')
    assert str(tmp_path / "recordings" / "b.wav") in page  # why it failed
    capsys.readouterr()
    assert detect(tmp_path / "recordings", "--report") == 2
    assert "give --out FOLDER" in capsys.readouterr().err
    assert detect(tmp_path / "recordings", "--out", tmp_path / "found", "--report") == 2


def test_tags(street, tmp_path, capsys):
    assert detect(street, "--tags", "--out", tmp_path / "out", "-q") == 0
    assert (tmp_path / "out" / "tags.tsv").read_text().splitlines()[0] == "filename\tevent_label\tscore"
    assert not (tmp_path / "out" / "events.tsv").exists()
    assert detect(street, "--tags", "-q") == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]} == {"Low", "High"}


def test_three_broken_of_many(tmp_path, capsys):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(40):
        soundfile.write(folder / f"{index:02}.wav", bursts(1.0, index), RATE)
    (folder / "07.wav").write_text("text")
    (folder / "21.wav").write_bytes(b"")
    data = (folder / "33.wav").read_bytes()
    (folder / "33.wav").write_bytes(data[: len(data) // 2])
    assert detect(folder, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err.splitlines()
    assert "37 of 40 recordings" in err[-4]
    assert [line.split(":")[0] for line in err[-3:]] == ["failed"] * 3
    assert ["07.wav" in err[-3], "21.wav" in err[-2], "33.wav" in err[-1]] == [True] * 3
    status = (tmp_path / "out" / "recordings.csv").read_text()
    assert status.count(",ok,") == 37
    assert status.count(",failed,") == 3


def test_where_every_recording_fails_the_code_is_2(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("text")
    assert detect(tmp_path, "--out", tmp_path / "out") == 2
    assert (tmp_path / "out" / "recordings.csv").read_text().count(",failed,") == 2


def test_many_short_recordings_share_batches(tmp_path, fake):
    for index in range(40):
        soundfile.write(tmp_path / f"{index:02}.wav", bursts(1.0, index), RATE)
    assert detect(tmp_path, "-q") == 0
    assert fake.model.batch_sizes == [8] * 5


def test_a_failure_between_others_disturbs_none(tmp_path, fake):
    # Truncated behind several windows, some of which were scored together with the neighbors' windows.
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        soundfile.write(tmp_path / f"{name}.flac", bursts(50.0, seed), RATE)
    data = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(data[: int(len(data) * 0.9)])
    alone = {name: fake.detect(tmp_path / f"{name}.flac") for name in "ac"}
    out = tmp_path / "out"
    assert detect(tmp_path, "--out", out, "-q") == 1
    events = read_events(out / "events.tsv")
    assert sorted(events) == ["a", "c"]
    assert {name: len(found) for name, found in events.items()} == {name: len(found) for name, found in alone.items()}


def test_an_operating_point_from_the_command_line(street, tmp_path, fake, capsys):
    detect(
        street,
        "--set",
        "operating_point.median_seconds=0.3",
        "--set",
        "operating_point.low_threshold=0.4",
        "--threshold",
        "0.8",
    )
    err = capsys.readouterr().err
    assert "threshold 0.8, tag threshold 0.8, low threshold 0.4, median filter 0.3 s" in err
    chosen = OperatingPoint.from_dict(fake.operating_point.to_dict()).replace(thresholds=(0.3, 0.6))
    StoredPoint(operating_point=chosen).write(tmp_path / "point.json")
    detect(street, "--operating-point", tmp_path / "point.json")
    assert "threshold 0.3 to 0.6 by class" in capsys.readouterr().err


def test_classes(street, capsys):
    assert detect(street, "--classes", "High", "-q") == 0
    assert {line.split()[3] for line in capsys.readouterr().out.splitlines()[1:]} == {"High"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no recording was given"),
        (["nowhere.wav"], "no such file"),
        (["STREET", "--classes", "Hgh"], "'High'"),
        (["STREET", "--set", "training.epochs=3"], "operating_point."),
        (["STREET", "--set", "operating_point.median=3"], "median_seconds"),
        (["STREET", "--threshold", "1.5"], "scores in (0, 1)"),
        (["STREET", "--operating-point", "nowhere.json"], "nowhere.json"),
        (["STREET", "--figure"], "--out"),
        (["STREET", "--format", "scores"], "--out"),
        (["STREET", "--batch-size", "0"], "--batch-size"),
        (["--follow"], "--rate"),
        (["STREET", "--follow", "--rate", "8000"], "no path"),
        (["--follow", "--rate", "8000", "--delay", "99"], "delay"),
    ],
)
def test_a_users_error_is_one_line_and_2(street, arguments, message, capsys):
    assert detect(*[str(street) if argument == "STREET" else argument for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err.splitlines()[-1]
    assert out == ""


def test_a_wav_on_standard_input(street, monkeypatch, capsys):
    pipe = io.BytesIO(street.read_bytes())
    pipe.seek = None  # a pipe has no way back
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe))
    assert detect("-", "--format", "csv", "-q") == 0
    assert "stdin,0." in capsys.readouterr().out


def test_follow(monkeypatch, fake, capsys):
    audio = np.round(bursts(12.0) * 32767).astype("<i2")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(audio.tobytes())))
    assert detect("--follow", "--rate", RATE, "--format", "csv") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) - 1 == len(fake.detect((audio, RATE)))
    assert "at most 4." in err
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    assert detect("--follow", "--rate", RATE) == 2


def test_warnings_are_shown(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert detect(tmp_path / "a.wav") == 0
    out, err = capsys.readouterr()
    assert "(no events)" in out
    assert "warning: a.wav: digital silence" in err


def test_help_offers_the_formats_that_are_written():
    """The command repeats their names: its --help must not import NumPy."""
    assert _FORMATS == FORMATS
