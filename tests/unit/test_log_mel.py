"""Log mel-band energies where the answer is known in closed form."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crnn_weak.config import PRESETS, FeatureConfig
from crnn_weak.errors import DataError
from crnn_weak.features.log_mel import LogMelExtractor, log_mel

PAPER = PRESETS["paper"].features


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(441_000, 500), (882 * 7, 7), (882 * 7 + 440, 7), (882 * 7 + 442, 8), (500, 1)]
)
def test_frames_are_the_rounded_quotient(n_samples, n_frames):
    assert log_mel(np.zeros(n_samples, np.float32), PAPER).shape == (n_frames, 40)


def test_silence_is_exactly_the_logarithm_of_the_floor():
    silence = log_mel(np.zeros(441_000, np.float32), PAPER)
    assert (silence == np.log(np.float32(PAPER.log_floor))).all()


def test_padding_is_finite_and_leaves_the_sound_alone():
    sound = np.random.default_rng(0).standard_normal(882 * 100).astype(np.float32)
    alone = log_mel(sound, PAPER)
    padded = log_mel(np.pad(sound, (0, 441_000 - sound.size)), PAPER)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[:99], alone[:99], atol=1e-6)
    assert (padded[101:] == padded[-1]).all()
    np.testing.assert_allclose(padded[-1], np.log(PAPER.log_floor), rtol=1e-6)


def test_windows_are_centered_on_their_cells():
    """A click in the middle of frame 200's cell has the window's peak, 1; around it the window is symmetric."""
    middle = 200 * 882 + 441

    def click(sample):
        return log_mel(np.eye(1, 441_000, sample, dtype=np.float32)[0], PAPER)

    centered = click(middle)
    want = np.log(LogMelExtractor(PAPER).basis.sum(axis=1) + PAPER.log_floor)
    np.testing.assert_allclose(centered[200], want, atol=1e-5)
    assert centered.mean(axis=1).argmax() == 200
    assert (centered[:199] == centered[0]).all()
    assert (centered[202:] == centered[0]).all()
    for shift in (1, 200, 700):
        np.testing.assert_allclose(click(middle + shift)[200], click(middle - shift)[200], atol=1e-5)


def test_an_empty_band_is_the_floor():
    """Bands narrower than a DFT bin hold no bin: finite, and constant."""
    config = FeatureConfig(sample_rate_hz=16_000, window_seconds=0.016, n_fft=256, n_mels=128, fmax_hz=8_000.0)
    empty = ~LogMelExtractor(config).basis.any(axis=1)
    assert 0 < empty.sum() < 128
    got = log_mel(np.random.default_rng(1).standard_normal(16_000).astype(np.float32), config)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[:, empty], np.log(config.log_floor), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "message"), [((2, 100), r"received \(2, 100\)"), (440, "less than half a frame"), (0, "0 samples")]
)
def test_bad_audio_is_refused(shape, message):
    with pytest.raises(DataError, match=message):
        log_mel(np.zeros(shape, np.float32), PAPER)


def test_pickles_and_threads_give_the_same():
    sounds = [np.random.default_rng(seed).standard_normal(44_100).astype(np.float32) for seed in range(8)]
    extractor = LogMelExtractor(PAPER)
    want = [extractor(sound) for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(pickle.loads(pickle.dumps(extractor)), sounds))
    np.testing.assert_array_equal(got, want)
