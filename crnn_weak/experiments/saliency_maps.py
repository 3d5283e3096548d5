"""The saliency figure of the slides for any clip, and statistics over a test split.

``python -m crnn_weak.experiments.saliency_maps FOLDER`` takes a run or an experiment. It draws gradients of the strong
output, gradients of the weak output and the log mel-band energies, for the clips asked for or for the best, the median
and the worst of the test split, and writes a table: how much of each output's saliency lies inside the true events,
for every setting of the experiment.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.errors import ConfigError, RunError
from crnn_weak.runs.grid import Experiment, open_any
from crnn_weak.runs.run import Run
from crnn_weak.saliency.figures import (
    DEFAULT_METHODS,
    Options,
    Shown,
    draw_clip,
    figure_stem,
    ranked_pairs,
    wanted_pairs,
)
from crnn_weak.saliency.targets import METHODS, SPACES, Target
from crnn_weak.saliency.targets import method as find_method

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

__all__ = ["add_arguments", "main", "run", "saliency_maps"]


def saliency_maps(path: str | Path, out: str | Path | None = None, options: Options | None = None) -> list[Path]:
    """Draw the figures and write the table of a run or an experiment.

    Parameters
    ----------
    path : path
        A finished run or experiment.
    out : path, optional
        Folder for what is written; by default ``saliency`` inside `path`.
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
    out = Path(path) / "saliency" if out is None else Path(out)
    shown = _shown_run(found, options)
    store = shown.open_store("test")
    if store is None:
        raise RunError(
            f"{shown.path}: the feature store of its test split is gone (see {shown.data_folder / 'data.json'}). "
            "Start the command that made the run again; it builds what is missing."
        )
    written: list[Path] = []
    with store:
        wanted = wanted_pairs(shown, store, options) if options.clips else []
        table = [out / "localisation.csv", out / "localisation.md"] if options.statistics else []
        # What can be refused is refused before anything is computed.
        _refuse_existing(table, options)
        _refuse_existing(_pictures(out, wanted, options), options)
        if options.figures:
            from crnn_weak.saliency.statistics import open_explainer

            explainer = open_explainer(shown, store)
            pairs = wanted or ranked_pairs(explainer, store, options)
            _refuse_existing(_pictures(out, pairs, options), options)
            for pair in pairs:
                written += draw_clip(shown, explainer, store, pair, figure_stem(out, pair, options), options)
        if options.statistics:
            written += _write_table(found, shown, store, table, options)
    return written


def _pictures(out: Path, pairs: Sequence[Shown], options: Options) -> list[Path]:
    stems = [figure_stem(out, pair, options) for pair in pairs]
    return [stem.with_name(f"{stem.name}.{suffix}") for stem in stems for suffix in ("png", "pdf")]


def _shown_run(found: Run | Experiment, options: Options) -> Run:
    if isinstance(found, Run):
        if options.setting not in (None, found.setting):
            raise RunError(f"{found.path}: is one run, of strong {found.setting[0]:g}, weak {found.setting[1]:g}.")
        return found
    return found.run(options.setting or found.best_setting(), options.seed)


def _refuse_existing(paths: Sequence[Path], options: Options) -> None:
    for path in paths:
        if path.exists() and not options.overwrite:
            raise RunError(f"{path}: is there already. Pass --overwrite, or choose another folder with --out.")


