"""Training: clips a second of `fit`, against stock Keras layers, against PyTorch, and as a share of the sgemm peak.

python benchmarks/training.py --preset paper [--batch 32] [--threads 1]

Every rival is a process of its own with the same number of threads, on the same CPUs, and reads the same batches from
the same store, through the trainer's feeder.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import alternate, make_sounds, parse, peak_memory_mb, report, tags_in_turn, temporary_folder, write_store
from flops import training_flops

from crnn_weak.config import Config, preset

_SGEMM = 2048
_N_SGEMM = 4  # products in a round


class Settings(NamedTuple):
    """What the process of each rival is told."""

    preset: str
    batch: int
    batches: int  # in a round, which is an epoch
    threads: int
    store: Path

    def feeder(self, config: Config) -> Any:
        from crnn_weak.features.log_mel import Scaler
        from crnn_weak.features.store import FeatureStore
        from crnn_weak.training.batches import StoreBatches

        store = FeatureStore(self.store)
        rows = np.arange(self.batch * self.batches) % len(store)
        return StoreBatches(store, rows, Scaler.fit(store), batch_size=self.batch, seed=0)


def keras_epoch(settings: Settings, fast: bool) -> Callable[[], object]:
    from crnn_weak.environment import set_threads

    set_threads(settings.threads)
    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model
    from crnn_weak.training.batches import for_keras

    config = preset(settings.preset)
    # A stock TimeDistributed on a static time axis unrolls into a slice for each frame; leave it that.
    model = build_model(config, fast=fast, n_frames="config" if fast else None)
    compile_model(model, config.loss_weights)
    epoch = for_keras(settings.feeder(config))
    return lambda: model.fit(epoch, verbose=0, shuffle=False)


def torch_epoch(settings: Settings, channels_last: bool) -> Callable[[], object]:
    import torch
    from torch_network import TorchNetwork, train_step

    torch.set_num_threads(settings.threads)
    torch.set_num_interop_threads(1)
    config = preset(settings.preset)
    network = TorchNetwork(config, channels_last=channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate)
    feeder = settings.feeder(config)

    def epoch() -> None:
        for index in range(len(feeder)):
            float(train_step(network, optimizer, *feeder[index]))

    return epoch


def sgemm(settings: Settings) -> Callable[[], object]:
    import torch

    torch.set_num_threads(settings.threads)
    a, b, out = torch.rand(3, _SGEMM, _SGEMM)
    return lambda: [torch.matmul(a, b, out=out) for _ in range(_N_SGEMM)]


#: name -> function that prepares a process and returns the work of a round
RIVALS = {
    "crnn_weak": functools.partial(keras_epoch, fast=True),
    "stock Keras layers": functools.partial(keras_epoch, fast=False),
    "PyTorch, channels last": functools.partial(torch_epoch, channels_last=True),
    "PyTorch": functools.partial(torch_epoch, channels_last=False),
    "sgemm": sgemm,
}


@functools.cache
def prepare(name: str, settings: Settings) -> Callable[[], object]:
    """Return the work of a rival's round; called in its process."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(settings.threads))
    return RIVALS[name](settings)


def run_round(name: str, settings: Settings) -> dict[str, float]:
    """Do a round in the process of a rival; the first one prepares it."""
    work = prepare(name, settings)
    began = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - began, "peak_mb": round(peak_memory_mb())}


def check_same_network(config: Config) -> float:
    """Return the largest difference of the scores of our network and PyTorch's with the same weights."""
    import torch
    from torch_network import TorchNetwork, copy_weights

    from crnn_weak.model.crnn import build_model

    model, network = build_model(config), TorchNetwork(config).eval()
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0, 0.1, w.shape).astype(np.float32) for w in model.get_weights()])
    copy_weights(model, network)
    log_mel = rng.standard_normal((2, config.features.n_frames, config.features.n_mels), dtype=np.float32)
    with torch.no_grad():
        strong, weak = network(torch.from_numpy(log_mel))
    ours = model.predict(log_mel, verbose=0)
    return float(max(abs(ours["strong"] - strong.numpy()).max(), abs(ours["weak"] - weak.numpy()).max()))


def main() -> None:
    names = [name for name in RIVALS if name != "sgemm"]
    options: dict[str, Any] = {"preset": "paper", "threads": 1, "rounds": 5}
    options["batch"] = {"type": int, "help": "clips in a batch (default: 16 for preset quick, its own; else 32)"}
    options["batches"] = {"type": int, "help": "in a round, which is an epoch (default: 100 for quick, else 16)"}
    options["only"] = {"nargs": "+", "choices": names, "default": names}
    args = parse(__doc__, options)
    small = args.preset == "quick"
    args.batch = args.batch or (16 if small else 32)
    # An epoch of the quick grid has 112 batches, one of the full set 1,599.
    args.batches = args.batches or (100 if small else 16)
    config = preset(args.preset)
    flops = training_flops(config)
    context = multiprocessing.get_context("spawn")
    with temporary_folder() as folder, ExitStack() as stack:
        path = folder / "clips.h5"
        tags = tags_in_turn(args.batch * min(args.batches, 4))
        write_store(path, config.features, make_sounds(config.features), tags).close()
        settings = Settings(args.preset, args.batch, args.batches, args.threads, path)
        rivals = {}
        for name in (*args.only, "sgemm"):
            process = stack.enter_context(ProcessPoolExecutor(1, context))
            rivals[name] = lambda process=process, name=name: process.submit(run_round, name, settings).result()
        timings = alternate(rivals, rounds=args.rounds, warm_up=2)
    peak = _N_SGEMM * 2 * _SGEMM**3 / timings.pop("sgemm").best / 1e9
    n_clips = args.batch * args.batches
    for timing in timings.values():
        timing.extra["share_of_peak"] = round(n_clips / timing.median * flops / 1e9 / peak, 3)
    report(
        f"training, preset {args.preset}",
        timings,
        n_items=n_clips,
        unit="clips",
        ours="crnn_weak" if "crnn_weak" in args.only else None,
        packages=["tensorflow", "tensorflow-cpu", "keras", "torch"],
        batch=args.batch,
        threads=args.threads,
        gflop_a_clip=round(flops / 1e9, 3),
        sgemm_gflops=round(peak, 1),
        shares_of_peak=", ".join(f"{name} {100 * t.extra['share_of_peak']:.0f} %" for name, t in timings.items()),
        largest_difference_of_scores=check_same_network(config),
        goal="1.8 times PyTorch, 35 % of the peak (preset paper)",
    )


if __name__ == "__main__":
    main()
