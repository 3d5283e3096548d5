"""Tasks on several processes of this machine."""

import os
import subprocess
import sys
import time

import pytest

from crnn_weak.parallel import default_jobs, run_tasks


def square(number):
    return number * number, os.environ["OMP_NUM_THREADS"]


def fail(number):
    if number == 2:
        raise ValueError("task 2 fails")
    return number


def test_every_task_gives_its_result():
    polls = []
    results = dict(run_tasks(square, [1, 2, 3], jobs=2, on_poll=lambda: polls.append(1)))
    assert results == {0: (1, "1"), 1: (4, "1"), 2: (9, "1")}
    assert polls


def test_no_tasks_need_no_processes():
    assert list(run_tasks(square, [], jobs=2)) == []


def test_a_task_that_fails_is_heard_of():
    with pytest.raises(ValueError, match="task 2 fails"):
        list(run_tasks(fail, [1, 2, 3], jobs=1))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_workers_end_with_their_parent(tmp_path):
    """A grid that is killed leaves no worker behind that would write beside its successor."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from crnn_weak.parallel import run_tasks\n"
        "def work(folder):\n"
        "    open(os.path.join(folder, 'pid'), 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(run_tasks(work, [sys.argv[1]], jobs=1))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, 9)
    pytest.fail("the worker outlived its parent")


def leave_a_file(path):
    path.touch()


def test_workers_wait_while_nobody_takes_their_results(tmp_path):
    """A store is written by one process: where writing is slower than computing, nothing piles up."""
    results = run_tasks(leave_a_file, [tmp_path / str(number) for number in range(60)], jobs=2)
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 8  # three for each of the two, and those that were taken
    results.close()


def test_there_is_at_least_one_job():
    assert default_jobs() >= 1
