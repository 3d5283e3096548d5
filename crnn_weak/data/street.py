"""Synthetic street scenes with the task's 17 classes: data without a download.

The first call makes the clips: 16-bit FLAC, one file per clip, and the label files in the organizers' own formats, so
that `Task4Dataset` reads the set as it reads the real one. How the sounds are made is in `crnn_weak.synthesis`
and ``docs/street.md``.

* A clip depends on (seed, split, index, sample rate) only. Number and order of worker processes change nothing, and a
  smaller set holds the first clips of a larger one.
* Files appear under their names only when they are whole, label files when all clips are there. Killed at any
  moment, the next call makes what is missing; what is there is looked at and kept.
* The training split has exact strong labels as well; training uses its tags only.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from crnn_weak import timing
from crnn_weak.audio import load_clip, read_header, write_audio
from crnn_weak.config import Config, StreetData, fingerprint
from crnn_weak.data.task4 import Task4Dataset
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import lock, remove_temporary, write_text
from crnn_weak.labels import task4 as task4_files
from crnn_weak.synthesis.layout import CLIP_SECONDS
from crnn_weak.synthesis.scene import VERSION, Scene, draw_scene, render

__all__ = ["StreetSet", "make_set", "open_street"]

logger = logging.getLogger(__name__)

_SET_NAMES = {"train": "training", "test": "testing"}
_BATCH = 8  # clips a worker makes between two reports


@dataclass(frozen=True)
class StreetSet:
    """A set of street scenes: everything that its content depends on."""

    seed: int
    n_train: int
    n_test: int
    sample_rate_hz: int
    version: int = VERSION

    @property
    def folder_name(self) -> str:
        """The set's folder under the cache."""
        return f"street-{fingerprint(self)}"

    def scenes(self, split: str) -> list[Scene]:
        """Draw the scenes of a split (events and levels, no sound)."""
        n_clips = {"train": self.n_train, "test": self.n_test}[split]
        return [draw_scene(self.seed, split, index) for index in range(n_clips)]


def _audio_path(folder: Path, scene: Scene) -> Path:
    return folder / "audio" / scene.split / f"Y{scene.clip_id}.flac"


def _is_whole(path: Path, rate: int, *, decode: bool) -> bool:
    try:
        if decode:
            _, seconds = load_clip(path, rate)
            return seconds == CLIP_SECONDS
        header = read_header(path)
        return (header.sample_rate_hz, header.duration_seconds) == (rate, CLIP_SECONDS)
    except DataError:
        return False


def _make_batch(folder: Path, scenes: list[Scene], rate: int) -> int:
    """Make the clips that are missing or damaged; runs in a worker process."""
    for scene in scenes:
        path = _audio_path(folder, scene)
        if not (path.is_file() and _is_whole(path, rate, decode=True)):
            write_audio(path, render(scene, rate), rate)
    return len(scenes)


def _make_batches(folder: Path, batches: list[list[Scene]], rate: int, jobs: int) -> Iterator[int]:
    if jobs == 1 or len(batches) == 1:
        for batch in batches:
            yield _make_batch(folder, batch, rate)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(delayed(_make_batch)(folder, batch, rate) for batch in batches)


def _write_labels(folder: Path, split: str, scenes: list[Scene]) -> None:
    word = _SET_NAMES[split]
    tags = {scene.clip_id: tuple(dict.fromkeys(event.label for event in scene.events)) for scene in scenes}
    task4_files.write_weak_tsv(folder / f"groundtruth_weak_label_{word}_set.csv", tags)
    task4_files.write_strong_tsv(
        folder / f"groundtruth_strong_label_{word}_set.csv", {scene.clip_id: scene.events for scene in scenes}
    )
    task4_files.write_durations(folder / f"duration_of_files_in_{word}_set.csv", dict.fromkeys(tags, CLIP_SECONDS))
    # Last: its presence says that the split is whole.
    task4_files.write_set_csv(folder / f"{word}_set.csv", tags)


def make_set(street: StreetSet, cache: Path, *, jobs: int = 1, progress: bool = False) -> Path:
    """Make a set, or what is missing of it.

    Parameters
    ----------
    street : StreetSet
    cache : path
        The set's folder is made in here.
    jobs : int
        Worker processes.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    Path
        The set's folder: label files, and ``audio/train``, ``audio/test``.
    """
    folder = Path(cache) / street.folder_name
    if not _is_complete(street, folder):
        with lock(folder, wait_seconds=math.inf):  # another process may be making the same set
            remove_temporary(folder)
            for split in _SET_NAMES:
                _make_split(street, folder, split, jobs, progress)
            write_text(folder / "street.json", json.dumps(asdict(street), indent=1) + "\n")
    return folder


def _missing(street: StreetSet, folder: Path, split: str) -> list[Scene]:
    """Return the scenes of a split whose clips are not there, or damaged as far as their headers say."""
    scenes = street.scenes(split)
    # Of a finished split the headers are enough; an unfinished one is decoded where it is made.
    if not (folder / f"{_SET_NAMES[split]}_set.csv").is_file():
        return scenes
    return [s for s in scenes if not _is_whole(_audio_path(folder, s), street.sample_rate_hz, decode=False)]


def _is_complete(street: StreetSet, folder: Path) -> bool:
    return (folder / "street.json").is_file() and not any(_missing(street, folder, split) for split in _SET_NAMES)


def _make_split(street: StreetSet, folder: Path, split: str, jobs: int, progress: bool) -> None:
    from tqdm import tqdm

    todo = _missing(street, folder, split)
    if todo:
        logger.info("street: making %d clips (%s) in %s", len(todo), split, folder)
        batches = [todo[start : start + _BATCH] for start in range(0, len(todo), _BATCH)]
        with tqdm(total=len(todo), desc=f"street, {split}", unit="clip", disable=not progress) as bar:
            for n_made in _make_batches(folder, batches, street.sample_rate_hz, jobs):
                bar.update(n_made)
    if not (folder / f"{_SET_NAMES[split]}_set.csv").is_file():
        _write_labels(folder, split, street.scenes(split))


def open_street(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Task4Dataset:
    """Open the set that the configuration describes; make its clips first where they are missing.

    Raises
    ------
    ConfigError
        Clips are not 10 s long, or a sample rate below 8 kHz.
    """
    features, data = config.features, config.data
    assert isinstance(data, StreetData)  # the registry chooses this function by the source
    if features.clip_seconds != CLIP_SECONDS:
        raise ConfigError(
            f"features.clip_seconds = {features.clip_seconds:g}: expected 10, the length of every street clip; "
            "for another length use data.source=folder."
        )
    if features.sample_rate_hz < 8_000 or timing.n_samples(0.5, features.sample_rate_hz) * 2 != features.sample_rate_hz:
        raise ConfigError(
            f"features.sample_rate_hz = {features.sample_rate_hz}: expected an even rate of 8000 or more for street."
        )
    street = StreetSet(data.seed, data.n_train, data.n_test, features.sample_rate_hz)
    folder = make_set(street, cache, jobs=jobs, progress=progress)
    return Task4Dataset(
        folder,
        folder / "audio",
        name="street",
        provenance=(
            f"procedural street scenes, version {street.version}, seed {street.seed}, {street.n_train} training and "
            f"{street.n_test} testing clips at {street.sample_rate_hz / 1000:g} kHz; no recordings"
        ),
        identity=asdict(street),
    )
