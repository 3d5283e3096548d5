"""Localization: how much of a saliency map is inside the true event, and the table of it for every run of a grid.

The *pointing game* (Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016) asks whether a map's
largest value is inside. The baselines are the *loudness* of the clip itself (no network) and *untrained* networks.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from crnn_weak.detection.scores import check_fits
from crnn_weak.errors import ClipError, DataError
from crnn_weak.files import csv_text, escape_markdown, markdown_table, write_text
from crnn_weak.labels.rolls import event_roll
from crnn_weak.metrics.summary import interval, resampled_sums
from crnn_weak.runs.folders import Run
from crnn_weak.runs.table import Setting
from crnn_weak.saliency.maps import Explainer, Target, find_method

if TYPE_CHECKING:
    import keras

    from crnn_weak.features.store import FeatureStore

# Maps at a time: 256 of the paper's clips are 20 MB.
_BLOCK = 256
_N_UNTRAINED = 3


class Localization(NamedTuple):
    """The measures of each map, shape (n_maps,): NaN where it is zero everywhere; `coverage` is what chance gives."""

    share: np.ndarray
    hit: np.ndarray
    coverage: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """The maps that can be judged: not zero, and of a class that sounds in some frames but not in all."""
        return np.isfinite(self.share) & (self.coverage > 0) & (self.coverage < 1)


def localize(maps: np.ndarray, inside: np.ndarray) -> Localization:
    """Measure how much of each map, (n_maps, n_frames, n_mels), is where `inside`, (n_maps, n_frames), is True."""
    if not np.isfinite(maps).all():
        raise DataError("localization: a saliency map holds NaN or inf; the model's weights may have diverged.")
    energy = np.abs(maps).sum(axis=2, dtype=np.float64)  # (n_maps, n_frames)
    total = energy.sum(axis=1)
    zero = total == 0
    share = np.where(zero, np.nan, (energy * inside).sum(axis=1) / np.where(zero, 1.0, total))
    peak = np.abs(maps).max(axis=2).argmax(axis=1)
    hit = np.where(zero, np.nan, inside[np.arange(len(maps)), peak].astype(float))
    return Localization(share, hit, inside.mean(axis=1))


_MEANS = (
    "coverage", "share", "share_gain", "share_gain_low", "share_gain_high", "share_ratio",
    "hit", "hit_gain", "hit_gain_low", "hit_gain_high",
)  # fmt: skip


def summarize(found: Localization, clip_ids: Sequence[str]) -> dict[str, float]:
    """Average over the usable maps, with 95 % intervals by bootstrap over clips; gains are above the mean coverage."""
    usable = found.usable
    partial = (found.coverage > 0) & (found.coverage < 1)
    names, clip = np.unique(np.asarray(clip_ids, dtype=str)[usable], return_inverse=True)
    numbers: dict[str, float] = {
        "n_pairs": int(usable.sum()),
        "n_clips": len(names),
        "n_skipped": int((~partial).sum()),  # of an event that covers the whole clip or no frame
        "n_zero": int((partial & ~usable).sum()),  # the map is 0 everywhere
    }
    if not usable.any():
        return numbers | dict.fromkeys(_MEANS, float("nan"))
    measures = np.stack([found.coverage[usable], found.share[usable], found.hit[usable]], axis=1)
    # Clips are drawn again, not pairs: two classes of one clip are not independent.
    sums = np.zeros((len(names), 4))  # of the measures and of the pairs of each clip
    np.add.at(sums, clip, np.column_stack([measures, np.ones(len(clip))]))
    totals = resampled_sums(sums, n_resamples=1000, rng=np.random.default_rng(0))
    means = totals[:, :3] / totals[:, 3:]
    share_gain, hit_gain = (interval(means[:, column] - means[:, 0]) for column in (1, 2))
    coverage, share, hit = map(float, measures.mean(axis=0))
    values = (
        coverage, share, share - coverage, share_gain.low, share_gain.high, share / coverage,
        hit, hit - coverage, hit_gain.low, hit_gain.high,
    )  # fmt: skip
    return numbers | dict(zip(_MEANS, values, strict=True))


def examples(found: Localization, eligible: np.ndarray) -> dict[int, str]:
    """Return the best, the median and the worst map, by share above coverage: row -> why it is shown."""
    rows = np.flatnonzero(found.usable & eligible)
    if not len(rows):
        raise ClipError("no clip of the test split has an event of these classes that covers a part of it.")
    ranked = rows[np.argsort(-(found.share - found.coverage)[rows], kind="stable")]
    shown: dict[int, str] = {}
    for word, place in (("best", 0), ("median", len(ranked) // 2), ("worst", len(ranked) - 1)):
        row = int(ranked[place])
        why = (
            f"the {word} of {len(ranked)} pairs: {found.share[row]:.0%} of the strong map inside the event, "
            f"which covers {found.coverage[row]:.0%} of the clip"
        )
        shown.setdefault(row, why)
    return shown


class Pairs(NamedTuple):
    """The (clip, class) pairs with true events: rows of the store, and where the class sounds, (n_pairs, n_frames)."""

    rows: np.ndarray
    clip_ids: tuple[str, ...]
    labels: tuple[str, ...]
    inside: np.ndarray


def event_pairs(store: FeatureStore) -> Pairs:
    """Return the pairs of a store's clips and the classes that sound in them."""
    rows, labels, inside = [], [], []
    hop, n_frames = store.features.hop_seconds, store.features.n_frames
    for row, clip_id in enumerate(store.clip_ids):
        roll = event_roll(store.events.get(clip_id, ()), store.classes, hop_seconds=hop, n_frames=n_frames)
        for column in np.flatnonzero(roll.any(axis=0)):
            rows.append(row)
            labels.append(store.classes[column])
            inside.append(roll[:, column])
    if not (rows and store.has_events):
        raise DataError(
            f"{store.path}: the clips have no onsets and offsets, so maps cannot be judged. "
            "Name clips with --clip and pass --no-statistics, or use data with strong labels."
        )
    return Pairs(np.array(rows), tuple(store.clip_ids[row] for row in rows), tuple(labels), np.stack(inside))


