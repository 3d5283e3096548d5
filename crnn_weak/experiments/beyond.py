"""Beyond the paper: heads, targets and augmentation, one change at a time, on data with and without real recordings.

A design (`crnn_weak.runs.scores`) is trained, every entry on every data set with every seed, tuned alike on validation
clips, and written for each data set: ``results.csv``, ``table.md``, ``figure.png`` and ``scores.json.gz``, the counts
of every clip, from which the rest follows. Started again, it resumes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crnn_weak.cli import main
from crnn_weak.config import from_dict, load_config
from crnn_weak.errors import DataError
from crnn_weak.files import lock, refuse_links, write_json, write_text
from crnn_weak.labels.rolls import n_segments
from crnn_weak.parallel import Work, run_tasks
from crnn_weak.run_files import GridFiles, RunData, RunFiles, read_optional
from crnn_weak.runs import scores
from crnn_weak.runs.folders import Run
from crnn_weak.runs.scores import Design, PublishedRun, PublishedRuns, RunScore, merged
from crnn_weak.runs.train import prepare, scored_line, train_and_score

log = logging.getLogger(__name__)

#: (entry, seed) -> score, of one data set
Known = Mapping[tuple[str, int], RunScore]


def run_design(
    design: Design, folder: Path, cache: Path, work: Work, *, audio: str | None = None, published: Path | None = None
) -> None:
    """Train and score what is missing; write each data set's table after every group of entries.

    A run is in ``<folder>/<data>/<entry>/seed-<n>``. `audio` is the ``data.root`` of data sets that need one and state
    none. `published` is a folder of ``<data>/scores.json.gz``, whose runs are not trained again; they must be of the
    same data.
    """
    with lock(folder):
        prepared: dict[str, dict[str, Any]] = {}
        for name, settings in design.data.items():
            if audio is not None and getattr(from_dict(settings).data, "root", None) == "":
                design.data[name] = merged(settings, {"data": {"root": audio}})
            config = from_dict(design.data[name])
            prepared[name] = prepare(config, cache, folder / name, work)
            write_json(GridFiles(folder / name).data, prepared[name])
        known = {name: _read_published(design, folder, name, published)[1] for name in design.data}
        for group in design.groups():
            waiting = []
            places = [(name, entry, seed) for seed in design.seeds for entry in group for name in design.data_of(entry)]
            for name, entry, seed in places:
                run = _planned_run(design, folder, name, entry, seed, prepared[name])
                refuse_links(run.path)
                if scores.read_score(run.files.comparison) is not None and run.is_up_to_date():
                    run.check_continues()
                elif (entry, seed) not in known[name] or _starts_another(design, entry, seed, known):
                    waiting.append(run)
            log.info("%d of %d runs of %s to do", len(waiting), len(places), ", ".join(group))
            results = run_tasks(train_and_tune, waiting, jobs=work.jobs, scheduler=work.scheduler, share_last=True)
            for index, line in results:
                log.info("%s: %s", waiting[index].path, line)
            write_tables(design, folder, published)


def train_and_tune(run: Run) -> str:
    """Train and score one run; return a line about it."""
    metrics = train_and_score(run)
    scores.score_run(run.files)
    return f"{scored_line(run, metrics)} at the run's own threshold"


def _run_files(folder: Path, data: str, entry: str, seed: int) -> RunFiles:
    return RunFiles(folder / data / entry / f"seed-{seed}")


def _planned_run(design: Design, folder: Path, data: str, entry: str, seed: int, prepared: Mapping[str, Any]) -> Run:
    settings, teacher, start = design.entries[entry], "", None
    if "teacher" in settings:
        teacher = str(_run_files(folder, data, settings["teacher"], seed).best_model)
    if "start" in settings:
        start_data, _, start_entry = settings["start"].rpartition("/")
        start = str(_run_files(folder, start_data, start_entry, seed).best_model)
    config = design.config(data, entry, seed, teacher=teacher)
    return Run(_run_files(folder, data, entry, seed).folder, config, prepared, folder / data, start)


def _starts_another(design: Design, entry: str, seed: int, known: Mapping[str, Known]) -> bool:
    """Return whether an entry that has to be trained starts from this one's model."""
    return any(
        entry in design.needs(other) and any((other, seed) not in known[data] for data in design.data_of(other))
        for other in design.entries
    )


def _name(design: Design, data: str, entry: str, seed: int) -> str:
    return scores.run_name(design.config(data, entry, seed, teacher="any"))


def _read_published(design: Design, folder: Path, data: str, published: Path | None) -> tuple[str, Known]:
    """Return the data's origin and the published runs of the design's entries; refuse those of other data."""
    ours = read_optional(GridFiles(folder / data).data, RunData).get("provenance", "")
    if published is None:
        return ours, {}
    path = GridFiles(published / data).scores
    found = scores.read_scores(path)
    if found.runs and ours not in ("", found.provenance):
        raise DataError(
            f"--reuse-results {path}: its runs are of other data ({found.provenance}) than yours ({ours}). "
            "Omit --reuse-results to train all runs."
        )
    known = {}
    for run in found.runs:
        if run.entry in design.entries and run.config == _name(design, data, run.entry, run.seed):
            known[run.entry, run.seed] = run.score
    return ours or found.provenance, known


def write_tables(design: Design, folder: Path, published: Path | None = None) -> dict[str, str]:
    """Write each data set's files from finished and published runs, with differences from the best of the curves."""
    from crnn_weak.figures.results import tradeoff_figure
    from crnn_weak.figures.style import save_figure

    texts = {}
    for data in design.data:
        provenance, known = _read_published(design, folder, data, published)
        runs = _scored_runs(design, folder, data, known)
        entries: dict[str, dict[int, RunScore]] = {}
        for run in runs:
            entries.setdefault(run.entry, {})[run.seed] = run.score
        if not entries:
            continue
        curves = [[entry for entry in curve if entry in entries] for curve in design.curves]
        baselines = scores.hardest_to_beat([entry for curve in curves for entry in curve], entries)
        estimates = scores.compare(entries, baselines=baselines)
        files = GridFiles(folder / data)
        scores.write_scores(files.scores, PublishedRuns(provenance, runs))
        write_text(files.results, scores.comparison_csv(estimates, entries))
        config = from_dict(design.data[data])
        n_segments_of_clip = n_segments(config.features.clip_seconds, config.evaluation.segment_seconds)
        texts[data] = scores.comparison_markdown(estimates, entries, baselines, provenance, n_segments_of_clip)
        write_text(files.table("md"), texts[data])
        points = {
            entry: {key: tuple(100 * value for value in row[key][:3]) for key in ("tagging", "segment")}
            for entry, row in estimates.items()
            if "segment" in row
        }
        if points:
            save_figure(tradeoff_figure(points, curves=[curve for curve in curves if curve]), files.figure)
    return texts


def _scored_runs(design: Design, folder: Path, data: str, known: Known) -> list[PublishedRun]:
    """Return the scored runs of a data set, by entry and seed."""
    runs = []
    for entry in design.entries:
        for seed in design.seeds if data in design.data_of(entry) else ():
            files = _run_files(folder, data, entry, seed)
            name = _name(design, data, entry, seed)
            score = scores.read_score(files.comparison)
            if score is None or scores.run_name(load_config(files.config)) != name:
                score = known.get((entry, seed))
            if score is not None:
                runs.append(PublishedRun(entry, seed, name, score))
    return runs


if __name__ == "__main__":
    sys.exit(main(["beyond", *sys.argv[1:]]))
