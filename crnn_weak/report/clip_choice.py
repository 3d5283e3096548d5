"""Choice of the clips on a page: the best, the worst, some at random, one for each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from crnn_weak.labels.events import Events
from crnn_weak.labels.rolls import segment_roll

__all__ = ["ClipScores", "choose_clips", "score_clips"]


@dataclass(frozen=True)
class ClipScores:
    """Counts of each clip and class; units are segments where onsets are known, otherwise the clip as a whole.

    Attributes
    ----------
    clip_ids : tuple of str, length n_clips
    classes : tuple of str, length n_classes
    reference, estimated, correct : np.ndarray of int, shape (n_clips, n_classes)
    unit : str
        ``"segments"`` or ``"tags"``.
    """

    clip_ids: tuple[str, ...]
    classes: tuple[str, ...]
    reference: np.ndarray = field(repr=False)
    estimated: np.ndarray = field(repr=False)
    correct: np.ndarray = field(repr=False)
    unit: str = "segments"

    def f_scores(self) -> np.ndarray:
        """Return each clip's F-score over classes, in [0, 1]; NaN where nothing is true and nothing estimated."""
        total = (self.reference + self.estimated).sum(axis=1)
        with np.errstate(invalid="ignore"):
            scores: np.ndarray = np.where(total > 0, 2.0 * self.correct.sum(axis=1) / np.maximum(total, 1), np.nan)
        return scores

    def class_f_scores(self) -> np.ndarray:
        """Return the F-score of each clip and class, shape (n_clips, n_classes); NaN where the class is not true."""
        total = np.maximum(self.reference + self.estimated, 1)
        scores: np.ndarray = np.where(self.reference > 0, 2.0 * self.correct / total, np.nan)
        return scores


def score_clips(
    clip_ids: Sequence[str],
    classes: Sequence[str],
    reference: Events,
    estimated: Events,
    *,
    clip_seconds: float,
    segment_seconds: float = 1.0,
) -> ClipScores:
    """Count each clip's active segments.

    Parameters
    ----------
    clip_ids : sequence of str
    classes : sequence of str
    reference, estimated : mapping of clip id to sequence of Event
        A clip that is not there has no events.
    clip_seconds, segment_seconds : float
    """
    truth, guess = (
        segment_roll(
            events,
            clip_ids=clip_ids,
            classes=classes,
            clip_seconds=clip_seconds,
            segment_seconds=segment_seconds,
            where=where,
        )
        for events, where in ((reference, "reference"), (estimated, "estimated"))
    )
    return ClipScores(
        tuple(clip_ids), tuple(classes), truth.sum(axis=1), guess.sum(axis=1), (truth & guess).sum(axis=1)
    )


def choose_clips(
    scores: ClipScores,
    *,
    n_clips: int = 3,
    each_class: bool = True,
    wanted: Iterable[str] = (),
    seed: int = 0,
) -> dict[str, list[str]]:
    """Choose clips to show.

    Best and worst go by the clip's F-score; among equals, the clip with more that is true comes first. For each
    class the *middle* clip of those in which it is true is shown, not the best: the page is no shop window.

    Parameters
    ----------
    scores : ClipScores
    n_clips : int
        Of each of best, worst, random; 0 for none of them and none by class.
    each_class : bool
    wanted : iterable of str
        Clips asked for by name, shown first.
    seed : int
        Of the random ones.

    Returns
    -------
    dict of clip id to list of str
        Why each clip is shown, in the order of showing: ``chosen``, ``best``, ``worst``, ``random``, ``class: NAME``.
    """
    reasons: dict[str, list[str]] = {}

    def add(clip_id: str, reason: str) -> None:
        listed = reasons.setdefault(clip_id, [])
        if reason not in listed:
            listed.append(reason)

    for clip_id in wanted:
        add(clip_id, "chosen")
    if n_clips <= 0:
        return reasons
    f_scores, n_true = scores.f_scores(), scores.reference.sum(axis=1)
    ranked = [row for row in np.lexsort((-n_true, -f_scores)) if np.isfinite(f_scores[row])]
    for row in ranked[:n_clips]:
        add(scores.clip_ids[row], "best")
    worst = sorted(ranked, key=lambda row: (f_scores[row], -n_true[row]))[:n_clips]
    for row in worst:
        add(scores.clip_ids[row], "worst")
    others = [clip_id for clip_id in scores.clip_ids if clip_id not in reasons]
    order = np.random.default_rng(seed).permutation(len(others))
    for index in order[:n_clips]:
        add(others[index], "random")
    if each_class:
        by_class = scores.class_f_scores()
        for column, name in enumerate(scores.classes):
            rows = np.flatnonzero(np.isfinite(by_class[:, column]))
            if len(rows):
                middle = rows[np.argsort(by_class[rows, column], kind="stable")][(len(rows) - 1) // 2]
                add(scores.clip_ids[middle], f"class: {name}")
    return reasons
