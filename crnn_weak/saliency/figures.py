"""The three panels of the slides for one clip, and the choice of clips."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crnn_weak.errors import ClipError, LabelError, nearest_names
from crnn_weak.runs.run import Run
from crnn_weak.saliency.targets import Space, Target
from crnn_weak.saliency.targets import method as find_method

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.saliency.gradients import Explainer

__all__ = ["DEFAULT_METHODS", "Options", "Shown", "draw_clip", "figure_stem", "ranked_pairs", "wanted_pairs"]

DEFAULT_METHODS = ("talk", "absolute")


class Shown(NamedTuple):
    """Clip and class of one figure, and the reason (empty if it was asked for)."""

    clip_id: str
    label: str
    why: str = ""


@dataclass(frozen=True)
class Options:
    """Figures and tables to produce.

    Attributes
    ----------
    clips, labels : tuple of str
        Clips to draw and their classes; none: the best, median and worst pair, each clip's true classes.
    methods : tuple of str
        Of the table; the first draws the figures.
    space : {"standardised", "raw"}
    reduction : str
        Over the frames of the strong output.
    scale : {"score", "logit"}
    span_seconds : tuple of two floats, optional
        Only these frames of the strong output, in the figures.
    setting : tuple of two floats, optional
        The (strong, weak) run of an experiment that is drawn; by default the one that detects best.
    seed : int, optional
        That run's seed.
    figures, statistics, overwrite, progress : bool
    """

    clips: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    methods: tuple[str, ...] = DEFAULT_METHODS
    space: Space = "standardised"
    reduction: str = ""
    scale: str = "score"
    span_seconds: tuple[float, float] | None = None
    setting: tuple[float, float] | None = None
    seed: int | None = None
    figures: bool = True
    statistics: bool = True
    overwrite: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        for name in self.methods:
            find_method(name)
        Target("strong", 0, reduction=self.reduction, span_seconds=self.span_seconds, scale=self.scale)


def _check_labels(store: FeatureStore, options: Options) -> None:
    for label in options.labels:
        if label not in store.classes:
            raise LabelError(f"class {label!r} is not one of the run's. {nearest_names(label, store.classes)}")


def wanted_pairs(run: Run, store: FeatureStore, options: Options) -> list[Shown]:
    """Return the clips that were asked for, with their classes: those asked for, the true ones, or the detected ones.

    Raises
    ------
    ClipError, LabelError
        A clip or class that the test split does not have; a clip without any class.
    """
    _check_labels(store, options)
    pairs = []
    for clip_id in options.clips:
        if clip_id not in store.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the test split. {nearest_names(clip_id, store.clip_ids)}")
        row = store.tags[store.clip_ids.index(clip_id)]
        labels = options.labels or tuple(c for c, on in zip(store.classes, row, strict=True) if on)
        labels = labels or tuple(sorted({event.label for event in run.events.get(clip_id, ())}))
        if not labels:
            raise LabelError(f"clip {clip_id!r} has no tag and no detection: name a class with --class.")
        pairs += [Shown(clip_id, label) for label in labels]
    return pairs


def ranked_pairs(explainer: Explainer, store: FeatureStore, options: Options) -> list[Shown]:
    """Return the best, the median and the worst pair: by the share of the strong map inside the event, above chance.

    Raises
    ------
    LabelError, ClipError, DataError
        A class that does not exist; no event of it; no events at all.
    """
    from crnn_weak.saliency.statistics import event_pairs, measure

    _check_labels(store, options)
    pairs = event_pairs(store)
    found = measure(
        explainer, store, pairs, output="strong", method=options.methods[0], space=options.space,
        reduction=options.reduction, scale=options.scale,
    )  # fmt: skip
    chosen = found.usable & np.array([not options.labels or label in options.labels for label in pairs.labels])
    if not chosen.any():
        raise ClipError("no clip of the test split has an event of these classes that covers a part of it.")
    rows = np.flatnonzero(chosen)
    ranked = rows[np.argsort(-(found.share - found.coverage)[rows], kind="stable")]
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    shown: dict[int, Shown] = {}
    for word, place in places.items():
        row = int(ranked[place])
        why = (
            f"the {word} of {len(ranked)} pairs: {found.share[row]:.0%} of the strong map inside the event, "
            f"which covers {found.coverage[row]:.0%} of the clip"
        )
        shown.setdefault(row, Shown(pairs.clip_ids[row], pairs.labels[row], why))
    return list(shown.values())


def figure_stem(out: Path, shown: Shown, options: Options) -> Path:
    """Return a figure's path without its extension; dashes, commas and brackets of names do no harm."""
    name = re.sub(r"[^\w.-]+", "_", f"{shown.clip_id}_{shown.label}_{options.methods[0]}").strip("_")
    return out / f"saliency_{name}"


def draw_clip(
    run: Run,
    explainer: Explainer,
    store: FeatureStore,
    shown: Shown,
    path: Path,
    options: Options,
) -> list[Path]:
    """Draw the three panels of one clip and class as PNG and PDF; return the files."""
    from crnn_weak.figures import new_figure, plot_saliency, save_figure

    clip_id, label, why = shown
    log_mel = store.read([store.clip_ids.index(clip_id)])
    assert explainer.scaler is not None
    strong_target = Target(
        "strong", label, reduction=options.reduction, span_seconds=options.span_seconds, scale=options.scale
    )
    found = explainer.explain(
        np.repeat(explainer.scaler.transform(log_mel), 2, axis=0),
        [strong_target, Target("weak", label, scale=options.scale)],
        method=options.methods[0],
        space=options.space,
    )
    figure, axes = new_figure(7.2, 6.4, n_rows=3, share_x=True)
    plot_saliency(
        found.maps[0],
        found.maps[1],
        log_mel[0],
        features=store.features,
        axes=list(axes),
        label=label,
        reference=store.events.get(clip_id, ()) if store.has_events else (),
        estimated=run.events.get(clip_id, ()),
    )
    scores = (
        f"{options.scale} {found.values[0]:.2f} ({strong_target.reduction} of strong), {found.values[1]:.2f} (weak)"
    )
    weights = "loss weights strong {:g}, weak {:g}, seed {}".format(*run.setting, run.seed)
    text = (
        f"Clip {clip_id}{f' ({why})' if why else ''}; {weights}; {scores}. "
        f"Top: {strong_target.caption()}. Middle: {found.targets[1].caption()}. "
        f"Both: {find_method(options.methods[0]).caption(options.space)}; each panel on its own scale."
    )
    figure.supxlabel("\n".join(textwrap.wrap(text, 112)), fontsize=7.5, x=0.01, ha="left", linespacing=1.35)
    return save_figure(figure, path)
