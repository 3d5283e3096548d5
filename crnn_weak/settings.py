"""Every setting, in physical units, with its range and its source: one frozen dataclass per concern.

Every field names where its default comes from:

``known``
    the paper's abstract, the authors' slides, or the organizers' files;
``derived``
    arithmetic on known numbers;
``sibling``
    the authors' published code for neighboring papers;
``chosen``
    ours, where nothing is known; the note says why.

The table of docs/fidelity.md is written from these marks (`crnn_weak.config.fidelity_rows`), and a test keeps the two
equal. A number that follows from others (the frame count, say) is a property and never a second setting. Ranges are
wide; they keep a typing error from allocating the machine's memory.
"""

from __future__ import annotations

import functools
import logging
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from crnn_weak import timing
from crnn_weak.errors import ConfigError, nearest_names

__all__ = [
    "DATA_SETTINGS",
    "AidConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "FeatureConfig",
    "FolderData",
    "LossWeights",
    "ModelConfig",
    "OperatingPointConfig",
    "ScenesData",
    "StreetData",
    "TargetConfig",
    "Task4Data",
    "TrainingConfig",
    "hints_of",
    "short_repr",
]


logger = logging.getLogger(__name__)


def _mark(source: str) -> Any:
    def mark(note: str, **limits: Any) -> msgspec.Meta:
        return msgspec.Meta(**limits, extra={"source": source, "note": note})

    return mark


known, derived, sibling, chosen = map(_mark, ("known", "derived", "sibling", "chosen"))


_HINTS: dict[type, dict[str, Any]] = {}


def hints_of(section: type) -> dict[str, Any]:
    """Return the annotated type of every setting of a section, in reading order."""
    if section not in _HINTS:
        hints = typing.get_type_hints(section, include_extras=True)
        _HINTS[section] = {name: hint for name, hint in hints.items() if typing.get_origin(hint) is not ClassVar}
    return _HINTS[section]


