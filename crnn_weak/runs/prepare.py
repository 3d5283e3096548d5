"""Clips and feature stores for an experiment: made, or refused, if missing; reused otherwise."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.data.base import open_dataset
from crnn_weak.errors import DataError
from crnn_weak.features.build import build_store
from crnn_weak.files import relative_path

__all__ = ["Prepared", "prepare"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Feature stores and data description of an experiment.

    Attributes
    ----------
    train_store, test_store : Path
    evaluation_store : Path or None
        The challenge's evaluation set, where the data have it with audio.
    data : dict
        What ``data.json`` holds: provenance, classes, coverage ("n of N clips"), where stores and recordings are.
    """

    train_store: Path
    test_store: Path
    evaluation_store: Path | None
    data: dict[str, Any]


def prepare(
    config: Config,
    cache: str | Path,
    folder: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
) -> Prepared:
    """Make clips and stores as far as they are missing.

    Parameters
    ----------
    config : Config
    cache : path
        Of synthetic clips and stores, shared by experiments.
    folder : path
        Of the experiment; paths in ``data.json`` are relative to it.
    jobs : int
        Processes.
    scheduler : str, optional
        Of Dask, for the features.
    progress : bool
        Show bars.

    Raises
    ------
    DataError
        A clip is in the training split and in another.
    """
    cache, folder = Path(cache), Path(folder)
    began = time.perf_counter()
    dataset = open_dataset(config, cache, jobs=jobs, progress=progress)
    log.info("data: %s (%.0f s)", dataset.provenance, time.perf_counter() - began)
    stores = cache / f"features-{dataset.name}-{configuration.fingerprint(config.features, dataset.fingerprint)}"
    stores.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"provenance": dataset.provenance, "classes": list(dataset.classes), "coverage": {}}
    has_evaluation = "evaluation" in dataset.splits and any(clip.path for clip in dataset.clips("evaluation"))
    splits = ("train", "test", "evaluation") if has_evaluation else ("train", "test")
    trained = {clip.clip_id for clip in dataset.clips("train")}
    for split in splits[1:]:
        both = [clip.clip_id for clip in dataset.clips(split) if clip.clip_id in trained]
        if both:
            raise DataError(
                f"{len(both)} clips are both in the training split and in split {split!r}, e.g. {both[0]}; remove them "
                "from one of the lists."
            )
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
    evaluation = stores / "evaluation.h5" if has_evaluation else None
    return Prepared(stores / "train.h5", stores / "test.h5", evaluation, data)
