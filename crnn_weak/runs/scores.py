"""A run's scores with their reference, for the commands that evaluate and tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.detection.operating_point import OperatingPoint, StoredPoint, stored_point
from crnn_weak.detection.scores import Scores, load_scores
from crnn_weak.errors import ClipError, RunError, nearest_names
from crnn_weak.labels.classes import tag_array, tag_names
from crnn_weak.labels.events import Event
from crnn_weak.labels.rolls import segment_maximum, segment_roll
from crnn_weak.metrics.ranking import AveragePrecision, average_precision, psds
from crnn_weak.runs.run import Run, open_run

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

__all__ = ["ScoredRun", "open_scores", "run_operating_point", "scored_on"]

#: split of the scores -> (score file of `RunFiles`, split of the store that holds the reference)
_FILES = {"test": ("scores", "test"), "validation": ("validation_scores", "train")}


@dataclass(frozen=True)
class ScoredRun:
    """Scores and reference of the same clips.

    Attributes
    ----------
    run : Run
    scores : Scores
    tags : dict of clip id to tuple of str
    events : dict of clip id to tuple of Event, or None
        None where the clips have no strong labels.
    durations : dict of clip id to seconds
    coverage : str
        ``n of N ... clips``.
    """

    run: Run
    scores: Scores
    tags: dict[str, tuple[str, ...]]
    events: dict[str, tuple[Event, ...]] | None
    durations: dict[str, float]
    coverage: str

    def average_precisions(self, segment_seconds: float) -> dict[str, AveragePrecision]:
        """Return average precision of tags, and of segments where there are strong labels."""
        scores = self.scores
        tags = tag_array([self.tags[clip] for clip in scores.clip_ids], scores.classes)
        found = {"clips (weak output)": average_precision(tags, scores.weak, classes=scores.classes)}
        if self.events is not None:
            roll = segment_roll(
                self.events,
                clip_ids=scores.clip_ids,
                classes=scores.classes,
                clip_seconds=self.run.config.features.clip_seconds,
                segment_seconds=segment_seconds,
            )
            highest = segment_maximum(
                scores.strong, scores.hop_seconds, n_segments=roll.shape[1], segment_seconds=segment_seconds
            )
            n_classes = len(scores.classes)
            found[f"segments of {segment_seconds:g} s (strong output)"] = average_precision(
                roll.reshape(-1, n_classes), highest.reshape(-1, n_classes), classes=scores.classes
            )
        return found

    def psds(self) -> dict[str, float]:
        """Return PSDS1 and PSDS2; nothing without strong labels."""
        if self.events is None:
            return {}
        scores = self.scores
        return psds(
            scores.strong,
            self.events,
            clip_ids=scores.clip_ids,
            classes=scores.classes,
            hop_seconds=scores.hop_seconds,
        )


def open_scores(path: str | Path, split: str) -> ScoredRun:
    """Read a run's scores of a split, ``test`` or ``validation``, with the reference from its feature store.

    Raises
    ------
    RunError
        There is no run, it is not finished, or its store is gone.
    ClipError
        The store lacks a clip that has scores.
    """
    run = open_run(path)
    name, store_split = _FILES[split]
    scores = load_scores(getattr(run.files, name))
    store = run.open_store(store_split)
    if store is None:
        place = run.data.get(f"{store_split}_store", "named in no data.json")
        raise RunError(
            f"{run.path}: the feature store that holds the reference is gone ({place}). Make it again with the "
            "command that trained the run, or score the run's events.tsv with --reference."
        )
    with store:
        return scored_on(run, scores, store)


def scored_on(run: Run, scores: Scores, store: FeatureStore) -> ScoredRun:
    """Return a run's scores of clips of a store with the reference from there.

    Raises
    ------
    ClipError
        The store lacks a clip that has scores.
    """
    rows = {clip: row for row, clip in enumerate(store.clip_ids)}
    for clip in scores.clip_ids:
        if clip not in rows:
            raise ClipError(f"{store.path}: no clip {clip!r}. {nearest_names(clip, store.clip_ids[:5000])}")
    chosen = [rows[clip] for clip in scores.clip_ids]
    tags = {clip: tag_names(store.tags[row], store.classes) for clip, row in zip(scores.clip_ids, chosen, strict=True)}
    known = store.events
    events = {clip: known[clip] for clip in scores.clip_ids} if set(scores.clip_ids) <= set(known) else None
    durations = {clip: float(store.durations[row]) for clip, row in zip(scores.clip_ids, chosen, strict=True)}
    # The validation clips are those of the training store.
    coverage = f"{len(scores):,} validation clips" if store.split == "train" else f"{store.coverage}, {store.split}"
    return ScoredRun(run, scores, tags, events, durations, coverage)


def run_operating_point(
    run: Run, classes: Sequence[str], which: str | Path | None = None
) -> tuple[OperatingPoint, str]:
    """Return a run's operating point and where it comes from.

    Parameters
    ----------
    run : Run
    classes : sequence of str
        Of the scores.
    which : str or path, optional
        ``configured`` for the run's configuration, or the path of a file; by default the run's
        ``operating_point.json``, and its configuration where there is none.

    Raises
    ------
    ConfigError
        The file is damaged, or has different classes.
    """
    stored = None
    if which is None:
        stored = stored_point(run.path, classes)
    elif which != "configured":
        stored = StoredPoint.read(which, classes)
    if stored is None:
        return OperatingPoint.from_config(run.config.operating_point, classes), "the run's configuration"
    source = f"tuned on validation clips for {', '.join(stored.tuned)}" if stored.tuned else "stored"
    return stored.operating_point, source if which is None else f"{source}, {which}"
