"""Results out: each format holds what its readers expect, only whole files get their names, cards show them."""

import base64
import csv
import io
import json
import re

import h5py
import numpy as np
import pytest
import soundfile
from detection_fakes import RATE, bursts, detector
from hypothesis import given
from hypothesis import strategies as st

from crnn_weak.detection.detector import Detection
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.scores import Scores, load_scores, save_scores
from crnn_weak.detection.writers import ResultWriter, file_stems
from crnn_weak.errors import ClipError, DataError
from crnn_weak.labels.events import Event, EventList
from crnn_weak.labels.writing import EVENT_FORMATS

LABELS = ("Air horn, truck horn", "Car")
EVENTS = [Event(0.02, 1.5, "Air horn, truck horn", 0.75), Event(2.0, 3.25, "Car", 0.5)]
FORMATS = (*EVENT_FORMATS, "scores", "scores-h5")
STRONG = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 6, 2)


def detection(name, events, error=None, seconds=10.0):
    listed = EventList(events, clip_id=name, duration_seconds=seconds)
    scores = Scores((name,), LABELS, 0.02, STRONG, np.array([[0.9, 0.1]], np.float32))
    return Detection(Recording(name, name), listed, (), scores, seconds, error)


def write(folder, detections, formats=FORMATS, **options):
    recordings = [one.recording for one in detections]
    with ResultWriter(folder, formats, recordings=recordings, classes=LABELS, hop_seconds=0.02, **options) as writer:
        for one in detections:
            writer.write(one)


def test_every_file_to_the_letter(tmp_path):
    write(tmp_path, [detection("my street.wav", EVENTS), detection("quiet.wav", [])])
    text = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    assert sorted(text) == [
        "audacity/my street.txt", "audacity/quiet.txt", "audioset.tsv", "events.csv", "events.jsonl", "events.tsv",
        "events.txt", "raven/my street.txt", "raven/quiet.txt", "recordings.csv", "scores.h5",
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
    assert text["raven/my street.txt"].read_text().splitlines()[1] == (
        "1\tSpectrogram 1\t1\t0.020000\t1.500000\t0.0\t20000.0\tmy street.wav\t0.020000\t0.7500\tAir horn, truck horn"
    )
    assert [json.loads(line) for line in text["events.jsonl"].read_text().splitlines()][1] == {
        "filename": "my street.wav", "onset": 2.0, "offset": 3.25, "label": "Car", "score": 0.5,
    }  # fmt: skip
    with text["events.csv"].open(newline="") as file:
        assert next((row["event_label"], row["score"]) for row in csv.DictReader(file)) == (LABELS[0], "0.7500")
    assert text["recordings.csv"].read_text().splitlines()[1:] == [
        "my street.wav,10.000,2,ok,", "quiet.wav,10.000,0,ok,",
    ]  # fmt: skip
    rows = [line.split("\t") for line in text["scores/my street.tsv"].read_text().splitlines()]
    assert rows[0] == ["onset", "offset", *LABELS]
    table = np.array(rows[1:], float)
    np.testing.assert_allclose(table[1:, 0], table[:-1, 1])  # gapless, as sed_scores_eval wants them
    np.testing.assert_allclose(table[:, 2:], STRONG[0], atol=5e-7)


def test_a_failed_recording_leaves_its_line_and_nothing_else(tmp_path):
    failed = detection("broken.wav", [], DataError("broken.wav: truncated, at\nthe end"))
    write(tmp_path, [failed, detection("b.wav", EVENTS)])
    assert not (tmp_path / "scores" / "broken.tsv").exists()
    assert load_scores(tmp_path / "scores.h5").clip_ids == ("b.wav",)
    assert "broken" not in (tmp_path / "events.tsv").read_text()
    assert '"broken.wav: truncated, at the end"' in (tmp_path / "recordings.csv").read_text().splitlines()[1]


def test_an_interrupt_leaves_what_was_finished_as_partial(tmp_path):
    def results():
        yield detection("a.wav", EVENTS)
        raise KeyboardInterrupt

    recordings = [Recording("a.wav", ""), Recording("b.wav", "")]
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        ResultWriter(tmp_path, FORMATS, recordings=recordings, classes=LABELS, hop_seconds=0.02) as writer,
    ):
        for one in results():
            writer.write(one)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert "events.tsv.partial" in left
    assert not {"events.tsv", "scores/b.tsv", "scores.h5"} & set(left)
    assert len((tmp_path / "events.tsv.partial").read_text().splitlines()) == 3
    write(tmp_path, [detection("a.wav", EVENTS)], overwrite=True)
    assert not list(tmp_path.rglob("*.partial"))
    for kind in FORMATS:
        with pytest.raises(DataError, match="exists already"):
            write(tmp_path, [detection("a.wav", EVENTS)], [kind])


