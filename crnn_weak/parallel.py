"""Independent tasks on local processes or on a Dask cluster.

A task is a picklable function of one picklable argument that writes its results to files of its own and returns
something small. It locks what it writes to (`crnn_weak.files.lock`): a worker presumed dead may still be running.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from typing import Any, NamedTuple

import crnn_weak
from crnn_weak.errors import ConfigError, CrnnWeakError, DependencyError, RunError, prepare_messages

log = logging.getLogger(__name__)

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
#: Limits the numerical libraries to one thread, unless they are already loaded.
_ONE_THREAD = dict.fromkeys(_THREADS, "1")
_ROUNDS = 3  # how often lost workers are replaced, with no task finished in between
_AHEAD = 3  # tasks submitted for each worker: one that runs, and what keeps it from waiting for the next
_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 10.0
_WORKER_SECONDS = 60.0  # Dask replaces a lost worker in some seconds, where it does


class Work(NamedTuple):
    """Ways to do work: by `jobs` processes of this machine, or on the Dask cluster at `scheduler`; bars or none."""

    jobs: int = 1
    scheduler: str | None = None
    progress: bool = False


def default_jobs() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_tasks(
    function: Callable[[Any], Any], tasks: Sequence[Any], *, jobs: int, scheduler: str | None = None
) -> Iterator[Any]:
    """Yield the results of short tasks as they end; they run in this process where one worker is enough."""
    if scheduler is None and (jobs == 1 or len(tasks) <= 1):
        yield from map(function, tasks)
    else:
        for _, result in run_tasks(function, tasks, jobs=jobs, scheduler=scheduler):
            yield result


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

    They run on `jobs` local processes of one thread, or on the Dask cluster at `scheduler`; the tasks of a worker that
    dies are run again. `on_poll` is called about once a second. With `share_last`, a last round that needs at most half
    of the workers begins with the one before: seven equal tasks on two CPUs take 3.5 times as long as one, not 4.
    """
    waiting, n_lost = dict(enumerate(tasks)), 0
    if scheduler is not None and waiting:
        yield from _run_on_dask(function, waiting, scheduler, on_poll)
        return
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


def _run(
    executor: Executor, function: Callable[[Any], Any], tasks: dict[int, Any], most: Callable[[int], int],
    on_poll: Callable[[], None],
) -> Iterator[tuple[int, Any]]:  # fmt: skip
    """Yield (index, result) as tasks end; at most `most(n_waiting)` tasks are submitted, so that nothing piles up."""
    waiting = deque(tasks.items())
    futures: dict[Future[Any], int] = {}
    while waiting or futures:
        n_more = most(len(waiting)) - len(futures)
        with _interrupts_held():
            for _ in range(min(n_more, len(waiting))):
                index, task = waiting.popleft()
                futures[executor.submit(function, task)] = index
        done, _ = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        on_poll()
        # Completed tasks first: a failed one raises.
        for future in sorted(done, key=lambda future: future.exception() is not None):
            yield futures.pop(future), future.result()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold interrupts back. Processes that begin meanwhile get none: at Ctrl-C, their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_on_pool(
    function: Callable[[Any], Any], tasks: dict[int, Any], jobs: int, on_poll: Callable[[], None], share_last: bool
) -> Iterator[tuple[int, Any]]:
    n_last = len(tasks) % jobs if share_last and len(tasks) > jobs else 0
    if n_last > jobs // 2:
        n_last = 0  # little to gain, and memory for twice the workers

    def most(n_waiting: int) -> int:
        if share_last:
            return jobs + (n_last if n_waiting <= n_last else 0)
        return _AHEAD * jobs

    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    pool = ProcessPoolExecutor(min(jobs + n_last, len(tasks) or 1), context, _begin_worker)
    try:
        yield from _run(pool, function, tasks, most, on_poll)
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    finally:
        pool.shutdown()


def _begin_worker() -> None:
    """Prepare a worker, which ends with its parent: a grid that restarts never has two processes in one folder."""

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    os.environ.update(_ONE_THREAD)
    prepare_messages()
    threading.Thread(target=end_with_parent, daemon=True).start()


def _call_on_worker(function: Callable[[Any], Any], folder: str, argument: Any) -> Any:
    """Call `function` in the folder of the process that asks; a user's error is returned: raised, Dask would retry."""
    os.environ.update(_ONE_THREAD)
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
    function: Callable[[Any], Any], tasks: dict[int, Any], scheduler: str, on_poll: Callable[[], None]
) -> Iterator[tuple[int, Any]]:
    with _connect(scheduler) as client:
        from distributed.scheduler import KilledWorker

        latest = math.inf  # when there was a worker; without any, tasks wait for the first

        def most(n_waiting: int) -> int:
            nonlocal latest
            try:
                n_threads = sum(client.nthreads().values())
            except OSError:
                raise CancelledError from None  # as the tasks are when the connection is lost
            if n_threads:
                latest = time.monotonic()
            elif time.monotonic() - latest > _WORKER_SECONDS:
                raise RunError(
                    f"scheduler {scheduler!r}: lost all workers and got no other in {_WORKER_SECONDS:g} s. Was memory "
                    "short there? Start workers and rerun the command; finished tasks are kept."
                )
            return _AHEAD * max(1, n_threads)

        executor = client.get_executor(pure=False, retries=2)
        call = functools.partial(_call_on_worker, function, os.getcwd())
        try:
            for index, result in _run(executor, call, tasks, most, on_poll):
                if isinstance(result, CrnnWeakError):
                    raise result
                yield index, result
        except KilledWorker as error:
            raise RunError(
                f"a task was given up: {error.allowed_failures + 1} workers died under it, the last on "
                f"{error.last_worker.address}. Was memory short there? Rerun the command; finished tasks are kept."
            ) from None
        except CancelledError:
            raise RunError(
                "the connection to the Dask scheduler was lost. Start the scheduler and rerun the command: finished "
                "tasks are kept, and tasks that still run on the workers are waited for."
            ) from None
        finally:
            with contextlib.suppress(Exception):  # the scheduler may have ended
                executor.shutdown(wait=False)


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
    # A lost connection is reported in one line; Dask would add a traceback.
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
