"""Standardization: streaming, padding, constant bands."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import TINY, make_store
from sklearn.preprocessing import StandardScaler

from crnn_weak.errors import DataError
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore


class Rows(FeatureStore):
    """What a fit reads of a store: by default clips without padding."""

    def __init__(self, values, durations=None):
        self.values = values
        n_clips, n_frames, n_mels = values.shape
        self.features = SimpleNamespace(n_frames=n_frames, n_mels=n_mels, hop_seconds=TINY.hop_seconds)
        self.durations = np.full(n_clips, n_frames * TINY.hop_seconds) if durations is None else durations

    def __len__(self):
        return len(self.values)

    def read(self, rows):
        return self.values[rows]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def facts(scaler):
    return scaler.mean.tolist(), scaler.std.tolist()


def test_fit_is_numpys_mean_and_deviation(tmp_path):
    with make_store(tmp_path, n_clips=150) as store:  # more than two blocks
        rows = np.arange(0, 150, 2)
        scaler = Scaler.fit(store, rows)
        values = store.read(rows)
        frames = values.astype(np.float64).reshape(-1, TINY.n_mels)
        np.testing.assert_allclose(scaler.mean, frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(scaler.std, frames.std(axis=0), rtol=1e-6)
        scaled = scaler.transform(values)
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0.0, atol=1e-4)
        np.testing.assert_allclose(scaled.std(axis=(0, 1)), 1.0, atol=1e-4)
        assert scaler.transform(values, out=values) is values
        np.testing.assert_array_equal(values, scaled)
        assert facts(Scaler.fit(store, rows[::-1])) == facts(scaler)
        assert facts(Scaler.fit(store)) != facts(scaler)


def test_padded_frames_do_not_enter_and_stay_finite():
    values = noise(200, 20, 3)
    durations = np.random.default_rng(1).uniform(0.0, 2.5, 200)  # some are longer than the clip
    durations[0] = 0.55  # five frames and a half: six are recorded
    n_valid_frames = [min(20, int(np.ceil(seconds / TINY.hop_seconds))) for seconds in durations]
    for clip, n_frames in zip(values, n_valid_frames, strict=True):
        clip[n_frames:] = -18.42
    recorded = np.concatenate([clip[:n_frames] for clip, n_frames in zip(values, n_valid_frames, strict=True)])
    whole = StandardScaler().fit(recorded.astype(np.float64))
    scaler = Scaler.fit(Rows(values, durations))
    np.testing.assert_allclose(scaler.mean, whole.mean_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(scaler.std, whole.scale_, rtol=1e-6)
    padded = scaler.transform(values)[0, 6:]
    assert np.isfinite(padded).all()
    assert (padded == padded[0]).all()


def test_a_constant_band_is_centered_and_not_scaled_and_large_offsets_lose_no_precision():
    values = noise(2, 20, 3)
    values[..., 1] = -18.420681
    scaler = Scaler.fit(Rows(values))
    assert scaler.std[1] == 1.0
    np.testing.assert_allclose(scaler.transform(values)[..., 1], 0.0, atol=1e-5)
    # With large offsets E[x^2] - E[x]^2 in float32 would give nothing like 0.01.
    values = (1e4 + 0.01 * np.random.default_rng(0).standard_normal((40, 20, 1))).astype(np.float32)
    assert Scaler.fit(Rows(values)).std[0] == pytest.approx(values.astype(np.float64).std(), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scaler.fit(Rows(noise(2, 20, 1)), []), "no recorded frame"),
        (lambda: Scaler.fit(Rows(noise(1, 20, 1), np.zeros(1))), "no recorded frame"),
        (lambda: Scaler(np.zeros(2), np.array([1.0, 0.0])), "above 0"),
        (lambda: Scaler(np.array([np.nan]), np.ones(1)), "finite"),
        (lambda: Scaler(np.zeros(2), np.ones(3)), "shape"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
