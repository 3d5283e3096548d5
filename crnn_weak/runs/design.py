"""A declared comparison of runs: data sets, entries and seeds, read from a TOML file.

A design::

    seeds = [0, 1, 2]
    curves = [["max", "mean"]] # entries that differences are taken from, each list one line of the figure

    [data.street]              # settings that all entries on these data share
    preset = "quick"

    [data.loud]
    models = "street"          # trained on those data, tested here as well
    data.seed = 7              # changes of those data's settings

    [entries.max]              # settings of one entry
    model.weak_head = "max"

    [entries.max-mixup]
    base = "max"               # the settings of another entry first
    augmentation.mixup = 0.3

    [entries.taught]
    base = "max"
    teacher = "max"            # targets.teacher: that entry's model of the same data and seed
    targets.strong = "self_training"

    [entries.tuned-100]
    start = "street/max"       # fine-tuning: DATA/ENTRY, the model of the same seed
    training.n_clips = 100
    data = ["scenes"]          # on these data only
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.errors import ConfigError, nearest_names
from crnn_weak.files import convert_document, read_toml

__all__ = [
    "Design",
    "config_of",
    "data_of",
    "data_settings",
    "merged",
    "models_of",
    "needs",
    "ordered",
    "read_design",
    "restrict",
    "settings_of",
]

_OWN = ("base", "teacher", "start", "data")


class Design(msgspec.Struct, forbid_unknown_fields=True):
    """A declared comparison.

    Attributes
    ----------
    data : dict of name to settings
        And ``models``, other data whose models and settings these test clips are for.
    entries : dict of name to settings, and ``base``, ``teacher``, ``start``, ``data``
    seeds : list of int
    curves : list of lists of entries
        The curves to beat, such as the paper's settings in the order of their loss weights.
    """

    data: dict[str, dict[str, Any]]
    entries: dict[str, dict[str, Any]]
    seeds: list[int] = msgspec.field(default_factory=lambda: [0])
    curves: list[list[str]] = []


def read_design(path: str | Path) -> Design:
    """Read a design and check every setting and every name in it.

    Raises
    ------
    ConfigError
        The file is no design, a setting is unknown, or a name leads nowhere or in a circle.
    """
    design = convert_document(read_toml(path, error=ConfigError), Design, str(path), error=ConfigError)
    try:
        for data in design.data:
            data_settings(design, data)
        for name in design.entries:
            _check_entry(design, name)
        for name in (name for curve in design.curves for name in curve):
            if name not in design.entries:
                raise ConfigError(f"curves: {name!r} is not known. {nearest_names(name, design.entries)}")
        ordered(design)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return design


def _check_entry(design: Design, name: str) -> None:
    entry = settings_of(design, name)
    for data in data_of(design, name):
        try:
            config_of(design, data, name, design.seeds[0], teacher="of another entry")
        except ConfigError as error:
            raise ConfigError(f"entries.{name}: {error}") from None
    for key, known in (("teacher", list(design.entries)), ("start", _starts(design))):
        if key in entry and entry[key] not in known:
            raise ConfigError(f"entries.{name}.{key} = {entry[key]!r} is not known. {nearest_names(entry[key], known)}")


def _starts(design: Design) -> list[str]:
    return [f"{data}/{name}" for name in design.entries for data in data_of(design, name)]


def models_of(design: Design, data: str) -> str | None:
    """Return the data whose models are tested on these data; None where these have their own."""
    return design.data[data].get("models")


def data_settings(design: Design, data: str) -> dict[str, Any]:
    """Return the settings of a data set."""
    own = {key: value for key, value in design.data[data].items() if key != "models"}
    models = models_of(design, data)
    if models is None:
        return own
    trained = [name for name in design.data if models_of(design, name) is None]
    if models not in trained:
        raise ConfigError(f"data.{data}.models = {models!r} is not known. {nearest_names(str(models), trained)}")
    return merged(design.data[models], own)


def data_of(design: Design, name: str) -> list[str]:
    """Return the data sets that an entry is trained on."""
    trained = [data for data in design.data if models_of(design, data) is None]
    chosen = settings_of(design, name).get("data", trained)
    for data in chosen:
        if data not in trained:
            raise ConfigError(f"entries.{name}.data = {data!r}. {nearest_names(data, trained)}")
    return list(chosen)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings, those of `second` laid over those of `first`."""
    result = dict(first)
    for name, value in second.items():
        known = result.get(name)
        result[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


def settings_of(design: Design, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an entry's settings with those of its bases below them."""
    if name in seen:
        raise ConfigError(f"base: {' -> '.join([*seen, name])} is circular.")
    if name not in design.entries:
        raise ConfigError(f"entry {name!r} is not known. {nearest_names(name, design.entries)}")
    entry = design.entries[name]
    own = {key: value for key, value in entry.items() if key != "base"}
    return merged(settings_of(design, entry["base"], (*seen, name)), own) if "base" in entry else own


def config_of(design: Design, data: str, name: str, seed: int, *, teacher: str = "") -> Config:
    """Return the configuration of one run."""
    settings = {key: value for key, value in settings_of(design, name).items() if key not in _OWN}
    settings = merged(settings, {"training": {"seed": seed}})
    if "teacher" in settings_of(design, name):
        settings = merged(settings, {"targets": {"teacher": teacher}})
    return configuration.from_dict(settings, configuration.from_dict(data_settings(design, data)))


def needs(design: Design, name: str) -> list[str]:
    """Return the entries whose models this one starts from."""
    entry = settings_of(design, name)
    return [entry[key].rpartition("/")[2] for key in ("teacher", "start") if key in entry]


def ordered(design: Design) -> list[list[str]]:
    """Return the entries in groups: each needs models of earlier groups only."""
    left, groups = list(design.entries), []
    done: set[str] = set()
    while left:
        group = [name for name in left if set(needs(design, name)) <= done]
        if not group:
            raise ConfigError(f"entries {', '.join(left)}: each needs a model of the others.")
        groups.append(group)
        done |= set(group)
        left = [name for name in left if name not in done]
    return groups


def restrict(design: Design, entries: Sequence[str] | None, data: Sequence[str] | None) -> Design:
    """Return a design of some entries, in the order asked for, with those that they need, and of some data sets."""
    wanted = list(entries or design.entries)
    for name in wanted:  # grows while it is walked
        wanted += [need for need in needs(design, name) if need not in wanted]
    for name in data or ():
        if name not in design.data:
            raise ConfigError(f"--data {name!r} is not in the design. {nearest_names(name, design.data)}")
    # Data whose models are tested elsewhere bring those data along, and the other way round.
    chosen = {models_of(design, name) or name for name in data or design.data}
    kept = {name: settings for name, settings in design.data.items() if (models_of(design, name) or name) in chosen}
    flat = {
        name: settings_of(design, name) | {"data": [data for data in data_of(design, name) if data in kept]}
        for name in wanted
    }
    curves = [[name for name in curve if name in flat] for curve in design.curves]
    return msgspec.structs.replace(design, data=kept, entries=flat, curves=[curve for curve in curves if curve])
