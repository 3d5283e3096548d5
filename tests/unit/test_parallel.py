"""Tasks in processes and on Dask: results, errors, lost workers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import helpers_tasks as tasks
import numpy as np
import pytest
from helpers import TINY, dataset_of

from crnn_weak.audio import write_audio
from crnn_weak.data.base import Clip
from crnn_weak.errors import ConfigError, DataError, DependencyError, RunError
from crnn_weak.features.build import build_store
from crnn_weak.parallel import run_tasks


class _Cluster:
    """A scheduler and workers as the documentation starts them, on the loopback interface."""

    def __init__(self, n_workers, *worker_options):
        distributed = pytest.importorskip("distributed", reason="Dask is an extra: pip install 'crnn-weak[dask]'")
        environment = {**os.environ, "PYTHONPATH": str(Path(tasks.__file__).parent), "PYTHONWARNINGS": "ignore"}
        options = {"env": environment, "text": True}
        dask = [sys.executable, "-m", "dask"]
        command = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
        said = (re.search(r"Scheduler at:\s+(tcp://\S+)", line) for line in self.scheduler.stderr)
        self.address = next(found[1] for found in said if found)
        command = [*dask, "worker", self.address, "--nthreads", "1", "--no-dashboard", *worker_options]
        self.workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) for _ in range(n_workers)]
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(n_workers, timeout=120)

    def close(self):
        for process in (*self.workers, self.scheduler):
            process.kill()  # a nanny that is replacing its worker does not end when asked
        for process in (*self.workers, self.scheduler):
            process.wait(timeout=30)
        self.scheduler.stderr.close()


@pytest.fixture(scope="module")
def cluster():
    cluster = _Cluster(3)
    yield cluster.address
    cluster.close()


@pytest.fixture(params=["processes", "Dask"])
def workers(request):
    """The options of `run_tasks` for two local processes, and for the cluster."""
    return {"jobs": 2, "scheduler": request.getfixturevalue("cluster") if request.param == "Dask" else None}


def _slow_tasks(tmp_path, n, **options):
    return [tasks.SlowTask(str(tmp_path / f"task-{i}"), **options) for i in range(n)]


def _assert_whole(slow_tasks, n_steps=5):
    for task in slow_tasks:
        steps = [int(line.split()[0]) for line in (Path(task.folder) / "lines.txt").read_text().splitlines()]
        assert steps == list(range(n_steps)), "a step is missing, or two processes wrote"


class TestBoth:
    def test_results_threads_and_progress(self, workers):
        polls = []
        found = dict(run_tasks(tasks.square, list(range(30)), on_poll=lambda: polls.append(1), **workers))
        assert found == {i: (i * i, "1") for i in range(30)}
        assert polls
        assert list(run_tasks(tasks.square, [], **workers)) == []

    def test_a_users_error_comes_through(self, workers):
        with pytest.raises(DataError, match=r"clip \d: there is no such clip"):
            list(run_tasks(tasks.refuse, [7, 8, 9], **workers))

    def test_lost_workers_cost_only_time(self, workers, tmp_path):
        """One task ends its worker in the middle, and one worker is killed from outside while it works."""
        slow = _slow_tasks(tmp_path, 8, step_seconds=0.1)
        slow[2] = tasks.SlowTask(slow[2].folder, n_kills=1, step_seconds=0.1)
        found, killed = {}, None
        for index, (name, pid) in run_tasks(tasks.slow, slow, **workers):
            assert index not in found
            found[index] = name
            if killed is None:
                killed = pid
                os.kill(pid, signal.SIGKILL)
        assert found == {i: f"task-{i}" for i in range(8)}
        _assert_whole(slow)


class TestProcesses:
    def test_the_last_round_shares_the_cpus(self, tmp_path):
        met = dict(run_tasks(tasks.meet, [str(tmp_path)] * 3, jobs=2, share_last=True))
        assert met == {0: True, 1: True, 2: True}

    def test_a_task_that_kills_every_worker_is_named(self, tmp_path):
        with pytest.raises(RunError, match="ended without an answer, 3 times"):
            list(run_tasks(tasks.slow, _slow_tasks(tmp_path, 1, n_kills=9), jobs=1))

    def test_workers_wait_while_nobody_takes_their_results(self, tmp_path):
        """A store is written by one process: where writing is slower than computing, nothing piles up."""
        results = run_tasks(Path.touch, [tmp_path / str(number) for number in range(60)], jobs=2)
        next(results)
        time.sleep(0.5)
        assert len(list(tmp_path.iterdir())) <= 8  # three for each of the two, and those that were taken
        results.close()

    @pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
    def test_workers_end_with_their_parent(self, tmp_path):
        """A killed grid leaves no worker that would write into its successor's folders. Signals: test_outside.py."""
        code = (
            "import sys, helpers_tasks\nfrom crnn_weak.parallel import run_tasks\n"
            "if __name__ == '__main__': list(run_tasks(helpers_tasks.sleep, [sys.argv[1]] * 3, jobs=2))\n"
        )
        (tmp_path / "parent.py").write_text(code)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(tasks.__file__).parent), *sys.path])}
        command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
        parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        tasks.wait_until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
        parent.kill()
        assert parent.wait(timeout=60) != 0
        workers = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
        tasks.wait_until(lambda: not any(_is_running(pid) for pid in workers))