class _Section:
    """Checks each setting against its annotation, in the constructor and in every `dataclasses.replace`."""

    name_in_file: ClassVar[str]

    def __post_init__(self) -> None:
        for name, hint in hints_of(type(self)).items():
            object.__setattr__(self, name, _checked(getattr(self, name), hint, f"{self.name_in_file}.{name}"))
        self._check()

    def _check(self) -> None:
        """Check what several settings must fulfill together."""

    def _require(self, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise ConfigError(f"{self.name_in_file}.{name} = {getattr(self, name)!r}: expected {expected}.")


def _checked(value: Any, hint: Any, where: str) -> Any:
    kind = typing.get_args(hint)[0]
    if typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
        choices = typing.get_args(kind)
        raise ConfigError(f"{where} = {short_repr(value)} is not known. {nearest_names(str(value), choices)}")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where} = {short_repr(value)}: holds a null character, which no path can.")
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at ")[0].replace("`", "").replace("Expected array", "expected a list")
        raise ConfigError(f"{where} = {short_repr(value)}: {reason[:1].lower()}{reason[1:]}.") from None


def short_repr(value: object) -> str:
    """Return `repr(value)` in at most 80 characters."""
    # Python refuses to print whole numbers of thousands of digits.
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a whole number of more than 30 digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@functools.cache
def _tell_once(message: str) -> None:
    logger.warning(message)


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(_Section):
    """Log mel-band energies of one clip, shape ``(n_frames, n_mels)``.

    Each window is centered on its own frame's cell, so that 10 s give 500 frames.
    """

    name_in_file = "features"

    clip_seconds: Annotated[float, known("the task's clips; shorter ones are zero padded", gt=0, le=3600)] = 10.0
    sample_rate_hz: Annotated[int, sibling("mono", ge=100, le=768_000)] = 44_100
    window_seconds: Annotated[float, sibling("Hamming window", gt=0, le=60)] = 0.040
    hop_seconds: Annotated[float, sibling("half the window: 500 frames, as on the slides", gt=0, le=60)] = 0.020
    n_fft: Annotated[int, sibling("the next power of two above the window's 1,764 samples", ge=2, le=2**22)] = 2048
    n_mels: Annotated[int, sibling("mel bands", ge=1, le=4096)] = 40
    fmin_hz: Annotated[float, sibling("lower edge of the lowest band", ge=0, le=384_000)] = 0.0
    fmax_hz: Annotated[float, sibling("upper edge of the highest band: half the sample rate", gt=0, le=384_000)] = (
        22_050.0
    )
    log_floor: Annotated[
        float, chosen("added to the energies: the siblings' bare logarithm is -inf on padded frames", gt=0, le=1e6)
    ] = 1e-8

    def _check(self) -> None:
        self._require(self.n_window >= 1, "window_seconds", "at least one sample")
        self._require(self.n_hop >= 1, "hop_seconds", "at least one sample")
        for name in ("window_seconds", "hop_seconds"):
            # Frame times are whole numbers of samples, so that they cannot drift from the audio.
            asked, exact = getattr(self, name), timing.whole_samples(getattr(self, name), self.sample_rate_hz)
            if exact != asked:
                object.__setattr__(self, name, exact)
                _tell_once(
                    f"features.{name} = {asked:g} s is no whole number of samples at {self.sample_rate_hz} Hz; "
                    f"it becomes {timing.n_samples(exact, self.sample_rate_hz)} samples, {exact:.9g} s."
                )
        self._require(self.n_window <= self.n_fft, "n_fft", f"at least the window, {self.n_window} samples")
        self._require(
            self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2,
            "fmax_hz",
            f"above fmin_hz ({self.fmin_hz:g}) and at most half the sample rate ({self.sample_rate_hz / 2:g})",
        )
        self._require(self.n_frames >= 1, "hop_seconds", "at most clip_seconds")

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
        return timing.n_frames(self.n_clip_samples, self.n_hop)

    @property
    def n_clip_samples(self) -> int:
        """Samples of one clip."""
        return timing.n_samples(self.clip_seconds, self.sample_rate_hz)


_Pool = Annotated[int, msgspec.Meta(ge=1, le=4096)]
_Units = Annotated[int, msgspec.Meta(ge=1, le=8192)]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(_Section):
    """The network: convolutional, recurrent, fully connected, `strong`, `weak`; its classes are those of the data."""

    name_in_file = "model"

    n_filters: Annotated[int, chosen("by the count of 218,000 trainable weights", ge=1, le=8192)] = 64
    kernel_size: Annotated[int, sibling("3 x 3", ge=1, le=63)] = 3
    pools: Annotated[
        tuple[_Pool, ...],
        chosen(
            "one convolutional block each, three by the count of 218,000 trainable weights; "
            "over frequency only: all 500 frames are kept (known)",
            min_length=1,
            max_length=16,
        ),
    ] = (5, 4, 2)
    dropout: Annotated[float, chosen("after each block; the rate is not known", ge=0, lt=1)] = 0.2
    gru_units: Annotated[
        tuple[_Units, ...],
        chosen("at least two bidirectional GRU layers are known; units by the count", min_length=1, max_length=16),
    ] = (64, 64)
    gru_merge: Annotated[
        Literal["concat", "mul", "sum", "ave"],
        chosen("by the count; 'mul' is the siblings' habit and learned slower here"),
    ] = "concat"
    gru_reset_after: Annotated[bool, chosen("today's GRU, the cuDNN form; 2017's is False")] = True
    dense_units: Annotated[int, chosen("by the count of 218,000 trainable weights", ge=1, le=65_536)] = 128
    weak_head: Annotated[
        Literal[
            "max_dense",
            "max",
            "mean",
            "linear_softmax",
            "exponential_softmax",
            "attention",
            "auto_pool",
            "noisy_or",
            "power_mean",
        ],
        derived("the published rows exclude a parameter-free maximum at one threshold"),
    ] = "max_dense"


@dataclass(frozen=True, kw_only=True)
class LossWeights(_Section):
    """The weights of the two losses, the paper's control.

    Both losses are *means*: the strong one over frames and classes, the weak one over classes. 1 to 1 is therefore a
    statement about means, not about sums.
    """

    name_in_file = "loss_weights"

    strong: Annotated[float, known("the best published setting: equal weights", ge=0, le=1e6)] = 1.0
    weak: Annotated[float, known("the best published setting: equal weights", ge=0, le=1e6)] = 1.0

    def _check(self) -> None:
        self._require(self.strong + self.weak > 0, "strong", "at least one of the two weights above 0")

    @property
    def name(self) -> str:
        """The setting's folder name, ``<strong>_<weak>``."""
        return f"{self.strong:g}_{self.weak:g}"


@dataclass(frozen=True, kw_only=True)
class TargetConfig(_Section):
    """The strong target of each frame (`crnn_weak.training.targets`)."""

    name_in_file = "targets"

    strong: Annotated[
        Literal["repeat", "high_energy", "self_training", "none"],
        known("the clip's tags in every frame; the slides name high energy as future work"),
    ] = "repeat"
    energy_db: Annotated[
        float, chosen("high_energy: a frame stands out this far above the clip's floor", gt=0, le=1000)
    ] = 6.0
    floor_percentile: Annotated[
        float, chosen("high_energy: the clip's floor, a percentile of its frames' levels", ge=0, le=100)
    ] = 10.0
    per_band: Annotated[
        bool, chosen("high_energy: a frame stands out if any mel band does, each above its own floor")
    ] = False
    quiet_is_inactive: Annotated[bool, chosen("high_energy: train quiet frames as inactive, not without a target")] = (
        False
    )
    teacher: Annotated[
        str, chosen("self_training: model file whose frame scores become the targets", max_length=4096)
    ] = ""
    teacher_low: Annotated[
        float, chosen("self_training: inactive below this share of the class's highest score", ge=0, le=1)
    ] = 0.2
    teacher_high: Annotated[
        float, chosen("self_training: active from this share on; no target in between", ge=0, le=1)
    ] = 0.5

    def _check(self) -> None:
        self._require(self.teacher_low <= self.teacher_high, "teacher_low", f"at most {self.teacher_high:g}")
        needs_teacher = self.strong == "self_training" and not self.teacher
        self._require(not needs_teacher, "teacher", "the path of a trained model (.keras) for self_training")


@dataclass(frozen=True, kw_only=True)
class AidConfig(_Section):
    """Training aids, all off in the paper (`crnn_weak.training.augmentation`)."""

    name_in_file = "aids"

    mixup: Annotated[
        float,
        chosen("alpha of the Beta distribution that mixes pairs of clips and their targets; 0: off", ge=0, le=100),
    ] = 0.0
    time_shift: Annotated[bool, chosen("rotate each clip and its frame targets by a random number of frames")] = False
    time_mask: Annotated[float, chosen("SpecAugment: longest masked share of the frames; 0: off", ge=0, lt=1)] = 0.0
    band_mask: Annotated[float, chosen("SpecAugment: widest masked share of the mel bands; 0: off", ge=0, lt=1)] = 0.0
    band_gain_db: Annotated[
        float, chosen("largest random gain of the mel bands, smooth over frequency, per clip; 0: off", ge=0, le=100)
    ] = 0.0
    band_shift: Annotated[
        int, chosen("shift each clip along frequency by up to this many mel bands; 0: off", ge=0, le=4096)
    ] = 0
    balanced: Annotated[bool, chosen("draw clips so that every class occurs about equally often")] = False
    schedule: Annotated[
        Literal["constant", "cosine"], chosen("learning rate: constant, or cosine decay to 0 over all epochs")
    ] = "constant"
    loss_weighting: Annotated[
        Literal["fixed", "linear", "learned"], chosen("linear: the strong weight grows over the epochs; or learned")
    ] = "fixed"
    averaging: Annotated[
        float, chosen("momentum of an exponential moving average of the weights, per step; 0: off", ge=0, lt=1)
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(_Section):
    """Training: epochs, batches, early stopping, seed."""

    name_in_file = "training"

    epochs: Annotated[int, chosen("an upper limit; early stopping ends it", ge=1, le=1_000_000)] = 100
    batch_size: Annotated[int, sibling("clips", ge=1, le=65_536)] = 128
    learning_rate: Annotated[float, sibling("Adam at its default rate", gt=0, le=100)] = 1e-3
    patience: Annotated[
        int, chosen("epochs without a better validation loss; 0 never stops early", ge=0, le=1_000_000)
    ] = 10
    validation_fraction: Annotated[
        float, chosen("of the training clips, stratified and seeded; never of the test clips", gt=0, lt=1)
    ] = 0.1
    seed: Annotated[int, chosen("weights, order of clips, dropout and validation split", ge=0, le=2**32 - 1)] = 0
    deterministic: Annotated[bool, chosen("one thread and deterministic operations: repeatable, slower")] = False
    n_clips: Annotated[
        int, chosen("training and validation clips, drawn at random by the seed; 0: all", ge=0, le=10**9)
    ] = 0
    freeze: Annotated[
        tuple[str, ...], chosen("fine-tuning: layers that keep their weights, e.g. conv_*", max_length=100)
    ] = ()
    rate_decay: Annotated[
        float, chosen("fine-tuning: learning rate of a block as a share of the next one's; 1: all equal", gt=0, le=1)
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class OperatingPointConfig(_Section):
    """From scores to events and tags. The defaults are the paper's: one threshold, nothing smoothed."""

    name_in_file = "operating_point"

    threshold: Annotated[float, sibling("for frames and tags", gt=0, lt=1)] = 0.5
    low_threshold: Annotated[
        float, chosen("hysteresis: an event goes on above it; 0 turns hysteresis off", ge=0, lt=1)
    ] = 0.0
    median_seconds: Annotated[float, chosen("median filter over the active frames; 0 turns it off", ge=0, le=3600)] = (
        0.0
    )
    min_duration_seconds: Annotated[float, chosen("shorter events are dropped", ge=0, le=3600)] = 0.0
    min_gap_seconds: Annotated[float, chosen("shorter gaps are closed", ge=0, le=3600)] = 0.0
    weak_gate: Annotated[bool, chosen("keep the events of a class only where the weak output tags it")] = False

    def _check(self) -> None:
        self._require(self.low_threshold <= self.threshold, "low_threshold", f"at most threshold ({self.threshold:g})")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(_Section):
    """Evaluation: segment length and collars."""

    name_in_file = "evaluation"

    segment_seconds: Annotated[float, known("the task's segment-based metrics", gt=0, le=3600)] = 1.0
    collar_seconds: Annotated[float, chosen("event-based metrics: sed_eval's default", gt=0, le=3600)] = 0.2
    offset_fraction: Annotated[
        float, chosen("event-based metrics: the offset's collar is at least this share of the event", ge=0, le=1)
    ] = 0.5


_Count = Annotated[int, chosen("clips to synthesize", ge=1, le=10_000_000)]
_Seed = Annotated[int, chosen("of the synthetic clips, or of a random split (folder)", ge=0, le=2**53)]
_Root = Annotated[str, chosen("folder of the recordings")]


@dataclass(frozen=True, kw_only=True)
class StreetData(_Section):
    """Synthetic street scenes; they need no recordings."""

    name_in_file = "data"
    source: ClassVar[str] = "street"

    n_train: _Count = 2000
    n_test: _Count = 400
    seed: _Seed = 2017


@dataclass(frozen=True, kw_only=True)
class ScenesData(_Section):
    """Scenes mixed of the user's isolated recordings."""

    name_in_file = "data"
    source: ClassVar[str] = "scenes"

    root: _Root = ""
    n_train: _Count = 2000
    n_test: _Count = 400
    seed: _Seed = 2017
    min_snr_db: Annotated[float, chosen("least signal-to-noise ratio of an event", ge=-60, le=60)] = 3.0
    max_snr_db: Annotated[float, chosen("greatest signal-to-noise ratio of an event", ge=-60, le=60)] = 20.0

    def _check(self) -> None:
        self._require(self.min_snr_db <= self.max_snr_db, "min_snr_db", f"at most {self.max_snr_db:g}")


@dataclass(frozen=True, kw_only=True)
class Task4Data(_Section):
    """The paper's data, DCASE 2017 task 4."""

    name_in_file = "data"
    source: ClassVar[str] = "dcase2017_task4"

    root: _Root = ""
    metadata: Annotated[str, chosen("folder of the organizers' label files (dcase2017_task4), or the tag file")] = ""


@dataclass(frozen=True, kw_only=True)
class FolderData(_Section):
    """The user's clips with tags, events or both."""

    name_in_file = "data"
    source: ClassVar[str] = "folder"

    root: _Root = ""
    metadata: Annotated[str, chosen("the tag file")] = ""
    events: Annotated[str, chosen("event file with onsets and offsets; without it there are no detection scores")] = ""
    form: Annotated[str, chosen("form of the tag file, or of the event file alone; empty: found from its rows")] = ""
    seed: _Seed = 2017


DataConfig = StreetData | ScenesData | Task4Data | FolderData

#: name of a source -> its settings; the first one is the default, because it needs no download
DATA_SETTINGS: dict[str, type[DataConfig]] = {
    kind.source: kind for kind in (StreetData, ScenesData, Task4Data, FolderData)
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment, whole."""

    preset: str = "paper"
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    targets: TargetConfig = field(default_factory=TargetConfig)
    aids: AidConfig = field(default_factory=AidConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    operating_point: OperatingPointConfig = field(default_factory=OperatingPointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: DataConfig = field(default_factory=StreetData)
