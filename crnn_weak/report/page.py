"""The page of a run or a grid: one HTML file, the same bytes whenever it is made from the same folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak import figures, paper
from crnn_weak.config import to_toml
from crnn_weak.errors import RunError
from crnn_weak.figures.style import png_bytes
from crnn_weak.files import write_text
from crnn_weak.report.clips import gather_clips
from crnn_weak.report.media import data_uri, render
from crnn_weak.report.model_card import write_model_card
from crnn_weak.report.views import class_table, class_values, coverage, facts
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.grid import Grid, open_any
from crnn_weak.runs.results import results_of_run, table_caption
from crnn_weak.runs.run import Run, open_run
from crnn_weak.runs.table import ResultsTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def write_report(
    path: str | Path,
    *,
    out: str | Path | None = None,
    setting: tuple[float, float] | None = None,
    n_clips: int = 3,
    wanted: Sequence[str] = (),
    audio_folders: Sequence[str | Path] = (),
) -> Path:
    """Write the page of a run's or a grid's folder, and model cards next to its models; return the page's path.

    A grid's page shows classes and clips of one setting, by default the one with the best detection F-score:
    `n_clips` of each of best, worst and random, one per class, and those of `wanted`. Recordings are opened under the
    folder and under `audio_folders` only.
    """
    opened = open_any(path)
    if isinstance(opened, Grid):
        if not opened.runs:
            raise RunError(f"{opened.path}: has a table, but its runs' folders are gone. Rerun the grid.")
        run = opened.run(setting or opened.best_setting())
        runs = [open_run(folder, unfinished=True) for folder in opened.runs.values()]
    else:
        run, runs = opened, [opened]
    target = Path(path) if out is None else Path(out)
    if target.is_dir():
        target = RunFiles(target).report
    clips, notes = gather_clips(run, n_clips=n_clips, wanted=wanted, audio_folders=audio_folders)
    write_text(target, _page(opened, run, runs, clips=clips, notes=notes))
    for trained in runs:
        inside = trained.path.resolve().is_relative_to(opened.path.resolve())  # never where a link leads out
        if inside and trained.is_scored() and trained.model_path.is_file():
            try:
                write_model_card(trained)
            except OSError as error:  # a read-only folder
                log.warning("report: no model card for %s: %s", trained.path, error)
    return target


def _page(opened: Run | Grid, run: Run, runs: Sequence[Run], **clips: Any) -> str:
    from markupsafe import Markup

    header, rows = class_table(run)
    return render(
        "report.html.j2",
        title=opened.name,
        kind="grid" if isinstance(opened, Grid) else "run",
        run_name=run.name,
        setting="strong {:g}, weak {:g}".format(*run.setting),
        table=Markup(_table(opened)._repr_html_()),  # it escapes its texts
        drawings={name: data_uri(png_bytes(figure), "image/png") for name, figure in _drawings(opened, run, runs)},
        class_header=header,
        class_rows=rows,
        facts=facts(run),
        provenance=run.data.get("provenance", ""),
        coverage=coverage(run),
        config_toml=to_toml(run.config),
        citation=paper.CITATION,
        **clips,
    )


def _table(opened: Run | Grid) -> ResultsTable:
    """Return the results with the published ones of the same settings; of a run, a table of one row."""
    if isinstance(opened, Grid):
        return opened.table
    lines = results_of_run(opened.name, opened.setting, opened.seed, opened.metrics, "")
    return ResultsTable(lines, table_caption(opened.config, opened.data, [opened.seed]))


def _drawings(opened: Run | Grid, run: Run, runs: Sequence[Run]) -> list[tuple[str, Figure]]:
    """Return the page's figures by name; those without values are omitted."""
    drawn = []
    if isinstance(opened, Grid):
        drawn.append(("grid", figures.loss_weight_figure(opened.table)))
        histories = {trained.setting: trained.history for trained in reversed(runs) if trained.history}
        if len(histories) > 1:
            figure, axes = figures.new_figure(9.8, 3.3, n_columns=2)
            figures.plot_setting_curves(histories, axes=axes)
            drawn.append(("settings", figure))
    if run.history:
        figure, axes = figures.new_figure(9.8, 3.2, n_columns=2)
        figures.plot_training_curves(run.history, axes=axes, best_epoch=run.best_epoch)
        drawn.append(("curves", figure))
    figure, (ax,) = figures.new_figure(9.8, 1.0 + 0.3 * len(run.classes))
    bars = {
        output: 100 * np.array(class_values(run, output, "f_score"), dtype=float)
        for output in ("tagging", "segment")
        if run.metrics.get(output)
    }
    figures.plot_class_wise(bars, classes=run.classes, ax=ax)
    drawn.append(("classes", figure))
    return drawn
