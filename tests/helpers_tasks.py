"""Tasks for the tests of parallel work: importable by worker processes, each writing into a folder of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.errors import DataError
from crnn_weak.files import lock


@dataclass(frozen=True)
class SlowTask:
    """Writes `n_steps` lines, one each `step_seconds`; resumes where it was; ends the worker `n_kills` times."""

    folder: str
    n_steps: int = 5
    step_seconds: float = 0.05
    n_kills: int = 0


def slow(task: SlowTask) -> tuple[str, int]:
    """Do the steps of a task that are not done; return its folder's name and the process that ended it."""
    folder = Path(task.folder)
    with lock(folder, wait=True):
        lines = folder / "lines.txt"
        done = len(lines.read_text().splitlines()) if lines.exists() else 0
        for step in range(done, task.n_steps):
            kills = len(list(folder.glob("killed-*")))
            if step == 2 and kills < task.n_kills:
                (folder / f"killed-{kills}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(task.step_seconds)
            with lines.open("a") as file:
                file.write(f"{step} {os.getpid()}\n")
    return folder.name, os.getpid()


def square(number: int) -> tuple[int, str]:
    return number * number, os.environ["OMP_NUM_THREADS"]


def sleep(folder: str) -> None:
    (Path(folder) / f"pid-{os.getpid()}").touch()
    time.sleep(300)


def threads_and_folder(name: str) -> tuple[str | None, str, bool]:
    return os.environ.get("OMP_NUM_THREADS"), os.getcwd(), Path(name).exists()


def refuse(number: int) -> None:
    raise DataError(f"clip {number}: there is no such clip.")


def stumble(folder: str) -> int:
    """Fail for no fault of the user's, once; then succeed."""
    marks = len(list(Path(folder).glob("try-*")))
    (Path(folder) / f"try-{marks}").touch()
    if marks == 0:
        raise OSError("the network file system was away for a moment")
    return marks


def hold(folder: str, seconds: float) -> None:
    """Own a folder for a while; the file ``held`` appears when it is ours."""
    with lock(folder):
        (Path(folder) / "held").touch()
        time.sleep(seconds)


def meet(folder: str) -> bool:
    """Return when three tasks run at once."""
    (Path(folder) / f"here-{os.getpid()}").touch()
    wait_until(lambda: len(list(Path(folder).glob("here-*"))) == 3)
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)
