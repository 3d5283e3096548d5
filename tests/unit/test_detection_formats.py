"""Results out: each format holds what its readers expect, and only whole files get their names."""

import csv
import json

import numpy as np
import pytest
from detection_fakes import CLASSES, RATE, bursts, detector

from crnn_weak.errors import ConfigError, DataError
from crnn_weak.inference.recordings import Recording
from crnn_weak.inference.results import Detection
from crnn_weak.inference.score_archive import read_recording_scores
from crnn_weak.inference.writers import FORMATS, TEXT_FORMATS, ResultWriter, file_stems
from crnn_weak.labels.events import Event, EventList
from crnn_weak.labels.files import read_audacity_folder, read_events

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
            writer.frames(result.recording, 0, strong[:4])
            writer.frames(result.recording, 4, strong[4:])
            writer.write(result)
    return strong


def test_every_format_to_the_letter(tmp_path):
    write(tmp_path, [detection("my street.wav", EVENTS), detection("quiet.wav", [])])
    text = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    assert sorted(text) == [
        "audacity/my street.txt", "audacity/quiet.txt", "events.csv", "events.jsonl", "events.rttm", "events.tsv",
        "recordings.csv", "scores.h5", "scores/my street.tsv", "scores/quiet.tsv",
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
    assert text["events.rttm"].read_text().splitlines()[0] == (
        "SPEAKER my_street.wav 1 0.020 1.480 <NA> <NA> Air_horn,_truck_horn 0.750 <NA>"
    )
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
    for events in (read_events(tmp_path / "events.tsv"), read_audacity_folder(tmp_path / "audacity")):
        assert tuple((e.onset, e.offset, e.label) for e in events["street"]) == plain


def test_scores_read_back_as_sed_scores_eval_wants_them(tmp_path):
    strong = write(tmp_path, [detection("street.wav", EVENTS)])
    lines = (tmp_path / "scores" / "street.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["onset", "offset", *LABELS]
    table = np.array([[float(value) for value in line.split("\t")] for line in lines[1:]])
    np.testing.assert_allclose(table[1:, 0], table[:-1, 1])  # gapless
    np.testing.assert_allclose(table[:, 2:], strong, atol=5e-7)
    (scores,) = read_recording_scores(tmp_path / "scores.h5").values()
    np.testing.assert_array_equal(scores.strong, strong)
    np.testing.assert_array_equal(scores.weak, np.array([0.9, 0.1], np.float32))
    assert (scores.classes, scores.hop_seconds, scores.duration_seconds) == (LABELS, 0.02, 10.0)


def test_a_failed_recording_leaves_its_line_and_nothing_else(tmp_path):
    write(
        tmp_path,
        [detection("broken.wav", [], DataError("broken.wav: truncated, at\nthe end")), detection("b.wav", EVENTS)],
    )
    assert not (tmp_path / "scores" / "broken.tsv").exists()
    assert list(read_recording_scores(tmp_path / "scores.h5")) == ["b.wav"]
    assert "broken" not in (tmp_path / "events.tsv").read_text()
    assert '"broken.wav: truncated, at the end"' in (tmp_path / "recordings.csv").read_text().splitlines()[1]
    assert not [path for path in tmp_path.rglob("*tmp*") if path.is_file()]


def test_an_interrupt_leaves_what_was_finished_as_partial(tmp_path):
    recordings = [Recording("a.wav", ""), Recording("b.wav", "")]
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        ResultWriter(tmp_path, FORMATS, recordings=recordings, classes=LABELS, hop_seconds=0.02) as writer,
    ):
        writer.frames(recordings[0], 0, np.zeros((2, 2), np.float32))
        writer.write(detection("a.wav", EVENTS))
        writer.frames(recordings[1], 0, np.zeros((2, 2), np.float32))
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
    with pytest.raises(ConfigError, match="'dcase'"):
        write(tmp_path, [], ["dcas"])


def test_own_files_never_collide_nor_leave_the_folder():
    names = ["a.wav", "a.flac", "A.ogg", "../up.wav", "deep/a.wav"]
    stems = file_stems(Recording(name, name) for name in names)
    assert list(stems.values()) == ["a.wav", "a.flac", "A.ogg", "up", "deep/a"]


def test_rttm_fields_hold_no_blanks():
    line = TEXT_FORMATS["rttm"].line("a b.wav", Event(0.0, 1.0, "Fire engine, fire truck (siren)"))
    assert len(line.split(" ")) == 10
    assert line.split(" ")[8] == "<NA>"


def test_scores_written_as_they_come_are_those_of_the_api(tmp_path):
    found, audio = detector(), bursts(30.0)
    recording = Recording("a", (audio, RATE))
    with ResultWriter(tmp_path, ["scores-h5"], recordings=[recording], classes=CLASSES, hop_seconds=0.05) as writer:
        for result in found.detect_many([recording], observer=writer):
            writer.write(result)
    np.testing.assert_array_equal(
        read_recording_scores(tmp_path / "scores.h5")["a"].strong, found.scores((audio, RATE)).strong
    )
