"""The saliency figure of the slides for any clip, and statistics over a test split.

It draws gradients of both outputs and the log mel, for the clips asked for or for the best, the median and the worst of
the test split. It writes a table: the share of each output's saliency inside the true events.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crnn_weak.cli import main
from crnn_weak.errors import ClipError, LabelError, RunError, nearest_names
from crnn_weak.features.store import FeatureStore
from crnn_weak.files import refuse_existing
from crnn_weak.labels.events import tag_names
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.folders import Grid, Run, open_any, open_run
from crnn_weak.saliency.localization import event_pairs, examples, measure, open_explainer, write_table
from crnn_weak.saliency.maps import Explainer, Target, find_method

#: The clip of the slides' figure.
SLIDES_CLIP = "--jc0NAxK8M_30.000_40.000"


@dataclass(frozen=True)
class Options:
    """The figures and the table to make; `setting` and `seed` choose the run of a grid, by default (1, 1).

    Without `clips`, the slides' clip is drawn, or else the best, median and worst pair; without `labels`, each clip's
    true classes. The first of `methods` draws the figures.
    """

    clips: Sequence[str] = ()
    labels: Sequence[str] = ()
    methods: Sequence[str] = ("deconvnet", "absolute")
    reduction: str = "mean"
    scale: str = "score"
    setting: tuple[float, float] | None = None
    seed: int | None = None
    statistics: bool = True
    overwrite: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        for name in self.methods:
            find_method(name)
        self.targets("")

    def targets(self, label: str) -> tuple[Target, Target]:
        """Return the scalars of the strong and the weak output for a class."""
        return Target("strong", label, self.reduction, self.scale), Target("weak", label, scale=self.scale)


class Shown(NamedTuple):
    """A clip and class that a figure shows; `why` is empty where it was asked for."""

    clip_id: str
    label: str
    why: str = ""


def saliency_maps(path: str | Path, out: str | Path | None = None, options: Options = Options()) -> list[Path]:
    """Draw the figures and write the table of a run or a grid into `out`; return the files."""
    found = open_any(path)
    out = RunFiles(path).saliency if out is None else Path(out)
    if isinstance(found, Grid):
        default = (1.0, 1.0) if (1.0, 1.0) in found.settings else found.best_setting()
        run = found.run(options.setting or default, options.seed)
    else:
        run = found
    if options.setting not in (None, run.setting):
        raise RunError(f"{run.path}: is one run, of strong {run.setting[0]:g}, weak {run.setting[1]:g}.")
    written: list[Path] = []
    with run.open_store("test") as store:
        # Refuse what can be refused before anything is computed.
        for label in options.labels:
            if label not in store.classes:
                raise LabelError(f"class {label!r} is not one of the run's. {nearest_names(label, store.classes)}")
        if not (options.clips or options.labels) and SLIDES_CLIP in store.clip_ids:
            options = dataclasses.replace(options, clips=(SLIDES_CLIP,))
        pairs = _requested_pairs(run, store, options)
        table = [out / "localization.csv", out / "localization.md"] if options.statistics else []
        refuse_existing(table + _pictures(out, pairs, options), overwrite=options.overwrite)
        explainer = open_explainer(run, store)
        pairs = pairs or _ranked_pairs(explainer, store, options)
        refuse_existing(_pictures(out, pairs, options), overwrite=options.overwrite)
        for pair in pairs:
            written += _draw_clip(run, explainer, store, pair, figure_stem(out, pair, options), options)
        if options.statistics:
            runs = [open_run(folder) for folder in found.runs.values()] if isinstance(found, Grid) else [run]
            write_table(table, runs, store, options.targets(""), options.methods, progress=options.progress)
            written += table
    return written


def _requested_pairs(run: Run, store: FeatureStore, options: Options) -> list[Shown]:
    """Return the requested clips with the requested classes, else the true ones, else the detected ones."""
    pairs = []
    for clip_id in options.clips:
        if clip_id in {name for name, *_ in store.skipped}:
            store.row(clip_id)  # raises: it is listed, and has no sound
        if clip_id not in store.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the test split. {nearest_names(clip_id, store.clip_ids)}")
        row = store.tags[store.clip_ids.index(clip_id)]
        detected = {event.label for event in run.detected_events.get(clip_id, ())}
        labels = options.labels or tag_names(row, store.classes) or tuple(sorted(detected))
        if not labels:
            raise LabelError(f"clip {clip_id!r} has no tag and no detection: name a class with --class.")
        pairs += [Shown(clip_id, label) for label in labels]
    return pairs


def _ranked_pairs(explainer: Explainer, store: FeatureStore, options: Options) -> list[Shown]:
    """Return the best, the median and the worst pair of the strong output."""
    pairs = event_pairs(store)
    found = measure(store, pairs, explainer, options.targets("")[0], options.methods[0])
    eligible = np.array([not options.labels or label in options.labels for label in pairs.labels])
    return [Shown(pairs.clip_ids[row], pairs.labels[row], why) for row, why in examples(found, eligible).items()]


def _pictures(out: Path, pairs: Sequence[Shown], options: Options) -> list[Path]:
    stems = [figure_stem(out, pair, options) for pair in pairs]
    return [stem.with_name(f"{stem.name}.{suffix}") for stem in stems for suffix in ("png", "pdf")]


def figure_stem(out: Path, shown: Shown, options: Options) -> Path:
    """Return a figure's path without its extension; dashes, commas and brackets of names do no harm."""
    name = re.sub(r"[^\w.-]+", "_", f"{shown.clip_id}_{shown.label}_{options.methods[0]}").strip("_")
    return out / f"saliency_{name}"


def _draw_clip(
    run: Run, explainer: Explainer, store: FeatureStore, shown: Shown, path: Path, options: Options
) -> list[Path]:
    """Draw the slides' three panels of one clip and class as PNG and PDF; return the files."""
    from crnn_weak.figures.clip import plot_saliency
    from crnn_weak.figures.style import new_figure, save_figure

    clip_id, label, why = shown
    log_mel = store.read([store.clip_ids.index(clip_id)])
    strong, weak = options.targets(label)
    found = explainer.explain(np.repeat(log_mel, 2, axis=0), [strong, weak], method=options.methods[0])
    figure, axes = new_figure(7.2, 6.4, n_rows=3, share_x=True)
    plot_saliency(
        found.maps[0],
        found.maps[1],
        log_mel[0],
        features=store.features,
        axes=list(axes),
        label=label,
        reference=store.events.get(clip_id, ()) if store.has_events else (),
        estimated=run.detected_events.get(clip_id, ()),
    )
    scores = f"{options.scale} {found.values[0]:.2f} ({strong.reduction} of strong), {found.values[1]:.2f} (weak)"
    weights = "loss weights strong {:g}, weak {:g}, seed {}".format(*run.setting, run.seed)
    text = (
        f"Clip {clip_id}{f' ({why})' if why else ''}; {weights}; {scores}. "
        f"Top: {strong.caption()}. Middle: {weak.caption()}. "
        f"Both: {find_method(options.methods[0]).caption()}; each panel on its own scale."
    )
    figure.supxlabel("\n".join(textwrap.wrap(text, 112)), fontsize=7.5, x=0.01, ha="left", linespacing=1.35)
    return save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main(["saliency", *sys.argv[1:]]))
