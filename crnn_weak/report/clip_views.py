"""A clip as the page shows it: pictures, lanes of scores and events, sound. Numbers become places and texts here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.figures.style import hertz_ticks
from crnn_weak.labels.events import Event
from crnn_weak.report.media import data_uri, log_mel_png, overlay_png

__all__ = ["Bar", "ClipView", "Lane", "Overlay", "build_clip_view", "saliency_classes"]

log = logging.getLogger(__name__)

_MOST_LANES = 8
_MOST_OVERLAYS = 3
# Overlays need colours that stand out from a grey log mel, on a light page as on a dark one.
_OVERLAY_COLOURS = {"strong": "#3DB7FF", "weak": "#FFB000"}


@dataclass(frozen=True)
class Bar:
    """One event in a lane; `left` and `width` in percent of the clip."""

    left: float
    width: float
    title: str


@dataclass(frozen=True)
class Lane:
    """One class of one clip."""

    label: str
    weak: str
    tagged: bool
    true: bool
    path: str  # frame scores as an SVG path, 0 to 100 upside down, x in frames
    threshold: float  # height of the threshold, 0 to 100 from the top
    reference: tuple[Bar, ...]
    estimated: tuple[Bar, ...]


@dataclass(frozen=True)
class Overlay:
    """Saliency maps of one class, as addresses of images."""

    label: str
    strong: str
    weak: str


@dataclass
class ClipView:
    """Everything of one clip that the template writes."""

    number: int
    clip_id: str
    reasons: list[str]
    f_score: str
    duration: float
    n_frames: int
    mel: str
    hertz: list[tuple[float, str]]  # height in percent from the bottom, text
    seconds: list[tuple[float, str]]  # place in percent, text
    lanes: list[Lane]
    overlays: list[Overlay] = field(default_factory=list)
    has_reference: bool = True
    audio: str = ""
    audio_type: str = ""
    audio_note: str = ""
    summary: str = ""


def _bars(events: Sequence[Event], label: str, clip_seconds: float, word: str) -> tuple[Bar, ...]:
    bars = []
    for event in events:
        if event.label != label:
            continue
        onset = min(event.onset, clip_seconds)
        width = max(min(event.offset, clip_seconds) - onset, 0.0)
        title = f"{word}: {event.label}, {event.onset:.2f} to {event.offset:.2f} s"
        bars.append(Bar(round(100 * onset / clip_seconds, 3), round(100 * width / clip_seconds, 3), title))
    return tuple(bars)


def score_path(scores: np.ndarray) -> str:
    """Return frame scores as an SVG path of steps, closed along the floor; only changes are written.

    Examples
    --------
    >>> score_path(np.array([0.0, 0.5, 0.5]))
    'M0 100V100H1V50H3V100Z'
    """
    heights = np.rint(100.0 * (1.0 - np.clip(scores, 0.0, 1.0))).astype(int).tolist()
    parts, last = ["M0 100", f"V{heights[0]}"], heights[0]
    for frame, height in enumerate(heights):
        if height != last:
            parts.append(f"H{frame}V{height}")
            last = height
    return "".join(parts) + f"H{len(heights)}V100Z"


def _shown_classes(
    classes: Sequence[str], true: set[str], found: set[str], weak: np.ndarray, strong: np.ndarray
) -> list[str]:
    """What is true or found, and the likeliest other class, in the order of the class list."""
    peak = np.maximum(weak, strong.max(axis=0))
    ranked = [classes[index] for index in np.argsort(-peak, kind="stable")]
    wanted = [name for name in ranked if name in true] + [name for name in ranked if name in found - true]
    wanted += [name for name in ranked if name not in true | found][: max(1, 3 - len(wanted))]
    return [name for name in classes if name in wanted[:_MOST_LANES]]


def saliency_classes(
    reference: Sequence[str], estimated: Sequence[str], weak: np.ndarray, classes: Sequence[str]
) -> list[str]:
    """Return the classes whose saliency a clip shows: the true ones first, then the detected, then the likeliest."""
    wanted = [name for name in classes if name in reference]
    wanted += [name for name in classes if name in estimated and name not in wanted]
    return (wanted or [classes[int(np.argmax(weak))]])[:_MOST_OVERLAYS]


def _time_ticks(clip_seconds: float) -> list[tuple[float, str]]:
    step = next((step for step in (0.5, 1, 2, 5, 10, 20, 60, 120, 300) if clip_seconds / step <= 10), 600)
    return [
        (round(100 * tick / clip_seconds, 3), f"{tick:g}") for tick in np.arange(0, clip_seconds + 1e-6, step).tolist()
    ]


def _summary(clip_id: str, true: Sequence[str], found: Sequence[str]) -> str:
    """The picture in words, for those who do not see it."""
    said = "true: " + (", ".join(true) or "nothing known or nothing sounding")
    return f"Log mel of clip {clip_id}; {said}; detected: {', '.join(found) or 'nothing'}."


def build_clip_view(
    number: int,
    clip_id: str,
    reasons: Sequence[str],
    *,
    features: FeatureConfig,
    classes: Sequence[str],
    log_mel: np.ndarray,
    strong: np.ndarray,
    weak: np.ndarray,
    reference: Sequence[Event] | None,
    reference_tags: Sequence[str],
    estimated: Sequence[Event],
    estimated_tags: Sequence[str],
    thresholds: Mapping[str, float],
    f_score: float,
    maps: Mapping[str, Any] | None = None,
) -> ClipView:
    """Turn one clip into what the template writes.

    Parameters
    ----------
    number : int
        Of the clip on the page.
    clip_id : str
    reasons : sequence of str
        As `crnn_weak.report.clip_choice.choose_clips` gives them.
    features : FeatureConfig
    classes : sequence of str, length n_classes
    log_mel : np.ndarray, shape (n_frames, n_mels)
    strong : np.ndarray, shape (n_frames, n_classes)
    weak : np.ndarray, shape (n_classes,)
        Scores in [0, 1].
    reference : sequence of Event, optional
        None where onsets are not known.
    reference_tags, estimated_tags : sequence of str
    estimated : sequence of Event
    thresholds : mapping of class to float
    f_score : float
        Of this clip, in [0, 1], or NaN.
    maps : mapping of class to (strong, weak) arrays of shape (n_frames, n_mels), optional
        Saliency.
    """
    n_frames = log_mel.shape[0]
    seconds = n_frames * features.hop_seconds
    true = set(reference_tags) | {event.label for event in reference or ()}
    found = {event.label for event in estimated} | set(estimated_tags)
    lanes = []
    for name in _shown_classes(classes, true, found, weak, strong):
        column = list(classes).index(name)
        lanes.append(
            Lane(
                label=name,
                weak=f"{weak[column]:.2f}",
                tagged=name in estimated_tags,
                true=name in true,
                path=score_path(strong[:, column]),
                threshold=round(100 * (1 - thresholds.get(name, 0.5)), 2),
                reference=_bars(reference or (), name, seconds, "true"),
                estimated=_bars(estimated, name, seconds, "detected"),
            )
        )
    overlays = [
        Overlay(
            name,
            *(
                data_uri(overlay_png(array, _OVERLAY_COLOURS[output]), "image/png")
                for output, array in zip(("strong", "weak"), pair, strict=True)
            ),
        )
        for name, pair in (maps or {}).items()
    ]
    places, names = hertz_ticks(features)
    return ClipView(
        number=number,
        clip_id=clip_id,
        reasons=list(reasons),
        f_score="–" if not np.isfinite(f_score) else f"{100 * f_score:.0f} %",
        duration=round(seconds, 3),
        n_frames=n_frames,
        mel=data_uri(log_mel_png(log_mel), "image/png"),
        hertz=[
            (round(100 * (place + 0.5) / features.n_mels, 2), name) for place, name in zip(places, names, strict=True)
        ],
        seconds=_time_ticks(seconds),
        lanes=lanes,
        overlays=overlays,
        has_reference=reference is not None,
        summary=_summary(clip_id, [c for c in classes if c in true], [c for c in classes if c in found]),
    )
