"""Beyond the paper: heads, targets and augmentation, one change at a time, on data with and without real recordings.

``python -m crnn_weak.experiments.beyond --design experiments/beyond.toml`` reads a design, trains every entry on every
data set with every seed, tunes all of them alike on validation clips, and writes for each data set ``results.csv``,
``table.md``, ``figure.png`` (tagging F against segment F) and ``scores.json.gz`` (the counts of every clip, from which
the rest follows). Started again it goes on where it was; ``--known FOLDER`` takes runs from published
``scores.json.gz`` instead of training them; ``--only-table`` shows what is finished. The form of a design is described
in `crnn_weak.runs.design`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import lock, write_json, write_text
from crnn_weak.parallel import run_tasks
from crnn_weak.run_files import GridFiles, RunData, RunFiles, read_optional
from crnn_weak.runs.design import (
    Design,
    config_of,
    data_of,
    data_settings,
    merged,
    models_of,
    needs,
    ordered,
    read_design,
    restrict,
    settings_of,
)
from crnn_weak.runs.identity import check_identity
from crnn_weak.runs.train_and_score import RunTask, train_and_score

if TYPE_CHECKING:
    from crnn_weak.runs.comparison import Estimate, KnownRun, KnownRuns, RunScore

__all__ = ["Design", "add_arguments", "main", "read_design", "run", "run_design"]

log = logging.getLogger(__name__)

# In place of a teacher's path where only the settings count.
_KNOWN = "known"


def run_design(
    design: Design,
    folder: Path,
    cache: Path,
    *,
    audio: str | None = None,
    known: Path | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
) -> None:
    """Train and score what is not done yet; write each data set's table after every group of entries.

    Parameters
    ----------
    folder : Path
        A run is in ``<data>/<entry>/seed-<n>``.
    cache : Path
        Of synthetic clips and feature stores.
    audio : path, optional
        ``data.root`` of the data sets that have one and do not state it.
    known : Path, optional
        Folder of ``<data>/scores.json.gz``, whose runs are not trained again; they must be of the same data.
    jobs : int
    scheduler : str, optional
        Of Dask.

    Raises
    ------
    DataError
        The known runs are of other data.
    RunError
        A run in `folder` is of other data or another first model.
    """
    from crnn_weak.runs.prepare import prepare

    for data, settings in design.data.items():
        kind = configuration.from_dict(data_settings(design, data)).data
        if audio is not None and getattr(kind, "root", None) == "":
            design.data[data] = merged(settings, {"data": {"root": audio}})
    stores = {}
    for data in design.data:
        base = configuration.from_dict(data_settings(design, data))
        prepared = prepare(base, cache, folder / data, jobs=jobs, scheduler=scheduler, progress=progress)
        write_json(GridFiles(folder / data).data, prepared.data)
        stores[data] = (str(prepared.train_store), str(prepared.test_store))
    done = {data: _known(design, data, _published(known, folder, data)) for data in design.data}
    options: dict[str, Any] = {"share_last": True} if scheduler is None else {"scheduler": scheduler}
    with lock(folder):
        for group in ordered(design):
            runs = [(data, name, seed) for seed in design.seeds for name in group for data in data_of(design, name)]
            tasks = [_task(design, folder, *run, stores[run[0]]) for run in runs]
            waiting = []
            for task, run in zip(tasks, runs, strict=True):
                if _is_done(task.files, task.config):
                    check_identity(task.files, task.identity())
                elif run[1:] not in done[run[0]] or _is_start(design, *run[1:], done):
                    waiting.append(task)
            log.info("%d of %d runs of %s to do", len(waiting), len(tasks), ", ".join(group))
            for index, line in run_tasks(run_task, waiting, jobs=jobs, **options):
                log.info("%s: %s", waiting[index].folder, line)
            write_tables(design, folder, known)
        elsewhere = [
            ElsewhereTask(
                _run(folder, models, name, seed), stores[data][1], _run(folder, data, name, seed),
                config_of(design, data, name, seed, teacher=_KNOWN),
            )
            for data, models in ((data, models_of(design, data)) for data in design.data)
            for name in design.entries
            for seed in design.seeds
            if models in data_of(design, name) and (name, seed) not in done[data]
        ]  # fmt: skip
        to_score = [task for task in elsewhere if task.run.best_model.exists() and not _is_done(task.kept, task.config)]
        for _ in run_tasks(score_task, to_score, jobs=jobs, **options):
            pass
        if elsewhere:
            write_tables(design, folder, known)


def _provenance(folder: Path, data: str) -> str:
    return read_optional(GridFiles(folder / data).data, RunData).get("provenance", "")


def _published(known: Path | None, folder: Path, data: str) -> KnownRuns:
    """Return the known runs of a data set, checked to be of the data in `folder` once these are prepared."""
    from crnn_weak.runs.comparison import KnownRuns, read_scores

    if known is None:
        return KnownRuns(data, [])
    path, ours = GridFiles(known / data).scores, _provenance(folder, data)
    published = read_scores(path)
    if published.runs and ours not in ("", published.provenance):
        raise DataError(
            f"--known {path}: its runs are of other data ({published.provenance}) than yours ({ours}). "
            f"Leave --known out to train all runs."
        )
    return published


def _known(design: Design, data: str, published: KnownRuns) -> dict[tuple[str, int], RunScore]:
    """Return the published runs of the design's entries: (entry, seed) to score."""
    from crnn_weak.runs.comparison import run_name

    found = {}
    for run in published.runs:
        if run.entry in design.entries and run.config == run_name(
            config_of(design, data, run.entry, run.seed, teacher=_KNOWN)
        ):
            found[run.entry, run.seed] = run.score
    return found


