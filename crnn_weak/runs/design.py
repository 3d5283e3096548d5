"""A declared comparison of runs: data sets, entries and seeds, read from a TOML file.

A design::

    seeds = [0, 1, 2]
    curves = [["max", "mean"]] # entries that differences are taken from, each list one line of the figure

    [data.street]              # settings that all entries on these data share
    preset = "quick"

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

#: Keys of an entry that are not settings.
_NOT_SETTINGS = ("base", "teacher", "start", "data")


class Design(msgspec.Struct, forbid_unknown_fields=True):
    """A declared comparison; `curves` are the entries to beat, such as the paper's settings by their loss weights."""

    data: dict[str, dict[str, Any]]
    entries: dict[str, dict[str, Any]]
    seeds: list[int] = msgspec.field(default_factory=lambda: [0])
    curves: list[list[str]] = []

    def entry(self, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return an entry with the settings of its bases below its own."""
        if name in seen:
            raise ConfigError(f"base: {' -> '.join([*seen, name])} is circular.")
        if name not in self.entries:
            raise ConfigError(f"entry {name!r} is not known. {nearest_names(name, self.entries)}")
        own = {key: value for key, value in self.entries[name].items() if key != "base"}
        base = self.entries[name].get("base")
        return own if base is None else merged(self.entry(base, (*seen, name)), own)

    def data_of(self, name: str) -> list[str]:
        """Return the data sets that an entry is trained on."""
        names = self.entry(name).get("data", list(self.data))
        for data in names:
            if data not in self.data:
                raise ConfigError(f"entries.{name}.data = {data!r}. {nearest_names(data, self.data)}")
        return list(names)

    def data_config(self, data: str) -> Config:
        """Return the configuration that all entries on a data set share."""
        return configuration.from_dict(self.data[data])

    def config(self, data: str, name: str, seed: int, *, teacher: str = "") -> Config:
        """Return the configuration of one run; `teacher` is the path of its teacher's model, if it has one."""
        entry = self.entry(name)
        settings = {key: value for key, value in entry.items() if key not in _NOT_SETTINGS}
        settings = merged(settings, {"training": {"seed": seed}})
        if "teacher" in entry:
            settings = merged(settings, {"targets": {"teacher": teacher}})
        return configuration.from_dict(settings, self.data_config(data))

    def runs(self, names: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return (data, entry, seed) of the runs of some entries, all entries of the first seed first."""
        return [(data, name, seed) for seed in self.seeds for name in names for data in self.data_of(name)]

    def needs(self, name: str) -> list[str]:
        """Return the entries whose models this one starts from."""
        entry = self.entry(name)
        return [entry[key].rpartition("/")[2] for key in ("teacher", "start") if key in entry]

    def groups(self) -> list[list[str]]:
        """Return the entries in groups: each needs models of earlier groups only."""
        waiting, groups = list(self.entries), []
        done: set[str] = set()
        while waiting:
            group = [name for name in waiting if set(self.needs(name)) <= done]
            if not group:
                raise ConfigError(f"entries {', '.join(waiting)}: each needs a model of the others.")
            groups.append(group)
            done |= set(group)
            waiting = [name for name in waiting if name not in done]
        return groups

    def restricted(self, entries: Sequence[str] | None, data: Sequence[str] | None) -> Design:
        """Return a design of some entries, in the order asked for, with those that they need, and of some data sets."""
        names = list(entries or self.entries)
        for name in names:  # grows while it is walked
            names += [need for need in self.needs(name) if need not in names]
        for name in data or ():
            if name not in self.data:
                raise ConfigError(f"--data {name!r} is not in the design. {nearest_names(name, self.data)}")
        kept = {name: settings for name, settings in self.data.items() if name in (data or self.data)}
        flat = {}
        for name in names:
            flat[name] = self.entry(name) | {"data": [data for data in self.data_of(name) if data in kept]}
        curves = [[name for name in curve if name in flat] for curve in self.curves]
        return Design(kept, flat, self.seeds, [curve for curve in curves if curve])


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings, those of `second` laid over those of `first`."""
    result = dict(first)
    for name, value in second.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def read_design(path: str | Path) -> Design:
    """Read a design and check every setting and every name in it."""
    design = convert_document(read_toml(path, error=ConfigError), Design, str(path), error=ConfigError)
    try:
        for data in design.data:
            design.data_config(data)
        for name in design.entries:
            _check_entry(design, name)
        for name in (name for curve in design.curves for name in curve):
            if name not in design.entries:
                raise ConfigError(f"curves: {name!r} is not known. {nearest_names(name, design.entries)}")
        design.groups()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return design


def _check_entry(design: Design, name: str) -> None:
    entry = design.entry(name)
    for data in design.data_of(name):
        try:
            design.config(data, name, design.seeds[0], teacher="of another entry")
        except ConfigError as error:
            raise ConfigError(f"entries.{name}: {error}") from None
    starts = [f"{data}/{other}" for other in design.entries for data in design.data_of(other)]
    for key, names in (("teacher", list(design.entries)), ("start", starts)):
        if key in entry and entry[key] not in names:
            raise ConfigError(f"entries.{name}.{key} = {entry[key]!r} is not known. {nearest_names(entry[key], names)}")
