"""The starter model: what ``crnn-weak detect`` uses where no ``--model`` is given.

``python scripts/starter_model.py`` trains ``experiments/starter.toml`` on synthetic street scenes (some minutes on
two cores), tunes thresholds and post-processing on the validation clips, and writes ``starter.keras`` into the
package. ``--run RUN`` takes a finished run instead; ``--data``, ``--config`` and ``--set`` train on something else.
The file states what it was trained on; ``crnn-weak detect`` repeats it on every use. Run
``python scripts/starter_on_recordings.py FOLDER --write`` afterwards: it chooses the classes that are on by default.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crnn_weak import cli
from crnn_weak.cli import run_guarded
from crnn_weak.errors import DataError, RunError

#: Its settings: the maximum as weak head and a small strong loss weight, which leave onsets and offsets to the network.
CONFIG = Path(__file__).resolve().parents[1] / "experiments" / "starter.toml"
#: Seconds; gaps that are closed, to choose among.
_MIN_GAPS = (0.0, 0.5, 1.0)

_PURPOSE = "for trying the tool only"
_PROCEDURAL = "trained on synthetic street scenes, not on real recordings"


def make_starter(run: str | Path, out: str | Path) -> dict[str, Any]:
    """Copy a run's model, with an operating point tuned on its validation clips and the source of its data."""
    from crnn_weak.detection.postprocessing import OperatingPoint
    from crnn_weak.detection.tuning import tune
    from crnn_weak.model.archive import load_model, read_metadata, save_model
    from crnn_weak.runs.scores import open_scores

    scored = open_scores(run, "validation")
    source, out = scored.run.path / "best.keras", Path(out)
    if not source.is_file():
        raise RunError(f"{run}: no best.keras in it; finish the run first.")
    config = scored.run.config
    tuned: dict[str, Any] = {}

    def search(metric: str, start: Any, **options: Any) -> Any:
        found = tune(scored.scores, scored.reference, metric=metric, operating_point=start, **options)
        tuned[metric] = [found.before, found.after]
        return found.operating_point

    point = search("tagging_f1", OperatingPoint.from_config(config.operating_point, scored.scores.classes))
    if scored.events is not None:
        point = search("segment_f1", point)
        # Segments do not see short gaps inside an event, so these are chosen on whole events, at that threshold.
        medians = [0.0, 3 * config.features.hop_seconds, 5 * config.features.hop_seconds]
        filters = {"median_seconds": medians, "min_gap_seconds": _MIN_GAPS}
        point = search("event_f1", point, candidates=[point.thresholds[0]], filters=filters)
    metadata = read_metadata(source)
    data = str(metadata.provenance.get("data") or scored.run.data.get("provenance") or config.data.source)
    trained_on = _PROCEDURAL if config.data.source == "street" else f"trained on {data.rstrip('.')}"
    provenance = {
        **metadata.provenance,
        "trained_on": f"{trained_on}; {_PURPOSE}",
        "tuned_on_validation": tuned,
        "n_validation_clips": len(scored.scores),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    # Loaded and saved again: without the optimizer's state the file is half as large.
    model, _ = load_model(source)
    save_model(model, out, dataclasses.replace(metadata, operating_point=point.to_dict(), provenance=provenance))
    return provenance


def _train(args: argparse.Namespace) -> Path:
    """Train what the options ask for, and return the run folder; a finished one is not trained again."""
    from crnn_weak.runs.folders import Run
    from crnn_weak.runs.train import prepare, train_and_score

    config = cli.read_config(args)
    folder = Path(args.runs) / f"{config.data.source}-{config.preset}"
    progress = cli.shows_progress(args)
    data = prepare(config, cli.cache_folder(args), folder, jobs=args.jobs, progress=progress)
    train_and_score(Run(folder, config, data, folder))
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python scripts/starter_model.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_config(parser, preset="quick")
    cli.add_work(parser)
    group = parser.add_argument_group("starter model")
    group.add_argument("--run", metavar="RUN", help="take this finished run, train nothing")
    group.add_argument("--runs", default="runs/starter", metavar="FOLDER", help="train here (default: runs/starter)")
    group.add_argument("--out", metavar="FILE", help="default: the package's own starter model")
    group.add_argument("--overwrite", action="store_true", help="replace an existing starter model")
    return parser


def _run(args: argparse.Namespace) -> int:
    from crnn_weak.detection.detector import STARTER_MODEL

    out = Path(args.out) if args.out else STARTER_MODEL
    if out.exists() and not args.overwrite:
        raise DataError(f"{out}: exists. Pass --overwrite, or choose another --out.")
    args.config = args.config or str(CONFIG)
    run = Path(args.run) if args.run else _train(args)
    provenance = make_starter(run, out)
    for metric, (before, after) in provenance["tuned_on_validation"].items():
        print(f"{metric}: {100 * before:.1f} % before, {100 * after:.1f} % after tuning (validation clips)")
    print(f"{out}: {provenance['trained_on']} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Make the starter model; return the exit code."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("crnn_weak").setLevel(logging.INFO)
    return run_guarded("starter_model", lambda: _run(args))


if __name__ == "__main__":
    sys.exit(main())
