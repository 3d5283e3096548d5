"""Recordings in: what is found, how it sounds, what is refused. Results out: each format holds what readers expect."""

import csv
import io
import re

import h5py
import numpy as np
import pytest
import soundfile
from detection_fakes import RATE, TwoSidedModel, bursts, detector

from crnn_weak.audio import AudioBlocks, load_clip
from crnn_weak.detection.detector import Detection, Recording
from crnn_weak.detection.recordings import ResultWriter, file_stems, find_recordings
from crnn_weak.detection.scores import Scores, load_scores, save_scores
from crnn_weak.errors import ClipError, DataError, ModelFileError, RunError
from crnn_weak.labels.events import Event, EventList
from crnn_weak.labels.writing import EVENT_FORMATS

LABELS = ("Air horn, truck horn", "Car")
EVENTS = [Event(0.02, 1.5, "Air horn, truck horn", 0.75), Event(2.0, 3.25, "Car", 0.5)]
FORMATS = (*EVENT_FORMATS, "scores", "scores-h5")
STRONG = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 6, 2)


def detection(name, events):
    listed = EventList(events, clip_id=name, duration_seconds=10.0)
    scores = Scores((name,), LABELS, 0.02, STRONG, np.array([[0.9, 0.1]], np.float32))
    return Detection(Recording(name, name), listed, (), scores, 10.0)


def write(folder, detections, formats=FORMATS, *, interrupt=False, overwrite=False):
    with ResultWriter(folder, formats, recordings=[one.recording for one in detections], overwrite=overwrite) as writer:
        for one in detections:
            writer.write(one)
        if interrupt:
            raise KeyboardInterrupt


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_file_to_the_letter(tmp_path):
    failed = Detection(Recording("bad.wav", ""), EventList(), error=DataError("bad.wav: truncated, at\nthe end"))
    write(tmp_path, [detection("my street.wav", EVENTS), failed, detection("quiet.wav", [])])
    assert files_below(tmp_path) == [
        "audacity/my street.txt", "audacity/quiet.txt", "audioset.tsv", "events.csv", "events.jsonl", "events.tsv",
        "events.txt", "raven/my street.txt", "raven/quiet.txt", "recordings.csv", "scores.h5",
        "scores/my street.tsv", "scores/quiet.tsv",
    ]  # fmt: skip
    text = {name: (tmp_path / name).read_text() for name in files_below(tmp_path) if not name.endswith("h5")}
    assert text["events.tsv"] == (
        "filename\tonset\toffset\tevent_label\n"
        "my street.wav\t0.020\t1.500\tAir horn, truck horn\n"
        "my street.wav\t2.000\t3.250\tCar\n"
    )
    assert text["audacity/my street.txt"] == "0.020000\t1.500000\tAir horn, truck horn\n2.000000\t3.250000\tCar\n"
    assert text["audacity/quiet.txt"] == ""
    assert text["raven/my street.txt"].splitlines()[1] == (
        "1\tSpectrogram 1\t1\t0.020000\t1.500000\t0.0\t20000.0\tmy street.wav\t0.020000\t0.7500\tAir horn, truck horn"
    )
    row = next(csv.DictReader(io.StringIO(text["events.csv"])))
    assert (row["event_label"], row["score"]) == (LABELS[0], "0.7500")
    assert text["recordings.csv"].splitlines()[1:] == [
        "my street.wav,10.000,2,ok,", 'bad.wav,,,failed,"bad.wav: truncated, at the end"', "quiet.wav,10.000,0,ok,",
    ]  # fmt: skip
    assert load_scores(tmp_path / "scores.h5").clip_ids == ("my street.wav", "quiet.wav")
    rows = [line.split("\t") for line in text["scores/my street.tsv"].splitlines()]
    assert rows[0] == ["onset", "offset", *LABELS]
    table = np.array(rows[1:], float)
    np.testing.assert_allclose(table[1:, 0], table[:-1, 1])  # gapless, as sed_scores_eval wants them
    np.testing.assert_allclose(table[:, 2:], STRONG[0], atol=5e-7)


def test_an_interrupt_leaves_what_was_finished_as_partial(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, [detection("a.wav", EVENTS)], interrupt=True)
    assert "events.tsv.partial" in files_below(tmp_path)
    assert not {"events.tsv", "scores.h5"} & set(files_below(tmp_path))
    assert len((tmp_path / "events.tsv.partial").read_text().splitlines()) == 3
    write(tmp_path, [detection("a.wav", EVENTS)], overwrite=True)
    assert not list(tmp_path.rglob("*.partial"))
    (tmp_path / "recordings.csv").unlink()
    for kind in FORMATS:
        with pytest.raises(RunError, match="exists"):
            write(tmp_path, [detection("a.wav", EVENTS)], [kind])


