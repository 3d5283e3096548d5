"""From scores to events and tags: the operating point, which has the settings of each class, and its steps.

By default, as in the paper, a frame is active where its score is *above* one threshold, a tag likewise, and nothing is
smoothed. The options, each per class, are applied in this order:

1. median filter over an odd number of frames, zeros beyond the clip (a median and a threshold commute);
2. threshold, or hysteresis: a span above the low threshold is kept whole if it exceeds the threshold somewhere;
3. gaps between two spans that are shorter than a minimum are closed (never at the clip's ends);
4. spans shorter than a minimum are dropped;
5. weak gate: an event stays if the mean of the weak scores over it is above the tag threshold. A clip has one weak
   score; a recording of many windows has one for each frame.

Each step is monotone: a higher threshold never adds an active frame. An event's score is the mean of its frames'.

With `min_tags` 1 a clip's likeliest class is tagged whatever its score. The weak gate does not use such a tag.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import convert_document, read_json, write_json
from crnn_weak.labels.events import Event, tag_names
from crnn_weak.labels.rolls import roll_runs, runs_roll
from crnn_weak.run_files import RunFiles

# Of thresholds that follow from the lengths of a class's sounds.
_THRESHOLD_RANGE = (0.1, 0.9)
# Candidates for the factor of all thresholds' odds.
_ODDS_FACTORS = np.exp(np.arange(-10, 31) / 10)
# An event begins above the threshold's odds times this, and lasts while above them divided by it.
_HYSTERESIS = 2.0
# Scores that are decoded at once; more would need much memory.
_MAX_SCORES = 30_000_000


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds and post-processing for each class; every tuple has one entry per class."""

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]  # a frame is active above it; in (0, 1)
    low_thresholds: tuple[float, ...]  # an event continues while its score exceeds it; 0 turns hysteresis off
    median_seconds: tuple[float, ...]  # these three: 0 turns each off
    min_duration_seconds: tuple[float, ...]
    min_gap_seconds: tuple[float, ...]
    tag_thresholds: tuple[float, ...]  # a clip is tagged above it (weak output); in (0, 1)
    weak_gate: bool = False  # keep a class's events only where the clip is tagged
    min_tags: int = 0  # 1: a clip's likeliest class is tagged whatever the thresholds

    def __post_init__(self) -> None:
        if self.min_tags not in (0, 1):
            raise ConfigError(f"min_tags = {self.min_tags!r}: expected 0 or 1.")
        for name in _PER_CLASS:
            values = getattr(self, name)
            if len(values) != len(self.classes):
                raise ConfigError(f"{name}: {len(values)} values for {len(self.classes)} classes.")
            if name in ("thresholds", "tag_thresholds") and not all(0 < value < 1 for value in values):
                raise ConfigError(f"{name} = {values!r}: expected scores in (0, 1).")
            largest = 3600 if name.endswith("_seconds") else 1  # as in the configuration
            if not all(0 <= value <= largest for value in values):
                raise ConfigError(f"{name} = {values!r}: expected numbers from 0 to {largest}.")
        for label, low, high in zip(self.classes, self.low_thresholds, self.thresholds, strict=True):
            if low > high:
                raise ConfigError(f"low_thresholds: {low:g} of {label!r} is above its threshold {high:g}.")

    @classmethod
    def from_config(cls, config: OperatingPointConfig, classes: Sequence[str]) -> OperatingPoint:
        """Return one configuration for every class."""
        one_value = {
            "thresholds": config.threshold, "tag_thresholds": config.threshold, "low_thresholds": config.low_threshold,
            "median_seconds": config.median_seconds, "min_duration_seconds": config.min_duration_seconds,
            "min_gap_seconds": config.min_gap_seconds,
        }  # fmt: skip
        per_class = {name: (value,) * len(classes) for name, value in one_value.items()}
        return cls(classes=tuple(classes), weak_gate=config.weak_gate, min_tags=config.min_tags, **per_class)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dict(msgspec.json.decode(msgspec.json.encode(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """Return the operating point in values of `to_dict`; a ConfigError says what is wrong."""
        return convert_document(values, cls, "operating point", error=ConfigError)

    def replace(self, **changes: Any) -> OperatingPoint:
        """Return a copy; a single number stands for every class, and a low threshold never exceeds its threshold."""
        for name in changes.keys() & set(_PER_CLASS):
            changes[name] = tuple(np.broadcast_to(np.asarray(changes[name], float), len(self.classes)).tolist())
        if "thresholds" in changes:
            low_thresholds = changes.get("low_thresholds", self.low_thresholds)
            changes["low_thresholds"] = tuple(map(min, low_thresholds, changes["thresholds"]))
        return msgspec.structs.replace(self, **changes)

    def levels(self) -> dict[str, tuple[float, float]]:
        """Return the threshold and the low threshold of each class."""
        rows = zip(self.classes, self.thresholds, self.low_thresholds, strict=True)
        return {label: (high, low) for label, high, low in rows}

    def summary(self) -> str:
        """Return one line that says what is done; per-class values as a range."""
        parts = []
        for text, values, unit in (
            ("threshold", self.thresholds, ""),
            ("tag threshold", self.tag_thresholds, ""),
            ("low threshold", self.low_thresholds, ""),
            ("median filter", self.median_seconds, " s"),
            ("gaps closed under", self.min_gap_seconds, " s"),
            ("events dropped under", self.min_duration_seconds, " s"),
        ):
            low, high = min(values, default=0), max(values, default=0)
            if high:
                parts.append(f"{text} {low:.4g}{unit if low == high else f' to {high:.4g}{unit} by class'}")
        return ", ".join(parts + ["gated by the tags"] * self.weak_gate + ["at least one tag per clip"] * self.min_tags)


def scale_odds(thresholds: ArrayLike, factor: ArrayLike) -> np.ndarray:
    """Return thresholds whose odds are those of the given ones times a factor."""
    odds = np.asarray(factor) * thresholds / (1 - np.asarray(thresholds))
    return odds / (1 + odds)


def class_thresholds(
    config: OperatingPointConfig, classes: Sequence[str], n_active: np.ndarray, highest: np.ndarray, tags: np.ndarray
) -> OperatingPoint:
    """Return frame thresholds for each class that follow from tags alone.

    `n_active` is the mean number of active frames in a training recording of each class, (n_classes,). A network that
    has seen few active frames of a class scores them low: the threshold's odds are multiplied by the root of the
    class's share, half way from the common threshold to the share itself.
    `highest` are the highest frame scores of validation recordings, whose `tags` are true, (n_recordings, n_classes).
    All odds are then multiplied by the root of the factor with which the tags that follow from the frames have the best
    F1: half way again, since few recordings choose it. Around the result lies the hysteresis: twice its odds begin
    an event, half of them continue it.
    """
    seen = n_active > 0
    shares = np.ones(len(classes))
    shares[seen] = np.sqrt(n_active[seen] / n_active[seen].mean()) if seen.any() else 1.0

    def scaled(factor: float) -> np.ndarray:
        return np.clip(scale_odds(config.threshold, shares * factor), *_THRESHOLD_RANGE)

    trials = [scaled(factor) for factor in _ODDS_FACTORS]
    if tags.any():
        n_both = [(highest > trial).sum() + tags.sum() for trial in trials]
        n_correct = [((highest > trial) & tags).sum() for trial in trials]
        f1 = 2 * np.array(n_correct) / n_both
        best = np.flatnonzero(f1 == f1.max())
    else:
        best = np.flatnonzero(_ODDS_FACTORS == 1)
    factor = math.sqrt(_ODDS_FACTORS[best[len(best) // 2]])
    thresholds = {"thresholds": scaled(factor * _HYSTERESIS), "low_thresholds": scaled(factor / _HYSTERESIS)}
    return OperatingPoint.from_config(config, classes).replace(**thresholds)


_PER_CLASS = tuple(
    name for name in OperatingPoint.__struct_fields__ if name not in ("classes", "weak_gate", "min_tags")
)


def check_classes(point: OperatingPoint, classes: Sequence[str], *, where: str = "operating point") -> None:
    """Refuse an operating point for other classes than the given ones."""
    if point.classes != tuple(classes):
        raise ConfigError(
            f"{where}: for {len(point.classes)} classes ({', '.join(point.classes[:3])}, ...), but the model has "
            f"{len(classes)} ({', '.join(tuple(classes)[:3])}, ...); tune again on this run's scores."
        )


class TuningRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Record of a search: the metric before and after on the validation clips, and the number of choices."""

    per_class: bool
    before: float | None
    after: float | None
    n_clips: int
    n_choices: int


class StoredPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``operating_point.json``, of training or `tune`: the choice, and by metric how it was tuned."""

    operating_point: OperatingPoint
    tuned: dict[str, TuningRecord] = {}

    @classmethod
    def read(cls, path: str | Path, classes: Sequence[str]) -> StoredPoint:
        """Read a file; one that is damaged or for other classes is a ConfigError."""
        advice = "Expected a file that crnn-weak tune has written."
        stored = read_json(path, cls, advice=advice, error=ConfigError)
        check_classes(stored.operating_point, classes, where=str(path))
        return stored

    def write(self, path: str | Path) -> None:
        """Write the file whole or not at all."""
        write_json(path, msgspec.to_builtins(self))


def stored_point(folder: str | Path, classes: Sequence[str]) -> StoredPoint | None:
    """Return the operating point that is stored in a run folder, or None."""
    path = RunFiles(folder).operating_point
    return StoredPoint.read(path, classes) if path.is_file() else None


class ActiveSpans(NamedTuple):
    """Frames ``[first, last)`` of rows (`class_rows`), by row and then by time; arrays of int, shape (n_spans,)."""

    row: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def select(self, mask: np.ndarray) -> ActiveSpans:
        """Return the spans where the mask is True."""
        return ActiveSpans(self.row[mask], self.first[mask], self.last[mask])

    def close_gaps(self, min_frames: np.ndarray) -> ActiveSpans:
        """Join spans of a row with fewer than `min_frames` frames between them; shape (n_spans,)."""
        is_near = (self.row[1:] == self.row[:-1]) & (self.first[1:] - self.last[:-1] < min_frames[1:])
        begins, ends = np.ones(len(self.row), dtype=bool), np.ones(len(self.row), dtype=bool)
        begins[1:] = ends[:-1] = ~is_near
        return ActiveSpans(self.row[begins], self.first[begins], self.last[ends])

    def means(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean score of each span in [0, 1]; `rows` has shape (n_rows, n_frames)."""
        means = np.zeros(len(self.row))
        starts = np.flatnonzero(np.diff(self.row, prepend=-1)).tolist()
        for begin, end in pairwise([*starts, len(means)]):  # one row after the other, to save memory
            sums = np.zeros(rows.shape[1] + 1)
            np.cumsum(rows[self.row[begin]], dtype=np.float64, out=sums[1:])
            first, last = self.first[begin:end], self.last[begin:end]
            means[begin:end] = (sums[last] - sums[first]) / (last - first)
        return np.clip(means, 0.0, 1.0)


def class_rows(frames: np.ndarray) -> np.ndarray:
    """Return (clips, frames, classes) as rows of frames, one per clip and class, classes fastest."""
    n_clips, n_frames, n_classes = frames.shape
    return np.ascontiguousarray(np.moveaxis(frames, 1, 2)).reshape(n_clips * n_classes, n_frames)


class PostProcessing:
    """The steps of an operating point on rows of frames (`class_rows`), with durations in frames."""

    def __init__(self, point: OperatingPoint, hop_seconds: float) -> None:
        self.point = point
        # The odd numbers of frames nearest to the filters' lengths; 1 filters nothing.
        half_medians = np.round((np.array(point.median_seconds) / hop_seconds - 1) / 2)
        self.medians = 2 * np.maximum(half_medians, 0).astype(np.int64) + 1
        # Frames that a span needs to be no shorter than a duration.
        seconds = np.array([point.min_gap_seconds, point.min_duration_seconds])
        self.min_gaps, self.min_durations = np.ceil(seconds / hop_seconds - 1e-6).astype(np.int64)

    def per_row(self, values: np.ndarray | Sequence[float], n_rows: int) -> np.ndarray:
        """Repeat one value per class for the rows of all clips."""
        return np.tile(np.asarray(values), n_rows // len(self.point.classes))

    def median_filtered(self, rows: np.ndarray) -> np.ndarray:
        """Apply the median filters to rows of integers, zeros beyond the clip, in place; return them."""
        from scipy import ndimage

        medians = self.per_row(self.medians, len(rows))
        for n_filter in np.unique(medians[medians > 1]):
            filtered = np.flatnonzero(medians == n_filter)
            # All rows in one line, zeros between: SciPy's filter of one dimension is far faster than that of two.
            line = np.pad(rows[filtered], ((0, 0), (0, n_filter // 2)))
            smooth = ndimage.median_filter(line.ravel(), size=n_filter, mode="constant", cval=0)
            rows[filtered] = smooth.reshape(line.shape)[:, : rows.shape[1]]
        return rows

    def apply_threshold(self, rows: np.ndarray, thresholds: np.ndarray | Sequence[float]) -> np.ndarray:
        """Return which frames are above their class's threshold, after the median filter (steps 1 and 2)."""
        # Compared in the scores' own precision.
        active = rows > self.per_row(np.asarray(thresholds, dtype=rows.dtype), len(rows))[:, None]
        return self.median_filtered(active.view(np.uint8)).view(bool)

    def apply_hysteresis(self, low: np.ndarray, high: np.ndarray) -> ActiveSpans:
        """Return the spans of frames above the low threshold that exceed the threshold, after steps 3 and 4."""
        spans = ActiveSpans(*roll_runs(low))
        if low is not high:
            n_high = np.zeros((len(high), high.shape[1] + 1), dtype=np.int32)
            np.cumsum(high, axis=1, out=n_high[:, 1:])
            spans = spans.select(n_high[spans.row, spans.last] > n_high[spans.row, spans.first])
        n_classes = len(self.point.classes)
        if self.min_gaps.any():
            spans = spans.close_gaps(self.min_gaps[spans.row % n_classes])
        if self.min_durations.any():
            spans = spans.select(spans.last - spans.first >= self.min_durations[spans.row % n_classes])
        return spans

    def find_spans(self, rows: np.ndarray, weak: np.ndarray | None) -> ActiveSpans:
        """Return the events of rows of strong scores as spans (all steps); `weak` as in `find_events`."""
        point = self.point
        high = low = self.apply_threshold(rows, point.thresholds)
        if any(point.low_thresholds):  # a class without hysteresis has none
            low = self.apply_threshold(rows, np.where(point.low_thresholds, point.low_thresholds, point.thresholds))
        spans = self.apply_hysteresis(low, high)
        if not point.weak_gate:
            return spans
        if weak is None:
            raise DataError("weak_gate is on, but no weak scores were given; turn the gate off.")
        means = np.ravel(weak)[spans.row] if weak.ndim == 2 else spans.means(class_rows(weak))
        limits = np.asarray(point.tag_thresholds, np.float32)[spans.row % len(point.classes)]
        return spans.select(means.astype(np.float32) > limits)


def find_events(
    strong: np.ndarray,
    point: OperatingPoint,
    hop_seconds: float,
    weak: np.ndarray | None = None,  # for the weak gate: (n_clips, n_classes), or a track in time like `strong`
    *,
    silent: np.ndarray | None = None,  # bool, (n_clips, n_frames): no event there
) -> list[list[Event]]:
    """Return the events of each clip, by onset, offset and class; `strong` has shape (n_clips, n_frames, n_classes)."""
    rows = class_rows(strong)
    spans = PostProcessing(point, hop_seconds).find_spans(rows, weak)
    if silent is not None and silent.any():  # filters and closed gaps carry events over it
        roll = runs_roll(*spans, rows.shape)
        roll &= ~np.repeat(silent, len(point.classes), axis=0)
        spans = ActiveSpans(*roll_runs(roll))
    clip, label = np.divmod(spans.row, len(point.classes))
    order = np.lexsort((label, spans.last, spans.first, clip))
    columns = (clip, label, spans.first, spans.last, spans.means(rows))
    events: list[list[Event]] = [[] for _ in range(len(strong))]
    for row, index, first, last, score in zip(*(column[order].tolist() for column in columns), strict=True):
        onset, offset = round(first * hop_seconds, 6), round(last * hop_seconds, 6)
        events[row].append(Event(onset, offset, point.classes[index], round(score, 6)))
    return events


def active_frames(scores: Scores, point: OperatingPoint) -> np.ndarray:
    """Return which frames are active after all steps, bool of shape (n_clips, n_frames, n_classes)."""
    n_clips, n_frames, n_classes = scores.strong.shape
    rows = class_rows(scores.strong)
    roll = runs_roll(*PostProcessing(point, scores.hop_seconds).find_spans(rows, scores.weak), rows.shape)
    return np.moveaxis(roll.reshape(n_clips, n_classes, n_frames), 2, 1)


def scores_to_events(scores: Scores, point: OperatingPoint) -> dict[str, tuple[Event, ...]]:
    """Return the events of every clip, in the scores' order; a clip without events has an empty tuple."""
    check_classes(point, scores.classes)
    n_block = max(1, _MAX_SCORES // max(scores.strong[:1].size, 1))
    events: list[tuple[Event, ...]] = []
    for begin in range(0, len(scores), n_block):
        block = slice(begin, begin + n_block)
        events += map(tuple, find_events(scores.strong[block], point, scores.hop_seconds, scores.weak[block]))
    return dict(zip(scores.clip_ids, events, strict=True))


def above_tag_thresholds(weak: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Return which classes exceed their tag threshold, of the shape of `weak` (..., n_classes)."""
    above: np.ndarray = weak > np.asarray(point.tag_thresholds, dtype=weak.dtype)  # in the scores' own precision
    return above


def active_tags(weak: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Return which classes are tagged in each clip, (n_clips, n_classes); of equally likely ones the first counts."""
    active = above_tag_thresholds(weak, point)
    if point.min_tags and active.size:
        np.put_along_axis(active, weak.argmax(axis=1)[:, None], True, axis=1)
    return active


def scores_to_tags(scores: Scores, point: OperatingPoint) -> dict[str, tuple[str, ...]]:
    """Return the tags of every clip, in the scores' order."""
    check_classes(point, scores.classes)
    active = active_tags(scores.weak, point)
    return {clip: tag_names(row, point.classes) for clip, row in zip(scores.clip_ids, active.tolist(), strict=True)}
