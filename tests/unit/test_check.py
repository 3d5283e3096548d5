"""Which clips of a data set are on disk: counts and the list."""

import hashlib

import numpy as np
import pytest

from crnn_weak.audio import write_audio
from crnn_weak.data.check import check_dataset
from crnn_weak.data.task4 import Task4Dataset
from crnn_weak.labels import task4 as task4_files

RATE = 8_000
IDS = [f"--clip{index}_0.000_1.000" for index in range(6)]


@pytest.fixture
def dataset(tmp_path):
    """Six training clips: ok, a little short, short, missing, text, truncated; two test clips, missing."""
    labels = ["Car", "Car", "Bus", "Bus", "Car", "Truck"]
    task4_files.write_set_csv(tmp_path / "training_set.csv", dict(zip(IDS, [[x] for x in labels], strict=True)))
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
    return Task4Dataset(tmp_path, audio, name="task4", provenance="test", clip_seconds=1.0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_states_by_header_and_by_decoding(dataset, jobs):
    by_header = check_dataset(dataset, jobs=jobs)
    assert [c.status for c in by_header.clips[:6]] == ["ok", "ok", "short", "missing", "unreadable", "ok"]
    decoded = check_dataset(dataset, decode=True, jobs=jobs)
    assert [c.status for c in decoded.clips[:6]] == ["ok", "ok", "short", "missing", "unreadable", "unreadable"]
    assert "truncated" in decoded.clips[5].reason
    assert (decoded.n_usable, len(decoded.clips)) == (3, 8)


def test_the_table_counts_clips_and_classes(dataset):
    rows = {
        (r.split, r.label): (r.listed, r.found, r.missing, r.short, r.unreadable) for r in check_dataset(dataset).rows()
    }
    assert len(rows) == 2 * 18
    assert rows["train", "all clips"] == (6, 5, 1, 1, 1)
    assert rows["train", "Car"] == (3, 3, 0, 0, 1)
    assert rows["train", "Bus"] == (2, 1, 1, 1, 0)
    assert rows["test", "all clips"] == rows["test", "Train"] == (2, 0, 2, 0, 0)
    assert {split for split, _ in rows} == {"train", "test"}
    assert {row.split for row in check_dataset(dataset, splits=["test"]).rows()} == {"test"}


def test_the_list_has_a_row_for_each_clip(dataset, tmp_path):
    check_dataset(dataset, checksums=True, decode=True).write(tmp_path / "clips.tsv")
    header, *rows = (line.split("\t") for line in (tmp_path / "clips.tsv").read_text().splitlines())
    assert header == ["clip", "split", "status", "seconds", "reason", "sha256"]
    assert [row[0] for row in rows] == [*IDS, "t0_0.000_1.000", "t1_0.000_1.000"]
    digest = hashlib.sha256((dataset.audio_folder / f"{IDS[0]}.wav").read_bytes()).hexdigest()
    assert rows[0][1:] == ["train", "ok", "1.000000", "", digest]
    assert rows[2][1:4] == ["train", "short", "0.500000"]
    assert rows[3][1:] == ["train", "missing", "", "", ""]
    assert rows[5][2:4] == ["unreadable", ""]
    assert "truncated" in rows[5][4]


def test_the_real_lists_without_audio(task4_metadata):
    report = check_dataset(Task4Dataset(task4_metadata, None, name="task4", provenance="test"))
    rows = {(row.split, row.label): row for row in report.rows()}
    assert rows["train", "Car"].listed == rows["train", "Car"].missing == 25_077
    assert rows["test", "all clips"].missing == 488
    assert report.n_usable == 0
