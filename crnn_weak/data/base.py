"""Data sets: one protocol, and a registry of the sources that fulfill it.

A data set lists clips: id, split, tags, perhaps events, and a file that may be missing. Nothing is decoded here
(`crnn_weak.audio.load_clip`). A new source is one module with one class that has the members of `Dataset`, one line in
`SOURCES`, and the class of its settings in `crnn_weak.config`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crnn_weak.config import Config
from crnn_weak.errors import ConfigError, nearest_names
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


class Dataset(Protocol):
    """Members of every data source."""

    name: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    clip_seconds: float

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips that the label files list, in a stable order, with or without a file."""
        ...

    @property
    def provenance(self) -> str:
        """One line for every table: what the data are and where they come from."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies the content (label files, seeds, sizes), not the folder."""
        ...


#: source name -> (module, factory); the factory takes the whole configuration and a folder for what it synthesizes.
SOURCES: dict[str, tuple[str, str]] = {
    "dcase2017_task4": ("crnn_weak.data.task4", "open_dcase2017_task4"),
    "street": ("crnn_weak.data.street", "open_street"),
    "scenes": ("crnn_weak.data.scenes", "open_scenes"),
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
    if config.data.source not in SOURCES:
        raise ConfigError(
            f"data.source = {config.data.source!r} is not known. {nearest_names(config.data.source, SOURCES)}"
        )
    module, factory = SOURCES[config.data.source]
    opener = getattr(importlib.import_module(module), factory)
    dataset: Dataset = opener(config, Path(cache), jobs=jobs, progress=progress)
    return dataset
