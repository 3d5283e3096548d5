"""The saliency figure of the slides for any clip, and statistics over a test split.

``python -m crnn_weak.experiments.saliency_maps FOLDER`` takes a run or a grid. It draws gradients of the strong output,
gradients of the weak output and the log mel-band energies, for the clips asked for or for the best, the median and the
worst of the test split, and writes a table: how much of each output's saliency lies inside the true events, for every
setting of the grid.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crnn_weak.errors import ClipError, LabelError, RunError, nearest_names
from crnn_weak.files import write_text
from crnn_weak.labels.classes import tag_names
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.grid import Grid, open_any
from crnn_weak.runs.run import Run
from crnn_weak.saliency.targets import Space, Target
from crnn_weak.saliency.targets import method as find_method

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.saliency.explainer import Explainer
    from crnn_weak.saliency.table import Row

__all__ = ["DEFAULT_METHODS", "Options", "Shown", "figure_stem", "main", "saliency_maps"]

DEFAULT_METHODS = ("talk", "absolute")


@dataclass(frozen=True)
class Options:
    """The figures and the table to make.

    Attributes
    ----------
    clips, labels : tuple of str
        Clips to draw and their classes; none: the best, median and worst pair, each clip's true classes.
    methods : tuple of str
        Of the table; the first draws the figures.
    space : {"standardized", "raw"}
    reduction : str
        Over the frames of the strong output.
    scale : {"score", "logit"}
    span_seconds : tuple of two floats, optional
        Only these frames of the strong output, in the figures.
    setting : tuple of two floats, optional
        The (strong, weak) run of a grid that is drawn; by default the one that detects best.
    seed : int, optional
        That run's seed.
    figures, statistics, overwrite, progress : bool
    """

    clips: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    methods: tuple[str, ...] = DEFAULT_METHODS
    space: Space = "standardized"
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


class Shown(NamedTuple):
    """A clip and class that a figure shows; `why` is empty where it was asked for."""

    clip_id: str
    label: str
    why: str = ""


def saliency_maps(path: str | Path, out: str | Path | None = None, options: Options | None = None) -> list[Path]:
    """Draw the figures and write the table of a run or a grid.

    Parameters
    ----------
    path : path
        A finished run or grid.
    out : path, optional
        Output folder; by default ``saliency`` inside `path`.
    options : Options

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    RunError
        The folder holds no run or one that is not finished, the feature store is gone, or a file is there already.
    ClipError, LabelError
        A clip or class that the test split does not have.
    ModelFileError
        The model has other classes or another frame count than the store.
    """
    options = options or Options()
    found = open_any(path)
    out = RunFiles(path).saliency if out is None else Path(out)
    shown = _shown_run(found, options)
    store = shown.open_store("test")
    if store is None:
        raise RunError(
            f"{shown.path}: the feature store of its test split is gone (see {shown.data_folder / 'data.json'}). "
            "Start the command that made the run again; it builds what is missing."
        )
    written: list[Path] = []
    with store:
        # Refuse what can be refused before anything is computed.
        _check_labels(store, options)
        wanted = _wanted_pairs(shown, store, options) if options.clips else []
        table = [out / "localization.csv", out / "localization.md"] if options.statistics else []
        _refuse_existing(table + _pictures(out, wanted, options), options)
        if options.figures:
            written += _draw(shown, store, out, wanted, options)
        if options.statistics:
            written += _write_table(found, shown, store, table, options)
    return written


def _shown_run(found: Run | Grid, options: Options) -> Run:
    if isinstance(found, Run):
        if options.setting not in (None, found.setting):
            raise RunError(f"{found.path}: is one run, of strong {found.setting[0]:g}, weak {found.setting[1]:g}.")
        return found
    return found.run(options.setting or found.best_setting(), options.seed)


def _check_labels(store: FeatureStore, options: Options) -> None:
    for label in options.labels:
        if label not in store.classes:
            raise LabelError(f"class {label!r} is not one of the run's. {nearest_names(label, store.classes)}")


def _refuse_existing(paths: Sequence[Path], options: Options) -> None:
    for path in paths:
        if path.exists() and not options.overwrite:
            raise RunError(f"{path}: is there already. Pass --overwrite, or choose another folder with --out.")


def _pictures(out: Path, pairs: Sequence[Shown], options: Options) -> list[Path]:
    stems = [figure_stem(out, pair, options) for pair in pairs]
    return [stem.with_name(f"{stem.name}.{suffix}") for stem in stems for suffix in ("png", "pdf")]


def figure_stem(out: Path, shown: Shown, options: Options) -> Path:
    """Return a figure's path without its extension; dashes, commas and brackets of names do no harm."""
    name = re.sub(r"[^\w.-]+", "_", f"{shown.clip_id}_{shown.label}_{options.methods[0]}").strip("_")
    return out / f"saliency_{name}"


