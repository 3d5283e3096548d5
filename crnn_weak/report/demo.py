"""The page of ``crnn-weak demo``: one clip with its player, its picture, and true and detected events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crnn_weak.files import write_text
from crnn_weak.labels.events import Event
from crnn_weak.report.html import render
from crnn_weak.report.media import data_uri, encode_audio

__all__ = ["write_demo_page"]


def write_demo_page(
    path: str | Path,
    *,
    recording: str | Path,
    sample_rate_hz: int,
    clip_seconds: float,
    picture: str | Path,
    truth: Sequence[Event],
    events: Sequence[Event],
    commands: Sequence[str],
) -> None:
    """Write a page that holds the clip's sound and picture, and opens offline.

    Parameters
    ----------
    path : path
    recording, picture : path
        An audio file and a PNG.
    sample_rate_hz : int
    clip_seconds : float
    truth, events : sequence of Event
        True and detected events.
    commands : sequence of str
        What to try next.
    """
    sound = encode_audio(recording, sample_rate_hz=sample_rate_hz, clip_seconds=clip_seconds)
    page = render(
        "demo.html.j2",
        styles=("report.css",),
        scripts=("theme.js",),
        files=False,
        sound=data_uri(sound.content, sound.media_type),
        picture=data_uri(Path(picture).read_bytes(), "image/png"),
        truth=truth,
        events=events,
        commands=commands,
    )
    write_text(path, page)
