"""``crnn-weak data``: what it prints, writes and returns."""

import numpy as np
import pytest

from crnn_weak.audio import write_audio
from crnn_weak.cli import main
from crnn_weak.labels import task4 as task4_files


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task4_files.write_set_csv(
        tmp_path / "meta" / "training_set.csv", {"--a_0.000_1.000": ["Car"], "b_0.000_1.000": ["Bus"]}
    )
    write_audio(tmp_path / "audio" / "Y--a_0.000_1.000.flac", np.zeros(8000), 8000)
    write_audio(tmp_path / "audio" / "other.flac", np.zeros(8000), 8000)
    return tmp_path


def test_check_finds_the_source_by_what_is_given(here, capsys):
    options = ["--metadata", "meta", "--audio", "audio", "--set", "features.clip_seconds=1.0", "--jobs", "1"]
    assert main(["data", "check", *options, "--out", "clips.tsv", "--sha256", "--decode"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 listed clips can be used." in out
    assert "audio files that no split lists: 1, e.g. other.flac" in out
    (line,) = (line for line in out.splitlines() if line.startswith("all clips"))
    assert line.split()[2:] == ["2", "1", "1", "0", "0"]
    assert len((here / "clips.tsv").read_text().splitlines()) == 3
    assert main(["data", "check", *options, "--out", "clips.tsv"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["data", "check", *options, "--out", "clips.tsv", "--overwrite"]) == 0


def test_check_of_own_recordings_and_of_nothing_usable(here, capsys):
    (here / "tags.csv").write_text("file,label\nother.flac,dog\nY--a_0.000_1.000.flac,cat\n")
    assert main(["data", "check", "--metadata", "tags.csv", "--audio", "audio", "--jobs", "1"]) == 0
    assert "2 of 2 listed clips can be used." in capsys.readouterr().out
    assert main(["data", "check", "--metadata", "meta", "--jobs", "1"]) == 1
    assert "0 of 2 listed clips" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "--metadata", "nowhere", "--audio", "audio"], "nowhere: "),
        (["check", "--metadata", "meta", "--split", "trian"], "no split 'trian'. Did you mean 'train'?"),
        (["check", "--metadata", "meta", "--audio", "nowhere"], "nowhere: no such folder of audio files"),
        (["make", "scenes", "--jobs", "1"], "data.root is not set"),
        (["make", "scenes", "--data", "street"], "name one source"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(here, capsys, arguments, says):
    assert main(["data", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(path.name for path in here.iterdir()) == ["audio", "meta"]


def test_make_street(here, capsys):
    sizes = ["--set", "data.n_train=2", "--set", "data.n_test=1"]
    assert main(["data", "make", "street", *sizes, "--jobs", "1"]) == 0
    assert "2 train, 1 test, 17 classes" in capsys.readouterr().out
    assert len(list((here / "cache").rglob("*.flac"))) == 3
