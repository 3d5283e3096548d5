"""JAMS files: the annotations of one recording as JSON, read and written without the library of that name.

Read are the namespaces of labels in time (``segment_open``, ``tag_*``, ``scaper``'s foreground); others are refused
where nothing else is in the file. Observations are a list of objects, or of columns as older files have them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crnn_weak.errors import DataError
from crnn_weak.labels.events import Event
from crnn_weak.labels.rows import LabelRow, Mismatch, timed_row
from crnn_weak.labels.tables import read_text

__all__ = ["jams_document", "read_jams"]


def _observations(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, dict) and all(isinstance(column, list) for column in data.values()):
        length = {len(column) for column in data.values()}
        if len(length) == 1:
            return [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return data
    raise ValueError("data is no list of observations")


def _row(number: int, name: str, observation: dict[str, Any], namespace: str) -> LabelRow | None:
    value = observation.get("value")
    onset, duration = observation.get("time"), observation.get("duration")
    if namespace == "scaper":
        if not isinstance(value, dict):
            raise ValueError("a value of the namespace scaper is no object")
        if value.get("role", "foreground") != "foreground":
            return None
        value = value.get("label")
    if not isinstance(value, str):
        raise ValueError(f"the value {str(value)[:40]!r} is no label")
    for seconds in (onset, duration):
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError(f"{seconds!r} is not a time in seconds")
    confidence = observation.get("confidence")
    score = repr(confidence) if isinstance(confidence, int | float) and not isinstance(confidence, bool) else ""
    return timed_row(number, name or None, repr(onset), repr(duration), value.strip(), score=score, duration=True)


def read_jams(path: str | Path) -> list[LabelRow]:
    """Read the events of a JAMS file; the recording is named in its metadata, or else as the file is.

    Raises
    ------
    DataError
        The file is not JSON, has no annotation of labels in time or several, or an observation is no event.
    """
    path = Path(path)
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a JAMS file ({str(error)[:80]}).") from None
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise DataError(f"{path}: not a JAMS file; expected an object with a list of annotations.")
    metadata = document.get("file_metadata")
    identifiers = metadata.get("identifiers") if isinstance(metadata, dict) else None
    name = identifiers.get("filename") if isinstance(identifiers, dict) else None
    name = name if isinstance(name, str) else ""
    known = [a for a in annotations if str(a.get("namespace")) in ("scaper", "segment_open") or _is_tag(a)]
    if not known and annotations:
        there = ", ".join(sorted({str(a.get("namespace"))[:40] for a in annotations}))
        raise DataError(f"{path}: namespaces {there}; expected segment_open, scaper or tag_*.")
    if len(known) > 1:
        raise DataError(
            f"{path}: {len(known)} annotations of labels in time; they may be several annotators' of the same events. "
            "Expected one; keep that in the file."
        )
    rows: list[LabelRow] = []
    for annotation in known:
        try:
            for number, observation in enumerate(_observations(annotation.get("data")), start=1):
                row = _row(number, name, observation, str(annotation.get("namespace")))
                rows += [row] if row is not None else []
        except (Mismatch, ValueError) as error:
            raise DataError(f"{path}: {str(error).rstrip('.')}.") from None
    return rows or [LabelRow(1, name)]


def _is_tag(annotation: dict[str, Any]) -> bool:
    return str(annotation.get("namespace")).startswith("tag_")


def jams_document(name: str, events: Sequence[Event]) -> dict[str, Any]:
    """Return a recording's events as a JAMS document, namespace ``segment_open``."""
    data = [
        {"time": e.onset, "duration": round(e.duration, 9), "value": e.label, "confidence": e.score} for e in events
    ]
    end = max((event.offset for event in events), default=0.0)
    empty = {"curator": {"name": "", "email": ""}, "version": "", "corpus": "", "annotator": {}}
    details = {**empty, "annotation_tools": "", "annotation_rules": "", "validation": "", "data_source": ""}
    annotation = {
        "namespace": "segment_open", "time": 0, "duration": end, "annotation_metadata": details, "data": data,
        "sandbox": {},
    }  # fmt: skip
    metadata = {
        "title": "", "artist": "", "release": "", "duration": end, "identifiers": {"filename": name},
        "jams_version": "0.3.4",
    }  # fmt: skip
    return {"annotations": [annotation], "file_metadata": metadata, "sandbox": {}}
