"""A store whose building is killed, and one whose half-built file is damaged: it goes on, and ends up the same."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import TINY, ListDataset

from crnn_weak.audio import write_audio
from crnn_weak.data.base import Clip
from crnn_weak.errors import FeatureStoreError
from crnn_weak.features.layout import STATUS
from crnn_weak.features.store import build_store, verify_store
from crnn_weak.labels.events import Event

N_CLIPS = 120
# Builds the store in a process of its own; each chunk takes its time, so that there is a middle to be killed in.
SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {helpers!r})
from test_store_resume import TINY, dataset
from crnn_weak.features.store import build_store

def slowly(function, chunks):
    for chunk in chunks:
        yield function(chunk)
        time.sleep(0.05)

how = dict(map_chunks=slowly) if sys.argv[3] == "slow" else dict(jobs=2)
build_store(dataset(Path(sys.argv[1])), "train", TINY, sys.argv[2], **how)
"""


def dataset(folder: Path) -> ListDataset:
    """120 clips, one of them without a file; the audio is made where it is missing."""
    clips = []
    for index in range(N_CLIPS):
        path = folder / f"{index}.wav"
        if index != 50 and not path.exists():
            sound = np.random.default_rng(index).standard_normal(16_000 if index % 7 else 9_000) / 10
            write_audio(path, sound, TINY.sample_rate_hz)
        clips.append(Clip(f"clip {index}", "train", path, ("rain",), (Event(0.0, 1.0, "rain"),)))
    return ListDataset(clips)


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path / "audio")


@pytest.fixture
def whole(data, tmp_path):
    """The bytes of a store that nothing interrupted."""
    build_store(data, "train", TINY, tmp_path / "whole.h5").close()
    return (tmp_path / "whole.h5").read_bytes()


def _start(tmp_path: Path, path: Path, how: str) -> subprocess.Popen:
    script = SCRIPT.format(helpers=str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "audio"), str(path), how], env=environment, start_new_session=True
    )


def _n_done(partial: Path) -> int:
    if not partial.exists():
        return -1
    with h5py.File(partial, "r", locking=False) as file:
        return int((file["status"][:] != STATUS["pending"]).sum())


@pytest.mark.slow
def test_killed_again_and_again_it_ends_up_the_same(data, whole, tmp_path):
    path = tmp_path / "features.h5"
    partial = tmp_path / "features.h5.partial"
    reached = []
    for share in (0.0, 0.3, 0.8):
        process = _start(tmp_path, path, "slow")
        deadline = time.monotonic() + 60
        while _n_done(partial) < share * N_CLIPS and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not path.exists()
        reached.append(_n_done(partial))
        with pytest.raises(FeatureStoreError, match=r"unfinished, \d+ of 120 clips are pending"):
            build_store(data, "train", TINY, _as_finished(partial))
    assert reached == sorted(reached)
    assert reached[-1] < N_CLIPS
    computed = []

    def counting(function, chunks):
        for chunk in chunks:
            computed.extend(row for row, _ in chunk)
            yield function(chunk)

    build_store(data, "train", TINY, path, map_chunks=counting)
    assert 0 < len(computed) <= N_CLIPS - reached[-1] + 1  # and the clip without a file is looked for again
    assert path.read_bytes() == whole
    verify_store(path, TINY)
    assert not partial.exists()


def _as_finished(partial: Path) -> Path:
    """A copy of a half-built file under a finished file's name, which no crash leaves behind."""
    copy = partial.with_name("claims-to-be-finished.h5")
    copy.write_bytes(partial.read_bytes())
    return copy


def test_killed_with_its_workers_it_goes_on(data, whole, tmp_path):
    path = tmp_path / "features.h5"
    for seconds in (1.5, 2.0):
        process = _start(tmp_path, path, "workers")
        time.sleep(seconds)  # anywhere from importing to finished, by the machine's mood
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    build_store(data, "train", TINY, path, jobs=2)
    assert path.read_bytes() == whole


def test_a_torn_row_is_computed_again(data, whole, tmp_path, caplog):
    """Power failed: a status has reached the disk and its row has not."""
    path = tmp_path / "features.h5"
    partial = tmp_path / "features.h5.partial"
    _half_built(data, path)
    with h5py.File(partial, "r+") as file:
        file["log_mel"][3, 5:] = 0.0
        file["duration"][6] = 1.0
    build_store(data, "train", TINY, path)
    assert "2 rows were damaged and are computed again" in caplog.text
    assert path.read_bytes() == whole


def _half_built(data, path, features=TINY):
    with pytest.raises(FeatureStoreError, match="came back from no worker"):
        build_store(data, "train", features, path, map_chunks=lambda function, chunks: map(function, chunks[:5]))


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "settings", "clips"])
def test_a_useless_partial_file_is_replaced_with_a_warning(data, whole, tmp_path, caplog, damage):
    path = tmp_path / "features.h5"
    partial = tmp_path / "features.h5.partial"
    if damage == "settings":
        _half_built(data, path, dataclasses.replace(TINY, n_mels=5))
    elif damage == "clips":
        _half_built(dataclasses.replace(data, fingerprint="other"), path)
    else:
        _half_built(data, path)
        content = partial.read_bytes()
        partial.write_bytes({"text": b"no HDF5" * 1000, "cut": content[: len(content) // 2], "empty": b""}[damage])
    build_store(data, "train", TINY, path)
    assert "starting again" in caplog.text
    assert path.read_bytes() == whole


def test_an_error_in_the_middle_keeps_what_was_done(data, whole, tmp_path):
    path = tmp_path / "features.h5"

    def interrupted(function, chunks):
        yield from map(function, chunks[:4])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(data, "train", TINY, path, map_chunks=interrupted)
    assert _n_done(tmp_path / "features.h5.partial") == 32
    build_store(data, "train", TINY, path)
    assert path.read_bytes() == whole


def test_a_second_build_of_one_store_waits_for_the_first(data, whole, tmp_path):
    path = tmp_path / "features.h5"
    process = _start(tmp_path, path, "slow")
    try:
        deadline = time.monotonic() + 60
        while _n_done(tmp_path / "features.h5.partial") < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None

        def never(function, chunks):
            raise AssertionError("the first build has made every row")

        build_store(data, "train", TINY, path, map_chunks=never)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert path.read_bytes() == whole
