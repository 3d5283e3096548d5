"""The paper's set at its full size: store, scaler, and as much of an epoch of a preset as the time allows.

The labels are the organizers' own (``--labels FOLDER`` with ``training_set.csv``), so that every clip holds the
classes that the real one holds; the sounds are synthesized. Without the labels each clip has one class in turn.
Reports seconds, bytes, memory (resident above what Keras and the model take; Python's and NumPy's heap by
tracemalloc), the time that making batches takes (beside the fit, in a thread of its own), and the share of time in
which the fit waits for them: how much faster it is when every batch is there already, in alternating rounds. An epoch
that was not run to its end is extrapolated, and said so.

python benchmarks/full_set.py --labels METADATA --clips 51172 --seconds 120
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import alternate, environment, table
from store import make_sounds, write_store

from crnn_weak.config import PRESETS, FeatureConfig, preset
from crnn_weak.features.scaler import Scaler
from crnn_weak.features.store import FeatureStore, StoreHeader
from crnn_weak.labels.classes import DCASE2017_TASK4, tag_array

_STEPS_OF_A_ROUND = 30  # ten seconds of preset `paper`


def read_labels(folder: str | None, n_clips: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Return clip ids and tags of the training split."""
    if folder is None:
        tags = np.eye(len(DCASE2017_TASK4), dtype=bool)[np.arange(n_clips) % len(DCASE2017_TASK4)]
        return tuple(f"clip-{row}" for row in range(n_clips)), tags
    from crnn_weak.data.task4 import Task4Dataset

    clips = list(Task4Dataset(folder, None, name="labels", provenance="labels").clips("train"))[:n_clips]
    return tuple(clip.clip_id for clip in clips), tag_array([clip.tags for clip in clips], DCASE2017_TASK4)


def build(path: Path, features: FeatureConfig, ids: tuple[str, ...], tags: np.ndarray) -> FeatureStore:
    """Write the store through the package's own writer; each row is a synthesized sound, moved in time."""
    header = StoreHeader(
        features=features,
        classes=DCASE2017_TASK4,
        clip_ids=ids,
        tags=tags,
        events=(None,) * len(ids),
        split="train",
        dataset="benchmark",
        data_fingerprint="full-set",
        provenance="synthesized sounds under the real label file",
    )
    return write_store(path, header, make_sounds(features), moved=True)


def fit(store: FeatureStore, scaler: Scaler, name: str, seconds: float, base_mb: float) -> dict[str, Any]:
    """Fit until the time is up or the epoch is done."""
    import keras

    from crnn_weak.config import LossWeights
    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model
    from crnn_weak.training.batches import StoreBatches, for_keras

    config = preset(name)
    model = build_model(config)
    compile_model(model, LossWeights())
    size = min(config.training.batch_size, 32)
    batches = StoreBatches(store, np.arange(len(store)), scaler, batch_size=size, seed=0)
    warm = StoreBatches(store, np.arange(2 * size), scaler, batch_size=size)
    model.fit(for_keras(warm), verbose=0)  # compilation is not what is timed here
    reading = 0.0
    read = type(batches).__getitem__

    class Timed(StoreBatches):
        def __getitem__(self, index: int) -> Any:
            nonlocal reading
            began = time.perf_counter()
            batch = read(self, index)
            reading += time.perf_counter() - began
            return batch

    timed = Timed(store, np.arange(len(store)), scaler, batch_size=size, seed=0)
    process = psutil.Process()
    done, peak = 0, 0.0
    began = time.perf_counter()

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            nonlocal done, peak
            done += 1
            peak = max(peak, process.memory_info().rss / 1e6)
            if time.perf_counter() - began > seconds:
                self.model.stop_training = True
                raise StopIteration

    with contextlib.suppress(StopIteration):
        model.fit(for_keras(timed), shuffle=False, verbose=0, callbacks=[Clock()])
    elapsed = time.perf_counter() - began
    rate = done * size / elapsed
    heap_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_steps = min(_STEPS_OF_A_ROUND, len(store) // size)
    drawn = StoreBatches(store, np.arange(n_steps * size), scaler, batch_size=size, seed=1)

    class Held(StoreBatches):
        def __getitem__(self, index: int) -> Any:
            return drawn_first

    drawn_first = drawn[0]
    inputs = {
        "store": for_keras(drawn),
        "held": for_keras(Held(store, drawn.rows, scaler, batch_size=size, seed=1)),
    }
    rounds = alternate(
        {name: lambda given=given: model.fit(given, verbose=0, shuffle=False) for name, given in inputs.items()},
        rounds=9,
    )
    within = [held / drawn for held, drawn in zip(rounds["held"].seconds, rounds["store"].seconds, strict=True)]
    return {
        "batch": size,
        "steps_done": done,
        "steps_of_the_epoch": len(timed),
        "train_clips_per_second": round(rate, 1),
        "epoch_minutes": round(len(store) / rate / 60, 1),
        "epoch_is_extrapolated": done < len(timed),
        "share_of_time_making_batches": round(reading / elapsed, 4),
        "share_of_time_waiting_for_batches": round(1 - statistics.median(within), 4),
        "share_of_time_waiting_in_each_round": [round(1 - share, 4) for share in within],
        "fit_heap_peak_mb": round(heap_peak / 1e6),
        "resident_mb_at_peak": round(peak),
        "resident_mb_above_keras_and_store": round(peak - base_mb),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", metavar="FOLDER", help="the organizers' label files")
    parser.add_argument("--clips", type=int, default=51_172)
    parser.add_argument("--preset", default="paper", choices=sorted(PRESETS))
    parser.add_argument("--seconds", type=float, default=120.0, help="for the fit")
    parser.add_argument("--folder", type=Path, help="where to make the store (default: the temporary folder)")
    args = parser.parse_args()
    from crnn_weak.model import crnn  # noqa: F401  (what Keras takes is not the store's doing)

    features = preset(args.preset).features
    ids, tags = read_labels(args.labels, args.clips)
    folder = Path(tempfile.mkdtemp(prefix="full-set-", dir=args.folder))
    facts: dict[str, Any] = {
        "clips": len(ids),
        "tags": int(tags.sum()),
        "preset": args.preset,
        "labels": bool(args.labels),
    }
    process = psutil.Process()
    base = process.memory_info().rss / 1e6
    facts["resident_mb_with_keras_imported"] = round(base)
    tracemalloc.start()

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        facts[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
        facts[f"{name}_heap_peak_mb"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.reset_peak()
        return result

    try:
        store = step("build", lambda: build(folder / "train.h5", features, ids, tags))
        scaler = step("fit_scaler", lambda: Scaler.fit(store))
        facts["gigabytes"] = round((folder / "train.h5").stat().st_size / 1e9, 2)
        facts |= fit(store, scaler, args.preset, args.seconds, base)
    finally:
        shutil.rmtree(folder)
    print(table([[name, value] for name, value in facts.items()], ["the full set", ""]))
    print(json.dumps({"benchmark": "full_set", **facts, **environment(["tensorflow", "keras", "h5py"])}))


if __name__ == "__main__":
    main()
