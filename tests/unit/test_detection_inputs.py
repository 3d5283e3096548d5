"""Recordings in: what is found, what it sounds like at the model's rate, and what is refused."""

import io

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
    joined, blocks = read(path)
    whole, duration = load_clip(path, RATE)
    assert blocks.duration_seconds == pytest.approx(duration)
    assert abs(joined.size - whole.size) <= 1
    n = min(joined.size, whole.size)
    np.testing.assert_allclose(joined[:n], whole[:n], atol=1e-4)


def test_arrays_and_open_files_of_any_kind():
    audio, file = bursts(3.0), io.BytesIO()
    soundfile.write(file, audio, RATE, format="WAV", subtype="FLOAT")
    for source, wanted, tolerance in (
        ((audio, RATE), audio, 0),
        (file, audio, 0),
        ((np.round(audio * 32768).astype(np.int16), RATE), audio, 2e-5),
        ((np.round(audio * 127 + 128).astype(np.uint8), RATE), audio, 1e-2),
        ((np.stack([audio, 0 * audio], axis=1), RATE), audio / 2, 1e-7),
    ):
        np.testing.assert_allclose(read(source)[0], wanted, rtol=0, atol=tolerance)


def test_arrays_that_are_no_sound():
    shapes = [np.zeros((2, 8000)), np.zeros((2, 3, 4)), np.array(["a"]), np.zeros(0)]
    for source in [*((array, RATE) for array in shapes), (np.zeros(10), 0), np.zeros(100)]:
        with pytest.raises(DataError):
            read(source)


def test_a_file_without_permission(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    soundfile.write(tmp_path / "a.wav", bursts(1.0), RATE)
    monkeypatch.setattr("pathlib.Path.open", refuse)  # the superuser may read everything
    with pytest.raises(DataError, match="no permission"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("audio", "warning"),
    [
        (np.zeros(RATE), "digital silence"),
        (0.5 + 0.01 * bursts(2.0), "constant offset (DC) of +0.50"),
        ((20 * bursts(5.0)).clip(-1, 1), "clipped"),
        (bursts(5.0), None),
        (0.001 + 0.01 * bursts(5.0), None),
    ],
)
def test_odd_recordings_are_processed_with_a_warning(tmp_path, audio, warning, caplog):
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    events = detector().detect(tmp_path / "a.wav")
    assert all(0 <= event.onset < event.offset <= len(audio) / RATE for event in events)
    assert len(caplog.messages) == bool(warning)
    assert all(message.startswith("a.wav: ") and warning in message for message in caplog.messages)


@pytest.mark.parametrize("n_samples", [1, 100, 201, 4 * RATE, 4 * RATE + 1, 4 * RATE + 400])
def test_any_length(n_samples):
    fake = detector()
    scores = fake.scores((bursts(5.0)[:n_samples], RATE))
    assert scores.strong.shape == (1, max(1, round(n_samples / 400)), 2)
    assert np.isfinite(scores.strong).all()
    assert fake.detect((bursts(5.0)[:n_samples], RATE)).duration_seconds == pytest.approx(n_samples / RATE)
    for event in fake.detect((np.full(n_samples, 0.5), RATE)):
        assert event.offset <= round(n_samples / RATE, 6)
