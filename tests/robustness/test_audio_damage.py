"""Damaged and hostile audio: one reader for training and detection, which reads to the end or says why not."""

import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from crnn_weak.audio import AudioBlocks, audio_files, index_audio, load_clip, read_header
from crnn_weak.detection.recordings import find_recordings
from crnn_weak.errors import DataError

RATE = 16_000
KINDS = {
    "a.wav": {"subtype": "PCM_16"},
    "b.wav": {"subtype": "FLOAT"},
    "a.rf64": {"format": "RF64", "subtype": "PCM_16"},
    "a.w64": {"format": "W64", "subtype": "PCM_16"},
    "a.au": {"format": "AU", "subtype": "PCM_16"},
    "a.aiff": {"subtype": "PCM_16"},
    "a.caf": {"format": "CAF", "subtype": "PCM_16"},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.flac": {},
    "a.mp3": {},
}


def sound(seconds=3.0, seed=0):
    rng = np.random.default_rng(seed)
    return 0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.05) * rng.uniform(0.5, 1.0, round(seconds * RATE))


def encoded(name, audio=None, **options):
    buffer = io.BytesIO()
    buffer.name = name
    options = {"format": {"aiff": "AIFF"}.get(name.split(".")[1], name.split(".")[1].upper())} | KINDS[name] | options
    soundfile.write(buffer, sound() if audio is None else audio, RATE, **options)
    return buffer.getvalue()


def streamed(path):
    blocks = AudioBlocks(path, RATE)
    return np.concatenate(list(blocks))


READERS = {"training": lambda path: load_clip(path, RATE)[0], "detection": streamed}


@pytest.fixture(params=READERS, ids=list(READERS))
def read(request):
    return READERS[request.param]


# --- truncated files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_truncated_files_are_refused_in_training_and_detection(tmp_path, name, share, read, capfd):
    data = encoded(name)
    path = tmp_path / name
    path.write_bytes(data)
    assert read(path).size == pytest.approx(3 * RATE, abs=0.1 * RATE)
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=f"{name}: .*truncated"):
        read(path)
    if name != "a.flac":  # whose header says nothing of its bytes
        with pytest.raises(DataError, match="truncated"):
            read_header(path)
    with pytest.raises(DataError, match="truncated"):
        read_header(path, decode=True)
    capfd.readouterr()  # mpg123 writes to stderr


# --- MP3: the frame count is an estimate -----------------------------------------------------------------------------


def mp3(audio, *, tag=True, **options):
    data = encoded("a.mp3", audio, bitrate_mode="VARIABLE", compression_level=0.1, **options)
    if tag:
        return data
    header = struct.unpack(">I", data[:4])[0]  # MPEG-2 layer III: the first frame holds the tag and no sound
    kbit = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160][header >> 12 & 15]
    return data[72_000 * kbit // RATE + (header >> 9 & 1) :]


@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125), bytes(5000), b"lyrics, " * 80])
def test_an_mp3_without_a_frame_count_is_read_to_its_end(tmp_path, loud_first, tail, read):
    rng = np.random.default_rng(0)
    audio = np.concatenate([rng.uniform(-0.5, 0.5, 3 * RATE), np.zeros(7 * RATE)])
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(audio if loud_first else audio[::-1].copy(), tag=False) + tail)
    assert abs(read_header(path).duration_seconds - 10.0) < 0.15
    assert abs(read(path).size / RATE - 10.0) < 0.15
    clip, duration = load_clip(path, RATE, 10.0)
    loud = np.abs(clip) > 0.05
    assert loud[: 2 * RATE].mean() == pytest.approx(0.9 if loud_first else 0.0, abs=0.15)
    assert loud[-2 * RATE :].mean() == pytest.approx(0.0 if loud_first else 0.9, abs=0.15)
    assert duration == pytest.approx(10.0, abs=0.15)


def test_joined_mp3_files_are_read_to_the_end_of_the_last(tmp_path, read):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(sound(3.0)) + mp3(sound(4.0)))
    assert abs(read(path).size / RATE - 7.0) < 0.25


def test_an_mp3_with_a_tag_has_exactly_its_samples(tmp_path, read):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(sound(3.0)))
    assert read(path).size == 3 * RATE
    path.write_bytes(b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + mp3(sound(3.0)) + b"TAG" + bytes(125))
    assert read(path).size == 3 * RATE


def test_a_part_of_an_mp3_begins_where_asked(tmp_path):
    path = tmp_path / "a.mp3"
    for tag in (True, False):
        path.write_bytes(mp3(sound(6.0), tag=tag))
        whole = load_clip(path, RATE)[0]
        part = load_clip(path, RATE, 1.0, start_seconds=3.5)[0]
        np.testing.assert_allclose(part, whole[round(3.5 * RATE) :][: len(part)], atol=1e-3)


