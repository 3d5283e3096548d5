"""Splits drawn by chance, and the list file."""

import numpy as np
import pytest

from crnn_weak.data.splits import SplitRow, read_split_list, stratified_part, write_split_list
from crnn_weak.errors import DataError


def random_tags(n_clips=2000, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n_clips, 6)) < np.array([0.5, 0.2, 0.1, 0.05, 0.01, 0.002])


def test_every_class_has_its_share():
    tags = random_tags()
    chosen = stratified_part(tags, 0.2, seed=3)
    shares = tags[chosen].sum(axis=0) / tags.sum(axis=0)
    np.testing.assert_allclose(shares[:5], 0.2, atol=0.05)
    assert chosen.mean() == pytest.approx(0.2, abs=0.02)
    assert (tags[chosen].sum(axis=0) >= 1).all()
    assert (tags[~chosen].sum(axis=0) >= 1).all()
    untagged = ~tags.any(axis=1)
    assert chosen[untagged].mean() == pytest.approx(0.2, abs=0.02)


def test_the_seed_decides():
    tags = random_tags()
    np.testing.assert_array_equal(stratified_part(tags, 0.2, seed=3), stratified_part(tags, 0.2, seed=3))
    assert (stratified_part(tags, 0.2, seed=3) != stratified_part(tags, 0.2, seed=4)).any()


def test_a_class_of_two_is_on_both_sides_and_a_class_of_one_in_the_rest():
    tags = np.zeros((3, 2), dtype=bool)
    tags[:2, 0] = tags[2, 1] = True
    chosen = stratified_part(tags, 0.1, seed=0)
    assert chosen[:2].sum() == 1
    assert not chosen[2]


def test_list_files(tmp_path):
    rows = [SplitRow("--a_0", "train", "ab12", "ok"), SplitRow("b", "test", "", "missing")]
    write_split_list(tmp_path / "clips.tsv", rows)
    assert (tmp_path / "clips.tsv").read_text() == (
        "clip_id\tsplit\tsha256\tstatus\n--a_0\ttrain\tab12\tok\nb\ttest\t\tmissing\n"
    )
    assert read_split_list(tmp_path / "clips.tsv") == rows
    (tmp_path / "clips.tsv").write_text("clip_id\tsplit\tsha256\tstatus\na\ttrain\t\tlost\n")
    with pytest.raises(DataError, match="line 2"):
        read_split_list(tmp_path / "clips.tsv")
    (tmp_path / "clips.tsv").write_text("a\ttrain\n")
    with pytest.raises(DataError, match="not a list of clips"):
        read_split_list(tmp_path / "clips.tsv")
