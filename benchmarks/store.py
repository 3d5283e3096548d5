"""The feature store: random batches of 32, layouts of the HDF5 file (size against speed), memory.

    python benchmarks/store.py [--clips 2000] [--rounds 3] [--preset quick]
    python benchmarks/store.py --large 20000        # writing, reading and memory of one large store

Every layout holds the same features: log mel of synthesized sounds with 16-bit samples. Reads come from a warm page
cache. ``store`` is `crnn_weak.features.store`; the others are what h5py or NumPy would give.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
from common import alternate, environment, peak_memory_mb, table

from crnn_weak.config import PRESETS, FeatureConfig
from crnn_weak.features.build import StoreWriter
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.features.scaler import Scaler
from crnn_weak.features.store import FeatureStore, StoreHeader

BATCH = 32
N_SOUNDS = 64
Read = Callable[[np.ndarray], np.ndarray]


def make_sounds(features: FeatureConfig) -> np.ndarray:
    """Log mel of 64 different sounds, tones and noises that come and go; shape (64, n_frames, n_mels)."""
    rng = np.random.default_rng(0)
    extractor = LogMelExtractor(features)
    t = np.arange(features.n_clip_samples) / features.sample_rate_hz
    made = []
    for _ in range(N_SOUNDS):
        level = np.interp(t, np.linspace(0, features.clip_seconds, 9), rng.uniform(0, 0.3, 9))
        sound = level * np.sin(2 * np.pi * rng.uniform(200, 4000) * t) + 0.02 * rng.standard_normal(t.size)
        made.append(extractor((np.rint(sound * 32768) / 32768).astype(np.float32)))
    return np.stack(made)


def make_header(n_clips: int, features: FeatureConfig) -> StoreHeader:
    return StoreHeader(
        features=features,
        classes=tuple(f"class {index}" for index in range(17)),
        clip_ids=tuple(f"clip {row}" for row in range(n_clips)),
        tags=np.eye(17, dtype=bool)[np.arange(n_clips) % 17],
        events=(None,) * n_clips,
        split="train",
        dataset="benchmark",
        data_fingerprint="0",
        provenance="synthesized sounds",
    )


def write_store(path: Path, header: StoreHeader, sounds: np.ndarray, *, moved: bool = False) -> FeatureStore:
    """Write the sounds in turn through the package's own writer; `moved` shifts each clip's in time by its row."""
    features = header.features
    writer = StoreWriter(path, header)
    for row in range(len(header.clip_ids)):
        sound = sounds[row % N_SOUNDS]
        if moved:
            sound = np.roll(sound, row % features.n_frames, axis=0)
        writer.write(row, sound, status="ok", duration=features.clip_seconds)
    writer.finish()
    return FeatureStore(path, features)


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


def layouts(n_frames: int, n_mels: int) -> dict[str, dict[str, object]]:
    one, many = (1, n_frames, n_mels), (32, n_frames, n_mels)
    return {
        "contiguous float32": {},
        "contiguous float16": {"dtype": "f2"},
        "automatic chunks": {"chunks": True},
        "chunk 1 clip": {"chunks": one},
        "chunk 32 clips": {"chunks": many},
        "chunk 1, lzf": {"chunks": one, "compression": "lzf"},
        "chunk 1, shuffle, lzf": {"chunks": one, "compression": "lzf", "shuffle": True},
        "chunk 1, shuffle, gzip 1": {"chunks": one, "compression": "gzip", "compression_opts": 1, "shuffle": True},
        "chunk 1, shuffle, gzip 4": {"chunks": one, "compression": "gzip", "compression_opts": 4, "shuffle": True},
        "chunk 32, shuffle, gzip 4": {"chunks": many, "compression": "gzip", "compression_opts": 4, "shuffle": True},
        "chunk 1 float16, shuffle, gzip 4": {
            "dtype": "f2",
            "chunks": one,
            "compression": "gzip",
            "compression_opts": 4,
            "shuffle": True,
        },
    }


def clips_per_second(read: Read, n_clips: int, seconds: float) -> Callable[[], dict[str, float]]:
    rng = np.random.default_rng(1)

    def timed() -> dict[str, float]:
        n_read = 0
        started = time.perf_counter()
        while (took := time.perf_counter() - started) < seconds:
            read(rng.integers(0, n_clips, BATCH))
            n_read += BATCH
        return {"seconds": took / n_read}

    return timed


def compare_layouts(folder: Path, n_clips: int, features: FeatureConfig, rounds: int) -> list[list[object]]:
    """Return rows of (layout, megabytes, seconds to write, way to read, clips/s)."""
    sounds = make_sounds(features)
    order = np.arange(n_clips) % N_SOUNDS
    started = time.perf_counter()
    store = write_store(folder / "store.h5", make_header(n_clips, features), sounds)
    facts: dict[str, tuple[float, float]] = {}
    readers: dict[str, Read] = {"store": store.read}
    facts["store"] = (store.path.stat().st_size / 1e6, time.perf_counter() - started)
    files = []
    for name, options in layouts(features.n_frames, features.n_mels).items():
        path = folder / f"{name}.h5".replace(" ", "_")
        started = time.perf_counter()
        with h5py.File(path, "w") as file:
            shape = (n_clips, features.n_frames, features.n_mels)
            data = file.create_dataset("log_mel", shape, **{"dtype": "f4", **options})
            for first in range(0, n_clips, 32):
                data[first : first + 32] = sounds[order[first : first + 32]]
        took = time.perf_counter() - started
        files.append(h5py.File(path, "r"))
        for way, reader in {"rows sorted": sorted_rows, "row by row": row_by_row}.items():
            readers[f"{name}: {way}"] = reader(files[-1]["log_mel"])
            facts[f"{name}: {way}"] = (path.stat().st_size / 1e6, took)
    mapped = np.memmap(
        folder / "store.h5",
        "<f4",
        "r",
        h5py.File(folder / "store.h5")["log_mel"].id.get_offset(),
        (n_clips, features.n_frames, features.n_mels),
    )
    readers["store's file, np.memmap"] = lambda rows: mapped[rows]
    facts["store's file, np.memmap"] = facts["store"]
    probe = np.array([3, 1, 3, n_clips - 1])
    for name, read in readers.items():
        assert np.allclose(read(probe), sounds[order[probe]], atol=0.02), name
    timings = alternate({name: clips_per_second(read, n_clips, 0.3) for name, read in readers.items()}, rounds=rounds)
    return [
        [name, round(facts[name][0], 1), round(facts[name][1], 2), round(1 / timing.median)]
        for name, timing in timings.items()
    ]


def large(folder: Path, n_clips: int, features: FeatureConfig) -> dict[str, object]:
    """Write, read and fit one large store; what it costs in time, bytes and memory."""
    sounds = make_sounds(features)
    base = peak_memory_mb()
    facts: dict[str, object] = {"clips": n_clips, "base_memory_mb": round(base)}

    def step(name: str, work: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = work()
        facts[f"{name}_seconds"] = round(time.perf_counter() - started, 2)
        facts[f"{name}_peak_memory_above_base_mb"] = round(peak_memory_mb() - base, 1)
        return result

    path = folder / "large.h5"
    store = step("write", lambda: write_store(path, make_header(n_clips, features), sounds))
    assert isinstance(store, FeatureStore)
    facts["gigabytes"] = round(path.stat().st_size / 1e9, 3)
    order = np.random.default_rng(0).permutation(n_clips)
    batches: Sequence[np.ndarray] = [order[first : first + BATCH] for first in range(0, n_clips, BATCH)]

    def read_all() -> None:
        for batch in batches:
            store.read(batch)

    step("read_once_in_random_batches", read_all)
    facts["clips_per_second"] = round(n_clips / float(str(facts["read_once_in_random_batches_seconds"])))
    step("fit_scaler", lambda: Scaler.fit(store))
    step("open", lambda: FeatureStore(path, features))
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="paper", choices=sorted(PRESETS))
    parser.add_argument("--large", type=int, metavar="CLIPS", help="one store of so many clips instead")
    parser.add_argument("--folder", type=Path, help="where to make the files (default: the temporary folder)")
    parser.add_argument("--quick", action="store_true", help="200 clips, one round: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.clips, args.rounds = 200, 1
    features = PRESETS[args.preset].features
    folder = Path(tempfile.mkdtemp(prefix="store-benchmark-", dir=args.folder))
    try:
        if args.large:
            result: dict[str, object] = large(folder, args.large, features)
            print(table([[name, value] for name, value in result.items()], ["one large store", ""]))
        else:
            rows = compare_layouts(folder, args.clips, features, args.rounds)
            header = ["layout", "MB", "s to write", "clips/s in random batches of 32"]
            print(f"{args.clips} clips, preset {args.preset}, page cache warm, medians of {args.rounds} rounds")
            print(table(rows, header))
            result = {"clips": args.clips, "rows": [dict(zip(header, row, strict=True)) for row in rows]}
    finally:
        shutil.rmtree(folder)
    hdf5 = {"hdf5": h5py.version.hdf5_version, "threads": 1, "batch": BATCH, "preset": args.preset}
    print(json.dumps({"benchmark": "store", **result, **hdf5, **environment(["h5py"])}))


if __name__ == "__main__":
    main()
