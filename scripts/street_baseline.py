"""How hard the street scenes are, by the measure that fixed their levels: pooled log mel and logistic regression.

``python scripts/street_baseline.py`` makes the clips in memory and computes the features of preset ``quick``. It pools
each band over time (mean, maximum, deviation, mean absolute step) and fits one logistic regression per class. It prints
micro precision, recall and F of the tags of held-out clips. ``--snr LOW HIGH`` puts the events at other levels.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crnn_weak.config import preset
from crnn_weak.features.log_mel import log_mel
from crnn_weak.labels.events import DCASE2017_TASK4, tag_array
from crnn_weak.parallel import default_jobs
from crnn_weak.synthesis.scene import SNR_DB, draw_scene, render

_SEED = 2017


def pooled_features(split: str, index: int, snr_db: Sequence[float]) -> tuple[np.ndarray, set[str]]:
    """Return the pooled log mel of a clip, (4 * n_mels,), and its tags."""
    config = preset("quick").features
    scene = draw_scene(_SEED, split, index)
    levels = {label: float(np.interp(level, SNR_DB, snr_db)) for label, level in scene.snr_db.items()}
    x = log_mel(render(dataclasses.replace(scene, snr_db=levels), config.sample_rate_hz), config)
    steps = np.abs(np.diff(x, axis=0)).mean(axis=0)
    return np.concatenate([x.mean(axis=0), x.max(axis=0), x.std(axis=0), steps]), {e.label for e in scene.events}


def split_features(split: str, n_clips: int, snr_db: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pooled log mel of clips, float32 (n_clips, 4 * n_mels), and their tags, bool (n_clips, n_classes)."""
    clips = Parallel(n_jobs=default_jobs())(delayed(pooled_features)(split, index, snr_db) for index in range(n_clips))
    rows, tags = zip(*clips, strict=True)
    return np.array(rows, dtype=np.float32), tag_array(tags, DCASE2017_TASK4)


def main() -> None:
    """Print the baseline's figures."""
    parser = argparse.ArgumentParser(
        description="Tagging by pooled log mel and logistic regression: how hard the street scenes are.",
        epilog="example: python scripts/street_baseline.py --snr -9 9",
    )
    parser.add_argument("--snr", type=float, nargs=2, default=SNR_DB, metavar=("LOW", "HIGH"), help="decibels")
    parser.add_argument("--train", type=int, default=1_500, help="training clips (default: %(default)s)")
    parser.add_argument("--test", type=int, default=400, help="test clips (default: %(default)s)")
    args = parser.parse_args()
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.05, max_iter=500)))
    model.fit(*split_features("train", args.train, args.snr))
    features, tags = split_features("test", args.test, args.snr)
    precision, recall, f_score, _ = precision_recall_fscore_support(tags, model.predict(features), average="micro")
    low, high = args.snr
    print(
        f"events {low:g} to {high:g} dB, {args.train} + {args.test} clips: "
        f"tagging P {100 * precision:.1f} R {100 * recall:.1f} F {100 * f_score:.1f}"
    )


if __name__ == "__main__":
    main()
