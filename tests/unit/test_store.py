"""The feature store: content, reading, refusals."""

import dataclasses
import errno
import json
import multiprocessing
import os
import pickle
import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from helpers import TINY, dataset_of, make_store
from mutations import damage_bytes

from crnn_weak.audio import write_audio
from crnn_weak.config import PRESETS
from crnn_weak.data.base import Clip
from crnn_weak.errors import ClipError, DataError, FeatureStoreError, LabelError
from crnn_weak.features.build import ClipFeatures, build_store, extract_clip
from crnn_weak.features.hdf5 import write_names
from crnn_weak.features.log_mel import Scaler, log_mel
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.events import Event

RATE = TINY.sample_rate_hz


def _audio(seed: int, seconds: float = 2.0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) / 10
    return (np.rint(samples * 32768) / 32768).astype(np.float32)


@pytest.fixture
def dataset(tmp_path):
    """Six clips: two whole, one short, one with a damaged file, one missing, one whole without events."""
    folder = tmp_path / "audio"
    clips = []
    for index, seconds in enumerate([2.0, 2.0, 1.25, 2.0, 2.0, 2.5]):
        path = folder / f"{index}.wav"
        write_audio(path, _audio(index, seconds), RATE)
        events = (Event(0.25, 1.0, "drill"), Event(0.0, 0.0, "bell")) if index != 5 else None
        clips.append(Clip(f"--clip {index}", "train", path, ("bell", "drill"), events))
    (folder / "3.wav").write_bytes(b"RIFF, but no sound")
    (folder / "4.wav").unlink()
    return dataset_of(clips)


def test_a_store_holds_what_the_clips_hold(dataset, tmp_path):
    with build_store(dataset, "train", TINY, tmp_path / "new" / "features.h5") as store:
        assert store.clip_ids == ("--clip 0", "--clip 1", "--clip 2", "--clip 5")
        assert store.counts == {"ok": 3, "short": 1, "missing": 1, "unreadable": 1}
        assert (len(store), store.n_listed, store.coverage) == (4, 6, "4 of 6 clips")
        assert store.durations.tolist() == [2.0, 2.0, 1.25, 2.5]
        assert store.classes == dataset.classes
        assert store.tags.tolist() == [[True, True, False]] * 4
        assert not store.has_events
        assert set(store.events) == {"--clip 0", "--clip 1", "--clip 2"}
        assert store.events["--clip 2"] == (Event(0.25, 1.0, "drill"), Event(0.0, 0.0, "bell"))
        assert (store.split, store.provenance, store.features) == ("train", dataset.provenance, TINY)
        assert [entry[:2] for entry in store.skipped] == [("--clip 3", "unreadable"), ("--clip 4", "missing")]
        assert "3.wav" in store.skipped[0][2]
        assert str(tmp_path) not in store.skipped[0][2]
        found = store.read(range(4))
    for index, (row, seconds) in enumerate([(0, 2.0), (1, 2.0), (2, 1.25), (5, 2.5)]):
        padded = np.zeros(2 * RATE, np.float32)
        sound = _audio(row, seconds)[: 2 * RATE]
        padded[: len(sound)] = sound
        np.testing.assert_array_equal(found[index], log_mel(padded, TINY))
    with h5py.File(store.path) as file:
        assert np.isnan(file["log_mel"][3:5]).all()  # of clips that were not read
        assert file["tags"].dtype == np.uint8
        assert file["log_mel"].chunks is None


def test_processes_make_the_same_file(dataset, tmp_path):
    clips = dataset.clips("train")
    more = dataset_of([*clips, *(dataclasses.replace(clips[0], clip_id=f"c{i}") for i in range(20))])
    for name, data, jobs in (("fewer", dataset, 1), ("one", more, 1), ("two", more, 2)):
        build_store(data, "train", TINY, tmp_path / f"{name}.h5", jobs=jobs)
    contents = [(tmp_path / f"{name}.h5").read_bytes() for name in ("one", "two", "fewer")]
    assert contents[0] == contents[1] != contents[2]
    assert not list(tmp_path.glob("*.partial"))


def test_any_rows_in_any_order_and_that_of_a_clip_found_or_explained(tmp_path):
    with make_store(tmp_path, n_clips=24, unreadable=[2]) as store:
        with h5py.File(store.path) as file:
            readable = np.delete(file["log_mel"][:], 2, axis=0)
        for rows in ([], [5, 5, 5], [7, 0, 7, 1, 2, 3, 22, 21], range(23), range(22, -1, -1)):
            found = store.read(rows)
            assert found.shape == (len(rows), TINY.n_frames, TINY.n_mels)
            assert found.dtype == np.float32
            assert found.flags.writeable
            np.testing.assert_array_equal(found, readable[np.array(rows, dtype=np.int32)])
        for wrong in ([23], [-1]):
            with pytest.raises(IndexError):
                store.read(wrong)
        assert store.row("clip-00003") == 2
        with pytest.raises(ClipError, match=r"'clip-00002' is unreadable \(made unreadable\)"):
            store.row("clip-00002")
        with pytest.raises(ClipError, match="Did you mean 'clip-000"):
            store.row("clip-0003")


