"""DCASE 2017 task 4 from the organizers' own label files, with any subset of the audio; synthetic sets alike.

A split whose set file is missing is read from its weak file. Audio files may have a ``Y`` before the id.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from crnn_weak.audio import audio_files
from crnn_weak.config import Config, Task4Data, fingerprint
from crnn_weak.data.base import Clip, Dataset
from crnn_weak.errors import ConfigError, DataError, LabelError, nearest_names
from crnn_weak.labels.events import DCASE2017_TASK4, Event, check_begin_within
from crnn_weak.labels.names import canonical_id, video_place
from crnn_weak.labels.reading import by_clip, read_events, read_tags

logger = logging.getLogger(__name__)

#: split -> the organizers' word for it in their file names.
SET_NAMES = {"train": "training", "test": "testing", "evaluation": "evaluation"}


def read_task4(
    metadata: str | Path,
    audio: str | Path | None,
    *,
    name: str,
    provenance: str,
    classes: tuple[str, ...] = DCASE2017_TASK4,
    clip_seconds: float = 10.0,
    identity: object = None,
) -> Dataset:
    """Read the organizers' label files and index a folder of audio; `identity` goes into the fingerprint."""
    folder = Path(metadata)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of label files.")
    paths = {}  # split -> the file that lists its clips, the file of its events
    for split, word in SET_NAMES.items():
        list_file = _find(folder, f"{word}_set.csv") or _find(folder, f"groundtruth_weak_label_{word}_set.csv")
        if list_file:
            paths[split] = (list_file, _find(folder, f"groundtruth_strong_label_{word}_set.csv"))
    if not paths:
        raise DataError(
            f"{folder}: no label files here; expected training_set.csv, testing_set.csv or "
            "groundtruth_weak_label_*_set.csv of DCASE 2017 task 4."
        )
    audio_paths = [] if audio is None else audio_files(audio)
    # By canonical id; of a file with the organizers' ``Y``, that is a part of it. Of equal names the first.
    found = {canonical_id(path.stem): path for path in reversed(audio_paths)}
    if len(found) < len(audio_paths):
        logger.warning("%s: %d files share a name with another and are not used.", audio, len(audio_paths) - len(found))
    clips = {split: _read_split(split, *of_split, found, classes) for split, of_split in paths.items()}
    used = {clip.path for of_split in clips.values() for clip in of_split}
    # The readers accept UTF-16 as well: here any bytes give a text.
    files = [path for of_split in paths.values() for path in of_split if path]
    contents = [(path.name, fingerprint(path.read_text("utf-8", "surrogateescape"))) for path in files]
    return Dataset(
        name,
        tuple(classes),
        float(clip_seconds),
        provenance,
        fingerprint(name, tuple(classes), float(clip_seconds), contents, identity),
        clips,
        folder,
        [path for path in audio_paths if path not in used],
    )


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / "groundtruth_release" / name) if path.is_file()), None)


def _read_split(
    split: str, list_file: Path, strong_file: Path | None, audio: Mapping[str, Path], classes: tuple[str, ...]
) -> list[Clip]:
    tags = by_clip(list_file, read_tags(list_file))
    if not tags:
        raise DataError(f"{list_file}: lists no clip.")
    events: Mapping[str, tuple[Event, ...]] = by_clip(strong_file, read_events(strong_file)) if strong_file else {}
    for clip_id, rows in events.items():
        if clip_id not in tags:
            raise DataError(f"{strong_file}: clip {clip_id!r} is not listed in {list_file.name}.")
        _, start, end = video_place(clip_id)
        check_begin_within(rows, float(end) - float(start), f"{strong_file}: clip {clip_id!r}")
    order = {label: index for index, label in enumerate(classes)}
    clips = []
    for clip_id, found in tags.items():
        of_clip = events.get(clip_id, ())
        for label in (*found, *(event.label for event in of_clip)):
            if label not in order:
                raise LabelError(
                    f"{list_file if label in found else strong_file}: clip {clip_id!r} has the label {label!r}, "
                    f"which is not in the class list. {nearest_names(label, classes)}"
                )
        path = audio.get(clip_id) or audio.get(f"Y{clip_id}")
        in_order = tuple(sorted(found, key=order.__getitem__))
        clips.append(Clip(clip_id, split, path, in_order, None if strong_file is None else of_clip))
    return clips


def open_dcase2017_task4(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Dataset:
    """Open the organizers' data: label files in ``data.metadata`` (or ``data.root``), audio in ``data.root``."""
    data = config.data
    assert isinstance(data, Task4Data)  # the registry chooses this function by the source
    metadata = data.metadata or data.root
    if not metadata:
        raise ConfigError(
            "data.metadata is not set: expected the folder with the organizers' training_set.csv and testing_set.csv, "
            "e.g. --set data.metadata=FOLDER --set data.root=FOLDER_OF_AUDIO."
        )
    return read_task4(
        metadata,
        data.root or None,
        name="dcase2017_task4",
        provenance="DCASE 2017 task 4 (AudioSet excerpts), the organizers' label files",
        clip_seconds=config.features.clip_seconds,
    )