def test_own_files_never_collide_nor_leave_the_folder():
    same = ["a.wav", "a.flac", "A.ogg", "b.wav", "b.flac", "b.wav.mp3", "c.wav.mp3", "classes.wav", "d/classes.wav"]
    others = {"../up.wav": "up", "deep/a.wav": "deep/a", "C.wav": "C", "classes.x.wav": "classes.x"}
    others |= {"/": "recording", "..": "recording (2)", "a\\..\\c.wav": "a_.._c"}
    stems = file_stems(Recording(name, name) for name in (*same, *others))
    assert stems == {**dict(zip(same, same, strict=True)), **others}
    long = [Recording("x" * 250 + end, "") for end in ("y", "z", "y/z")]
    assert sorted(map(len, file_stems(long).values())) == [200, 200, 202]


def test_scores_of_recordings_of_many_lengths_are_read_one_by_one(tmp_path):
    fake, path = detector(), tmp_path / "scores.h5"
    recordings = [Recording(f"{seconds}", (bursts(seconds), RATE)) for seconds in (1.0, 9.0, 2.5)]
    with ResultWriter(tmp_path, ["scores-h5"], recordings=recordings) as writer:
        for one in fake.detect_many(recordings):
            writer.write(one)
    for recording in recordings:
        read, wanted = load_scores(path, recording.name), fake.scores(recording)
        np.testing.assert_array_equal(read.strong, wanted.strong)
        np.testing.assert_array_equal(read.weak, wanted.weak)
    with pytest.raises(DataError, match="one by one"):
        load_scores(path)
    with pytest.raises(ClipError, match="no scores"):
        load_scores(path, "3.0")


def huge(file):
    del file["strong"]
    file.create_dataset("strong", (2**40, 1), np.float32, chunks=(4096, 1))
    file["n_frames"][:] = 2**39


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file["strong"].__setitem__((0, 0), np.nan), r"not in \[0, 1\]"),
        (lambda file: file["weak"].__setitem__((0, 0), 5.0), r"not in \[0, 1\]"),
        (lambda file: file["hop_seconds"].__setitem__(0, 0.0), "a hop of 0 s"),
        (lambda file: file["classes"].__setitem__(0, "=a"), "label '=a' begins with"),
        (lambda file: file["clip_ids"].__setitem__(1, "a"), "listed twice"),
        (lambda file: file["n_frames"].__setitem__(1, 2), "5 frames listed, 6 held"),
        (huge, "damaged"),
    ],
)
def test_scores_that_no_model_gives_are_refused(tmp_path, change, says):
    half = np.full((2, 3, 1), 0.5, np.float32)
    save_scores(tmp_path / "s.h5", Scores(("a", "b"), ("dog",), 0.1, half, half[:, 0]))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        change(file)
    with pytest.raises(DataError, match=says):
        load_scores(tmp_path / "s.h5")


def test_a_notebook_shows_player_picture_and_table(tmp_path):
    pytest.importorskip("IPython")
    audio, path = bursts(8.0), tmp_path / "<b>.wav"
    soundfile.write(path, audio, RATE)
    (tmp_path / "bad <b>.wav").write_text("no")
    sources = {"<b>.wav": path, "array": (audio, RATE), "bad <b>.wav": tmp_path / "bad <b>.wav"}
    sources["long"] = (np.zeros(61 * RATE), RATE)
    recordings = [Recording(name, source) for name, source in sources.items()]
    *shown, failed, long = (one._repr_html_() for one in detector().detect_many(recordings))
    for text in shown:
        assert re.search('src="data:audio/[^;"]*;base64,[^"]+"', text)
        assert text.count("<rect") == text.count("<tr>") - 1 == len(detector().detect(path))
    for text in (shown[0], failed):
        assert "<b>" not in text
        assert "&lt;b&gt;" in text
    assert "<audio" not in long


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([""], ["a.FLAC", "b.wav", "deep/er/c.ogg", "x/one/a.wav", "x/two/a.wav"]),
        (["notes.txt", "*.wav", "b.wav", "-"], ["notes.txt", "b.wav", "stdin"]),
        (["x/one/a.wav", "x/two/a.wav", "b.wav"], ["one/a.wav", "two/a.wav", "b.wav"]),
        (["x/*"], ["one/a.wav", "two/a.wav"]),
        (["gone.wav", "b.wav"], ["gone.wav", "b.wav"]),
        (["gone.wav"], "no such file"),
        (["empty"], "no audio file"),
        (["*.mp3"], "no audio file"),
    ],
)
def test_what_is_found(tmp_path, paths, names):
    files = ["b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "deep/er/c.ogg", ".git/d.wav", "x/one/a.wav", "x/two/a.wav"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    paths = [path if path == "-" else str(tmp_path / path) for path in paths]
    if isinstance(names, str):
        with pytest.raises(DataError, match=names):
            find_recordings(paths)
    else:
        assert [recording.name for recording in find_recordings(paths)] == names


@pytest.mark.parametrize(("rate", "n_channels"), [(8_000, 1), (11_025, 1), (96_000, 2), (48_000, 6)])
def test_blocks_are_the_whole_file_resampled(tmp_path, rate, n_channels):
    audio = 0.3 * np.random.default_rng(0).standard_normal((rate * 25 + 17, n_channels)).clip(-3, 3)
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, rate)
    blocks = AudioBlocks(path, RATE)
    joined = np.concatenate(list(blocks))
    whole, duration = load_clip(path, RATE)
    assert blocks.duration_seconds == pytest.approx(duration)
    assert abs(joined.size - whole.size) <= 1
    n = min(joined.size, whole.size)
    np.testing.assert_allclose(joined[:n], whole[:n], atol=1e-4)


