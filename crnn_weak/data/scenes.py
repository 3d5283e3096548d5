"""Scenes mixed of real recordings, with exactly known onsets and offsets.

The recordings come from a folder of isolated sounds (`crnn_weak.synthesis.recordings`: a ``meta.csv`` with active
regions, or ESC-50 as it is distributed); how a scene is drawn and mixed is said in `crnn_weak.synthesis.mixing`.

* Training scenes use the recordings of folds 1 to 3, events and backgrounds, test scenes those of fold 4; other
  folds are not used. A folder whose folds share no recording gives disjoint splits.
* The clips are made once, into ``<cache>/scenes-<fingerprint>``: ``audio/<split>/*.flac`` (16 bit) and the label
  files in the organizers' forms, so that `Task4Dataset` serves them. There are no set files (their last column is an
  AudioSet id); the weak files list the clips. ``scenes.tsv`` says for each event which recording was used, at what
  signal-to-noise ratio, and ``credits.tsv`` whose recordings they are.
* A clip depends on (seed, split, index) and the recordings only: on no number of processes, and on no other clip.
  Existing files are kept, so that a run that was killed goes on; the label files are written last.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import index_audio, write_audio
from crnn_weak.config import Config, ScenesData, fingerprint
from crnn_weak.data.task4 import Task4Dataset
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import lock, remove_temporary
from crnn_weak.labels import task4 as task4_files
from crnn_weak.labels.tables import write_rows
from crnn_weak.synthesis import mixing
from crnn_weak.synthesis.mixing import ScenePlan, plan_scene
from crnn_weak.synthesis.recordings import Recording, RecordingFolder, read_recordings

__all__ = ["FOLDS", "open_scenes", "plan_scenes"]

logger = logging.getLogger(__name__)

#: Which folds of the recordings each split uses.
FOLDS: dict[str, tuple[int, ...]] = {"train": (1, 2, 3), "test": (4,)}
_SET_NAMES = {"train": "training", "test": "testing"}
_CHUNK = 16


def plan_scenes(
    folder: RecordingFolder,
    split: str,
    n_clips: int,
    *,
    clip_seconds: float,
    seed: int,
    snr_db: tuple[float, float] = mixing.DEFAULT_SNR_DB,
) -> dict[str, ScenePlan]:
    """Draw the scenes of a split.

    Returns
    -------
    dict of str to ScenePlan
        By clip id, ``<split>-<index>_<start>_<end>``: the form of the organizers' ids. The first clips do not change
        with `n_clips`.

    Raises
    ------
    DataError
        The split's folds lack a class, or have no background.
    """
    usable = [recording for recording in folder.recordings if recording.fold in FOLDS[split]]
    by_class: dict[str, list[Recording]] = {label: [] for label in folder.classes}
    for recording in usable:
        if not recording.background:
            by_class[recording.category].append(recording)
    backgrounds = [recording for recording in usable if recording.background]
    where = f"{folder.root}: fold{'s' if len(FOLDS[split]) > 1 else ''} {', '.join(map(str, FOLDS[split]))} ({split})"
    lacking = [label for label, found in by_class.items() if not found]
    if lacking:
        raise DataError(f"{where} have no recording of {', '.join(map(repr, lacking[:5]))}.")
    if not backgrounds:
        raise DataError(f"{where} have no recording that serves as background (role background).")
    place = list(FOLDS).index(split)
    width = 10 - len(split)  # the split, a dash and the index: 11 characters, as in YouTube's ids
    return {
        f"{split}-{index:0{width}d}_0.000_{clip_seconds:.3f}": plan_scene(
            by_class, backgrounds, clip_seconds=clip_seconds, seed=(seed, place, index), snr_db=snr_db
        )
        for index in range(n_clips)
    }


def _make(jobs: Sequence[tuple[Path, ScenePlan]], root: Path, rate: int) -> int:
    for path, plan in jobs:
        write_audio(path, mixing.render_scene(plan, root, rate), rate)
    return len(jobs)


def _missing(made: Path, paths: Mapping[str, Path]) -> list[str]:
    there = set(index_audio(made / "audio")) if (made / "audio").is_dir() else set()
    return [clip for clip in paths if clip not in there]


def _make_all(todo: list[tuple[Path, ScenePlan]], root: Path, rate: int, jobs: int, progress: bool) -> None:
    if not todo:
        return
    logger.info("scenes: making %d clips in %s", len(todo), todo[0][0].parents[2])
    chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
    with tqdm(total=len(todo), desc="making scenes", unit="clip", disable=not progress) as bar:
        calls = (delayed(_make)(chunk, root, rate) for chunk in chunks)
        for n_made in Parallel(n_jobs=min(jobs, len(chunks)), return_as="generator_unordered")(calls):
            bar.update(n_made)


def _write_labels(made: Path, split: str, plans: dict[str, ScenePlan]) -> None:
    word = _SET_NAMES[split]
    events = {clip: plan.events for clip, plan in plans.items()}
    tags = {clip: tuple(dict.fromkeys(event.label for event in found)) for clip, found in events.items()}
    task4_files.write_durations(
        made / f"duration_of_files_in_{word}_set.csv", {clip: plan.clip_seconds for clip, plan in plans.items()}
    )
    task4_files.write_strong_tsv(made / f"groundtruth_strong_label_{word}_set.csv", events)
    task4_files.write_weak_tsv(made / f"groundtruth_weak_label_{word}_set.csv", tags)


def _write_accounts(made: Path, plans: dict[str, ScenePlan]) -> None:
    rows = [["clip_id", "recording", "label", "onset", "length", "snr_db", "background", "background_db"]]
    used: dict[str, str] = {}
    for clip, plan in plans.items():
        used[plan.background.name] = plan.background.credit
        for sound in plan.sounds:
            used[sound.recording.name] = sound.recording.credit
            seconds = [f"{value:.3f}" for value in (sound.onset_seconds, sound.length_seconds)]
            levels = [f"{sound.snr_db:.2f}", plan.background.name, f"{plan.background_db:.2f}"]
            rows.append([clip, sound.recording.name, sound.recording.category, *seconds, *levels])
    write_rows(made / "scenes.tsv", rows)
    write_rows(made / "credits.tsv", [["recording", "credit"], *([name, used[name]] for name in sorted(used))])


def open_scenes(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Task4Dataset:
    """Make what is missing of the scenes, and open them.

    ``data.root`` is the folder of recordings; ``data.n_train``, ``data.n_test`` and ``data.seed`` say how many
    scenes, and which; ``data.min_snr_db`` and ``data.max_snr_db`` how loud events are;
    ``features.clip_seconds`` and ``features.sample_rate_hz`` their length and rate (a rate above 20 kHz makes files of
    20 kHz).

    Raises
    ------
    ConfigError
        ``data.root`` is not set.
    DataError
        The folder is not one of recordings, or a recording cannot be read.
    """
    data = config.data
    assert isinstance(data, ScenesData)  # the registry chooses this function by the source
    if not data.root:
        raise ConfigError(
            "data.root is not set: source 'scenes' needs a folder of isolated recordings, e.g. ESC-50's; "
            "--set data.root=FOLDER."
        )
    cache = Path(cache)
    folder = read_recordings(data.root, cache=cache, jobs=jobs)
    rate = min(config.features.sample_rate_hz, mixing.MAX_RATE_HZ)
    clip_seconds, seed = config.features.clip_seconds, data.seed
    sizes = {"train": data.n_train, "test": data.n_test}
    snr_db = (data.min_snr_db, data.max_snr_db)
    other_snr = () if snr_db == mixing.DEFAULT_SNR_DB else (snr_db,)  # sets of earlier versions keep their name
    identity = fingerprint(mixing.MIXING_VERSION, folder.content, rate, clip_seconds, seed, sizes, FOLDS, *other_snr)
    made = cache / f"scenes-{identity}"
    plans = {
        split: plan_scenes(folder, split, n, clip_seconds=clip_seconds, seed=seed, snr_db=snr_db)
        for split, n in sizes.items()
    }
    paths = {clip: made / "audio" / split / f"{clip}.flac" for split in plans for clip in plans[split]}
    every = {clip: plan for split in plans.values() for clip, plan in split.items()}
    if not ((made / "credits.tsv").is_file() and not _missing(made, paths)):
        with lock(made, wait_seconds=math.inf):  # another process may be making the same set
            remove_temporary(made)
            _make_all([(paths[clip], every[clip]) for clip in _missing(made, paths)], folder.root, rate, jobs, progress)
            for split in plans:
                _write_labels(made, split, plans[split])
            _write_accounts(made, every)
    return Task4Dataset(
        made,
        made / "audio",
        name="scenes",
        provenance=(
            f"scenes mixed of {folder.name} ({len(folder.recordings)} recordings; training folds 1-3, testing fold 4; "
            f"seed {seed}{f', signal-to-noise ratio {snr_db[0]:g} to {snr_db[1]:g} dB' if other_snr else ''})"
        ),
        classes=folder.classes,
        clip_seconds=clip_seconds,
        identity=identity,
    )
