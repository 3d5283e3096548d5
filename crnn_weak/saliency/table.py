"""The table of localization: how much of each output's saliency is inside the true events, for every run of a grid.

Two baselines come first: the *loudness* of the clip itself (mel-band amplitudes, no network), and *untrained* networks
of the same shape. A map that does no better than loudness points at whatever is loud.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from crnn_weak.errors import ModelFileError
from crnn_weak.files import csv_text, escape_markdown, markdown_table
from crnn_weak.runs.folders import Run
from crnn_weak.runs.table import Setting
from crnn_weak.saliency.localization import (
    Localization,
    LocalizationSummary,
    event_pairs,
    measure,
    measure_loudness,
    summarize,
)
from crnn_weak.saliency.maps import Explainer, Target, find_method, require_tensorflow

if TYPE_CHECKING:
    import keras

    from crnn_weak.features.store import FeatureStore

_N_UNTRAINED = 3


@dataclass(frozen=True)
class Row:
    """One line of the table: the mean over `seeds` of each pair.

    `source` is ``network``, or a baseline without `setting`: ``untrained``, ``loudness``.
    """

    source: str
    setting: Setting | None
    seeds: tuple[int, ...]
    output: str
    method: str
    summary: LocalizationSummary


def rows_of_runs(
    runs: Sequence[Run],
    store: FeatureStore,
    targets: Sequence[Target],
    methods: Sequence[str],
    *,
    progress: bool = False,
) -> list[Row]:
    """Measure every run with every method and target on the test split's store, and the baselines.

    `targets` are one of each output; their class is replaced by that of each pair. The baselines come first.
    """
    pairs = event_pairs(store)
    found: dict[tuple[Setting | None, str, str], dict[int, Localization]] = {}
    with tqdm(total=(len(runs) + _N_UNTRAINED) * len(methods), unit="map set", disable=not progress) as bar:
        for setting, seed, explainer in _networks(runs, store):
            for method in methods:
                for target in targets:
                    one = measure(explainer, store, pairs, target, method)
                    found.setdefault((setting, target.output, method), {})[seed] = one
                bar.update()
    rows = [Row("loudness", None, (), "", "", summarize(measure_loudness(store, pairs), pairs.clip_ids))]
    for (setting, output, method), by_seed in found.items():
        mean = summarize(_mean_over_seeds(list(by_seed.values())), pairs.clip_ids)
        source, seeds = ("untrained", ()) if setting is None else ("network", tuple(by_seed))
        rows.append(Row(source, setting, seeds, output, method, mean))
    return rows


def _networks(runs: Sequence[Run], store: FeatureStore) -> Iterator[tuple[Setting | None, int, Explainer]]:
    for seed in range(_N_UNTRAINED):
        yield None, seed, open_explainer(runs[0], store, untrained_seed=seed)
    for run in runs:
        yield run.setting, run.seed, open_explainer(run, store)


def _mean_over_seeds(several: Sequence[Localization]) -> Localization:
    """Average pair by pair; a pair whose map vanishes with one seed is skipped with all."""
    share, hit = (np.mean([getattr(one, name) for one in several], axis=0) for name in ("share", "hit"))
    return Localization(share, hit, several[0].coverage)


def open_explainer(run: Run, store: FeatureStore, *, untrained_seed: int | None = None) -> Explainer:
    """Return the explainer of a run's model, or of the same network with random weights.

    Refuses a store with other classes or features than the model's.
    """
    require_tensorflow()  # before a model is built
    from crnn_weak.model.archive import load_model

    model, metadata = load_model(run.model_path)
    if metadata.classes != tuple(store.classes):
        raise ModelFileError(
            f"{run.model_path}: scores {len(metadata.classes)} classes, but {store.path} has other ones "
            f"({len(store.classes)}). Use the store of the run's own data."
        )
    if metadata.config.features != store.features:
        raise ModelFileError(
            f"{run.model_path}: made for clips of {metadata.config.features.n_frames} frames and "
            f"{metadata.config.features.n_mels} mel bands, but {store.path} holds others ({store.features.n_frames} "
            f"and {store.features.n_mels}). Rebuild the store with the run's configuration."
        )
    if untrained_seed is not None:
        model = _untrained(run, len(store.classes), untrained_seed)
    return Explainer(
        model,
        classes=metadata.classes,
        hop_seconds=store.features.hop_seconds,
        standardize=metadata.scaler.transform,
        batch_size=64,
    )


def _untrained(run: Run, n_classes: int, seed: int) -> keras.Model:
    """Return the run's network with random weights: Keras' own scale, drawn without touching the global state."""
    from crnn_weak.model.crnn import build_model

    model = build_model(run.config, n_classes=n_classes)
    rng = np.random.default_rng(seed)
    weights = []
    for weight in model.get_weights():
        if weight.ndim > 1 and weight.any():  # biases are zero, and batch normalization's vectors stay as they are
            receptive = np.prod(weight.shape[:-2])
            limit = np.sqrt(6 / (receptive * sum(weight.shape[-2:])))  # Glorot, Bengio, AISTATS 2010
            weight = rng.uniform(-limit, limit, weight.shape).astype(weight.dtype)
        weights.append(weight)
    model.set_weights(weights)
    return model


def to_csv(rows: Sequence[Row]) -> str:
    """Return the table as CSV, one line for each row, shares as fractions."""
    names = [field.name for field in dataclasses.fields(LocalizationSummary)]
    lines = []
    for row in rows:
        weights = ["", ""] if row.setting is None else [f"{weight:g}" for weight in row.setting]
        values = [f"{v:.6g}" if isinstance(v, float) else v for v in dataclasses.astuple(row.summary)]
        lines.append([row.source, *weights, " ".join(map(str, row.seeds)), row.output, row.method, *values])
    return csv_text(["source", "strong_weight", "weak_weight", "seeds", "output", "method", *names], lines)


def caption(rows: Sequence[Row], runs: Sequence[Run], store: FeatureStore) -> str:
    """Return the caption of the table: data, pairs, preset, seeds."""
    first, summary = runs[0], rows[0].summary
    provenance = str(first.data.get("provenance") or first.config.data.source)
    seeds = sorted({run.seed for run in runs})
    return (
        f"Saliency inside the true events. {provenance}; test split, {len(store):,} of {store.n_listed:,} clips; "
        f"{summary.n_pairs} (clip, class) pairs of {summary.n_clips} clips; preset {first.config.preset}, "
        f"head {first.config.model.weak_head}, {'seed' if len(seeds) == 1 else 'mean over seeds'} "
        f"{', '.join(map(str, seeds))}. Percent."
    )


def notes(rows: Sequence[Row], target: Target, methods: Sequence[str]) -> dict[str, str]:
    """Return the notes under the table: term -> explanation. `target` is one of the strong output."""
    n_zero = sum(row.summary.n_zero for row in rows)
    explained = {
        "share inside": "of the absolute map, summed over mel bands; chance is the share of frames that the event "
        "covers, in both measures",
        "pointing game": "how often the map's largest absolute value is inside the event",
        "gain": "above chance, with a 95 % interval by bootstrap over clips (1,000 draws)",
        "skipped": f"{rows[0].summary.n_skipped} pairs whose event covers the whole clip; maps that are zero "
        f"everywhere: {n_zero} over all rows",
        "loudness": "the clip's mel-band amplitudes instead of a map; untrained: mean over three networks with random "
        "weights",
        "scalar": f"{target.scale} of the true class; strong: {target.reduction} over all frames",
    }
    return explained | {name: find_method(name).caption() for name in methods}


def to_markdown(rows: Sequence[Row], caption: str, notes: Mapping[str, str]) -> str:
    """Return the table as Markdown, in percent."""
    header = ["strong", "weak", "output", "map", "share inside", "chance", "gain (95 %)", "ratio", "pointing game",
              "gain (95 %)", "pairs"]  # fmt: skip
    lines = []
    for row in rows:
        summary = row.summary
        weights = ["", ""] if row.setting is None else [f"{weight:g}" for weight in row.setting]
        names = {"network": row.output, "untrained": f"{row.output} (untrained)", "loudness": "loudness"}
        shares = [f"{100 * summary.share:.1f}", f"{100 * summary.coverage:.1f}"]
        share_gain = _gain(summary.share_gain, summary.share_gain_low, summary.share_gain_high)
        hit_gain = _gain(summary.hit_gain, summary.hit_gain_low, summary.hit_gain_high)
        game = [f"{summary.share_ratio:.2f}", f"{100 * summary.hit:.1f}", hit_gain, f"{summary.n_pairs}"]
        lines.append([*weights, names[row.source], row.method or "-", *shares, share_gain, *game])
    explained = "\n".join(f"- {name}: {text}" for name, text in notes.items())
    return f"{escape_markdown(caption)}\n\n{markdown_table(header, lines, 'rrllr')}\n{explained}\n"


def _gain(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
