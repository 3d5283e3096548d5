"""Class lists, and the arrays made of labels.

A class list is a tuple of distinct names; its order is the order of every array's last axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from crnn_weak.errors import LabelError, nearest_names

__all__ = ["AUDIOSET_IDS", "CLASS_LIST", "DCASE2017_TASK4", "class_indices", "tag_array", "tag_names"]


#: Beside label files, the file of this name is a class list, never a recording's labels.
CLASS_LIST = "classes.txt"


class _Class(NamedTuple):
    audioset_id: str
    label: str


# The organizers' own list, in its order (sound_event_list_17_classes.txt).
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


def tag_names(row: Iterable[bool], classes: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of one clip, from its row of `tag_array`.

    Examples
    --------
    >>> tag_names([False, True], ["Bus", "Car"])
    ('Car',)
    """
    return tuple(label for label, on in zip(classes, row, strict=True) if on)
