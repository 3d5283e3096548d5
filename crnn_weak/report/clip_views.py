"""One clip of a page: its numbers as places and texts for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crnn_weak.config import FeatureConfig
from crnn_weak.figures.style import hertz_ticks
from crnn_weak.labels.events import Event
from crnn_weak.report.media import data_uri, log_mel_png, overlay_png

__all__ = ["ClipData", "ClipView", "build_clip_view", "saliency_classes", "score_path"]

_MOST_LANES = 8
_MOST_OVERLAYS = 3
# Overlays need colors that stand out from a gray log mel, on a light page as on a dark one.
_OVERLAY_COLORS = {"strong": "#3DB7FF", "weak": "#FFB000"}


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


@dataclass(frozen=True)
class ClipData:
    """One clip: its features, scores, truth and detections.

    Attributes
    ----------
    clip_id : str
    log_mel : np.ndarray, shape (n_frames, n_mels)
    strong : np.ndarray, shape (n_frames, n_classes)
    weak : np.ndarray, shape (n_classes,)
        Scores in [0, 1].
    reference : sequence of Event or None
        None where onsets are not known.
    reference_tags, estimated_tags : sequence of str
    estimated : sequence of Event
    """

    clip_id: str
    log_mel: np.ndarray = field(repr=False)
    strong: np.ndarray = field(repr=False)
    weak: np.ndarray = field(repr=False)
    reference: Sequence[Event] | None
    reference_tags: Sequence[str]
    estimated: Sequence[Event]
    estimated_tags: Sequence[str]

    @property
    def true(self) -> set[str]:
        """The classes that are true, by tags or by events."""
        return set(self.reference_tags) | {event.label for event in self.reference or ()}

    @property
    def found(self) -> set[str]:
        """The classes that were estimated, by tags or by events."""
        return set(self.estimated_tags) | {event.label for event in self.estimated}


@dataclass
class ClipView:
    """One clip as the template writes it."""

    number: int
    clip_id: str
    duration: float
    n_frames: int
    mel: str
    hertz: list[tuple[float, str]]  # height in percent from the bottom, text
    seconds: list[tuple[float, str]]  # place in percent, text
    lanes: list[Lane]
    overlays: list[Overlay]
    summary: str
    reasons: list[str] = field(default_factory=list)
    f_score: str = "–"
    audio: str = ""
    audio_note: str = ""

    @property
    def size(self) -> int:
        """Bytes of the clip's pictures on the page."""
        paths = sum(len(lane.path) + 400 for lane in self.lanes)
        return len(self.mel) + paths + sum(len(overlay.strong) + len(overlay.weak) for overlay in self.overlays)

    def set_f_score(self, f_score: float) -> None:
        """Write an F-score in [0, 1]; NaN, where nothing is true and nothing estimated, is a dash."""
        self.f_score = f"{100 * f_score:.0f} %" if np.isfinite(f_score) else "–"


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


def _shown_classes(clip: ClipData, classes: Sequence[str]) -> list[str]:
    """Return the true and the detected classes and the likeliest other one, in the order of the class list."""
    peak = np.maximum(clip.weak, clip.strong.max(axis=0))
    ranked = [classes[index] for index in np.argsort(-peak, kind="stable")]
    wanted = [name for name in ranked if name in clip.true]
    wanted += [name for name in ranked if name in clip.found - clip.true]
    wanted += [name for name in ranked if name not in clip.true | clip.found][: max(1, 3 - len(wanted))]
    return [name for name in classes if name in wanted[:_MOST_LANES]]


def saliency_classes(clip: ClipData, classes: Sequence[str]) -> list[str]:
    """Return the classes whose saliency a clip shows: the true ones first, then the detected, then the likeliest."""
    wanted = [name for name in classes if name in clip.reference_tags]
    detected = {event.label for event in clip.estimated}
    wanted += [name for name in classes if name in detected and name not in wanted]
    return (wanted or [classes[int(np.argmax(clip.weak))]])[:_MOST_OVERLAYS]


def _time_ticks(clip_seconds: float) -> list[tuple[float, str]]:
    step = next((step for step in (0.5, 1, 2, 5, 10, 20, 60, 120, 300) if clip_seconds / step <= 10), 600)
    return [
        (round(100 * tick / clip_seconds, 3), f"{tick:g}") for tick in np.arange(0, clip_seconds + 1e-6, step).tolist()
    ]


def _summary(clip: ClipData, classes: Sequence[str]) -> str:
    """Return the picture in words, for readers who do not see it."""
    true, found = (", ".join(name for name in classes if name in names) for names in (clip.true, clip.found))
    said = f"true: {true or 'nothing known or nothing sounding'}; detected: {found or 'nothing'}"
    return f"Log mel of clip {clip.clip_id}; {said}."


def build_clip_view(
    number: int,
    clip: ClipData,
    *,
    features: FeatureConfig,
    classes: Sequence[str],
    thresholds: Mapping[str, float],
    maps: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> ClipView:
    """Turn one clip into places and texts for the template.

    Parameters
    ----------
    number : int
        Of the clip on the page.
    clip : ClipData
    features : FeatureConfig
    classes : sequence of str, length n_classes
    thresholds : mapping of class to float
        0.5 for a class that is not there.
    maps : mapping of class to (strong, weak) arrays of shape (n_frames, n_mels), optional
        Saliency.
    """
    n_frames = clip.log_mel.shape[0]
    seconds = n_frames * features.hop_seconds
    places, names = hertz_ticks(features)
    heights = [round(100 * (place + 0.5) / features.n_mels, 2) for place in places]
    return ClipView(
        number=number,
        clip_id=clip.clip_id,
        duration=round(seconds, 3),
        n_frames=n_frames,
        mel=data_uri(log_mel_png(clip.log_mel), "image/png"),
        hertz=list(zip(heights, names, strict=True)),
        seconds=_time_ticks(seconds),
        lanes=[_lane(clip, name, classes.index(name), thresholds, seconds) for name in _shown_classes(clip, classes)],
        overlays=[_overlay(name, *pair) for name, pair in (maps or {}).items()],
        summary=_summary(clip, classes),
    )


def _lane(clip: ClipData, name: str, column: int, thresholds: Mapping[str, float], seconds: float) -> Lane:
    return Lane(
        label=name,
        weak=f"{clip.weak[column]:.2f}",
        tagged=name in clip.estimated_tags,
        true=name in clip.true,
        path=score_path(clip.strong[:, column]),
        threshold=round(100 * (1 - thresholds.get(name, 0.5)), 2),
        reference=_bars(clip.reference or (), name, seconds, "true"),
        estimated=_bars(clip.estimated, name, seconds, "detected"),
    )


def _overlay(name: str, strong: np.ndarray, weak: np.ndarray) -> Overlay:
    pictures = (overlay_png(strong, _OVERLAY_COLORS["strong"]), overlay_png(weak, _OVERLAY_COLORS["weak"]))
    return Overlay(name, *(data_uri(picture, "image/png") for picture in pictures))
