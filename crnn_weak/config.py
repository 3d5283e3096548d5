"""Presets, TOML files, ``--set``, and which settings may continue a run; the settings are in `crnn_weak.settings`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from crnn_weak.errors import ConfigError, RunError, nearest_names
from crnn_weak.files import read_toml
from crnn_weak.settings import (
    DATA_SETTINGS,
    AidConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    FeatureConfig,
    FolderData,
    LossWeights,
    ModelConfig,
    OperatingPointConfig,
    ScenesData,
    StreetData,
    TargetConfig,
    Task4Data,
    TrainingConfig,
    hints_of,
    short_repr,
)

__all__ = [
    "PRESETS",
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
    "apply_overrides",
    "check_continues",
    "fidelity_markdown",
    "fidelity_rows",
    "fingerprint",
    "from_dict",
    "load_config",
    "preset",
    "source_and_note",
    "to_dict",
    "to_toml",
]

PRESETS: dict[str, Config] = {
    "paper": Config(preset="paper"),
    # Closest to the authors' later habits; about three times the arithmetic, and no cuDNN form.
    "sibling": Config(
        preset="sibling",
        model=ModelConfig(pools=(2, 2, 1), gru_units=(32, 32), gru_merge="mul", gru_reset_after=False, dense_units=32),
    ),
    # The same architecture made small enough for two cores and fifteen minutes. Sized in reference trials on
    # synthetic clips: coarser frames, fewer filters, a higher rate and smaller batches for few clips.
    "quick": Config(
        preset="quick",
        features=FeatureConfig(sample_rate_hz=16_000, window_seconds=0.128, hop_seconds=0.100, fmax_hz=8_000.0),
        model=ModelConfig(n_filters=16, gru_units=(32, 32), dense_units=32, dropout=0.1),
        training=TrainingConfig(epochs=20, batch_size=16, learning_rate=3e-3, patience=0),
    ),
}
# The network of preset quick, and what detects and tags best with it (docs/beyond.md). Chosen on a development set.
PRESETS["recommended"] = dataclasses.replace(
    PRESETS["quick"],
    preset="recommended",
    model=dataclasses.replace(PRESETS["quick"].model, weak_head="linear_softmax"),
    targets=TargetConfig(strong="high_energy", quiet_is_inactive=True),
    aids=AidConfig(mixup=0.3, time_shift=True, band_shift=1, band_gain_db=3.0, schedule="cosine", averaging=0.995),
    training=dataclasses.replace(PRESETS["quick"].training, epochs=50),
)


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
        raise ConfigError(f"preset {short_repr(name)} is not known. {nearest_names(name, PRESETS)}")
    return PRESETS[name]


# --- overrides and files -------------------------------------------------------------------------------------------

#: Settings of earlier versions that follow from others; a file may hold them as long as they agree.
_DROPPED = {("features", "centre"), ("model", "n_classes"), ("model", "n_conv_layers")}
#: Earlier versions wrote the data settings of all sources into every file, those of other sources at these values.
_UNUSED_DATA = {"root": "", "metadata": "", "events": "", "n_train": 2000, "n_test": 400, "seed": 2017}


def _agrees(section: str, name: str, value: object, settings: Any) -> bool:
    if name == "centre":
        return value == "cell"
    # The number of classes is checked against the class list, where a model or a store is opened.
    return name == "n_classes" or value == len(settings.pools)


def _check_table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} = {short_repr(value)}: expected a table of settings, e.g. {where}.NAME=VALUE.")
    return value


def _replace_section(section: Any, values: Mapping[str, Any]) -> Any:
    where, known = section.name_in_file, hints_of(type(section))
    changes = {name: value for name, value in values.items() if (where, name) not in _DROPPED}
    for name in changes:
        if name not in known:
            raise ConfigError(f"setting {short_repr(f'{where}.{name}')} is not known. {nearest_names(name, known)}")
    changed = dataclasses.replace(section, **changes)
    for name in values.keys() - changes.keys():
        if not _agrees(where, name, values[name], changed):
            raise ConfigError(f"{where}.{name} = {short_repr(values[name])}: contradicts other settings. Delete it.")
    return changed


def _replace_data(data: DataConfig, values: Mapping[str, Any]) -> DataConfig:
    """Lay `values` over the data settings; another source keeps the settings that it shares with the present one."""
    source = values.get("source", data.source)
    if not isinstance(source, str) or source not in DATA_SETTINGS:
        raise ConfigError(f"data.source = {short_repr(source)}: not known. {nearest_names(str(source), DATA_SETTINGS)}")
    kind = DATA_SETTINGS[source]
    known = hints_of(kind)
    changes = {name: getattr(data, name) for name in known if hasattr(data, name)}
    for name, value in values.items():
        if name in known:
            changes[name] = value
        elif name != "source" and not (name in _UNUSED_DATA and value == _UNUSED_DATA[name]):
            having = [other for other, settings in DATA_SETTINGS.items() if name in hints_of(settings)]
            hint = f"Sources that have it: {', '.join(having)}." if having else nearest_names(name, known)
            raise ConfigError(f"setting {short_repr(f'data.{name}')} is not one of source {source!r}. {hint}")
    return kind(**changes)


def from_dict(values: Mapping[str, Any], base: Config | None = None) -> Config:
    """Return `base` (the preset that `values` names, by default) with `values` laid over it.

    Raises
    ------
    ConfigError
        A name is unknown (the message offers the nearest), a type does not fit, or a value is out of range.
    """
    if base is None:
        base = preset(str(values.get("preset", "paper")))
    elif values.get("preset", base.preset) != base.preset:
        raise ConfigError(
            f"setting preset = {short_repr(values['preset'])}: the other settings start from {base.preset!r}. "
            "Choose a preset with --preset, or at the head of a configuration file."
        )
    if "decisions" in values and "operating_point" not in values:  # the section's name in earlier versions
        values = {"operating_point" if name == "decisions" else name: value for name, value in values.items()}
    sections = [item.name for item in dataclasses.fields(base)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in sections:
            raise ConfigError(f"setting {short_repr(name)} is not known. {nearest_names(name, sections)}")
        if name == "preset":
            changes[name] = str(value)
        elif name == "data":
            changes[name] = _replace_data(base.data, _check_table(value, name))
        else:
            changes[name] = _replace_section(getattr(base, name), _check_table(value, name))
    return dataclasses.replace(base, **changes)


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
            raise ConfigError(f"--set {short_repr(override)}: expected section.name=value, e.g. training.epochs=3.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):  # TOML's errors are ValueErrors, as is a number of too many digits
            value = text.strip()
        *sections, last = name.strip().split(".")
        table = values
        for part in sections:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {short_repr(override)}: {short_repr(part)} has a value of its own.")
        table[last] = value
    # All at once: a sample rate and the band edge that fits it are valid together, in whatever order they are given.
    return from_dict(values, config)


def load_config(path: str | Path, base: Config | None = None) -> Config:
    """Read a TOML file of settings (only those that differ from the preset need be there)."""
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
    plain = [to_dict(s) if dataclasses.is_dataclass(s) and not isinstance(s, type) else s for s in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=list).encode()).hexdigest()[:12]


# Training aids that plan over the number of epochs: setting to value.
_PLANNED = {"schedule": "cosine", "loss_weighting": "linear"}


def check_continues(stored: Config, asked: Config, folder: str | Path) -> None:
    """Refuse to continue the run or grid in `folder` with other settings; only more epochs are allowed.

    More epochs are refused too where the number of epochs decides what a step does: a cosine rate has ended at 0, and a
    linear strong weight at its last value.

    Raises
    ------
    RunError
        The message names what differs and the two ways out.
    """
    n_stored, n_asked = stored.training.epochs, asked.training.epochs
    with_stored = dataclasses.replace(asked, training=dataclasses.replace(asked.training, epochs=n_stored))
    differs_in_epochs_only = stored == with_stored
    planned = [name for name, value in _PLANNED.items() if getattr(asked.aids, name) == value]
    if differs_in_epochs_only and (n_asked == n_stored or (n_asked > n_stored and not planned)):
        return
    if differs_in_epochs_only and n_asked > n_stored:
        raise RunError(
            f"{folder}: aids.{planned[0]} was planned over its {n_stored} epochs; {n_asked} are another training. "
            "Choose another folder with --out, or start anew with --overwrite."
        )
    fewer = " More epochs continue what is there, fewer do not." if differs_in_epochs_only else ""
    raise RunError(
        f"{folder}: holds another configuration: {_difference(stored, asked)}.{fewer} "
        "Choose another folder with --out, or start anew with --overwrite."
    )


def _difference(stored: Config, asked: Config) -> str:
    """Return the settings that differ, at most three, as ``training.seed 0, now 1``."""
    old, new = to_dict(stored), to_dict(asked)
    rows = []
    for section in old:
        if not isinstance(old[section], dict):
            if old[section] != new[section]:
                rows.append(f"{section} {old[section]!r}, now {new[section]!r}")
            continue
        for name in {**old[section], **new[section]}:
            was, now = old[section].get(name), new[section].get(name)
            if was != now:
                rows.append(f"{section}.{name} {was!r}, now {now!r}")
    return "; ".join(rows[:3]) + (f"; and {len(rows) - 3} more" if len(rows) > 3 else "")


# --- the Fidelity table --------------------------------------------------------------------------------------------


def source_and_note(hint: Any) -> tuple[str, str]:
    """Return the source and the note of a setting's annotation."""
    extra = next(meta.extra for meta in hint.__metadata__ if meta.extra)
    return extra["source"], extra["note"]


