"""Share of each output's saliency inside the true events, over a test split, for every cell of a grid.

Beside the networks stand two baselines: the *loudness* of the clip itself (mel-band amplitudes, no network), and
*untrained* networks of the same shape. A map that does no better than loudness points at what is loud.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from crnn_weak.activity import event_roll
from crnn_weak.errors import DataError, ModelFileError
from crnn_weak.runs.run import Run, Setting
from crnn_weak.saliency.localisation import Localisation, localise, summarise
from crnn_weak.saliency.table import Row
from crnn_weak.saliency.targets import Space, Target

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.saliency.gradients import Explainer

__all__ = [
    "OUTPUTS",
    "Pairs",
    "event_pairs",
    "measure",
    "open_explainer",
    "rows_of_cells",
]

log = logging.getLogger(__name__)

OUTPUTS = ("strong", "weak")
# Maps at a time: 256 of the paper's clips are 20 MB.
_BLOCK = 256
_N_UNTRAINED = 3


@dataclass(frozen=True)
class Pairs:
    """The (clip, class) pairs with true events.

    Attributes
    ----------
    rows : np.ndarray of int, shape (n_pairs,)
        Rows of the feature store.
    clip_ids, labels : tuple of str, length n_pairs
    inside : np.ndarray of bool, shape (n_pairs, n_frames)
        Frames in which the class sounds.
    """

    rows: np.ndarray
    clip_ids: tuple[str, ...]
    labels: tuple[str, ...]
    inside: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def event_pairs(store: FeatureStore) -> Pairs:
    """Return the pairs of a store's clips and the classes that sound in them.

    Raises
    ------
    DataError
        The store has no strong labels.
    """
    if not store.has_events:
        raise DataError(
            f"{store.path}: has tags but no onsets and offsets, so maps cannot be judged. "
            "Name clips with --clip and pass --no-statistics, or use data with strong labels."
        )
    rows, labels, inside = [], [], []
    hop, n_frames = store.features.hop_seconds, store.features.n_frames
    for row, clip_id in enumerate(store.clip_ids):
        roll = event_roll(store.events.get(clip_id, ()), store.classes, hop_seconds=hop, n_frames=n_frames)
        for column in np.flatnonzero(roll.any(axis=0)):
            rows.append(row)
            labels.append(store.classes[column])
            inside.append(roll[:, column])
    if not rows:
        raise DataError(
            f"{store.path}: no clip has an event, so maps cannot be judged. "
            "Name clips with --clip and pass --no-statistics."
        )
    clip_ids = tuple(store.clip_ids[row] for row in rows)
    return Pairs(np.array(rows), clip_ids, tuple(labels), np.stack(inside))


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


def measure(
    explainer: Explainer,
    store: FeatureStore,
    pairs: Pairs,
    *,
    output: str,
    method: str,
    space: Space = "standardised",
    reduction: str = "",
    scale: str = "score",
) -> Localisation:
    """Return the measures of one output's maps, in the order of the pairs."""
    reduction = reduction if output == "strong" else ""
    assert explainer.scaler is not None
    parts = []
    for part in _blocks(len(pairs)):
        features = explainer.scaler.transform(store.read(pairs.rows[part]))
        targets = [Target(output, label, reduction=reduction, scale=scale) for label in pairs.labels[part]]
        maps = explainer.explain(features, targets, method=method, space=space).maps
        parts.append(localise(maps, pairs.inside[part]))
    return _joined(parts)


def rows_of_cells(
    runs: Sequence[Run],
    store: FeatureStore,
    methods: Sequence[str],
    *,
    space: Space = "standardised",
    reduction: str = "",
    scale: str = "score",
    progress: bool = False,
) -> list[Row]:
    """Measure every run, with every method and both outputs, and the two baselines.

    Returns
    -------
    list of Row
        The baselines first; of several seeds each by itself, then their mean.
    """
    pairs = event_pairs(store)
    loudness = _joined(
        [localise(np.exp(store.read(pairs.rows[part])), pairs.inside[part]) for part in _blocks(len(pairs))]
    )
    rows = [Row("loudness", None, None, "", "", "", summarise(loudness, pairs.clip_ids))]
    options: dict[str, Any] = {"space": space, "reduction": reduction, "scale": scale}
    networks = [(None, seed, _untrained(runs[0], store, seed)) for seed in range(_N_UNTRAINED)]
    found: dict[tuple[Setting | None, str, str], list[tuple[int, Localisation]]] = {}
    with tqdm(total=(len(runs) + len(networks)) * len(methods), unit="map set", disable=not progress) as bar:
        for setting, seed, explainer in _chain(
            networks, ((run.setting, run.seed, open_explainer(run, store)) for run in runs)
        ):
            for method in methods:
                for output in OUTPUTS:
                    one = measure(explainer, store, pairs, output=output, method=method, **options)
                    found.setdefault((setting, output, method), []).append((seed, one))
                bar.update()
    for (setting, output, method), several in found.items():
        mean = _mean_over_seeds([one for _, one in several])
        if setting is None:
            rows.append(Row("untrained", None, None, "", output, method, summarise(mean, pairs.clip_ids)))
            continue
        lines = [(str(seed), one) for seed, one in several]
        if len(several) > 1:
            lines.append(("all", mean))
        for name, one in lines:
            rows.append(Row("network", *setting, name, output, method, summarise(one, pairs.clip_ids)))
    return rows


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, n, _BLOCK))


def _chain(*parts: Any) -> Iterator[Any]:
    for part in parts:
        yield from part


def _joined(parts: Sequence[Localisation]) -> Localisation:
    return Localisation(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("share", "hit", "coverage"))
    )


def _mean_over_seeds(several: Sequence[Localisation]) -> Localisation:
    """Average pair by pair; a pair whose map vanishes with one seed is skipped with all."""
    share, hit = (np.mean([getattr(one, name) for one in several], axis=0) for name in ("share", "hit"))
    return Localisation(share, hit, several[0].coverage)


def _untrained(run: Run, store: FeatureStore, seed: int) -> Explainer:
    """Return the run's network with random weights: Keras' own scale, drawn without touching the global state."""
    trained = open_explainer(run, store)
    from crnn_weak.model.crnn import build_model
    from crnn_weak.saliency import Explainer

    model = build_model(run.config, n_classes=len(store.classes))
    rng = np.random.default_rng(seed)
    weights = []
    for weight in model.get_weights():
        if weight.ndim > 1 and weight.any():  # biases are zero, and batch normalisation's vectors stay as they are
            receptive = np.prod(weight.shape[:-2])
            limit = np.sqrt(6 / (receptive * sum(weight.shape[-2:])))  # Glorot, Bengio, AISTATS 2010
            weight = rng.uniform(-limit, limit, weight.shape).astype(weight.dtype)
        weights.append(weight)
    model.set_weights(weights)
    return Explainer(
        model, classes=store.classes, hop_seconds=trained.hop_seconds, scaler=trained.scaler, batch_size=64
    )