def measure(
    store: FeatureStore,
    pairs: Pairs,
    explainer: Explainer | None = None,
    target: Target | None = None,
    method: str = "gradient",
) -> Localization:
    """Measure the maps of all pairs, each for its class; without an explainer, the clips' mel-band amplitudes."""
    parts = []
    for start in range(0, len(pairs.rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        log_mel = store.read(pairs.rows[part])
        if explainer is None or target is None:
            maps = np.exp(log_mel)
        else:
            targets = [dataclasses.replace(target, label=label) for label in pairs.labels[part]]
            maps = explainer.explain(log_mel, targets, method=method).maps
        parts.append(localize(maps, pairs.inside[part]))
    return Localization(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class Row(NamedTuple):
    """One line of the table: the mean over `seeds` of each pair; `source` is network, untrained or loudness."""

    source: str
    weights: Sequence[str]  # of the strong and the weak loss
    seeds: tuple[int, ...]
    output: str
    method: str
    summary: dict[str, float]


def write_table(
    paths: Sequence[Path],
    runs: Sequence[Run],
    store: FeatureStore,
    targets: Sequence[Target],
    methods: Sequence[str],
    *,
    progress: bool,
) -> None:
    """Measure baselines and runs with every method and target (one of each output); write CSV and Markdown, `paths`."""

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
                    one = measure(store, pairs, explainer, target, method)
                    found.setdefault((setting, target.output, method), {})[seed] = one
                bar.update()
    rows = [Row("loudness", ("", ""), (), "", "", summarize(measure(store, pairs), pairs.clip_ids))]
    for (setting, output, method), by_seed in found.items():
        # The mean of each pair; a pair whose map vanishes with one seed is skipped with all.
        mean = Localization(*np.mean(list(by_seed.values()), axis=0))
        source, seeds = ("untrained", ()) if setting is None else ("network", tuple(by_seed))
        weights = [f"{weight:g}" for weight in setting or ()] or ["", ""]
        rows.append(Row(source, weights, seeds, output, method, summarize(mean, pairs.clip_ids)))
    write_text(paths[0], _to_csv(rows))
    write_text(paths[1], _to_markdown(rows, runs, store, targets[0]))


def open_explainer(run: Run, store: FeatureStore, *, untrained_seed: int | None = None) -> Explainer:
    """Return the explainer of a run's model, or of the same network with random weights, for clips of a store."""
    from crnn_weak.model.archive import load_model

    model, metadata = load_model(run.files.best_model)
    check_fits(metadata, store)
    if untrained_seed is not None:
        model = _untrained(run, len(store.classes), untrained_seed)
    return Explainer(model, classes=metadata.classes, standardize=metadata.scaler.transform, batch_size=64)


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


def _to_csv(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        values = [f"{value:.6g}" for value in row.summary.values()]
        lines.append([row.source, *row.weights, " ".join(map(str, row.seeds)), row.output, row.method, *values])
    names = ["source", "strong_weight", "weak_weight", "seeds", "output", "method", *rows[0].summary]
    return csv_text(names, lines)


def short_table(path: Path) -> str:
    """Return one line for each setting of a written table: the share of the map inside the event, in percent."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "network"]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        if row["method"] == rows[0]["method"]:
            shares = found.setdefault((row["strong_weight"], row["weak_weight"]), {})
            shares[row["output"]] = f"{100 * float(row['share']):.1f}"
            shares["chance"] = f"{100 * float(row['coverage']):.1f}"
    lines = [[*setting, shares["strong"], shares["weak"], shares["chance"]] for setting, shares in found.items()]
    method, page = rows[0]["method"], path.with_suffix(".md")
    title = f"Share of the map ({method}) inside the true event, percent; all rows: {page}"
    return f"{title}\n{markdown_table(['strong', 'weak', 'strong output', 'weak output', 'chance'], lines)}"


_NOTES = """- share inside: of the absolute map, summed over mel bands
- chance: the share of frames that the event covers, in both measures
- pointing game: how often the map's largest absolute value is inside the event
- gain: above chance, with a 95 % interval by bootstrap over clips (1,000 draws)
- loudness: the clip's mel-band amplitudes instead of a map; untrained: mean over three networks with random weights
"""


def _to_markdown(rows: Sequence[Row], runs: Sequence[Run], store: FeatureStore, target: Target) -> str:
    """Return the table in percent, with its caption and notes; `target` is one of the strong output."""
    header = ["strong", "weak", "output", "map", "share inside", "chance", "gain (95 %)", "ratio", "pointing game",
              "gain (95 %)", "pairs"]  # fmt: skip

    def gain(found: dict[str, float], name: str) -> str:
        value, low, high = (100 * found[f"{name}_gain{end}"] for end in ("", "_low", "_high"))
        return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"

    lines = []
    for row in rows:
        found = row.summary
        names = {"network": row.output, "untrained": f"{row.output} (untrained)", "loudness": "loudness"}
        shares = [f"{100 * found['share']:.1f}", f"{100 * found['coverage']:.1f}", gain(found, "share")]
        game = [f"{found['share_ratio']:.2f}", f"{100 * found['hit']:.1f}", gain(found, "hit"), f"{found['n_pairs']}"]
        lines.append([*row.weights, names[row.source], row.method or "-", *shares, *game])
    config, first = runs[0].config, rows[0].summary
    seeds = sorted({run.seed for run in runs})
    caption = (
        f"Saliency inside the true events. {runs[0].data.get('provenance') or config.data.source}. Test split, "
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
