"""What each stage costs for a clip, whether that predicts larger sets, and what follows for the largest.

    python benchmarks/cost_model.py [--fit 500 1000] [--check 2000 4000] [--rounds 3]

Stages, each through the package's own functions: decoding WAV files and log mel into a store (all CPUs), the scaler,
writing alone (a store has one writer). Then an epoch of `fit`, scoring, and opening the store (memory that grows with
the clips). Each is timed at the two sizes of ``--fit`` (medians of alternating rounds). A line through both gives a
cost that is paid once and a cost for each clip. Its prediction for the sizes of ``--check`` is compared with a
measurement. The table of large sets multiplies those costs; only reading from a cold disk or a network is not in it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import N_SOUNDS, parse, print_result, table, tags_in_turn, temporary_folder, write_store
from features import make_sound
from flops import forward_flops, training_flops

from crnn_weak.audio import write_audio
from crnn_weak.config import PRESETS, Config, FeatureConfig, LossWeights
from crnn_weak.data.base import Clip
from crnn_weak.features.build import build_store
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.parallel import default_jobs

N_FILES = 64
#: The sizes of the plan: the paper's set, AudioSet, and one beyond both.
SIZES = {"51,172 clips": 51_172, "AudioSet, 2 million": 2_000_000, "100 million": 100_000_000}
_HOUR = 3600.0


class WavFiles:
    """A data set of any number of clips over a few files, which stay in the page cache."""

    name = "benchmark"
    provenance = "synthesized sounds"
    classes = DCASE2017_TASK4

    def __init__(self, folder: Path, n_clips: int, features: FeatureConfig) -> None:
        self._n_clips = n_clips
        self.fingerprint = f"cost-model-{n_clips}"
        self._paths = [folder / f"{number}.wav" for number in range(N_FILES)]
        sound = make_sound(features.sample_rate_hz, 1)[:, 0]
        for number, path in enumerate(self._paths):
            if not path.exists():
                write_audio(path, np.roll(sound, number * 1000), features.sample_rate_hz)

    def clips(self, split: str) -> Iterator[Clip]:
        for row in range(self._n_clips):
            yield Clip(f"clip-{row:09d}", split, self._paths[row % N_FILES], (self.classes[row % len(self.classes)],))


@dataclass(frozen=True)
class Cost:
    """Of one stage: what is paid once and what each clip adds; seconds, or bytes for memory."""

    once: float
    clip: float

    def of(self, n_clips: float) -> float:
        return self.once + self.clip * n_clips

    @classmethod
    def through(cls, sizes: Sequence[int], measured: Sequence[float]) -> Cost:
        slope = (measured[1] - measured[0]) / (sizes[1] - sizes[0])
        return cls(max(0.0, measured[0] - slope * sizes[0]), slope)


class Pipeline:
    """The stages, for a number of clips."""

    def __init__(self, config: Config, folder: Path, batch_size: int) -> None:
        from crnn_weak.model.crnn import build_model
        from crnn_weak.model.losses import compile_model

        self.config, self.folder, self.batch_size = config, folder, batch_size
        self.model = build_model(config)
        compile_model(self.model, LossWeights())

    def run(self, n_clips: int) -> dict[str, float]:
        """Return the seconds of each stage, and the bytes that an open store takes."""
        from crnn_weak.training.batches import StoreBatches, for_keras

        path = self.folder / f"{n_clips}.h5"
        files = WavFiles(self.folder, n_clips, self.config.features)
        took: dict[str, float] = {}

        def clocked(name: str, work: Callable[[], object]) -> None:
            began = time.perf_counter()
            work()
            took[name] = time.perf_counter() - began

        clocked(
            "features",
            lambda: build_store(
                files, "train", self.config.features, path, jobs=default_jobs(), overwrite=True
            ).close(),
        )
        clocked("writing", lambda: self._write(n_clips))
        took["store bytes"] = path.stat().st_size
        tracemalloc.start()
        store = FeatureStore(path, self.config.features)
        took["open store bytes"] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        with store:
            clocked("scaler", lambda: Scaler.fit(store))
            scaler = Scaler(np.zeros(store.features.n_mels), np.ones(store.features.n_mels))
            rows = np.arange(n_clips)
            epoch = for_keras(StoreBatches(store, rows, scaler, batch_size=self.batch_size, seed=0))
            clocked("epoch", lambda: self.model.fit(epoch, verbose=0, shuffle=False))
            clocked("scores", lambda: self._score(store))
        path.unlink()
        return took

    def _write(self, n_clips: int) -> None:
        """Write the rows of a store and nothing else: what its one writer can do at most."""
        path, features = self.folder / "written.h5", self.config.features
        sounds = np.random.default_rng(0).random((N_SOUNDS, features.n_frames, features.n_mels), dtype=np.float32)
        write_store(path, features, sounds, tags_in_turn(n_clips)).close()
        path.unlink()

    def _score(self, store: FeatureStore) -> None:
        for first in range(0, len(store), self.batch_size):
            rows = np.arange(first, first + self.batch_size) % len(store)
            self.model.predict_on_batch(store.read(rows))


def measure(pipeline: Pipeline, sizes: Sequence[int], rounds: int) -> dict[int, dict[str, float]]:
    """Return the median of each stage at each size; rounds go through the sizes up and down."""
    rows: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for number in range(rounds):
        for size in sizes if number % 2 == 0 else sizes[::-1]:
            rows[size].append(pipeline.run(size))
    return {
        size: {name: statistics.median(row[name] for row in made) for name in made[0]} for size, made in rows.items()
    }


def plan(costs: dict[str, Cost], args: argparse.Namespace) -> list[list[object]]:
    """Return the table of large sets: what is read off the costs, column by column."""
    scale = args.cores / default_jobs()  # features and runs are near-linear over processes (features.py, grid.py)
    runs, week = 7 * args.seeds, 7 * 24 * _HOUR
    lines: dict[str, list[object]] = {
        name: []
        for name in (
            "recordings, 16-bit WAV", "feature store", f"features, one machine of {args.cores} cores",
            "one epoch, one model, two cores", f"{runs} runs of {args.epochs} epochs, one such machine",
            "the same in a week: machines", "memory of an open store, each process", "first bottleneck",
        )
    }  # fmt: skip
    audio_bytes = 2 * args.config.features.n_clip_samples
    for n_clips in SIZES.values():
        training = runs * args.epochs * (costs["epoch"].of(n_clips) + 0.1 * costs["scores"].of(n_clips))
        # Extraction spreads over cores; the rows of a store are written by one process.
        features = max(costs["features"].of(n_clips) / scale, costs["writing"].of(n_clips))
        store_memory = costs["open store bytes"].of(n_clips)
        n_machines = f"{max(1, np.ceil(training / scale / week)):,.0f}"
        if training / scale < week:
            first = f"training ({training / scale / features:,.0f} times as long as the features)"
        elif training / runs < week:
            first = "training: runs must be spread over machines"
        else:
            first = f"training: one run alone takes {_time(training / runs)}: use a GPU or fewer clips"
            n_machines = "not achievable"
        if store_memory * args.cores / 2 > 64e9:
            first += "; ids and tags in the memory of every process: cut the set into stores"
        values = (
            _bytes(audio_bytes * n_clips), _bytes(costs["store bytes"].of(n_clips)), _time(features),
            _time(costs["epoch"].of(n_clips)), _time(training / scale), n_machines,
            _bytes(store_memory), first,
        )  # fmt: skip
        for line, value in zip(lines.values(), values, strict=True):
            line.append(value)
    return [[name, *values] for name, values in lines.items()]


def _time(seconds: float) -> str:
    units = (("years", 365.25 * 24 * _HOUR), ("days", 24 * _HOUR), ("h", _HOUR), ("min", 60.0), ("s", 1.0))
    return _in_units(seconds, units, "ms", 1e-3)


def _bytes(n_bytes: float) -> str:
    return _in_units(n_bytes, (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)), "kB", 1e3)


def _in_units(value: float, units: Sequence[tuple[str, float]], least: str, least_size: float) -> str:
    unit, size = next(((unit, size) for unit, size in units if value >= size), (least, least_size))
    return f"{value / size:,.0f} {unit}" if value >= 10 * size else f"{value / size:.1f} {unit}"


def main() -> None:
    options: dict[str, Any] = {"preset": "paper", "batch": 32, "rounds": 3}
    options |= {"epochs": 20, "seeds": 3, "cores": 16}  # of the plan
    options["fit"] = {"nargs": 2, "type": int, "default": [500, 1000], "metavar": "CLIPS"}
    options["check"] = {"nargs": 2, "type": int, "default": [2000, 4000], "metavar": "CLIPS"}
    args = parse(__doc__, options)
    args.config = PRESETS[args.preset]
    with temporary_folder() as folder:
        pipeline = Pipeline(args.config, folder, args.batch)
        pipeline.run(2 * args.batch)  # files, compilation
        fitted = measure(pipeline, args.fit, args.rounds)
        checked = measure(pipeline, args.check, rounds=1)
    stages = list(fitted[args.fit[0]])
    costs = {name: Cost.through(args.fit, [fitted[size][name] for size in args.fit]) for name in stages}
    flops = {"epoch": training_flops(args.config), "scores": forward_flops(args.config)}
    print(f"\npreset {args.preset}, batch {args.batch}, {default_jobs()} CPUs, fitted at {args.fit} clips")
    rows = [
        [
            name,
            f"{cost.once:.2f} s" if "bytes" not in name else _bytes(cost.once),
            f"{1e3 * cost.clip:.3f} ms" if "bytes" not in name else f"{cost.clip:,.0f} B",
            f"{flops[name] / 1e9:.3f} GFLOP" if name in flops else "",
        ]
        for name, cost in costs.items()
    ]
    print(table(rows, ["stage", "once", "each clip", "of products, each clip"]))
    comparison = [
        [
            f"{size:,} clips, {name}",
            *(_bytes(x) if "bytes" in name else _time(x) for x in (costs[name].of(size), checked[size][name])),
            f"{checked[size][name] / costs[name].of(size):.2f}",
        ]
        for size in args.check
        for name in stages
    ]
    print("\n" + table(comparison, ["", "predicted", "measured", "measured / predicted"]))
    print(f"\nBy multiplication: {7 * args.seeds} runs of {args.epochs} epochs; machines of {args.cores} such cores")
    print(table(plan(costs, args), ["", *SIZES]))
    facts = {
        "costs": {name: {"once": cost.once, "clip": cost.clip} for name, cost in costs.items()},
        "predicted_and_measured": {
            size: {name: [costs[name].of(size), checked[size][name]] for name in stages} for size in args.check
        },
    }
    stated = {"preset": args.preset, "batch": args.batch, "fit": args.fit, "cpus": os.cpu_count()}
    print_result("cost_model", ["tensorflow-cpu", "keras", "h5py"], **facts, **stated)


if __name__ == "__main__":
    main()
