"""What each stage costs for a clip, whether that predicts larger sets, and what follows for the largest.

    python benchmarks/cost_model.py [--fit 500 1000] [--check 2000 4000] [--rounds 3]

Stages, each through the package's own functions: decoding WAV files and log mel into a store (all CPUs), writing alone
(a store has one writer), opening the store (memory that grows with the clips) and the scaler. Then an epoch of `fit`,
and scoring. Each is measured at the two sizes of ``--fit`` (medians of the rounds). A line through both gives a cost
that is paid once and a cost for each clip. The sizes of ``--check`` show how well it predicts. The table of large sets
multiplies those costs; only reading from a cold disk or a network is not in it.
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common import N_SOUNDS, parse, print_result, table, tags_in_turn, temporary_folder, write_store
from features import make_sound

from crnn_weak.audio import write_audio
from crnn_weak.config import Config, FeatureConfig, preset
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.features.build import build_store
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.parallel import default_jobs

N_FILES = 64
BATCH = 32
#: Of the table of large sets: the paper's set, AudioSet, and one beyond both.
SIZES = {"51,172 clips": 51_172, "AudioSet, 2 million": 2_000_000, "100 million": 100_000_000}
N_CORES, N_RUNS, N_EPOCHS = 16, 21, 20
_SECONDS = {"years": 365.25 * 86400, "days": 86400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3}
_BYTES = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3}


def wav_clips(folder: Path, n_clips: int, features: FeatureConfig) -> Dataset:
    """Return a data set of any number of clips over a few files, which stay in the page cache."""
    sound = make_sound(features.sample_rate_hz, 1)[:, 0]
    paths = [folder / f"{number}.wav" for number in range(N_FILES)]
    for number, path in enumerate(paths):
        write_audio(path, np.roll(sound, number * 1000), features.sample_rate_hz)
    classes = DCASE2017_TASK4
    clips = [
        Clip(f"clip-{row:09d}", "train", paths[row % N_FILES], (classes[row % len(classes)],)) for row in range(n_clips)
    ]
    provenance = "synthesized sounds"
    return Dataset("benchmark", classes, features.clip_seconds, provenance, str(n_clips), {"train": clips}, folder)


def measure(model: Any, config: Config, n_clips: int) -> dict[str, float]:
    """Return the seconds of each stage, and bytes of the store on disk and in memory."""
    from crnn_weak.training.batches import StoreBatches, for_keras

    took: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        took[stage] = time.perf_counter() - began

    features = config.features
    sounds = np.random.default_rng(0).random((N_SOUNDS, features.n_frames, features.n_mels), dtype=np.float32)
    with temporary_folder() as folder:
        path, clips = folder / "train.h5", wav_clips(folder, n_clips, features)
        with timed("features"):
            build_store(clips, "train", features, path, jobs=default_jobs()).close()
        with timed("writing"):
            write_store(folder / "written.h5", features, sounds, tags_in_turn(n_clips)).close()
        took["store bytes"] = path.stat().st_size
        tracemalloc.start()
        store = FeatureStore(path)
        took["open store bytes"] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        with store:
            with timed("scaler"):
                scaler = Scaler.fit(store)
            epoch = for_keras(StoreBatches(store, np.arange(n_clips), scaler, batch_size=BATCH, seed=0))
            with timed("epoch"):
                model.fit(epoch, verbose=0, shuffle=False)
            with timed("scores"):
                for first in range(0, n_clips, BATCH):
                    rows = np.arange(first, first + BATCH) % n_clips
                    model.predict_on_batch(store.read(rows))
    return took


def large_sets(costs: Mapping[str, np.ndarray], features: FeatureConfig) -> list[list[str]]:
    """Return the table of large sets: what follows from each clip's costs."""
    n_clips = np.array(list(SIZES.values()))
    total = {stage: np.polyval(line, n_clips) for stage, line in costs.items()}
    # Features and runs are near-linear over processes (features.py, grid.py); one process writes the rows of a store.
    speedup = N_CORES / default_jobs()
    run = N_EPOCHS * (total["epoch"] + 0.1 * total["scores"])  # a tenth is for validation
    rows = [
        ("recordings, 16-bit WAV", 2 * features.n_clip_samples * n_clips, _BYTES),
        ("feature store", total["store bytes"], _BYTES),
        ("memory of an open store, each process", total["open store bytes"], _BYTES),
        (f"features, {N_CORES} cores", np.maximum(total["features"] / speedup, total["writing"]), _SECONDS),
        (f"one epoch, {default_jobs()} cores", total["epoch"], _SECONDS),
        (f"one run of {N_EPOCHS} epochs, {default_jobs()} cores", run, _SECONDS),
        (f"{N_RUNS} runs, {N_CORES} cores", N_RUNS * run / speedup, _SECONDS),
    ]
    return [[name, *(in_units(value, units) for value in values)] for name, values, units in rows]


def in_units(value: float, units: Mapping[str, float]) -> str:
    """Return a value in the largest unit that it fills, or in the last one."""
    unit = next((unit for unit, size in units.items() if value >= size), list(units)[-1])
    number = value / units[unit]
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"


def print_tables(costs: Mapping[str, np.ndarray], ratios: Mapping[int, Mapping[str, float]], config: Config) -> None:
    """Print each stage's costs, with measured / predicted at each size, and what follows for large sets."""
    rows = []
    for stage, (clip, once) in costs.items():
        shown = [f"{once:,.0f} B", f"{clip:,.0f} B"] if "bytes" in stage else [f"{once:.2f} s", f"{1e3 * clip:.3f} ms"]
        rows.append([stage, *shown, *(f"{of_size[stage]:.2f}" for of_size in ratios.values())])
    header = ["stage", "once", "each clip", *(f"measured / predicted, {size:,} clips" for size in ratios)]
    print(table(rows, header) + "\n\n" + table(large_sets(costs, config.features), ["", *SIZES]))


def main() -> None:
    # Keras is imported here: the worker processes of feature extraction import this module, and do without it.
    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model

    options: dict[str, Any] = {"preset": "paper", "rounds": 3}
    options["fit"] = {"nargs": 2, "type": int, "default": [500, 1000], "metavar": "CLIPS"}
    options["check"] = {"nargs": "+", "type": int, "default": [2000, 4000], "metavar": "CLIPS"}
    args = parse(__doc__, options)
    config = preset(args.preset)
    model = build_model(config)
    compile_model(model, config.loss_weights)
    measure(model, config, 2 * BATCH)  # compilation
    rounds = [[measure(model, config, size) for size in args.fit] for _ in range(args.rounds)]
    costs, predicted_and_measured, ratios = {}, {}, {}
    for stage in rounds[0][0]:
        medians = np.median([[took[stage] for took in sizes] for sizes in rounds], axis=0)
        costs[stage] = np.polyfit(args.fit, medians, deg=1)  # for each clip, once
    for size in args.check:
        measured = measure(model, config, size)
        predicted = {stage: float(np.polyval(line, size)) for stage, line in costs.items()}
        ratios[size] = {stage: measured[stage] / predicted[stage] for stage in costs}
        predicted_and_measured[size] = {stage: [predicted[stage], measured[stage]] for stage in costs}
    print_tables(costs, ratios, config)
    facts = {"preset": args.preset, "batch": BATCH, "fit": args.fit, "predicted_and_measured": predicted_and_measured}
    facts["costs"] = {stage: {"once": once, "clip": clip} for stage, (clip, once) in costs.items()}
    print_result("cost_model", ["tensorflow-cpu", "keras", "h5py"], **facts)


if __name__ == "__main__":
    main()
