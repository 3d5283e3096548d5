"""A declared comparison of runs: data sets, entries and seeds, read from a TOML file.

A design::

    curves = [["max", "mean"]] # entries that differences are taken from, each list one line of the figure

    [data.street]              # settings that all entries on these data share
    preset = "quick"

    [entries.max]              # settings of one entry
    model.weak_head = "max"

    [entries.taught]
    base = "max"               # the settings of another entry first
    teacher = "max"            # targets.teacher: that entry's model of the same data and seed
    targets.strong = "self_training"

    [entries.tuned-100]
    start = "street/max"       # fine-tuning: DATA/ENTRY, the model of the same seed
    training.n_clips = 100
    data = ["scenes"]          # on these data only
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
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
    entries: dict[str, dict[str, Any]]  # as `read_design` returns them, with the settings of their bases
    seeds: list[int] = msgspec.field(default_factory=lambda: [0])
    curves: list[list[str]] = []

    def data_of(self, name: str) -> list[str]:
        """Return the data sets that an entry is trained on."""
        return [data for data in self.entries[name].get("data", self.data) if data in self.data]

    def data_config(self, data: str) -> Config:
        """Return the configuration that all entries on a data set share."""
        return configuration.from_dict(self.data[data])

    def config(self, data: str, name: str, seed: int, *, teacher: str = "") -> Config:
        """Return the configuration of one run; `teacher` is the path of its teacher's model, if it has one."""
        entry = self.entries[name]
        settings = {key: value for key, value in entry.items() if key not in _NOT_SETTINGS}
        settings = merged(settings, {"training": {"seed": seed}})
        if "teacher" in entry:
            settings = merged(settings, {"targets": {"teacher": teacher}})
        return configuration.from_dict(settings, self.data_config(data))

    def needs(self, name: str) -> list[str]:
        """Return the entries whose models this one starts from."""
        entry = self.entries[name]
        return [entry[key].rpartition("/")[2] for key in ("teacher", "start") if key in entry]

    def groups(self) -> list[list[str]]:
        """Return the entries in groups: each needs models of earlier groups only."""
        return _groups({name: self.needs(name) for name in self.entries})


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
        _lay_over_bases(design.entries)
        _check(design)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return design


def _lay_over_bases(entries: dict[str, dict[str, Any]]) -> None:
    bases = {name: [entry["base"]] for name, entry in entries.items() if "base" in entry}
    for name, (base,) in bases.items():
        _check_known(f"entries.{name}.base", [base], entries)
    for group in _groups(bases):
        for name in group:
            for base in bases.get(name, ()):
                entries[name] = merged(entries[base], entries[name])


def _check(design: Design) -> None:
    for data in design.data:
        design.data_config(data)
    starts = [f"{data}/{name}" for name in design.entries for data in design.data_of(name)]
    for name, entry in design.entries.items():
        for key, known in (("data", design.data), ("teacher", design.entries), ("start", starts)):
            values = entry.get(key, [])
            _check_known(f"entries.{name}.{key}", [values] if isinstance(values, str) else values, known)
        for data in design.data_of(name):
            try:
                design.config(data, name, design.seeds[0], teacher="of another entry")
            except ConfigError as error:
                raise ConfigError(f"entries.{name}: {error}") from None
    for curve in design.curves:
        _check_known("curves", curve, design.entries)
    design.groups()


def _check_known(where: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{where}: {name!r} is not known. {nearest_names(name, known)}")


def _groups(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return names in groups: each needs names of earlier groups only."""
    sorter, groups = TopologicalSorter(needs), []
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(f"entries {' -> '.join(error.args[1])}: each needs the other.") from None
    while sorter.is_active():
        groups.append(list(sorter.get_ready()))
        sorter.done(*groups[-1])
    return groups
