"""How hard the street scenes are, by the measure that fixed their levels: pooled log mel and logistic regression.

``python scripts/street_baseline.py`` makes the clips in memory and computes the features of preset ``quick``. It pools
each band over time (mean, maximum, deviation, mean absolute step) and fits one logistic regression per class. It prints
micro precision, recall and F of the tags of held-out clips. ``--snr LOW HIGH`` puts the events at other levels.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from crnn_weak.config import preset
from crnn_weak.features.log_mel import log_mel
from crnn_weak.labels.events import DCASE2017_TASK4, tag_array
from crnn_weak.parallel import default_jobs
from crnn_weak.synthesis.scene import SNR_DB, draw_scene, render

_BATCH = 25


def pooled_features(
    seed: int, split: str, indices: Sequence[int], snr_db: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pooled log mel of clips, float32 (n_clips, 4 * n_mels), and their tags, bool (n_clips, n_classes)."""
    config = preset("quick").features
    low, high = SNR_DB
    rows, tags = [], []
    for index in indices:
        scene = draw_scene(seed, split, index)
        levels = {
            label: snr_db[0] + (level - low) / (high - low) * (snr_db[1] - snr_db[0])
            for label, level in scene.snr_db.items()
        }
        x = log_mel(render(dataclasses.replace(scene, snr_db=levels), config.sample_rate_hz), config)
        steps = np.abs(np.diff(x, axis=0)).mean(axis=0)
        rows.append(np.concatenate([x.mean(axis=0), x.max(axis=0), x.std(axis=0), steps]))
        tags.append({event.label for event in scene.events})
    return np.array(rows, dtype=np.float32), tag_array(tags, DCASE2017_TASK4)


def baseline(
    n_train: int, n_test: int, *, seed: int, snr_db: tuple[float, float] = SNR_DB, jobs: int = 1
) -> tuple[float, float, float]:
    """Return micro precision, recall and F of the tags at threshold 0.5, as fractions."""
    from joblib import Parallel, delayed
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    data = {}
    for split, n_clips in (("train", n_train), ("test", n_test)):
        batches = [range(start, min(start + _BATCH, n_clips)) for start in range(0, n_clips, _BATCH)]
        made = Parallel(n_jobs=jobs)(delayed(pooled_features)(seed, split, batch, snr_db) for batch in batches)
        data[split] = tuple(np.concatenate(part) for part in zip(*made, strict=True))
    (x_train, y_train), (x_test, y_test) = data["train"], data["test"]
    scaler = StandardScaler().fit(x_train)
    decided = np.zeros_like(y_test)
    for column in range(y_test.shape[1]):
        if len(np.unique(y_train[:, column])) == 2:
            model = LogisticRegression(C=0.05, max_iter=500).fit(scaler.transform(x_train), y_train[:, column])
            decided[:, column] = model.predict(scaler.transform(x_test))
    n_correct, n_decided, n_true = int((decided & y_test).sum()), int(decided.sum()), int(y_test.sum())
    return n_correct / max(n_decided, 1), n_correct / n_true, 2 * n_correct / (n_decided + n_true)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the baseline's figures and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python scripts/street_baseline.py",
        description="Tagging by pooled log mel and logistic regression: how hard the street scenes are.",
        epilog="example: python scripts/street_baseline.py --snr -9 9",
    )
    parser.add_argument("--snr", type=float, nargs=2, default=SNR_DB, metavar=("LOW", "HIGH"), help="decibels")
    parser.add_argument("--train", type=int, default=1_500, help="training clips (default: %(default)s)")
    parser.add_argument("--test", type=int, default=400, help="test clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2017)
    parser.add_argument("--jobs", type=int, default=default_jobs())
    args = parser.parse_args(argv)
    low, high = args.snr
    precision, recall, f_score = baseline(args.train, args.test, seed=args.seed, snr_db=(low, high), jobs=args.jobs)
    print(
        f"events {low:g} to {high:g} dB, {args.train} + {args.test} clips: "
        f"tagging P {100 * precision:.1f} R {100 * recall:.1f} F {100 * f_score:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
