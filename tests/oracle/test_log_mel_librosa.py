"""Log mel-band energies against librosa's primitives, to 1e-5 (to 1e-3 in bands that hold next to nothing)."""

import hashlib

import librosa
import numpy as np
import pytest
import scipy.signal

from crnn_weak.audio import load_clip
from crnn_weak.config import PRESETS, FeatureConfig
from crnn_weak.errors import DataError
from crnn_weak.features.log_mel import LogMelExtractor, log_mel

CONFIGS = {
    "paper": PRESETS["paper"].features,
    "quick": PRESETS["quick"].features,
    # An odd window on an odd hop, a band edge inside the spectrum, a window shorter than the hop.
    "odd": FeatureConfig(
        clip_seconds=3.0, sample_rate_hz=22_050, window_seconds=0.0311, hop_seconds=0.0115, n_fft=1024, fmin_hz=50.0,
        fmax_hz=9_000.0,
    ),
    "gaps": FeatureConfig(
        clip_seconds=3.0, sample_rate_hz=16_000, window_seconds=0.02, hop_seconds=0.05, n_fft=512, n_mels=24,
        fmax_hz=8_000.0,
    ),
}  # fmt: skip


def _sounds(config: FeatureConfig, n_samples: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    seconds = np.arange(n_samples) / config.sample_rate_hz
    noise = rng.standard_normal(n_samples)
    siren = np.sin(2 * np.pi * (900 * seconds + 300 / (2 * np.pi) * np.sin(2 * np.pi * 0.5 * seconds)))
    muffled = scipy.signal.sosfilt(scipy.signal.butter(10, 0.2, output="sos"), noise)
    return {
        "muffled": 0.2 * muffled,
        "noise": 0.1 * noise,
        "siren": 0.5 * siren + 0.01 * noise,
        "quiet": 1e-4 * noise,
        "click": np.eye(1, n_samples, n_samples // 3)[0],
    }


def _by_librosa(audio: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """The same frames by librosa: its framing on audio padded so that the first window's center is half a hop in."""
    n_frames = round(len(audio) / config.n_hop)
    lead = -((config.n_hop - config.n_window) // 2)
    tail = max(0, n_frames * config.n_hop + config.n_fft - len(audio))
    padded = np.pad(audio, (max(lead, 0), tail))[max(-lead, 0) :]
    frames = librosa.util.frame(padded, frame_length=config.n_window, hop_length=config.n_hop)[:, :n_frames]
    window = librosa.filters.get_window("hamming", config.n_window)[:, None]
    magnitude = np.abs(np.fft.rfft(frames * window, n=config.n_fft, axis=0))  # float64
    return np.log(_librosa_basis(config) @ magnitude + config.log_floor).T


def _librosa_basis(config: FeatureConfig) -> np.ndarray:
    return librosa.filters.mel(
        sr=config.sample_rate_hz, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin_hz, fmax=config.fmax_hz,
        htk=False, norm="slaney",
    )  # fmt: skip


@pytest.mark.parametrize(("preset", "digest"), [("paper", "1559aa8ea9d61fce"), ("quick", "08bb6a3fde8e39b9")])
def test_the_filters_of_the_presets_are_those_of_the_committed_results(preset, digest):
    """A changed bit would change features, models and tables; the filters were the package's own before."""
    basis = LogMelExtractor(PRESETS[preset].features).basis + np.float32(0)  # of the two zeros the positive one
    assert hashlib.sha256(basis.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("name", "share"),
    [
        pytest.param(name, share, marks=[pytest.mark.slow] if (name, share) == ("paper", 1.0) else [])
        for name in CONFIGS
        for share in (1.0, 0.37)
    ],
)
def test_framing_filters_and_logarithm_are_librosas(name, share):
    config = CONFIGS[name]
    for sound, audio in _sounds(config, int(config.n_clip_samples * share)).items():
        audio = audio.astype(np.float32)
        want = _by_librosa(audio.astype(np.float64), config)
        got = log_mel(audio, config)
        assert got.shape == want.shape
        # Bands that a low-pass emptied hold single precision's rounding of the others: see the module.
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-3 if sound == "muffled" else 1e-5, err_msg=sound)
        double = LogMelExtractor(config, dtype=np.float64)(audio)
        assert double.dtype == np.float32
        np.testing.assert_allclose(double, want, rtol=0, atol=3e-6, err_msg=sound)


def test_real_recordings(real_events):
    """The paper's features of recorded sounds, many of them with empty high bands."""
    config = CONFIGS["paper"]
    differences = []
    for path in sorted((real_events / "audio").rglob("*.ogg"))[::100]:
        audio, _ = load_clip(path, config.sample_rate_hz, config.clip_seconds)
        want = _by_librosa(audio.astype(np.float64), config)
        differences.append(np.abs(log_mel(audio, config) - want))
        np.testing.assert_allclose(LogMelExtractor(config, dtype=np.float64)(audio), want, rtol=0, atol=3e-6)
    assert np.max(differences) < 2e-4
    assert np.mean(np.array(differences) > 1e-5) < 0.005


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(441_000, 500), (882 * 7, 7), (882 * 7 + 440, 7), (882 * 7 + 442, 8), (500, 1)]
)
def test_frames_are_the_rounded_quotient_and_silence_is_exactly_the_logarithm_of_the_floor(n_samples, n_frames):
    silence = log_mel(np.zeros(n_samples, np.float32), CONFIGS["paper"])
    assert silence.shape == (n_frames, 40)
    assert (silence == np.log(np.float32(CONFIGS["paper"].log_floor))).all()


def test_windows_are_centered_on_their_frames():
    """A click in the middle of frame 200 has the window's peak, 1; around it the window is symmetric."""
    middle = 200 * 882 + 441

    def click(sample):
        return log_mel(np.eye(1, 441_000, sample, dtype=np.float32)[0], CONFIGS["paper"])

    centered = click(middle)
    want = np.log(LogMelExtractor(CONFIGS["paper"]).basis.sum(axis=1) + CONFIGS["paper"].log_floor)
    np.testing.assert_allclose(centered[200], want, atol=1e-5)
    assert centered.mean(axis=1).argmax() == 200
    assert (centered[:199] == centered[0]).all()
    assert (centered[202:] == centered[0]).all()
    for shift in (1, 200, 700):
        np.testing.assert_allclose(click(middle + shift)[200], click(middle - shift)[200], atol=1e-5)


@pytest.mark.parametrize(("shape", "message"), [(440, "less than half a frame"), (0, "holds no samples")])
def test_bad_audio_is_refused(shape, message):
    with pytest.raises(DataError, match=message):
        log_mel(np.zeros(shape, np.float32), CONFIGS["paper"])