def _write_table(
    found: Run | Experiment, shown: Run, store: FeatureStore, paths: Sequence[Path], options: Options
) -> list[Path]:
    from crnn_weak.saliency.statistics import rows_of_cells
    from crnn_weak.saliency.table import to_csv, to_markdown
    from crnn_weak.storage import write_text

    if isinstance(found, Experiment):
        runs = [
            found.run(setting, seed)
            for setting in found.settings
            for seed in found.seeds
            if (*setting, seed) in found.cells
        ]
    else:
        runs = [found]
    rows = rows_of_cells(
        runs, store, options.methods, space=options.space, reduction=options.reduction, scale=options.scale,
        progress=options.progress,
    )  # fmt: skip
    first = rows[0].summary
    provenance = str(shown.data.get("provenance") or shown.config.data.source)
    seeds = sorted({run.seed for run in runs})
    caption = (
        f"Saliency inside the true events. {provenance}; test split, {store.n_clips:,} of {store.n_listed:,} clips; "
        f"{first.n_pairs} (clip, class) pairs of {first.n_clips} clips; preset {shown.config.preset}, head "
        f"{shown.config.model.weak_head}, {'seed' if len(seeds) == 1 else 'mean over seeds'} "
        f"{', '.join(map(str, seeds))}. Percent."
    )
    notes = {
        "share inside": "of the absolute map, summed over mel bands; chance is the share of frames that the event "
        "covers, in both measures",
        "pointing game": "how often the map's largest absolute value lies inside the event",
        "gain": "above chance, with a 95 % interval by bootstrap over clips (1,000 draws)",
        "left out": f"{first.n_left_out} pairs whose event covers the whole clip; maps that are zero everywhere: "
        f"{sum(row.summary.n_zero for row in rows)} over all rows",
        "loudness": "the clip's mel-band amplitudes instead of a map; untrained: mean over three networks with random "
        "weights",
        "scalar": f"{options.scale} of the true class; strong: "
        f"{Target('strong', 0, reduction=options.reduction).reduction} over all frames",
    }
    notes |= {name: find_method(name).caption(options.space) for name in options.methods}
    write_text(paths[0], to_csv(rows))
    write_text(paths[1], to_markdown(rows, caption=caption, notes=notes))
    return list(paths)


# --- command line --------------------------------------------------------------------------------------------------


def _setting(text: str) -> tuple[float, float]:
    try:
        strong, weak = (float(part) for part in text.replace("_", ":").split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected STRONG:WEAK, e.g. 1:0.02") from None
    return strong, weak


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("folder", metavar="EXPERIMENT_OR_RUN", help="a folder of crnn-weak grid or crnn-weak train")
    group = parser.add_argument_group("figures")
    group.add_argument(
        "--clip", action="append", default=[], metavar="ID",
        help="a clip of the test split, again for more; write --clip=ID, for ids may begin with dashes "
        "(default: the best, the median and the worst)",
    )  # fmt: skip
    group.add_argument(
        "--class", dest="labels", action="append", default=[], metavar="NAME", help="default: the clip's true classes"
    )
    group.add_argument("--setting", type=_setting, metavar="STRONG:WEAK", help="of an experiment (default: the best)")
    group.add_argument("--seed", type=int, metavar="N", help="of an experiment (default: the first)")
    group.add_argument("--span", nargs=2, type=float, metavar=("START", "END"), help="seconds of the strong output")
    group.add_argument("--no-figures", action="store_true")
    group = parser.add_argument_group("maps")
    group.add_argument(
        "--method", action="append", metavar="NAME", help=f"{', '.join(METHODS)}; again for more rows of the table "
        f"(default: {' and '.join(DEFAULT_METHODS)}); the first draws the figures",
    )  # fmt: skip
    group.add_argument("--reduction", default="", metavar="NAME", help="over strong's frames: mean (default), max, sum")
    group.add_argument(
        "--scale", default="score", metavar="NAME", help="score (default), or logit, which does not vanish near 0 and 1"
    )
    group.add_argument("--space", default="standardised", choices=sorted(SPACES), help="gradient with respect to what")
    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="FOLDER", help="default: saliency inside the folder")
    group.add_argument("--no-statistics", action="store_true", help="no table")
    group.add_argument("--overwrite", action="store_true")
    parser.epilog = "example: crnn-weak saliency runs/train/street-quick-max_dense --clip=--jc0NAxK8M_30.000_40.000"


def run(args: argparse.Namespace) -> int:
    """Run the command and print the table and the names of the files."""
    if args.no_figures and (args.clip or args.no_statistics):
        raise ConfigError("--no-figures leaves nothing to do with --clip or --no-statistics: leave one of them out.")
    options = Options(
        clips=tuple(args.clip),
        labels=tuple(args.labels),
        methods=tuple(args.method or DEFAULT_METHODS),
        space=args.space,
        reduction=args.reduction,
        scale=args.scale,
        span_seconds=None if args.span is None else (args.span[0], args.span[1]),
        setting=args.setting,
        seed=args.seed,
        figures=not args.no_figures,
        statistics=not args.no_statistics,
        overwrite=args.overwrite,
        progress=sys.stderr.isatty() and not getattr(args, "quiet", False),
    )
    written = saliency_maps(args.folder, args.out, options)
    for path in written:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
    for path in written:
        print(shlex.quote(str(path)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m crnn_weak.experiments.saliency_maps``."""
    from crnn_weak.cli import main as command_line

    return command_line(["saliency", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    raise SystemExit(main())
