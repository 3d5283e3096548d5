"""The clips of a page: which are shown, with which picture and sound.

A run's folder may come from a stranger: of the recordings that its ``data.json`` names, only those are opened that,
links resolved, are inside a folder that the user named.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.errors import ClipError, CrnnWeakError, DataError, nearest_names
from crnn_weak.figures.clip import clip_figure
from crnn_weak.figures.style import span
from crnn_weak.labels.events import tag_array, tag_names
from crnn_weak.labels.rolls import segment_roll
from crnn_weak.report.media import Picture, audio_uri, figure_uri
from crnn_weak.runs.folders import Run
from crnn_weak.runs.scores import detected_events, estimated_tags

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipScores:
    """Counts of each clip and class, int arrays of shape (n_clips, n_classes): segments, or tags without events."""

    clip_ids: tuple[str, ...]
    classes: tuple[str, ...]
    reference: np.ndarray
    estimated: np.ndarray
    correct: np.ndarray

    def f_scores(self) -> np.ndarray:
        """Return each clip's F-score in [0, 1]; NaN where nothing is true and nothing estimated."""
        total = (self.reference + self.estimated).sum(axis=1)
        return np.where(total > 0, 2.0 * self.correct.sum(axis=1) / np.maximum(total, 1), np.nan)

    def class_f_scores(self) -> np.ndarray:
        """Return the F-score of each clip and class; NaN where the class is not true."""
        total = np.maximum(self.reference + self.estimated, 1)
        return np.where(self.reference > 0, 2.0 * self.correct / total, np.nan)


class ClipView(NamedTuple):
    """One clip as the template writes it."""

    clip_id: str
    reasons: list[str]
    f_score: str
    seconds: float
    picture: Picture
    description: str
    sound: str
    note: str


def score_clips(run: Run, store: FeatureStore) -> ClipScores:
    """Count each test clip's correct segments, or its correct tags where onsets are not known."""
    stored = set(store.clip_ids)
    clip_ids = tuple(clip_id for clip_id in run.scores.clip_ids if clip_id in stored)
    classes = run.scores.classes
    if not store.has_events:
        true_tags = [tag_names(store.tags[store.row(clip_id)], store.classes) for clip_id in clip_ids]
        truth = tag_array(true_tags, classes).astype(int)
        estimate = tag_array([estimated_tags(run).get(clip_id, ()) for clip_id in clip_ids], classes).astype(int)
        return ClipScores(clip_ids, classes, truth, estimate, truth & estimate)
    grid: dict[str, Any] = {
        "clip_ids": clip_ids,
        "classes": classes,
        "clip_seconds": run.config.features.clip_seconds,
        "segment_seconds": run.config.evaluation.segment_seconds,
    }
    truth = segment_roll(store.events, where="reference", **grid)
    estimate = segment_roll(detected_events(run), where="estimated", **grid)
    return ClipScores(clip_ids, classes, truth.sum(axis=1), estimate.sum(axis=1), (truth & estimate).sum(axis=1))


