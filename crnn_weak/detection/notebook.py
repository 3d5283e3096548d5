"""Detectors and detections as HTML for a notebook: a card; a player and a picture of the events in time."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile

from crnn_weak.config import FeatureConfig
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.labels.events import EventList

__all__ = ["detector_html", "recording_html"]

# Longer recordings have no player: a notebook holds its sound as text.
_MAX_BYTES = 4_000_000
_TYPES = {".wav": "wav", ".flac": "flac", ".ogg": "ogg", ".oga": "ogg", ".opus": "ogg", ".mp3": "mpeg"}
# A palette for the color-blind (Okabe and Ito, 2008).
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")


def recording_html(source: Any, events: EventList) -> str:
    """Return a player of the source, and one lane of events per label over time."""
    return _player(source) + _lanes(events)


def detector_html(
    classes: Sequence[str], features: FeatureConfig, point: OperatingPoint, provenance: Mapping[str, Any]
) -> str:
    """Return a detector as a card: its input, its training and its classes with their thresholds."""
    window = f"{features.clip_seconds:g} s of audio at {features.sample_rate_hz:,} Hz, {features.n_mels} mel bands"
    facts = {"window": window} | {name.replace("_", " "): str(value) for name, value in provenance.items()}
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
        for name, text in facts.items()
    )
    thresholds = "".join(
        f"<tr><td style='text-align:left'>{html.escape(name)}</td><td>{frame:.2f}</td><td>{tag:.2f}</td></tr>"
        for name, frame, tag in zip(classes, point.thresholds, point.tag_thresholds, strict=True)
    )
    head = "<tr><th style='text-align:left'>class</th><th>threshold</th><th>tag threshold</th></tr>"
    return (
        f"<table><caption>Detector</caption><tbody>{rows}</tbody></table>"
        f"<details><summary>{len(classes)} classes</summary><table><thead>{head}</thead><tbody>{thresholds}</tbody>"
        "</table></details>"
    )


def _lanes(events: EventList) -> str:
    labels, seconds = events.labels, events.duration_seconds or 0.0
    if not labels:
        return ""
    scale = 600 / max(seconds, 1e-9)
    parts = []
    for lane, label in enumerate(labels):
        parts.append(f'<text x="0" y="{20 * lane + 14}" font-size="12">{html.escape(label[:28])}</text>')
        for event in events:
            if event.label == label:
                place = f'x="{200 + scale * event.onset:.1f}" width="{max(scale * event.duration, 1):.1f}"'
                title = f"<title>{event.onset:.2f} to {event.offset:.2f} s</title>"
                color = _COLORS[lane % len(_COLORS)]
                parts.append(f'<rect {place} y="{20 * lane + 4}" height="12" fill="{color}">{title}</rect>')
    height = 20 * len(labels) + 18
    ends = f'<text x="200" y="{height - 4}" font-size="11">0</text>'
    ends += f'<text x="800" y="{height - 4}" font-size="11" text-anchor="end">{seconds:.1f} s</text>'
    return f'<svg viewBox="0 0 800 {height}" width="800" role="img">{"".join(parts)}{ends}</svg>'


def _player(source: Any) -> str:
    """Return an audio element that holds the sound, or "" for one that is long or cannot be played again."""
    if isinstance(source, tuple):
        audio, rate = np.asarray(source[0]), int(source[1])
        if audio.size * 2 > _MAX_BYTES:
            return ""
        file = io.BytesIO()
        soundfile.write(file, audio, rate, format="WAV", subtype="PCM_16")
        data, kind = file.getvalue(), "wav"
    else:
        suffix = os.path.splitext(str(source))[1].lower()
        if suffix not in _TYPES or not os.path.isfile(source) or os.path.getsize(source) > _MAX_BYTES:
            return ""
        with open(source, "rb") as opened:
            data, kind = opened.read(), _TYPES[suffix]
    return f'<audio controls src="data:audio/{kind};base64,{base64.b64encode(data).decode()}"></audio>'
