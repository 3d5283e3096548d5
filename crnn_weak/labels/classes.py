"""Class lists, and the arrays made of labels.

A class list is a tuple of distinct names; its order is the order of every array's last axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from crnn_weak.errors import LabelError, nearest_names

#: In a folder of label files, the file of this name is a class list, never a recording's labels.
CLASS_LIST = "classes.txt"


#: AudioSet id -> label of the 17 classes of DCASE 2017 task 4, in the order of the organizers' list. Two labels hold a
#: comma, so the ids are the only safe way to read a list of labels.
AUDIOSET_IDS: dict[str, str] = {
    "/m/0284vy3": "Train horn",
    "/m/05x_td": "Air horn, truck horn",
    "/m/02mfyn": "Car alarm",
    "/m/02rhddq": "Reversing beeps",
    "/m/0199g": "Bicycle",
    "/m/06_fw": "Skateboard",
    "/m/012n7d": "Ambulance (siren)",
    "/m/012ndj": "Fire engine, fire truck (siren)",
    "/m/0dgbq": "Civil defense siren",
    "/m/04qvtq": "Police car (siren)",
    "/m/03qc9zr": "Screaming",
    "/m/0k4j": "Car",
    "/t/dd00134": "Car passing by",
    "/m/01bjv": "Bus",
    "/m/07r04": "Truck",
    "/m/04_sv": "Motorcycle",
    "/m/07jdr": "Train",
}
#: The 17 classes of DCASE 2017 task 4.
DCASE2017_TASK4: tuple[str, ...] = tuple(AUDIOSET_IDS.values())


def class_indices(labels: Iterable[str], classes: Sequence[str], *, where: str = "") -> list[int]:
    """Return the index of each label in the class list."""
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

    >>> tag_array([["Car"], []], ["Bus", "Car"]).tolist()
    [[False, True], [False, False]]
    """
    array = np.zeros((len(tags), len(classes)), dtype=bool)
    for row, labels in enumerate(tags):
        array[row, class_indices(labels, classes)] = True
    return array


def tag_names(row: Iterable[bool], classes: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of one clip, from its row of `tag_array`.

    >>> tag_names([False, True], ["Bus", "Car"])
    ('Car',)
    """
    return tuple(label for label, on in zip(classes, row, strict=True) if on)
