"""Sets of synthesized clips: written once, resumed, locked, and served by the reader of the organizers' files.

The folder has ``audio/<split>/*.flac`` (16 bit) and label files in the organizers' formats. A clip depends on its plan
only, not on the number of processes or on other clips. Files appear under their names when they are whole: the clips
first, then the label files of a split, the set's JSON file last. An interrupted call is resumed by the next one, which
keeps the clips that are whole.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import load_clip, read_header, write_audio
from crnn_weak.errors import DataError
from crnn_weak.files import lock, remove_temporary, write_json
from crnn_weak.labels import task4 as task4_files
from crnn_weak.labels.tables import write_rows

logger = logging.getLogger(__name__)

_SET_NAMES = {"train": "training", "test": "testing"}
_BATCH = 8  # clips that a worker synthesizes between two reports


@dataclass(frozen=True)
class SynthesizedSet:
    """A set of clips: `plans` by split and clip id, `render(plan, rate)` -> samples, importable by a worker.

    A plan has the ``events`` of its clip. `tables` are further files, by name. `description` says what the set is.
    """

    name: str
    folder: Path
    plans: Mapping[str, Mapping[str, Any]]
    render: Callable[[Any, int], np.ndarray]
    sample_rate_hz: int
    clip_seconds: float
    description: Mapping[str, object]
    file_prefix: str = ""
    has_audioset_ids: bool = False
    tables: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)

    def make(self, *, jobs: int = 1, progress: bool = False) -> Path:
        """Synthesize the clips that are missing or damaged, and return the set's folder."""
        set_file = self.folder / f"{self.name}.json"
        if not set_file.is_file() or any(self._missing(split) for split in self.plans):
            with lock(self.folder, wait_seconds=math.inf):  # another process may be making the same set
                remove_temporary(self.folder.rglob(".*.tmp*"))
                for split in self.plans:
                    self._make_split(split, jobs, progress)
                for name, rows in self.tables.items():
                    write_rows(self.folder / name, [list(row) for row in rows])
                write_json(set_file, self.description)
        return self.folder

    def _missing(self, split: str) -> list[tuple[Path, Any]]:
        """Return files and plans of the clips to look at: of a finished split those that their headers say are bad."""
        audio = self.folder / "audio" / split
        clips = [(audio / f"{self.file_prefix}{clip}.flac", plan) for clip, plan in self.plans[split].items()]
        if not self._last_label_file(split).is_file():
            return clips
        return [(path, plan) for path, plan in clips if not self._is_whole(path, decode=False)]

    def _is_whole(self, path: Path, *, decode: bool) -> bool:
        try:
            header = read_header(path)
            seconds = load_clip(path, self.sample_rate_hz)[1] if decode else header.duration_seconds
        except DataError:
            return False
        return header.sample_rate_hz == self.sample_rate_hz and abs(seconds - self.clip_seconds) * header[0] < 1

    def _make_split(self, split: str, jobs: int, progress: bool) -> None:
        todo = self._missing(split)
        if todo:
            logger.info("%s: %d clips (%s) to synthesize in %s", self.name, len(todo), split, self.folder)
        # Only what a worker needs travels to it.
        reduced = replace(self, plans={}, tables={})
        calls = (delayed(_make_batch)(reduced, todo[start : start + _BATCH]) for start in range(0, len(todo), _BATCH))
        parallel = Parallel(n_jobs=jobs if len(todo) > _BATCH else 1, return_as="generator_unordered")
        with tqdm(total=len(todo), desc=f"{self.name}, {split}", unit="clip", disable=not progress) as bar:
            for n_made in parallel(calls):
                bar.update(n_made)
        if not self._last_label_file(split).is_file():
            self._write_labels(split)

    def _last_label_file(self, split: str) -> Path:
        word = _SET_NAMES[split]
        return self.folder / (f"{word}_set.csv" if self.has_audioset_ids else f"groundtruth_weak_label_{word}_set.csv")

    def _write_labels(self, split: str) -> None:
        word = _SET_NAMES[split]
        events = {clip: plan.events for clip, plan in self.plans[split].items()}
        tags = {clip: tuple(dict.fromkeys(event.label for event in found)) for clip, found in events.items()}
        durations = dict.fromkeys(tags, self.clip_seconds)
        task4_files.write_durations(self.folder / f"duration_of_files_in_{word}_set.csv", durations)
        task4_files.write_strong_tsv(self.folder / f"groundtruth_strong_label_{word}_set.csv", events)
        # The last file says that the split is whole.
        task4_files.write_weak_tsv(self.folder / f"groundtruth_weak_label_{word}_set.csv", tags)
        if self.has_audioset_ids:
            task4_files.write_set_csv(self.folder / f"{word}_set.csv", tags)


def _make_batch(wanted: SynthesizedSet, clips: Sequence[tuple[Path, Any]]) -> int:
    """Synthesize the clips that are missing or damaged; runs in a worker process."""
    for path, plan in clips:
        if not (path.is_file() and wanted._is_whole(path, decode=True)):
            write_audio(path, wanted.render(plan, wanted.sample_rate_hz), wanted.sample_rate_hz)
    return len(clips)
