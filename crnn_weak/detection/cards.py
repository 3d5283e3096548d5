"""A detection as HTML for a notebook: player, picture, table."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from crnn_weak.labels.events import EventList

# Longer recordings have no player in a notebook, which holds their sound as text.
_MAX_BYTES = 4_000_000
_TYPES = {".wav": "wav", ".flac": "flac", ".ogg": "ogg", ".oga": "ogg", ".opus": "ogg", ".mp3": "mpeg"}
# A palette for the color-blind (Okabe and Ito, 2008).
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")


def recording_card(source: Any, events: EventList, tags: Iterable[tuple[str, float]]) -> str:
    """Return a player, one lane of events per label over time, a table, and the tags with their scores."""
    text = ", ".join(f"{label} {score:.2f}" for label, score in tags) or "none"
    return f"{_player(source)}{_lanes(events)}{events._repr_html_()}<p>tags: {html.escape(text)}</p>"


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
        data, kind = Path(source).read_bytes(), _TYPES[suffix]
    return f'<audio controls src="data:audio/{kind};base64,{base64.b64encode(data).decode()}"></audio>'
