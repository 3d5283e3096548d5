"""Audio files: one reader for training and detection, which reads what was written to its end, or says why not."""

import errno
import io
import os
import random
import re
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from mutations import damage_bytes

from crnn_weak.audio import AudioBlocks, audio_files, load_clip, read_header, write_audio
from crnn_weak.errors import DataError

RATE = 16_000
TAG = b"TAG" + bytes(125)
KINDS = {
    "a.wav": {"subtype": "PCM_16"},
    "b.wav": {"subtype": "FLOAT"},
    "a.rf64": {"format": "RF64", "subtype": "PCM_16"},
    "a.aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.flac": {},
    "a.mp3": {},
}


def noise(seconds=1.0, rate=RATE, seed=0):
    samples = np.random.default_rng(seed).integers(-8000, 8000, round(seconds * rate))
    return (samples / 32768).astype(np.float32)


def sound(seconds=3.0):
    rng = np.random.default_rng(0)
    return 0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.05) * rng.uniform(0.5, 1.0, round(seconds * RATE))


def encoded(name, audio=None, **options):
    buffer = io.BytesIO()
    options = {"format": name.split(".")[1].upper()} | KINDS.get(name, {}) | options
    soundfile.write(buffer, sound() if audio is None else audio, RATE, **options)
    return buffer.getvalue()


def patched(name, at, value):
    data = bytearray(encoded(name))
    place = data.index(at) + len(at) if isinstance(at, bytes) else at
    data[place : place + len(value)] = value
    return bytes(data)


