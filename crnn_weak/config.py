"""Every setting, in physical units, with its source; presets, TOML files and ``--set`` overrides.

One frozen dataclass per concern. Every field names where its default comes from:

``known``
    the paper's abstract, the authors' talk, or the organisers' files;
``derived``
    arithmetic on known numbers;
``sibling``
    the authors' published code for neighbouring papers;
``chosen``
    ours, where nothing is known; the note says why.

The README's Fidelity table is written from these marks (`fidelity_rows`) and a test keeps the two equal. A number
that follows from others (the frame count, say) is a property and never a second setting.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crnn_weak import timing
from crnn_weak.errors import ConfigError, nearest_names

__all__ = [
    "PRESETS",
    "Config",
    "DataConfig",
    "DecisionConfig",
    "EvaluationConfig",
    "FeatureConfig",
    "LossWeights",
    "ModelConfig",
    "TrainingConfig",
    "apply_overrides",
    "fidelity_markdown",
    "fidelity_rows",
    "fingerprint",
    "from_dict",
    "load_config",
    "preset",
    "to_toml",
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


PresetName = Literal["paper", "sibling", "quick"]

PRESETS: dict[str, Config] = {
    "paper": Config(preset="paper"),
    # Closest to the authors' later habits; about three times the arithmetic, and no cuDNN form.
    "sibling": Config(
        preset="sibling",
        model=ModelConfig(pools=(2, 2, 1), gru_units=(32, 32), gru_merge="mul", gru_reset_after=False, dense_units=32),
    ),
    # The same architecture made small enough for two cores and fifteen minutes. Sized in reference trials on
    # procedural clips: coarser frames, fewer filters, a higher rate and smaller batches for few clips.
    "quick": Config(
        preset="quick",
        features=FeatureConfig(sample_rate_hz=16_000, window_seconds=0.128, hop_seconds=0.100, fmax_hz=8_000.0),
        model=ModelConfig(n_filters=16, gru_units=(32, 32), dense_units=32, dropout=0.1),
        training=TrainingConfig(epochs=20, batch_size=16, learning_rate=3e-3, patience=0),
    ),
}


def preset(name: str) -> Config:
    """Return a preset by name.

    Raises
    ------
    ConfigError
        There is no such preset.

    Examples
    --------
    >>> preset("paper").features.n_frames
    500
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is not known. {nearest_names(name, PRESETS)}")
    return PRESETS[name]


# --- overrides, TOML ---------------------------------------------------------------------------------------------


def _convert(value: Any, annotation: Any, where: str) -> Any:
    """Check a value from TOML or the command line against a field's type; whole numbers pass as floats."""
    if isinstance(annotation, types.UnionType):
        raise AssertionError(f"{where}: no setting has a union type")
    if typing.get_origin(annotation) is tuple:
        (item, _) = typing.get_args(annotation)
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} = {value!r}: expected a list, e.g. [5, 4, 2].")
        return tuple(_convert(entry, item, where) for entry in value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (annotation in (int, float) and isinstance(value, bool)) or not isinstance(value, annotation):
        raise ConfigError(f"{where} = {value!r}: expected {annotation.__name__}.")
    return value


def _replace(section: Any, values: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(type(section))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{where}.{name}" if where else name
        if name not in hints:
            raise ConfigError(f"setting {path!r} is not known. {nearest_names(name, hints)}")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{path} = {value!r}: expected a table of settings, e.g. {path}.NAME=VALUE.")
            changes[name] = _replace(getattr(section, name), value, path)
        else:
            changes[name] = _convert(value, hints[name], path)
    return dataclasses.replace(section, **changes)


def from_dict(values: Mapping[str, Any], base: Config | None = None) -> Config:
    """Return `base` (the preset that `values` names, by default) with `values` laid over it.

    Raises
    ------
    ConfigError
        A name is unknown (the message offers the nearest), a type does not fit, or a value is out of range.
    """
    if base is None:
        name = values.get("preset", "paper")
        base = preset(name if isinstance(name, str) else str(name))
    return _replace(base, values, "")


def apply_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """Apply ``section.name=value`` strings, the values in TOML syntax (a bare word is a string).

    Examples
    --------
    >>> apply_overrides(preset("quick"), ["training.epochs=3", "model.pools=[5,2,2]"]).model.pools
    (5, 2, 2)
    """
    values: dict[str, Any] = {}
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"--set {override!r}: expected section.name=value, e.g. training.epochs=3.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        *sections, last = name.strip().split(".")
        table = values
        for part in sections:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {override!r}: {part!r} has been given a value of its own.")
        table[last] = value
    # All at once: a sample rate and the band edge that fits it are valid together, in whatever order they are given.
    return from_dict(values, config)


def load_config(path: str | Path, base: Config | None = None) -> Config:
    """Read a TOML file of settings (only those that differ from the preset need be there)."""
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}).") from None
    try:
        return from_dict(values, None if "preset" in values else base)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def to_toml(config: Config) -> str:
    """Return the whole configuration as TOML; `load_config` reads it back unchanged."""
    lines = [f"preset = {_toml_value(config.preset)}"]
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if dataclasses.is_dataclass(value):
            lines += ["", f"[{section.name}]"]
            lines += [f"{item.name} = {_toml_value(getattr(value, item.name))}" for item in dataclasses.fields(value)]
    return "\n".join(lines) + "\n"


def fingerprint(*sections: Any) -> str:
    """Return 12 hexadecimal digits that name the content of dataclasses or plain values."""
    plain = [dataclasses.asdict(s) if dataclasses.is_dataclass(s) and not isinstance(s, type) else s for s in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=list).encode()).hexdigest()[:12]


def fidelity_rows() -> list[tuple[str, str, str, str]]:
    """Return (setting, default of preset `paper`, mark, note) for every setting, in reading order."""
    rows = []
    config = PRESETS["paper"]
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if dataclasses.is_dataclass(value):
            for item in dataclasses.fields(value):
                text = _toml_value(getattr(value, item.name))
                rows.append((f"{section.name}.{item.name}", text, item.metadata["source"], item.metadata["note"]))
    return rows


def fidelity_markdown() -> str:
    """Return README's Fidelity table; ``python -m crnn_weak.config`` prints it."""
    lines = ["| setting | preset `paper` | mark | why |", "|---|---|---|---|"]
    lines += [f"| `{name}` | `{value}` | {mark} | {note} |" for name, value, mark, note in fidelity_rows()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(fidelity_markdown(), end="")
