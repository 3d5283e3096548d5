"""Detect events in any recording: `load` a model, then ``.detect()``, ``.tag()`` or ``.scores()``.

>>> import crnn_weak
>>> crnn_weak.load("runs/first").detect("street.wav")           # doctest: +SKIP
EventList(3 events of street.wav)

A recording may be of any length, rate and channel count: it is read in blocks, scored in overlapping windows of the
model's own clip length (`crnn_weak.inference.windows` says how they join), and its scores become events as they come
(`crnn_weak.events.stream`), so that ten hours take the memory of ten minutes. Windows of many short
recordings share a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak.config import DecisionConfig, FeatureConfig
from crnn_weak.errors import ConfigError, ModelFileError, RunError
from crnn_weak.events.operating_point import ClassDecisions, as_class_decisions
from crnn_weak.features.log_mel import LogMelExtractor
from crnn_weak.features.scaler import Scaler
from crnn_weak.inference.engine import Engine
from crnn_weak.inference.recordings import Recording
from crnn_weak.inference.results import Detection, FrameScores, Observer, Tag
from crnn_weak.inference.windows import WindowPlan
from crnn_weak.labels.classes import class_indices
from crnn_weak.labels.events import EventList

__all__ = ["STARTER_MODEL", "Detector", "load", "model_file"]

logger = logging.getLogger(__name__)

#: The model that comes with the package, where it was made.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.keras"


class Detector:
    """A model with all that is needed to use it.

    Parameters
    ----------
    model : keras.Model
        Or anything with ``predict_on_batch``, or a callable: (n, n_frames, n_mels) -> {"strong", "weak"}.
    classes : sequence of str
    features : FeatureConfig
    scaler : Scaler
    decisions : ClassDecisions
    provenance : mapping
        Where the model comes from.
    batch_size : int
        Windows per call of the model; a batch that is not full is filled up, so that few shapes are compiled.
    window_hop_seconds : float, optional
        From one window to the next; by default a hundredth of the window, at least one frame. Computation is
        inversely proportional to it; at one frame the scores of a long recording do not depend on where its windows
        lie (`crnn_weak.inference.windows`).
    """

    def __init__(
        self,
        model: Any,
        *,
        classes: Sequence[str],
        features: FeatureConfig,
        scaler: Scaler,
        decisions: ClassDecisions | DecisionConfig | None = None,
        provenance: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        window_hop_seconds: float | None = None,
    ) -> None:
        self.model = model
        self.classes = tuple(classes)
        self.features = features
        self.scaler = scaler
        self.decisions = as_class_decisions(decisions or DecisionConfig(), self.classes)
        self.provenance = dict(provenance or {})
        self.batch_size = batch_size
        n_hop = None
        if window_hop_seconds is not None:
            if not 0 < window_hop_seconds <= features.clip_seconds / 2:
                raise ConfigError(
                    f"window hop of {window_hop_seconds:g} s: expected above 0, and at most half a window, "
                    f"{features.clip_seconds / 2:g} s."
                )
            n_hop = max(1, round(window_hop_seconds / features.hop_seconds))
        self.plan = WindowPlan.crossfade(features.n_frames, n_hop)
        self.extractor = LogMelExtractor(features)

    def __repr__(self) -> str:
        return f"Detector({len(self.classes)} classes, windows of {self.features.clip_seconds:g} s)"

    # --- one recording ----------------------------------------------------------------------------------------------

    def detect(
        self,
        source: Any,
        *,
        decisions: ClassDecisions | DecisionConfig | None = None,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
    ) -> EventList:
        """Return the events of a recording.

        Parameters
        ----------
        source : path, binary file, or (array, sample_rate_hz)
            Of any length; the array has shape (n_samples,) or (n_samples, n_channels).
        decisions : ClassDecisions or DecisionConfig, optional
            By default those stored with the model.
        threshold : float, optional
            One threshold for all classes, in place of the decisions' own.
        classes : sequence of str, optional
            Only these classes.

        Returns
        -------
        EventList
            Onsets and offsets in seconds, labels, and scores in [0, 1]: the mean of the event's frame scores.

        Raises
        ------
        DataError
            The recording cannot be read to its end (see `crnn_weak.inference.inputs`).
        LabelError
            The model does not know a class.
        """
        return self._one(source, self.decide(decisions, threshold=threshold), classes).events

    def tag(self, source: Any, *, threshold: float | None = None) -> tuple[Tag, ...]:
        """Return the classes that sound somewhere in a recording, the likeliest first, with the weak output's scores.

        Of a recording longer than one window each class's score is the largest of the windows'.
        """
        return self._one(source, self.decide(None, threshold=threshold), None).tags

    def scores(self, source: Any) -> FrameScores:
        """Return the frame scores of a recording, whole in memory (10 h of 20 ms frames, 17 classes: 122 MB)."""
        parts: list[np.ndarray] = []

        class Keep:
            def frames(self, recording: Recording, first_frame: int, strong: np.ndarray) -> None:
                parts.append(strong)

            def progress(self, recording: Recording, seconds: float) -> None:
                pass

        result = self._one(source, self.decisions, None, Keep())
        return FrameScores(
            self.classes,
            self.features.hop_seconds,
            np.concatenate(parts),
            result.weak,
            result.recording.name,
            result.duration_seconds,
        )

    def _one(
        self, source: Any, decisions: ClassDecisions, classes: Sequence[str] | None, observer: Observer | None = None
    ) -> Detection:
        name = Path(source).name if isinstance(source, str | Path) else ""
        recording = source if isinstance(source, Recording) else Recording(name, source)
        (result,) = self.detect_many([recording], decisions=decisions, classes=classes, observer=observer)
        if result.error is not None:
            raise result.error
        for warning in result.warnings:
            logger.warning("%s: %s", name or "recording", warning)
        return result

    def decide(
        self, decisions: ClassDecisions | DecisionConfig | None = None, *, threshold: float | None = None
    ) -> ClassDecisions:
        """Return the decisions to use: those given or stored, with one threshold laid over them where given."""
        chosen = self.decisions if decisions is None else as_class_decisions(decisions, self.classes)
        return chosen if threshold is None else chosen.replace(thresholds=threshold, tag_thresholds=threshold)

    def detect_many(
        self,
        recordings: Iterable[Recording],
        *,
        decisions: ClassDecisions | None = None,
        classes: Sequence[str] | None = None,
        observer: Observer | None = None,
    ) -> Iterator[Detection]:
        """Process recordings one after the other; yield a `Detection` for each, failed ones included, in order.

        Reading and features run in a second thread while the model works.

        Raises
        ------
        LabelError
            The model does not know one of `classes`.
        """
        wanted = self.classes if classes is None else tuple(classes)
        class_indices(wanted, self.classes, where="classes")
        return Engine(self, decisions or self.decisions, wanted, observer).run(recordings)

    def standardised(self, frames: np.ndarray) -> np.ndarray:
        """Return log mel frames as the model takes them."""
        scaled: np.ndarray = self.scaler.transform(frames).astype(np.float32, copy=False)
        return scaled

    def silence(self) -> np.ndarray:
        """Return one window of silence, shape (1, n_frames, n_mels): to compile the model before it is needed."""
        audio = np.zeros(self.plan.n_window * self.features.n_hop, np.float32)
        return self.standardised(self.extractor(audio))[None]

    def predict(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (strong (n, n_frames, n_classes), weak (n, n_classes)) of windows (n, n_frames, n_mels)."""
        n_windows = len(windows)
        size = next((size for size in (1, 4) if n_windows <= size < self.batch_size), self.batch_size)
        if n_windows < size:
            windows = np.concatenate([windows, np.zeros((size - n_windows, *windows.shape[1:]), np.float32)])
        call = getattr(self.model, "predict_on_batch", None) or self.model
        outputs = call(windows)
        return np.asarray(outputs["strong"])[:n_windows], np.asarray(outputs["weak"])[:n_windows]


