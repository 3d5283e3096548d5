"""Damaged feature stores: read as they were written, or refused in one line with the command that rebuilds them."""

import pickle

import numpy as np
import pytest
from helpers import TINY, make_store

from crnn_weak.errors import FeatureStoreError
from crnn_weak.features.store import FeatureStore

# The HDF5 library loops for ever over some damaged structures, so the damage begins after its first objects.
FIRST = 2_048
KINDS = ("flip", "cut", "zeros", "ones", "repeat", "remove")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store, its bytes, and what it holds."""
    store = make_store(tmp_path_factory.mktemp("store"), n_clips=24, unreadable=[3])
    return store.path.read_bytes(), contents(store)


def contents(store):
    """Return everything that a model would be trained on."""
    facts = (store.clip_ids, store.classes, store.tags.tobytes(), store.durations.tobytes(), store.events, store.counts)
    return pickle.dumps(facts), store.read(range(len(store))).tobytes()


def damaged(data, rng):
    data, kind = bytearray(data), rng.choice(KINDS)
    at = int(rng.integers(FIRST, 16_384 if rng.random() < 0.5 else len(data)))
    length = int(rng.integers(1, 64))
    if kind == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del data[at:]
    elif kind in ("zeros", "ones"):
        data[at : at + length] = (b"\0" if kind == "zeros" else b"\xff") * length
    elif kind == "repeat":
        data[at:at] = data[at : at + length]
    else:
        del data[at : at + length]
    return bytes(data)


def check(folder, whole, seeds):
    data, wanted = whole
    counts = {"refused": 0, "same": 0, "found by reading": 0}
    path = folder / "damaged.h5"
    for seed in seeds:
        path.write_bytes(damaged(data, np.random.default_rng(seed)))
        try:
            with FeatureStore(path, TINY) as store:
                facts, values = contents(store)
        except FeatureStoreError as error:
            text = str(error)
            assert "\n" not in text, seed
            assert str(path) in text, seed
            assert "build" in text.lower() or "expected" in text or "not a feature store" in text, (seed, text)
            counts["found by reading" if "the row of clip" in text else "refused"] += 1
            continue
        assert values == wanted[1], f"seed {seed}: other features"
        assert facts == wanted[0], f"seed {seed}: other labels"
        counts["same"] += 1
    return counts


def test_a_damaged_store_is_refused_or_the_same(tmp_path, whole):
    counts = check(tmp_path, whole, range(300))
    assert min(counts.values()) > 5, counts
