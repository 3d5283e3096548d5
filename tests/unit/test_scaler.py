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


def test_a_fit_over_batches_is_the_fit_of_the_whole():
    values = np.random.default_rng(0).standard_normal((200, 20, 3)).astype(np.float32)
    durations = np.random.default_rng(1).uniform(0.0, 2.5, 200)
    heard = [clip[: max(0, int(np.ceil(d / TINY.hop_seconds)))] for clip, d in zip(values, durations, strict=True)]
    whole = StandardScaler().fit(np.concatenate(heard).astype(np.float64))
    scaler = Scaler.fit(_store(values, durations))
    np.testing.assert_allclose(scaler.mean, whole.mean_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(scaler.std, whole.scale_, rtol=1e-6)


def test_other_rows_do_not_enter(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 20, 3)).astype(np.float32)
    changed = values.copy()
    changed[3] += 1e6
    assert Scaler.fit(_store(values), [0, 1, 2]) == Scaler.fit(_store(changed), [2, 1, 0])


def test_padded_frames_do_not_enter_and_stay_finite():
    values = np.random.default_rng(0).standard_normal((3, 20, 2)).astype(np.float32)
    durations = np.array([2.0, 0.55, 9.0])  # whole; five frames and a half; longer than the clip
    heard = np.concatenate([values[0], values[1, :6], values[2]])
    values[1, 6:] = -18.42
    scaler = Scaler.fit(_store(values, durations))
    np.testing.assert_allclose(scaler.mean, heard.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(scaler.std, heard.std(axis=0), atol=1e-6)
    padded = scaler.transform(values)[1, 6:]
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
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again == scaler
    assert hash(again) == hash(scaler)


def test_bad_values_are_refused():
    with pytest.raises(DataError, match="no rows"):
        Scaler.fit(_store(np.zeros((2, 20, 1), np.float32)), [])
    with pytest.raises(DataError, match="nothing but padding"):
        Scaler.fit(_store(np.zeros((1, 20, 1), np.float32), np.zeros(1)))
    with pytest.raises(DataError, match="above 0"):
        Scaler(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(DataError, match="finite"):
        Scaler(np.array([np.nan]), np.ones(1))
    with pytest.raises(DataError, match="shape"):
        Scaler(np.zeros(2), np.ones(3))
    with pytest.raises(DataError, match="'mean' and 'std'"):
        Scaler.from_dict({"mean": [0.0]})
