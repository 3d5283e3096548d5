"""Sets of clips that the package makes, with exactly known events: street scenes, and scenes mixed of recordings.

A set is a folder with ``audio/<split>/*.flac`` (16 bit) and label files in the organizers' formats. A clip depends on
its plan only; a smaller set holds the first clips of a larger one. An interrupted call is resumed by the next one.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from crnn_weak.audio import load_clip, read_header, write_audio
from crnn_weak.config import Config, ScenesData, StreetData, fingerprint
from crnn_weak.data.base import Dataset
from crnn_weak.data.task4 import SET_NAMES, read_task4
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import lock, make_folder, write_json
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.labels.writing import write_rows, write_set_csv, write_strong_tsv, write_weak_tsv
from crnn_weak.parallel import map_tasks
from crnn_weak.synthesis import mixing
from crnn_weak.synthesis.mixing import Recording, RecordingFolder, ScenePlan, plan_scene, read_recordings, render_scene
from crnn_weak.synthesis.scene import CLIP_SECONDS, VERSION, draw_scene, render

logger = logging.getLogger(__name__)

#: Which folds of the recordings each split uses.
FOLDS: dict[str, tuple[int, ...]] = {"train": (1, 2, 3), "test": (4,)}
#: Least and greatest ratio of an event's power to the background's while it is active, decibels.
DEFAULT_SNR_DB = (ScenesData.min_snr_db, ScenesData.max_snr_db)
_BATCH = 8  # clips that a worker makes between two reports


@dataclass(frozen=True)
class SyntheticSet:
    """A set of clips: plans, each with the ``events`` of its clip, and what renders them."""

    name: str
    folder: Path
    plans: Mapping[str, Mapping[str, Any]]  # by split and clip id
    render: Callable[[Any, int], np.ndarray]  # of plan and rate; importable by a worker
    sample_rate_hz: int
    clip_seconds: float
    description: Mapping[str, object]  # content of the set's JSON file
    is_task4: bool = False  # the classes are the task's: files are named ``Y<clip id>``, and set files are written
    tables: Mapping[str, list[list[str]]] = field(default_factory=dict)  # further files, by name

    def open(self, provenance: str, classes: tuple[str, ...], identity: object, jobs: int, progress: bool) -> Dataset:
        """Open the set; synthesize the clips that are missing or damaged first."""
        set_file = self.folder / f"{self.name}.json"
        if not set_file.is_file() or any(self._to_make(split) for split in self.plans):
            with lock(self.folder, wait=True):  # another process may be making the same set
                for split in self.plans:
                    self._make_split(split, jobs, progress)
                for name, rows in self.tables.items():
                    write_rows(self.folder / name, rows)
                write_json(set_file, self.description)
        return read_task4(
            self.folder,
            self.folder / "audio",
            name=self.name,
            provenance=provenance,
            classes=classes,
            clip_seconds=self.clip_seconds,
            identity=identity,
        )

    def _to_make(self, split: str) -> list[tuple[Path, Any]]:
        """Return files and plans of the clips to look at: of a finished split those that are bad by their headers."""
        prefix = "Y" if self.is_task4 else ""
        audio = self.folder / "audio" / split
        clips = [(audio / f"{prefix}{clip}.flac", plan) for clip, plan in self.plans[split].items()]
        if not self._last_label_file(split).is_file():
            return clips
        rate, seconds = self.sample_rate_hz, self.clip_seconds
        return [(path, plan) for path, plan in clips if not _is_whole(path, rate, seconds, decode=False)]

    def _make_split(self, split: str, jobs: int, progress: bool) -> None:
        todo = self._to_make(split)
        if todo:
            logger.info("%s: %d clips (%s) to synthesize in %s", self.name, len(todo), split, self.folder)
        make_folder(self.folder / "audio" / split)
        make_batch = functools.partial(_make_batch, self.render, self.sample_rate_hz, self.clip_seconds)
        batches = [todo[start : start + _BATCH] for start in range(0, len(todo), _BATCH)]
        with tqdm(total=len(todo), desc=f"{self.name}, {split}", unit="clip", disable=not progress) as bar:
            for n_made in map_tasks(make_batch, batches, jobs=jobs):
                bar.update(n_made)
        if self._last_label_file(split).is_file():
            return
        word = SET_NAMES[split]
        events = {clip: plan.events for clip, plan in self.plans[split].items()}
        tags = {clip: tuple(dict.fromkeys(event.label for event in found)) for clip, found in events.items()}
        write_strong_tsv(self.folder / f"groundtruth_strong_label_{word}_set.csv", events)
        # The last file says that the split is whole.
        write_weak_tsv(self.folder / f"groundtruth_weak_label_{word}_set.csv", tags)
        if self.is_task4:
            write_set_csv(self.folder / f"{word}_set.csv", tags)

    def _last_label_file(self, split: str) -> Path:
        word = SET_NAMES[split]
        return self.folder / (f"{word}_set.csv" if self.is_task4 else f"groundtruth_weak_label_{word}_set.csv")


def _make_batch(
    render: Callable[[Any, int], np.ndarray], rate: int, clip_seconds: float, clips: Sequence[tuple[Path, Any]]
) -> int:
    """Synthesize the clips that are missing or damaged; runs in a worker process."""
    for path, plan in clips:
        if not (path.is_file() and _is_whole(path, rate, clip_seconds, decode=True)):
            write_audio(path, render(plan, rate), rate)
    return len(clips)


def _is_whole(path: Path, rate: int, clip_seconds: float, *, decode: bool) -> bool:
    try:
        own_rate, seconds = read_header(path)
        seconds = load_clip(path, rate)[1] if decode else seconds
    except DataError:
        return False
    return own_rate == rate and abs(seconds - clip_seconds) * rate < 1


def open_street(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Dataset:
    """Open the street scenes (docs/street.md); synthesize the clips that are missing first."""
    features, data = config.features, config.data
    assert isinstance(data, StreetData)  # the registry chooses this function by the source
    rate = features.sample_rate_hz
    if features.clip_seconds != CLIP_SECONDS:
        raise ConfigError(
            f"features.clip_seconds = {features.clip_seconds:g}: expected 10, the length of every street clip; "
            "for another length use data.source=folder."
        )
    if rate < 8_000 or round(0.5 * rate) * 2 != rate:
        raise ConfigError(f"features.sample_rate_hz = {rate}: expected an even rate of 8000 or more for street.")
    sizes = {"n_train": data.n_train, "n_test": data.n_test}
    description: dict[str, Any] = {"seed": data.seed, **sizes, "sample_rate_hz": rate, "version": VERSION}
    provenance = (
        f"procedural street scenes, version {VERSION}, seed {data.seed}, {data.n_train} training and "
        f"{data.n_test} testing clips at {rate / 1000:g} kHz; no recordings"
    )
    if data.priors != "tempered":
        description["priors"] = data.priors
        provenance += f"; priors of the {data.priors}"
    plans = {}
    for split, n_clips in (("train", data.n_train), ("test", data.n_test)):
        scenes = [draw_scene(data.seed, split, index, data.priors) for index in range(n_clips)]
        plans[split] = {scene.clip_id: scene for scene in scenes}
    folder = cache / f"street-{fingerprint(description)}"
    made = SyntheticSet("street", folder, plans, render, rate, CLIP_SECONDS, description, is_task4=True)
    return made.open(provenance, DCASE2017_TASK4, description, jobs, progress)


def plan_scenes(
    folder: RecordingFolder, split: str, n_clips: int, data: ScenesData, clip_seconds: float
) -> dict[str, ScenePlan]:
    """Draw the scenes of a split from its folds, by clip id ``<split>-<index>_<start>_<end>``."""
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
    number, snr_db = list(FOLDS).index(split), (data.min_snr_db, data.max_snr_db)
    width = 10 - len(split)  # the split, a dash and the index: 11 characters, as in YouTube's ids
    return {
        f"{split}-{index:0{width}d}_0.000_{clip_seconds:.3f}": plan_scene(
            by_class, backgrounds, clip_seconds=clip_seconds, seed=(data.seed, number, index), snr_db=snr_db
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


def open_scenes(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Dataset:
    """Open the scenes mixed of the recordings in ``data.root``; mix those that are missing first."""
    data = config.data
    assert isinstance(data, ScenesData)  # the registry chooses this function by the source
    if not data.root:
        raise ConfigError(
            "data.root is not set: source 'scenes' needs a folder of isolated recordings, e.g. ESC-50's; "
            "--set data.root=FOLDER."
        )
    recordings = read_recordings(data.root, cache=cache, jobs=jobs)
    rate = min(config.features.sample_rate_hz, mixing.MAX_RATE_HZ)
    clip_seconds, seed, snr_db = config.features.clip_seconds, data.seed, (data.min_snr_db, data.max_snr_db)
    sizes = {"train": data.n_train, "test": data.n_test}
    other_snr = () if snr_db == DEFAULT_SNR_DB else (snr_db,)
    content = recordings.content
    identity = fingerprint(mixing.MIXING_VERSION, content, rate, clip_seconds, seed, sizes, FOLDS, *other_snr)
    plans = {split: plan_scenes(recordings, split, n_clips, data, clip_seconds) for split, n_clips in sizes.items()}
    made = SyntheticSet(
        "scenes",
        cache / f"scenes-{identity}",
        plans,
        functools.partial(render_scene, root=recordings.root),
        rate,
        clip_seconds,
        {"recordings": content, "seed": seed, "sizes": sizes, "snr_db": snr_db, "sample_rate_hz": rate},
        tables=_accounts(plans["train"] | plans["test"]),
    )
    snr_text = f", signal-to-noise ratio {snr_db[0]:g} to {snr_db[1]:g} dB" if other_snr else ""
    provenance = (
        f"scenes mixed of {recordings.name} ({len(recordings.recordings)} recordings; training folds 1-3, testing "
        f"fold 4; seed {seed}{snr_text})"
    )
    return made.open(provenance, recordings.classes, identity, jobs, progress)
