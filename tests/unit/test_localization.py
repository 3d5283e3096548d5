"""Localization statistics, worked by hand."""

import numpy as np
import pytest

from crnn_weak.errors import DataError
from crnn_weak.saliency import localize, summarize


def test_share_hit_and_coverage_by_hand():
    maps = np.zeros((3, 4, 2))
    maps[0, 1] = [3, -1]  # frame 1: 4
    maps[0, 2] = [-2, 2]  # frame 2: 4
    maps[1, 3, 0] = -5
    inside = np.array([[0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]], bool)
    found = localize(maps, inside)
    np.testing.assert_array_equal(found.share, [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(found.hit, [1, 0, np.nan])  # frame 1 holds the largest single value
    np.testing.assert_array_equal(found.coverage, [0.25, 0.75, 0.5])
    assert found.usable.tolist() == [True, True, False]


def test_a_map_without_knowledge_of_time_is_at_chance():
    rng = np.random.default_rng(0)
    inside = np.arange(50)[None] < rng.integers(5, 45, (400, 1))
    summary = summarize(localize(rng.standard_normal((400, 50, 4)), inside), [str(k) for k in range(400)])
    assert summary.n_pairs == summary.n_clips == 400
    assert summary.share_gain_low < 0.005
    assert abs(summary.share_gain) < 0.01
    assert summary.hit_gain_low < 0 < summary.hit_gain_high


def test_a_perfect_map_scores_one():
    inside = np.arange(10)[None] < np.array([[3], [7]])
    summary = summarize(localize(inside[..., None].astype(float), inside), ["a", "b"])
    assert (summary.share, summary.hit) == (1, 1)
    assert summary.coverage == pytest.approx(0.5)
    assert summary.share_ratio == pytest.approx(2)
    assert summary.share_gain_low <= summary.share_gain <= summary.share_gain_high


def test_pairs_that_cannot_tell_maps_apart_are_counted_not_averaged():
    inside = np.array([[1, 1], [0, 0], [1, 0], [1, 0]], bool)
    maps = np.ones((4, 2, 1))
    maps[3] = 0
    summary = summarize(localize(maps, inside), list("abcd"))
    assert (summary.n_pairs, summary.n_skipped, summary.n_zero) == (1, 2, 1)
    assert summary.share == 0.5


def test_no_pairs_give_nan_not_an_error():
    summary = summarize(localize(np.zeros((0, 5, 2)), np.zeros((0, 5), bool)), [])
    assert summary.n_pairs == 0
    assert np.isnan(summary.share)


def test_clips_are_resampled_not_pairs():
    # Ten pairs of one clip hold no more than one: with one clip the interval has no width.
    inside = np.arange(10)[None] < np.arange(1, 10)[:, None]
    found = localize(np.random.default_rng(0).random((9, 10, 2)), inside)
    one = summarize(found, ["a"] * 9)
    assert one.share_gain_low == pytest.approx(one.share_gain_high)
    many = summarize(found, [str(k) for k in range(9)])
    assert many.share_gain_low < many.share_gain_high


def test_wrong_shapes_and_values():
    with pytest.raises(DataError, match="expected maps"):
        localize(np.zeros((2, 3, 4)), np.zeros((2, 4), bool))
    with pytest.raises(DataError, match="NaN"):
        localize(np.full((1, 3, 4), np.nan), np.zeros((1, 3), bool))
    with pytest.raises(DataError, match="clip ids"):
        summarize(localize(np.ones((1, 3, 4)), np.ones((1, 3), bool)), [])
