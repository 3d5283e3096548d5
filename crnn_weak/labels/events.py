"""Events (onset, offset and label), class lists (the order of every array's last axis), and the arrays made of tags.

A *zero-length* event is kept: the organizers write ``0 0 label`` where a label was given but nothing was heard.
Segment-based metrics ignore it, event-based metrics count it as a reference.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

from crnn_weak.errors import DataError, DependencyError, LabelError, nearest_names

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


@dataclass(frozen=True, order=True)
class Event:
    """One sound event.

    Attributes
    ----------
    onset, offset : float
        Seconds, ``0 <= onset <= offset``.
    label : str
    score : float or None
        In [0, 1], of an estimated event; None for a reference.
    """

    onset: float
    offset: float
    label: str
    score: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.onset) and math.isfinite(self.offset) and 0 <= self.onset <= self.offset):
            raise DataError(
                f"event {self.label!r} from {self.onset} to {self.offset} s: expected finite 0 <= onset <= offset."
            )

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.offset - self.onset


#: An event's place in a sorted list.
by_time = attrgetter("onset", "offset", "label")


def check_begin_within(events: Iterable[Event], seconds: float, where: str) -> None:
    """Refuse events that begin more than a second after the end of their clip: decoders and annotators round."""
    late = next((event for event in events if event.onset > seconds + 1.0), None)
    if late is not None:
        raise DataError(
            f"{where}: event {late.label!r} begins at {late.onset:g} s, after its end at {seconds:.1f} s. Expected "
            "seconds from its start; correct the labels."
        )


#: Events of many clips, by clip id. A clip that is listed and has no events maps to an empty sequence.
Events = Mapping[str, Sequence[Event]]


@dataclass(frozen=True)
class EventList(Sequence[Event]):
    """The events of one recording, sorted by onset, offset and label.

    Parameters
    ----------
    events : iterable of Event
    clip_id : str
        The recording's name, for the table that is shown.
    duration_seconds : float, optional
        The recording's length.

    Examples
    --------
    >>> EventList([Event(1.0, 2.0, "Car"), Event(0.0, 0.5, "Bus")])[0].label
    'Bus'
    """

    events: Iterable[Event] = ()
    clip_id: str = field(default="", kw_only=True)
    duration_seconds: float | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(sorted(self.events, key=by_time)))

    def __getitem__(self, index: Any) -> Any:
        return tuple(self.events)[index]

    def __len__(self) -> int:
        return len(tuple(self.events))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({event.label for event in self}))

    def to_pandas(self) -> Any:
        """Return a DataFrame with columns filename, onset, offset, event_label, score."""
        try:
            import pandas as pd
        except ImportError:
            raise DependencyError("EventList.to_pandas needs pandas: pip install pandas.") from None
        rows = [(self.clip_id, e.onset, e.offset, e.label, e.score) for e in self]
        return pd.DataFrame(rows, columns=["filename", "onset", "offset", "event_label", "score"])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("onset / s", "offset / s", "label", "score"))
        body = "".join(
            f"<tr><td>{e.onset:.3f}</td><td>{e.offset:.3f}</td><td>{html.escape(e.label)}</td>"
            f"<td>{'' if e.score is None else f'{e.score:.2f}'}</td></tr>"
            for e in self
        )
        caption = f"<caption>{html.escape(self.clip_id) or 'events'}: {len(self)} events</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _listed(labels: Iterable[str], where: str) -> Iterable[str]:
    if isinstance(labels, str):
        prefix = f"{where}: " if where else ""
        raise LabelError(f"{prefix}expected a list of labels, received one str; pass [{labels!r}].")
    return labels


def class_indices(labels: Iterable[str], classes: Sequence[str], *, where: str = "") -> list[int]:
    """Return the index of each label in the class list."""
    position = {name: index for index, name in enumerate(_listed(classes, where))}
    labels = list(_listed(labels, where))
    unknown = next((label for label in labels if label not in position), None)
    if unknown is not None:
        prefix, near = f"{where}: " if where else "", classes[:5000]  # the search for near names is slow
        raise LabelError(f"{prefix}label {unknown!r} is not in the class list. {nearest_names(unknown, near)}")
    return [position[label] for label in labels]


def tag_array(tags: Sequence[Iterable[str]], classes: Sequence[str], *, where: str = "") -> np.ndarray:
    """Return which class is tagged in which clip: bool, shape (n_clips, n_classes)."""
    pairs = [(row, label) for row, labels in enumerate(tags) for label in _listed(labels, where)]
    array = np.zeros((len(tags), len(classes)), dtype=bool)
    array[[row for row, _ in pairs], class_indices([label for _, label in pairs], classes, where=where)] = True
    return array


def tag_names(row: Iterable[bool], classes: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of one clip, from its row of `tag_array`."""
    return tuple(label for label, on in zip(classes, row, strict=True) if on)
