"""Recordings in: what is found, what it sounds like at the model's rate, and what is refused."""

import io
import os

import numpy as np
import pytest
import soundfile
from detection_fakes import RATE, bursts, detector

from crnn_weak.audio import AudioBlocks, load_clip
from crnn_weak.detection.recordings import find_recordings
from crnn_weak.errors import DataError


def read(source, rate=RATE):
    blocks = AudioBlocks(source, rate, "recording")
    return np.concatenate(list(blocks)), blocks


# --- what is found ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for name in ("b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "deep/er/c.ogg", ".git/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_folders_are_searched_and_other_files_left(folder):
    assert [r.name for r in find_recordings([folder])] == ["a.FLAC", "b.wav", "deep/er/c.ogg"]


def test_files_patterns_and_stdin_each_once(folder):
    found = find_recordings([folder / "notes.txt", str(folder / "*.wav"), folder / "b.wav", "-"])
    assert [r.name for r in found] == ["notes.txt", "b.wav", "stdin"]


def test_two_files_of_one_name_get_longer_names(tmp_path):
    for name in ("x/one/a.wav", "x/two/a.wav", "b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_recordings([tmp_path / "x/one/a.wav", tmp_path / "x/two/a.wav", tmp_path / "b.wav"])
    assert [r.name for r in found] == ["one/a.wav", "two/a.wav", "b.wav"]


def test_one_missing_name_among_others_is_kept_and_alone_an_error(folder):
    assert [r.name for r in find_recordings([folder / "gone.wav", folder / "b.wav"])] == ["gone.wav", "b.wav"]
    with pytest.raises(DataError, match="no such file"):
        find_recordings([folder / "gone.wav"])


def test_nothing_found_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no audio files"):
        find_recordings([tmp_path])
    with pytest.raises(DataError, match="no file matches"):
        find_recordings([str(tmp_path / "*.wav")])


# --- any rate, any channels, any form --------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "n_channels"), [(8_000, 1), (11_025, 1), (44_100, 2), (96_000, 2), (48_000, 6)])
def test_blocks_are_the_whole_file_resampled(tmp_path, rate, n_channels):
    audio = 0.3 * np.random.default_rng(0).standard_normal((rate * 45 + 17, n_channels)).clip(-3, 3)
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, rate)
    got, blocks = read(path)
    whole, duration = load_clip(path, RATE)
    assert blocks.duration_seconds == pytest.approx(duration)
    assert abs(got.size - whole.size) <= 1
    n = min(got.size, whole.size)
    np.testing.assert_allclose(got[:n], whole[:n], atol=1e-4)


def test_arrays_of_any_kind():
    audio = bursts(3.0)
    want, _ = read((audio, RATE))
    np.testing.assert_array_equal(want, audio)
    np.testing.assert_allclose(read((np.round(audio * 32768).astype(np.int16), RATE))[0], audio, atol=2e-5)
    np.testing.assert_allclose(read((np.round(audio * 127 + 128).astype(np.uint8), RATE))[0], audio, atol=1e-2)
    np.testing.assert_allclose(read((np.stack([audio, 0 * audio], axis=1), RATE))[0], audio / 2, atol=1e-7)


@pytest.mark.parametrize(
    "source",
    [
        (np.zeros((2, 8000)), RATE),
        (np.zeros((2, 3, 4)), RATE),
        (np.array(["a"]), RATE),
        (np.zeros(10), 0),
        (np.zeros(0), RATE),
        np.zeros(100),
    ],
)
def test_arrays_that_are_no_sound(source):
    with pytest.raises(DataError):
        read(source)


def test_an_open_file_is_read():
    buffer = io.BytesIO()
    soundfile.write(buffer, bursts(1.0), RATE, format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(read(buffer)[0], bursts(1.0))


# --- bad input -------------------------------------------------------------------------------------------------------


def written(tmp_path, name, audio=None, rate=RATE, **options):
    path = tmp_path / name
    soundfile.write(path, bursts(20.0) if audio is None else audio, rate, **options)
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff", "a.mp3"])
@pytest.mark.parametrize("share", [0.3, 0.93])
def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path, name, share, capfd):
    rate = 16_000
    path = written(tmp_path, name, np.tile(bursts(20.0), 2), rate)
    whole = read(path)[1].duration_seconds
    assert whole == pytest.approx(20.0, abs=0.1)
    with pytest.raises(DataError, match="truncated"):
        read(cut(path, share))
    capfd.readouterr()  # mpg123 writes to stderr


def test_a_damaged_middle_is_an_error(tmp_path):
    path = written(tmp_path, "a.flac")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged or truncated after"):
        read(path)


def test_a_wav_from_a_pipe_is_whole(tmp_path):
    # Its writer could not know the length and left the largest number there.
    path = written(tmp_path, "a.wav", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert read(path)[1].duration_seconds == pytest.approx(20.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused_with_its_place(tmp_path, value):
    audio = bursts(30.0)
    audio[25 * RATE] = value
    with pytest.raises(DataError, match=r"NaN or infinite samples at 25\.000 s"):
        read(written(tmp_path, "a.wav", audio, subtype="FLOAT"))


def test_files_that_are_no_sound(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not sound\n" * 100)
    (tmp_path / "folder.wav").mkdir()
    written(tmp_path, "no_samples.wav", np.zeros(0))
    for name, why in {
        "empty.wav": "0 bytes", "text.wav": "cannot be read as audio", "folder.wav": "is a folder",
        "no_samples.wav": "holds no samples", "gone.wav": "no such audio file",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=why):
            read(tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission(tmp_path):
    path = written(tmp_path, "a.wav")
    path.chmod(0)
    with pytest.raises(DataError, match="no permission"):
        read(path)


def test_no_permission_as_the_system_says_it(tmp_path, monkeypatch):
    path = written(tmp_path, "a.wav")

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match="no permission"):
        read(path)


@pytest.mark.parametrize(
    ("audio", "warning"),
    [
        (np.zeros(RATE), "digital silence"),
        (0.5 + 0.01 * bursts(2.0), r"constant offset \(DC\) of \+0.50"),
        ((20 * bursts(5.0)).clip(-1, 1), "clipped"),
        (bursts(5.0), None),
        (0.001 + 0.01 * bursts(5.0), None),
    ],
)
def test_odd_recordings_are_processed_with_a_warning(tmp_path, audio, warning, caplog):
    path = written(tmp_path, "a.wav", audio, subtype="FLOAT")
    _, blocks = read(path)
    assert len(blocks.warnings) == (warning is not None)
    events = detector().detect(path)
    if warning is None:
        assert not caplog.records
    else:
        assert caplog.records[0].getMessage().startswith("a.wav: ")
        assert caplog.messages[0].find(warning.split("\\")[0]) > 0
    assert all(0 <= event.onset < event.offset <= len(audio) / RATE for event in events)


def test_silence_has_no_events():
    assert len(detector().detect((np.zeros(20 * RATE), RATE))) == 0


@pytest.mark.parametrize("n_samples", [1, 100, 201, 4 * RATE, 4 * RATE + 1, 4 * RATE + 400])
def test_any_length(n_samples):
    found = detector()
    scores = found.scores((bursts(5.0)[:n_samples], RATE))
    assert scores.strong.shape == (1, max(1, round(n_samples / 400)), 2)
    assert np.isfinite(scores.strong).all()
    assert found.detect((bursts(5.0)[:n_samples], RATE)).duration_seconds == pytest.approx(n_samples / RATE)
    for event in found.detect((np.full(n_samples, 0.5), RATE)):
        assert event.offset <= round(n_samples / RATE, 6)
