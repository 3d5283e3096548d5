"""How scores become events and tags, class by class: the choices, without the work.

`crnn_weak.events.decode` carries them out, `crnn_weak.tuning.tune` tunes them, and they are stored
with the run and in the model file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from crnn_weak.config import DecisionConfig
from crnn_weak.errors import ConfigError, nearest_names

__all__ = ["ClassDecisions", "as_class_decisions"]

_PER_CLASS = (
    "thresholds",
    "low_thresholds",
    "median_seconds",
    "min_duration_seconds",
    "min_gap_seconds",
    "tag_thresholds",
)


@dataclass(frozen=True, kw_only=True)
class ClassDecisions:
    """How scores become events and tags, class by class; every tuple has one entry per class.

    Attributes
    ----------
    classes : tuple of str
    thresholds : tuple of float in (0, 1)
        A frame is active above it.
    low_thresholds : tuple of float, at most the threshold
        An event goes on above it; 0 turns hysteresis off.
    median_seconds, min_duration_seconds, min_gap_seconds : tuple of float >= 0
        0 turns each off.
    tag_thresholds : tuple of float in (0, 1)
        A clip is tagged above it (weak output).
    weak_gate : bool
        Keep a class's events only where the clip is tagged.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    low_thresholds: tuple[float, ...]
    median_seconds: tuple[float, ...]
    min_duration_seconds: tuple[float, ...]
    min_gap_seconds: tuple[float, ...]
    tag_thresholds: tuple[float, ...]
    weak_gate: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        for name in _PER_CLASS:
            try:
                values = tuple(float(value) for value in getattr(self, name))
            except (TypeError, ValueError):
                raise ConfigError(
                    f"decisions.{name} = {getattr(self, name)!r}: expected a list with one number per class."
                ) from None
            object.__setattr__(self, name, values)
            if len(values) != len(self.classes):
                raise ConfigError(f"decisions.{name}: {len(values)} values for {len(self.classes)} classes.")
            if not all(math.isfinite(value) and value >= 0 for value in values):
                raise ConfigError(f"decisions.{name} = {values!r}: expected numbers of 0 or more.")
        for name in ("thresholds", "tag_thresholds"):
            wrong = [value for value in getattr(self, name) if not 0 < value < 1]
            if wrong:
                raise ConfigError(f"decisions.{name}: {wrong[0]!r}, expected scores in (0, 1).")
        for label, low, high in zip(self.classes, self.low_thresholds, self.thresholds, strict=True):
            if low > high:
                raise ConfigError(f"decisions of {label!r}: low threshold {low:g} is above the threshold {high:g}.")
        object.__setattr__(self, "weak_gate", bool(self.weak_gate))

    @classmethod
    def from_config(cls, config: DecisionConfig, classes: Sequence[str]) -> ClassDecisions:
        """Return one configuration for every class."""
        n = len(classes)
        return cls(
            classes=tuple(classes),
            thresholds=(config.threshold,) * n,
            low_thresholds=(config.low_threshold,) * n,
            median_seconds=(config.median_seconds,) * n,
            min_duration_seconds=(config.min_duration_seconds,) * n,
            min_gap_seconds=(config.min_gap_seconds,) * n,
            tag_thresholds=(config.threshold,) * n,
            weak_gate=config.weak_gate,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` reads them back unchanged."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassDecisions:
        """Return the decisions in a dictionary of `to_dict`.

        Raises
        ------
        ConfigError
            A name is missing or unknown, or a value is out of range.
        """
        names = [item.name for item in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(f"decisions: {name!r} is not known. {nearest_names(name, names)}")
        missing = [name for name in names if name not in values]
        if missing:
            raise ConfigError(f"decisions: {', '.join(missing)} missing.")
        return cls(**values)

    def replace(self, **changes: Any) -> ClassDecisions:
        """Return a copy; a single number stands for every class, and a low threshold never exceeds its threshold."""
        n = len(self.classes)
        for name in _PER_CLASS:
            if name in changes and np.ndim(changes[name]) == 0:
                changes[name] = (float(changes[name]),) * n
        if "thresholds" in changes:
            low = changes.get("low_thresholds", self.low_thresholds)
            changes["low_thresholds"] = tuple(min(a, b) for a, b in zip(low, changes["thresholds"], strict=True))
        return replace(self, **changes)

    @property
    def plain_threshold(self) -> bool:
        """Whether thresholds and median filters are all that is used."""
        others = (*self.low_thresholds, *self.min_duration_seconds, *self.min_gap_seconds)
        return not self.weak_gate and not any(others)

    def summary(self) -> str:
        """Return one line that says what is done; per-class values as a range."""

        def span(values: tuple[float, ...], unit: str = "") -> str:
            low, high = min(values, default=0), max(values, default=0)
            return f"{low:.4g}{unit}" if low == high else f"{low:.4g} to {high:.4g}{unit} by class"

        parts = [f"threshold {span(self.thresholds)}", f"tag threshold {span(self.tag_thresholds)}"]
        if any(self.low_thresholds):
            parts.append(f"low threshold {span(self.low_thresholds)}")
        names = {
            "median_seconds": "median filter",
            "min_gap_seconds": "gaps closed under",
            "min_duration_seconds": "events dropped under",
        }
        parts += [
            f"{text} {span(getattr(self, name), ' s')}" for name, text in names.items() if any(getattr(self, name))
        ]
        return ", ".join(parts + (["gated by the tags"] if self.weak_gate else []))


def as_class_decisions(decisions: DecisionConfig | ClassDecisions, classes: Sequence[str]) -> ClassDecisions:
    """Return decisions per class; a ConfigError where they are of other classes."""
    if isinstance(decisions, DecisionConfig):
        return ClassDecisions.from_config(decisions, classes)
    if tuple(decisions.classes) != tuple(classes):
        raise ConfigError(
            f"the decisions are of {len(decisions.classes)} classes ({', '.join(decisions.classes[:3])}, ...), the "
            f"scores of {len(classes)} ({', '.join(tuple(classes)[:3])}, ...); tune again on this run's scores."
        )
    return decisions
