"""Results out: each format holds what its readers expect, and only whole files get their names."""

import csv
import json

import h5py
import numpy as np
import pytest
from detection_fakes import CLASSES, RATE, bursts, detector
from hypothesis import given
from hypothesis import strategies as st

from crnn_weak.detection.job import Detection
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.scores import Scores, load_scores, save_scores
from crnn_weak.detection.writers import FORMATS, ResultWriter, file_stems
from crnn_weak.errors import ClipError, ConfigError, DataError
from crnn_weak.labels.events import Event, EventList
from crnn_weak.labels.files import read_event_folder, read_events
from crnn_weak.labels.forms import read_label_file
from crnn_weak.labels.names import recording_id

LABELS = ("Air horn, truck horn", "Car")


def detection(name, events, error=None, seconds=10.0):
    listed = EventList(events, clip_id=name, duration_seconds=seconds)
    return Detection(Recording(name, name), listed, (), np.array([0.9, 0.1], np.float32), seconds, error)


EVENTS = [Event(0.02, 1.5, "Air horn, truck horn", 0.75), Event(2.0, 3.25, "Car", 0.5)]


def write(folder, results, formats=FORMATS, **options):
    recordings = [result.recording for result in results]
    strong = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
    with ResultWriter(
        folder, formats, recordings=recordings, classes=LABELS, hop_seconds=0.02, **options
    ) as writer:  # fmt: skip
        for result in results:
            writer.add_scores(result.recording, strong[:4])
            writer.add_scores(result.recording, strong[4:])
            writer.write(result)
    return strong


def test_every_format_to_the_letter(tmp_path):
    write(tmp_path, [detection("my street.wav", EVENTS), detection("quiet.wav", [])])
    text = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    assert sorted(text) == [
        "audacity/my street.txt", "audacity/quiet.txt", "events.csv", "events.jsonl", "events.tsv", "events.txt",
        "raven/my street.txt", "raven/quiet.txt", "recordings.csv", "scores.h5",
        "scores/my street.tsv", "scores/quiet.tsv",
    ]  # fmt: skip
    assert text["events.tsv"].read_text() == (
        "filename\tonset\toffset\tevent_label\n"
        "my street.wav\t0.020\t1.500\tAir horn, truck horn\n"
        "my street.wav\t2.000\t3.250\tCar\n"
    )
    assert text["audacity/my street.txt"].read_text() == (
        "0.020000\t1.500000\tAir horn, truck horn\n2.000000\t3.250000\tCar\n"
    )
    assert text["audacity/quiet.txt"].read_text() == ""
    assert text["raven/my street.txt"].read_text().splitlines()[:2] == [
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin Path\t"
        "File Offset (s)\tConfidence\tAnnotation",
        "1\tSpectrogram 1\t1\t0.020000\t1.500000\t0.0\t20000.0\tmy street.wav\t0.020000\t0.7500\tAir horn, truck horn",
    ]
    assert [json.loads(line) for line in text["events.jsonl"].read_text().splitlines()][1] == {
        "filename": "my street.wav", "onset": 2.0, "offset": 3.25, "label": "Car", "score": 0.5,
    }  # fmt: skip
    with text["events.csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["event_label"] == "Air horn, truck horn"
    assert rows[0]["score"] == "0.7500"
    assert text["recordings.csv"].read_text().splitlines()[1:] == [
        "my street.wav,10.000,2,ok,",
        "quiet.wav,10.000,0,ok,",
    ]


def test_lists_read_back(tmp_path):
    write(tmp_path, [detection("street.wav", EVENTS)])
    plain = tuple((e.onset, e.offset, e.label) for e in EVENTS)
    for events in (read_events(tmp_path / "events.tsv"), read_event_folder(tmp_path / "audacity")):
        assert tuple((e.onset, e.offset, e.label) for e in events["street"]) == plain


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("events.tsv", "desed"),
        ("events.txt", "dcase"),
        ("events.csv", "desed"),
        ("audacity/my street.txt", "audacity"),
        ("raven/my street.txt", "raven"),
    ],
)
def test_every_text_format_is_read_as_the_form_of_its_name(tmp_path, file, form):
    write(tmp_path, [detection("my street.wav", EVENTS)])
    found = read_label_file(tmp_path / file)
    assert found.form.name == form
    rows = [(row.onset, row.offset, *row.labels) for row in found.rows]
    assert rows == [(event.onset, event.offset, event.label) for event in EVENTS]
    if form != "audacity":
        assert {recording_id(row.name) for row in found.rows} == {"my street"}


