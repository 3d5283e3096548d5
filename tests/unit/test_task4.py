"""The organizers' files, real where they are at hand: counts, traps, and partial audio."""

import shutil

import numpy as np
import pytest

from crnn_weak.audio import write_audio
from crnn_weak.config import apply_overrides, preset
from crnn_weak.data.base import open_dataset
from crnn_weak.data.task4 import read_task4
from crnn_weak.errors import ConfigError, DataError, LabelError
from crnn_weak.labels.events import DCASE2017_TASK4, Event
from crnn_weak.labels.reading import read_tags
from crnn_weak.labels.writing import write_set_csv, write_weak_tsv
from crnn_weak.parallel import Work
from crnn_weak.runs.train import prepare


def opened(metadata, audio=None, **options):
    return read_task4(metadata, audio, name="task4", provenance="test", **options)


def test_the_real_lists_have_the_known_numbers(task4_metadata):
    real = opened(task4_metadata)
    assert real.splits == ("train", "test", "evaluation")
    assert real.classes == DCASE2017_TASK4
    train, test, evaluation = (real.clips(split) for split in real.splits)
    assert (len(train), sum(len(clip.tags) for clip in train)) == (51_172, 56_131)
    assert (len(test), sum(len(clip.tags) for clip in test)) == (488, 606)
    assert (len(evaluation), sum(len(clip.tags) for clip in evaluation)) == (1103, 1350)
    assert all(clip.events is None for clip in train)
    for clips, n_rows, n_zero, n_unheard in ((test, 688, 36, 11), (evaluation, 1706, 150, 94)):
        events = [event for clip in clips for event in clip.events]
        assert len(events) == n_rows
        assert sum(event.onset == event.offset == 0 for event in events) == n_zero
        assert sum(all(event.duration == 0 for event in clip.events) for clip in clips) == n_unheard
        assert max(event.offset for event in events) <= 10.1
    known = {"Car": 25_077, "Car alarm": 180, "Air horn, truck horn": 313, "Fire engine, fire truck (siren)": 2288}
    assert {label: sum(label in clip.tags for clip in train) for label in known} == known
    horns = {clip.clip_id: clip for clip in test}["-GCwoyCnYsY_0.000_10.000"]
    assert horns.events == (Event(0.165, 3.8, "Train horn"), Event(4.865, 8.7, "Train horn"))


@pytest.mark.parametrize("word", ["testing", pytest.param("training", marks=pytest.mark.slow)])
def test_the_real_files_come_out_byte_for_byte(task4_metadata, tmp_path, word):
    set_file = task4_metadata / f"{word}_set.csv"
    weak_file = task4_metadata / f"groundtruth_weak_label_{word}_set.csv"
    rows, weak = read_tags(set_file), read_tags(weak_file)
    assert {clip: set(found) for clip, found in rows.items()} == {clip: set(found) for clip, found in weak.items()}
    write_set_csv(tmp_path / "set", rows)
    assert (tmp_path / "set").read_bytes() == set_file.read_bytes()
    write_weak_tsv(tmp_path / "weak", weak)
    assert sorted((tmp_path / "weak").read_bytes().splitlines()) == sorted(weak_file.read_bytes().splitlines())


TAGS = {
    "--jc0NAxK8M_30.000_40.000": ("Car",),
    "Y5QrBL6MzLg_0.000_10.000": ("Train", "Train horn"),
    "AAAAAAAAAA__5.000_15.000": ("Air horn, truck horn",),
}


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "small"
    write_set_csv(folder / "training_set.csv", TAGS)
    write_set_csv(folder / "testing_set.csv", TAGS)
    (folder / "groundtruth_strong_label_testing_set.csv").write_bytes(
        b"--jc0NAxK8M_30.000_40.000.wav\t0\t0\tCar\r\nAAAAAAAAAA__5.000_15.000.wav\t1\t2.5\tAir horn, truck horn\r\n"
    )
    return folder


def test_audio_is_found_with_and_without_y_in_any_format_and_folder(small, caplog):
    tone = np.zeros(100)
    audio = small / "audio"
    write_audio(audio / "Y--jc0NAxK8M_30.000_40.000.wav", tone, 8000)
    write_audio(audio / "deep" / "YY5QrBL6MzLg_0_10.flac", tone, 8000)  # the id begins with a Y; no decimals
    clips = {clip.clip_id: clip.path for clip in opened(small, audio).clips("train")}
    names = ["Y--jc0NAxK8M_30.000_40.000.wav", "YY5QrBL6MzLg_0_10.flac", None]
    assert [path.name if path else None for path in clips.values()] == names
    write_audio(audio / "Y5QrBL6MzLg_0.000_10.000.wav", tone, 8000)  # without Y: is preferred
    write_audio(audio / "stray.wav", tone, 8000)
    write_audio(audio / "deep" / "stray.wav", tone, 8000)
    again = opened(small, audio)
    assert again.clips("test")[1].path.name == "Y5QrBL6MzLg_0.000_10.000.wav"
    assert [path.name for path in again.unlisted] == ["stray.wav", "YY5QrBL6MzLg_0_10.flac", "stray.wav"]
    assert "1 files share a name" in caplog.text


