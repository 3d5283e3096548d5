"""The map over worker processes: lost workers, lost parents, errors, back pressure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crnn_weak.errors import RunError
from crnn_weak.features import extract
from crnn_weak.features.extract import map_in_processes

# Chunks are plain numbers here: the map does not look into them.
SCRIPT = """
import os, sys, time
sys.path.insert(0, {folder!r})
from test_extract_workers import slow
from crnn_weak.features.extract import map_in_processes
for process in map_in_processes(2)(slow, range(100)):
    print(process, flush=True)
"""


def slow(_):
    time.sleep(0.2)
    return os.getpid()


def square(number):
    return os.getpid(), os.environ["OMP_NUM_THREADS"], number * number


class KillsItsWorkerOnce:
    def __init__(self, marker: Path):
        self.marker = marker

    def __call__(self, number):
        if number == 5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def kill_worker(_):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number):
    raise ZeroDivisionError(f"chunk {number}")


def test_one_job_stays_in_this_process():
    assert {process for process in map_in_processes(1)(lambda _: os.getpid(), range(5))} == {os.getpid()}


def test_workers_have_one_thread_each_and_every_chunk_is_done_once():
    results = list(map_in_processes(2)(square, range(40)))
    assert sorted(result for _, _, result in results) == [number * number for number in range(40)]
    assert {threads for _, threads, _ in results} == {"1"}
    assert os.getpid() not in {process for process, _, _ in results}


def test_a_lost_worker_costs_no_chunk(tmp_path):
    results = list(map_in_processes(2)(KillsItsWorkerOnce(tmp_path / "killed"), range(20)))
    assert sorted(results) == list(range(20))
    assert (tmp_path / "killed").exists()


def test_workers_that_always_die_are_given_up(monkeypatch):
    monkeypatch.setattr(extract, "_ROUNDS", 2)
    with pytest.raises(RunError, match="2 times in a row"):
        list(map_in_processes(2)(kill_worker, range(4)))


def test_a_bug_in_a_worker_keeps_its_type():
    with pytest.raises(ZeroDivisionError, match="chunk"):
        list(map_in_processes(2)(fail, range(4)))


class Leaves:
    """Leaves a file for every chunk that was computed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, number):
        (self.folder / str(number)).touch()


def test_workers_wait_while_nobody_takes_their_results(tmp_path):
    results = map_in_processes(2)(Leaves(tmp_path), range(60))
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 7  # three for each of the two, and the one that was taken
    results.close()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
def test_workers_end_with_their_killed_parent():
    script = SCRIPT.format(folder=str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        workers = {int(parent.stdout.readline()) for _ in range(4)}
        parent.kill()
    deadline = time.monotonic() + 20
    while (alive := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive
