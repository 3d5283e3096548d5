"""Memory while a large store is built, read and fitted on: that of a few blocks, not of the set."""

import tracemalloc

import numpy as np
import pytest
from helpers import ListDataset

from crnn_weak.config import PRESETS
from crnn_weak.data.base import Clip
from crnn_weak.features.build import ClipFeatures, build_store
from crnn_weak.features.log_mel import Scaler

N_CLIPS = 20_000
FEATURES = PRESETS["quick"].features  # 100 x 40 float32: 16 kB a clip, 320 MB in all
LIMIT_MB = 60


def _without_audio(_, chunks, **options):
    """Give clip ``row`` the number ``row`` for its features, so that every answer can be checked."""
    values = np.empty((FEATURES.n_frames, FEATURES.n_mels), np.float32)
    for chunk in chunks:
        results = []
        for row, _clip in chunk:
            values[:] = row
            results.append((row, ClipFeatures(values.copy(), "ok", FEATURES.clip_seconds, "")))
        yield 0, results


@pytest.mark.slow
def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("crnn_weak.features.build.run_tasks", _without_audio)
    data = ListDataset([Clip(f"clip {row}", "train", None, ("bell",), ()) for row in range(N_CLIPS)])
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        store = build_store(data, "train", FEATURES, tmp_path / "features.h5", jobs=2)
        for _ in range(700):  # the set once over
            rows = rng.integers(0, N_CLIPS, 32)
            np.testing.assert_array_equal(store.read(rows)[:, ::99, 0], np.repeat(rows[:, None], 2, axis=1))
        Scaler.fit(store)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        (tmp_path / "features.h5").unlink()
    assert peak < LIMIT_MB * 1e6
