"""The paper's set at its full size: store, scaler, and as much of an epoch of a preset as the time allows.

    python benchmarks/full_set.py --labels METADATA --clips 51172 --seconds 120

The labels are the organizers' own (``--labels FOLDER`` with ``training_set.csv``), so that every clip has the classes
of the real one; the sounds are synthesized. Without the labels each clip has one class in turn. Reports seconds, bytes
and memory: resident above what Keras and the model take; Python's and NumPy's heap by tracemalloc. Reports the time
spent making batches (in a thread of its own), and the share of time in which the fit waits for them. That is how much
faster it is when every batch is already in memory, in alternating rounds. The time of an unfinished epoch is
extrapolated.
"""

from __future__ import annotations

import contextlib
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import alternate, make_sounds, parse, print_result, table, tags_in_turn, temporary_folder, write_store

from crnn_weak.config import LossWeights, preset
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.events import DCASE2017_TASK4, tag_array

_STEPS_OF_A_ROUND = 30  # ten seconds of preset `paper`


def read_labels(folder: str | None, n_clips: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return tags of the training split, and clip ids where they are known."""
    if folder is None:
        return tags_in_turn(n_clips), {}
    from crnn_weak.data.task4 import read_task4

    clips = list(read_task4(folder, None, name="labels", provenance="labels").clips("train"))[:n_clips]
    ids = tuple(clip.clip_id for clip in clips)
    return tag_array([clip.tags for clip in clips], DCASE2017_TASK4), {"clip_ids": ids}


def fit(store: FeatureStore, scaler: Scaler, name: str, seconds: float, base_mb: float) -> dict[str, Any]:
    """Fit until the time is up or the epoch is done."""
    import keras

    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model
    from crnn_weak.training.batches import StoreBatches, for_keras

    config = preset(name)
    model = build_model(config)
    compile_model(model, LossWeights())
    size = min(config.training.batch_size, 32)
    warm = StoreBatches(store, np.arange(2 * size), scaler, batch_size=size)
    model.fit(for_keras(warm), verbose=0)  # compilation is not what is timed here
    reading = 0.0

    class Timed(StoreBatches):
        def __getitem__(self, index: int) -> Any:
            nonlocal reading
            began = time.perf_counter()
            batch = super().__getitem__(index)
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
                raise StopIteration

    with contextlib.suppress(StopIteration):
        model.fit(for_keras(timed), shuffle=False, verbose=0, callbacks=[Clock()])
    elapsed = time.perf_counter() - began
    rate = done * size / elapsed
    heap_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shares = waiting_shares(model, store, scaler, size)
    return {
        "batch": size,
        "steps_done": done,
        "steps_of_the_epoch": len(timed),
        "train_clips_per_second": round(rate, 1),
        "epoch_minutes": round(len(store) / rate / 60, 1),
        "epoch_is_extrapolated": done < len(timed),
        "share_of_time_making_batches": round(reading / elapsed, 4),
        "share_of_time_waiting_for_batches": round(statistics.median(shares), 4),
        "share_of_time_waiting_in_each_round": [round(share, 4) for share in shares],
        "fit_heap_peak_mb": round(heap_peak / 1e6),
        "resident_mb_at_peak": round(peak),
        "resident_mb_above_keras_and_store": round(peak - base_mb),
    }


def waiting_shares(model: Any, store: FeatureStore, scaler: Scaler, size: int) -> list[float]:
    """Return the share of time, round by round, that a fit saves when its batches are already in memory."""
    from crnn_weak.training.batches import StoreBatches, for_keras

    rows = np.arange(min(_STEPS_OF_A_ROUND, len(store) // size) * size)
    drawn = StoreBatches(store, rows, scaler, batch_size=size, seed=1)
    first = drawn[0]

    class InMemory(StoreBatches):
        def __getitem__(self, index: int) -> Any:
            return first

    inputs = {"store": drawn, "memory": InMemory(store, rows, scaler, batch_size=size, seed=1)}
    datasets = {name: for_keras(batches) for name, batches in inputs.items()}
    fits = {name: lambda name=name: model.fit(datasets[name], verbose=0, shuffle=False) for name in datasets}
    rounds = alternate(fits, rounds=9)
    pairs = zip(rounds["memory"].seconds, rounds["store"].seconds, strict=True)
    return [1 - memory / store for memory, store in pairs]


def main() -> None:
    options: dict[str, Any] = {"clips": 51_172, "preset": "paper", "seconds": 120.0}
    options["labels"] = {"metavar": "FOLDER", "help": "the organizers' label files"}
    options["folder"] = {"type": Path, "help": "where to make the store (default: the temporary folder)"}
    args = parse(__doc__, options)
    from crnn_weak.model import crnn  # noqa: F401  (before memory is measured: what Keras takes does not count)

    features = preset(args.preset).features
    tags, header = read_labels(args.labels, args.clips)
    facts: dict[str, Any] = {"clips": len(tags), "tags": int(tags.sum()), "preset": args.preset}
    facts["labels"] = bool(args.labels)
    base = psutil.Process().memory_info().rss / 1e6
    facts["resident_mb_with_keras_imported"] = round(base)
    tracemalloc.start()

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        facts[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
        facts[f"{name}_heap_peak_mb"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.reset_peak()
        return result

    with temporary_folder(args.folder) as folder:
        path, sounds = folder / "train.h5", make_sounds(features)
        store = step("build", lambda: write_store(path, features, sounds, tags, **header))
        scaler = step("fit_scaler", lambda: Scaler.fit(store))
        facts["gigabytes"] = round(path.stat().st_size / 1e9, 2)
        facts |= fit(store, scaler, args.preset, args.seconds, base)
    print(table([[name, value] for name, value in facts.items()], ["the full set", ""]))
    print_result("full_set", ["tensorflow", "keras", "h5py"], **facts)


if __name__ == "__main__":
    main()