def _read_in_child(store, connection):
    connection.send((os.getpid(), store.read([4, 1])))


def test_threads_forks_and_pickles_read_the_same(tmp_path):
    store = make_store(tmp_path, n_clips=40)
    expected = store.read(range(40))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(40) for _ in range(60)]
    with ThreadPoolExecutor(4) as pool:
        for order, found in zip(orders, pool.map(store.read, orders), strict=True):
            np.testing.assert_array_equal(found, expected[order])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read([3]), expected[[3]])
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_read_in_child, args=(store, sender))
    child.start()
    process, found = receiver.recv()
    child.join()
    assert process != os.getpid()
    np.testing.assert_array_equal(found, expected[[4, 1]])
    store.close()
    np.testing.assert_array_equal(store.read([3]), expected[[3]])  # opens again


def test_a_finished_store_is_kept_and_another_is_refused(dataset, tmp_path, caplog):
    path = tmp_path / "features.h5"
    build_store(dataset, "train", TINY, path)
    before = (path.stat().st_mtime_ns, path.read_bytes())
    build_store(dataset, "train", TINY, path)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    others = {
        "n_mels 8 \\(expected 10\\)": (dataset, dataclasses.replace(TINY, n_mels=10)),
        "other clips or labels": (dataset_of(dataset.clips("train")[:3]), TINY),
        "other clips": (dataclasses.replace(dataset, fingerprint="of another seed"), TINY),
    }
    for message, (data, features) in others.items():
        with pytest.raises(FeatureStoreError, match=message) as error:
            build_store(data, "train", features, path)
        assert "--overwrite" in str(error.value)
    write_audio(dataset.clips("train")[4].path, _audio(4), RATE)
    build_store(dataset, "train", TINY, path)
    assert "1 clips were missing and exist now" in caplog.text
    assert path.read_bytes() == before[1]
    with build_store(dataset, "train", dataclasses.replace(TINY, n_mels=10), path, overwrite=True) as store:
        assert store.features.n_mels == 10
        assert store.counts["missing"] == 0


@pytest.mark.parametrize(
    ("rows", "changes", "error", "message"),
    [
        ([], {}, DataError, "lists no clips"),
        ([3, 4], {}, DataError, r"none of the 2 clips .*\(--clip 3: unreadable, 3\.wav.*--clip 4: missing"),
        ([0, 0], {}, DataError, "'--clip 0' twice"),
        ([0], {"tags": ("dril",)}, LabelError, "Did you mean 'drill'"),
    ],
)
def test_a_refused_build_leaves_nothing(dataset, tmp_path, rows, changes, error, message):
    path = tmp_path / "out" / "features.h5"
    clips = [dataclasses.replace(dataset.clips("train")[row], **changes) for row in rows]
    with pytest.raises(error, match=message):
        build_store(dataset_of(clips), "train", TINY, path)
    assert list(path.parent.glob("[!.]*")) == []


