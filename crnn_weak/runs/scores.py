"""A run's scores with their reference, for the commands that evaluate and tune."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crnn_weak.detection.operating_point import OperatingPoint, StoredPoint, stored_point
from crnn_weak.detection.scores import Scores, load_scores
from crnn_weak.detection.tuning import Reference
from crnn_weak.errors import ClipError, nearest_names
from crnn_weak.labels.events import Event, tag_array, tag_names
from crnn_weak.labels.reading import read_events, read_tags
from crnn_weak.labels.rolls import segment_maximum, segment_roll
from crnn_weak.metrics.ranking import AveragePrecision, average_precision, psds
from crnn_weak.runs.run import Run, open_run


@dataclass(frozen=True)
class ScoredRun:
    """Scores and reference of the same clips."""

    run: Run
    scores: Scores
    tags: dict[str, tuple[str, ...]]
    events: dict[str, tuple[Event, ...]] | None  # None: the clips have no strong labels
    durations: dict[str, float]  # seconds
    coverage: str  # "n of N ... clips"

    @property
    def reference(self) -> Reference:
        """Return what the scores are tuned against."""
        config = self.run.config
        return Reference(self.tags, self.events, config.evaluation, config.features.clip_seconds)

    def average_precisions(self, segment_seconds: float) -> dict[str, AveragePrecision]:
        """Return average precision of tags, and of segments where there are strong labels."""
        scores = self.scores
        tags = tag_array([self.tags[clip] for clip in scores.clip_ids], scores.classes)
        result = {"clips (weak output)": average_precision(tags, scores.weak, classes=scores.classes)}
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
            true, scored = (values.reshape(-1, len(scores.classes)) for values in (roll, highest))
            title = f"segments of {segment_seconds:g} s (strong output)"
            result[title] = average_precision(true, scored, classes=scores.classes)
        return result

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


@functools.lru_cache(maxsize=1)
def detected_events(run: Run) -> dict[str, tuple[Event, ...]]:
    """Return the detected events of the test clips, as they were counted."""
    return read_events(run.files.events, classes=run.classes)


@functools.lru_cache(maxsize=1)
def estimated_tags(run: Run) -> dict[str, tuple[str, ...]]:
    """Return the estimated tags of the test clips, as they were counted."""
    return read_tags(run.files.tags, classes=run.classes)


def open_scores(path: str | Path, split: str) -> ScoredRun:
    """Read a run's scores of split ``test`` or ``validation``, with the reference from its feature store."""
    run = open_run(path)
    is_test = split == "test"
    store_split = "test" if is_test else "train"  # the validation clips are training clips
    scores = load_scores(run.files.scores if is_test else run.files.validation_scores)
    with run.open_store(store_split) as store:
        row_of = {clip: row for row, clip in enumerate(store.clip_ids)}
        for clip in scores.clip_ids:
            if clip not in row_of:
                raise ClipError(f"{store.path}: no clip {clip!r}. {nearest_names(clip, store.clip_ids[:5000])}")
        tags = {clip: tag_names(store.tags[row_of[clip]], store.classes) for clip in scores.clip_ids}
        durations = {clip: float(store.durations[row_of[clip]]) for clip in scores.clip_ids}
        labeled, events = store.events, None
        if set(scores.clip_ids) <= set(labeled):
            events = {clip: labeled[clip] for clip in scores.clip_ids}
        coverage = f"{store.coverage}, test" if is_test else f"{len(scores):,} validation clips"
    return ScoredRun(run, scores, tags, events, durations, coverage)


def run_operating_point(
    run: Run, classes: Sequence[str], which: str | Path | None = None
) -> tuple[OperatingPoint, str]:
    """Return a run's operating point and its origin in words.

    `which` is ``configured`` for the run's configuration, or the path of a file; by default the run's
    ``operating_point.json`` counts, and its configuration if there is none.
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
