"""Splits drawn at random (`test_training` has those by recording)."""

import numpy as np
import pytest

from crnn_weak.data.splits import stratified_split


def random_tags(n_clips=2000, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n_clips, 6)) < np.array([0.5, 0.2, 0.1, 0.05, 0.01, 0.002])


def test_every_class_has_its_share():
    tags = random_tags()
    rest, drawn = stratified_split(tags, 0.2, seed=3, cover_classes=True)
    shares = tags[drawn].sum(axis=0) / tags.sum(axis=0)
    np.testing.assert_allclose(shares[:5], 0.2, atol=0.05)
    assert len(drawn) == pytest.approx(400, abs=40)
    for part in (rest, drawn):
        assert (tags[part].sum(axis=0) >= 1).all()
    untagged = ~tags.any(axis=1)
    assert untagged[drawn].sum() / untagged.sum() == pytest.approx(0.2, abs=0.02)


def test_a_class_of_two_is_on_both_sides_and_a_class_of_one_in_the_rest():
    tags = np.zeros((3, 2), dtype=bool)
    tags[:2, 0] = tags[2, 1] = True
    rest, drawn = stratified_split(tags, 0.1, seed=0, cover_classes=True)
    assert drawn.tolist() in ([0], [1])
    assert 2 in rest