def test_scores_read_back_as_sed_scores_eval_wants_them(tmp_path):
    strong = write(tmp_path, [detection("street.wav", EVENTS)])
    lines = (tmp_path / "scores" / "street.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["onset", "offset", *LABELS]
    table = np.array([[float(value) for value in line.split("\t")] for line in lines[1:]])
    np.testing.assert_allclose(table[1:, 0], table[:-1, 1])  # gapless
    np.testing.assert_allclose(table[:, 2:], strong, atol=5e-7)
    scores = load_scores(tmp_path / "scores.h5")
    np.testing.assert_array_equal(scores.strong, strong[None])
    np.testing.assert_array_equal(scores.weak, np.array([[0.9, 0.1]], np.float32))
    assert (scores.clip_ids, scores.classes, scores.hop_seconds) == (("street.wav",), LABELS, 0.02)


def test_a_failed_recording_leaves_its_line_and_nothing_else(tmp_path):
    write(
        tmp_path,
        [detection("broken.wav", [], DataError("broken.wav: truncated, at\nthe end")), detection("b.wav", EVENTS)],
    )
    assert not (tmp_path / "scores" / "broken.tsv").exists()
    assert load_scores(tmp_path / "scores.h5").clip_ids == ("b.wav",)
    assert "broken" not in (tmp_path / "events.tsv").read_text()
    assert '"broken.wav: truncated, at the end"' in (tmp_path / "recordings.csv").read_text().splitlines()[1]
    assert not [path for path in tmp_path.rglob("*tmp*") if path.is_file()]


def test_an_interrupt_leaves_what_was_finished_as_partial(tmp_path):
    recordings = [Recording("a.wav", ""), Recording("b.wav", "")]
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        ResultWriter(tmp_path, FORMATS, recordings=recordings, classes=LABELS, hop_seconds=0.02) as writer,
    ):
        writer.add_scores(recordings[0], np.zeros((2, 2), np.float32))
        writer.write(detection("a.wav", EVENTS))
        writer.add_scores(recordings[1], np.zeros((2, 2), np.float32))
        raise KeyboardInterrupt
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert "events.tsv.partial" in left
    assert "events.tsv" not in left
    assert "scores/b.tsv" not in left
    write(tmp_path, [detection("a.wav", EVENTS)], overwrite=True)
    assert not list(tmp_path.rglob("*.partial"))


def test_nothing_is_overwritten_unasked(tmp_path):
    write(tmp_path, [detection("a.wav", EVENTS)], ["audacity"])
    with pytest.raises(DataError, match="is there already"):
        write(tmp_path, [detection("a.wav", EVENTS)], ["audacity"])
    write(tmp_path, [detection("a.wav", EVENTS)], ["audacity"], overwrite=True)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'desed'"):
        write(tmp_path, [], ["dese"])


def test_own_files_never_collide_nor_leave_the_folder():
    names = [
        "a.wav",
        "a.flac",
        "A.ogg",
        "../up.wav",
        "deep/a.wav",
        "b.wav",
        "b.flac",
        "b.wav.mp3",
        "c.wav.mp3",
        "C.wav",
    ]
    stems = file_stems(Recording(name, name) for name in names)
    assert list(stems.values())[:5] == ["a.wav", "a.flac", "A.ogg", "up", "deep/a"]
    assert list(stems.values())[5:] == ["b.wav", "b.flac", "b.wav.mp3", "c.wav.mp3", "C"]


def test_no_recordings_labels_look_like_a_class_list():
    names = ["classes.wav", "deep/classes.wav", "classes.x.wav"]
    stems = file_stems(Recording(name, name) for name in names)
    assert list(stems.values()) == ["classes.wav", "deep/classes.wav", "classes.x"]


@given(st.lists(st.text("aAbB./ \u00e4\u0308-\\", min_size=1, max_size=8), min_size=1, max_size=8, unique=True))
def test_no_two_recordings_share_a_file_whatever_their_names(names):
    stems = list(file_stems(Recording(name, name) for name in names).values())
    assert len({stem.casefold() for stem in stems}) == len(names)
    for stem in stems:
        assert stem.strip("/") == stem != ""
        assert not {"", ".", ".."} & set(stem.split("/"))


