"""A grid of loss weights: runs side by side in one-thread processes against one after another with all threads.

    python benchmarks/grid.py [--runs 7] [--epochs 20] [--rounds 1] [--dask]

Every rival does the same runs (`train_and_score`: train, score, count) on the same feature stores of synthesized
sounds, each round in new processes and new folders, so that imports and compilation are counted. The naive loop is one
process with all the machine's threads that does one run after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import N_SOUNDS, alternate, make_sounds, parse, report, tags_in_turn, temporary_folder, write_store

from crnn_weak.config import Config, preset
from crnn_weak.experiments.loss_weight_grid import SETTINGS
from crnn_weak.labels.events import DCASE2017_TASK4, Event
from crnn_weak.parallel import default_jobs, run_tasks
from crnn_weak.runs.folders import Grid, Run
from crnn_weak.runs.train import train_and_score

# The naive loop: what a user would write. Its process has all threads.
_LOOP = """
import pickle, sys
from crnn_weak.runs.train import train_and_score
for run in pickle.load(open(sys.argv[1], "rb")):
    train_and_score(run)
"""


def make_store(path: Path, config: Config, n_clips: int, split: str) -> None:
    """Write a store of synthesized sounds, each of which belongs to one class and lasts the whole clip."""
    tags = tags_in_turn(N_SOUNDS)[np.arange(n_clips) % N_SOUNDS]
    labels = [DCASE2017_TASK4[index] for index in tags.argmax(axis=1)]
    events = tuple((Event(0.0, config.features.clip_seconds, label),) for label in labels)
    write_store(path, config.features, make_sounds(config.features), tags, split=split, events=events).close()


def make_runs(folder: Path, runs: Path, n_runs: int, epochs: int) -> list[Run]:
    """Return the first runs of a grid: the paper's settings, seed after seed."""
    base = preset("quick")
    config = dataclasses.replace(base, training=dataclasses.replace(base.training, epochs=epochs, patience=0))
    seeds = tuple(range(-(-n_runs // len(SETTINGS))))
    data = {"train_store": str(folder / "train.h5"), "test_store": str(folder / "test.h5")}
    return Grid(runs, config, SETTINGS, seeds).planned_runs(data)[:n_runs]


def compare(folder: Path, args: argparse.Namespace) -> None:
    n_rounds = 0

    def new_runs() -> list[Run]:
        nonlocal n_rounds
        n_rounds += 1
        return make_runs(folder, folder / f"round-{n_rounds}", args.runs, args.epochs)

    def side_by_side(scheduler: str | None = None) -> None:
        done = list(run_tasks(train_and_score, new_runs(), jobs=args.jobs, scheduler=scheduler))
        assert len(done) == args.runs

    def one_after_another() -> None:
        runs = folder / "runs.pickle"
        runs.write_bytes(pickle.dumps(new_runs()))
        subprocess.run([sys.executable, "-c", _LOOP, str(runs)], check=True)

    def on_dask() -> None:
        from distributed import LocalCluster

        with LocalCluster(n_workers=args.jobs, threads_per_worker=1, memory_limit=None) as cluster:
            side_by_side(cluster.scheduler_address)

    rivals: dict[str, Callable[[], object]] = {"side by side": side_by_side, "one after another": one_after_another}
    if args.dask:
        rivals["side by side, Dask"] = on_dask
    make_store(folder / "train.h5", preset("quick"), args.clips, "train")
    make_store(folder / "test.h5", preset("quick"), max(1, args.clips // 5), "test")
    timings = alternate(rivals, rounds=args.rounds, warm_up=0)
    report(
        "grid", timings, n_items=args.runs, unit="runs", ours="side by side",
        packages=["tensorflow", "tensorflow-cpu", "keras", "distributed"], preset="quick", clips=args.clips,
        runs=args.runs, epochs=args.epochs, jobs=args.jobs,
        seconds=", ".join(f"{name} {timing.median:.0f}" for name, timing in timings.items()),
        goal="1.5 times one after another",
    )  # fmt: skip


def main() -> None:
    dask = {"action": "store_true", "help": "also the same runs on a local Dask cluster"}
    options = {"runs": 7, "epochs": 20, "clips": 2000, "jobs": default_jobs(), "rounds": 1, "dask": dask}
    with temporary_folder() as folder:
        compare(folder, parse(__doc__, options))


if __name__ == "__main__":
    main()
