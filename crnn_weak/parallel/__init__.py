"""Run independent tasks on local processes or on a Dask cluster.

A task is a picklable function of one picklable argument that writes its results to files of its own and returns
something small. A worker that dies costs only time: its tasks are run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from crnn_weak.parallel.local import default_jobs, limit_threads, run_on_pool

__all__ = ["dask_map", "default_jobs", "limit_threads", "run_tasks"]


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    jobs: int,
    n_threads: int = 1,
    on_poll: Callable[[], None] | None = None,
    poll_seconds: float = 1.0,
    scheduler: str | None = None,
    retries: int = 2,
    share_last: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each task as it ends.

    Parameters
    ----------
    function : callable
        Importable by name from a new process.
    tasks : sequence
        One argument for each call.
    jobs : int
        Worker processes; each serves several tasks, so that imports and compilation are paid once. On a Dask cluster
        that is there already, its workers count and not `jobs`.
    n_threads : int
        Threads for the numerical libraries of each worker.
    on_poll : callable, optional
        Called about every `poll_seconds` while waiting, to show progress.
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://host:port``), or ``local`` for a Dask cluster of `jobs` processes on this
        machine; None for processes without Dask.
    retries : int
        How often Dask runs a task again that raised something other than an error the user can mend.
    share_last : bool
        For long tasks without Dask: if at most half of the workers would have a task in the last round, those tasks
        begin with the round before, in workers of their own, and share its CPUs. Seven tasks of equal length on two
        CPUs then take 3.5 times as long as one, not 4.

    Raises
    ------
    CrnnWeakError
        What a task raised, for the user to mend.
    RunError
        Workers keep dying; or no scheduler answers.
    DependencyError
        `scheduler` is given and Dask is not installed.
    Exception
        Whatever else a task raised; tasks that had not begun are given up.
    """
    if not tasks:
        return
    if scheduler is not None:
        from crnn_weak.parallel.dask import run_on_dask

        yield from run_on_dask(
            function, tasks, scheduler=scheduler, jobs=jobs, n_threads=n_threads, on_poll=on_poll,
            poll_seconds=poll_seconds, retries=retries,
        )  # fmt: skip
        return
    yield from run_on_pool(
        function, tasks, jobs=jobs, n_threads=n_threads, on_poll=on_poll, poll_seconds=poll_seconds,
        share_last=share_last,
    )  # fmt: skip


def dask_map(scheduler: str, *, jobs: int | None = None) -> Callable[[Callable[[Any], Any], Sequence[Any]], Any]:
    """Return ``map_chunks(function, chunks)`` for `crnn_weak.features.store.build_store`, on a Dask cluster.

    A few chunks for each worker are under way at a time, so that neither the cluster nor this process ever holds
    more than those: 100 million clips are mapped in the memory of a thousand.

    Parameters
    ----------
    scheduler : str
        ``tcp://host:port``, or ``local`` for a cluster of `jobs` processes (by default one for each CPU).
    """

    def map_chunks(function: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
        for _, result in run_tasks(function, chunks, jobs=jobs or default_jobs(), scheduler=scheduler):
            yield result

    return map_chunks
