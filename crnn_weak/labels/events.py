"""Events: onset, offset and label.

An event's times are seconds from the start of its clip or recording. A *zero-length* row (onset equal to offset)
is kept: the organizers write ``0 0 label`` where a label was given but nothing was heard. Segment-based metrics
ignore such rows, event-based metrics count them as references.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from crnn_weak.errors import DataError, DependencyError


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


def by_time(event: Event) -> tuple[float, float, str]:
    """Return an event's place in a sorted list: by onset, offset and label."""
    return event.onset, event.offset, event.label


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

    def __init__(
        self, events: Iterable[Event] = (), *, clip_id: str = "", duration_seconds: float | None = None
    ) -> None:
        self._events = tuple(sorted(events, key=by_time))
        self.clip_id = clip_id
        self.duration_seconds = duration_seconds

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> EventList: ...
    def __getitem__(self, index: int | slice) -> Event | EventList:
        if isinstance(index, slice):
            return EventList(self._events[index], clip_id=self.clip_id, duration_seconds=self.duration_seconds)
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventList) and (self.clip_id, self._events) == (other.clip_id, other._events)

    def __hash__(self) -> int:
        return hash((self.clip_id, self._events))

    def __repr__(self) -> str:
        return f"EventList({len(self)} events{f' of {self.clip_id}' if self.clip_id else ''})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({event.label for event in self._events}))

    def to_pandas(self) -> Any:
        """Return a DataFrame with columns filename, onset, offset, event_label, score."""
        try:
            import pandas as pd
        except ImportError:
            raise DependencyError("EventList.to_pandas needs pandas: pip install pandas.") from None
        rows = [(self.clip_id, e.onset, e.offset, e.label, e.score) for e in self._events]
        return pd.DataFrame(rows, columns=["filename", "onset", "offset", "event_label", "score"])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("onset / s", "offset / s", "label", "score"))
        body = "".join(
            f"<tr><td>{e.onset:.3f}</td><td>{e.offset:.3f}</td><td>{html.escape(e.label)}</td>"
            f"<td>{'' if e.score is None else f'{e.score:.2f}'}</td></tr>"
            for e in self._events
        )
        caption = f"<caption>{html.escape(self.clip_id) or 'events'}: {len(self)} events</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
