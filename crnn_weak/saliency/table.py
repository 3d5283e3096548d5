"""The table of localization: how much of each output's saliency is inside the true events, for every run of a grid.

Two baselines come first: the *loudness* of the clip itself (mel-band amplitudes, no network), and *untrained* networks
of the same shape. A map that does no better than loudness points at whatever is loud.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from crnn_weak.errors import ModelFileError
from crnn_weak.files import csv_text, escape_markdown, markdown_table
from crnn_weak.runs.folders import Run
from crnn_weak.runs.table import Setting
from crnn_weak.saliency.localization import Localization, Summary, event_pairs, measure, measure_loudness, summarize
from crnn_weak.saliency.maps import Explainer, Target, find_method, require_tensorflow

if TYPE_CHECKING:
    import keras

    from crnn_weak.features.store import FeatureStore

_N_UNTRAINED = 3


class Row(NamedTuple):
    """One line of the table: the mean over `seeds` of each pair.

    `source` is ``network``, or a baseline without `setting`: ``untrained``, ``loudness``.
    """

    source: str
    setting: Setting | None
    seeds: tuple[int, ...]
    output: str
    method: str
    summary: Summary


def rows_of_runs(
    runs: Sequence[Run], store: FeatureStore, targets: Sequence[Target], methods: Sequence[str], *, progress: bool
) -> list[Row]:
    """Measure every run with every method and target on the test split's store, and the baselines.

    `targets` are one of each output; their class is replaced by that of each pair. The baselines come first.
    """

    def networks() -> Iterator[tuple[Setting | None, int, Explainer]]:
        for seed in range(_N_UNTRAINED):
            yield None, seed, open_explainer(runs[0], store, untrained_seed=seed)
        for run in runs:
            yield run.setting, run.seed, open_explainer(run, store)

    pairs = event_pairs(store)
    found: dict[tuple[Setting | None, str, str], dict[int, Localization]] = {}
    with tqdm(total=(len(runs) + _N_UNTRAINED) * len(methods), unit="map set", disable=not progress) as bar:
        for setting, seed, explainer in networks():
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
    lines = []
    for row in rows:
        weights = ["", ""] if row.setting is None else [f"{weight:g}" for weight in row.setting]
        values = [f"{value:.6g}" for value in row.summary.values()]
        lines.append([row.source, *weights, " ".join(map(str, row.seeds)), row.output, row.method, *values])
    names = ["source", "strong_weight", "weak_weight", "seeds", "output", "method", *rows[0].summary]
    return csv_text(names, lines)


_NOTES = """- share inside: of the absolute map, summed over mel bands
- chance: the share of frames that the event covers, in both measures
- pointing game: how often the map's largest absolute value is inside the event
- gain: above chance, with a 95 % interval by bootstrap over clips (1,000 draws)
- loudness: the clip's mel-band amplitudes instead of a map; untrained: mean over three networks with random weights
"""


def to_markdown(rows: Sequence[Row], runs: Sequence[Run], store: FeatureStore, target: Target) -> str:
    """Return the table in percent as Markdown, with its caption and notes; `target` is one of the strong output."""
    header = ["strong", "weak", "output", "map", "share inside", "chance", "gain (95 %)", "ratio", "pointing game",
              "gain (95 %)", "pairs"]  # fmt: skip

    def gain(found: Summary, name: str) -> str:
        value, low, high = (100 * found[f"{name}_gain{end}"] for end in ("", "_low", "_high"))
        return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"

    lines = []
    for row in rows:
        found = row.summary
        weights = ["", ""] if row.setting is None else [f"{weight:g}" for weight in row.setting]
        names = {"network": row.output, "untrained": f"{row.output} (untrained)", "loudness": "loudness"}
        shares = [f"{100 * found['share']:.1f}", f"{100 * found['coverage']:.1f}", gain(found, "share")]
        game = [f"{found['share_ratio']:.2f}", f"{100 * found['hit']:.1f}", gain(found, "hit"), f"{found['n_pairs']}"]
        lines.append([*weights, names[row.source], row.method or "-", *shares, *game])
    config, first = runs[0].config, rows[0].summary
    seeds = sorted({run.seed for run in runs})
    caption = (
        f"Saliency inside the true events. {runs[0].data.get('provenance') or config.data.source}; test split, "
        f"{len(store):,} of {store.n_listed:,} clips; {first['n_pairs']} (clip, class) pairs of {first['n_clips']} "
        f"clips; preset {config.preset}, head {config.model.weak_head}, "
        f"{'seed' if len(seeds) == 1 else 'mean over seeds'} {', '.join(map(str, seeds))}. Percent."
    )
    n_zero = sum(row.summary["n_zero"] for row in rows)
    notes = _NOTES + (
        f"- skipped: {first['n_skipped']} pairs whose event covers the whole clip; maps that are zero everywhere: "
        f"{n_zero} over all rows\n"
        f"- scalar: {target.scale} of the true class; strong: {target.reduction} over all frames\n"
    )
    for name in dict.fromkeys(row.method for row in rows if row.method):
        notes += f"- {name}: {find_method(name).caption()}\n"
    return f"{escape_markdown(caption)}\n\n{markdown_table(header, lines, 'rrllr')}\n{notes}"
