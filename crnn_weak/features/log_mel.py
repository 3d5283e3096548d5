"""Log mel-band energies of audio, by librosa's filters; their standardization.

Frame ``k`` is samples ``[k, k + 1) * n_hop``; its window is centered on it, and sees zeros beyond the audio's ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from crnn_weak.audio.files import AudioBlocks
from crnn_weak.audio.samples import checked_array, mono, scaled
from crnn_weak.config import FeatureConfig
from crnn_weak.environment import prepare_caches
from crnn_weak.errors import DataError
from crnn_weak.features.store import FeatureStore

_BLOCK_SAMPLES = 2**17  # in one FFT call: the block stays in the cache
_BANDS = 5  # in one matrix product: few DFT bins, a fifth of the arithmetic of a product over all
_STD_FLOOR = 1e-3  # bands that deviate less are constant in float32: centered, not scaled; sound deviates by 1 to 3
_BLOCK_ROWS = 64  # of a store in one read of the scaler; 5 MB of the paper's clips


class LogMelExtractor:
    """Computes log mel-band energies: of the *magnitude* of a periodic Hamming window's DFT, in Slaney's bands."""

    # Single precision takes half the time, and differs from double by less than 1e-4.
    def __init__(self, config: FeatureConfig, *, dtype: type[np.floating] = np.float32) -> None:
        prepare_caches()
        import librosa.filters  # these two take a second
        from scipy.signal import get_window

        self.config = config
        self.window: np.ndarray = get_window("hamming", config.n_window).astype(dtype)  # periodic
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Empty filters")  # a band narrower than a bin is the floor, see below
            # In double precision: librosa's own single precision differs in the last bit.
            filters = librosa.filters.mel(
                sr=config.sample_rate_hz, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin_hz,
                fmax=config.fmax_hz, dtype=np.float64,
            )  # fmt: skip
        self.basis: np.ndarray = filters.astype(np.float32)  # (n_mels, n_fft // 2 + 1)
        self._groups = []  # (bands, bins, filters of those bands over those bins, transposed)
        for first in range(0, config.n_mels, _BANDS):
            bands = slice(first, min(first + _BANDS, config.n_mels))
            used = np.flatnonzero(self.basis[bands].any(axis=0))
            # A band narrower than one bin is empty; its energy is zero and its log the floor.
            bins = slice(used[0], used[-1] + 1) if used.size else slice(0, 1)
            self._groups.append((bands, bins, np.ascontiguousarray(self.basis[bands, bins].T)))

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Return the log mel-band energies ``(n_frames, n_mels)`` of audio ``(n_samples,)``; see `log_mel`."""
        config = self.config
        audio = np.asarray(audio, dtype=np.float32)
        if audio.ndim != 1:
            raise DataError(f"audio: expected shape (n_samples,), received {audio.shape}; mix its channels first.")
        n_frames = round(audio.size / config.n_hop)
        if n_frames < 1:
            raise DataError(
                f"audio: {audio.size} samples are less than half a frame; expected at least {config.n_hop // 2 + 1}."
            )
        energies = np.empty((n_frames, config.n_mels), dtype=np.float32)
        hop, size = config.n_hop, config.n_window
        lead = -((hop - size) // 2)  # frame k's window begins at k * hop - lead; below 0 for a window within its hop
        n_after = max((n_frames - 1) * hop + size - lead - audio.size, 0)
        padded = np.pad(audio, (max(lead, 0), n_after))[max(-lead, 0) :]
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]  # (n_frames, n_window), a view
        # Samples after the window stay zero.
        n_block = min(max(1, _BLOCK_SAMPLES // config.n_fft), n_frames)
        windowed = np.zeros((n_block, config.n_fft), dtype=self.window.dtype)
        for first in range(0, n_frames, n_block):
            last = min(first + n_block, n_frames)
            block = windowed[: last - first]
            # einsum multiplies rows by the window in half the time of np.multiply here.
            np.einsum("fn,n->fn", frames[first:last], self.window, out=block[:, :size])
            magnitude = np.abs(scipy.fft.rfft(block)).astype(np.float32, copy=False)  # (frames, bins)
            for bands, bins, filters in self._groups:
                np.matmul(magnitude[:, bins], filters, out=energies[first:last, bands])
        energies += np.float32(config.log_floor)
        return np.log(energies, out=energies)


extractor = lru_cache(maxsize=8)(LogMelExtractor)


def log_mel(audio: Any, config: FeatureConfig | None = None) -> np.ndarray:
    """Return the log mel-band energies of audio of any length.

    Parameters
    ----------
    audio : array_like of float, int16 or uint8, shape (n_samples,), (n_samples, n_channels) or (n_channels, n_samples)
        Floats in [-1, 1], integers by their full scale; at ``config.sample_rate_hz``. Channels are averaged. Or the
        path of a recording, or (array, sample_rate_hz), at any rate.
    config : FeatureConfig, optional
        The paper's, by default.

    Returns
    -------
    np.ndarray of float32, shape (n_frames, n_mels)
        ``n_frames = round(n_samples / n_hop)``; natural logarithm, at least ``log(log_floor)``.

    Raises
    ------
    DataError
        The audio is not an array of samples, its scale is unclear, or it is shorter than half a frame.

    Examples
    --------
    >>> log_mel(np.zeros(441_000, np.float32)).shape
    (500, 40)
    """
    config = config or FeatureConfig()
    if isinstance(audio, str | Path | tuple):
        audio = np.concatenate([np.zeros(0, np.float32), *AudioBlocks(audio, config.sample_rate_hz)])
        return extractor(config)(audio)
    return extractor(config)(mono(scaled(checked_array(audio, "audio"))))


@dataclass(frozen=True, eq=False)
class Scaler:
    """Per-band standardization by scikit-learn's moments over the recorded frames, not padding, of training clips."""

    mean: np.ndarray  # float32, (n_mels,), finite
    std: np.ndarray  # the same, and above 0

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        is_valid = self.mean.ndim == 1 and self.mean.shape == self.std.shape
        if not (is_valid and np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise DataError("scaler: expected finite means, deviations above 0, both of shape (n_mels,); fit it again.")

    @classmethod
    def identity(cls, n_mels: int) -> Scaler:
        """Return the one that changes nothing."""
        return cls(np.zeros(n_mels), np.ones(n_mels))

    @classmethod
    def fit(cls, store: FeatureStore, rows: Sequence[int] | np.ndarray | None = None) -> Scaler:
        """Fit on some rows of a feature store, by default all, reading a block at a time."""
        from sklearn.preprocessing import StandardScaler  # takes a second, and only the fit needs it

        # Sorted: the result does not depend on the order of the rows.
        chosen = np.sort(np.arange(len(store)) if rows is None else np.asarray(rows, dtype=np.int64))
        n_valid, frame = store.n_valid_frames[chosen], np.arange(store.features.n_frames)
        moments = StandardScaler()
        for first in range(0, chosen.size, _BLOCK_ROWS):
            block = slice(first, first + _BLOCK_ROWS)
            frames = store.read(chosen[block])[frame < n_valid[block, None]]
            if len(frames):
                moments.partial_fit(frames.astype(np.float64))
        if not hasattr(moments, "mean_"):
            raise DataError("scaler: no recorded frame to fit on; check the number and the durations of the clips.")
        std = np.sqrt(moments.var_)
        return cls(moments.mean_.astype(np.float32), np.where(std < _STD_FLOOR, 1.0, std).astype(np.float32))

    def transform(self, log_mel: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return ``(log_mel - mean) / std`` as float32 ``(..., n_mels)``; `out` may be `log_mel` itself."""
        scaled = np.subtract(log_mel, self.mean, out=out, dtype=np.float32)
        scaled /= self.std
        return scaled
