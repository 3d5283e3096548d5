"""Layout of a clip: tags and events, drawn from the statistics of the task's real label files.

The test split draws its tag sets as the organizers' testing list has them. In the training list ``Car`` is in half of
the clips and ``Car alarm`` in one of 280; 2,000 clips would have seven. The training split therefore tempers the list:
a tag set weighs ``count * n ** (TRAIN_TEMPER - 1)``, with ``n`` the clips of its rarest class. Exponent 1 gives the
real list, 0 makes all classes about equally frequent. Co-occurrence stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak.labels.events import DCASE2017_TASK4, Event

#: Derived from the organizers' files by ``scripts/street_statistics.py``, which says what it contains.
STATISTICS_PATH = Path(__file__).parent / "street_statistics.json"
#: Levels of every list of quantiles in the file.
QUANTILES = np.linspace(0.0, 1.0, 21)
CLIP_SECONDS = 10.0
#: Exponent of the class counts of the training split (see above).
TRAIN_TEMPER = 1 / 3
#: An event ends at least this long before the next one of its class begins; nothing is shorter than `_MIN_EVENT`.
_MIN_GAP = 0.10
_MIN_EVENT = 0.25


@cache
def load_statistics() -> dict[str, Any]:
    """Return the statistics that the package carries (one object for all callers: do not change it)."""
    statistics: dict[str, Any] = json.loads(STATISTICS_PATH.read_text(encoding="utf-8"))
    return statistics


@cache
def tag_set_weights(split: str) -> tuple[tuple[tuple[int, ...], ...], np.ndarray]:
    """Return the tag sets of a split (indices into the class list) and their probabilities."""
    rows = load_statistics()["tag_sets"][split]
    sets = tuple(tuple(labels) for _, labels in rows)
    weights = np.array([count for count, _ in rows], dtype=float)
    if split == "train":
        per_class = np.zeros(len(DCASE2017_TASK4))
        for count, labels in rows:
            per_class[labels] += count
        rarest = np.array([per_class[list(labels)].min() for labels in sets])
        weights *= rarest ** (TRAIN_TEMPER - 1)
    return sets, weights / weights.sum()


def draw_tags(rng: np.random.Generator, split: str) -> tuple[str, ...]:
    """Draw the tags of one clip, in the order of the class list."""
    sets, weights = tag_set_weights(split)
    return tuple(DCASE2017_TASK4[index] for index in sets[rng.choice(len(sets), p=weights)])


def _quantile(rng: np.random.Generator, values: Sequence[float]) -> float:
    return float(np.interp(rng.random(), QUANTILES, values))


def _single(rng: np.random.Generator, layout: Mapping[str, Any]) -> list[tuple[float, float]]:
    length = max(_quantile(rng, layout["single_event_seconds"]), _MIN_EVENT)
    room = CLIP_SECONDS - length
    position, edge = rng.random(), rng.random()
    if room < _MIN_GAP:
        return [(0.0, CLIP_SECONDS)]
    if edge < layout["single_from_start"]:
        onset = 0.0
    elif edge < layout["single_from_start"] + layout["single_to_end"]:
        onset = room
    else:
        onset = position * room
    return [(onset, onset + length)]


def _repeated(rng: np.random.Generator, layout: Mapping[str, Any], n: int) -> list[tuple[float, float]]:
    covered = _quantile(rng, layout["repeated_covered_seconds"] or load_statistics()["repeated_covered_seconds"])
    covered = min(max(covered, n * _MIN_EVENT), CLIP_SECONDS - (n - 1) * _MIN_GAP)
    lengths = _MIN_EVENT + (covered - n * _MIN_EVENT) * rng.dirichlet(np.full(n, 2.0))
    room = CLIP_SECONDS - covered - (n - 1) * _MIN_GAP
    gaps = room * rng.dirichlet(np.ones(n + 1))  # before the first, between, after the last
    onsets = np.cumsum(gaps[:n]) + _MIN_GAP * np.arange(n) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    return [(float(onset), float(onset + length)) for onset, length in zip(onsets, lengths, strict=True)]


def draw_events(rng: np.random.Generator, label: str) -> list[Event]:
    """Draw the events of one class in one clip: never empty, sorted, without overlap, times in milliseconds.

    What the annotators labeled but did not hear (rows ``0 0``, 36 of 688 in the testing list) is not imitated.
    """
    layout = load_statistics()["layouts"][label]
    counts = layout["events_per_clip"]
    weights = np.array(list(counts.values()), dtype=float)
    n = int(rng.choice([int(key) for key in counts], p=weights / weights.sum()))
    times = _single(rng, layout) if n == 1 else _repeated(rng, layout, n)
    return [Event(round(onset, 3), round(min(offset, CLIP_SECONDS), 3), label) for onset, offset in times]


def draw_layout(rng: np.random.Generator, split: str) -> tuple[Event, ...]:
    """Draw the events of one clip of split train or test, sorted by class, then onset; at least one."""
    return tuple(event for label in draw_tags(rng, split) for event in draw_events(rng, label))
