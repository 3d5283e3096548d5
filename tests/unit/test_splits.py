"""Splits drawn at random, by class and by recording."""

import numpy as np
import pytest

from crnn_weak.data.base import stratified_split
from crnn_weak.errors import DataError


def random_tags(n_clips=2000, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n_clips, 6)) < np.array([0.5, 0.2, 0.1, 0.05, 0.01, 0.002])


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_every_class_has_its_share(fraction):
    tags = random_tags()
    common = stratified_split(tags[:400, :4], fraction, seed=1)[1]
    assert abs(len(common) - fraction * 400) <= 1
    assert abs(tags[common, 3].sum() - fraction * tags[:400, 3].sum()) <= 1
    rest, drawn = stratified_split(tags, fraction, seed=3, cover_classes=True)
    assert sorted([*rest, *drawn]) == list(range(2000))
    shares = tags[drawn].sum(axis=0) / tags.sum(axis=0)
    np.testing.assert_allclose(shares[:5], fraction, atol=0.05)
    assert len(drawn) == pytest.approx(fraction * 2000, abs=4)
    for part in (rest, drawn):
        assert (tags[part].sum(axis=0) >= 1).all()
    untagged = ~tags.any(axis=1)
    assert untagged[drawn].sum() / untagged.sum() == pytest.approx(fraction, abs=0.02)


def test_a_class_of_two_is_on_both_sides_a_class_of_one_in_the_rest_and_a_single_clip_refused():
    tags = np.zeros((3, 2), dtype=bool)
    tags[:2, 0] = tags[2, 1] = True
    rest, drawn = stratified_split(tags, 0.1, seed=0, cover_classes=True)
    assert drawn.tolist() in ([0], [1])
    assert 2 in rest
    with pytest.raises(DataError, match="at least 2"):
        stratified_split(tags[:1], 0.1, 0)


def test_a_split_depends_on_the_seed_alone_and_no_recording_is_on_both_sides():
    tags = random_tags(60)
    recordings = [f"r{row % 7}" for row in range(60)]
    rest, drawn = stratified_split(tags, 0.3, 5, recordings)
    assert sorted([*rest, *drawn]) == list(range(60))
    assert {recordings[row] for row in rest}.isdisjoint(recordings[row] for row in drawn)
    assert len({recordings[row] for row in drawn}) == 2
    alone = stratified_split(tags, 0.3, 5)[1].tolist()
    for names in ([str(row) for row in range(60)], ["r"] * 60):  # one clip each, or nothing to keep apart
        assert stratified_split(tags, 0.3, 5, names)[1].tolist() == alone
    assert stratified_split(tags, 0.3, 6)[1].tolist() != alone
