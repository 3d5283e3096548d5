"""Independent tasks on several processes of this machine.

A task is a picklable function of one picklable argument that writes its results to files of its own and returns
something small. A worker that loses its parent ends itself: a grid that was killed and started again never has two
processes in one run folder.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

__all__ = ["default_jobs", "run_tasks"]


def default_jobs() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    jobs: int,
    n_threads: int = 1,
    on_poll: Callable[[], None] | None = None,
    poll_seconds: float = 1.0,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each task as it ends.

    Parameters
    ----------
    function : callable
        Importable by name from a new process.
    tasks : sequence
        One argument for each call.
    jobs : int
        Worker processes; each serves several tasks, so that imports and compilation are paid once.
    n_threads : int
        Threads for the numerical libraries of each worker.
    on_poll : callable, optional
        Called about every `poll_seconds` while waiting, to show progress.

    Raises
    ------
    Exception
        What a task raised; tasks that had not begun are given up.
    """
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with ProcessPoolExecutor(min(jobs, len(tasks)), context, _begin_worker, (n_threads,)) as pool:
        futures: dict[Future[Any], int] = {pool.submit(function, task): index for index, task in enumerate(tasks)}
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=poll_seconds, return_when=FIRST_COMPLETED)
                if on_poll is not None:
                    on_poll()
                for future in done:
                    yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise


def _begin_worker(n_threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(n_threads)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(n_threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(n_threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
