"""Standardization: streaming, padding, constant bands."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import TINY, make_store
from sklearn.preprocessing import StandardScaler

from crnn_weak.errors import DataError
from crnn_weak.features.scaler import Scaler


def _store(values: np.ndarray, durations: np.ndarray | None = None) -> SimpleNamespace:
    n_clips, n_frames, _ = values.shape
    features = SimpleNamespace(n_frames=n_frames, n_mels=values.shape[2], hop_seconds=TINY.hop_seconds)
    seconds = np.full(n_clips, n_frames * TINY.hop_seconds) if durations is None else durations

    class Rows:
        durations = seconds

        def __len__(self):
            return n_clips

        def read(self, rows):
            return values[rows]

    rows = Rows()
    rows.features = features
    return rows


def test_fit_is_numpys_mean_and_deviation(tmp_path):
    with make_store(tmp_path, n_clips=150) as store:  # more than two blocks
        rows = np.arange(0, 150, 2)
        scaler = Scaler.fit(store, rows)
        frames = store.read(rows).astype(np.float64).reshape(-1, TINY.n_mels)
        np.testing.assert_allclose(scaler.mean, frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(scaler.std, frames.std(axis=0), rtol=1e-6)
        scaled = scaler.transform(store.read(rows))
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0.0, atol=1e-4)
        np.testing.assert_allclose(scaled.std(axis=(0, 1)), 1.0, atol=1e-4)
        assert Scaler.fit(store, rows[::-1]) == scaler
        assert Scaler.fit(store) != scaler


def test_other_rows_do_not_enter(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 20, 3)).astype(np.float32)
    changed = values.copy()
    changed[3] += 1e6
    assert Scaler.fit(_store(values), [0, 1, 2]) == Scaler.fit(_store(changed), [2, 1, 0])


def test_padded_frames_do_not_enter_and_stay_finite():
    values = np.random.default_rng(0).standard_normal((200, 20, 3)).astype(np.float32)
    durations = np.random.default_rng(1).uniform(0.0, 2.5, 200)  # some are longer than the clip
    durations[0] = 0.55  # five frames and a half: six are recorded
    n_valid_frames = [min(20, int(np.ceil(seconds / TINY.hop_seconds))) for seconds in durations]
    for clip, n_frames in zip(values, n_valid_frames, strict=True):
        clip[n_frames:] = -18.42
    recorded = np.concatenate([clip[:n_frames] for clip, n_frames in zip(values, n_valid_frames, strict=True)])
    whole = StandardScaler().fit(recorded.astype(np.float64))
    scaler = Scaler.fit(_store(values, durations))
    np.testing.assert_allclose(scaler.mean, whole.mean_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(scaler.std, whole.scale_, rtol=1e-6)
    padded = scaler.transform(values)[0, 6:]
    assert np.isfinite(padded).all()
    assert (padded == padded[0]).all()


def test_a_constant_band_is_centered_and_not_scaled():
    values = np.random.default_rng(0).standard_normal((2, 20, 3)).astype(np.float32)
    values[..., 1] = -18.420681
    scaler = Scaler.fit(_store(values))
    assert scaler.std[1] == 1.0
    np.testing.assert_allclose(scaler.transform(values)[..., 1], 0.0, atol=1e-5)


def test_large_offsets_lose_no_precision():
    """E[x^2] - E[x]^2 in float32 would give nothing like 0.01 here."""
    values = (1e4 + 0.01 * np.random.default_rng(0).standard_normal((40, 20, 1))).astype(np.float32)
    want = values.astype(np.float64).std()
    assert Scaler.fit(_store(values)).std[0] == pytest.approx(want, rel=1e-6)


def test_inverse_undoes_transform_and_in_place_is_the_same():
    scaler = Scaler(np.array([1.0, -2.0]), np.array([0.5, 3.0]))
    values = np.random.default_rng(0).standard_normal((5, 4, 2)).astype(np.float32)
    scaled = scaler.transform(values)
    np.testing.assert_allclose(scaler.inverse(scaled), values, atol=1e-6)
    buffer = values.copy()
    assert scaler.transform(buffer, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, scaled)


def test_plain_values_round_trip_through_json_bit_by_bit():
    scaler = Scaler(np.array([0.1, -1 / 3]), np.array([1e-2, 2.7]))
    assert Scaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scaler.fit(_store(np.zeros((2, 20, 1), np.float32)), []), "no rows"),
        (lambda: Scaler.fit(_store(np.zeros((1, 20, 1), np.float32), np.zeros(1))), "nothing but padding"),
        (lambda: Scaler(np.zeros(2), np.array([1.0, 0.0])), "above 0"),
        (lambda: Scaler(np.array([np.nan]), np.ones(1)), "finite"),
        (lambda: Scaler(np.zeros(2), np.ones(3)), "shape"),
        (lambda: Scaler.from_dict({"mean": [0.0]}), "'mean' and 'std'"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
