"""A detector without TensorFlow: a model with a memory of known length, and sounds whose events are known."""

import numpy as np

from crnn_weak.config import FeatureConfig, OperatingPointConfig
from crnn_weak.detection.detector import Detector
from crnn_weak.detection.postprocessing import OperatingPoint
from crnn_weak.features.log_mel import Scaler

RATE = 8_000
FEATURES = FeatureConfig(
    clip_seconds=4.0, sample_rate_hz=RATE, window_seconds=0.1, hop_seconds=0.05, n_fft=1024, n_mels=20, fmax_hz=4_000.0
)
CLASSES = ("Low", "High")


class TwoSidedModel:
    """Scores are the bands' energy, smoothed to both sides within a window, as by GRUs of a known memory."""

    def __init__(self, memory_seconds=0.1):
        self.keep = np.exp(-FEATURES.hop_seconds / memory_seconds)
        self.batch_sizes = []

    def predict_on_batch(self, windows):
        windows = np.asarray(windows)
        self.batch_sizes.append(len(windows))
        half = windows.shape[2] // 2
        loud = np.stack([windows[..., :half].mean(-1), windows[..., half:].mean(-1)], axis=-1)
        strong = 1 / (1 + np.exp(-3 * (self._swept(loud) + self._swept(loud[:, ::-1])[:, ::-1])))
        return {"strong": strong.astype(np.float32), "weak": strong.max(axis=1).astype(np.float32)}

    def _swept(self, x):
        out, state = np.empty_like(x), np.zeros_like(x[:, 0])
        for frame in range(x.shape[1]):
            state = self.keep * state + (1 - self.keep) * x[:, frame]
            out[:, frame] = state
        return out


def detector(model=None, *, features=FEATURES, window_hop_seconds=None):
    scaler = Scaler(np.full(20, -5.3, np.float32), np.full(20, 1.5, np.float32))
    return Detector(
        model or TwoSidedModel(),
        classes=CLASSES,
        features=features,
        scaler=scaler,
        operating_point=OperatingPoint.from_config(OperatingPointConfig(), CLASSES),
        batch_size=8,
        window_hop_seconds=window_hop_seconds,
    )


def bursts(seconds, seed=0, rate=RATE):
    """Faint noise with bursts of 0.3 to 1.5 s, low and high, far louder than it."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    audio = 1e-4 * rng.standard_normal(time.size)
    hertz = np.fft.rfftfreq(time.size, 1 / rate)
    for low, high in ((0.0, 1_000.0), (1_500.0, 4_000.0)):
        spectrum = np.fft.rfft(rng.standard_normal(time.size)) * ((hertz >= low) & (hertz < high))
        noise = np.fft.irfft(spectrum, time.size)
        onset = rng.uniform(0.3, 2.0)
        while onset < seconds - 0.5:
            offset = onset + rng.uniform(0.3, 1.5)
            audio += 0.1 * noise * ((time >= onset) & (time < offset))
            onset = offset + rng.uniform(0.5, 3.0)
    return audio.astype(np.float32)