def mp3(audio, *, tag=True):
    data = encoded("a.mp3", audio, bitrate_mode="VARIABLE", compression_level=0.1)
    if tag:
        return data
    header = struct.unpack(">I", data[:4])[0]  # MPEG-2 layer III: the first frame holds the tag and no sound
    kbit = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160][header >> 12 & 15]
    return data[72_000 * kbit // RATE + (header >> 9 & 1) :]


READERS = {
    "training": lambda path: load_clip(path, RATE)[0],
    "detection": lambda path: np.concatenate(list(AudioBlocks(path, RATE))),
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_what_was_written_is_read_whole_padded_and_in_part(tmp_path, suffix):
    path = tmp_path / "sub" / f"--a_b{suffix}"
    write_audio(path, noise(1.5), RATE)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert read_header(path) == (RATE, 1.5)
    audio, duration = load_clip(path, RATE)
    assert (audio.dtype, duration) == (np.float32, 1.5)
    np.testing.assert_array_equal(audio, noise(1.5))
    padded, duration = load_clip(path, RATE, 2.0)
    assert (len(padded), duration) == (2 * RATE, 1.5)
    np.testing.assert_array_equal(padded[:24_000], noise(1.5))
    assert not padded[24_000:].any()
    for start in (0.0, 0.75):
        cut, duration = load_clip(path, RATE, 0.25, start_seconds=start)
        np.testing.assert_array_equal(cut, noise(1.5)[round(start * RATE) :][:4000])
        assert duration == 1.5


def test_channels_are_averaged_and_values_beyond_full_scale_clipped(tmp_path):
    write_audio(tmp_path / "loud.wav", np.array([2.0, -2.0, 0.5]), RATE)
    np.testing.assert_allclose(load_clip(tmp_path / "loud.wav", RATE)[0], [32767 / 32768, -1.0, 0.5])
    left, right = noise(seed=1), noise(seed=2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE, subtype="PCM_16")
    np.testing.assert_allclose(load_clip(tmp_path / "stereo.wav", RATE)[0], (left + right) / 2, atol=2e-5)


def test_resampling_keeps_a_sine_and_its_length_and_commutes_with_cutting(tmp_path):
    time = np.arange(3 * 44_100) / 44_100
    write_audio(tmp_path / "sine.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 44_100)
    audio, _ = load_clip(tmp_path / "sine.wav", RATE)
    assert len(audio) == 3 * RATE
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
    np.testing.assert_allclose(audio[800:-800], expected[800:-800], atol=1e-3)
    np.testing.assert_allclose(load_clip(tmp_path / "sine.wav", RATE, 1.0)[0], audio[:RATE], atol=1e-4)


def test_nothing_odd_is_written(tmp_path):
    odd = (("a.wav", np.zeros((2, 8)), "mono"), ("a.wav", np.r_[np.nan], "NaN"), ("a.mp3", 0.0, "mp3"))
    for name, audio, says in odd:
        with pytest.raises(DataError, match=says):
            write_audio(tmp_path / name, audio, RATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_truncated_files_are_refused_in_training_and_detection(tmp_path, name, share, read, capfd):
    data = encoded(name)
    path = tmp_path / name
    path.write_bytes(data)
    assert read(path).size == pytest.approx(3 * RATE, abs=0.1 * RATE)
    path.write_bytes(data[: int(share * len(data))])
    for decode in (name == "a.flac", True):  # a FLAC's header says nothing of its bytes
        with pytest.raises(DataError, match="truncated"):
            read_header(path, decode=decode)
    with pytest.raises(DataError, match=f"{name}: .*truncated"):
        read(path)
    capfd.readouterr()  # mpg123 writes to stderr


#: file name, a function that returns its bytes, the message
REFUSED = [
    ("text.wav", lambda: b"not audio " * 50, "cannot be read as audio"),
    ("nothing.wav", lambda: b"", "0 bytes"),
    ("none.wav", lambda: encoded("a.wav", np.zeros(0)), "no samples"),
    ("nan.wav", lambda: encoded("b.wav", np.r_[noise(), np.nan]), "NaN or infinite samples at 1.000 s"),
    ("inf.wav", lambda: encoded("b.wav", np.r_[noise(), np.inf]), "NaN or infinite"),
    # A claim of the header costs no memory.
    *[("rate.wav", lambda r=r: patched("a.wav", 24, struct.pack("<I", r)), "") for r in (1, 10**9, 2**31 - 1)],
    ("long.wav", lambda: patched("a.wav", b"data", struct.pack("<I", 2**30)), "truncated"),
    ("long.flac", lambda: patched("a.flac", 21, b"\xff\xff\xff\xff\xff"), "truncated"),  # 2**36 - 1 samples
    ("cut.flac", lambda: patched("a.flac", 21, b"\xf0\0\0\0\0")[:30_000], "damaged or truncated"),
    ("two.ogg", lambda: encoded("a.ogg") * 2, "several Ogg files joined in one, .*; convert it first: ffmpeg"),
    ("short.flac", lambda: patched("a.flac", 22, struct.pack(">I", RATE)), "holds more than its header states"),
    ("a.voc", lambda: encoded("a.voc"), "the format VOC is not read; convert it first: ffmpeg"),
    ("first.ogg", lambda: patched("a.ogg", 5, b"\0"), ""),  # no page is marked as the first
    ("two.flac", lambda: encoded("a.flac") * 2, "several FLAC files joined"),
    *[
        ("foreign.wav", lambda head=head: head + bytes(500), f"{kind}.* cannot be read; convert it first: ffmpeg -i")
        for head, kind in (
            (b"\0\0\0\x20ftypM4A ", "MP4"),
            (b"\xff\xf1\x50\x80", "AAC"),
            (b"\x1aE\xdf\xa3", "WebM"),
            (b"#!AMR\n", "AMR"),
            (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9", "WMA"),
            (b"caff\0\1", "CAF"),
            (b".snd\0\0", "AU"),
            (b"riff\x2e\x91", "W64"),
        )
    ],
]


@pytest.mark.parametrize(("name", "content", "says"), REFUSED)
def test_what_cannot_be_read_is_one_line_with_the_file_and_costs_no_memory(tmp_path, name, content, says, read):
    (tmp_path / name).write_bytes(content())
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{name}: .*{says}") as error:
            read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 12e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


def test_only_regular_files_are_opened(tmp_path, read, monkeypatch):
    os.mkfifo(tmp_path / "pipe.wav")
    os.symlink("/dev/zero", tmp_path / "zero.wav")
    (tmp_path / "folder.wav").mkdir()
    irregular = dict.fromkeys(("pipe.wav", "zero.wav"), "not a regular file")
    irregular |= {"folder.wav": "is a folder", "absent.wav": "no such audio file"}
    for name, says in irregular.items():
        with pytest.raises(DataError, match=f"{name}: .*{says}"):
            read(tmp_path / name)
    assert not audio_files(tmp_path)

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    write_audio(tmp_path / "a.wav", noise(), RATE)
    monkeypatch.setattr("pathlib.Path.open", refuse)  # the superuser may read everything
    with pytest.raises(DataError, match="no permission"):
        read(tmp_path / "a.wav")


class FailingFile(io.BytesIO):
    """A file on a disk that fails from a byte on."""

    def __init__(self, data, n_good):
        super().__init__(data)
        self._n_good = n_good

    def read(self, size=-1):
        if self.tell() + size > self._n_good:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_of_the_disk_is_named(name):
    data = encoded(name)
    for n_good in (20, len(data) // 2, len(data) - 1):
        with pytest.raises(DataError, match=r"cannot be read \(Input/output error\); check the disk"):
            list(AudioBlocks(FailingFile(data, n_good), RATE))


def test_folders_that_cannot_be_read_are_skipped_with_a_warning(tmp_path, monkeypatch, caplog):
    for name in ("a", "locked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").write_bytes(encoded("a.wav"))
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert audio_files(tmp_path) == [tmp_path / "a" / "x.wav"]
    assert re.search("1 files or folders cannot be read and are skipped, e.g. .*locked: Permission denied", caplog.text)
    with pytest.raises(DataError, match="locked: Permission denied; check the permissions"):
        audio_files(tmp_path / "locked")


def damaged(data, rng):
    """Damage a file; half of the damage is in the header."""
    end = 128 if rng.random() < 0.5 else len(data)
    return damage_bytes(data[:end], rng) + data[end:]


def answer(read, path):
    """Return the samples and no reason, or no samples and the reason."""
    try:
        return read(path), ""
    except DataError as error:
        return None, str(error)


@pytest.mark.parametrize("n_inputs", [240, pytest.param(4_000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_alike_or_refused_in_one_line(tmp_path, capfd, n_inputs):
    whole = {name: encoded(name, sound(1.0)) for name in KINDS}
    n_read = 0
    for number in range(n_inputs):
        name = list(KINDS)[number % len(KINDS)]
        path = tmp_path / name
        path.write_bytes(damaged(whole[name], random.Random(number)))
        (clip, why), (stream, why_not) = (answer(read, path) for read in READERS.values())
        assert all("\n" not in text and (not text or name in text) for text in (why, why_not)), number
        assert (clip is None) == (stream is None), f"input {number}: training and detection disagree"
        if clip is not None:
            n_read += 1
            assert np.isfinite(clip).all()
            assert abs(len(clip) - len(stream)) <= 1
            assert len(clip) < 200 * 2**20
    assert 0.1 * n_inputs < n_read < 0.9 * n_inputs
    capfd.readouterr()  # mpg123 writes to stderr


@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("tail", [b"", TAG, bytes(5000), b"lyrics, " * 80])
def test_an_mp3_without_a_frame_count_is_read_to_its_end(tmp_path, loud_first, tail, read):
    audio = np.concatenate([np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE), np.zeros(7 * RATE)])
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(audio if loud_first else audio[::-1].copy(), tag=False) + tail)
    samples = read(path)
    for seconds in (read_header(path)[1], len(samples) / RATE, load_clip(path, RATE, 10.0)[1]):
        assert seconds == pytest.approx(10.0, abs=0.15)
    loud = np.abs(samples) > 0.05
    assert loud[: 2 * RATE].mean() == pytest.approx(0.9 if loud_first else 0.0, abs=0.15)
    assert loud[8 * RATE : 10 * RATE].mean() == pytest.approx(0.0 if loud_first else 0.9, abs=0.15)


def test_an_mp3_with_a_tag_has_its_samples_joined_ones_theirs_and_parts_begin_where_asked(tmp_path, read):
    path = tmp_path / "a.mp3"
    for content in (mp3(sound()), b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + mp3(sound()) + TAG):
        path.write_bytes(content)
        assert read(path).size == 3 * RATE
    lying = bytearray(mp3(sound(9.0)))
    place = max(lying.find(b"Xing"), lying.find(b"Info"))
    lying[place + 8 : place + 12] = struct.pack(">I", 28)
    path.write_bytes(lying)
    blocks = AudioBlocks(path, RATE)
    assert sum(map(len, blocks)) < RATE
    assert "not read to its end: " in blocks.warnings[0]
    path.write_bytes(mp3(sound(3.0)) + mp3(sound(4.0)))
    assert abs(read(path).size / RATE - 7.0) < 0.25
    for tag in (True, False):
        path.write_bytes(mp3(sound(6.0), tag=tag))
        part = load_clip(path, RATE, 1.0, start_seconds=3.5)[0]
        np.testing.assert_allclose(part, load_clip(path, RATE)[0][round(3.5 * RATE) :][: len(part)], atol=1e-3)


UNFINISHED = "its header was never completed (an interrupted recording?); read to the end of the file"
TOO_LITTLE = "its header states less audio than the file holds; read to the end of the file"
TOO_MUCH = "its header states a few bytes more than the file holds"


@pytest.mark.parametrize(
    ("name", "at", "value", "warnings"),
    [
        ("a.wav", b"data", bytes(4), [UNFINISHED]),
        ("b.wav", b"data", bytes(4), [UNFINISHED]),
        ("a.wav", b"data", b"\xff\xff\xff\xff", [UNFINISHED]),
        ("a.aiff", b"SSND", b"\xff\xff\xff\xff", [UNFINISHED]),
        ("a.flac", 21, b"\xf0\0\0\0\0", []),  # as written to a pipe
        ("a.wav", b"data", struct.pack("<I", 2 * 3 * RATE + 36), [TOO_MUCH]),  # counts the header's bytes
        *[("a.wav", b"data", struct.pack("<I", n), [TOO_LITTLE]) for n in (2 * RATE, 2 * RATE + 1)],
        ("a.aiff", b"SSND", struct.pack(">I", 2 * RATE), [TOO_LITTLE]),
        ("a.aiff", b"SSND", bytes(4), [UNFINISHED]),
        ("a.rf64", 28, struct.pack("<Q", 2 * RATE), [TOO_LITTLE]),
        ("a.rf64", 28, bytes(8), [UNFINISHED]),
    ],
)
def test_a_file_whose_length_was_never_filled_in_is_read_to_its_end(tmp_path, name, at, value, warnings):
    (tmp_path / name).write_bytes(patched(name, at, value))
    assert read_header(tmp_path / name)[1] == 3.0
    part, _ = load_clip(tmp_path / name, RATE, 1.0, start_seconds=1.5)
    np.testing.assert_allclose(part, sound()[RATE * 3 // 2 :][:RATE], atol=1e-4)
    blocks = AudioBlocks(tmp_path / name, RATE)
    assert np.concatenate(list(blocks)).size == load_clip(tmp_path / name, RATE)[0].size == 3 * RATE
    assert blocks.warnings == warnings


@pytest.mark.parametrize(
    "tail", [b"LIST\x1a\0\0\0INFOISFT" + bytes(18), TAG, b"ID3\x04" + bytes(100), bytes(5000), b"\r\n"]
)
def test_what_follows_the_audio_of_a_wav_is_no_audio(tmp_path, tail, read):
    (tmp_path / "a.wav").write_bytes(encoded("a.wav") + tail)
    blocks = AudioBlocks(tmp_path / "a.wav", RATE)
    assert np.concatenate(list(blocks)).size == read(tmp_path / "a.wav").size == 3 * RATE
    assert blocks.warnings == []


def test_a_wav_whose_size_wrapped_at_4_gib_is_read_to_its_end(tmp_path):
    size = 2**32 + 2**20
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(patched("a.wav", b"data", struct.pack("<I", 2**20))[:44])
        for position in (2**20, size - 2 * RATE):
            file.seek(44 + position)
            file.write(encoded("a.wav")[44:][: 2 * RATE])
    assert read_header(tmp_path / "a.wav")[1] == size / 2 / RATE
    audio, _ = load_clip(tmp_path / "a.wav", RATE, 1.0, start_seconds=size / 2 / RATE - 1)
    np.testing.assert_allclose(audio, sound()[:RATE], atol=1e-4)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_ogg_files_without_an_end_mark_and_tags_at_the_end(tmp_path, name, read):
    path = tmp_path / name
    data = encoded(name, np.tile(sound(), 5))
    path.write_bytes(data[: data.rindex(b"OggS")])  # up to a page's end
    blocks = AudioBlocks(path, RATE)
    assert 11 < np.concatenate(list(blocks)).size / RATE < 15
    assert "not marked as the last" in blocks.warnings[0]
    for with_tag in ("a.flac", "a.ogg"):
        (tmp_path / with_tag).write_bytes(encoded(with_tag) + TAG)
        assert read(tmp_path / with_tag).size == 3 * RATE


@pytest.mark.parametrize("tag", [True, False])
def test_an_mp3_in_a_wav_is_read_to_its_end(tmp_path, tag, read):
    audio = mp3(np.concatenate([noise(3.0), np.zeros(7 * RATE)]), tag=tag)
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 576, 1, 1393)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(audio)) + audio
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    assert read(path).size / RATE == pytest.approx(10.0, abs=0.15)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="truncated"):
        read(path)


def test_folders_are_searched_once_and_other_files_passed_over(tmp_path):
    for name in ("x.mp3", "._x.mp3", "deep/y.FLAC", "deep/er/x.wav", "deep/._y.wav", ".hidden/z.wav", "tags.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "up").symlink_to(tmp_path, target_is_directory=True)
    for name, target in (("broken.wav", "nowhere.wav"), ("itself.wav", "itself.wav")):
        (tmp_path / name).symlink_to(tmp_path / target)
    found = [path.relative_to(tmp_path).as_posix() for path in audio_files(tmp_path)]
    assert found == ["x.mp3", "deep/y.FLAC", "deep/er/x.wav"]
    for name in ("memo.M4A", "x.m4a", "y.mp2"):  # x was converted already
        (tmp_path / name).touch()
    assert [path.name for path in audio_files(tmp_path)] == ["memo.M4A", "x.mp3", "y.mp2", "y.FLAC", "x.wav"]
    with pytest.raises(DataError, match="no such folder"):
        audio_files(tmp_path / "nowhere")
