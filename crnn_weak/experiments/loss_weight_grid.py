"""The default grid: train and score the paper's seven loss weights, and print the published table next to the result.

Without arguments it synthesizes street scenes, computes their features, trains the seven settings, scores held-out
clips and prints the table. An interrupted grid resumes when it is started again.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from crnn_weak import config as configuration
from crnn_weak import paper
from crnn_weak.cli import main
from crnn_weak.files import delete_files, lock, refuse_links, write_json, write_text
from crnn_weak.metrics.controls import score_baselines
from crnn_weak.metrics.counting import Scoring
from crnn_weak.metrics.summary import plain
from crnn_weak.parallel import Work
from crnn_weak.run_files import check_continues
from crnn_weak.runs.folders import Grid
from crnn_weak.runs.table import Result, ResultsTable, Setting, results_of_run, write_results
from crnn_weak.runs.train import prepare, train_all

#: The paper's seven settings of (strong, weak).
SETTINGS: tuple[Setting, ...] = tuple((row.strong, row.weak) for row in paper.RESULTS)


def run_grid(grid: Grid, cache: Path, work: Work, *, overwrite: bool = False) -> ResultsTable:
    """Run what is missing of a grid; write the table, the figure and the record.

    `cache` holds synthetic clips and feature stores. Finished runs of other settings stay in the table; with
    `overwrite`, the folder's grid is deleted.
    """
    files = grid.files
    with lock(grid.path):
        stored = check_continues(files, grid.config, overwrite=overwrite)
        data = prepare(grid.config, cache, grid.path, work)
        runs = grid.planned_runs(data)
        begun = files.runs().values()
        for run_folder in (*(run.path for run in runs), *(run_files.folder for run_files in begun)):
            refuse_links(run_folder)
        if overwrite:
            delete_files([*files.written(), *(path for run_files in begun for path in run_files.written())])
        for run in [*runs, *grid.other_runs(data)]:
            run.check_continues(like=runs[0])
        if stored != grid.config:
            delete_files([files.report, files.results])  # of a shorter training
        write_text(files.config, configuration.to_toml(grid.config))
        write_json(files.data, data)
        train_all(runs, work)
        table = make_table(grid, data)
        write_outputs(grid, table)
    return table


def make_table(grid: Grid, data: dict[str, Any]) -> ResultsTable:
    """Return the results of the folder's runs, next to those of the paper and the baselines."""
    lines: list[Result] = []
    runs = grid.planned_runs(data) + grid.other_runs(data)
    for run in runs:
        name = configuration.fingerprint(run.config)
        lines += results_of_run(grid.path.name, run.setting, run.seed, run.metrics, name)
    with runs[0].open_store("test") as store:
        events = store.events if store.has_events else None
        baselines = score_baselines(store.named_tags(), events, Scoring.of_config(grid.config, store.classes))
    for run in runs:  # of the same clips, but a run of an earlier version does not have it
        if loudness := run.metrics.get("loudness"):
            baselines["loudness"] = {"within_clip/auc": loudness["auc"]}
    return ResultsTable.of_data(grid.config, data, lines, baselines)


def write_outputs(grid: Grid, table: ResultsTable) -> None:
    """Write results, tables, figure, baselines and the environment of a finished grid."""
    from crnn_weak.figures.results import loss_weight_figure
    from crnn_weak.figures.style import save_figure

    files = grid.files
    write_json(files.baselines, plain(table.baselines))
    texts = {"txt": table.to_text(), "csv": table.to_csv(), "md": table.to_markdown(), "tex": table.to_latex()}
    for suffix, text in texts.items():
        write_text(files.table(suffix), text)
    short = dataclasses.replace(table, short=True)
    write_text(files.short_table("txt"), short.to_text())
    write_text(files.short_table("tex"), short.to_latex())
    first = files.run(*grid.settings[0], grid.seeds[0])
    write_text(files.environment, first.environment.read_text(encoding="utf-8"))
    save_figure(loss_weight_figure(table), files.figure)
    write_text(files.results, write_results(table.lines))  # last: a folder that has it holds a finished grid


if __name__ == "__main__":
    sys.exit(main(["grid", *sys.argv[1:]]))
