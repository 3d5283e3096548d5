"""What a caller may pass as sound, in all public entries alike: read at the right scale, or refused in one line."""

import io
import os

import ml_dtypes
import numpy as np
import pytest
import soundfile
from detection_fakes import CLASSES, RATE, bursts, detector

import crnn_weak
from crnn_weak.audio import AudioBlocks
from crnn_weak.config import FeatureConfig
from crnn_weak.errors import CrnnWeakError, DataError

AUDIO = bursts(3.0)
SHORTS = np.round(AUDIO * 32768).astype(np.int16)
FEATURES = FeatureConfig(sample_rate_hz=RATE, fmax_hz=RATE / 2)


def read(source):
    return np.concatenate(list(AudioBlocks(source, RATE)))


@pytest.fixture
def path(tmp_path):
    soundfile.write(tmp_path / "a.wav", AUDIO, RATE, subtype="FLOAT")
    return tmp_path / "a.wav"


#: an array, what it is as floats, and the tolerance
ARRAYS = [
    (AUDIO, AUDIO, 0),
    (AUDIO.astype(np.float64), AUDIO, 0),
    (AUDIO.astype(np.float16), AUDIO, 1e-3),
    (AUDIO.tolist(), AUDIO, 0),
    (SHORTS, AUDIO, 2e-5),
    (np.round(AUDIO * 127 + 128).astype(np.uint8), AUDIO, 1e-2),
    ((AUDIO.astype(np.float64) * 2**31).astype(np.int32), AUDIO, 1e-7),
    (np.zeros(800, np.int32), np.zeros(800), 0),
    (np.stack([AUDIO, 0 * AUDIO], axis=1), AUDIO / 2, 1e-7),
    (np.stack([AUDIO, 0 * AUDIO]), AUDIO / 2, 1e-7),
    (SHORTS[None], AUDIO, 2e-5),
    (3.9 * AUDIO / np.abs(AUDIO).max(), 3.9 * AUDIO / np.abs(AUDIO).max(), 0),
]


@pytest.mark.parametrize(("array", "wanted", "tolerance"), ARRAYS)
def test_arrays_at_their_scale(array, wanted, tolerance):
    np.testing.assert_allclose(read((array, RATE)), wanted, rtol=0, atol=tolerance)
    mel = crnn_weak.log_mel(array, FEATURES)
    np.testing.assert_array_equal(mel, crnn_weak.log_mel(read((array, RATE)), FEATURES))


#: an array and what is said of it
UNCLEAR = [
    (SHORTS.astype(np.int32), "int32 samples up to .* divide by 32768 and pass floats"),
    (SHORTS.astype(np.int64) * 2**16, "int64 samples up to .* divide by 32768"),
    (SHORTS.astype(np.uint16), "uint16"),
    (SHORTS.astype(np.float32), "float32 samples up to .* divide by 32768"),
    (np.r_[AUDIO, np.inf].astype(np.float16), "NaN or infinite samples, the first at index 24000"),
    (np.r_[np.nan, AUDIO], "NaN or infinite samples, the first at index 0"),
    (AUDIO.astype(ml_dtypes.bfloat16), "bfloat16 .* expected a path"),
    (AUDIO.astype(complex), "complex128 .* expected a path"),
    ([[0.1, 0.2], [0.3]], "list cannot be an array .* expected a path"),
    (np.zeros((2, 3, 4)), "shape .2, 3, 4."),
    (np.zeros((40, 500)), "shape .500, 40."),
    (np.zeros(0), "no samples"),
    (["a"], "expected a path"),
    (None, "expected a path"),
]


@pytest.mark.parametrize(("array", "says"), UNCLEAR)
def test_arrays_whose_scale_or_kind_is_unclear_are_refused(array, says):
    for refused in (lambda: read((array, RATE)), lambda: crnn_weak.log_mel(array, FEATURES)):
        with pytest.raises(DataError, match=says) as error:
            refused()
        assert "\n" not in str(error.value)


class Unseekable(io.BytesIO):
    """A socket or a pipe."""

    def seek(self, *place):
        raise io.UnsupportedOperation


def test_sources(path):
    for rate in (RATE, float(RATE), np.int64(RATE), np.array(RATE), np.float32(RATE)):
        np.testing.assert_array_equal(read((AUDIO, rate)), AUDIO)
    with os.scandir(path.parent) as entries:
        entry = next(entries)
    mapping = {"array": AUDIO, "sampling_rate": RATE, "path": None}
    with path.open("rb") as file:
        for source in (path, str(path), os.fsencode(path), entry, file, Unseekable(path.read_bytes()), mapping):
            np.testing.assert_array_equal(read(source), AUDIO)
    with pytest.raises(DataError, match="a closed file"):
        read(file)
    assert detector().detect(os.fsencode(path)) == detector().detect(entry)
    assert detector().detect(entry).clip_id == "a.wav"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        *[(source, "expected a path, a binary file") for source in (None, 3, {"array": AUDIO}, AUDIO, [0.1] * 9)],
        ((RATE, AUDIO), r"the rate comes second; pass \(array, sample_rate_hz\)"),
        *[((AUDIO, rate), "a sample rate of .* expected a whole number") for rate in (0, 8000.5, None, "8000", 1e9)],
        ("https://example.org/a.wav", "no such audio file; download it"),
        ("gone.wav", "no such audio file"),
        (io.StringIO("RIFF"), "opened as text"),
    ],
)
def test_what_is_no_source_is_one_line(source, says):
    for refused in (read, detector().detect, detector().tag, detector().scores):
        with pytest.raises(DataError, match=says) as error:
            refused(source)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: detector().detect((AUDIO, RATE), classes="Low"), r"received one str; pass \['Low'\]"),
        (lambda: crnn_weak.tagging_metrics({"a": "Low"}, {"a": ["Low"]}, classes=CLASSES), "received one str"),
        (lambda: crnn_weak.segment_metrics({"a": []}, {"a": []}, classes="Low"), "received one str"),
        (lambda: crnn_weak.load(batch_size=0), "batch_size = 0: expected a whole number of at least 1"),
    ],
)
def test_names_and_numbers_in_the_wrong_form(call, says):
    with pytest.raises(CrnnWeakError, match=says):
        call()
