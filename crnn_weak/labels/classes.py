"""Class lists, and the arrays made of labels.

A class list is a tuple of distinct names; its order is the order of every array's last axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from crnn_weak import timing
from crnn_weak.errors import LabelError, nearest_names
from crnn_weak.labels.events import Event

__all__ = ["AUDIOSET_IDS", "DCASE2017_TASK4", "class_indices", "event_roll", "roll_events", "tag_array"]


class _Class(NamedTuple):
    audioset_id: str
    label: str


# The organisers' own list, in its order (sound_event_list_17_classes.txt).
_DCASE2017_TASK4 = (
    _Class("/m/0284vy3", "Train horn"),
    _Class("/m/05x_td", "Air horn, truck horn"),
    _Class("/m/02mfyn", "Car alarm"),
    _Class("/m/02rhddq", "Reversing beeps"),
    _Class("/m/0199g", "Bicycle"),
    _Class("/m/06_fw", "Skateboard"),
    _Class("/m/012n7d", "Ambulance (siren)"),
    _Class("/m/012ndj", "Fire engine, fire truck (siren)"),
    _Class("/m/0dgbq", "Civil defense siren"),
    _Class("/m/04qvtq", "Police car (siren)"),
    _Class("/m/03qc9zr", "Screaming"),
    _Class("/m/0k4j", "Car"),
    _Class("/t/dd00134", "Car passing by"),
    _Class("/m/01bjv", "Bus"),
    _Class("/m/07r04", "Truck"),
    _Class("/m/04_sv", "Motorcycle"),
    _Class("/m/07jdr", "Train"),
)
#: The 17 classes of DCASE 2017 task 4.
DCASE2017_TASK4: tuple[str, ...] = tuple(entry.label for entry in _DCASE2017_TASK4)
#: AudioSet id -> label. Two labels hold a comma, so the ids are the only safe way to read a list of labels.
AUDIOSET_IDS: dict[str, str] = {entry.audioset_id: entry.label for entry in _DCASE2017_TASK4}


def class_indices(labels: Iterable[str], classes: Sequence[str], *, where: str = "") -> list[int]:
    """Return the index of each label in the class list.

    Raises
    ------
    LabelError
        A label is not in the list; the message offers the nearest.
    """
    position = {name: index for index, name in enumerate(classes)}
    found = []
    for label in labels:
        if label not in position:
            prefix = f"{where}: " if where else ""
            raise LabelError(f"{prefix}label {label!r} is not in the class list. {nearest_names(label, classes)}")
        found.append(position[label])
    return found


def tag_array(tags: Sequence[Iterable[str]], classes: Sequence[str]) -> np.ndarray:
    """Return which class is tagged in which clip.

    Parameters
    ----------
    tags : sequence of iterables of str, length n_clips
    classes : sequence of str, length n_classes

    Returns
    -------
    np.ndarray of bool, shape (n_clips, n_classes)

    Examples
    --------
    >>> tag_array([["Car"], []], ["Bus", "Car"]).tolist()
    [[False, True], [False, False]]
    """
    array = np.zeros((len(tags), len(classes)), dtype=bool)
    for row, labels in enumerate(tags):
        array[row, class_indices(labels, classes)] = True
    return array


def event_roll(
    events: Iterable[Event], classes: Sequence[str], *, hop_seconds: float, n_frames: int, where: str = ""
) -> np.ndarray:
    """Mark the cells of a grid in time that each class overlaps.

    With ``hop_seconds=1.0`` the cells are the task's segments: onset floored, offset ceiled (sed_eval's rule).
    Zero-length events mark nothing; what lies beyond ``n_frames`` is cut off.

    Returns
    -------
    np.ndarray of bool, shape (n_frames, n_classes)

    Examples
    --------
    >>> event_roll([Event(0.4, 1.2, "car")], ["car"], hop_seconds=1.0, n_frames=3)[:, 0].tolist()
    [True, True, False]
    """
    roll = np.zeros((n_frames, len(classes)), dtype=bool)
    for event in events:
        (column,) = class_indices([event.label], classes, where=where)
        first, last = timing.frame_edges(event.onset, event.offset, hop_seconds)
        roll[first:last, column] = True
    return roll


def roll_events(roll: np.ndarray, classes: Sequence[str], *, hop_seconds: float) -> list[Event]:
    """Return the runs of a roll as events; the inverse of `event_roll` for events on frame edges.

    Parameters
    ----------
    roll : np.ndarray of bool, shape (n_frames, n_classes)

    Examples
    --------
    >>> roll_events(np.array([[1], [1], [0]], bool), ["car"], hop_seconds=0.5)
    [Event(onset=0.0, offset=1.0, label='car', score=None)]
    """
    padded = np.zeros((roll.shape[0] + 2, roll.shape[1]), dtype=np.int8)
    padded[1:-1] = roll
    steps = np.diff(padded, axis=0).T  # (classes, frames + 1): +1 where a run begins, -1 behind its end
    columns, onsets = np.nonzero(steps == 1)
    _, offsets = np.nonzero(steps == -1)
    return sorted(
        Event(round(first * hop_seconds, 6), round(last * hop_seconds, 6), classes[column])
        for column, first, last in zip(columns.tolist(), onsets.tolist(), offsets.tolist(), strict=True)
    )
