"""Samples in memory: what a caller's array and rate mean, and what is odd about a sound. The scale is never guessed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from crnn_weak.errors import DataError

# The lowest and the highest sample rate that is read.
LOWEST_HZ, HIGHEST_HZ = 100, 768_000
_ACCEPTED = (
    "expected a path, a binary file, (array, sample_rate_hz), or a mapping with 'array' and 'sampling_rate'; the array "
    "of shape (n_samples,), (n_samples, n_channels) or (n_channels, n_samples), int16, uint8, or floats in [-1, 1]"
)
_MOST_CHANNELS = 32
# Peaks of sound in [-1, 1], with headroom for what is louder than full scale.
_HEADROOM = 4.0
# int32 is also used for sums of 16-bit samples, which are 4096 times smaller than samples of 32 bits.
_LEAST_32_BIT_PEAK = 2**20
# Full scale of 16 bits is 32767/32768; anything above is at the rail.
_FULL_SCALE = 0.9999
_CLIPPED_SHARE = 1e-3
# Three steps of 16 bits: -80 dB.
_FAINT = 1e-4


def array_source(source: Any, where: str) -> tuple[np.ndarray, int] | None:
    """Return the array, (n_samples, n_channels) in its own type, and the rate of a source; None for paths and files."""
    if isinstance(source, str | bytes | os.PathLike) or callable(getattr(source, "read", None)):
        return None
    if isinstance(source, Mapping) and {"array", "sampling_rate"} <= source.keys():
        source = (source["array"], source["sampling_rate"])
    if not isinstance(source, tuple | list) or len(source) != 2:
        raise DataError(f"{where}: received {type(source).__name__}; {_ACCEPTED}.")
    array, rate = source
    if isinstance(array, int | float | np.number) and not isinstance(rate, int | float | np.number):
        raise DataError(f"{where}: the rate comes second; pass (array, sample_rate_hz).")
    try:
        hertz = 0.0 if isinstance(rate, str | bytes) else float(rate)
    except (TypeError, ValueError, RuntimeError):
        hertz = 0.0
    if not (LOWEST_HZ <= hertz <= HIGHEST_HZ and hertz.is_integer()):
        raise DataError(
            f"{where}: a sample rate of {rate!r}; expected a whole number of {LOWEST_HZ} to {HIGHEST_HZ} Hz, as in "
            "(array, sample_rate_hz)."
        )
    return checked_array(array, where), int(hertz)


def checked_array(array: Any, where: str) -> np.ndarray:
    """Return an array as (n_samples, n_channels), in its own type, for `scaled`; refuse where its scale is unclear."""
    try:
        samples = np.asarray(array)
    except Exception as error:  # of whatever library: a ragged list, a tensor on a GPU or with a gradient
        raise DataError(f"{where}: {type(array).__name__} cannot be an array ({error}); {_ACCEPTED}.") from None
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu" or samples[0:1].size > _MOST_CHANNELS:
        raise DataError(f"{where}: received {samples.dtype} of shape {samples.shape}; {_ACCEPTED}.")
    if not samples.size:
        raise DataError(f"{where}: the recording holds no samples.")
    peak = max(float(samples.max()), -float(samples.min()))  # NaN where a sample is
    if not np.isfinite(peak):
        first = int(np.argwhere(~np.isfinite(samples))[0][0])
        raise DataError(f"{where}: NaN or infinite samples, the first at index {first}; remove them.")
    kind = samples.dtype.name
    is_known = kind in ("int16", "uint8") or (kind == "int32" and not 0 < peak <= _LEAST_32_BIT_PEAK)
    if peak > _HEADROOM if samples.dtype.kind == "f" else not is_known:
        raise DataError(
            f"{where}: {kind} samples up to {peak:g}, whose scale is unclear. Expected floats in [-1, 1], int16 or "
            "uint8; if they are samples of 16 bits, divide by 32768 and pass floats."
        )
    return samples.reshape(len(samples), -1)


def scaled(samples: np.ndarray) -> np.ndarray:
    """Return a `checked_array` or a part of it as float32 in [-1, 1], integers by the full scale of their type."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    limits = np.iinfo(samples.dtype)
    half = (int(limits.max) - int(limits.min) + 1) // 2
    return ((samples.astype(np.float64) - (int(limits.min) + half)) / half).astype(np.float32)


def mono(block: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, (n_samples,)."""
    mixed: np.ndarray = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    return mixed


class Levels:
    """Find what is odd about a sound, block by block: silence, a constant offset, clipping, another scale."""

    def __init__(self) -> None:
        self._peak = self._total = self._power = 0.0
        self._n_samples = self._n_values = self._n_clipped = 0

    def add(self, block: np.ndarray, mixed: np.ndarray) -> None:
        """Add the next samples, float32 of shape (n_samples, n_channels), and their mean over channels."""
        flat = block.reshape(-1)
        peak = max(float(flat.max(initial=0.0)), -float(flat.min(initial=0.0)))
        if peak >= _FULL_SCALE:
            self._n_clipped += int(np.count_nonzero(np.abs(flat) >= _FULL_SCALE))
        self._peak = max(self._peak, peak)
        self._n_values += block.size
        self._n_samples += len(mixed)
        self._total += float(mixed.sum())
        self._power += float(np.dot(mixed, mixed))

    def warnings(self) -> list[str]:
        """Return a line for each oddity: what it is, then a colon or a bracket and the details."""
        if self._n_samples and self._peak == 0.0:
            return ["digital silence: every sample is zero"]
        found = []
        mean, power = np.array([self._total, self._power]) / max(self._n_samples, 1)
        if abs(mean) > 0.01 and mean**2 > power - mean**2:
            found.append(f"constant offset (DC) of {mean:+.2f} of full scale, larger than the sound on it")
        if self._peak > _HEADROOM:
            found.append(f"not in [-1, 1]: samples up to {self._peak:.3g}; is the scale of its floats right?")
        elif self._n_clipped > _CLIPPED_SHARE * self._n_values:
            found.append(f"clipped: {100 * self._n_clipped / self._n_values:.1f} % of the samples are at full scale")
        elif 0 < self._peak < _FAINT:
            found.append(f"almost silent: no sample above {self._peak:.1e} of full scale")
        return found


def warning_kind(warning: str) -> str:
    """Return what a warning has in common with those of other recordings: its text up to the details."""
    return re.split(r" ?[:;(]", warning, maxsplit=1)[0]
