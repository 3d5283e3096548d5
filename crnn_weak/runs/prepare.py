"""Clips and feature stores for a run or a grid: made if they are missing, or refused; reused otherwise."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from crnn_weak.config import Config, fingerprint
from crnn_weak.data.base import Dataset, open_dataset
from crnn_weak.errors import DataError
from crnn_weak.features.build import build_store
from crnn_weak.files import relative_path

log = logging.getLogger(__name__)


def prepare(
    config: Config,
    cache: str | Path,
    folder: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Make the clips and stores that are missing; return the content of ``data.json`` in `folder` (`RunData`).

    `cache` holds synthetic clips and stores, which runs and grids share. `scheduler` is Dask's, for the features.
    """
    cache = Path(cache)
    began = time.perf_counter()
    dataset = open_dataset(config, cache, jobs=jobs, progress=progress)
    log.info("data: %s (%.0f s)", dataset.provenance, time.perf_counter() - began)
    splits = ["train", "test"]
    if "evaluation" in dataset.splits and any(clip.path for clip in dataset.clips("evaluation")):
        splits.append("evaluation")
    _check_disjoint(dataset, splits[1:])
    stores = cache / f"features-{dataset.name}-{fingerprint(config.features, dataset.fingerprint)}"
    stores.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"provenance": dataset.provenance, "classes": list(dataset.classes), "coverage": {}}
    for split in splits:
        began = time.perf_counter()
        path = stores / f"{split}.h5"
        work: dict[str, Any] = {"jobs": jobs, "scheduler": scheduler, "progress": progress}
        with build_store(dataset, split, config.features, path, **work) as store:
            coverage = {"n_clips": len(store), "n_listed": store.n_listed, **store.counts}
        data["coverage"][split] = coverage
        data[f"{split}_store"] = relative_path(path, folder)
        seconds = time.perf_counter() - began
        log.info("features: %s, %d of %d clips (%.0f s)", split, coverage["n_clips"], coverage["n_listed"], seconds)
    data["audio"] = {c.clip_id: relative_path(c.path, folder) for c in dataset.clips("test") if c.path is not None}
    return data


def _check_disjoint(dataset: Dataset, test_splits: list[str]) -> None:
    trained = {clip.clip_id for clip in dataset.clips("train")}
    for split in test_splits:
        both = [clip.clip_id for clip in dataset.clips(split) if clip.clip_id in trained]
        if both:
            raise DataError(
                f"{len(both)} clips are both in the training split and in split {split!r}, e.g. {both[0]}; remove them "
                "from one of the lists."
            )
