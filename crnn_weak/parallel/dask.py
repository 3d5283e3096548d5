"""Independent tasks on a Dask cluster (``pip install 'crnn-weak[dask]'``); use `crnn_weak.parallel.run_tasks`.

What is lost with a worker is run again by another; Dask gives a task up once four workers in a row have died under
it. A task must lock what it writes to (`crnn_weak.files.lock`): a worker presumed dead may still be running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from crnn_weak.errors import ConfigError, CrnnWeakError, DependencyError, RunError
from crnn_weak.parallel.local import limit_threads

__all__ = ["run_on_dask"]

log = logging.getLogger(__name__)

#: Tasks under way for each worker thread: one that runs and what keeps it from waiting for the next.
_AHEAD = 3
_CONNECT_SECONDS = 10.0
_LOST = (
    "the connection to the Dask scheduler was lost. Start the scheduler and this again; what is done is kept, and what "
    "still runs on the workers is waited for."
)
# Seconds between two lines that say that the cluster has no workers.
_LOG_EVERY = 60.0


@dataclass(frozen=True)
class _Refusal:
    """An error for the user to mend: no reason to try again, so it travels as a result."""

    error: CrnnWeakError


@dataclass(frozen=True)
class _Task:
    """`function`, as a worker calls it: in the folder and with the threads of the process that asks."""

    function: Callable[[Any], Any]
    n_threads: int
    folder: str

    def __call__(self, argument: Any) -> Any:
        limit_threads(self.n_threads)
        host = socket.gethostname()
        try:
            os.chdir(self.folder)
        except OSError:
            # Relative paths in the tasks would be read as others.
            return _Refusal(
                RunError(
                    f"worker {host}: does not see the folder {self.folder}. Every worker needs the data, the stores "
                    "and the runs under the same paths as the process that starts them."
                )
            )
        try:
            return self.function(argument)
        except CrnnWeakError as error:
            return _Refusal(type(error)(f"worker {host}: {error}"))


def run_on_dask(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    scheduler: str,
    jobs: int,
    n_threads: int,
    on_poll: Callable[[], None] | None,
    poll_seconds: float,
    retries: int,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each task as it ends; see `crnn_weak.parallel.run_tasks`."""
    from_here = _Task(function, n_threads, os.getcwd())
    with _client(scheduler, min(jobs, len(tasks))) as client:
        _check_workers(client)
        waiting = enumerate(tasks)
        under_way: dict[Any, int] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        watch = _Watch(client)
        try:
            while True:
                for _ in range(_AHEAD * watch.n_threads() - len(under_way)):
                    index, task = next(waiting, (-1, None))
                    if index < 0:
                        break
                    future = client.submit(from_here, task, pure=False, retries=retries)
                    under_way[future] = index
                    future.add_done_callback(ended.put)
                if not under_way:
                    return
                future = None
                with contextlib.suppress(queue.Empty):
                    future = ended.get(timeout=poll_seconds)
                if on_poll is not None:
                    on_poll()
                if future is not None:
                    yield under_way.pop(future), _result(future)
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be what is gone
                client.cancel(list(under_way))


def _result(future: Any) -> Any:
    from distributed.scheduler import KilledWorker

    try:
        result = future.result()
    except KilledWorker as error:
        raise RunError(
            f"a task was given up: {error.allowed_failures + 1} workers died under it, the last on "
            f"{error.last_worker.address}. Was memory short there? Start again; what is done is kept."
        ) from None
    except CancelledError:
        raise RunError(_LOST) from None
    if isinstance(result, _Refusal):
        raise result.error
    return result


@contextlib.contextmanager
def _client(scheduler: str, n_workers: int) -> Iterator[Any]:
    try:
        import distributed
    except ImportError:
        raise DependencyError(
            f"scheduler {scheduler!r}: Dask is not installed. pip install 'crnn-weak[dask]', or leave --scheduler out "
            "to use the processes of this machine."
        ) from None
    if scheduler != "local" and "://" not in scheduler:
        raise ConfigError(f"scheduler = {scheduler!r}: expected tcp://host:port or 'local'.")
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if scheduler == "local":
            # One thread each; no limit of memory, at which Dask would pause a worker in the middle of a fit.
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=n_workers, threads_per_worker=1, processes=True, memory_limit=None,
                    dashboard_address=":0", silence_logs=logging.CRITICAL,
                )
            )  # fmt: skip
        try:
            client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(
                f"scheduler {scheduler!r}: no Dask scheduler answers ({reason}). Start one with `dask scheduler` and "
                "workers with `dask worker ADDRESS --nthreads 1`."
            ) from None
        # What it would say of a lost connection, traceback and all, `_result` says in a line.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        yield stack.enter_context(client)


def _versions() -> dict[str, str]:
    found = {}
    for package in ("crnn-weak", "keras", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _check_workers(client: Any) -> None:
    """Refuse workers with other versions: their numbers could be others, and their pickles are."""
    here = _versions()
    for worker, there in client.run(_versions).items():
        if there != here:
            raise RunError(f"worker {worker}: has {there}, expected {here}. Install the same versions everywhere.")


class _Watch:
    """Number of threads in the cluster at present."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._n_threads, self._asked = 1, -1e9
        self._logged = time.monotonic()

    def n_threads(self) -> int:
        """Return the worker threads, at least 1, asked for at most once a second."""
        now = time.monotonic()
        if now - self._asked > 1.0:
            self._asked = now
            try:
                n_threads = sum(self._client.nthreads().values())
            except OSError:
                raise RunError(_LOST) from None
            self._n_threads = max(1, n_threads)
            if not n_threads and now - self._logged > _LOG_EVERY:
                self._logged = now
                log.warning("%s: no workers yet; start some with `dask worker`", self._client.scheduler.address)
        return self._n_threads
