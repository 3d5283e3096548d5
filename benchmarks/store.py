"""The feature store: random batches of 32 rows from several layouts of the HDF5 file, size against speed.

    python benchmarks/store.py [--clips 2000] [--rounds 3] [--preset quick]

Every layout holds the same features: log mel of synthesized sounds with 16-bit samples. Reads come from a warm page
cache. ``store`` is `crnn_weak.features.store`; the others are what h5py or NumPy would give.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from common import alternate, make_sounds, parse, print_result, table, tags_in_turn, temporary_folder, write_store

from crnn_weak.config import PRESETS, FeatureConfig

BATCH = 32
Read = Callable[[np.ndarray], np.ndarray]


def sorted_rows(data: h5py.Dataset) -> Read:
    def read(rows: np.ndarray) -> np.ndarray:
        unique, inverse = np.unique(rows, return_inverse=True)
        return data[unique].astype(np.float32, copy=False)[inverse]

    return read


def row_by_row(data: h5py.Dataset) -> Read:
    def read(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *data.shape[1:]), dtype=data.dtype)
        for place, row in enumerate(rows):
            data.read_direct(out, np.s_[int(row)], np.s_[place])
        return out.astype(np.float32, copy=False)

    return read


def layouts(n_frames: int, n_mels: int) -> dict[str, dict[str, Any]]:
    one, many = (1, n_frames, n_mels), (32, n_frames, n_mels)
    gzip = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    return {
        "contiguous float32": {},
        "contiguous float16": {"dtype": "f2"},
        "automatic chunks": {"chunks": True},
        "chunk 1 clip": {"chunks": one},
        "chunk 32 clips": {"chunks": many},
        "chunk 1, lzf": {"chunks": one, "compression": "lzf"},
        "chunk 1, shuffle, lzf": {"chunks": one, "compression": "lzf", "shuffle": True},
        "chunk 1, shuffle, gzip 1": {"chunks": one, **gzip, "compression_opts": 1},
        "chunk 1, shuffle, gzip 4": {"chunks": one, **gzip},
        "chunk 32, shuffle, gzip 4": {"chunks": many, **gzip},
        "chunk 1 float16, shuffle, gzip 4": {"dtype": "f2", "chunks": one, **gzip},
    }


def seconds_per_clip(read: Read, n_clips: int, seconds: float = 0.3) -> Callable[[], float]:
    rng = np.random.default_rng(1)

    def timed() -> float:
        n_read = 0
        started = time.perf_counter()
        while (took := time.perf_counter() - started) < seconds:
            read(rng.integers(0, n_clips, BATCH))
            n_read += BATCH
        return took / n_read

    return timed


def compare_layouts(folder: Path, n_clips: int, features: FeatureConfig, rounds: int) -> list[list[object]]:
    """Return rows of (layout, megabytes, seconds to write, clips/s)."""
    sounds = make_sounds(features)
    shape = (n_clips, features.n_frames, features.n_mels)
    started = time.perf_counter()
    store = write_store(folder / "store.h5", features, sounds, tags_in_turn(n_clips))
    facts = {"store": (store.path.stat().st_size / 1e6, time.perf_counter() - started)}
    readers: dict[str, Read] = {"store": store.read}
    values = store.read(np.arange(n_clips))
    for name, options in layouts(features.n_frames, features.n_mels).items():
        path = folder / f"{name}.h5".replace(" ", "_")
        started = time.perf_counter()
        with h5py.File(path, "w") as file:
            data = file.create_dataset("log_mel", shape, **{"dtype": "f4", **options})
            for first in range(0, n_clips, BATCH):
                data[first : first + BATCH] = values[first : first + BATCH]
        took = time.perf_counter() - started
        data = h5py.File(path, "r")["log_mel"]
        for way, reader in {"rows sorted": sorted_rows, "row by row": row_by_row}.items():
            readers[f"{name}: {way}"] = reader(data)
            facts[f"{name}: {way}"] = (path.stat().st_size / 1e6, took)
    offset = h5py.File(store.path)["log_mel"].id.get_offset()
    mapped = np.memmap(store.path, "<f4", "r", offset, shape)
    readers["store's file, np.memmap"] = lambda rows: mapped[rows]
    facts["store's file, np.memmap"] = facts["store"]
    probe = np.array([3, 1, 3, n_clips - 1])
    for name, read in readers.items():
        assert np.allclose(read(probe), values[probe], atol=0.02), name
    timings = alternate({name: seconds_per_clip(read, n_clips) for name, read in readers.items()}, rounds=rounds)
    return [
        [name, round(facts[name][0], 1), round(facts[name][1], 2), round(1 / timing.median)]
        for name, timing in timings.items()
    ]


def main() -> None:
    args = parse(__doc__, {"clips": 2000, "rounds": 3, "preset": "paper"})
    with temporary_folder() as folder:
        rows = compare_layouts(folder, args.clips, PRESETS[args.preset].features, args.rounds)
    header = ["layout", "MB", "s to write", "clips/s in random batches of 32"]
    print(f"{args.clips} clips, preset {args.preset}, page cache warm, medians of {args.rounds} rounds")
    print(table(rows, header))
    facts = {"clips": args.clips, "rows": [dict(zip(header, row, strict=True)) for row in rows], "preset": args.preset}
    print_result("store", ["h5py"], **facts, hdf5=h5py.version.hdf5_version, threads=1, batch=BATCH)


if __name__ == "__main__":
    main()