def _is_start(design: Design, name: str, seed: int, known: Mapping[str, Mapping[tuple[str, int], RunScore]]) -> bool:
    """Return whether an entry that is not known starts from this one's model."""
    return any(
        name in needs(design, other) and any((other, seed) not in known[data] for data in data_of(design, other))
        for other in design.entries
    )


def _run(folder: Path, data: str, name: str, seed: int) -> RunFiles:
    return RunFiles(folder / data / name / f"seed-{seed}")


def _task(design: Design, folder: Path, data: str, name: str, seed: int, stores: tuple[str, str]) -> RunTask:
    entry = settings_of(design, name)
    teacher = str(_run(folder, data, entry["teacher"], seed).best_model) if "teacher" in entry else ""
    start = None
    if "start" in entry:
        start_data, _, start_name = entry["start"].rpartition("/")
        start = str(_run(folder, start_data, start_name, seed).best_model)
    config = config_of(design, data, name, seed, teacher=teacher)
    return RunTask(config, *stores, str(_run(folder, data, name, seed).folder), initial_model=start)


def _is_done(files: RunFiles, config: Config) -> bool:
    from crnn_weak.runs.comparison import read_score

    return read_score(files.comparison) is not None and configuration.load_config(files.config) == config


def run_task(task: RunTask) -> str:
    """Train and score one run; return a line about it."""
    from crnn_weak.runs.comparison import score_run

    metrics = train_and_score(task)
    score_run(task.files)
    segment = metrics["segment"]
    detection = "" if segment is None else f", segment F {100 * segment['f_score']:.1f}"
    return f"tagging F {100 * metrics['tagging']['f_score']:.1f}{detection} at the run's own threshold"


class ElsewhereTask(NamedTuple):
    """A finished run, the store of other test clips, and the folder of its scores on these."""

    run: RunFiles
    test_store: str
    kept: RunFiles
    config: Config  # of the run, with the other data


def score_task(task: ElsewhereTask) -> None:
    """Score a run on the test clips of other data."""
    from crnn_weak.runs.comparison import score_elsewhere

    score_elsewhere(*task)


# --- results -------------------------------------------------------------------------------------------------------


def write_tables(design: Design, folder: Path, known: Path | None = None) -> dict[str, str]:
    """Write scores, table, results and figure of each data set from finished and known runs; return the tables' text.

    Differences are taken, for each metric, from the best entry of the design's curves.
    """
    from crnn_weak.runs.comparison import KnownRuns, compare, write_scores
    from crnn_weak.runs.comparison_table import to_csv, to_markdown

    texts = {}
    for data in design.data:
        published = _published(known, folder, data)
        runs = _scored(design, folder, data, _known(design, data, published))
        scores: dict[str, dict[int, RunScore]] = {}
        for run in runs:
            scores.setdefault(run.entry, {})[run.seed] = run.score
        if not scores:
            continue
        curves = [[name for name in curve if name in scores] for curve in design.curves]
        baselines = _baselines([name for curve in curves for name in curve], scores)
        estimates = compare(scores, baselines=baselines)
        files = GridFiles(folder / data)
        provenance = _provenance(folder, data) or published.provenance
        write_scores(files.scores, KnownRuns(provenance, runs))
        write_text(files.results, to_csv(estimates, scores))
        texts[data] = to_markdown(estimates, scores, baselines, provenance)
        write_text(files.table("md"), texts[data])
        _figure(estimates, [curve for curve in curves if curve], files.figure)
    return texts


