"""What several tests need: clips, data sets and feature stores made in memory or in a moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak.config import Config, FeatureConfig, ModelConfig, TrainingConfig
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.features.build import StoreWriter
from crnn_weak.features.store import FeatureStore, StoreHeader
from crnn_weak.labels.events import Event, class_indices, tag_array
from crnn_weak.labels.rolls import event_roll

#: Small and quick: a 2 s clip has 20 frames of 8 bands.
TINY = FeatureConfig(
    clip_seconds=2.0, sample_rate_hz=8_000, window_seconds=0.128, hop_seconds=0.1, n_fft=1024, n_mels=8, fmax_hz=4_000.0
)


def small_config(**training: Any) -> Config:
    """Return the configuration of a tiny network on `TINY` features, with some settings of its training."""
    settings = {"epochs": 3, "batch_size": 4, "learning_rate": 3e-3, "patience": 0, "validation_fraction": 0.25}
    return Config(
        features=TINY,
        model=ModelConfig(n_filters=4, pools=(2, 2), gru_units=(4,), dense_units=4, dropout=0.2),
        training=TrainingConfig(**{**settings, "seed": 3, **training}),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder, by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed_at(paths: Iterable[Path]) -> dict[Path, int]:
    """Return when each file was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in paths}


def dataset_of(clips: Sequence[Clip]) -> Dataset:
    """Return a data set of training clips, without test clips."""
    split = {"train": clips, "test": ()}
    return Dataset("list", ("bell", "drill", "rain"), 2.0, "clips listed by a test", "0123456789ab", split, Path())


def make_events(n_clips: int, classes: Sequence[str], *, clip_seconds: float, seed: int) -> list[tuple[Event, ...]]:
    """Draw none to two events per clip, of distinct classes, each a third to the whole of the clip long."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_clips):
        chosen = rng.choice(len(classes), size=min(len(classes), rng.choice([0, 1, 1, 1, 2])), replace=False)
        events = []
        for index in sorted(chosen):
            length = rng.uniform(clip_seconds / 3, clip_seconds)
            onset = rng.uniform(0.0, clip_seconds - length)
            events.append(Event(round(onset, 3), round(onset + length, 3), classes[index]))
        drawn.append(tuple(events))
    return drawn


def make_store(
    folder: Path,
    n_clips: int = 24,
    classes: Sequence[str] = ("bell", "drill", "rain"),
    *,
    features: FeatureConfig = TINY,
    split: str = "train",
    seed: int = 0,
    first: int = 0,
    events: Sequence[tuple[Event, ...]] | None = None,
    with_events: bool | int = True,
    unreadable: Sequence[int] = (),
    name: str = "features.h5",
    provenance: str = "features made for tests",
) -> FeatureStore:
    """Make a feature store without audio, learnable: class ``k`` raises band group ``k`` while it sounds.

    Events are drawn unless given; `with_events` may be how many clips have theirs. `first` numbers the clips;
    `unreadable` lists rows that could not be read.
    """
    classes = tuple(classes)
    events = events or make_events(n_clips, classes, clip_seconds=features.clip_seconds, seed=seed)
    n_known = n_clips if with_events is True else int(with_events)
    header = StoreHeader(
        features=features,
        classes=classes,
        clip_ids=tuple(f"clip-{row:05d}" for row in range(first, first + n_clips)),
        tags=tag_array([[event.label for event in listed] for listed in events], classes),
        events=(*events[:n_known], *(None,) * (n_clips - n_known)),
        split=split,
        dataset="made",
        data_fingerprint=f"made-{seed}",
        provenance=f"{provenance}, seed {seed}",
    )
    writer = StoreWriter(folder / name, header)
    rng = np.random.default_rng([seed, 1])
    groups = np.array_split(np.arange(features.n_mels), len(classes))
    for row, listed in enumerate(events):
        noise = rng.standard_normal((features.n_frames, features.n_mels), dtype=np.float32)
        roll = event_roll(listed, classes, hop_seconds=features.hop_seconds, n_frames=features.n_frames)
        for index in class_indices({event.label for event in listed}, classes):
            noise[np.ix_(roll[:, index], groups[index])] += 4.0
        if row in unreadable:
            writer.write(row, None, status="unreadable", duration=0.0, reason="made unreadable")
        else:
            writer.write(row, noise - 6.0, status="ok", duration=features.clip_seconds)
    writer.finish()
    return FeatureStore(folder / name, features)


def run_fresh(code: str, modules: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter; its last line names those of `modules` that it has loaded."""
    script = f"import sys\n{code}\nprint(*[name for name in {modules} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
