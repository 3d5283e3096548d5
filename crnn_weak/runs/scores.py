"""A run's scores with their reference, for the commands that evaluate and tune."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_weak.activity import segment_maximum, segment_roll
from crnn_weak.errors import ClipError, ConfigError, RunError, nearest_names
from crnn_weak.events.operating_point import ClassDecisions
from crnn_weak.events.scores import ScoreSet, load_scores
from crnn_weak.labels.classes import tag_array
from crnn_weak.labels.events import Event
from crnn_weak.metrics.ranking import AveragePrecision, average_precision, psds
from crnn_weak.runs.run import Run, open_run, read_json

__all__ = ["DECISIONS_FILE", "ScoredRun", "open_scores", "run_decisions"]

DECISIONS_FILE = "decisions.json"
#: split of the scores -> (score file, split of the store that holds the reference)
_FILES = {"test": ("scores.h5", "test"), "validation": ("validation_scores.h5", "train")}


@dataclass(frozen=True)
class ScoredRun:
    """Scores and reference of the same clips.

    Attributes
    ----------
    run : Run
    scores : ScoreSet
    tags : dict of clip id to tuple of str
    events : dict of clip id to tuple of Event, or None
        None where the clips have no strong labels.
    durations : dict of clip id to seconds
    coverage : str
        ``n of N ... clips``.
    """

    run: Run
    scores: ScoreSet
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
    scores = load_scores(run.path / name)
    store = run.open_store(store_split)
    if store is None:
        place = run.data.get(f"{store_split}_store", "named in no data.json")
        raise RunError(
            f"{run.path}: the feature store that holds the reference is gone ({place}). Make it again with the "
            "command that trained the run, or score the run's events.tsv with --reference."
        )
    with store:
        rows = {clip: row for row, clip in enumerate(store.clip_ids)}
        for clip in scores.clip_ids:
            if clip not in rows:
                raise ClipError(f"{store.path}: no clip {clip!r}. {nearest_names(clip, store.clip_ids[:5000])}")
        chosen = [rows[clip] for clip in scores.clip_ids]
        tags = {
            clip: tuple(label for label, on in zip(store.classes, store.tags[row], strict=True) if on)
            for clip, row in zip(scores.clip_ids, chosen, strict=True)
        }
        known = store.events
        events = {clip: known[clip] for clip in scores.clip_ids} if set(scores.clip_ids) <= set(known) else None
        durations = {clip: float(store.durations[row]) for clip, row in zip(scores.clip_ids, chosen, strict=True)}
        coverage = f"{len(scores):,} validation clips" if split == "validation" else f"{store.coverage}, {store.split}"
    return ScoredRun(run, scores, tags, events, durations, coverage)


def run_decisions(run: Run, classes: Sequence[str], which: str) -> tuple[ClassDecisions, str]:
    """Return decisions and where they come from.

    Parameters
    ----------
    which : str
        ``run`` for the run's configuration, ``tuned`` for its ``decisions.json``, or the path of such a file.
    """
    if which == "run":
        return ClassDecisions.from_config(run.config.decisions, classes), "the run's configuration"
    path = run.path / DECISIONS_FILE if which == "tuned" else Path(which)
    content: dict[str, Any] = read_json(path)
    if not content:
        hint = f"Run `crnn-weak tune {run.path} --metric segment_f1` first." if which == "tuned" else (
            "Expected run, tuned, or a JSON file."
        )  # fmt: skip
        raise ConfigError(f"{path}: no decisions there. {hint}")
    try:
        decisions = ClassDecisions.from_dict(content.get("decisions", content))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if decisions.classes != tuple(classes):
        raise ConfigError(f"{path}: decisions of other classes than the run's. Tune this run.")
    metrics = ", ".join(content.get("tuned", {})) or "file"
    return decisions, f"tuned on validation for {metrics}" if which == "tuned" else f"from {path}: {metrics}"


def write_decisions(path: Path, content: dict[str, Any]) -> None:
    """Write ``decisions.json``."""
    from crnn_weak.storage import write_text

    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
