"""The picture of one clip: log mel energies, frame scores, and true above detected events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crnn_weak.features.log_mel import log_mel
from crnn_weak.figures import new_figure, plot_event_roll, plot_log_mel, plot_scores, style
from crnn_weak.labels.events import Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crnn_weak.detection.detector import Detector

__all__ = ["comparison_figure"]


def comparison_figure(audio: np.ndarray, truth: Sequence[Event], detector: Detector) -> Figure:
    """Draw a clip with its true events, and the frame scores and events of a detector.

    Parameters
    ----------
    audio : np.ndarray, shape (n_samples,)
        At the detector's sample rate, of its clip length.
    truth : sequence of Event
    detector : Detector
        All of its classes are detected; those of true or detected events are shown.
    """
    features = detector.features
    recording = (audio, features.sample_rate_hz)
    scores, events = detector.scores(recording), detector.detect(recording, classes=detector.classes)
    shown = [name for name in detector.classes if name in {event.label for event in (*truth, *events)}]
    columns = [detector.classes.index(name) for name in shown]
    thresholds = dict(zip(detector.classes, detector.operating_point.thresholds, strict=True))
    with style():
        ratios = (2.0, 0.6 * len(shown), 0.6 * len(shown))
        figure, axes = new_figure(8.0, 2.4 + 1.1 * len(shown), n_rows=3, share_x=True, height_ratios=ratios)
        bands, lanes, roll = axes.flat
        plot_log_mel(log_mel(audio, features), features=features, ax=bands, time_label=False)
        plot_scores(
            scores.strong[0][:, columns],
            classes=shown,
            hop_seconds=scores.hop_seconds,
            thresholds={name: thresholds[name] for name in shown},
            ax=lanes,
            time_label=False,
        )
        plot_event_roll(truth, events, classes=shown, clip_seconds=features.clip_seconds, ax=roll)
        for ax, title in ((bands, "log mel energies"), (lanes, "frame scores, thresholds dashed"), (roll, "events")):
            ax.set_title(title, loc="left", fontsize="medium")
    return figure
