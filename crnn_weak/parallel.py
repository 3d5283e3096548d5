"""Independent tasks on local processes or on a Dask cluster.

A task is a picklable function of one picklable argument that writes its results to files of its own and returns
something small. It locks what it writes to (`crnn_weak.files.lock`): a worker presumed dead may still be running.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from typing import Any

import crnn_weak
from crnn_weak.errors import ConfigError, CrnnWeakError, DependencyError, RunError

log = logging.getLogger(__name__)

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
#: How often in a row, with no task finished in between, lost workers are replaced before the task is blamed.
_ROUNDS = 3
#: Tasks submitted for each worker: one that runs and what keeps it from waiting for the next.
_AHEAD = 3
_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 10.0
_LOST = (
    "the connection to the Dask scheduler was lost. Start the scheduler and rerun the command: finished tasks are "
    "kept, and tasks that still run on the workers are waited for."
)


def default_jobs() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limit_threads() -> None:
    """Limit the numerical libraries of this process to one thread; those already loaded keep theirs."""
    os.environ.update(dict.fromkeys(_THREADS, "1"))


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    jobs: int,
    scheduler: str | None = None,
    on_poll: Callable[[], None] = lambda: None,
    share_last: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each task as it ends; a task that raises ends the others and raises here.

    `jobs` local processes of one thread each, or the Dask cluster at `scheduler` (``tcp://host:port``). The
    tasks of a worker that dies are run again. `on_poll` is called about once a second. With `share_last`, for long
    local tasks, a last round that needs at most half of the workers begins with the one before, in workers of its own:
    seven equal tasks on two CPUs take 3.5 times as long as one, not 4.
    """
    if scheduler is not None and tasks:
        yield from _run_on_dask(function, tasks, scheduler, on_poll)
        return
    waiting = dict(enumerate(tasks))
    n_lost = 0
    while n_lost < _ROUNDS:
        n_waiting = len(waiting)
        with contextlib.suppress(BrokenProcessPool):
            for index, result in _run_on_pool(function, waiting, jobs, on_poll, share_last):
                del waiting[index]
                yield index, result
            return
        n_lost = n_lost + 1 if len(waiting) == n_waiting else 1
        log.warning("a worker process was lost; %d tasks are not finished", len(waiting))
    raise RunError(
        f"{len(waiting)} tasks: their worker processes ended without an answer, {_ROUNDS} times in a row. Was memory "
        "short (the kernel's log names a killed process)? Rerun with fewer --jobs; finished tasks are kept."
    )


# --- local processes -------------------------------------------------------------------------------------------------


def _run_on_pool(
    function: Callable[[Any], Any], tasks: dict[int, Any], jobs: int, on_poll: Callable[[], None], share_last: bool
) -> Iterator[tuple[int, Any]]:
    waiting = deque(tasks.items())
    n_last = len(tasks) % jobs if share_last and len(tasks) > jobs else 0
    if n_last > jobs // 2:
        n_last = 0  # little to gain, and memory for twice the workers
    # Bounded: neither the workers nor this process hold results that are not taken up.
    n_submitted = jobs if share_last else _AHEAD * jobs
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    pool = ProcessPoolExecutor(min(jobs + n_last, len(tasks) or 1), context, _begin_worker)
    futures: dict[Future[Any], int] = {}
    try:
        while waiting or futures:
            most = n_submitted + (n_last if len(waiting) <= n_last else 0)
            while waiting and len(futures) < most:
                index, task = waiting.popleft()
                futures[pool.submit(function, task)] = index
            done, _ = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            on_poll()
            # Completed tasks first: a failed one raises.
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield futures.pop(future), future.result()
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    finally:
        pool.shutdown()


def _begin_worker() -> None:
    _limit_threads()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker as soon as its parent has ended: a grid that restarts never has two processes in one folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# --- Dask ------------------------------------------------------------------------------------------------------------


def _call_on_worker(function: Callable[[Any], Any], argument: Any, folder: str) -> Any:
    """Call `function` in the folder of the process that asks; a user's error is returned: raised, Dask would retry."""
    _limit_threads()
    try:
        os.chdir(folder)
    except OSError:
        return RunError(
            f"worker {socket.gethostname()}: does not see the folder {folder}. Every worker needs all folders under "
            "the same paths as the process that starts the tasks."
        )
    try:
        return function(argument)
    except CrnnWeakError as error:
        return type(error)(f"worker {socket.gethostname()}: {error}")


def _run_on_dask(
    function: Callable[[Any], Any], tasks: Sequence[Any], scheduler: str, on_poll: Callable[[], None]
) -> Iterator[tuple[int, Any]]:
    folder = os.getcwd()
    with _connect(scheduler) as client:
        waiting = iter(enumerate(tasks))
        submitted: dict[Any, int] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        counted, n_workers = -1e9, 1
        try:
            while True:
                # Bounded: neither the cluster nor this process holds more than a few tasks for each worker.
                if time.monotonic() - counted > 1.0:
                    counted, n_workers = time.monotonic(), _n_worker_threads(client)
                while len(submitted) < _AHEAD * n_workers and (item := next(waiting, None)) is not None:
                    future = client.submit(_call_on_worker, function, item[1], folder, pure=False, retries=2)
                    submitted[future] = item[0]
                    future.add_done_callback(ended.put)
                if not submitted:
                    return
                with contextlib.suppress(queue.Empty):
                    future = ended.get(timeout=_POLL_SECONDS)
                    yield submitted.pop(future), _result(future)
                on_poll()
        finally:
            with contextlib.suppress(Exception):  # the scheduler may have ended
                client.cancel(list(submitted))


def _result(future: Any) -> Any:
    from distributed.scheduler import KilledWorker

    try:
        result = future.result()
    except KilledWorker as error:
        raise RunError(
            f"a task was given up: {error.allowed_failures + 1} workers died under it, the last on "
            f"{error.last_worker.address}. Was memory short there? Rerun the command; finished tasks are kept."
        ) from None
    except CancelledError:
        raise RunError(_LOST) from None
    if isinstance(result, CrnnWeakError):
        raise result
    return result


def _connect(scheduler: str) -> Any:
    """Return a Dask client whose workers have the versions of this process."""
    try:
        import distributed
    except ImportError:
        raise DependencyError(
            f"scheduler {scheduler!r}: Dask is not installed. pip install 'crnn-weak[dask]', or omit --scheduler to "
            "use the processes of this machine."
        ) from None
    if "://" not in scheduler:
        raise ConfigError(f"scheduler = {scheduler!r}: expected tcp://host:port.")
    try:
        client = distributed.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"scheduler {scheduler!r}: no Dask scheduler answers ({str(error)[:200]}). Start one with `dask scheduler` "
            "and workers with `dask worker ADDRESS --nthreads 1`."
        ) from None
    # `_result` reports a lost connection in one line; Dask would add a traceback.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    for worker, found in client.run(_versions).items():
        if found != _versions():  # results could differ, and pickles do
            client.close()
            raise RunError(f"worker {worker}: has {found}, expected {_versions()}. Install the same everywhere.")
    if not client.nthreads():
        log.warning("%s: no workers yet; start some with `dask worker`", scheduler)
    return client


def _versions() -> dict[str, str]:
    return {"crnn-weak": crnn_weak.__version__, "keras": version("keras"), "numpy": version("numpy")}


def _n_worker_threads(client: Any) -> int:
    """Return the threads of the cluster's workers, at least 1: without workers, tasks wait for the first."""
    try:
        return max(1, sum(client.nthreads().values()))
    except OSError:
        raise RunError(_LOST) from None
