"""The operating point: thresholds and post-processing, class by class.

Its file is ``operating_point.json`` next to the model: ``crnn-weak tune`` writes it, ``evaluate RUN`` and ``detect
--model RUN`` use it by default. Without it, a model file's own metadata and then the run's configuration apply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from crnn_weak.config import OperatingPointConfig
from crnn_weak.errors import ConfigError
from crnn_weak.files import convert_document, read_json, write_json
from crnn_weak.run_files import RunFiles

# As in the configuration.
_MAX_SECONDS = 3600.0


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds and post-processing for each class; every tuple has one entry per class."""

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]  # a frame is active above it; in (0, 1)
    low_thresholds: tuple[float, ...]  # an event continues while its score exceeds it; 0 turns hysteresis off
    median_seconds: tuple[float, ...]  # these three: 0 turns each off
    min_duration_seconds: tuple[float, ...]
    min_gap_seconds: tuple[float, ...]
    tag_thresholds: tuple[float, ...]  # a clip is tagged above it (weak output); in (0, 1)
    weak_gate: bool = False  # keep a class's events only where the clip is tagged

    def __post_init__(self) -> None:
        for name in _PER_CLASS:
            values = getattr(self, name)
            if len(values) != len(self.classes):
                raise ConfigError(f"{name}: {len(values)} values for {len(self.classes)} classes.")
            if not all(math.isfinite(value) and value >= 0 for value in values):
                raise ConfigError(f"{name} = {values!r}: expected numbers of 0 or more.")
            if name.endswith("_seconds") and max(values, default=0) > _MAX_SECONDS:
                raise ConfigError(f"{name}: {max(values):g}, expected {_MAX_SECONDS:g} s or less.")
            if name in ("thresholds", "tag_thresholds") and not all(0 < value < 1 for value in values):
                raise ConfigError(f"{name} = {values!r}: expected scores in (0, 1).")
        for label, low, high in zip(self.classes, self.low_thresholds, self.thresholds, strict=True):
            if low > high:
                raise ConfigError(f"low_thresholds: {low:g} of {label!r} is above its threshold {high:g}.")

    @classmethod
    def from_config(cls, config: OperatingPointConfig, classes: Sequence[str]) -> OperatingPoint:
        """Return one configuration for every class."""
        n_classes = len(classes)
        return cls(
            classes=tuple(classes),
            thresholds=(config.threshold,) * n_classes,
            low_thresholds=(config.low_threshold,) * n_classes,
            median_seconds=(config.median_seconds,) * n_classes,
            min_duration_seconds=(config.min_duration_seconds,) * n_classes,
            min_gap_seconds=(config.min_gap_seconds,) * n_classes,
            tag_thresholds=(config.threshold,) * n_classes,
            weak_gate=config.weak_gate,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return content

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """Return the operating point in values of `to_dict`; a ConfigError says what is wrong."""
        return convert_document(values, cls, "operating point", error=ConfigError)

    def replace(self, **changes: Any) -> OperatingPoint:
        """Return a copy; a single number stands for every class, and a low threshold never exceeds its threshold."""
        for name in changes.keys() & set(_PER_CLASS):
            changes[name] = tuple(np.broadcast_to(np.asarray(changes[name], float), len(self.classes)).tolist())
        if "thresholds" in changes:
            low_thresholds = changes.get("low_thresholds", self.low_thresholds)
            changes["low_thresholds"] = tuple(map(min, low_thresholds, changes["thresholds"]))
        return msgspec.structs.replace(self, **changes)

    @property
    def plain_threshold(self) -> bool:
        """True if only thresholds and median filters are used."""
        others = (*self.low_thresholds, *self.min_duration_seconds, *self.min_gap_seconds)
        return not self.weak_gate and not any(others)

    def summary(self) -> str:
        """Return one line that says what is done; per-class values as a range."""
        parts = []
        for text, values, unit in (
            ("threshold", self.thresholds, ""),
            ("tag threshold", self.tag_thresholds, ""),
            ("low threshold", self.low_thresholds, ""),
            ("median filter", self.median_seconds, " s"),
            ("gaps closed under", self.min_gap_seconds, " s"),
            ("events dropped under", self.min_duration_seconds, " s"),
        ):
            low, high = min(values, default=0), max(values, default=0)
            if high:
                parts.append(f"{text} {low:.4g}{unit if low == high else f' to {high:.4g}{unit} by class'}")
        return ", ".join(parts + ["gated by the tags"] * self.weak_gate)


_PER_CLASS = tuple(name for name in OperatingPoint.__struct_fields__ if name not in ("classes", "weak_gate"))


def as_operating_point(
    point: OperatingPointConfig | OperatingPoint, classes: Sequence[str], *, where: str = "operating point"
) -> OperatingPoint:
    """Return an operating point for the given classes; one for other classes is a ConfigError that names `where`."""
    if isinstance(point, OperatingPointConfig):
        return OperatingPoint.from_config(point, classes)
    if point.classes != tuple(classes):
        raise ConfigError(
            f"{where}: for {len(point.classes)} classes ({', '.join(point.classes[:3])}, ...), but the model has "
            f"{len(classes)} ({', '.join(tuple(classes)[:3])}, ...); tune again on this run's scores."
        )
    return point


class TuningRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Record of a search: the metric before and after on the validation clips, and the number of choices."""

    per_class: bool
    before: float | None
    after: float | None
    n_clips: int
    n_choices: int


class StoredPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``operating_point.json``: an operating point, and by metric how it was tuned."""

    operating_point: OperatingPoint
    tuned: dict[str, TuningRecord] = {}

    @classmethod
    def read(cls, path: str | Path, classes: Sequence[str]) -> StoredPoint:
        """Read a file; one that is damaged or for other classes is a ConfigError."""
        advice = "Expected a file that crnn-weak tune has written."
        stored = read_json(path, cls, advice=advice, error=ConfigError)
        as_operating_point(stored.operating_point, classes, where=str(path))
        return stored

    def write(self, path: str | Path) -> None:
        """Write the file whole or not at all."""
        write_json(path, msgspec.to_builtins(self))


def stored_point(folder: str | Path, classes: Sequence[str]) -> StoredPoint | None:
    """Return the operating point that is stored in a run folder, or None."""
    path = RunFiles(folder).operating_point
    return StoredPoint.read(path, classes) if path.is_file() else None
