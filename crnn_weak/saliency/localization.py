"""Localization: how much of a saliency map lies inside the true event.

Two measures of one map and one class, both against the frames in which that class really sounds:

share
    the part of the map's absolute energy (summed over mel bands) inside these frames;
pointing game
    whether the frame of the map's largest absolute value is one of them (Zhang et al., "Top-down neural attention
    by excitation backprop", ECCV 2016, in time only: strong labels have no frequency).

A map without information about time scores the *coverage*, the share of the clip's frames that the event covers, in
both. Task-4 events are long, so a share means nothing without its coverage beside it. Pairs where the class sounds
in every frame or in none cannot tell maps apart and are skipped and counted; so are maps that are zero everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.labels.rolls import event_roll
from crnn_weak.saliency.targets import Space, Target

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.saliency.explainer import Explainer

__all__ = [
    "Localization",
    "LocalizationSummary",
    "Pairs",
    "event_pairs",
    "localize",
    "measure",
    "measure_loudness",
    "summarize",
]

# Maps at a time: 256 of the paper's clips are 20 MB.
_BLOCK = 256


@dataclass(frozen=True)
class Localization:
    """The measures of each map.

    Attributes
    ----------
    share : np.ndarray of float64, shape (n_maps,)
        Share of the absolute map inside the event, in [0, 1]; NaN where the map is zero everywhere.
    hit : np.ndarray of float64, shape (n_maps,)
        1 where the largest absolute value lies inside the event, 0 where not; NaN where the map is zero everywhere.
    coverage : np.ndarray of float64, shape (n_maps,)
        Share of the frames that the event covers: the chance level of both.
    """

    share: np.ndarray
    hit: np.ndarray
    coverage: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """The maps that can be judged, bool of shape (n_maps,)."""
        return np.isfinite(self.share) & (self.coverage > 0) & (self.coverage < 1)


def localize(maps: np.ndarray, inside: np.ndarray) -> Localization:
    """Measure how much of each map lies inside its event.

    Parameters
    ----------
    maps : np.ndarray, shape (n_maps, n_frames, n_mels)
        Signed or absolute; the sign is dropped.
    inside : np.ndarray of bool, shape (n_maps, n_frames)
        Frames in which the map's class sounds.

    Raises
    ------
    DataError
        Shapes that do not belong together, or a map that is not finite.

    Examples
    --------
    >>> found = localize(np.array([[[3.0], [-1.0]]]), np.array([[True, False]]))
    >>> float(found.share[0]), float(found.hit[0]), float(found.coverage[0])
    (0.75, 1.0, 0.5)
    """
    if maps.ndim != 3 or inside.shape != maps.shape[:2]:
        raise DataError(
            f"localization: expected maps (n, frames, mel bands) and frames (n, frames), received {maps.shape} "
            f"and {inside.shape}."
        )
    if not np.isfinite(maps).all():
        raise DataError("localization: a saliency map holds NaN or inf; the model's weights may have diverged.")
    energy = np.abs(maps).sum(axis=2, dtype=np.float64)  # (n_maps, n_frames)
    total = energy.sum(axis=1)
    zero = total == 0
    share = np.where(zero, np.nan, (energy * inside).sum(axis=1) / np.where(zero, 1.0, total))
    peak = np.abs(maps).max(axis=2).argmax(axis=1) if maps.size else np.zeros(len(maps), int)
    hit = np.where(zero, np.nan, inside[np.arange(len(maps)), peak].astype(float))
    return Localization(share, hit, inside.mean(axis=1) if inside.size else np.zeros(len(maps)))


@dataclass(frozen=True)
class LocalizationSummary:
    """Means over the usable maps, with bootstrap intervals over clips.

    Attributes
    ----------
    n_pairs, n_clips : int
        (clip, class) pairs that were judged, and clips they come from.
    n_left_out, n_zero : int
        Pairs whose event covers the whole clip or no frame; pairs whose map is zero everywhere.
    coverage, share, hit : float
        Means: the chance level, the share inside, the pointing game's rate of hits.
    share_gain, hit_gain : float
        Mean share (hit) minus mean coverage; ``*_low`` and ``*_high`` bound the interval.
    share_ratio : float
        Mean share over mean coverage.
    """

    n_pairs: int
    n_clips: int
    n_left_out: int
    n_zero: int
    coverage: float
    share: float
    share_gain: float
    share_gain_low: float
    share_gain_high: float
    share_ratio: float
    hit: float
    hit_gain: float
    hit_gain_low: float
    hit_gain_high: float

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict."""
        return asdict(self)