def test_names_too_long_for_the_file_system_are_cut_and_stay_apart():
    names = ["x" * 251 + ".wav", "x" * 250 + "y.wav", "\u00e4" * 130 + ".wav"]
    stems = list(file_stems(Recording(name, name) for name in names).values())
    assert len(set(stems)) == 3
    assert all(len(stem.encode()) <= 200 for stem in stems)


def test_scores_written_as_they_come_are_those_of_the_api(tmp_path):
    found, audio = detector(), bursts(30.0)
    recording = Recording("a", (audio, RATE))
    with ResultWriter(tmp_path, ["scores-h5"], recordings=[recording], classes=CLASSES, hop_seconds=0.05) as writer:
        for result in found.detect_many([recording], on_scores=writer.add_scores):
            writer.write(result)
    np.testing.assert_array_equal(load_scores(tmp_path / "scores.h5").strong, found.scores((audio, RATE)).strong)


def test_scores_of_recordings_of_many_lengths_are_read_one_by_one(tmp_path):
    found = detector()
    recordings = [Recording(f"{seconds}", (bursts(seconds), RATE)) for seconds in (1.0, 9.0, 2.5)]
    options = {"recordings": recordings, "classes": CLASSES, "hop_seconds": 0.05}
    with ResultWriter(tmp_path, ["scores-h5"], **options) as writer:
        for result in found.detect_many(recordings, on_scores=writer.add_scores):
            writer.write(result)
    path = tmp_path / "scores.h5"
    for recording in recordings:
        want = found.scores(recording)
        got = load_scores(path, [recording.name])
        np.testing.assert_array_equal(got.strong, want.strong)
        np.testing.assert_array_equal(got.weak, want.weak)
    with pytest.raises(DataError, match="one by one"):
        load_scores(path)
    with pytest.raises(ClipError, match="no scores"):
        load_scores(path, ["3.0"])


def test_score_files_of_earlier_versions_are_read(tmp_path):
    rng = np.random.default_rng(0)
    strong, weak = rng.random((2, 6, 2)).astype(np.float16), rng.random((2, 2)).astype(np.float32)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs["hop_seconds"] = 0.02
        file["classes"], file["clip_ids"] = list(LABELS), ["a", "b"]
        file["strong"], file["weak"] = strong, weak
    with h5py.File(tmp_path / "detect.h5", "w") as file:
        file.attrs["hop_seconds"] = 0.02
        file["classes"], file["order"] = list(LABELS), ["0", "2"]
        for key, name, row in (("0", "a", 0), ("2", "b", 1)):
            group = file.create_group(key)
            group.attrs["name"], group.attrs["duration_seconds"] = name, 0.12
            group["strong"], group["weak"] = strong[row].astype(np.float32), weak[row]
    for name in ("run.h5", "detect.h5"):
        scores = load_scores(tmp_path / name)
        assert (scores.clip_ids, scores.classes, scores.hop_seconds) == (("a", "b"), LABELS, 0.02)
        np.testing.assert_array_equal(scores.strong, strong.astype(np.float32))
        np.testing.assert_array_equal(scores.weak, weak)
        np.testing.assert_array_equal(load_scores(tmp_path / name, ["b"]).strong, strong[1:].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file["strong"].__setitem__((0, 0), np.nan), r"not in \[0, 1\]"),
        (lambda file: file["weak"].__setitem__((0, 0), 5.0), r"not in \[0, 1\]"),
        (lambda file: file.attrs.__setitem__("hop_seconds", 0.0), "a hop of 0 s"),
        (lambda file: file["clip_ids"].__setitem__(1, "a"), "listed twice"),
    ],
)
def test_scores_that_no_model_gives_are_refused(tmp_path, change, says):
    half = np.full((2, 3, 1), 0.5, np.float32)
    save_scores(tmp_path / "s.h5", Scores(("a", "b"), ("dog",), 0.1, half, half[:, 0]))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        change(file)
    with pytest.raises(DataError, match=says):
        load_scores(tmp_path / "s.h5")


def test_saving_and_loading_changes_no_score(tmp_path):
    rng = np.random.default_rng(1)
    strong, weak = rng.random((3, 7, 2)).astype(np.float32), rng.random((3, 2)).astype(np.float32)
    save_scores(tmp_path / "s.h5", Scores(("a", "b", "c"), LABELS, 0.02, strong, weak))
    again = load_scores(tmp_path / "s.h5")
    np.testing.assert_array_equal(again.strong, strong)
    np.testing.assert_array_equal(again.weak, weak)
