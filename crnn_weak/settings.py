"""Every setting, in physical units, with its source: one frozen dataclass per concern.

Every field names where its default comes from:

``known``
    the paper's abstract, the authors' talk, or the organisers' files;
``derived``
    arithmetic on known numbers;
``sibling``
    the authors' published code for neighbouring papers;
``chosen``
    ours, where nothing is known; the note says why.

The README's Fidelity table is written from these marks (`crnn_weak.config.fidelity_rows`) and a test keeps the two
equal. A number that follows from others (the frame count, say) is a property and never a second setting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from crnn_weak import timing
from crnn_weak.errors import ConfigError

__all__ = [
    "Config",
    "DataConfig",
    "DecisionConfig",
    "EvaluationConfig",
    "FeatureConfig",
    "LossWeights",
    "ModelConfig",
    "TrainingConfig",
]


def _setting(source: str, default: Any, note: str) -> Any:
    return field(default=default, metadata={"source": source, "note": note})


def known(default: Any, note: str) -> Any:
    return _setting("known", default, note)


def derived(default: Any, note: str) -> Any:
    return _setting("derived", default, note)


def sibling(default: Any, note: str) -> Any:
    return _setting("sibling", default, note)


def chosen(default: Any, note: str) -> Any:
    return _setting("chosen", default, note)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{name} = {value!r}: expected {expected}.")


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Log mel-band energies of one clip, shape ``(n_frames, n_mels)``."""

    clip_seconds: float = known(10.0, "the task's clips; shorter ones are zero padded")
    sample_rate_hz: int = sibling(44_100, "mono")
    window_seconds: float = sibling(0.040, "Hamming window")
    hop_seconds: float = sibling(0.020, "half the window: 500 frames, as in the talk")
    n_fft: int = sibling(2048, "the next power of two above the window's 1,764 samples")
    n_mels: int = sibling(40, "mel bands")
    fmin_hz: float = sibling(0.0, "lower edge of the lowest band")
    fmax_hz: float = sibling(22_050.0, "upper edge of the highest band: half the sample rate")
    log_floor: float = chosen(1e-8, "added to the energies: the siblings' bare logarithm is -inf on padded frames")
    centre: str = chosen("cell", "each window is centred on its own frame's cell, so that 10 s give 500 frames")

    def __post_init__(self) -> None:
        for name in ("clip_seconds", "sample_rate_hz", "window_seconds", "hop_seconds", "n_fft", "n_mels", "log_floor"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, f"features.{name}", value, "a number above 0")
        _require(
            self.n_window <= self.n_fft, "features.n_fft", self.n_fft, f"at least the window, {self.n_window} samples"
        )
        _require(
            0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2,
            "features.fmax_hz",
            self.fmax_hz,
            f"above fmin_hz ({self.fmin_hz:g}) and at most half the sample rate ({self.sample_rate_hz / 2:g})",
        )
        _require(self.centre == "cell", "features.centre", self.centre, "'cell'")
        _require(self.n_frames >= 1, "features.hop_seconds", self.hop_seconds, "at most clip_seconds")

    @property
    def n_window(self) -> int:
        """Samples in the analysis window."""
        return timing.n_samples(self.window_seconds, self.sample_rate_hz)

    @property
    def n_hop(self) -> int:
        """Samples from one frame to the next."""
        return timing.n_samples(self.hop_seconds, self.sample_rate_hz)

    @property
    def n_frames(self) -> int:
        """Frames of one clip."""
        return timing.n_frames(self.clip_seconds, self.hop_seconds)

    @property
    def n_clip_samples(self) -> int:
        """Samples of one clip."""
        return timing.n_samples(self.clip_seconds, self.sample_rate_hz)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: convolutional, recurrent, fully connected, `strong`, `weak`."""

    n_classes: int = known(17, "the task's classes")
    n_filters: int = chosen(64, "by the count of 218,000 trainable weights")
    n_conv_layers: int = chosen(3, "by the count of 218,000 trainable weights")
    kernel_size: int = sibling(3, "3 x 3")
    pools: tuple[int, ...] = chosen((5, 4, 2), "over frequency only: all 500 frames are kept (known)")
    dropout: float = chosen(0.2, "after each block; the rate is not known")
    gru_units: tuple[int, ...] = chosen((64, 64), "at least two bidirectional GRU layers are known; units by the count")
    gru_merge: str = chosen("concat", "by the count; 'mul' is the siblings' habit and learnt slower here")
    gru_reset_after: bool = chosen(True, "today's GRU, the cuDNN form; 2017's is False")
    dense_units: int = chosen(128, "by the count of 218,000 trainable weights")
    weak_head: str = derived("max_dense", "the published rows exclude a parameter-free maximum at one threshold")

    def __post_init__(self) -> None:
        for name in ("n_classes", "n_filters", "n_conv_layers", "kernel_size", "dense_units"):
            _require(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "a whole number of 1 or more")
        _require(
            len(self.pools) == self.n_conv_layers and min(self.pools) >= 1,
            "model.pools",
            self.pools,
            f"one whole number of 1 or more for each of the {self.n_conv_layers} convolutional layers",
        )
        _require(
            len(self.gru_units) >= 1 and min(self.gru_units) >= 1,
            "model.gru_units",
            self.gru_units,
            "units of each layer",
        )
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "a rate in [0, 1)")
        _require(
            self.gru_merge in ("concat", "mul", "sum", "ave"),
            "model.gru_merge",
            self.gru_merge,
            "concat, mul, sum or ave",
        )
        _require(self.weak_head in ("max_dense", "max"), "model.weak_head", self.weak_head, "max_dense or max")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The weights of the two losses, the paper's control.

    Both losses are *means*: the strong one over frames and classes, the weak one over classes. 1 to 1 is therefore a
    statement about means, not about sums.
    """

    strong: float = known(1.0, "the best published setting: equal weights")
    weak: float = known(1.0, "the best published setting: equal weights")

    def __post_init__(self) -> None:
        for name in ("strong", "weak"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"loss_weights.{name}", value, "a number of 0 or more")
        _require(self.strong + self.weak > 0, "loss_weights", (self.strong, self.weak), "at least one weight above 0")

    @property
    def name(self) -> str:
        """The setting's folder name, ``<strong>_<weak>``."""
        return f"{self.strong:g}_{self.weak:g}"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is fitted."""

    epochs: int = chosen(100, "an upper limit; early stopping ends it")
    batch_size: int = sibling(128, "clips")
    learning_rate: float = sibling(1e-3, "Adam at its default rate")
    patience: int = chosen(10, "epochs without a better validation loss; 0 never stops early")
    validation_fraction: float = chosen(0.1, "of the training clips, stratified and seeded; never of the testing clips")
    seed: int = chosen(0, "weights, order of clips, dropout and validation split")
    deterministic: bool = chosen(False, "one thread and deterministic operations: repeatable, slower")

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "training.epochs", self.epochs, "a whole number of 1 or more")
        _require(self.batch_size >= 1, "training.batch_size", self.batch_size, "a whole number of 1 or more")
        _require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            "training.learning_rate",
            self.learning_rate,
            "a number above 0",
        )
        _require(self.patience >= 0, "training.patience", self.patience, "a whole number of 0 or more")
        _require(
            0 < self.validation_fraction < 1,
            "training.validation_fraction",
            self.validation_fraction,
            "a share in (0, 1)",
        )
        _require(self.seed >= 0, "training.seed", self.seed, "a whole number of 0 or more")


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """From scores to events and tags. The defaults are the paper's: one threshold, nothing smoothed."""

    threshold: float = sibling(0.5, "for frames and tags")
    low_threshold: float = chosen(0.0, "hysteresis: an event goes on above it; 0 turns hysteresis off")
    median_seconds: float = chosen(0.0, "median filter over frame scores' decisions; 0 turns it off")
    min_duration_seconds: float = chosen(0.0, "shorter events are dropped")
    min_gap_seconds: float = chosen(0.0, "shorter gaps are closed")
    weak_gate: bool = chosen(False, "keep the events of a class only where the weak output tags it")

    def __post_init__(self) -> None:
        _require(0 < self.threshold < 1, "decisions.threshold", self.threshold, "a score in (0, 1)")
        _require(
            0 <= self.low_threshold <= self.threshold,
            "decisions.low_threshold",
            self.low_threshold,
            "at most threshold",
        )
        for name in ("median_seconds", "min_duration_seconds", "min_gap_seconds"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"decisions.{name}", value, "seconds, 0 or more")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is counted."""

    segment_seconds: float = known(1.0, "the task's segment-based metrics")
    collar_seconds: float = chosen(0.2, "event-based metrics: sed_eval's default")
    offset_fraction: float = chosen(0.5, "event-based metrics: the offset's collar is at least this share of the event")

    def __post_init__(self) -> None:
        for name in ("segment_seconds", "collar_seconds"):
            _require(getattr(self, name) > 0, f"evaluation.{name}", getattr(self, name), "seconds above 0")
        _require(
            0 <= self.offset_fraction <= 1, "evaluation.offset_fraction", self.offset_fraction, "a share in [0, 1]"
        )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which clips. The default needs no download: procedural street scenes."""

    source: str = chosen("street", "dcase2017_task4 is the paper's data; street needs no download")
    root: str = chosen("", "folder of the recordings (dcase2017_task4: audio; scenes, folder: the user's)")
    metadata: str = chosen("", "folder of the label files (dcase2017_task4), or the tag file (folder)")
    events: str = chosen("", "event file with onsets and offsets (folder); without it there are no detection scores")
    n_train: int = chosen(2000, "clips to make (street, scenes)")
    n_test: int = chosen(400, "clips to make (street, scenes)")
    seed: int = chosen(2017, "of the made clips (street, scenes) and of a split by chance (folder)")

    def __post_init__(self) -> None:
        _require(self.n_train >= 1, "data.n_train", self.n_train, "a whole number of 1 or more")
        _require(self.n_test >= 1, "data.n_test", self.n_test, "a whole number of 1 or more")


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment, whole."""

    preset: str = "paper"
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decisions: DecisionConfig = field(default_factory=DecisionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: DataConfig = field(default_factory=DataConfig)