def test_events_zero_rows_kept_and_unknown_without_a_strong_file(small):
    data = opened(small)
    assert [clip.events for clip in data.clips("train")] == [None] * 3
    events = [(Event(0.0, 0.0, "Car"),), (), (Event(1.0, 2.5, "Air horn, truck horn"),)]
    assert [clip.events for clip in data.clips("test")] == events
    assert data.clips("test")[1].tags == ("Train horn", "Train")
    # What the organizers' files cannot hold is not written.
    with pytest.raises(LabelError, match="no AudioSet id"):
        write_set_csv(small / "x.csv", {"a_0.000_10.000": ("Cat",)})
    with pytest.raises(DataError, match="expected <video id>_<start>_<end>"):
        write_weak_tsv(small / "x.csv", {"a": ("Car",)})
    assert not (small / "x.csv").exists()


def test_a_split_is_read_from_its_weak_file_where_the_set_file_is_missing(small, tmp_path):
    (small / "training_set.csv").unlink()
    assert opened(small).splits == ("test",)
    write_weak_tsv(small / "groundtruth_weak_label_training_set.csv", TAGS)
    data = opened(small)
    assert [clip.clip_id for clip in data.clips("train")] == list(TAGS)
    assert data.fingerprint == opened(small).fingerprint  # of the content, not the place
    assert opened(small, identity=7).fingerprint != data.fingerprint
    assert opened(shutil.copytree(small, tmp_path / "copy")).fingerprint == data.fingerprint
    (tmp_path / "copy" / "testing_set.csv").unlink()
    assert opened(tmp_path / "copy").fingerprint != data.fingerprint
    other = tmp_path / "other"
    write_weak_tsv(other / "groundtruth_weak_label_training_set.csv", {"a_0.000_4.000": ("dog", "cat")})
    assert opened(other, classes=("cat", "dog"), clip_seconds=4.0).clips("train")[0].tags == ("cat", "dog")
    with pytest.raises(LabelError, match="has the label 'dog'"):
        opened(other, classes=("cat", "fog"))


STRONG = "groundtruth_strong_label_training_set.csv"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("training_set.csv", "a,0.0,10.0,Car\r\n", "training_set.csv, line 1: neither a header"),
        ("training_set.csv", 'a,0.0,10.0,Car,/m/0k4j\r\na,0,10,Cow,"/m/0k4x"\r\n', "line 2: AudioSet id '/m/0k4x'"),
        ("training_set.csv", "a,x,10.0,Car,/m/0k4j\r\n", "line 1: 'a, x, 10.0"),
        ("training_set.csv", "", "lists no clip"),
        (STRONG, "b_0.000_10.000.wav\t0\t1\tCar\n", "is not listed in"),
        (STRONG, "--jc0NAxK8M_30.000_40.000.wav\t0\t1\tCar\n--jc0NAxK8M_30_40.wav\t0\t1\tCar\n", "are both the clip"),
        (STRONG, "--jc0NAxK8M_30.000_40.000.wav\t0\t1\tKar\n", "'Kar'.*'Car'"),
        (STRONG, "--jc0NAxK8M_30.000_40.000.wav\t1000\t2000\tCar\n", "end at 10.0 s"),
    ],
)
def test_bad_label_files_are_one_line(small, name, content, says):
    (small / name).write_bytes(content.encode())
    with pytest.raises(DataError, match=says) as error:
        opened(small).clips("train")
    assert "\n" not in str(error.value)


def test_the_source_is_opened_by_its_settings_and_a_clip_in_two_splits_refused(small, tmp_path):
    config = apply_overrides(preset("paper"), ["data.source=dcase2017_task4"])
    with pytest.raises(ConfigError, match=r"data\.metadata is not set"):
        open_dataset(config, tmp_path / "cache")
    with pytest.raises(DataError, match="no such folder of label files"):
        opened(tmp_path / "nowhere")
    config = apply_overrides(config, [f"data.metadata={small}"])
    data = open_dataset(config, tmp_path / "cache")
    assert (data.name, data.clip_seconds, len(data.clips("train"))) == ("dcase2017_task4", 10.0, 3)
    with pytest.raises(DataError, match=r"3 clips are both in the training split and in split 'test', e.g. --jc0"):
        prepare(config, tmp_path / "cache", tmp_path / "out", Work())
    assert not (tmp_path / "cache").exists()
