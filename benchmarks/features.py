"""Decoding and log mel against plain librosa, call for call, on one thread; and the extraction over processes.

    python benchmarks/features.py [--rounds 15] [--jobs 2] [--quick]

The rival is what a user would write: ``librosa.load`` at the features' rate, ``librosa.feature.melspectrogram`` with
the same window, hop, filters and power, ``numpy.log``. Both alternate clip by clip in one process with one thread.
Times are CPU times, which other work on the machine disturbs least.
"""

# ruff: noqa: E402 - the number of threads is set before NumPy is imported
import argparse
import functools
import json
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile
from common import alternate, environment, table

from crnn_weak.audio import load_clip
from crnn_weak.config import PRESETS, FeatureConfig
from crnn_weak.data.base import Clip
from crnn_weak.features.extract import extract_chunk
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.parallel import run_tasks

# name, preset, file format, sample rate of the file, channels
CASES = [
    ("wav 44.1 kHz mono", "paper", "wav", 44_100, 1),
    ("flac 44.1 kHz mono", "paper", "flac", 44_100, 1),
    ("mp3 44.1 kHz mono", "paper", "mp3", 44_100, 1),
    ("ogg 44.1 kHz mono", "paper", "ogg", 44_100, 1),
    ("wav 48 kHz stereo", "paper", "wav", 48_000, 2),
    ("flac 16 kHz mono", "quick", "flac", 16_000, 1),
    ("wav 16 kHz mono", "quick", "wav", 16_000, 1),
]


def make_sound(rate: int, channels: int, seconds: float = 10.0) -> np.ndarray:
    """A vibrating tone in noise: neither trivial to compress nor white."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(t.size)
    mono = 0.3 * np.sin(2 * np.pi * 700 * t + 30 * np.sin(2 * np.pi * 0.7 * t)) + 0.05 * noise
    return np.stack([mono, 0.8 * mono], axis=1)[:, :channels]


def by_librosa(audio: np.ndarray, config: FeatureConfig) -> np.ndarray:
    energies = librosa.feature.melspectrogram(
        y=audio,
        sr=config.sample_rate_hz,
        n_fft=config.n_fft,
        hop_length=config.n_hop,
        win_length=config.n_window,
        window="hamming",
        power=1.0,
        n_mels=config.n_mels,
        fmin=config.fmin_hz,
        fmax=config.fmax_hz,
    )
    return np.log(energies + config.log_floor).T


def largest_difference(path: Path, config: FeatureConfig, extractor: LogMelExtractor) -> float:
    """Ours against librosa's primitives on librosa's decoding, frames aligned, decoded and computed separately."""
    lead = (config.n_window - config.n_hop) // 2 + (config.n_fft - config.n_window) // 2
    audio = librosa.load(path, sr=config.sample_rate_hz)[0][: config.n_clip_samples]
    padded = np.pad(audio, (lead, config.n_fft + config.n_clip_samples - audio.size))
    spectrum = librosa.stft(
        padded, n_fft=config.n_fft, hop_length=config.n_hop, win_length=config.n_window, window="hamming", center=False
    )
    energies = librosa.feature.melspectrogram(
        S=np.abs(spectrum[:, : config.n_frames]),
        sr=config.sample_rate_hz,
        n_mels=config.n_mels,
        fmin=config.fmin_hz,
        fmax=config.fmax_hz,
    )
    ours = extractor(load_clip(path, config.sample_rate_hz, config.clip_seconds)[0])
    # The last frame sees the resampler's end differently: librosa resamples the file to its end, we a little beyond.
    return float(np.abs(ours - np.log(energies + config.log_floor).T)[:-1].max())


def scaling(folder: Path, jobs: int, n_clips: int) -> dict[str, float]:
    """Clips per second of decoding and log mel over 1 and `jobs` processes, from the first result on; medians of 3."""
    path = folder / "scaling.wav"
    soundfile.write(path, make_sound(44_100, 1), 44_100)
    clip = Clip("clip", "train", path, ())
    chunks = [[(row, clip) for row in range(first, first + 8)] for first in range(0, n_clips, 8)]
    function = functools.partial(extract_chunk, features=PRESETS["paper"].features)
    rates: dict[str, list[float]] = {}
    for _ in range(3):
        for n in sorted({1, jobs}):
            done = [time.perf_counter() for _ in run_tasks(function, chunks, jobs=n)]
            steady = done[n:]  # every process has begun by then
            rates.setdefault(f"{n}", []).append(8 * (len(steady) - 1) / (steady[-1] - steady[0]))
    return {n: round(statistics.median(values), 1) for n, values in rates.items()}


def cpu_seconds(function: Callable[[], object]) -> Callable[[], float]:
    """Return a callable that times itself: CPU seconds of this thread."""

    def timed() -> float:
        started = time.thread_time()
        function()
        return time.thread_time() - started

    return timed


def measure(case: tuple[str, str, str, int, int], folder: Path, rounds: int) -> dict[str, object]:
    name, preset, suffix, rate, channels = case
    config = PRESETS[preset].features
    extractor = LogMelExtractor(config)
    path = folder / f"{rate}-{channels}.{suffix}"
    soundfile.write(path, make_sound(rate, channels), rate)
    audio = load_clip(path, config.sample_rate_hz, config.clip_seconds)[0]
    timings = alternate(
        {
            "ours": cpu_seconds(lambda: extractor(load_clip(path, config.sample_rate_hz, config.clip_seconds)[0])),
            "librosa": cpu_seconds(lambda: by_librosa(librosa.load(path, sr=config.sample_rate_hz)[0], config)),
            "ours, log mel": cpu_seconds(lambda: extractor(audio)),
            "librosa, log mel": cpu_seconds(lambda: by_librosa(audio, config)),
        },
        rounds=rounds,
        warm_up=2,
    )
    row: dict[str, object] = {"case": f"{name}, {preset}"}
    row |= {f"{key} / ms": round(1e3 * timing.median, 2) for key, timing in timings.items()}
    row["ratio"] = round(timings["librosa"].median / timings["ours"].median, 2)
    row["ratio, log mel"] = round(timings["librosa, log mel"].median / timings["ours, log mel"].median, 2)
    return row | {"largest difference": largest_difference(path, config, extractor)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="three rounds, no scaling: does it run?")
    args = parser.parse_args()
    rounds = 3 if args.quick else args.rounds
    with tempfile.TemporaryDirectory() as name:
        rows = [measure(case, Path(name), rounds) for case in CASES]
        rates = {} if args.quick else scaling(Path(name), args.jobs, 480 * args.jobs)
    print("CPU milliseconds per 10 s clip, one thread, medians of", rounds, "alternating rounds")
    shown = [[f"{value:.1e}" if key == "largest difference" else value for key, value in row.items()] for row in rows]
    print(table(shown, list(rows[0])))
    for n, rate in rates.items():
        print(f"{n} process(es): {rate:.0f} clips/s (wav 44.1 kHz, paper)")
    facts = {"goal": 3.0, "threads": 1, "rounds": rounds, "clips_per_second_by_processes": rates}
    print(
        json.dumps({"benchmark": "features", "rows": rows, **facts, **environment(["scipy", "librosa", "soundfile"])})
    )


if __name__ == "__main__":
    main()