# --- claims of headers -----------------------------------------------------------------------------------------------


def patched(name, at, value):
    data = bytearray(encoded(name))
    place = data.index(at) + len(at) if isinstance(at, bytes) else at
    data[place : place + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "at", "value", "says"),
    [
        *[("a.wav", 24, struct.pack("<I", rate), "") for rate in (1, 10**9, 2**31 - 1)],  # sample rates
        ("a.wav", b"data", struct.pack("<I", 2**30), "truncated"),
        ("a.flac", 21, b"\xff\xff\xff\xff\xff", "truncated"),  # 2**36 - 1 samples
    ],
)
def test_a_claim_costs_no_memory(tmp_path, name, at, value, says, read):
    (tmp_path / name).write_bytes(patched(name, at, value))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{name}: .*{says}"):
            read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


# --- what is not a regular file, and folders -------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_only_regular_files_are_opened(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.wav")
    os.symlink("/dev/zero", tmp_path / "zero.wav")
    (tmp_path / "a.wav").write_bytes(encoded("a.wav"))
    for name in ("pipe.wav", "zero.wav"):
        with pytest.raises(DataError, match="not a regular file"):
            read(tmp_path / name)
        with pytest.raises(DataError, match="not a regular file"):
            read_header(tmp_path / name)
    assert list(index_audio(tmp_path)) == ["a"]
    assert [recording.name for recording in find_recordings([tmp_path])] == ["a.wav"]


