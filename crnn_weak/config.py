"""Settings in physical units with range and source, presets, TOML files and ``--set``.

Every field names the source of its default: "known" by paper, slides or the organizers' files, "derived" from these,
the code of the challenge's baseline or of the authors, or "chosen" by us. docs/settings.md says what each does.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import tomli_w

from crnn_weak.errors import ConfigError, nearest_names
from crnn_weak.files import read_toml

log = logging.getLogger(__name__)


def _mark(source: str) -> Any:
    def mark(default: Any, note: str, **limits: Any) -> Any:
        return field(default=default, metadata={"source": source, "note": note, "limits": msgspec.Meta(**limits)})

    return mark


SOURCES = ("known", "derived", "organizers' baseline", "authors' code", "chosen")
known, derived, organizers_baseline, authors_code, chosen = map(_mark, SOURCES)


class _Section:
    """Checks each setting against its type and range, in the constructor and in every `dataclasses.replace`."""

    section: ClassVar[str]

    def __init_subclass__(cls, section: str = "") -> None:
        cls.section = section or cls.section

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, item.name, self._checked(item))
        self._check()

    def _check(self) -> None:
        """Check what several settings must fulfill together."""

    def _require(self, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise ConfigError(f"{self.section}.{name} = {getattr(self, name)!r}: expected {expected}.")

    def _checked(self, item: dataclasses.Field[Any]) -> Any:
        value, kind = getattr(self, item.name), _types(type(self))[item.name]  # type: ignore[arg-type]
        where = f"{self.section}.{item.name} = {value!r}"
        if typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
            raise ConfigError(f"{where} is not known. {nearest_names(str(value), typing.get_args(kind))}")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{where}: contains a null character, which no path can.")
        try:
            return msgspec.convert(value, Annotated[kind, item.metadata["limits"]])
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0].replace("`", "").replace("Expected array", "expected a list")
            raise ConfigError(f"{where}: {reason[:1].lower()}{reason[1:]}.") from None


_types = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))
_warn_once = functools.cache(log.warning)


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(_Section, section="features"):
    """Log mel-band energies of one clip, shape ``(n_frames, n_mels)``; each window is centered on its frame."""

    clip_seconds: float = known(10.0, "the task's clips; shorter ones are padded with zeros", gt=0, le=3600)
    sample_rate_hz: int = organizers_baseline(44_100, "mono; the authors' code too", ge=100, le=768_000)
    window_seconds: float = organizers_baseline(0.040, "Hamming window; authors' code: 2,048 samples", gt=0, le=60)
    hop_seconds: float = organizers_baseline(0.020, "half the window; authors' code: 1,024 samples", gt=0, le=60)
    n_fft: int = organizers_baseline(2048, "the next power of two above the window's samples", ge=2, le=2**22)
    n_mels: int = organizers_baseline(40, "mel bands; the authors' code too", ge=1, le=4096)
    fmin_hz: float = organizers_baseline(0.0, "lower edge of the lowest band", ge=0, le=384_000)
    fmax_hz: float = organizers_baseline(22_050.0, "upper edge of the highest band", gt=0, le=384_000)
    log_floor: float = chosen(1e-8, "added to the energies, so that padded frames are not -inf", gt=0, le=1e6)

    def _check(self) -> None:
        for name in ("window_seconds", "hop_seconds"):
            # Frame times are whole numbers of samples, so that they cannot drift from the audio.
            asked = getattr(self, name)
            n_samples = round(asked * self.sample_rate_hz)
            self._require(n_samples >= 1, name, "at least one sample")
            if n_samples / self.sample_rate_hz != asked:
                object.__setattr__(self, name, n_samples / self.sample_rate_hz)
                _warn_once(
                    f"features.{name} = {asked:g} s is not an integer number of samples at {self.sample_rate_hz} Hz; "
                    f"rounded to {n_samples} samples, {n_samples / self.sample_rate_hz:.9g} s."
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
        return round(self.window_seconds * self.sample_rate_hz)

    @property
    def n_hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_seconds * self.sample_rate_hz)

    @property
    def n_frames(self) -> int:
        """Frames of one clip."""
        return round(self.n_clip_samples / self.n_hop)

    @property
    def n_clip_samples(self) -> int:
        """Samples of one clip."""
        return round(self.clip_seconds * self.sample_rate_hz)


_Pool = Annotated[int, msgspec.Meta(ge=1, le=4096)]
_Units = Annotated[int, msgspec.Meta(ge=1, le=8192)]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(_Section, section="model"):
    """The network: convolutional, recurrent and dense layers, `strong`, `weak`. Its classes are those of the data."""

    n_filters: int | tuple[_Units, ...] = chosen(64, "of each block, inferred from the weights; one number, or more")
    kernel_size: int = authors_code(3, "3 x 3", ge=1, le=63)
    pools: tuple[_Pool, ...] = chosen(
        (5, 4, 2), "one per block, over frequency only (known); inferred from the weights", min_length=1, max_length=16
    )
    time_pools: tuple[_Pool, ...] = chosen((), "one per block, over time; empty: none", max_length=16)
    dropout: float = chosen(0.2, "after each block; the rate is not known", ge=0, lt=1)
    gru_dropout: float = chosen(0.0, "in front of the recurrent layers and behind them", ge=0, lt=1)
    gru_units: tuple[_Units, ...] = chosen(
        (64, 64), "one per bidirectional layer; two in the authors' code; units inferred", min_length=1, max_length=16
    )
    gru_merge: Literal["concat", "mul", "sum", "ave"] = chosen(
        "concat", "inferred from the reported weights; the authors' code has 'mul', which learned slower here"
    )
    gru_reset_after: bool = chosen(True, "today's GRU, the cuDNN variant; 2017's is False")
    dense_units: int = chosen(128, "inferred from the reported 218,000 weights", ge=1, le=65_536)
    weak_head: Literal[
        "max_dense", "max", "mean", "linear_softmax", "exponential_softmax", "attention", "auto_pool", "noisy_or",
        "power_mean",
    ] = derived("max_dense", "a maximum without parameters at one threshold does not give the table")  # fmt: skip

    def _check(self) -> None:
        n_blocks = len(self.pools)
        self._require(len(self.time_pools) in (0, n_blocks), "time_pools", f"none, or {n_blocks}, one per block")
        fits = len(self.filters) == n_blocks and all(1 <= n <= 8192 for n in self.filters)
        self._require(fits, "n_filters", f"a number in [1, 8192], or {n_blocks}, one per block")

    @property
    def filters(self) -> tuple[int, ...]:
        """The number of filters of each block."""
        return (self.n_filters,) * len(self.pools) if isinstance(self.n_filters, int) else self.n_filters


@dataclass(frozen=True, kw_only=True)
class LossWeights(_Section, section="loss_weights"):
    """The weights of the two losses, which are means: the strong one over frames and classes, the weak over classes."""

    strong: float = known(1.0, "the best published setting: equal weights", ge=0, le=1e6)
    weak: float = known(1.0, "the best published setting: equal weights", ge=0, le=1e6)

    def _check(self) -> None:
        self._require(self.strong + self.weak > 0, "strong", "at least one of the two weights above 0")


@dataclass(frozen=True, kw_only=True)
class TargetConfig(_Section, section="targets"):
    """The strong target of each frame."""

    strong: Literal["repeat", "high_energy", "loud", "self_training", "none"] = known(
        "repeat", "the clip's tags in every frame; the slides name high energy as future work"
    )
    events: Literal["ignore", "train", "own"] = chosen(
        "ignore", "train: the known events of a clip are its targets; own: those of source folder are"
    )
    padding: Literal["active", "ignored"] = chosen("active", "padded frames: targets like all others, or none")
    loud_db: float = chosen(25.0, "loud: a frame is at most this far below the recording's level", gt=0, le=1000)
    own_scores_from: float = chosen(
        0.3, "loud: share of the epochs after which the model's scores say which of several tags sounds", ge=0, le=1
    )
    energy_db: float = chosen(6.0, "high_energy: a frame stands out this far above the clip's floor", gt=0, le=1000)
    floor_percentile: float = chosen(10.0, "high_energy: percentile of frame levels that is the floor", ge=0, le=100)
    per_band: bool = chosen(False, "high_energy: a frame stands out if any mel band does, each above its own floor")
    quiet_is_inactive: bool = chosen(False, "high_energy: train quiet frames as inactive, not without a target")
    teacher: str = chosen("", "self_training: model file whose frame scores become the targets", max_length=4096)
    teacher_low: float = chosen(0.2, "self_training: inactive below this share of the highest score", ge=0, le=1)
    teacher_high: float = chosen(0.5, "self_training: active from this share on; no target in between", ge=0, le=1)

    def _check(self) -> None:
        self._require(self.teacher_low <= self.teacher_high, "teacher_low", f"at most {self.teacher_high:g}")
        needs_teacher = self.strong == "self_training" and not self.teacher
        self._require(not needs_teacher, "teacher", "the path of a trained model (.keras) for self_training")


_Decibels = Annotated[float, msgspec.Meta(ge=-200, le=200)]


@dataclass(frozen=True, kw_only=True)
class MixingConfig(_Section, section="mixing"):
    """Training examples mixed from several recordings; levels are relative to a recording's own."""

    n_recordings: int = chosen(0, "most recordings in an example; 0: the examples are the clips", ge=0, le=3)
    gain_db: tuple[_Decibels, _Decibels] = chosen((-12.0, 6.0), "range of the gain of each recording")
    floor_db: tuple[_Decibels, _Decibels] = chosen((-50.0, -12.0), "range of the level of the noise below them")
    tilt_db: float = chosen(4.0, "deviation of the spectrum's random tilt from its lowest to its highest band", ge=0)

    def _check(self) -> None:
        for name in ("gain_db", "floor_db"):
            low, high = getattr(self, name)
            self._require(low <= high, name, "the lower end first")


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(_Section, section="augmentation"):
    """Changes of the training clips, all off in the paper."""

    mixup: float = chosen(0.0, "alpha of the Beta distribution that mixes pairs of clips; 0: off", ge=0, le=100)
    time_shift: bool = chosen(False, "rotate each clip and its frame targets by a random number of frames")
    time_mask: float = chosen(0.0, "SpecAugment: longest masked share of the frames; 0: off", ge=0, lt=1)
    band_mask: float = chosen(0.0, "SpecAugment: widest masked share of the mel bands; 0: off", ge=0, lt=1)
    band_gain_db: float = chosen(0.0, "largest random gain of the mel bands of a clip, smooth; 0: off", ge=0, le=100)
    band_shift: int = chosen(0, "shift each clip, or each of a mix, by up to so many bands; 0: off", ge=0, le=4096)
    balanced: bool = chosen(False, "draw clips so that every class occurs about equally often")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(_Section, section="training"):
    """Training: epochs, batches, learning rate, early stopping, seed."""

    epochs: int = chosen(100, "an upper limit; early stopping ends it", ge=1, le=1_000_000)
    steps: int = chosen(0, "mixed batches in all, evenly over the epochs; 0: an epoch is every clip once", ge=0)
    batch_size: int = authors_code(128, "clips", ge=1, le=65_536)
    optimizer: Literal["adam", "rmsprop", "sgd"] = authors_code("adam", "sgd: with momentum 0.9")
    learning_rate: float = authors_code(1e-3, "Adam at its default rate", gt=0, le=100)
    schedule: Literal["constant", "cosine"] = chosen("constant", "cosine: the rate decays to 0 over all epochs")
    loss_weighting: Literal["fixed", "linear", "learned"] = chosen(
        "fixed", "linear: the strong weight grows over the epochs; or learned"
    )
    ema_momentum: float = chosen(0.0, "moving average of the weights: momentum per step; 0: off", ge=0, lt=1)
    patience: int = chosen(10, "epochs without a better validation loss; 0 never stops early", ge=0, le=1_000_000)
    validation_fraction: float = chosen(0.1, "of the training clips, stratified and seeded; 0: none", ge=0, lt=1)
    seed: int = chosen(0, "weights, order of clips, dropout and validation split", ge=0, le=2**32 - 1)
    deterministic: bool = chosen(False, "one thread and deterministic operations: repeatable, slower")
    n_clips: int = chosen(0, "training and validation clips, drawn at random by the seed; 0: all", ge=0, le=10**9)
    freeze: tuple[str, ...] = chosen((), "fine-tuning: layers that keep their weights, e.g. conv_*", max_length=100)
    layerwise_lr_decay: float = chosen(1.0, "fine-tuning: rate of a block as a share of the next one's", gt=0, le=1)

    def _check(self) -> None:
        stops = self.patience > 0 and not self.validation_fraction
        self._require(not stops, "patience", "0 without validation clips (training.validation_fraction = 0)")
        self._require(self.layerwise_lr_decay == 1 or self.optimizer == "adam", "layerwise_lr_decay", "1 without adam")