def _is_running(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "zombie" not in status.read_text()


class TestDask:
    def test_a_feature_store_is_the_same_byte_for_byte(self, cluster, tmp_path):
        rng = np.random.default_rng(0)
        clips = [Clip("gone", "train", tmp_path / "gone.wav", ("rain",))]
        for i in range(8):
            path = tmp_path / f"clip-{i}.wav"
            write_audio(path, 0.1 * rng.standard_normal(16_000).astype(np.float32), 8_000)
            clips.append(Clip(path.stem, "train", path, ("bell",)))
        for name, scheduler in (("here.h5", None), ("dask.h5", cluster)):
            with build_store(dataset_of(clips), "train", TINY, tmp_path / name, scheduler=scheduler) as store:
                assert (store.counts["ok"], store.counts["missing"]) == (8, 1)
        assert (tmp_path / "here.h5").read_bytes() == (tmp_path / "dask.h5").read_bytes()

    def test_workers_take_over_folder_and_threads(self, cluster, tmp_path, monkeypatch):
        (tmp_path / "seen").touch()
        monkeypatch.chdir(tmp_path)
        (found,) = run_tasks(tasks.threads_and_folder, ["seen"], jobs=1, scheduler=cluster)
        assert found == (0, ("1", str(tmp_path), True))
        monkeypatch.setattr("os.getcwd", lambda: str(tmp_path / "unseen"))
        with pytest.raises(RunError, match=r"^worker .*does not see the folder .*unseen"):
            list(run_tasks(tasks.square, [1], jobs=1, scheduler=cluster))

    def test_another_error_is_tried_again(self, cluster, tmp_path):
        assert dict(run_tasks(tasks.stumble, [str(tmp_path)], jobs=1, scheduler=cluster)) == {0: 1}

    def test_a_grid_that_is_started_again_waits_for_what_still_runs(self, cluster, tmp_path):
        slow = _slow_tasks(tmp_path, 3, step_seconds=0.2)
        first = run_tasks(tasks.slow, slow, jobs=1, scheduler=cluster)
        next(first)
        first.close()
        assert sorted(dict(run_tasks(tasks.slow, slow, jobs=1, scheduler=cluster))) == [0, 1, 2]
        _assert_whole(slow)

    def test_a_lost_scheduler_is_an_error_and_no_loss(self, cluster, tmp_path):
        other = _Cluster(1)
        slow = _slow_tasks(tmp_path, 4, step_seconds=0.1)
        try:
            first = run_tasks(tasks.slow, slow, jobs=1, scheduler=other.address)
            next(first)
            other.scheduler.kill()
            with pytest.raises(RunError, match="connection to the Dask scheduler was lost"):
                list(first)
            assert len(dict(run_tasks(tasks.slow, slow, jobs=1, scheduler=cluster))) == 4
        finally:
            other.close()
        _assert_whole(slow)

    @pytest.mark.parametrize(
        ("options", "message"),
        [(["--no-nanny"], "lost all workers"), pytest.param([], "4 workers died under it", marks=pytest.mark.slow)],
    )
    def test_a_task_that_ends_every_worker_is_an_error(self, monkeypatch, tmp_path, options, message):
        """A worker without a nanny is gone; the others are replaced, until Dask blames the task."""
        monkeypatch.setattr("crnn_weak.parallel._WORKER_SECONDS", 1.0 if options else 60.0)
        other = _Cluster(2, *options)
        try:
            with pytest.raises(RunError, match=message):
                list(run_tasks(tasks.slow, _slow_tasks(tmp_path, 1, n_kills=9), jobs=1, scheduler=other.address))
        finally:
            other.close()

    @pytest.mark.parametrize(
        ("address", "error", "message"),
        [
            ("tcp://127.0.0.1:9", RunError, "no Dask scheduler answers"),
            ("local", ConfigError, "expected tcp://host:port"),
            (None, DependencyError, r"pip install 'crnn-weak\[dask\]'"),
        ],
    )
    def test_an_address_where_no_scheduler_is(self, monkeypatch, address, error, message):
        if address is None:
            monkeypatch.setitem(sys.modules, "distributed", None)
        else:
            pytest.importorskip("distributed")
        monkeypatch.setattr("crnn_weak.parallel._CONNECT_SECONDS", 0.5)
        with pytest.raises(error, match=message):
            list(run_tasks(tasks.square, [1], jobs=1, scheduler=address or "tcp://localhost:8786"))