def test_links_to_a_parent_folder_end_and_hidden_names_do_not_matter(tmp_path, caplog):
    for name in ("x.mp3", "._x.mp3", "deep/y.wav", "deep/._y.wav", ".hidden/z.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "deep" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "itself.wav").symlink_to(tmp_path / "itself.wav")
    wanted = ["x.mp3", "deep/y.wav"]
    assert [path.relative_to(tmp_path).as_posix() for path in audio_files(tmp_path)] == wanted
    assert list(index_audio(tmp_path)) == ["x", "y"]
    assert [recording.name for recording in find_recordings([tmp_path])] == wanted
    assert not caplog.records


# --- damaged at random -----------------------------------------------------------------------------------------------


def damaged(data, rng):
    """Return the bytes with a few of them changed, cut or repeated; half of the damage is in the header."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, 128 if rng.random() < 0.5 else len(data)))
        kind = rng.integers(0, 4)
        if kind == 0:
            data[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 2000))]
        else:
            data[at:at] = data[at // 2 : at // 2 + 50]
    return bytes(data)


def answer(read, path):
    """Return the samples and no reason, or no samples and the reason."""
    try:
        return read(path), ""
    except DataError as error:
        return None, str(error)


def check_damaged(folder, n_inputs, first_seed=0):
    """Read damaged files both ways; return how many were read and refused."""
    whole = {name: encoded(name, sound(1.0)) for name in KINDS}
    counts = {"read": 0, "refused": 0}
    for number in range(n_inputs):
        name = list(KINDS)[number % len(KINDS)]
        path = folder / name
        path.write_bytes(damaged(whole[name], np.random.default_rng(first_seed + number)))
        (clip, why), (stream, why_not) = (answer(read, path) for read in READERS.values())
        assert all("\n" not in text and (not text or name in text) for text in (why, why_not)), number
        assert (clip is None) == (stream is None), f"input {number}: training and detection disagree"
        counts["refused" if clip is None else "read"] += 1
        if clip is not None:
            assert np.isfinite(clip).all()
            assert abs(len(clip) - len(stream)) <= 1
            assert len(clip) < 200 * 2**20
    return counts


def test_damaged_files_are_read_alike_or_refused_in_one_line(tmp_path, capfd):
    counts = check_damaged(tmp_path, 330)
    assert min(counts.values()) > 30
    capfd.readouterr()  # mpg123 writes to stderr


@pytest.mark.slow
def test_thousands_of_damaged_files(tmp_path, capfd):
    check_damaged(tmp_path, 5_500, first_seed=10_000)
    capfd.readouterr()


# --- odd files that are whole ----------------------------------------------------------------------------------------


UNFINISHED = "its header was never completed (an interrupted recording?); read to the end of the file"


@pytest.mark.parametrize(
    ("name", "at", "value", "warning"),
    [
        ("a.wav", b"data", bytes(4), [UNFINISHED]),
        ("b.wav", b"data", bytes(4), [UNFINISHED]),
        ("a.wav", b"data", b"\xff\xff\xff\xff", [UNFINISHED]),
        ("a.au", 8, b"\xff\xff\xff\xff", [UNFINISHED]),
        ("a.aiff", b"SSND", b"\xff\xff\xff\xff", [UNFINISHED]),
        ("a.flac", 21, b"\xf0\0\0\0\0", []),  # as written to a pipe
        ("a.wav", b"data", struct.pack("<I", 2 * 3 * RATE + 36), []),  # counts the header's bytes
    ],
)
def test_a_file_whose_length_was_never_filled_in_is_read_to_its_end(tmp_path, name, at, value, warning, read):
    (tmp_path / name).write_bytes(patched(name, at, value))
    assert read(tmp_path / name).size == 3 * RATE
    assert read_header(tmp_path / name).duration_seconds == 3.0
    part, _ = load_clip(tmp_path / name, RATE, 1.0, start_seconds=1.5)
    np.testing.assert_allclose(part, sound()[RATE * 3 // 2 :][:RATE], atol=1e-4)
    blocks = AudioBlocks(tmp_path / name, RATE)
    list(blocks)
    assert blocks.warnings == warning


def test_a_flac_without_a_count_that_is_cut_is_refused(tmp_path, read):
    data = patched("a.flac", 21, b"\xf0\0\0\0\0")
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a.flac: damaged or truncated"):
        read(tmp_path / "a.flac")


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
@pytest.mark.parametrize("seconds", [(3.0, 1.0), (1.0, 3.0)])
def test_joined_ogg_files_are_read_to_the_end_of_the_last(tmp_path, name, seconds, read):
    (tmp_path / name).write_bytes(b"".join(encoded(name, sound(s)) for s in seconds))
    assert read(tmp_path / name).size == pytest.approx(4 * RATE, abs=200)
    assert read_header(tmp_path / name).duration_seconds == pytest.approx(4.0, abs=0.02)
    part, _ = load_clip(tmp_path / name, RATE, 1.0, start_seconds=seconds[0] + 0.1)
    np.testing.assert_allclose(part[: RATE // 2], sound(seconds[1])[RATE // 10 :][: RATE // 2], atol=0.1)


def test_joined_files_of_two_rates_and_joined_flac_files_are_refused(tmp_path, read):
    other = io.BytesIO()
    soundfile.write(other, sound(), 8_000, format="OGG")
    (tmp_path / "a.ogg").write_bytes(encoded("a.ogg") + other.getvalue())
    (tmp_path / "a.flac").write_bytes(encoded("a.flac") + encoded("a.flac"))
    for name, says in (("a.ogg", "different sample rates"), ("a.flac", "several FLAC files joined")):
        with pytest.raises(DataError, match=f"{name}: .*{says}"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_an_ogg_without_an_end_mark_is_read_with_a_warning(tmp_path, name):
    data = encoded(name, np.tile(sound(), 10))
    (tmp_path / name).write_bytes(data[: data.rindex(b"OggS")])  # up to a page's end
    blocks = AudioBlocks(tmp_path / name, RATE)
    assert 26 < np.concatenate(list(blocks)).size / RATE < 30
    assert "not marked as the last" in blocks.warnings[0]


def test_tags_after_the_audio_do_not_matter(tmp_path, read):
    for name in ("a.flac", "a.ogg"):
        (tmp_path / name).write_bytes(encoded(name) + b"TAG" + bytes(125))
        assert read(tmp_path / name).size == 3 * RATE


@pytest.mark.parametrize("tag", [True, False])
def test_an_mp3_in_a_wav_is_read_to_its_end(tmp_path, tag, read):
    rng = np.random.default_rng(0)
    audio = mp3(np.concatenate([rng.uniform(-0.5, 0.5, 3 * RATE), np.zeros(7 * RATE)]), tag=tag)
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 576, 1, 1393)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(audio)) + audio
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    assert read(path).size / RATE == pytest.approx(10.0, abs=0.15)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="truncated"):
        read(path)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypM4A ", "MP4"),
        (b"\xff\xf1\x50\x80", "AAC"),
        (b"\x1aE\xdf\xa3", "WebM"),
        (b"#!AMR\n", "AMR"),
        (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9", "WMA"),
    ],
)
def test_formats_that_must_be_converted_are_named_with_the_command(tmp_path, head, kind, read):
    (tmp_path / "a.wav").write_bytes(head + bytes(500))
    with pytest.raises(DataError, match=f"a.wav: {kind}.* cannot be read; convert it first: ffmpeg -i"):
        read(tmp_path / "a.wav")
