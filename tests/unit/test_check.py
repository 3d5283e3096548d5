"""Which clips of a data set are on disk: counts and the list."""

import hashlib

import numpy as np
import pytest

from crnn_weak.audio import write_audio
from crnn_weak.data.check import check_clips, count_clips, write_clips
from crnn_weak.data.task4 import read_task4
from crnn_weak.labels import task4 as task4_files

RATE = 8_000
IDS = [f"--clip{index}_0.000_1.000" for index in range(6)]


@pytest.fixture
def dataset(tmp_path):
    """Six training clips: ok, a little short, short, missing, text, truncated; two test clips, missing."""
    labels = [["Car"], ["Car"], ["Bus"], ["Bus"], ["Car"], ["Truck"]]
    task4_files.write_set_csv(tmp_path / "training_set.csv", dict(zip(IDS, labels, strict=True)))
    task4_files.write_set_csv(tmp_path / "testing_set.csv", {f"t{i}_0.000_1.000": ["Train"] for i in range(2)})
    audio = tmp_path / "audio"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    write_audio(audio / f"{IDS[0]}.wav", noise, RATE)
    write_audio(audio / f"{IDS[1]}.wav", noise[:-100], RATE)  # 12.5 ms short: less than a frame
    write_audio(audio / f"Y{IDS[2]}.flac", noise[:4000], RATE)
    (audio / f"{IDS[4]}.wav").write_text("no audio")
    write_audio(audio / f"{IDS[5]}.flac", noise, RATE)
    content = (audio / f"{IDS[5]}.flac").read_bytes()
    (audio / f"{IDS[5]}.flac").write_bytes(content[: len(content) // 2])
    return read_task4(tmp_path, audio, name="task4", provenance="test", clip_seconds=1.0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_states_by_header_and_by_decoding_and_their_counts(dataset, jobs):
    by_header = check_clips(dataset, jobs=jobs)
    assert [c.status for c in by_header[:6]] == ["ok", "ok", "short", "missing", "unreadable", "ok"]
    counts = count_clips(by_header[:6], dataset.classes)
    assert list(counts) == ["all clips", *dataset.classes]
    assert counts["all clips"] == (6, 5, 1, 1, 1)
    assert counts["Car"] == (3, 3, 0, 0, 1)
    assert counts["Bus"] == (2, 1, 1, 1, 0)
    decoded = check_clips(dataset, decode=True, jobs=jobs)
    assert [c.status for c in decoded[:6]] == ["ok", "ok", "short", "missing", "unreadable", "unreadable"]
    assert [c.status for c in check_clips(dataset, splits=["test"])] == ["missing", "missing"]


def test_the_list_has_a_row_for_each_clip(dataset, tmp_path):
    write_clips(tmp_path / "clips.tsv", check_clips(dataset, checksums=True, decode=True))
    header, *rows = (line.split("\t") for line in (tmp_path / "clips.tsv").read_text().splitlines())
    assert header == ["clip", "split", "status", "seconds", "reason", "sha256"]
    assert [row[0] for row in rows] == [*IDS, "t0_0.000_1.000", "t1_0.000_1.000"]
    digest = hashlib.sha256((tmp_path / "audio" / f"{IDS[0]}.wav").read_bytes()).hexdigest()
    assert rows[0][1:] == ["train", "ok", "1.000000", "", digest]
    assert rows[2][1:4] == ["train", "short", "0.500000"]
    assert rows[3][1:] == ["train", "missing", "", "", ""]
    assert rows[5][2:4] == ["unreadable", ""]
    assert "truncated" in rows[5][4]
