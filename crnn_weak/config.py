"""Presets, TOML files and ``--set`` overrides of the settings; the settings themselves are in `crnn_weak.settings`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from crnn_weak.errors import ConfigError, nearest_names
from crnn_weak.settings import (
    Config,
    DataConfig,
    DecisionConfig,
    EvaluationConfig,
    FeatureConfig,
    LossWeights,
    ModelConfig,
    TrainingConfig,
)

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