def choose_clips(
    scores: ClipScores, *, n_clips: int = 3, wanted: Iterable[str] = (), seed: int = 0
) -> dict[str, list[str]]:
    """Return the clips to show, in this order, each with its reasons: chosen, best, worst, random, ``class: NAME``.

    Best and worst go by the clip's F-score; among equals, the clip with more true activity comes first. Each class is
    shown by the *middle* clip of those in which it is true, so that the page is representative.
    """
    reasons: dict[str, list[str]] = {clip_id: ["chosen"] for clip_id in wanted}
    if n_clips <= 0:
        return reasons

    def add(row: int, reason: str) -> None:
        reasons.setdefault(scores.clip_ids[row], []).append(reason)

    f_scores, n_true = scores.f_scores(), scores.reference.sum(axis=1)
    scored = np.flatnonzero(np.isfinite(f_scores)).tolist()
    for row in sorted(scored, key=lambda row: (-f_scores[row], -n_true[row]))[:n_clips]:
        add(row, "best")
    for row in sorted(scored, key=lambda row: (f_scores[row], -n_true[row]))[:n_clips]:
        add(row, "worst")
    others = [row for row, clip_id in enumerate(scores.clip_ids) if clip_id not in reasons]
    for row in np.random.default_rng(seed).permutation(others)[:n_clips].tolist():
        add(row, "random")
    for name, by_class in zip(scores.classes, scores.class_f_scores().T, strict=True):
        rows = np.flatnonzero(np.isfinite(by_class))
        if len(rows):
            middle = rows[np.argsort(by_class[rows], kind="stable")][(len(rows) - 1) // 2]
            add(int(middle), f"class: {name}")
    return reasons


def gather_clips(
    run: Run, *, n_clips: int, wanted: Sequence[str], audio_folders: Sequence[str | Path]
) -> tuple[list[ClipView], list[str]]:
    """Return the clips of a run and notes for the page; a missing store or recording is a note.

    `n_clips` is the number of each of best, worst and random. A clip of `wanted` that is not in the run is a
    ClipError.
    """
    for clip_id in wanted:
        if clip_id not in run.scores.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the run. {nearest_names(clip_id, run.scores.clip_ids)}")
    try:
        store = run.open_store("test")
    except CrnnWeakError as error:
        return [], [f"No clip is shown: {error}"]
    folders = [Path(folder).resolve() for folder in (run.data_folder, *audio_folders)]
    with store:
        scores = score_clips(run, store)
        chosen = choose_clips(scores, n_clips=n_clips, wanted=wanted)
        f_scores = dict(zip(scores.clip_ids, scores.f_scores().tolist(), strict=True))
        views = [
            _view(run, store, clip_id, f_scores.get(clip_id, np.nan), reasons, folders)
            for clip_id, reasons in chosen.items()
        ]
        notes = []
        if not store.has_events:
            notes.append("The onsets and offsets of these clips are not known: no true events are drawn.")
    for note, count in Counter(view.note for view in views if view.note).items():
        notes.append(f"{count} of {len(views)} clips have no sound: {note}")
    return views, notes


def _view(
    run: Run, store: FeatureStore, clip_id: str, f_score: float, reasons: list[str], folders: Sequence[Path]
) -> ClipView:
    row, stored_row = run.scores.row(clip_id), store.row(clip_id)
    features = run.config.features
    thresholds = {}
    if run.metrics.get("operating_point"):
        point = OperatingPoint.from_dict(run.metrics["operating_point"])
        thresholds = dict(zip(point.classes, point.thresholds, strict=True))
    figure = clip_figure(
        store.read([stored_row])[0],
        run.scores.strong[row],
        run.scores.weak[row],
        features=features,
        classes=run.scores.classes,
        thresholds=thresholds,
        reference=store.events.get(clip_id, ()),
        estimated=detected_events(run).get(clip_id, ()),
    )
    picture = Picture(figure_uri(figure), *span(figure.axes[0]))
    true_tags = tag_names(store.tags[stored_row], store.classes)
    tags = estimated_tags(run).get(clip_id, ())
    description = f"true: {', '.join(true_tags) or 'nothing'}; tagged: {', '.join(tags) or 'nothing'}"
    sound, note = _sound(run, clip_id, folders)
    text = f"{100 * f_score:.0f} %" if np.isfinite(f_score) else "–"
    return ClipView(clip_id, reasons, text, features.clip_seconds, picture, description, sound, note)


def _sound(run: Run, clip_id: str, folders: Sequence[Path]) -> tuple[str, str]:
    """Return a clip's sound as an address, and otherwise in a sentence why there is none."""
    path = run.audio_path(clip_id)
    if path is None:
        return "", "the recording was not found."
    if not any(path.resolve().is_relative_to(folder) for folder in folders):
        return "", "the recording is outside the folders that may be opened; name its folder with --audio."
    features = run.config.features
    try:
        return audio_uri(path, sample_rate_hz=features.sample_rate_hz, clip_seconds=features.clip_seconds), ""
    except DataError as error:
        log.warning("report: %s", error)
        return "", "the recording is unreadable."