@pytest.mark.parametrize(
    ("audio", "warning"),
    [
        (np.zeros(RATE), "digital silence"),
        (0.5 + 0.01 * bursts(2.0), "constant offset (DC) of +0.50"),
        ((20 * bursts(5.0)).clip(-1, 1), "clipped"),
        (bursts(5.0), None),
        (0.001 + 0.01 * bursts(5.0), None),
        (8000 * bursts(5.0), "not in [-1, 1]"),
        (1e-5 * bursts(5.0), "almost silent"),
    ],
)
def test_odd_recordings_are_processed_with_a_warning(tmp_path, audio, warning, caplog):
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    events = detector().detect(tmp_path / "a.wav")
    assert all(0 <= event.onset < event.offset <= len(audio) / RATE for event in events)
    assert len(caplog.messages) == bool(warning)
    assert all(message.startswith("a.wav: ") and warning in message for message in caplog.messages)


class HearsSilence:
    """Reports every class where there is no sound, as networks do that were trained without padding."""

    def predict_on_batch(self, windows):
        strong = np.repeat(np.where(windows.mean(axis=-1, keepdims=True) < -7, 0.9, 0.01), 2, axis=-1)
        return {"strong": strong, "weak": strong.max(axis=1)}


@pytest.mark.parametrize(
    ("seconds", "zeros", "warning"),
    [
        (12.0, (3.0, 6.0), "zeros (padding, dropouts?): 3.00 to 6.00 s; no events there"),
        (12.0, (3.0, 3.1), "zeros (padding, dropouts?): 3.00 to 3.10 s; no events there"),
        (12.0, (10.0, 12.0), "zeros (padding, dropouts?): 10.00 to 12.00 s; no events there"),
        (12.0, (3.0, 3.05), None),  # shorter than a window
        (12.0, (0.0, 12.0), "digital silence: every sample is zero"),
        (0.2, None, None),
        (2.0, None, None),
    ],
)
def test_no_event_on_zeros_and_padding(seconds, zeros, warning):
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * RATE)).astype(np.float32)
    fake = detector(HearsSilence())
    fake.operating_point = fake.operating_point.replace(median_seconds=0.55, min_gap_seconds=0.5)
    if zeros is not None:
        begin, end = (round(second / 0.05) for second in zeros)
        audio[begin * 400 : end * 400] = 0
    (found,) = fake.detect_many([Recording("a", (audio, RATE))])
    assert found.warnings == (() if warning is None else (warning,))
    assert not found.events
    assert all(tag.score < 0.02 for tag in found.tags)  # each recording has at least one
    if zeros is not None and warning:
        assert not found.scores.strong[0, begin:end].any()
    assert found.scores.strong.shape[1] == round(seconds / 0.05)


def test_an_event_ends_where_zeros_begin_though_gaps_are_closed():
    fake, audio = detector(), bursts(12.0)
    fake.operating_point = fake.operating_point.replace(thresholds=0.02, min_gap_seconds=3.0)
    assert any(event.onset < 5.0 and event.offset > 6.0 for event in fake.detect((audio, RATE)))
    audio[5 * RATE : 6 * RATE] = 0
    events = fake.detect((audio, RATE))
    assert events
    assert all(event.offset <= 5.0 or event.onset >= 6.0 for event in events)


def test_scores_that_are_no_numbers_are_a_fault_of_the_model():
    class Overflown(TwoSidedModel):
        def predict_on_batch(self, windows):
            return {name: np.nan * scores for name, scores in super().predict_on_batch(windows).items()}

    with pytest.raises(ModelFileError, match=r"the model's scores are not numbers\. Train it again"):
        detector(Overflown()).detect((bursts(2.0), RATE))


def test_a_rate_far_below_the_models_is_named(caplog):
    detector().detect((bursts(2.0, rate=4000)[:8000], 4000))
    assert "sample rate 4000 Hz: no sound above 2000 Hz; the model hears up to 4000 Hz" in caplog.text


@pytest.mark.parametrize("n_samples", [1, 100, 201, 4 * RATE, 4 * RATE + 1, 4 * RATE + 400])
def test_any_length(n_samples):
    fake = detector()
    scores = fake.scores((bursts(5.0)[:n_samples], RATE))
    assert scores.strong.shape == (1, max(1, round(n_samples / 400)), 2)
    assert np.isfinite(scores.strong).all()
    assert fake.detect((bursts(5.0)[:n_samples], RATE)).duration_seconds == pytest.approx(n_samples / RATE)
    for event in fake.detect((np.full(n_samples, 0.5), RATE)):
        assert event.offset <= round(n_samples / RATE, 6)