@dataclass(frozen=True, kw_only=True)
class OperatingPointConfig(_Section, section="operating_point"):
    """From scores to events and tags. The defaults are the paper's, most likely: one threshold, nothing smoothed."""

    threshold: float = authors_code(0.5, "for frames; for tags the same", gt=0, lt=1)
    low_threshold: float = chosen(0.0, "an event continues while its score exceeds this; 0: off", ge=0, lt=1)
    median_seconds: float = chosen(0.0, "median filter over the active frames; 0: off", ge=0, le=3600)
    min_duration_seconds: float = chosen(0.0, "shorter events are dropped", ge=0, le=3600)
    min_gap_seconds: float = chosen(0.0, "shorter gaps are closed", ge=0, le=3600)
    weak_gate: bool = chosen(False, "keep the events of a class only where the weak output tags it")
    min_tags: int = derived(
        1, "1: a clip's likeliest class is tagged whatever its score: 485 to 508 tags on 488 clips", ge=0, le=1
    )
    class_thresholds: bool = chosen(False, "frame thresholds of each class, from the clips' tags")

    def _check(self) -> None:
        self._require(self.low_threshold <= self.threshold, "low_threshold", f"at most threshold ({self.threshold:g})")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(_Section, section="evaluation"):
    """Evaluation: segment length and collars."""

    segment_seconds: float = known(1.0, "the task's segment-based metrics", gt=0, le=3600)
    collar_seconds: float = chosen(0.2, "event-based metrics: sed_eval's default", gt=0, le=3600)
    offset_fraction: float = chosen(0.5, "the offset's collar is at least this share of the event", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class DataConfig(_Section, section="data"):
    """The settings of a data source; `source` names it."""

    source: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class _SyntheticData(DataConfig):
    n_train: int = chosen(2000, "clips to synthesize", ge=1, le=10_000_000)
    n_test: int = chosen(400, "clips to synthesize", ge=1, le=10_000_000)
    seed: int = chosen(2017, "of the synthetic clips", ge=0, le=2**53)


@dataclass(frozen=True, kw_only=True)
class StreetData(_SyntheticData):
    """Synthetic street scenes; they need no recordings."""

    source = "street"
    priors: Literal["tempered", "list"] = chosen(
        "tempered", "classes of the training clips: 7 to 1, or as in the real list, 139 to 1"
    )


@dataclass(frozen=True, kw_only=True)
class ScenesData(_SyntheticData):
    """Scenes mixed from the user's isolated recordings."""

    source = "scenes"
    root: str = chosen("", "folder of the recordings")
    min_snr_db: float = chosen(3.0, "least signal-to-noise ratio of an event", ge=-60, le=60)
    max_snr_db: float = chosen(20.0, "greatest signal-to-noise ratio of an event", ge=-60, le=60)

    def _check(self) -> None:
        self._require(self.min_snr_db <= self.max_snr_db, "min_snr_db", f"at most {self.max_snr_db:g}")


@dataclass(frozen=True, kw_only=True)
class Task4Data(DataConfig):
    """The paper's data, DCASE 2017 task 4."""

    source = "dcase2017_task4"
    root: str = chosen("", "folder of the recordings")
    metadata: str = chosen("", "folder of the organizers' label files")


@dataclass(frozen=True, kw_only=True)
class FolderData(DataConfig):
    """The user's clips with tags, events or both."""

    source = "folder"
    root: str = chosen("", "folder of the recordings")
    metadata: str = chosen("", "the tag file")
    events: str = chosen("", "event file with onsets and offsets; without it, detection is not scored")
    input_format: str = chosen("", "format of the tag file, or of the event file alone; empty: recognized")
    label_column: str = chosen("", "column of the labels in that file, several joined by ;; empty: by its name")
    annotated: tuple[str, ...] = chosen((), "classes whose events are complete; empty: all", max_length=65_536)
    long_clips: Literal["auto", "refuse", "cut", "skip"] = chosen(
        "auto", "tagged recordings longer than a clip; cut: each part inherits the tags; auto: if mixed"
    )
    test_fraction: float = chosen(0.2, "of the recordings, where no column says it; 0: none", ge=0, lt=1)
    seed: int = chosen(2017, "of a random split", ge=0, le=2**53)


_DATA: tuple[type[DataConfig], ...] = (StreetData, ScenesData, Task4Data, FolderData)
#: name of a source -> its settings
DATA_SETTINGS = {kind.source: kind for kind in _DATA}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one training run: one frozen dataclass per concern, checked in its constructor.

    >>> config = preset("paper")
    >>> config.model.n_filters, config.features.n_frames
    (64, 500)
    """

    preset: str = "paper"
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    targets: TargetConfig = field(default_factory=TargetConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    operating_point: OperatingPointConfig = field(default_factory=OperatingPointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: DataConfig = field(default_factory=StreetData)

    def __post_init__(self) -> None:
        if self.training.steps and not self.is_mixed:
            raise ConfigError(f"training.steps = {self.training.steps}: counts mixed examples; set it to 0.")

    @property
    def is_mixed(self) -> bool:
        """True where training examples are mixed from several recordings."""
        return self.mixing.n_recordings > 0

    @property
    def keeps_last(self) -> bool:
        """True where the model is that of the last epoch, since mixed examples hardly overfit."""
        return self.is_mixed or not self.training.validation_fraction

    @property
    def trains_events(self) -> bool:
        """True where clips whose events are known are trained with them."""
        return self.targets.events == "train" or (self.targets.events == "own" and self.data.source == "folder")


PRESETS: dict[str, Config] = {
    "paper": Config(preset="paper"),
    # Layers and training of the authors' code for a related task, with as many filters as the reported weights allow:
    # three times the arithmetic, and no cuDNN variant.
    "authors_code": Config(
        preset="authors_code",
        model=ModelConfig(
            pools=(2, 2, 1), dropout=0.5, gru_units=(32, 32), gru_merge="mul", gru_reset_after=False, dense_units=32
        ),
        training=TrainingConfig(epochs=500, patience=125),
    ),
    # The same architecture for two cores and fifteen minutes, sized in trials on synthetic clips.
    "quick": Config(
        preset="quick",
        features=FeatureConfig(sample_rate_hz=16_000, window_seconds=0.128, hop_seconds=0.100, fmax_hz=8_000.0),
        model=ModelConfig(n_filters=16, gru_units=(32, 32), dense_units=32, dropout=0.1),
        training=TrainingConfig(epochs=20, batch_size=16, learning_rate=3e-3, patience=0),
    ),
}
# Own clips, with tags or events, mixed on the fly; chosen on a development set (docs/presets.md).
PRESETS["recommended"] = Config(
    preset="recommended",
    features=FeatureConfig(
        sample_rate_hz=16_000, window_seconds=0.064, hop_seconds=0.040, n_fft=1024, n_mels=64, fmin_hz=50.0,
        fmax_hz=8_000.0,
    ),
    model=ModelConfig(
        n_filters=(16, 32, 48, 64), pools=(2, 2, 4, 2), time_pools=(2, 1, 1, 1), dropout=0.0, gru_units=(48,),
        gru_dropout=0.3, dense_units=48, weak_head="linear_softmax",
    ),
    loss_weights=LossWeights(weak=0.0),
    targets=TargetConfig(strong="loud", events="own", padding="ignored"),
    mixing=MixingConfig(n_recordings=3),
    augmentation=AugmentationConfig(band_mask=0.06, band_gain_db=6.0, band_shift=2),
    training=TrainingConfig(
        epochs=24, steps=2400, batch_size=16, learning_rate=2e-3, schedule="cosine", patience=0, ema_momentum=0.995
    ),
    operating_point=OperatingPointConfig(min_tags=0, class_thresholds=True),
)  # fmt: skip


def preset(name: str) -> Config:
    """Return a preset by name: ``paper``, ``authors_code``, ``quick`` or ``recommended``.

    >>> preset("paper").features.n_frames
    500
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is not known. {nearest_names(name, PRESETS)}")
    return PRESETS[name]


def from_dict(values: Mapping[str, Any], base: Config | None = None) -> Config:
    """Return `base` (by default the preset that `values` names) with the sections of `values` laid over it."""
    if base is None:
        base = preset(str(values.get("preset", "paper")))
    elif values.get("preset", base.preset) != base.preset:
        raise ConfigError(f"preset: the other settings start from {base.preset!r}. Choose one with --preset.")
    sections = [item.name for item in dataclasses.fields(base) if item.name != "preset"]
    changes: dict[str, Any] = {}
    for name, settings in values.items():
        if name == "preset":
            continue
        if name not in sections:
            raise ConfigError(f"setting {name!r} is not known. {nearest_names(name, sections)}")
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{name} = {settings!r}: expected a table of settings, e.g. {name}.NAME=VALUE.")
        changes[name] = _replace_section(getattr(base, name), settings)
    return dataclasses.replace(base, **changes)


def _replace_section(section: Any, values: Mapping[str, Any]) -> Any:
    """Lay `values` over a section; another data source keeps the settings that it shares with the present one."""
    kind, changes = type(section), dict(values)
    if isinstance(section, DataConfig):
        source = str(changes.pop("source", section.source))
        if source not in DATA_SETTINGS:
            raise ConfigError(f"data.source {source!r} is not known. {nearest_names(source, DATA_SETTINGS)}")
        kind = DATA_SETTINGS[source]
    names = [item.name for item in dataclasses.fields(kind)]
    for name in changes:
        if name not in names:
            having = [source for source, other in DATA_SETTINGS.items() if hasattr(other, name)]
            where = f"{kind.section}.{name}"
            if isinstance(section, DataConfig) and having:
                raise ConfigError(f"setting {where!r} is not one of source {source!r}, but of {', '.join(having)}.")
            raise ConfigError(f"setting {where!r} is not known. {nearest_names(name, names)}")
    kept = {name: getattr(section, name) for name in names if hasattr(section, name)}
    return kind(**{**kept, **changes})


def apply_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """Apply ``section.name=value`` strings, the values in TOML syntax (a bare word is a string).

    >>> apply_overrides(preset("quick"), ["training.epochs=3", "model.pools=[5,2,2]"]).model.pools
    (5, 2, 2)
    """
    values: dict[str, Any] = {}
    for override in overrides:
        name, separator, text = override.partition("=")
        section, _, setting = name.strip().partition(".")
        if not separator or not (setting or section == "preset"):
            raise ConfigError(f"--set {override!r}: expected section.name=value, e.g. training.epochs=3.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):  # TOML's errors are ValueErrors, as is a number of too many digits
            value = text.strip()
        if section == "preset":
            values[section] = value
        else:
            values.setdefault(section, {})[setting] = value
    # All at once: a sample rate and the band edge that fits it are valid together, in whatever order they are given.
    return from_dict(values, config)


def load_config(path: str | Path, base: Config | None = None) -> Config:
    """Read a TOML file of settings; those that it does not name are the preset's.

    They are laid over `base` where the file names no preset; by default over preset ``paper``. A file that cannot be
    read, an unknown name and a value of the wrong type or range raise a `ConfigError`.
    """
    values = read_toml(path, error=ConfigError)
    try:
        return from_dict(values, None if "preset" in values else base)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def to_dict(section: Any) -> dict[str, Any]:
    """Return a configuration, or one section of it, as plain values for TOML or JSON."""
    values: dict[str, Any] = {"source": section.source} if isinstance(section, DataConfig) else {}
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        values[item.name] = to_dict(value) if dataclasses.is_dataclass(value) else value
    return values


def to_toml(config: Config) -> str:
    """Return the whole configuration as TOML; `load_config` reads it back unchanged."""
    return tomli_w.dumps(to_dict(config))


def fingerprint(*sections: Any) -> str:
    """Return 12 hexadecimal digits that name the content of dataclasses or plain values."""
    plain = [to_dict(section) if dataclasses.is_dataclass(section) else section for section in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=list).encode()).hexdigest()[:12]
