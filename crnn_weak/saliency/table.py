"""The table of localization: how much of each output's saliency lies inside the true events, for every run of a grid.

Beside the networks stand two baselines: the *loudness* of the clip itself (mel-band amplitudes, no network), and
*untrained* networks of the same shape. A map that does no better than loudness points at whatever is loud.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from crnn_weak.errors import ModelFileError
from crnn_weak.files import escape_markdown
from crnn_weak.runs.run import Run, Setting
from crnn_weak.saliency.localization import (
    Localization,
    LocalizationSummary,
    event_pairs,
    measure,
    measure_loudness,
    summarize,
)
from crnn_weak.saliency.targets import Space

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.saliency.explainer import Explainer

__all__ = ["Row", "open_explainer", "rows_of_runs", "to_csv", "to_markdown"]

_N_UNTRAINED = 3


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    source : str
        ``network``, or a baseline: ``untrained``, ``loudness``.
    strong, weak : float or None
        Loss weights; None for a baseline.
    seed : str
        A number, or ``all``: the mean over the seeds of each pair.
    output, method : str
    summary : LocalizationSummary
    """

    source: str
    strong: float | None
    weak: float | None
    seed: str
    output: str
    method: str
    summary: LocalizationSummary


def rows_of_runs(
    runs: Sequence[Run],
    store: FeatureStore,
    methods: Sequence[str],
    *,
    space: Space = "standardized",
    reduction: str = "",
    scale: str = "score",
    progress: bool = False,
) -> list[Row]:
    """Measure every run, with every method and both outputs, and the baselines.

    Parameters
    ----------
    runs : sequence of Run
    store : FeatureStore
        Of the test split.
    methods : sequence of str
        Of `METHODS`.
    space, reduction, scale
        As in `crnn_weak.saliency.localization.measure`.
    progress : bool
        Show a bar.

    Returns
    -------
    list of Row
        The baselines first; of several seeds each by itself, then their mean.
    """
    pairs = event_pairs(store)
    found: dict[tuple[Setting | None, str, str], list[tuple[int, Localization]]] = {}
    networks = itertools.chain(
        ((None, seed, _untrained(runs[0], store, seed)) for seed in range(_N_UNTRAINED)),
        ((run.setting, run.seed, open_explainer(run, store)) for run in runs),
    )
    with tqdm(total=(len(runs) + _N_UNTRAINED) * len(methods), unit="map set", disable=not progress) as bar:
        for setting, seed, explainer in networks:
            for method in methods:
                for output in ("strong", "weak"):
                    one = measure(
                        explainer, store, pairs, output=output, method=method, space=space, reduction=reduction,
                        scale=scale,
                    )  # fmt: skip
                    found.setdefault((setting, output, method), []).append((seed, one))
                bar.update()
    loudness = summarize(measure_loudness(store, pairs), pairs.clip_ids)
    rows = [Row("loudness", None, None, "", "", "", loudness)]
    for (setting, output, method), several in found.items():
        rows += _rows_of_seeds(setting, output, method, several, pairs.clip_ids)
    return rows


def _rows_of_seeds(
    setting: Setting | None,
    output: str,
    method: str,
    several: Sequence[tuple[int, Localization]],
    clip_ids: Sequence[str],
) -> list[Row]:
    mean = summarize(_mean_over_seeds([one for _, one in several]), clip_ids)
    if setting is None:
        return [Row("untrained", None, None, "", output, method, mean)]
    rows = [Row("network", *setting, str(seed), output, method, summarize(one, clip_ids)) for seed, one in several]
    return rows + ([Row("network", *setting, "all", output, method, mean)] if len(several) > 1 else [])


def _mean_over_seeds(several: Sequence[Localization]) -> Localization:
    """Average pair by pair; a pair whose map vanishes with one seed is skipped with all."""
    share, hit = (np.mean([getattr(one, name) for one in several], axis=0) for name in ("share", "hit"))
    return Localization(share, hit, several[0].coverage)


def open_explainer(run: Run, store: FeatureStore) -> Explainer:
    """Load a run's model and check that it belongs to the store.

    Raises
    ------
    ModelFileError
        The model has other classes, or other features, than the store.
    """
    from crnn_weak.saliency import Explainer  # first: it refuses another backend before a model is built

    # isort: split
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
    return Explainer(
        model, classes=metadata.classes, hop_seconds=store.features.hop_seconds, scaler=metadata.scaler, batch_size=64
    )


def _untrained(run: Run, store: FeatureStore, seed: int) -> Explainer:
    """Return the run's network with random weights: Keras' own scale, drawn without touching the global state."""
    trained = open_explainer(run, store)
    from crnn_weak.model.crnn import build_model
    from crnn_weak.saliency import Explainer

    model = build_model(run.config, n_classes=len(store.classes))
    rng = np.random.default_rng(seed)
    weights = []
    for weight in model.get_weights():
        if weight.ndim > 1 and weight.any():  # biases are zero, and batch normalization's vectors stay as they are
            receptive = np.prod(weight.shape[:-2])
            limit = np.sqrt(6 / (receptive * sum(weight.shape[-2:])))  # Glorot, Bengio, AISTATS 2010
            weight = rng.uniform(-limit, limit, weight.shape).astype(weight.dtype)
        weights.append(weight)
    model.set_weights(weights)
    return Explainer(
        model, classes=store.classes, hop_seconds=trained.hop_seconds, scaler=trained.scaler, batch_size=64
    )


def to_csv(rows: Sequence[Row]) -> str:
    """Return the table as CSV, one line for each row, shares as fractions."""
    buffer = io.StringIO()
    columns = list(rows[0].summary.to_dict())
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["source", "strong_weight", "weak_weight", "seed", "output", "method", *columns])
    for row in rows:
        values = [f"{v:.6g}" if isinstance(v, float) else v for v in row.summary.to_dict().values()]
        weights = ["" if w is None else f"{w:g}" for w in (row.strong, row.weak)]
        writer.writerow([row.source, *weights, row.seed, row.output, row.method, *values])
    return buffer.getvalue()


def to_markdown(rows: Sequence[Row], *, caption: str, notes: Mapping[str, str] = {}) -> str:
    """Return the table as Markdown, in percent; of several seeds only their mean."""
    lines = [
        escape_markdown(caption),
        "",
        "| strong | weak | output | map | share inside | chance | gain (95 %) | ratio "
        "| pointing game | gain (95 %) | pairs |",
        "|---:|---:|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    pooled = {(row.strong, row.weak) for row in rows if row.seed == "all"}
    for row in rows:
        if row.seed not in ("", "all") and (row.strong, row.weak) in pooled:
            continue
        s = row.summary
        first = ["", ""] if row.strong is None else [f"{row.strong:g}", f"{row.weak:g}"]
        name = row.output if row.source == "network" else f"{row.output} ({row.source})".strip()
        cells = [
            *first,
            name.replace("(loudness)", "loudness"),
            row.method or "-",
            f"{100 * s.share:.1f}",
            f"{100 * s.coverage:.1f}",
            f"{100 * s.share_gain:+.1f} ({100 * s.share_gain_low:+.1f} to {100 * s.share_gain_high:+.1f})",
            f"{s.share_ratio:.2f}",
            f"{100 * s.hit:.1f}",
            f"{100 * s.hit_gain:+.1f} ({100 * s.hit_gain_low:+.1f} to {100 * s.hit_gain_high:+.1f})",
            f"{s.n_pairs}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {name}: {text}" for name, text in notes.items())]
    return "\n".join(lines) + "\n"
