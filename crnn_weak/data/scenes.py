"""Scenes mixed of real recordings, with exactly known onsets and offsets (`crnn_weak.synthesis.mixing`).

The recordings come from a folder of isolated sounds (`crnn_weak.synthesis.recordings`). Training scenes use folds 1 to
3, events and backgrounds, test scenes fold 4; if folds share no recording, the splits are disjoint. A clip depends on
(seed, split, index) and the recordings only. ``scenes.tsv`` says for each event which recording was used, at what
signal-to-noise ratio, ``credits.tsv`` whose recordings they are.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crnn_weak.config import Config, ScenesData, fingerprint
from crnn_weak.data.synthesized import SynthesizedSet
from crnn_weak.data.task4 import Task4Dataset
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.synthesis import mixing
from crnn_weak.synthesis.mixing import ScenePlan, plan_scene
from crnn_weak.synthesis.recordings import Recording, RecordingFolder, read_recordings

#: Which folds of the recordings each split uses.
FOLDS: dict[str, tuple[int, ...]] = {"train": (1, 2, 3), "test": (4,)}


def plan_scenes(
    folder: RecordingFolder,
    split: str,
    n_clips: int,
    *,
    clip_seconds: float,
    seed: int,
    snr_db: tuple[float, float] = mixing.DEFAULT_SNR_DB,
) -> dict[str, ScenePlan]:
    """Draw the scenes of a split, by clip id ``<split>-<index>_<start>_<end>``; fewer are the first of more."""
    usable = [recording for recording in folder.recordings if recording.fold in FOLDS[split]]
    by_class: dict[str, list[Recording]] = {label: [] for label in folder.classes}
    for recording in usable:
        if not recording.background:
            by_class[recording.category].append(recording)
    backgrounds = [recording for recording in usable if recording.background]
    where = f"{folder.root}: fold{'s' if len(FOLDS[split]) > 1 else ''} {', '.join(map(str, FOLDS[split]))} ({split})"
    lacking = [label for label, recordings in by_class.items() if not recordings]
    if lacking:
        raise DataError(f"{where} have no recording of {', '.join(map(repr, lacking[:5]))}.")
    if not backgrounds:
        raise DataError(f"{where} have no recording that serves as background (role background).")
    number = list(FOLDS).index(split)
    width = 10 - len(split)  # the split, a dash and the index: 11 characters, as in YouTube's ids
    return {
        f"{split}-{index:0{width}d}_0.000_{clip_seconds:.3f}": plan_scene(
            by_class, backgrounds, clip_seconds=clip_seconds, seed=(seed, number, index), snr_db=snr_db
        )
        for index in range(n_clips)
    }


def _accounts(plans: Mapping[str, ScenePlan]) -> dict[str, list[list[str]]]:
    """Return the rows of the files that say which recordings are in the scenes, and whose they are."""
    rows = [["clip_id", "recording", "label", "onset", "length", "snr_db", "background", "background_db"]]
    credit_of: dict[str, str] = {}
    for clip, plan in plans.items():
        credit_of[plan.background.name] = plan.background.credit
        for sound in plan.sounds:
            credit_of[sound.recording.name] = sound.recording.credit
            seconds = [f"{value:.3f}" for value in (sound.onset_seconds, sound.length_seconds)]
            levels = [f"{sound.snr_db:.2f}", plan.background.name, f"{plan.background_db:.2f}"]
            rows.append([clip, sound.recording.name, sound.recording.category, *seconds, *levels])
    credit_rows = [["recording", "credit"], *([name, credit_of[name]] for name in sorted(credit_of))]
    return {"scenes.tsv": rows, "credits.tsv": credit_rows}


def _render(root: Path, plan: ScenePlan, rate: int) -> np.ndarray:
    return mixing.render_scene(plan, root, rate)


def open_scenes(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Task4Dataset:
    """Open the scenes that the configuration describes; mix those that are missing first.

    ``data.root`` is the folder of recordings. A ``features.sample_rate_hz`` above 20 kHz makes files of 20 kHz.
    """
    data = config.data
    assert isinstance(data, ScenesData)  # the registry chooses this function by the source
    if not data.root:
        raise ConfigError(
            "data.root is not set: source 'scenes' needs a folder of isolated recordings, e.g. ESC-50's; "
            "--set data.root=FOLDER."
        )
    folder = read_recordings(data.root, cache=cache, jobs=jobs)
    rate = min(config.features.sample_rate_hz, mixing.MAX_RATE_HZ)
    clip_seconds, seed = config.features.clip_seconds, data.seed
    sizes = {"train": data.n_train, "test": data.n_test}
    snr_db = (data.min_snr_db, data.max_snr_db)
    other_snr = () if snr_db == mixing.DEFAULT_SNR_DB else (snr_db,)
    identity = fingerprint(mixing.MIXING_VERSION, folder.content, rate, clip_seconds, seed, sizes, FOLDS, *other_snr)
    plans = {
        split: plan_scenes(folder, split, n_clips, clip_seconds=clip_seconds, seed=seed, snr_db=snr_db)
        for split, n_clips in sizes.items()
    }
    scenes = SynthesizedSet(
        "scenes",
        Path(cache) / f"scenes-{identity}",
        plans,
        functools.partial(_render, folder.root),
        rate,
        clip_seconds,
        {"recordings": folder.content, "seed": seed, "sizes": sizes, "snr_db": snr_db, "sample_rate_hz": rate},
        tables=_accounts({clip: plan for by_clip in plans.values() for clip, plan in by_clip.items()}),
    )
    set_folder = scenes.make(jobs=jobs, progress=progress)
    snr_text = f", signal-to-noise ratio {snr_db[0]:g} to {snr_db[1]:g} dB" if other_snr else ""
    return Task4Dataset(
        set_folder,
        set_folder / "audio",
        name="scenes",
        provenance=(
            f"scenes mixed of {folder.name} ({len(folder.recordings)} recordings; training folds 1-3, testing fold 4; "
            f"seed {seed}{snr_text})"
        ),
        classes=folder.classes,
        clip_seconds=clip_seconds,
        identity=identity,
    )