def test_infinite_features_are_not_stored(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.wav", _audio(0), RATE)
    infinite = np.full(2 * RATE, np.inf, np.float32)
    monkeypatch.setattr("crnn_weak.features.build.load_clip", lambda *_, **__: (infinite, 2.0))
    with np.errstate(all="ignore"):
        found = extract_clip(Clip("a", "train", tmp_path / "a.wav", ()), TINY)
    assert (found.log_mel, found.status) == (None, "unreadable")
    assert "not finite" in found.message


def test_a_full_disk_is_noticed_before_the_work(dataset, tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_space, raising=False)
    with pytest.raises(FeatureStoreError, match=r"cannot be written \(No space left on device"):
        build_store(dataset, "train", TINY, tmp_path / "features.h5")
    assert list(tmp_path.glob("*.[hp]*")) == []


@pytest.mark.slow
def test_the_memory_of_a_large_store_is_that_of_a_few_blocks(tmp_path, monkeypatch):
    features = PRESETS["quick"].features

    def numbered(_, chunks, **options):
        """Give each clip the number of its row for its features."""
        for chunk in chunks:
            yield [(row, ClipFeatures(np.full((100, 40), row, np.float32), "ok", 2.0, "")) for row, _ in chunk]

    monkeypatch.setattr("crnn_weak.features.build.map_tasks", numbered)
    data = dataset_of([Clip(f"clip {row}", "train", None, ("bell",), ()) for row in range(20_000)])
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        # 100 x 40 float32 are 16 kB a clip, 320 MB in all.
        store = build_store(data, "train", features, tmp_path / "features.h5", jobs=2)
        for _ in range(700):  # the set once over
            rows = rng.integers(0, 20_000, 32)
            np.testing.assert_array_equal(store.read(rows)[:, ::99, 0], np.repeat(rows[:, None], 2, axis=1))
        Scaler.fit(store)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
        (tmp_path / "features.h5").unlink()


def _contents(path):
    """Return everything that a model would be trained on."""
    with FeatureStore(path, TINY) as store:
        facts = (store.clip_ids, store.classes, store.tags.tobytes(), store.durations.tobytes(), store.events)
        return pickle.dumps((*facts, store.counts)), store.read(range(len(store))).tobytes()


def _set(path, name, value):
    with h5py.File(path, "r+") as file:
        if name in file:
            file[name][0] = value
        else:
            facts = json.loads(file["header"][0]) | {name: value}
            del file["header"]
            write_names(file, "header", [json.dumps(facts)])


def _ask(path, name, kind):
    """Let a store state an array of 64 GiB."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, (2**32, 16), kind, chunks=(2**10, 16))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: _set(path, "split", "test"), "not those it was written with.*--overwrite"),
        (lambda path: _set(path, "status", 99), "unknown row status.*--overwrite"),
        (lambda path: _set(path, "schema", 99), "schema 99.*--overwrite"),
        (lambda path: _set(path, "kind", "x"), "not a feature store"),
        (lambda path: _ask(path, "tags", "u1"), "tags states 68,719,476,736 bytes.*--overwrite"),
        (lambda path: _ask(path, "classes", h5py.string_dtype()), "classes has the type object.*--overwrite"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file.*--overwrite"),
        (lambda path: path.write_bytes(b"onset\n" * 100), "no HDF5 file.*--overwrite"),
        (lambda path: path.write_bytes(b""), "no HDF5 file.*--overwrite"),
        (lambda path: path.unlink(), "no such feature store"),
    ],
)
def test_a_damaged_store_is_refused_with_the_cure(tmp_path, damage, message):
    path = make_store(tmp_path, n_clips=4).path
    damage(path)
    with pytest.raises(FeatureStoreError, match=f"{path}: .*{message}"):
        FeatureStore(path)


def test_a_store_of_changed_bytes_is_refused_in_one_line_or_the_same(tmp_path):
    path = make_store(tmp_path, n_clips=24, unreadable=[3]).path
    whole, wanted = path.read_bytes(), _contents(path)
    counts = {"refused": 0, "same": 0, "found by reading": 0}
    for seed in range(300):
        rng = random.Random(seed)
        # The HDF5 library loops for ever over some damaged structures, so the damage begins after its first objects.
        end = 16_384 if rng.random() < 0.5 else len(whole)
        path.write_bytes(whole[:2_048] + damage_bytes(whole[2_048:end], rng) + whole[end:])
        try:
            assert _contents(path) == wanted, f"seed {seed}: other features or labels"
            counts["same"] += 1
        except FeatureStoreError as error:
            text = str(error)
            assert "\n" not in text, seed
            assert str(path) in text, seed
            assert "build" in text.lower() or "expected" in text or "not a feature store" in text, (seed, text)
            counts["found by reading" if "the row of clip" in text else "refused"] += 1
    assert min(counts.values()) > 5, counts


def test_a_store_cut_while_it_is_read_is_an_error_and_not_garbage(tmp_path):
    store = make_store(tmp_path, n_clips=4)
    with h5py.File(store.path) as file:
        end = file["log_mel"].id.get_offset() + file["log_mel"].id.get_storage_size()
    os.truncate(store.path, end - 100)
    with pytest.raises(FeatureStoreError, match="cut short after it was opened"):
        store.read([3])


def test_a_store_that_is_rebuilt_while_it_is_read_stays_what_it_was(dataset, tmp_path):
    path = tmp_path / "features.h5"
    store = build_store(dataset, "train", TINY, path)
    before, copy = store.read(range(4)), pickle.dumps(store)
    build_store(dataset_of(dataset.clips("train")[::-1]), "train", TINY, path, overwrite=True)
    np.testing.assert_array_equal(store.read(range(4)), before)
    with pytest.raises(FeatureStoreError, match="replaced by another store"):
        pickle.loads(copy).read([0])
