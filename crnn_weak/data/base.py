"""Data sets: clips with labels, and a registry of the sources that list them.

A data set lists clips: id, split, tags, perhaps events, and a file that may be missing. Nothing is decoded here
(`crnn_weak.audio.load_clip`). A new source is one module with one function that returns a `Dataset`, one line in
`SOURCES`, and the class of its settings in `crnn_weak.config`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.config import Config
from crnn_weak.errors import DataError, nearest_names
from crnn_weak.labels.events import Event


@dataclass(frozen=True)
class Clip:
    """One audio excerpt and its labels; `path` is None where the file is missing, `events` where times are unknown.

    Ids have neither suffix nor the organizers' leading ``Y``, and may begin with dashes. Splits are ``"train"``,
    ``"test"`` and, of some sources, ``"evaluation"``. Tags are in the order of the class list.
    """

    clip_id: str
    split: str
    path: Path | None
    tags: tuple[str, ...]
    events: tuple[Event, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """The clips that label files list, by split and in a stable order, with or without a file.

    `provenance` is one line for every table: what the data are and where they come from. `fingerprint` identifies the
    content (label files, seeds, sizes), not the folder. `unlisted` are audio files that no split lists.
    """

    name: str
    classes: tuple[str, ...]
    clip_seconds: float
    provenance: str
    fingerprint: str
    clips_of: Mapping[str, Sequence[Clip]]
    folder: Path
    unlisted: Sequence[Path] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.clips_of)

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split."""
        if split not in self.clips_of:
            raise DataError(f"{self.name}: no split {split!r}. {nearest_names(split, self.splits)}")
        return self.clips_of[split]


#: source name -> (module, function); the function takes the configuration and a folder for what it synthesizes.
SOURCES: dict[str, tuple[str, str]] = {
    "dcase2017_task4": ("crnn_weak.data.task4", "open_dcase2017_task4"),
    "street": ("crnn_weak.data.synthetic", "open_street"),
    "scenes": ("crnn_weak.data.synthetic", "open_scenes"),
    "folder": ("crnn_weak.data.folder", "open_folder"),
}


def open_dataset(config: Config, cache: str | Path, *, jobs: int = 1, progress: bool = False) -> Dataset:
    """Open the source that ``config.data.source`` names; synthesize or cut its clips first where they are missing.

    Parameters
    ----------
    config : Config
    cache : path
        Folder for clips that are synthesized (``street``, ``scenes``) or cut (``folder``); existing ones are reused.
    jobs : int
        Worker processes for these clips.
    progress : bool
        Show a bar.
    """
    module, function = SOURCES[config.data.source]
    opener = getattr(importlib.import_module(module), function)
    dataset: Dataset = opener(config, Path(cache), jobs=jobs, progress=progress)
    return dataset
