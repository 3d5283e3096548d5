"""Decoding and log mel against plain librosa, call for call, on one thread; and the extraction over processes.

    python benchmarks/features.py [--rounds 15] [--jobs 2]

The rival is what a user would write: ``librosa.load`` at the features' rate, ``librosa.feature.melspectrogram`` with
the same window, hop, filters and power, ``numpy.log``. Both alternate clip by clip in one process with one thread.
Times are CPU times, which other work on the machine disturbs least.
"""

# ruff: noqa: E402 - the number of threads is set before NumPy is imported
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import functools
import statistics
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
from common import alternate, cpu_timed, parse, print_result, table, temporary_folder

from crnn_weak.audio import load_clip
from crnn_weak.config import PRESETS, FeatureConfig
from crnn_weak.data.base import Clip
from crnn_weak.features.build import extract_chunk
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
        y=audio, sr=config.sample_rate_hz, n_fft=config.n_fft, hop_length=config.n_hop, win_length=config.n_window,
        window="hamming", power=1.0, n_mels=config.n_mels, fmin=config.fmin_hz, fmax=config.fmax_hz,
    )  # fmt: skip
    return np.log(energies + config.log_floor).T


def largest_difference(path: Path, config: FeatureConfig, extractor: LogMelExtractor) -> float:
    """Compare with librosa's primitives on librosa's decoding, frames aligned."""
    lead = (config.n_window - config.n_hop) // 2 + (config.n_fft - config.n_window) // 2
    audio = librosa.load(path, sr=config.sample_rate_hz)[0][: config.n_clip_samples]
    padded = np.pad(audio, (lead, config.n_fft + config.n_clip_samples - audio.size))
    spectrum = librosa.stft(
        padded, n_fft=config.n_fft, hop_length=config.n_hop, win_length=config.n_window, window="hamming", center=False
    )
    energies = librosa.feature.melspectrogram(
        S=np.abs(spectrum[:, : config.n_frames]), sr=config.sample_rate_hz, n_mels=config.n_mels, fmin=config.fmin_hz,
        fmax=config.fmax_hz,
    )  # fmt: skip
    ours = extractor(load_clip(path, config.sample_rate_hz, config.clip_seconds)[0])
    # The last frame sees the resampler's end differently: librosa resamples the file to its end, we a little beyond.
    return float(np.abs(ours - np.log(energies + config.log_floor).T)[:-1].max())


def scaling(folder: Path, jobs: int) -> dict[str, float]:
    """Return clips a second of decoding and log mel over 1 and `jobs` processes, once all run; medians of 3."""
    path = folder / "scaling.wav"
    soundfile.write(path, make_sound(44_100, 1), 44_100)
    clip = Clip("clip", "train", path, ())
    chunks = [[(row, clip) for row in range(first, first + 8)] for first in range(0, 480 * jobs, 8)]
    function = functools.partial(extract_chunk, features=PRESETS["paper"].features)
    rates: dict[str, list[float]] = {}
    for _ in range(3):
        for n in sorted({1, jobs}):
            ended = [time.perf_counter() for _ in run_tasks(function, chunks, jobs=n)]
            steady = ended[n:]  # every process has begun by then
            rates.setdefault(f"{n}", []).append(8 * (len(steady) - 1) / (steady[-1] - steady[0]))
    return {n: round(statistics.median(values), 1) for n, values in rates.items()}


def measure(case: tuple[str, str, str, int, int], folder: Path, rounds: int) -> dict[str, object]:
    name, preset, suffix, rate, channels = case
    config = PRESETS[preset].features
    extractor = LogMelExtractor(config)
    path = folder / f"{rate}-{channels}.{suffix}"
    soundfile.write(path, make_sound(rate, channels), rate)
    audio = load_clip(path, config.sample_rate_hz, config.clip_seconds)[0]
    calls = {
        "ours": lambda: extractor(load_clip(path, config.sample_rate_hz, config.clip_seconds)[0]),
        "librosa": lambda: by_librosa(librosa.load(path, sr=config.sample_rate_hz)[0], config),
        "ours, log mel": lambda: extractor(audio),
        "librosa, log mel": lambda: by_librosa(audio, config),
    }
    timings = alternate({key: cpu_timed(call) for key, call in calls.items()}, rounds=rounds, warm_up=2)
    row: dict[str, object] = {"case": f"{name}, {preset}"}
    row |= {f"{key} / ms": round(1e3 * timing.median, 2) for key, timing in timings.items()}
    row["ratio"] = round(timings["librosa"].median / timings["ours"].median, 2)
    row["ratio, log mel"] = round(timings["librosa, log mel"].median / timings["ours, log mel"].median, 2)
    return row | {"largest difference": largest_difference(path, config, extractor)}


def main() -> None:
    args = parse(__doc__, {"rounds": 15, "jobs": min(2, os.cpu_count() or 1)})
    with temporary_folder() as folder:
        rows = [measure(case, folder, args.rounds) for case in CASES]
        rates = scaling(folder, args.jobs)
    print("CPU milliseconds per 10 s clip, one thread, medians of", args.rounds, "alternating rounds")
    shown = [[f"{value:.1e}" if key == "largest difference" else value for key, value in row.items()] for row in rows]
    print(table(shown, list(rows[0])))
    for n, rate in rates.items():
        print(f"{n} process(es): {rate:.0f} clips/s (wav 44.1 kHz, paper)")
    facts = {"goal": 3.0, "threads": 1, "rounds": args.rounds, "clips_per_second_by_processes": rates}
    print_result("features", ["scipy", "librosa", "soundfile"], rows=rows, **facts)


if __name__ == "__main__":
    main()
