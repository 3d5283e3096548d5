"""Localization: how much of a saliency map is inside the true event.

*Share* is the part of the map's absolute energy (summed over mel bands) inside the frames where its class sounds. The
*pointing game* asks whether the map's largest absolute value is in one of them (Zhang et al., "Top-down neural
attention by excitation backprop", ECCV 2016; in time only, since strong labels have no frequency). A map without
information about time scores the *coverage*, the event's share of the clip, in both. Pairs whose class sounds in every
frame or in none cannot tell maps apart; they are skipped and counted, as are maps that are zero everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crnn_weak.errors import ClipError, DataError
from crnn_weak.labels.rolls import event_roll
from crnn_weak.metrics.summary import interval, resampled_sums
from crnn_weak.saliency.maps import Explainer, Target

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

# Maps at a time: 256 of the paper's clips are 20 MB.
_BLOCK = 256


class Localization(NamedTuple):
    """The measures of each map, float64 arrays of shape (n_maps,).

    `share` is in [0, 1], `hit` 0 or 1, both NaN where the map is zero everywhere; `coverage`, the share of the frames
    that the event covers, is the chance level of both.
    """

    share: np.ndarray
    hit: np.ndarray
    coverage: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """The maps that can be judged, bool of shape (n_maps,)."""
        return np.isfinite(self.share) & (self.coverage > 0) & (self.coverage < 1)


def localize(maps: np.ndarray, inside: np.ndarray) -> Localization:
    """Measure how much of each map is inside its event.

    `maps` has shape (n_maps, n_frames, n_mels), `inside` is bool of shape (n_maps, n_frames).

    >>> found = localize(np.array([[[3.0], [-1.0]]]), np.array([[True, False]]))
    >>> float(found.share[0]), float(found.hit[0]), float(found.coverage[0])
    (0.75, 1.0, 0.5)
    """
    if not np.isfinite(maps).all():
        raise DataError("localization: a saliency map holds NaN or inf; the model's weights may have diverged.")
    energy = np.abs(maps).sum(axis=2, dtype=np.float64)  # (n_maps, n_frames)
    total = energy.sum(axis=1)
    zero = total == 0
    share = np.where(zero, np.nan, (energy * inside).sum(axis=1) / np.where(zero, 1.0, total))
    peak = np.abs(maps).max(axis=2).argmax(axis=1)
    hit = np.where(zero, np.nan, inside[np.arange(len(maps)), peak].astype(float))
    return Localization(share, hit, inside.mean(axis=1))


#: The means of `summarize` by name, and numbers of pairs.
Summary = dict[str, float]

_MEANS = (
    "coverage", "share", "share_gain", "share_gain_low", "share_gain_high", "share_ratio",
    "hit", "hit_gain", "hit_gain_low", "hit_gain_high",
)  # fmt: skip


def summarize(found: Localization, clip_ids: Sequence[str], *, n_resamples: int = 1000, seed: int = 0) -> Summary:
    """Average over the usable maps, with 95 % intervals by bootstrap over clips.

    Clips (`clip_ids`, one of each map) are drawn again, not pairs: two classes of one clip are not independent.
    `n_skipped` pairs have an event that covers the whole clip or no frame, the maps of `n_zero` pairs are zero
    everywhere. `share_gain` and `hit_gain` are mean share and hit minus mean coverage, `share_ratio` is mean share over
    mean coverage.
    """
    if len(clip_ids) != len(found.share):
        raise DataError(f"localization: expected {len(found.share)} clip ids, received {len(clip_ids)}.")
    usable = found.usable
    partial = (found.coverage > 0) & (found.coverage < 1)
    names, clip = np.unique(np.asarray(clip_ids, dtype=str)[usable], return_inverse=True)
    numbers: Summary = {
        "n_pairs": int(usable.sum()),
        "n_clips": len(names),
        "n_skipped": int((~partial).sum()),
        "n_zero": int((partial & ~usable).sum()),
    }
    if not usable.any():
        return numbers | dict.fromkeys(_MEANS, float("nan"))
    measures = np.stack([found.coverage[usable], found.share[usable], found.hit[usable]], axis=1)
    sums = np.zeros((len(names), 4))  # of the measures and of the pairs of each clip
    np.add.at(sums, clip, np.column_stack([measures, np.ones(len(clip))]))
    totals = resampled_sums(sums, n_resamples=n_resamples, rng=np.random.default_rng(seed))
    means = totals[:, :3] / totals[:, 3:]
    share_gain, hit_gain = (interval(means[:, column] - means[:, 0]) for column in (1, 2))
    coverage, share, hit = map(float, measures.mean(axis=0))
    values = (
        coverage, share, share - coverage, share_gain.low, share_gain.high, share / coverage,
        hit, hit - coverage, hit_gain.low, hit_gain.high,
    )  # fmt: skip
    return numbers | dict(zip(_MEANS, values, strict=True))


def examples(found: Localization, eligible: np.ndarray) -> dict[int, str]:
    """Return the best, the median and the worst map, by share above coverage: row -> why it is shown."""
    rows = np.flatnonzero(found.usable & eligible)
    if not len(rows):
        raise ClipError("no clip of the test split has an event of these classes that covers a part of it.")
    ranked = rows[np.argsort(-(found.share - found.coverage)[rows], kind="stable")]
    shown: dict[int, str] = {}
    for word, place in (("best", 0), ("median", len(ranked) // 2), ("worst", len(ranked) - 1)):
        row = int(ranked[place])
        why = (
            f"the {word} of {len(ranked)} pairs: {found.share[row]:.0%} of the strong map inside the event, "
            f"which covers {found.coverage[row]:.0%} of the clip"
        )
        shown.setdefault(row, why)
    return shown


# --- over a feature store ------------------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """The (clip, class) pairs with true events: rows of the store, ids, labels, and where each class sounds.

    `rows` has shape (n_pairs,), `inside` is bool of shape (n_pairs, n_frames).
    """

    rows: np.ndarray
    clip_ids: tuple[str, ...]
    labels: tuple[str, ...]
    inside: np.ndarray


def event_pairs(store: FeatureStore) -> Pairs:
    """Return the pairs of a store's clips and the classes that sound in them."""
    rows, labels, inside = [], [], []
    hop, n_frames = store.features.hop_seconds, store.features.n_frames
    for row, clip_id in enumerate(store.clip_ids):
        roll = event_roll(store.events.get(clip_id, ()), store.classes, hop_seconds=hop, n_frames=n_frames)
        for column in np.flatnonzero(roll.any(axis=0)):
            rows.append(row)
            labels.append(store.classes[column])
            inside.append(roll[:, column])
    if not (rows and store.has_events):
        raise DataError(
            f"{store.path}: the clips have no onsets and offsets, so maps cannot be judged. "
            "Name clips with --clip and pass --no-statistics, or use data with strong labels."
        )
    clip_ids = tuple(store.clip_ids[row] for row in rows)
    return Pairs(np.array(rows), clip_ids, tuple(labels), np.stack(inside))


def measure(explainer: Explainer, store: FeatureStore, pairs: Pairs, target: Target, method: str) -> Localization:
    """Measure the maps of all pairs; the class of `target` is replaced by that of each pair."""

    def maps(part: slice) -> np.ndarray:
        targets = [dataclasses.replace(target, label=label) for label in pairs.labels[part]]
        return explainer.explain(store.read(pairs.rows[part]), targets, method=method).maps

    return _in_blocks(maps, pairs)


def measure_loudness(store: FeatureStore, pairs: Pairs) -> Localization:
    """Measure the clips' own mel-band amplitudes as if they were maps: a baseline without a network."""
    return _in_blocks(lambda part: np.exp(store.read(pairs.rows[part])), pairs)


def _in_blocks(maps: Callable[[slice], np.ndarray], pairs: Pairs) -> Localization:
    parts = []
    for start in range(0, len(pairs.rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        parts.append(localize(maps(part), pairs.inside[part]))
    return Localization(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