def _scored(design: Design, folder: Path, data: str, known: Mapping[tuple[str, int], RunScore]) -> list[KnownRun]:
    """Return the scored runs of a data set, by entry and seed."""
    from crnn_weak.runs.comparison import KnownRun, read_score, run_name

    runs = []
    for name in design.entries:
        for seed in design.seeds if (models_of(design, data) or data) in data_of(design, name) else ():
            files = _run(folder, data, name, seed)
            wanted = run_name(config_of(design, data, name, seed, teacher=_KNOWN))
            score = read_score(files.comparison)
            if score is None or run_name(configuration.load_config(files.config)) != wanted:
                score = known.get((name, seed))
            if score is not None:
                runs.append(KnownRun(name, seed, wanted, score))
    return runs


def _baselines(curve: Sequence[str], scores: Mapping[str, Mapping[int, RunScore]]) -> dict[str, str]:
    """Return for each metric the setting of the curve with the best mean on the test clips, the hardest to beat."""
    from crnn_weak.runs.comparison import METRICS, compare

    if not curve:
        return {}
    means = compare({name: scores[name] for name in curve}, baselines={}, n_resamples=1)
    known = [metric for metric in METRICS if all(metric in row for row in means.values())]
    return {metric: max(means, key=lambda name: means[name][metric].mean) for metric in known}


def _figure(estimates: Mapping[str, Mapping[str, Estimate]], curves: Sequence[Sequence[str]], path: Path) -> None:
    from crnn_weak.figures import save_figure, tradeoff_figure

    points = {
        name: {metric: tuple(100 * value for value in row[metric][:3]) for metric in ("tagging", "segment")}
        for name, row in estimates.items()
        if "segment" in row
    }
    if points:
        save_figure(tradeoff_figure(points, curves=curves), path)


# --- command line --------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the experiment's options."""
    from crnn_weak import cli

    cli.add_work(parser)
    parser.add_argument("--design", required=True, metavar="FILE", help="TOML, e.g. experiments/beyond.toml")
    parser.add_argument("--out", metavar="FOLDER", help="default: runs/beyond/DESIGN")
    parser.add_argument("--audio", metavar="FOLDER", help="the recordings of data that need some")
    parser.add_argument("--known", metavar="FOLDER", help="published DATA/scores.json.gz: runs not to train again")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="instead of the design's")
    parser.add_argument("--entries", nargs="+", metavar="NAME", help="only these, in this order, and what they need")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask: tcp://host:port, or local")
    parser.add_argument("--only-table", action="store_true", help="train nothing: write the tables of finished runs")


def run(args: argparse.Namespace) -> int:
    """Run the experiment and print its tables."""
    from crnn_weak import cli

    design = restrict(read_design(args.design), args.entries, args.data)
    design.seeds = args.seeds or design.seeds
    known = Path(args.known) if args.known else None
    if known is not None and not known.is_dir():
        raise ConfigError(f"--known {known}: no such folder. Expected one with DATA/scores.json.gz.")
    folder = Path(args.out) if args.out else Path("runs") / "beyond" / Path(args.design).stem
    if not args.only_table:
        run_design(
            design, folder, cli.cache_folder(args), audio=args.audio, known=known, jobs=args.jobs,
            scheduler=args.scheduler, progress=cli.shows_progress(args),
        )  # fmt: skip
    for data, text in write_tables(design, folder, known).items():
        print(f"{data}\n\n{text}")
    print(f"{folder}: DATA/table.md, results.csv, figure.png, scores.json.gz")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m crnn_weak.experiments.beyond``."""
    from crnn_weak.cli import log_to_stderr, run_guarded

    parser = argparse.ArgumentParser(
        prog="python -m crnn_weak.experiments.beyond", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m crnn_weak.experiments.beyond --design experiments/beyond.toml --data street",
    )  # fmt: skip
    add_arguments(parser)
    args = parser.parse_args(argv)
    log_to_stderr(logging.INFO)
    return run_guarded("beyond", lambda: run(args))


if __name__ == "__main__":
    # By its name: workers import what they run, and __main__ is another module there.
    from crnn_weak.experiments.beyond import main as by_name

    sys.exit(by_name())