def fidelity_rows() -> list[tuple[str, str, str, str]]:
    """Return (setting, default of preset `paper`, mark, note) for every setting, in reading order."""
    config = PRESETS["paper"]
    rows = []
    for item in dataclasses.fields(config):
        section = getattr(config, item.name)
        if dataclasses.is_dataclass(section) and item.name != "data":
            rows += [
                (f"{item.name}.{name}", json.dumps(getattr(section, name)), *source_and_note(hint))
                for name, hint in hints_of(type(section)).items()
            ]
    known: dict[str, list[str]] = {}
    for source, kind in DATA_SETTINGS.items():
        for name in hints_of(kind):
            known.setdefault(name, []).append(source)
    note = "dcase2017_task4 is the paper's data; street needs no download"
    rows.append(("data.source", json.dumps(config.data.source), "chosen", note))
    for name, sources in known.items():
        kind = DATA_SETTINGS[sources[0]]
        mark, note = source_and_note(hints_of(kind)[name])
        rows.append((f"data.{name}", json.dumps(getattr(kind(), name)), mark, f"{note} ({', '.join(sources)})"))
    return rows


def fidelity_markdown() -> str:
    """Return the Fidelity table as Markdown; ``python -m crnn_weak.config`` prints it."""
    lines = ["| setting | preset `paper` | mark | why |", "|---|---|---|---|"]
    lines += [f"| `{name}` | `{value}` | {mark} | {note} |" for name, value, mark, note in fidelity_rows()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(fidelity_markdown(), end="")
