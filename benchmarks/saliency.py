"""Saliency of all classes of many clips: one map at a time, and in batches of maps.

python benchmarks/saliency.py [--preset paper]

The naive loop is the tutorial's: for each clip and class a forward pass under ``tf.GradientTape`` and its gradient. It
takes only the first clips, since maps a second do not depend on their number.
"""

from __future__ import annotations

import time

import numpy as np
from common import alternate, parse, report

import crnn_weak.model  # noqa: F401  (prepares the environment before TensorFlow is imported)

# isort: split
import tensorflow as tf

from crnn_weak.config import preset
from crnn_weak.model.crnn import build_model
from crnn_weak.saliency.maps import Explainer, Target


def main() -> None:
    args = parse(__doc__, {"preset": "quick", "clips": 16, "rounds": 3, "batch-size": 64})
    config = preset(args.preset)
    model = build_model(config)
    n_classes, n_frames, n_mels = 17, config.features.n_frames, config.features.n_mels
    clips = np.random.default_rng(0).standard_normal((args.clips, n_frames, n_mels)).astype(np.float32)
    classes = [str(index) for index in range(n_classes)]
    explainer = Explainer(model, classes=classes, batch_size=args.batch_size)
    targets = [Target("strong", label) for label in classes]
    n_naive = min(2, args.clips)

    def naive() -> np.ndarray:
        maps = []
        for clip in clips[:n_naive]:
            for index in range(n_classes):
                x = tf.constant(clip[None])
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    value = tf.reduce_mean(model(x, training=False)["strong"][:, :, index])
                maps.append(tape.gradient(value, x)[0].numpy())
        return np.reshape(maps, (n_naive, n_classes, n_frames, n_mels))

    def batches() -> np.ndarray:
        maps = explainer.explain(np.repeat(clips, n_classes, axis=0), targets * args.clips).maps
        return maps.reshape(args.clips, n_classes, n_frames, n_mels)

    rivals = {
        "naive loop": naive,
        "batches of maps": batches,
    }
    first, results = {}, {}
    for name, call in rivals.items():
        start = time.perf_counter()
        results[name] = call()
        first[name] = round(time.perf_counter() - start, 2)
    reference = results["naive loop"]
    scale = float(np.abs(reference).max())
    difference = max(float(np.abs(maps[:n_naive] - reference).max()) for maps in results.values()) / scale
    timings = alternate(rivals, rounds=args.rounds, warm_up=0)
    n_maps = args.clips * n_classes
    report(
        "saliency",
        timings,
        n_items={name: n_naive * n_classes if name == "naive loop" else n_maps for name in rivals},
        unit="maps",
        ours="batches of maps",
        packages=["tensorflow", "tensorflow-cpu", "keras"],
        preset=args.preset,
        n_clips=args.clips,
        n_classes=n_classes,
        batch_size=args.batch_size,
        relative_difference=float(f"{difference:.1e}"),
        first_call_seconds=str(first),
    )


if __name__ == "__main__":
    main()
