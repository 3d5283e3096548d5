"""Training: clips a second of `fit`, against stock Keras layers, against PyTorch, and as a share of the sgemm peak.

python benchmarks/training.py --preset paper [--batch 32] [--threads 1] [--clock cpu]

Every rival is a process of its own with the same number of threads, on the same CPUs, and reads the same batches from
the same feeder as the trainer's. ``--clock cpu`` counts the processor time of the process and not the time of day:
with one thread that is what a quiet machine would need, and it can be measured on a busy one.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from common import Worker, alternate, parse, peak_memory_mb, report, serve

#: name -> what the worker is asked to be
RIVALS = {
    "crnn_weak": "ours",
    "stock Keras layers": "stock",
    "PyTorch, channels last": "torch-last",
    "PyTorch": "torch-first",
}
_SGEMM = 2048


class _Clips:
    """A store in memory: what the trainer's feeder asks of one."""

    def __init__(self, n_clips: int, features: Any, n_classes: int) -> None:
        rng = np.random.default_rng(0)
        self._log_mel = rng.standard_normal((n_clips, features.n_frames, features.n_mels), dtype=np.float32)
        self.tags = rng.random((n_clips, n_classes)) < 0.1
        self.features, self.durations, self.events = features, np.full(n_clips, features.clip_seconds), {}
        self.clip_ids, self.classes = [str(row) for row in range(n_clips)], [str(k) for k in range(n_classes)]

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self._log_mel[rows]


def _batches(config: Any, batch_size: int, n_batches: int) -> Any:
    from crnn_weak.features.log_mel import Scaler
    from crnn_weak.training.batches import StoreBatches

    features = config.features
    clips = _Clips(batch_size * min(n_batches, 4), features, 17)
    rows = np.arange(batch_size * n_batches) % len(clips.tags)
    scaler = Scaler(mean=np.zeros(features.n_mels, np.float32), std=np.ones(features.n_mels, np.float32))
    return StoreBatches(clips, rows, scaler, batch_size=batch_size, seed=0)


def _clocked(work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak_mb": round(peak_memory_mb())}


def _serve_keras(config: Any, batch_size: int, n_threads: int, fast: bool) -> None:
    from crnn_weak.environment import set_threads

    set_threads(n_threads)
    from crnn_weak.model.crnn import build_model
    from crnn_weak.model.losses import compile_model
    from crnn_weak.training.batches import for_keras

    # A stock TimeDistributed on a static time axis unrolls into a slice for each frame; leave it that.
    model = build_model(config, fast=fast, n_frames="config" if fast else None)
    compile_model(model, config.loss_weights)

    @functools.cache
    def epoch(n_batches: int) -> Any:
        return for_keras(_batches(config, batch_size, n_batches))

    serve(lambda batches: _clocked(lambda: model.fit(epoch(batches), verbose=0, shuffle=False)))


def _serve_torch(config: Any, batch_size: int, n_threads: int, channels_last: bool) -> None:
    import torch
    from torch_network import TorchNetwork, train_step

    torch.set_num_threads(n_threads)
    torch.set_num_interop_threads(1)
    network = TorchNetwork(config, channels_last=channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate)

    @functools.cache
    def epoch(n_batches: int) -> Any:
        return _batches(config, batch_size, n_batches)

    def fit(n_batches: int) -> None:
        feeder = epoch(n_batches)
        for index in range(len(feeder)):
            float(train_step(network, optimizer, *feeder[index]))

    serve(lambda batches: _clocked(lambda: fit(batches)))


def _serve_sgemm(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)
    a, b = (torch.from_numpy(np.random.default_rng(i).random((_SGEMM, _SGEMM), np.float32)) for i in range(2))
    out = torch.empty_like(a)
    serve(lambda batches: _clocked(lambda: [torch.matmul(a, b, out=out) for _ in range(batches)]))


def _work(args: argparse.Namespace) -> None:
    from crnn_weak.config import preset

    config = preset(args.preset)
    if args.worker == "sgemm":
        _serve_sgemm(args.threads)
    elif args.worker.startswith("torch"):
        _serve_torch(config, args.batch, args.threads, channels_last=args.worker == "torch-last")
    else:
        _serve_keras(config, args.batch, args.threads, fast=args.worker == "ours")


def check_same_network(preset_name: str) -> float:
    """Return the largest difference of the scores of our network and PyTorch's with the same weights."""
    import torch
    from torch_network import TorchNetwork, copy_weights

    from crnn_weak.config import preset
    from crnn_weak.model.crnn import build_model

    config = preset(preset_name)
    model, network = build_model(config), TorchNetwork(config).eval()
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0, 0.1, w.shape).astype(np.float32) for w in model.get_weights()])
    copy_weights(model, network)
    log_mel = rng.standard_normal((2, config.features.n_frames, config.features.n_mels), dtype=np.float32)
    with torch.no_grad():
        strong, weak = network(torch.from_numpy(log_mel))
    ours = model.predict(log_mel, verbose=0)
    return float(max(abs(ours["strong"] - strong.numpy()).max(), abs(ours["weak"] - weak.numpy()).max()))


