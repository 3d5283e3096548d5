"""Many runs at once, in local processes or on Dask, with one progress bar over all their epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from crnn_weak.errors import RunError
from crnn_weak.parallel import run_tasks
from crnn_weak.run_files import read_history
from crnn_weak.runs.train_and_score import RunTask, is_complete, is_done, train_and_score

__all__ = ["train_all"]

log = logging.getLogger(__name__)


def train_all(tasks: Sequence[RunTask], *, jobs: int = 1, scheduler: str | None = None, progress: bool = False) -> None:
    """Train and score the runs that are not complete yet.

    Parameters
    ----------
    tasks : sequence of RunTask
    jobs : int
        Processes, one run and one thread each; up to half as many more in the last round.
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://...``), or ``local``.
    progress : bool
        Show a bar.

    Raises
    ------
    RunError
        A folder holds a run of other data, other classes or another configuration.
    """
    waiting = [task for task in tasks if not is_done(task)]
    if not waiting:
        return
    log.info("training: %d of %d runs to do, %d at a time", len(waiting), len(tasks), min(jobs, len(waiting)))
    options: dict[str, Any] = {"share_last": True} if scheduler is None else {"scheduler": scheduler}
    with _Progress(waiting, progress) as shown:
        for index, metrics in run_tasks(train_and_score, waiting, jobs=jobs, on_poll=shown.poll, **options):
            shown.finished(waiting[index], metrics)


class _Progress:
    """One bar over all epochs of all runs, read from their history files."""

    def __init__(self, tasks: Sequence[RunTask], progress: bool) -> None:
        self._tasks = tasks
        self._before = [self._n_done(task) for task in tasks]
        self._total = sum(task.config.training.epochs for task in tasks) - sum(self._before)
        self._done_now = 0
        self._bar = tqdm(total=self._total, unit="epoch", desc="training", disable=not progress, smoothing=0.1)
        self._began = time.perf_counter()
        self._n_finished = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def _n_done(self, task: RunTask) -> int:
        try:
            return len(read_history(task.files.history).get("epoch", ()))
        except RunError:
            return 0

    def poll(self) -> None:
        """Read how far the runs are; one that stopped early counts as whole."""
        done = 0
        for task, before in zip(self._tasks, self._before, strict=True):
            epochs = task.config.training.epochs if is_complete(task.files) else self._n_done(task)
            done += max(0, epochs - before)
        self._bar.update(done - self._done_now)
        self._done_now = done

    def finished(self, task: RunTask, metrics: dict[str, Any]) -> None:
        """Log a finished run and an estimate of the time left, by the epochs done and to do."""
        self.poll()
        self._n_finished += 1
        elapsed = time.perf_counter() - self._began
        left = elapsed / max(1, self._done_now) * (self._total - self._done_now)
        weights, tagging, segment = task.config.loss_weights, metrics["tagging"], metrics["segment"]
        detection = "" if segment is None else f", SED ER {segment['error_rate']:.2f} F {100 * segment['f_score']:.1f}"
        with self._beside_the_bar():
            log.info(
                "strong %g weak %g seed %d: tagging F %.1f%s (%d of %d runs, %.0f s, about %.0f s left)",
                weights.strong, weights.weak, task.config.training.seed, 100 * tagging["f_score"], detection,
                self._n_finished, len(self._tasks), elapsed, left,
            )  # fmt: skip

    @contextmanager
    def _beside_the_bar(self) -> Iterator[None]:
        self._bar.clear()
        yield
        self._bar.refresh()