# --- names of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.wav", "a.flac", "A.ogg", "../up.wav", "deep/a.wav"], ["a.wav", "a.flac", "A.ogg", "up", "deep/a"]),
        (["b.wav", "b.flac", "b.wav.mp3", "c.wav.mp3", "C.wav"], ["b.wav", "b.flac", "b.wav.mp3", "c.wav.mp3", "C"]),
        (["classes.wav", "d/classes.wav", "classes.x.wav"], ["classes.wav", "d/classes.wav", "classes.x"]),
    ],
)
def test_own_files_never_collide_nor_leave_the_folder(names, stems):
    assert list(file_stems(Recording(name, name) for name in names).values()) == stems


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


# --- score files -----------------------------------------------------------------------------------------------------


def test_scores_of_recordings_of_many_lengths_are_read_one_by_one(tmp_path):
    fake = detector()
    recordings = [Recording(f"{seconds}", (bursts(seconds), RATE)) for seconds in (1.0, 9.0, 2.5)]
    options = {"recordings": recordings, "classes": fake.classes, "hop_seconds": 0.05}
    with ResultWriter(tmp_path, ["scores-h5"], **options) as writer:
        for one in fake.detect_many(recordings):
            writer.write(one)
    path = tmp_path / "scores.h5"
    for recording in recordings:
        read, wanted = load_scores(path, [recording.name]), fake.scores(recording)
        np.testing.assert_array_equal(read.strong, wanted.strong)
        np.testing.assert_array_equal(read.weak, wanted.weak)
    with pytest.raises(DataError, match="one by one"):
        load_scores(path)
    with pytest.raises(ClipError, match="no scores"):
        load_scores(path, ["3.0"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file["strong"].__setitem__((0, 0), np.nan), r"not in \[0, 1\]"),
        (lambda file: file["weak"].__setitem__((0, 0), 5.0), r"not in \[0, 1\]"),
        (lambda file: file.attrs.__setitem__("hop_seconds", 0.0), "a hop of 0 s"),
        (lambda file: file["clip_ids"].__setitem__(1, "a"), "listed twice"),
        (lambda file: file["n_frames"].__setitem__(1, 2), "5 frames listed, 6 held"),
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
    for clips, rows in ((None, [0, 1, 2]), (["c", "a"], [2, 0])):
        again = load_scores(tmp_path / "s.h5", clips)
        assert (again.classes, again.hop_seconds) == (LABELS, 0.02)
        np.testing.assert_array_equal(again.strong, strong[rows])
        np.testing.assert_array_equal(again.weak, weak[rows])


# --- cards -----------------------------------------------------------------------------------------------------------


def test_a_card_is_player_picture_and_table(tmp_path):
    audio, path = bursts(8.0), tmp_path / "<b>.wav"
    soundfile.write(path, audio, RATE)
    (tmp_path / "bad <b>.wav").write_text("no")
    recordings = [Recording.of(path), Recording("array", (audio, RATE)), Recording.of(tmp_path / "bad <b>.wav")]
    recordings.append(Recording("long", (np.zeros(2_500_000), RATE)))
    *shown, failed, long = (one._repr_html_() for one in detector().detect_many(recordings))
    for text in shown:
        data = re.search('src="data:audio/wav;base64,([^"]+)"', text)[1]
        sound, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        assert rate == RATE
        np.testing.assert_allclose(sound, audio, atol=1e-3)
        assert text.count("<rect") == text.count("<tr>") - 1 == len(detector().detect(path))
    for text in (shown[0], failed):
        assert "<b>" not in text
        assert "&lt;b&gt;" in text
    assert "<audio" not in long