def _asker(worker: Worker, clock: str, n_batches: int) -> Callable[[], Mapping[str, Any]]:
    def ask() -> Mapping[str, Any]:
        answer = worker.ask(batches=n_batches)
        return {"seconds": answer[clock], "peak_mb": answer["peak_mb"]}

    return ask


def main() -> None:
    rivals = list(RIVALS.values())
    options: dict[str, Any] = {"preset": "paper", "threads": 1, "rounds": 5}
    options["batch"] = {"type": int, "help": "clips in a batch (default: 16 for preset quick, its own; else 32)"}
    options["batches"] = {"type": int, "help": "in a round, which is an epoch (default: 100 for quick, else 16)"}
    options["clock"] = {"choices": ["wall", "cpu"], "default": "wall"}
    options["only"] = {"nargs": "+", "choices": rivals, "default": rivals}
    options["worker"] = {"choices": [*rivals, "sgemm"], "help": argparse.SUPPRESS}
    args = parse(__doc__, options)
    small = args.preset == "quick"
    args.batch = args.batch or (16 if small else 32)
    # An epoch of the quick grid has 112 batches, one of the full set 1,599.
    args.batches = args.batches or (100 if small else 16)
    if args.worker:
        _work(args)
        return
    from flops import training_flops

    from crnn_weak.config import preset

    flops = training_flops(preset(args.preset))
    command = [__file__, "--preset", args.preset, "--batch", str(args.batch), "--threads", str(args.threads)]
    names = {name: kind for name, kind in RIVALS.items() if kind in args.only} | {"sgemm": "sgemm"}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker([*command, "--worker", kind], n_threads=args.threads))
            for name, kind in names.items()
        }
        asked = {
            name: _asker(worker, args.clock, 4 if name == "sgemm" else args.batches) for name, worker in workers.items()
        }
        timings = alternate(asked, rounds=args.rounds, warm_up=2)
    peak = 4 * 2 * _SGEMM**3 / timings.pop("sgemm").best / 1e9
    n_clips = args.batch * args.batches
    for timing in timings.values():
        timing.extra["share_of_peak"] = round(n_clips / timing.median * flops / 1e9 / peak, 3)
    report(
        f"training, preset {args.preset}",
        timings,
        n_items=n_clips,
        unit="clips",
        ours="crnn_weak" if "ours" in args.only else None,
        packages=["tensorflow", "tensorflow-cpu", "keras", "torch"],
        batch=args.batch,
        threads=args.threads,
        clock=args.clock,
        gflop_a_clip=round(flops / 1e9, 3),
        sgemm_gflops=round(peak, 1),
        shares_of_peak=", ".join(f"{name} {100 * t.extra['share_of_peak']:.0f} %" for name, t in timings.items()),
        largest_difference_of_scores=check_same_network(args.preset),
        goal="1.8 times PyTorch, 35 % of the peak (preset paper)",
    )


if __name__ == "__main__":
    main()
