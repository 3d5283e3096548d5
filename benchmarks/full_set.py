"""The paper's set at its full size: store, scaler, an epoch of a preset or its first steps, and the wait for batches.

    python benchmarks/full_set.py --labels METADATA [--steps 16]

The labels are the organizers' own (``--labels FOLDER`` with ``training_set.csv``), so that every clip has the classes
of the real one; the sounds are synthesized. Without the labels each clip has one class in turn. Reports seconds, bytes
and memory: resident above what Keras and the model take; Python's and NumPy's heap by tracemalloc. Reports the share of
time in which the fit waits for batches. That is how much faster it is when every batch is already in memory, in
alternating rounds. The time of an unfinished epoch is extrapolated.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil
from common import alternate, make_sounds, parse, print_result, table, tags_in_turn, temporary_folder, write_store

from crnn_weak.config import Config, preset
from crnn_weak.data.task4 import read_task4
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.events import DCASE2017_TASK4, tag_array

_STEPS_OF_A_ROUND = 30  # ten seconds of preset `paper`


def read_labels(folder: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return tags and clip ids of the training split."""
    clips = read_task4(folder, None, name="labels", provenance="labels").clips("train")
    return tag_array([clip.tags for clip in clips], DCASE2017_TASK4), tuple(clip.clip_id for clip in clips)


def fit(store: FeatureStore, scaler: Scaler, config: Config, n_steps: int, base_mb: float) -> dict[str, Any]:
    """Fit the first steps of an epoch, and measure the wait for batches."""
    import keras

    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model
    from crnn_weak.training.batches import StoreBatches, for_keras

    model = build_model(config)
    compile_model(model, config.loss_weights)
    size = min(config.training.batch_size, 32)
    order = np.random.default_rng(0).permutation(len(store))
    n_of_epoch = len(store) // size
    n_steps = min(n_steps or n_of_epoch, n_of_epoch)

    def batches(n: int) -> StoreBatches:
        return StoreBatches(store, order[: n * size], scaler, batch_size=size, seed=0)

    model.fit(for_keras(batches(2)), shuffle=False, verbose=0)  # compilation is not what is timed here
    resident_mb = []
    process = psutil.Process()
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: resident_mb.append(process.memory_info().rss / 1e6)
    )
    began = time.perf_counter()
    model.fit(for_keras(batches(n_steps)), shuffle=False, verbose=0, callbacks=[watch])
    rate = n_steps * size / (time.perf_counter() - began)
    heap_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shares = waiting_shares(model, batches(min(_STEPS_OF_A_ROUND, n_of_epoch)))
    return {
        "batch": size,
        "steps_done": n_steps,
        "steps_of_the_epoch": n_of_epoch,
        "train_clips_per_second": round(rate, 1),
        "epoch_minutes": round(len(store) / rate / 60, 1),
        "share_of_time_waiting_for_batches": round(statistics.median(shares), 4),
        "share_of_time_waiting_in_each_round": [round(share, 4) for share in shares],
        "fit_heap_peak_mb": round(heap_peak / 1e6),
        "resident_mb_at_peak": round(max(resident_mb)),
        "resident_mb_above_keras_and_store": round(max(resident_mb) - base_mb),
    }


def waiting_shares(model: Any, batches: Sequence[Any]) -> list[float]:
    """Return the share of time, round by round, that a fit saves when its batches are already in memory."""
    from crnn_weak.training.batches import for_keras

    inputs = {"store": for_keras(batches), "memory": for_keras([batches[0]] * len(batches))}
    fits = {name: lambda name=name: model.fit(inputs[name], verbose=0, shuffle=False) for name in inputs}
    rounds = alternate(fits, rounds=9)
    pairs = zip(rounds["memory"].seconds, rounds["store"].seconds, strict=True)
    return [1 - memory / store for memory, store in pairs]


def main() -> None:
    options: dict[str, Any] = {"clips": 51_172, "preset": "paper"}
    options["steps"] = {"type": int, "default": 0, "help": "of the epoch (default: all)"}
    options["labels"] = {"metavar": "FOLDER", "help": "the organizers' label files"}
    args = parse(__doc__, options)
    from crnn_weak.model import crnn  # noqa: F401  (before memory is measured: what Keras takes does not count)

    config = preset(args.preset)
    tags, header = tags_in_turn(args.clips), {}
    if args.labels:
        tags, clip_ids = read_labels(args.labels)
        tags, header = tags[: args.clips], {"clip_ids": clip_ids[: args.clips]}
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

    with temporary_folder() as folder:
        path, sounds = folder / "train.h5", make_sounds(config.features)
        store = step("build", lambda: write_store(path, config.features, sounds, tags, **header))
        scaler = step("fit_scaler", lambda: Scaler.fit(store))
        facts["gigabytes"] = round(path.stat().st_size / 1e9, 2)
        facts |= fit(store, scaler, config, args.steps, base)
    print(table([[name, value] for name, value in facts.items()], ["the full set", ""]))
    print_result("full_set", ["tensorflow", "keras", "h5py"], **facts)


if __name__ == "__main__":
    main()
