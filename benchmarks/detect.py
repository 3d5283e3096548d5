"""Detection in a long recording, against a loop over its windows, in one run.

Both turn the same file into the same joined scores and events, with the same model and the same windows; the
events are compared before they are timed.

* naive: the whole file is decoded and resampled at once, then each window is cut, its features computed, and the model
  called with it alone: the loop that one writes first;
* ours: ``Detector.detect``: blocks, streamed features in a second thread, windows in batches.

Run it as ``python benchmarks/detect.py``; ``--preset paper`` takes the paper's size. The weights are random, which
costs the same as trained ones. ``--memory HOURS ...`` measures the largest resident memory of ``crnn-weak detect``
instead, one process for each length.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from common import alternate, parse, print_result, report, table, temporary_folder

from crnn_weak.config import preset
from crnn_weak.detection.detector import Detector, load
from crnn_weak.detection.postprocessing import scores_to_events
from crnn_weak.detection.scores import Scores, predict
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.labels.events import DCASE2017_TASK4, Event

RATE = 44_100


def write_recording(path: Path, seconds: float, rate: int = RATE, seed: int = 0) -> None:
    """Write noise that rises and falls, minute by minute, so that any length fits into memory."""
    rng = np.random.default_rng(seed)
    with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16") as file:
        left = round(seconds * rate)
        while left > 0:
            n = min(left, 60 * rate)
            level = np.repeat(10 ** rng.uniform(-3, -0.7, n // rate + 1), rate)[:n]
            file.write((level * rng.standard_normal(n)).clip(-1, 1))
            left -= n


def random_model(path: Path, name: str) -> None:
    """Write an untrained model of a preset."""
    from crnn_weak.features.log_mel import Scaler
    from crnn_weak.model.archive import ModelMetadata, save_model
    from crnn_weak.model.crnn import build_model

    config = preset(name)
    n_mels = config.features.n_mels
    scaler = Scaler(np.full(n_mels, -5.0, np.float32), np.full(n_mels, 2.0, np.float32))
    save_model(build_model(config), path, ModelMetadata(DCASE2017_TASK4, config, scaler))


def naive(detector: Detector, path: Path) -> list[Event]:
    """Detect with one loop over windows, everything in memory."""
    import soxr

    features, windows = detector.features, detector.windows
    audio, rate = soundfile.read(path, dtype="float32")
    if rate != features.sample_rate_hz:
        audio = soxr.resample(audio, rate, features.sample_rate_hz, quality="HQ")
    n_frames = round(audio.size / features.n_hop)
    extractor = LogMelExtractor(features)
    context = 4
    starts = [*range(0, n_frames - windows.n_window, windows.n_hop), n_frames - windows.n_window]
    sums, weights = np.zeros((n_frames, len(detector.classes))), np.zeros((n_frames, 1))
    for start in starts:
        first = max(0, start - context)
        cut = audio[first * features.n_hop : (start + windows.n_window + context) * features.n_hop]
        window = extractor(cut)[start - first : start - first + windows.n_window]
        strong, _ = predict(detector.model, detector.scaler.transform(window)[None])
        weight = windows.weights.copy()
        weight[: windows.n_window // 2] = 1 if start == 0 else weight[: windows.n_window // 2]
        weight[windows.n_window // 2 :] = 1 if start == starts[-1] else weight[windows.n_window // 2 :]
        sums[start : start + windows.n_window] += weight[:, None] * strong[0]
        weights[start : start + windows.n_window, 0] += weight
    scores = (sums / weights).astype(np.float32)
    whole = Scores(("",), detector.classes, features.hop_seconds, scores[None], np.zeros((1, len(detector.classes))))
    return list(scores_to_events(whole, detector.operating_point)[""])


def speed(args: argparse.Namespace, model: Path) -> None:
    path = model.with_name("recording.wav")
    seconds = 60.0 * args.minutes
    write_recording(path, seconds)
    detector = load(model)
    ours, theirs = detector.detect(path), naive(detector, path)
    shared = {(e.onset, e.offset, e.label) for e in ours} & {(e.onset, e.offset, e.label) for e in theirs}
    if len(shared) < 0.99 * max(len(ours), len(theirs)):  # a score on its threshold may fall to either side
        raise SystemExit(f"the two differ: {len(ours)} and {len(theirs)} events, {len(shared)} in common")
    timings = alternate(
        {"detect": lambda: detector.detect(path), "loop over windows": lambda: naive(detector, path)},
        rounds=args.rounds,
    )
    report(
        "detect", timings, n_items=seconds, unit="seconds of sound", ours="detect", packages=["keras"],
        model=f"{args.preset}, random weights", recording_seconds=seconds,
        window_hop_seconds=detector.windows.n_hop * detector.features.hop_seconds,
        recording_rate_hz=RATE, n_events=len(ours), n_events_in_common=len(shared),
    )  # fmt: skip


def memory(hours_of_each: Sequence[float], model: Path) -> None:
    code = (
        "import resource, sys; from crnn_weak.cli import main; code = main(sys.argv[1:]); "
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    rows: list[list[Any]] = []
    path = model.with_name("recording.wav")
    for hours in hours_of_each:
        write_recording(path, 3600 * hours, 16_000)
        options = ["--model", str(model), "--out", str(model.with_name("out")), "--overwrite"]
        call = [sys.executable, "-c", code, "detect", str(path), *options]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        lines = done.stderr.splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("PEAK"))
        rate = next(line for line in lines if "times as fast" in line).split(" times as fast")[0].split()[-1]
        rows.append([f"{hours:g} h", peak / 1024, float(rate)])
    print(table(rows, ["recording", "peak memory, MB", "times real time"]))
    lengths = {row[0]: {"peak_memory_mb": round(row[1]), "times_real_time": row[2]} for row in rows}
    print_result("detect-memory", ["tensorflow-cpu", "keras"], recordings=lengths)


def main() -> None:
    options: dict[str, Any] = {"preset": "quick", "minutes": 10.0, "rounds": 5}
    options["memory"] = {"type": float, "nargs": "+", "metavar": "HOURS"}
    args = parse(__doc__, options)
    with temporary_folder() as folder:
        model = folder / "random.keras"
        random_model(model, args.preset)
        if args.memory:
            memory(args.memory, model)
        else:
            speed(args, model)


if __name__ == "__main__":
    main()