def summarize(
    found: Localization,
    clip_ids: Sequence[str],
    *,
    level: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> LocalizationSummary:
    """Average over the usable pairs; intervals by the percentile bootstrap over clips.

    Clips, not pairs, are drawn again: two classes of one clip are not independent.

    Parameters
    ----------
    found : Localization
    clip_ids : sequence of str, length n_maps
        The clip of each map.
    level : float in (0, 1)
    n_bootstrap, seed : int
    """
    if len(clip_ids) != len(found.share):
        raise DataError(f"localization: expected {len(found.share)} clip ids, received {len(clip_ids)}.")
    usable = found.usable
    partial = (found.coverage > 0) & (found.coverage < 1)
    left_out, zero = int((~partial).sum()), int((partial & ~usable).sum())
    if not usable.any():
        return LocalizationSummary(0, 0, left_out, zero, *[float("nan")] * 10)
    names, clip = np.unique(np.asarray(clip_ids, dtype=str)[usable], return_inverse=True)
    columns = np.stack([found.coverage[usable], found.share[usable], found.hit[usable]], axis=1)
    # Sums and counts per clip: a draw of clips is then one product, whatever the number of pairs.
    sums = np.zeros((len(names), 4))
    np.add.at(sums, clip, np.column_stack([columns, np.ones(len(clip))]))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_bootstrap)
    totals = drawn @ sums  # (n_bootstrap, 4)
    means = totals[:, :3] / totals[:, 3:]
    edges = ((1 - level) / 2, (1 + level) / 2)
    share_low, share_high = np.quantile(means[:, 1] - means[:, 0], edges)
    hit_low, hit_high = np.quantile(means[:, 2] - means[:, 0], edges)
    coverage, share, hit = map(float, columns.mean(axis=0))
    return LocalizationSummary(
        n_pairs=int(usable.sum()),
        n_clips=len(names),
        n_left_out=left_out,
        n_zero=zero,
        coverage=coverage,
        share=share,
        share_gain=share - coverage,
        share_gain_low=float(share_low),
        share_gain_high=float(share_high),
        share_ratio=share / coverage,
        hit=hit,
        hit_gain=hit - coverage,
        hit_gain_low=float(hit_low),
        hit_gain_high=float(hit_high),
    )


# --- over a feature store ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """The (clip, class) pairs with true events.

    Attributes
    ----------
    rows : np.ndarray of int, shape (n_pairs,)
        Rows of the feature store.
    clip_ids, labels : tuple of str, length n_pairs
    inside : np.ndarray of bool, shape (n_pairs, n_frames)
        Frames in which the class sounds.
    """

    rows: np.ndarray
    clip_ids: tuple[str, ...]
    labels: tuple[str, ...]
    inside: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def event_pairs(store: FeatureStore) -> Pairs:
    """Return the pairs of a store's clips and the classes that sound in them.

    Raises
    ------
    DataError
        The store has no strong labels.
    """
    if not store.has_events:
        raise DataError(
            f"{store.path}: has tags but no onsets and offsets, so maps cannot be judged. "
            "Name clips with --clip and pass --no-statistics, or use data with strong labels."
        )
    rows, labels, inside = [], [], []
    hop, n_frames = store.features.hop_seconds, store.features.n_frames
    for row, clip_id in enumerate(store.clip_ids):
        roll = event_roll(store.events.get(clip_id, ()), store.classes, hop_seconds=hop, n_frames=n_frames)
        for column in np.flatnonzero(roll.any(axis=0)):
            rows.append(row)
            labels.append(store.classes[column])
            inside.append(roll[:, column])
    if not rows:
        raise DataError(
            f"{store.path}: no clip has an event, so maps cannot be judged. "
            "Name clips with --clip and pass --no-statistics."
        )
    clip_ids = tuple(store.clip_ids[row] for row in rows)
    return Pairs(np.array(rows), clip_ids, tuple(labels), np.stack(inside))


def measure(
    explainer: Explainer,
    store: FeatureStore,
    pairs: Pairs,
    *,
    output: str,
    method: str,
    space: Space = "standardized",
    reduction: str = "",
    scale: str = "score",
) -> Localization:
    """Measure one output's maps, in the order of the pairs.

    Parameters
    ----------
    explainer : Explainer
        With its scaler.
    store : FeatureStore
    pairs : Pairs
    output : {"strong", "weak"}
    method, space, reduction, scale
        As in `Explainer.explain` and `Target`; `reduction` applies to ``strong`` alone.
    """
    reduction = reduction if output == "strong" else ""
    assert explainer.scaler is not None
    parts = []
    for part in _blocks(len(pairs)):
        features = explainer.scaler.transform(store.read(pairs.rows[part]))
        targets = [Target(output, label, reduction=reduction, scale=scale) for label in pairs.labels[part]]
        maps = explainer.explain(features, targets, method=method, space=space).maps
        parts.append(localize(maps, pairs.inside[part]))
    return _joined(parts)


def measure_loudness(store: FeatureStore, pairs: Pairs) -> Localization:
    """Measure the clips' own mel-band amplitudes as if they were maps: a baseline without a network."""
    return _joined([localize(np.exp(store.read(pairs.rows[part])), pairs.inside[part]) for part in _blocks(len(pairs))])


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, n, _BLOCK))


def _joined(parts: Sequence[Localization]) -> Localization:
    return Localization(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("share", "hit", "coverage"))
    )
