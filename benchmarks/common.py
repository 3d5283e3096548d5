"""What the benchmark scripts share: rounds that alternate between rivals, synthetic stores, printed results.

Shared machines drift by a factor of two within minutes. Two rivals are therefore never timed one after the other but
in turn, round by round, and compared by the medians of their rounds and by the median of the ratios *within* a round.

    timings = alternate({"ours": lambda: ours(data), "rival": lambda: rival(data)}, rounds=7)
    report("scores", timings, n_items=488, unit="clips", ours="ours", packages=["sed_eval"])
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from crnn_weak.config import FeatureConfig
    from crnn_weak.features.store import FeatureStore

REPOSITORY = Path(__file__).resolve().parents[1]
N_SOUNDS = 64


@dataclass
class Timing:
    """Seconds of each round of one rival; `extra` holds what else its last round reported (peak memory, say)."""

    seconds: list[float] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)


def alternate(rivals: Mapping[str, Callable[[], Any]], *, rounds: int = 5, warm_up: int = 1) -> dict[str, Timing]:
    """Time rivals in turn, every other round in the opposite order.

    A callable that returns a float has timed itself (seconds); one that returns a dictionary has a key ``seconds``
    there; any other result is ignored and the call is timed here.
    """
    timings = {name: Timing() for name in rivals}
    for _ in range(warm_up):
        for call in rivals.values():
            call()
    for number in range(rounds):
        names = list(rivals)
        for name in names if number % 2 == 0 else names[::-1]:
            start = time.perf_counter()
            result = rivals[name]()
            seconds = time.perf_counter() - start
            if isinstance(result, dict):
                timings[name].extra = {key: value for key, value in result.items() if key != "seconds"}
                seconds = float(result["seconds"])
            elif isinstance(result, float):
                seconds = result
            timings[name].seconds.append(seconds)
    return timings


def cpu_timed(call: Callable[[], Any]) -> Callable[[], float]:
    """Return a call that gives its CPU seconds in this thread: other work on the machine does not count."""

    def timed() -> float:
        began = time.thread_time()
        call()
        return time.thread_time() - began

    return timed


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="crnn-weak-benchmark-") as name:
        yield Path(name)


def make_sounds(features: FeatureConfig) -> np.ndarray:
    """Return the log mel of 64 different sounds, tones and noises that come and go; ``(64, n_frames, n_mels)``."""
    from crnn_weak.features.log_mel import LogMelExtractor

    rng = np.random.default_rng(0)
    extractor = LogMelExtractor(features)
    t = np.arange(features.n_clip_samples) / features.sample_rate_hz
    sounds = []
    for _ in range(N_SOUNDS):
        level = np.interp(t, np.linspace(0, features.clip_seconds, 9), rng.uniform(0, 0.3, 9))
        sound = level * np.sin(2 * np.pi * rng.uniform(200, 4000) * t) + 0.02 * rng.standard_normal(t.size)
        sounds.append(extractor((np.rint(sound * 32768) / 32768).astype(np.float32)))
    return np.stack(sounds)


def write_store(
    path: Path, features: FeatureConfig, sounds: np.ndarray, tags: np.ndarray, *, split: str = "train", **facts: Any
) -> FeatureStore:
    """Write sounds in turn, each shifted in time by its row, through the package's own writer.

    `tags` is ``(n_clips, 17)``; `facts` replaces other parts of the header.
    """
    from crnn_weak.features.build import StoreWriter
    from crnn_weak.features.store import FeatureStore, StoreHeader
    from crnn_weak.labels.events import DCASE2017_TASK4

    header = {
        "clip_ids": tuple(f"{split}-{row}" for row in range(len(tags))),
        "events": (None,) * len(tags),
        "dataset": "benchmark",
        "data_fingerprint": "0",
        "provenance": "synthesized sounds",
        **facts,
    }
    writer = StoreWriter(path, StoreHeader(features, DCASE2017_TASK4, tags=tags, split=split, **header))
    for row in range(len(tags)):
        values = np.roll(sounds[row % len(sounds)], row % features.n_frames, axis=0)
        writer.write(row, values, status="ok", duration=features.clip_seconds)
    writer.finish()
    return FeatureStore(path, features)


def tags_in_turn(n_clips: int) -> np.ndarray:
    """Return tags that give each clip one of the 17 classes in turn."""
    return np.eye(17, dtype=bool)[np.arange(n_clips) % 17]


def parse(doc: str | None, options: Mapping[str, Any]) -> argparse.Namespace:
    """Parse the command line; `options` are names with defaults, or with arguments of `add_argument`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in options.items():
        settings = value if isinstance(value, dict) else {"default": value, "type": type(value)}
        parser.add_argument(f"--{name}", **settings)
    return parser.parse_args()


def environment(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return date, processor, number of CPUs, system load, Python and the versions of `packages`."""
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "packages": {name: number for name in ("crnn-weak", "numpy", *packages) if (number := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        flags = next((line for line in lines if line.startswith("flags")), "")
        vectors = " (AVX-512)" if "avx512f" in flags else " (AVX2)" if "avx2" in flags else ""
        if names:
            return names[0] + vectors
    return platform.processor() or platform.machine()


def print_result(benchmark: str, packages: Sequence[str] = (), **facts: Any) -> None:
    """Print the JSON line of a benchmark."""
    print(json.dumps({"benchmark": benchmark, **facts, **environment(packages)}), flush=True)


def table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    """Return a Markdown table; numbers are rounded to three significant digits and set to the right."""
    cells = [list(header)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [i > 0 and not any(isinstance(row[i], str) for row in rows) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def report(
    benchmark: str,
    timings: Mapping[str, Timing],
    *,
    n_items: float | Mapping[str, float] = 1,
    unit: str = "seconds",
    ours: str | None = None,
    packages: Sequence[str] = (),
    **facts: Any,
) -> None:
    """Print a table and the JSON line of alternating rounds.

    `n_items` is what one round of a rival works through and `unit` its name in the plural: ``clips`` gives clips a
    second; by default the seconds of a round are shown. `ours` names the rival whose ratio to each other one is shown
    (above 1: ours is faster). `facts` is anything else worth keeping: threads, batch size, the goal.
    """
    items = dict.fromkeys(timings, float(n_items)) if isinstance(n_items, int | float) else dict(n_items)
    label = unit if unit == "seconds" else f"{unit}/s"
    rivals: dict[str, dict[str, Any]] = {}
    for name, timing in timings.items():
        shown = [s if unit == "seconds" else items[name] / s for s in (timing.median, timing.best)]
        rivals[name] = {"median": round(shown[0], 4), "best": round(shown[1], 4), "rounds": len(timing.seconds)}
        if ours is not None and name != ours:
            pairs = zip(timings[ours].seconds, timing.seconds, strict=True)
            within = statistics.median(theirs / mine for mine, theirs in pairs)
            rivals[name]["ratio"] = round(within * items[ours] / items[name], 3)
    header = ["", f"{label}, median", f"{label}, best"] + ([f"{ours}: times as fast"] if ours else [])
    rows = [[name, row["median"], row["best"], row.get("ratio")][: len(header)] for name, row in rivals.items()]
    stated = ", ".join(f"{name.replace('_', ' ')} {_cell(value)}" for name, value in facts.items())
    print(f"\n{benchmark}: {stated}\n{table(rows, header)}")
    rivals = {name: row | timings[name].extra for name, row in rivals.items()}
    print_result(benchmark, packages, unit=label, rivals=rivals, **facts)
