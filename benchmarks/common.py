"""What the benchmark scripts share: rounds that alternate between rivals, pinned workers, one table, one JSON line.

Shared machines drift by a factor of two within minutes. Two rivals are therefore never timed one after the other but
in turn, round by round, and compared by the medians of their rounds and by the median of the ratios *within* a round.

A script does::

    from common import alternate, report

    timings = alternate({"ours": lambda: ours(data), "rival": lambda: rival(data)}, rounds=7)
    report("scores", timings, n_items=488, unit="clips", ours="ours", packages=["sed_eval"])

Rivals that must not share a process (another thread count, another framework) run as a `Worker` each.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = [
    "Timing",
    "Worker",
    "alternate",
    "environment",
    "peak_memory_mb",
    "pin",
    "report",
    "serve",
    "table",
    "thread_environment",
]

REPOSITORY = Path(__file__).resolve().parents[1]


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


def alternate(
    rivals: Mapping[str, Callable[[], Any]], *, rounds: int = 5, warm_up: int = 1, max_seconds: float | None = None
) -> dict[str, Timing]:
    """Time rivals in turn.

    Parameters
    ----------
    rivals : mapping of name -> callable
        A callable that returns a float has timed itself (seconds); one that returns a dictionary has a key
        ``seconds`` there; any other result is ignored and the call is timed here.
    rounds : int
        Every rival runs once a round; every other round in the opposite order.
    warm_up : int
        Untimed calls of each rival before the first round.
    max_seconds : float, optional
        Begin no further round after that (at least one is made).

    Returns
    -------
    dict of name -> Timing
    """
    timings = {name: Timing() for name in rivals}
    for _ in range(warm_up):
        for call in rivals.values():
            call()
    began = time.perf_counter()
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
        if max_seconds is not None and time.perf_counter() - began > max_seconds:
            break
    return timings


# --- workers -------------------------------------------------------------------------------------------------------


def thread_environment(n_threads: int) -> dict[str, str]:
    """Return the variables that hold NumPy, PyTorch and TensorFlow to `n_threads` threads in a new process."""
    names = (
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    )  # fmt: skip
    return dict.fromkeys(names, str(n_threads))


def pin(cpus: Sequence[int] | None) -> None:
    """Hold this process to some CPUs (where the system can)."""
    if cpus is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


class Worker:
    """A process that answers requests, one JSON line each; the other side calls `serve`.

    Parameters
    ----------
    arguments : sequence of str
        Script and its arguments, for this Python.
    n_threads : int
    cpus : sequence of int, optional
        Hold the process to these CPUs.
    environment : mapping
        Further variables.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        n_threads: int = 1,
        cpus: Sequence[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = " ".join(arguments)
        variables = {**os.environ, **thread_environment(n_threads), **(environment or {})}
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables,
            preexec_fn=None if cpus is None else lambda: pin(cpus),
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"{self._arguments}: ended without an answer (exit code {self._process.wait()}).")

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def serve(answer: Callable[..., Mapping[str, Any]]) -> None:
    """Answer requests from standard input until it ends: the worker's side of `Worker`."""
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


# --- what is printed ------------------------------------------------------------------------------------------------


def environment(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return date, processor, number of CPUs, system load, Python and the versions of `packages`."""
    versions = {"crnn-weak": _version("crnn-weak"), "numpy": _version("numpy")}
    versions |= {package: _version(package) for package in packages}
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "packages": {name: number for name, number in versions.items() if number},
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
) -> dict[str, Any]:
    """Print a table and one JSON line; return what the line holds.

    Parameters
    ----------
    benchmark : str
    timings : mapping of name -> Timing
    n_items : float, or mapping of name -> float
        Items that one round of a rival works through.
    unit : str
        What an item is, in the plural: ``clips`` gives clips a second. By default the seconds of a round are shown.
    ours : str, optional
        The rival whose ratio to each other one is shown (above 1: ours is faster).
    packages : sequence of str
        Whose versions belong to the result.
    **facts
        Anything else worth keeping: threads, batch size, share of peak, the goal.
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
    result = {"benchmark": benchmark, "unit": label, "rivals": rivals, **facts, **environment(packages)}
    print(json.dumps(result), flush=True)
    return result
