"""Frame times come from samples: they do not drift, whatever the rate and the hop."""

import numpy as np
import pytest

from crnn_weak.config import FeatureConfig, OperatingPointConfig
from crnn_weak.detection.detector import Detector
from crnn_weak.detection.postprocessing import OperatingPoint
from crnn_weak.features.log_mel import Scaler
from crnn_weak.labels.rolls import frame_times


@pytest.mark.parametrize(("rate", "n_hop"), [(22_050, 551), (44_100, 882), (16_000, 160), (11_025, 332)])
def test_the_time_of_a_frame_is_that_of_its_samples_after_ten_hours(rate, n_hop):
    last = 10 * 3600 * rate // n_hop
    times = frame_times(2, n_hop / rate, first=last - 2)
    np.testing.assert_allclose(times, np.arange(last - 2, last + 1) * n_hop / rate, atol=1e-6)


class Loudness:
    """One class, which sounds where the bands are loud."""

    def predict_on_batch(self, windows):
        strong = (np.asarray(windows).mean(axis=2, keepdims=True) > -10).astype(np.float32)
        return {"strong": strong, "weak": strong.max(axis=1)}


def test_an_event_late_in_a_recording_is_found_where_it_is():
    """22,050 Hz and 25 ms are 551.25 samples: with the time of the setting it would be found 0.27 s late."""
    rate, onset = 22_050, 590.0
    features = FeatureConfig(sample_rate_hz=rate, hop_seconds=0.025, window_seconds=0.05, fmax_hz=rate / 2, n_mels=8)
    audio = np.zeros(600 * rate, np.float32)
    audio[round(onset * rate) : round((onset + 2) * rate)] = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * rate)
    detector = Detector(
        Loudness(),
        classes=("noise",),
        features=features,
        scaler=Scaler(np.zeros(8, np.float32), np.ones(8, np.float32)),
        operating_point=OperatingPoint.from_config(OperatingPointConfig(), ("noise",)),
        window_hop_seconds=5.0,
    )
    (event,) = detector.detect((audio, rate))
    assert event.onset == pytest.approx(onset, abs=0.05)
    assert event.offset == pytest.approx(onset + 2, abs=0.05)