# --- figures -------------------------------------------------------------------------------------------------------


def _wanted_pairs(run: Run, store: FeatureStore, options: Options) -> list[Shown]:
    """Return the clips that were asked for, with the classes asked for, else the true ones, else the detected ones."""
    pairs = []
    for clip_id in options.clips:
        if clip_id not in store.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the test split. {nearest_names(clip_id, store.clip_ids)}")
        row = store.tags[store.clip_ids.index(clip_id)]
        labels = options.labels or tag_names(row, store.classes)
        labels = labels or tuple(sorted({event.label for event in run.events.get(clip_id, ())}))
        if not labels:
            raise LabelError(f"clip {clip_id!r} has no tag and no detection: name a class with --class.")
        pairs += [Shown(clip_id, label) for label in labels]
    return pairs


def _ranked_pairs(explainer: Explainer, store: FeatureStore, options: Options) -> list[Shown]:
    """Return the best, the median and the worst pair, by the share of the strong map inside the event above chance."""
    from crnn_weak.saliency.localization import event_pairs, measure

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


def _draw(run: Run, store: FeatureStore, out: Path, wanted: Sequence[Shown], options: Options) -> list[Path]:
    """Draw the pairs asked for, or the best, the median and the worst; return the files."""
    from crnn_weak.saliency.table import open_explainer

    explainer = open_explainer(run, store)
    pairs = wanted or _ranked_pairs(explainer, store, options)
    _refuse_existing(_pictures(out, pairs, options), options)
    return [
        path
        for pair in pairs
        for path in _draw_clip(run, explainer, store, pair, figure_stem(out, pair, options), options)
    ]


def _draw_clip(
    run: Run,
    explainer: Explainer,
    store: FeatureStore,
    shown: Shown,
    path: Path,
    options: Options,
) -> list[Path]:
    """Draw the slides' three panels of one clip and class as PNG and PDF; return the files."""
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


# --- table ---------------------------------------------------------------------------------------------------------


def _write_table(
    found: Run | Grid, shown: Run, store: FeatureStore, paths: Sequence[Path], options: Options
) -> list[Path]:
    from crnn_weak.saliency.table import rows_of_runs, to_csv, to_markdown

    if isinstance(found, Grid):
        places = [(setting, seed) for setting in found.settings for seed in found.seeds]
        runs = [found.run(setting, seed) for setting, seed in places if (*setting, seed) in found.runs]
    else:
        runs = [found]
    rows = rows_of_runs(
        runs, store, options.methods, space=options.space, reduction=options.reduction, scale=options.scale,
        progress=options.progress,
    )  # fmt: skip
    caption = _caption(runs, shown, store, rows[0])
    write_text(paths[0], to_csv(rows))
    write_text(paths[1], to_markdown(rows, caption=caption, notes=_notes(rows, options)))
    return list(paths)


def _caption(runs: Sequence[Run], shown: Run, store: FeatureStore, first: Row) -> str:
    provenance = str(shown.data.get("provenance") or shown.config.data.source)
    seeds = sorted({run.seed for run in runs})
    return (
        f"Saliency inside the true events. {provenance}; test split, {store.n_clips:,} of {store.n_listed:,} clips; "
        f"{first.summary.n_pairs} (clip, class) pairs of {first.summary.n_clips} clips; preset {shown.config.preset}, "
        f"head {shown.config.model.weak_head}, {'seed' if len(seeds) == 1 else 'mean over seeds'} "
        f"{', '.join(map(str, seeds))}. Percent."
    )


def _notes(rows: Sequence[Row], options: Options) -> dict[str, str]:
    """Return the notes under the table: term -> explanation."""
    n_zero = sum(row.summary.n_zero for row in rows)
    reduction = Target("strong", 0, reduction=options.reduction).reduction
    return {
        "share inside": "of the absolute map, summed over mel bands; chance is the share of frames that the event "
        "covers, in both measures",
        "pointing game": "how often the map's largest absolute value lies inside the event",
        "gain": "above chance, with a 95 % interval by bootstrap over clips (1,000 draws)",
        "skipped": f"{rows[0].summary.n_left_out} pairs whose event covers the whole clip; maps that are zero "
        f"everywhere: {n_zero} over all rows",
        "loudness": "the clip's mel-band amplitudes instead of a map; untrained: mean over three networks with random "
        "weights",
        "scalar": f"{options.scale} of the true class; strong: {reduction} over all frames",
    } | {name: find_method(name).caption(options.space) for name in options.methods}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m crnn_weak.experiments.saliency_maps``."""
    from crnn_weak.cli import main as command_line

    return command_line(["saliency", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    raise SystemExit(main())