# --- loading ---------------------------------------------------------------------------------------------------------


def model_file(path: str | Path | None = None) -> Path:
    """Return the model file that a path means: a ``.keras`` file, a run folder (its ``best.keras``), or the starter.

    Raises
    ------
    ModelFileError
        There is no such file, or no starter model has been made.
    RunError
        The folder is not that of a finished run.
    """
    if path is None:
        if not STARTER_MODEL.is_file():
            raise ModelFileError(
                "no --model was given and there is no starter model; make one with "
                "`python scripts/starter_model.py`, or pass a run folder or a .keras file."
            )
        return STARTER_MODEL
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ModelFileError(f"{path}: no such model. Expected a run folder or a .keras file.")
        return path
    best = path / "best.keras"
    if not best.is_file():
        below = sorted(path.glob("**/best.keras"))
        hint = f"Did you mean {below[0].parent}?" if below else "Train one with crnn-weak train."
        raise RunError(f"{path}: the folder holds no best.keras. {hint}")
    return best


def load(path: str | Path | None = None, *, batch_size: int = 32, window_hop_seconds: float | None = None) -> Detector:
    """Load a model for use.

    Parameters
    ----------
    path : path, optional
        A ``.keras`` file or a run folder; by default the starter model.
    batch_size : int
        Windows per call of the model; memory grows with it.
    window_hop_seconds : float, optional
        See `Detector`.

    Raises
    ------
    ModelFileError, RunError
        The file or run is missing or damaged; nothing in the file is executed (Keras' safe mode).

    Examples
    --------
    >>> load("nowhere.keras")
    Traceback (most recent call last):
    crnn_weak.errors.ModelFileError: nowhere.keras: no such model. Expected a run folder or a .keras file.
    """
    file = model_file(path)
    from crnn_weak.model.archive import load_model  # TensorFlow: only once the file is known to be there

    model, metadata = load_model(file)
    stored = metadata.decisions
    return Detector(
        model,
        classes=metadata.classes,
        features=metadata.config.features,
        scaler=metadata.scaler,
        decisions=ClassDecisions.from_dict(stored) if stored else metadata.config.decisions,
        provenance=metadata.provenance,
        batch_size=batch_size,
        window_hop_seconds=window_hop_seconds,
    )
