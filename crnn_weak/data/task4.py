"""DCASE 2017 task 4 from the organizers' own label files, with any subset of the audio.

Splits are ``train``, ``test`` and, where its ground truth is in the metadata folder or in ``groundtruth_release``,
``evaluation``. A split whose set file is missing is read from its weak file. Events come from the strong file; rows
``0 0 label`` (tagged, but not heard) are zero-length events. Audio files may have any suffix that libsndfile reads, and
a ``Y`` before the id, in any subfolder. Synthesized data sets are written in this layout and served from here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from crnn_weak.audio import index_audio
from crnn_weak.config import Config, Task4Data, fingerprint
from crnn_weak.data.base import Clip
from crnn_weak.errors import ConfigError, DataError, LabelError, nearest_names
from crnn_weak.labels import task4 as task4_files
from crnn_weak.labels.events import AUDIOSET_IDS, DCASE2017_TASK4, Event, check_begin_within
from crnn_weak.labels.names import video_place

logger = logging.getLogger(__name__)

#: split -> the organizers' word for it in their file names.
_SET_NAMES = {"train": "training", "test": "testing", "evaluation": "evaluation"}


class Task4Dataset:
    """A folder of label files in the organizers' layout, and a folder of audio (None: every clip is missing).

    The order of `classes` is that of every array. `audioset_ids` (id -> label) are those in the last column of the set
    files. The fingerprint covers `identity` (seeds, versions) and the content of the label files.
    """

    def __init__(
        self,
        metadata_folder: str | Path,
        audio_folder: str | Path | None,
        *,
        name: str,
        provenance: str,
        classes: tuple[str, ...] = DCASE2017_TASK4,
        audioset_ids: Mapping[str, str] = AUDIOSET_IDS,
        clip_seconds: float = 10.0,
        identity: object = None,
    ) -> None:
        self.metadata_folder = Path(metadata_folder)
        self.audio_folder = None if audio_folder is None else Path(audio_folder)
        self.name = name
        self.classes = tuple(classes)
        self.clip_seconds = float(clip_seconds)
        self.provenance = provenance
        self._audioset_ids = dict(audioset_ids)
        self._identity = identity
        self._clips: dict[str, tuple[Clip, ...]] = {}
        if not self.metadata_folder.is_dir():
            raise DataError(f"{self.metadata_folder}: no such folder of label files.")
        self.splits = tuple(split for split in _SET_NAMES if self._list_file(split) is not None)
        if not self.splits:
            raise DataError(
                f"{self.metadata_folder}: no label files here; expected training_set.csv, testing_set.csv or "
                "groundtruth_weak_label_*_set.csv of DCASE 2017 task 4."
            )
        if self.audio_folder is not None and not self.audio_folder.is_dir():
            raise DataError(f"{self.audio_folder}: no such folder of audio files.")

    def _find(self, *names: str) -> Path | None:
        folders = (self.metadata_folder, self.metadata_folder / "groundtruth_release")
        return next((path for name in names for path in (f / name for f in folders) if path.is_file()), None)

    def _list_file(self, split: str) -> Path | None:
        word = _SET_NAMES[split]
        return self._find(f"{word}_set.csv", f"groundtruth_weak_label_{word}_set.csv")

    def _strong_file(self, split: str) -> Path | None:
        return self._find(f"groundtruth_strong_label_{_SET_NAMES[split]}_set.csv")

    @cached_property
    def fingerprint(self) -> str:
        files = [path for split in self.splits for path in (self._list_file(split), self._strong_file(split)) if path]
        # The readers accept UTF-16 as well: here any bytes give a text.
        texts = [(path.name, path.read_text(encoding="utf-8", errors="surrogateescape")) for path in files]
        contents = [(name, fingerprint(text)) for name, text in texts]
        return fingerprint(self.name, self.classes, self.clip_seconds, contents, self._identity)

    @cached_property
    def _audio(self) -> dict[str, Path]:
        """Audio files by canonical id; of a file with the organizers' ``Y``, that is a part of it."""
        if self.audio_folder is None:
            return {}
        return {task4_files.canonical_id(stem): path for stem, path in index_audio(self.audio_folder).items()}

    def unlisted_audio(self) -> list[Path]:
        """Return the audio files that no split lists."""
        used = {clip.path for split in self.splits for clip in self.clips(split)}
        return [path for path in self._audio.values() if path not in used]

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split, with or without a file."""
        if split not in self.splits:
            raise DataError(f"{self.name}: no split {split!r}. {nearest_names(split, self.splits)}")
        if split not in self._clips:
            self._clips[split] = tuple(self._read(split))
        return self._clips[split]

    def _read(self, split: str) -> list[Clip]:
        list_file = self._list_file(split)
        assert list_file is not None  # by self.splits
        if list_file.name.startswith("groundtruth_weak"):
            tags: Mapping[str, tuple[str, ...]] = task4_files.read_weak_tsv(list_file)
        else:
            tags = task4_files.read_set_csv(list_file, self._audioset_ids)
        if not tags:
            raise DataError(f"{list_file}: lists no clip.")
        strong_file = self._strong_file(split)
        events: Mapping[str, tuple[Event, ...]] = {}
        if strong_file is None:
            logger.debug("%s: no strong labels of split %s; its clips have tags only.", self.metadata_folder, split)
        else:
            events = task4_files.read_strong_tsv(strong_file)
            stray = next((clip for clip in events if clip not in tags), None)
            if stray is not None:
                raise DataError(f"{strong_file}: clip {stray!r} is not listed in {list_file.name}.")
            for clip_id, rows in events.items():
                _, start, end = video_place(clip_id)
                check_begin_within(rows, float(end) - float(start), f"{strong_file}: clip {clip_id!r}")
        audio = self._audio
        order = {label: index for index, label in enumerate(self.classes)}
        clips = []
        for clip_id, found in tags.items():
            for label in (*found, *(event.label for event in events.get(clip_id, ()))):
                if label not in order:
                    raise LabelError(
                        f"{list_file if label in found else strong_file}: clip {clip_id!r} has the label {label!r}, "
                        f"which is not in the class list. {nearest_names(label, self.classes)}"
                    )
            clips.append(
                Clip(
                    clip_id,
                    split,
                    audio.get(clip_id) or audio.get(f"Y{clip_id}"),
                    tuple(sorted(found, key=order.__getitem__)),
                    None if strong_file is None else events.get(clip_id, ()),
                )
            )
        return clips


def open_dcase2017_task4(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Task4Dataset:
    """Open the organizers' data: label files in ``data.metadata`` (or ``data.root``), audio in ``data.root``."""
    data = config.data
    assert isinstance(data, Task4Data)  # the registry chooses this function by the source
    metadata = data.metadata or data.root
    if not metadata:
        raise ConfigError(
            "data.metadata is not set: expected the folder with the organizers' training_set.csv and testing_set.csv, "
            "e.g. --set data.metadata=FOLDER --set data.root=FOLDER_OF_AUDIO."
        )
    return Task4Dataset(
        metadata,
        data.root or None,
        name="dcase2017_task4",
        provenance="DCASE 2017 task 4 (AudioSet excerpts), the organizers' label files",
        clip_seconds=config.features.clip_seconds,
    )
