"""The page of a run or a grid: one HTML file, the same bytes whenever it is made from the same folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crnn_weak import paper
from crnn_weak.config import to_toml
from crnn_weak.errors import RunError
from crnn_weak.figures.results import class_figure, loss_weight_figure, setting_figure, training_figure
from crnn_weak.files import write_text
from crnn_weak.report.clips import gather_clips
from crnn_weak.report.media import figure_uri, render
from crnn_weak.report.model_card import class_table, class_values, facts
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.folders import Grid, Run, open_any, open_run
from crnn_weak.runs.table import ResultsTable, results_of_run, table_caption


def write_report(
    path: str | Path,
    *,
    out: str | Path | None = None,
    setting: tuple[float, float] | None = None,
    n_clips: int = 3,
    wanted: Sequence[str] = (),
    audio_folders: Sequence[str | Path] = (),
) -> Path:
    """Write the page of a run's or a grid's folder; return the page's path.

    A grid's page shows classes and clips of one setting, by default the one with the best detection F-score:
    `n_clips` of each of best, worst and random, one per class, and those of `wanted`. Recordings are opened under the
    folder and under `audio_folders` only.
    """
    opened = open_any(path)
    if isinstance(opened, Grid):
        if not opened.runs:
            raise RunError(f"{opened.path}: has a table, but its runs' folders are gone. Rerun the grid.")
        run = opened.run(setting or opened.best_setting())
        table, runs = opened.table, [open_run(folder, unfinished=True) for folder in opened.runs.values()]
    else:
        run, runs = opened, [opened]
        lines = results_of_run(run.name, run.setting, run.seed, run.metrics, "")
        table = ResultsTable(lines, table_caption(run.config, run.data, [run.seed]))
    clips, notes = gather_clips(run, n_clips=n_clips, wanted=wanted, audio_folders=audio_folders)
    header, rows = class_table(run)
    page = render(
        "report.html.j2",
        title=opened.name,
        kind="grid" if isinstance(opened, Grid) else "run",
        run_name=run.name,
        setting="strong {:g}, weak {:g}".format(*run.setting),
        table=table,
        drawings=_drawings(opened, run, runs),
        class_header=header,
        class_rows=rows,
        facts=facts(run),
        config_toml=to_toml(run.config),
        citation=paper.CITATION,
        clips=clips,
        notes=notes,
    )
    target = RunFiles(path).report if out is None else Path(out)
    write_text(target, page)
    return target


def _drawings(opened: Run | Grid, run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """Return the page's figures by name, as addresses; those without values are omitted."""
    bars = {
        output: 100 * np.array(class_values(run, output, "f_score"), dtype=float)
        for output in ("tagging", "segment")
        if run.metrics.get(output)
    }
    drawings = {"classes": class_figure(bars, run.classes)}
    if run.history:
        drawings["curves"] = training_figure(run.history, run.best_epoch)
    if isinstance(opened, Grid):
        drawings["grid"] = loss_weight_figure(opened.table)
        histories = {trained.setting: trained.history for trained in reversed(runs) if trained.history}
        if len(histories) > 1:
            drawings["settings"] = setting_figure(histories)
    return {name: figure_uri(figure) for name, figure in drawings.items()}
