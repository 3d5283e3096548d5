"""A store whose build is killed, and one whose half-built file is damaged: the build resumes, and ends up the same."""

import dataclasses
import multiprocessing
import signal
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import TINY, dataset_of
from helpers_tasks import wait_until

from crnn_weak.audio import write_audio
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.errors import FeatureStoreError
from crnn_weak.features import build
from crnn_weak.features.build import build_store
from crnn_weak.features.store import STATUS, FeatureStore
from crnn_weak.labels.events import Event

N_CLIPS = 120


def dataset(folder: Path) -> Dataset:
    """120 clips, one of them without a file; the audio is written where it is missing."""
    clips = []
    for index in range(N_CLIPS):
        path = folder / f"{index}.wav"
        if index != 50 and not path.exists():
            sound = np.random.default_rng(index).standard_normal(16_000 if index % 7 else 9_000) / 10
            write_audio(path, sound, TINY.sample_rate_hz)
        clips.append(Clip(f"clip {index}", "train", path, ("rain",), (Event(0.0, 1.0, "rain"),)))
    return dataset_of(clips)


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    return tmp_path_factory.mktemp("audio")


@pytest.fixture(scope="module")
def data(audio):
    return dataset(audio)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The bytes of a store that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "features.h5"
    build_store(data, "train", TINY, path)
    return path.read_bytes()


def build_with(run, data, path, features=TINY):
    """Build with ``run(function, chunks)``, which yields outcomes, in place of worker processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "map_tasks", lambda function, chunks, **options: run(function, chunks))
        build_store(data, "train", features, path, jobs=2)


def _build_slowly(audio: Path, path: Path) -> None:
    def slowly(function, chunks, **options):
        for chunk in chunks:
            yield function(chunk)
            time.sleep(0.05)

    build.map_tasks = slowly
    build_store(dataset(audio), "train", TINY, path, jobs=2)


def _start(audio: Path, path: Path) -> SpawnProcess:
    """Build the store in a process of its own, and slowly: there is a middle to be killed."""
    process = multiprocessing.get_context("spawn").Process(target=_build_slowly, args=(audio, path))
    process.start()
    return process


def _n_done(partial: Path) -> int:
    if not partial.exists():
        return -1
    with h5py.File(partial, "r", locking=False) as file:
        return int((file["status"][:] != STATUS["pending"]).sum())


def _wait_until_done(partial: Path, n_clips: float, process: SpawnProcess) -> None:
    wait_until(lambda: _n_done(partial) >= n_clips or not process.is_alive(), seconds=300)


def test_killed_again_and_again_it_ends_up_the_same(audio, data, whole, tmp_path):
    path, partial = tmp_path / "features.h5", tmp_path / "features.h5.partial"
    reached = []
    for share in (0.2, 0.6):
        process = _start(audio, path)
        _wait_until_done(partial, share * N_CLIPS, process)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not path.exists()
        reached.append(_n_done(partial))
    assert reached[0] <= reached[1] < N_CLIPS
    # A half-built file under a finished file's name, which no crash leaves.
    copy = tmp_path / "claims-to-be-finished.h5"
    copy.write_bytes(partial.read_bytes())
    with pytest.raises(FeatureStoreError, match=r"unfinished, \d+ of 120 clips are pending"):
        FeatureStore(copy)
    computed = []

    def counting(function, chunks):
        for chunk in chunks:
            computed.extend(row for row, _ in chunk)
            yield function(chunk)

    build_with(counting, data, path)
    assert 0 < len(computed) <= N_CLIPS - reached[-1] + 1  # the clip without a file is looked for again
    assert path.read_bytes() == whole
    assert not partial.exists()


@pytest.mark.parametrize("damage", ["none", "torn rows", "text", "cut", "settings", "clips"])
def test_a_half_built_file_is_resumed_mended_replaced_with_a_warning_or_refused(data, whole, tmp_path, caplog, damage):
    path, partial = tmp_path / "features.h5", tmp_path / "features.h5.partial"
    changed = dataclasses.replace(data, fingerprint="other") if damage == "clips" else data
    features = dataclasses.replace(TINY, n_mels=5) if damage == "settings" else TINY

    def interrupted(function, chunks):
        yield from map(function, chunks[:5])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_with(interrupted, changed, path, features)
    assert _n_done(partial) == 40
    content = partial.read_bytes()
    if damage == "torn rows":  # power failed: a status has reached the disk and its row has not
        with h5py.File(partial, "r+") as file:
            file["log_mel"][3, 5:] = 0.0
            file["duration"][6] = 1.0
    elif damage in ("text", "cut"):  # another's file, perhaps
        partial.write_bytes({"text": b"no HDF5" * 1000, "cut": content[: len(content) // 2]}[damage])
        kept = partial.read_bytes()
        with pytest.raises(FeatureStoreError, match=r"cannot be resumed, .* Delete it"):
            build_store(data, "train", TINY, path)
        assert partial.read_bytes() == kept
        return
    with caplog.at_level("INFO"):
        build_store(data, "train", TINY, path)
    messages = {"none": "40 of 120 clips are done", "torn rows": "2 rows were damaged and are computed again"}
    assert messages.get(damage, "starting again") in caplog.text
    assert path.read_bytes() == whole


def test_a_second_build_of_one_store_waits_for_the_first(audio, data, whole, tmp_path):
    path = tmp_path / "features.h5"
    process = _start(audio, path)
    try:
        _wait_until_done(tmp_path / "features.h5.partial", 1, process)
        assert process.is_alive()

        def never(function, chunks):
            raise AssertionError("the first build has filled every row")

        build_with(never, data, path)
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
    assert path.read_bytes() == whole
