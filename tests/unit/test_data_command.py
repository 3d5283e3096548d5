"""``crnn-weak data``: which clips of a data set are on disk; what it prints, writes and returns."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from helpers import TINY, dataset_of

from crnn_weak.audio import write_audio
from crnn_weak.cli import main
from crnn_weak.config import Config, FolderData
from crnn_weak.data.base import Clip
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.writing import write_set_csv
from crnn_weak.parallel import Work
from crnn_weak.runs.train import prepare

RATE = 8_000
SETTINGS = [f"--set=features.{name}={json.dumps(value)}" for name, value in dataclasses.asdict(TINY).items()]
IDS = [f"--clip{index}_0.000_1.000" for index in range(6)]
CHECK = ["data", "check", "--metadata", "meta", "--audio", "audio", "--set", "features.clip_seconds=1.0"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Six training clips: ok, a little short, short, missing, text, truncated; two test clips, missing."""
    monkeypatch.chdir(tmp_path)
    labels = [["Car"], ["Car"], ["Bus"], ["Bus"], ["Car"], ["Truck"]]
    meta, audio = tmp_path / "meta", tmp_path / "audio"
    write_set_csv(meta / "training_set.csv", dict(zip(IDS, labels, strict=True)))
    write_set_csv(meta / "testing_set.csv", {f"t{i}_0.000_1.000": ["Train"] for i in range(2)})
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    write_audio(audio / f"{IDS[0]}.wav", noise, RATE)
    write_audio(audio / f"{IDS[1]}.wav", noise[:-100], RATE)  # 12.5 ms short: less than a frame
    write_audio(audio / f"Y{IDS[2]}.flac", noise[:4000], RATE)
    (audio / f"{IDS[4]}.wav").write_text("no audio")
    write_audio(audio / f"{IDS[5]}.flac", noise, RATE)
    content = (audio / f"{IDS[5]}.flac").read_bytes()
    (audio / f"{IDS[5]}.flac").write_bytes(content[: len(content) // 2])
    write_audio(audio / "other.flac", np.zeros(RATE), RATE)
    return tmp_path


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_check_counts_by_header_and_lists_what_it_decoded(here, capsys, refused, jobs):
    assert main([*CHECK, "--jobs", jobs]) == 0
    out = capsys.readouterr().out
    assert "4 of 8 listed clips can be used." in out
    assert "audio files that no split lists: 1, e.g. other.flac" in out
    train = [line.split() for line in out.partition("\ntest")[0].splitlines()]
    assert ["all", "clips", "6", "5", "1", "1", "1"] in train
    assert ["Car", "3", "3", "0", "0", "1"] in train
    assert ["Bus", "2", "1", "1", "1", "0"] in train
    assert main([*CHECK, "--jobs", jobs, "--decode", "--sha256", "--out", "clips.tsv"]) == 0
    assert "3 of 8 listed clips can be used." in capsys.readouterr().out
    header, *rows = (line.split("\t") for line in (here / "clips.tsv").read_text().splitlines())
    assert header == ["clip", "split", "status", "seconds", "reason", "sha256"]
    assert [row[0] for row in rows] == [*IDS, "t0_0.000_1.000", "t1_0.000_1.000"]
    statuses = ["ok", "ok", "short", "missing", "unreadable", "unreadable", "missing", "missing"]
    assert [row[2] for row in rows] == statuses
    digest = hashlib.sha256((here / "audio" / f"{IDS[0]}.wav").read_bytes()).hexdigest()
    assert rows[0][1:] == ["train", "ok", "1.000000", "", digest]
    assert (rows[2][3], rows[3][1:]) == ("0.500000", ["train", "missing", "", "", ""])
    assert rows[5][3] == ""
    assert "truncated" in rows[5][4]
    assert "--overwrite" in refused(*CHECK, "--out", "clips.tsv")
    assert main([*CHECK, "--jobs", jobs, "--split", "test", "--out", "clips.tsv", "--overwrite"]) == 1
    assert "0 of 2 listed clips" in capsys.readouterr().out


def test_check_finds_own_recordings_by_their_file_of_tags_and_make_makes_clips(here, capsys):
    (here / "tags.csv").write_text(f"file,label\nother.flac,dog\n{IDS[0]}.wav,cat\n")
    assert main(["data", "check", "--metadata", "tags.csv", "--audio", "audio", "--jobs", "1"]) == 0
    assert "2 of 2 listed clips can be used." in capsys.readouterr().out
    sizes = ["--set", "data.n_train=2", "--set", "data.n_test=1"]
    assert main(["data", "make", "street", *sizes, "--jobs", "1"]) == 0
    assert "2 train, 1 test, 17 classes" in capsys.readouterr().out
    assert len(list((here / "cache").rglob("*.flac"))) == 3


def test_check_counts_odd_sound_by_class_and_names_what_must_be_converted(here, capsys, caplog):
    (here / "audio" / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    write_audio(here / "audio" / "loud.flac", np.tile([1.0, -1.0], RATE // 2), RATE)
    (here / "tags.csv").write_text(f"file,label\nother.flac,dog\nloud.flac,dog\n{IDS[0]}.wav,cat\nphone.m4a,cat\n")
    own = ["--metadata", "tags.csv", "--audio", "audio", *SETTINGS, "--jobs", "1"]
    assert main(["data", "check", *own, "--decode"]) == 0
    out = capsys.readouterr().out
    assert "3 of 4 listed clips can be used." in out
    assert "unreadable: audio/phone.m4a: MP4 (m4a, mp4) cannot be read; convert it first: ffmpeg" in out
    assert "odd: audio/other.flac: digital silence" in out
    assert "odd: audio/loud.flac: clipped: 100.0 %" in out
    rows = [line.split() for line in out.splitlines() if line[:3] in ("dog", "cat")]
    counts = {label: sum(int(row[-1]) for row in rows if row[0] == label) for label in ("dog", "cat")}
    assert counts == {"dog": 2, "cat": 0}
    config = Config(features=TINY, data=FolderData(root="audio", metadata="tags.csv"))
    prepare(config, here / "cache", here / "run", Work())
    logged = " ".join(message for message in caplog.messages if "data check --decode" in message)
    assert (logged.count("1 clips: digital silence"), logged.count("1 clips: clipped")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "--metadata", "nowhere", "--audio", "audio"], "nowhere: "),
        (["check", "--metadata", "audio"], "no label files here"),
        (["check", "--metadata", "meta", "--split", "trian"], "no split 'trian'. Did you mean 'train'?"),
        (["check", "--metadata", "meta", "--audio", "nowhere"], "nowhere: no such folder of audio files"),
        (["make", "scenes", "--jobs", "1"], "data.root is not set"),
        (["make", "scenes", "--data", "street"], "name one source"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(here, refused, arguments, says):
    assert says in refused("data", *arguments)
    assert sorted(path.name for path in here.iterdir()) == ["audio", "meta"]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Three clips, one of them missing, as the data set that any source opens."""
    clips = []
    for index in range(3):
        path = tmp_path / f"{index}.wav"
        if index != 1:
            write_audio(path, np.random.default_rng(index).standard_normal(16_000) / 10, TINY.sample_rate_hz)
        clips.append(Clip(f"-{index}", "train", path, ("bell",)))
    seen = {}

    def open_dataset(config, cache, *, jobs, progress):
        seen.update(source=config.data.source, jobs=jobs, progress=progress)
        return dataset_of(clips)

    monkeypatch.setattr("crnn_weak.data.base.open_dataset", open_dataset)
    return seen


def test_build_and_info_and_their_mistakes(opened, tmp_path, capsys, refused):
    out = str(tmp_path / "train.h5")
    command = ["features", "build", *SETTINGS, "--data", "folder", "--out", out, "--jobs", "1"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "2 of 3 clips (2 ok, 1 missing)" in shown.out
    assert "\r" not in shown.err  # no bar where stderr is no terminal
    assert opened == {"source": "folder", "jobs": 1, "progress": False}
    assert len(FeatureStore(out, TINY)) == 2
    assert main(["features", "info", out]) == 0
    shown = capsys.readouterr().out
    assert "20 frames x 8 bands" in shown
    assert "skipped    -1: missing (no file 1.wav)" in shown
    assert "      2  bell" in shown
    assert main(command) == 0  # exists, and is kept
    assert "n_mels 8 (expected 10)" in refused(*command, "--set", "features.n_mels=10")
    assert main([*command, "--set", "features.n_mels=10", "--overwrite"]) == 0
    new = str(tmp_path / "new.h5")
    for command, message in (
        (["info", __file__], "damaged, or no HDF5 file"),
        (["build", *SETTINGS, "--out", new, "--split", "test"], "lists no clips"),
        (["build", "--set", "features.n_mel=3", "--out", new], "Did you mean 'n_mels'"),
        (["build", "--config", "none.toml", "--out", new], "none.toml: cannot be read"),
    ):
        assert message in refused("features", *command)
    assert not (tmp_path / "new.h5").exists()
