"""Audio files: what is read equals what was written; what cannot be read is one clear line."""

import numpy as np
import pytest
import soundfile

from crnn_weak.audio import index_audio, load_clip, read_header, write_audio
from crnn_weak.errors import DataError

RATE = 8_000


def noise(seconds=1.0, rate=RATE, seed=0):
    samples = np.random.default_rng(seed).integers(-8000, 8000, round(seconds * rate))
    return (samples / 32768).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_samples_on_the_16_bit_grid_come_back_unchanged(tmp_path, suffix):
    path = tmp_path / "sub" / f"--a_b{suffix}"
    write_audio(path, noise(), RATE)
    audio, duration = load_clip(path, RATE)
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(audio, noise())
    assert duration == 1.0
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_values_beyond_full_scale_are_clipped_not_wrapped(tmp_path):
    write_audio(tmp_path / "loud.wav", np.array([2.0, -2.0, 0.5]), RATE)
    np.testing.assert_allclose(load_clip(tmp_path / "loud.wav", RATE)[0], [32767 / 32768, -1.0, 0.5])


def test_channels_are_averaged(tmp_path):
    left, right = noise(seed=1), noise(seed=2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE, subtype="PCM_16")
    np.testing.assert_allclose(load_clip(tmp_path / "stereo.wav", RATE)[0], (left + right) / 2, atol=2e-5)


def test_a_short_file_is_padded_a_long_one_cut_and_a_part_begins_where_asked(tmp_path):
    write_audio(tmp_path / "a.flac", noise(1.5), RATE)
    padded, duration = load_clip(tmp_path / "a.flac", RATE, 2.0)
    assert (len(padded), duration) == (2 * RATE, 1.5)
    np.testing.assert_array_equal(padded[:12_000], noise(1.5))
    assert not padded[12_000:].any()
    for start in (0.0, 0.75):
        cut, duration = load_clip(tmp_path / "a.flac", RATE, 0.25, start_seconds=start)
        np.testing.assert_array_equal(cut, noise(1.5)[round(start * RATE) :][:2000])
        assert duration == 1.5


def test_resampling_keeps_a_sine_and_its_length(tmp_path):
    time = np.arange(44_100) / 44_100
    write_audio(tmp_path / "sine.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 44_100)
    audio, _ = load_clip(tmp_path / "sine.wav", 16_000)
    assert len(audio) == 16_000
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(audio[800:-800], expected[800:-800], atol=1e-3)


def test_cutting_while_resampling_equals_cutting_after(tmp_path):
    write_audio(tmp_path / "a.wav", noise(3.0, 44_100), 44_100)
    whole, _ = load_clip(tmp_path / "a.wav", 16_000)
    np.testing.assert_allclose(load_clip(tmp_path / "a.wav", 16_000, 1.0)[0], whole[:16_000], atol=1e-4)


def bad_files(folder):
    write_audio(folder / "good.flac", noise(), RATE)
    data = (folder / "good.flac").read_bytes()
    (folder / "truncated.flac").write_bytes(data[: len(data) // 2])
    (folder / "text.wav").write_text("not audio " * 50)
    (folder / "nothing.wav").write_bytes(b"")
    soundfile.write(folder / "no_samples.wav", np.zeros(0), RATE)
    soundfile.write(folder / "nan.wav", np.r_[noise(), np.nan], RATE, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", np.r_[noise(), np.inf], RATE, subtype="FLOAT")
    (folder / "folder.wav").mkdir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("truncated.flac", "truncated"),
        ("text.wav", "cannot be read as audio"),
        ("nothing.wav", "0 bytes"),
        ("no_samples.wav", "no samples"),
        ("nan.wav", "NaN"),
        ("inf.wav", "infinite"),
        ("absent.wav", "no such audio file"),
        ("folder.wav", "is a folder"),
    ],
)
@pytest.mark.parametrize("clip_seconds", [None, 2.0])
def test_what_cannot_be_read_is_one_line_with_the_file(tmp_path, name, says, clip_seconds):
    bad_files(tmp_path)
    with pytest.raises(DataError, match=says) as error:
        load_clip(tmp_path / name, RATE, clip_seconds)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_headers_are_read_without_decoding(tmp_path):
    bad_files(tmp_path)
    assert read_header(tmp_path / "good.flac") == (RATE, 1, 1.0)
    assert read_header(tmp_path / "truncated.flac").duration_seconds == 1.0  # only decoding finds out
    for name in ("text.wav", "nothing.wav", "no_samples.wav", "absent.wav"):
        with pytest.raises(DataError, match=name):
            read_header(tmp_path / name)


@pytest.mark.parametrize("audio", [np.zeros((2, 8)), np.array([0.0, np.nan])])
def test_nothing_odd_is_written(tmp_path, audio):
    with pytest.raises(DataError, match="finite mono"):
        write_audio(tmp_path / "a.wav", audio, RATE)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="suffix"):
        write_audio(tmp_path / "a.mp3", noise(), RATE)


def test_the_index_finds_subfolders_and_passes_over_other_files(tmp_path, caplog):
    for name in ("a.wav", "deep/er/b.FLAC", "deep/a.flac", "tags.csv", ".hidden.wav", "memo.M4A"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = index_audio(tmp_path)
    assert found == {"a": tmp_path / "a.wav", "b": tmp_path / "deep/er/b.FLAC"}
    assert "1 files share a name" in caplog.text
    assert "1 files, e.g. memo.M4A, must be converted first: ffmpeg" in caplog.text
    with pytest.raises(DataError, match="no such folder"):
        index_audio(tmp_path / "nowhere")
