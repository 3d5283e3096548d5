"""Independent tasks on several processes of this machine.

A task is a picklable function of one picklable argument that writes its results to files of its own and returns
something small. A worker whose parent has ended ends too: a grid that was killed and started again never has two
processes in one run folder. The tasks of a worker that ends abnormally are run again.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from crnn_weak.errors import RunError

__all__ = ["default_jobs", "limit_threads", "run_on_pool"]

log = logging.getLogger(__name__)

#: How often lost workers are replaced before the task is blamed.
_ROUNDS = 3


def default_jobs() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def run_on_pool(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    jobs: int,
    n_threads: int = 1,
    on_poll: Callable[[], None] | None = None,
    poll_seconds: float = 1.0,
    share_last: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each task as it ends; see `crnn_weak.parallel.run_tasks`."""
    waiting = dict(enumerate(tasks))
    for left in reversed(range(_ROUNDS)):
        with contextlib.suppress(BrokenProcessPool):
            for index, result in _run_in_pool(function, waiting, jobs, n_threads, on_poll, poll_seconds, share_last):
                del waiting[index]
                yield index, result
            return
        log.warning(
            "a worker process was lost; %d tasks %s", len(waiting), "start again" if left else "were not finished"
        )
    raise RunError(
        f"{len(waiting)} tasks: their worker processes ended without an answer, {_ROUNDS} times. Was memory short "
        "(the kernel's log names a killed process)? Start again with fewer --jobs; what is done is kept."
    )


def limit_threads(n_threads: int) -> None:
    """Hold the numerical libraries of this process to `n_threads` threads, as far as they are not loaded yet."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(n_threads)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(n_threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(n_threads)


def _run_in_pool(
    function: Callable[[Any], Any],
    tasks: dict[int, Any],
    jobs: int,
    n_threads: int,
    on_poll: Callable[[], None] | None,
    poll_seconds: float,
    share_last: bool,
) -> Iterator[tuple[int, Any]]:
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork

    def new_pool(n_workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(n_workers, context, _begin_worker, (n_threads,))  # begins workers when it has tasks

    left = list(tasks.items())
    n_last = len(left) % jobs if share_last and len(left) > jobs else 0
    if n_last > jobs // 2:
        n_last = 0  # little to gain, and memory for twice the workers
    last = left[len(left) - n_last :]
    with new_pool(min(jobs, len(left))) as pool, new_pool(max(n_last, 1)) as extra:
        futures: dict[Future[Any], int] = {
            pool.submit(function, task): index for index, task in left[: len(left) - n_last]
        }
        pending = set(futures)
        try:
            while pending:
                if last and len(pending) <= jobs:
                    begun = {extra.submit(function, task): index for index, task in last}
                    futures, pending, last = futures | begun, pending | set(begun), []
                done, pending = wait(pending, timeout=poll_seconds, return_when=FIRST_COMPLETED)
                if on_poll is not None:
                    on_poll()
                # What has ended well first: the lost ones raise.
                for future in sorted(done, key=lambda future: future.exception() is not None):
                    yield futures[future], future.result()
        except BaseException:
            for executor in (pool, extra):
                executor.shutdown(wait=False, cancel_futures=True)
                for process in list((executor._processes or {}).values()):
                    process.terminate()
            raise


def _begin_worker(n_threads: int) -> None:
    limit_threads(n_threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
