"""Standardization of log mel bands: scikit-learn's moments over batches, kept as plain arrays.

Mean and standard deviation are per band, over the recorded frames of the *training* clips. Padded frames do not enter
the statistics, which therefore fit recordings of any length; they are transformed like all others and become one
constant, finite, low value per band. Silence inside a recording counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.features.store import FeatureStore
from crnn_weak.labels.rolls import frame_edges

# Bands with a smaller deviation, constant in float32, are centered and not scaled. Sound deviates by 1 to 3.
_STD_FLOOR = 1e-3
# Rows per read: 64 clips of the paper's size are 5 MB.
_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Scaler:
    """Per-band standardization of log mel-band energies."""

    mean: np.ndarray  # float32, (n_mels,), finite
    std: np.ndarray  # the same, and above 0

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            raise DataError(
                f"scaler: expected mean and std of shape (n_mels,), received {self.mean.shape} and {self.std.shape}."
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise DataError("scaler: expected finite means and finite deviations above 0; fit it again.")

    @classmethod
    def fit(cls, store: FeatureStore, rows: Sequence[int] | np.ndarray | None = None) -> Scaler:
        """Fit on some rows of a feature store, by default all, reading a block at a time."""
        # Sorted: the file is read front to back, and the result does not depend on the order of the rows.
        chosen = np.sort(np.arange(len(store)) if rows is None else np.asarray(rows, dtype=np.int64))
        features = store.features
        n_valid_frames = np.array(
            [frame_edges(0.0, float(seconds), features.hop_seconds)[1] for seconds in store.durations[chosen]]
        )
        from sklearn.preprocessing import StandardScaler  # takes a second, and only the fit needs it

        moments = StandardScaler()
        frame = np.arange(features.n_frames)
        for first in range(0, chosen.size, _BLOCK):
            block = slice(first, first + _BLOCK)
            frames = store.read(chosen[block])[frame < n_valid_frames[block, None]]
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
