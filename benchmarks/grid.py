"""A grid of loss weights: runs side by side in one-thread processes against one after another with all threads.

    python benchmarks/grid.py [--runs 7] [--epochs 20] [--rounds 1] [--dask] [--new-processes]

Every rival trains the same runs (`train_and_score`: train, score, count) on the same feature
stores of synthesized sounds, each round in new processes and new folders, so that imports and compilation are
counted. The naive loop is one process with all the machine's threads that does one cell after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import alternate, report
from store import N_SOUNDS, make_sounds, write_store

from crnn_weak.config import Config, preset
from crnn_weak.experiments.loss_weight_grid import SETTINGS
from crnn_weak.features.store import StoreHeader
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.events import Event
from crnn_weak.parallel import default_jobs, run_tasks
from crnn_weak.runs.grid import Grid
from crnn_weak.runs.run import Run
from crnn_weak.runs.train import train_and_score

# The naive loop: what a user would write. Its process has all threads.
_LOOP = """
import pickle, sys
from crnn_weak.runs.train import train_and_score
for run in pickle.load(open(sys.argv[1], "rb")):
    train_and_score(run)
"""


def make_store(path: Path, config: Config, n_clips: int, split: str) -> None:
    """Write a store of synthesized sounds, one class a sound; each clip's sound is moved in time."""
    n_classes = len(DCASE2017_TASK4)
    classes = np.arange(n_clips) % N_SOUNDS % n_classes
    header = StoreHeader(
        features=config.features,
        classes=DCASE2017_TASK4,
        clip_ids=tuple(f"{split}-{row}" for row in range(n_clips)),
        tags=np.eye(n_classes, dtype=bool)[classes],
        events=tuple((Event(0.0, config.features.clip_seconds, DCASE2017_TASK4[k]),) for k in classes),
        split=split,
        dataset="benchmark",
        data_fingerprint="grid",
        provenance="synthesized sounds",
    )
    write_store(path, header, make_sounds(config.features), moved=True)


def make_runs(folder: Path, runs: Path, n_runs: int, epochs: int) -> list[Run]:
    """Return the first runs of a grid: the paper's settings, seed after seed."""
    base = preset("quick")
    config = dataclasses.replace(base, training=dataclasses.replace(base.training, epochs=epochs, patience=0))
    seeds = tuple(range(-(-n_runs // len(SETTINGS))))
    data = {"train_store": str(folder / "train.h5"), "test_store": str(folder / "test.h5")}
    return Grid(runs, config, SETTINGS, seeds).planned_runs(data)[:n_runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", dest="n_runs", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--clips", type=int, default=2000, help="for training; a fifth as many for testing")
    parser.add_argument("--jobs", type=int, default=default_jobs())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--dask", action="store_true", help="also the same runs on a local Dask cluster")
    parser.add_argument("--new-processes", action="store_true", help="also a loop with a new process for each run")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="grid-benchmark-"))
    n_rounds = 0

    def new_runs() -> list[Run]:
        nonlocal n_rounds
        n_rounds += 1
        return make_runs(folder, folder / f"round-{n_rounds}", args.n_runs, args.epochs)

    def side_by_side(scheduler: str | None = None) -> None:
        done = list(run_tasks(train_and_score, new_runs(), jobs=args.jobs, scheduler=scheduler))
        assert len(done) == args.n_runs

    def alone(runs: Sequence[Run]) -> None:
        job = folder / "job.pickle"
        job.write_bytes(pickle.dumps(list(runs)))
        subprocess.run([sys.executable, "-c", _LOOP, str(job)], check=True)

    rivals: dict[str, Callable[[], object]] = {
        "side by side": side_by_side,
        "one after another": lambda: alone(new_runs()),
    }
    if args.dask:
        rivals["side by side, Dask"] = lambda: side_by_side("local")
    if args.new_processes:
        rivals["one after another, new processes"] = lambda: [alone([run]) for run in new_runs()]
    try:
        config = preset("quick")
        make_store(folder / "train.h5", config, args.clips, "train")
        make_store(folder / "test.h5", config, max(1, args.clips // 5), "test")
        timings = alternate(rivals, rounds=args.rounds, warm_up=0)
    finally:
        shutil.rmtree(folder)
    report(
        "grid",
        timings,
        n_items=args.n_runs,
        unit="runs",
        ours="side by side",
        packages=["tensorflow", "tensorflow-cpu", "keras", "distributed"],
        preset="quick",
        runs=args.n_runs,
        epochs=args.epochs,
        clips=args.clips,
        jobs=args.jobs,
        seconds=", ".join(f"{name} {timing.median:.0f}" for name, timing in timings.items()),
        goal="1.5 times one after another",
    )


if __name__ == "__main__":
    main()
