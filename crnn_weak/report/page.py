"""The page of a run or an experiment: one HTML file, the same bytes whenever it is made from the same folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak import figures, paper
from crnn_weak.config import to_toml
from crnn_weak.errors import RunError
from crnn_weak.figures.grid import loss_weight_values
from crnn_weak.files import write_text
from crnn_weak.report import page_views
from crnn_weak.report.clip_choice import ClipScores
from crnn_weak.report.clips import ClipOptions, ClipSection, gather_clips
from crnn_weak.report.html import render
from crnn_weak.report.media import figure_svg
from crnn_weak.report.model_card import write_model_card
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.grid import Experiment, open_any
from crnn_weak.runs.run import Run, open_run

__all__ = ["render_page", "write_report"]

log = logging.getLogger(__name__)


def write_report(
    path: str | Path,
    *,
    out: str | Path | None = None,
    setting: tuple[float, float] | None = None,
    options: ClipOptions | None = None,
) -> Path:
    """Write the page of a run or an experiment, and the model cards beside its models.

    Parameters
    ----------
    path : path
        A run's or an experiment's folder.
    out : path, optional
        The HTML file; by default ``report.html`` in the folder.
    setting : (strong, weak), optional
        Of an experiment: the run whose classes and clips are shown (first seed); by default the setting with the
        best detection F-score.
    options : ClipOptions, optional
        Which clips, with which sound, with or without saliency.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RunError
        The folder is missing, holds no run, or is not finished.
    ClipError
        A clip that was asked for is not there.
    """
    opened = open_any(path)
    options = options or ClipOptions()
    if isinstance(opened, Experiment):
        experiment: Experiment | None = opened
        if not opened.cells:
            raise RunError(f"{opened.path}: has a table, but its runs' folders are gone; there are no clips to show.")
        run = opened.run(setting or opened.best_setting())
    else:
        experiment, run = None, opened
    target = Path(path) if out is None else Path(out)
    if target.is_dir():
        target = RunFiles(target).report
    clips = gather_clips(run, options, sound_folder=target.with_name(f"{target.stem}-sound"))
    text = render_page(run, experiment, clips, embedded=options.embed)
    write_text(target, text)
    _write_cards(experiment, run)
    return target


def _write_cards(experiment: Experiment | None, run: Run) -> None:
    """Put a model card beside every trained model of the page; never where a link leads out of the folder."""
    runs = [run] if experiment is None else [open_run(folder, unfinished=True) for folder in experiment.cells.values()]
    root = (experiment or run).path.resolve()
    for trained in runs:
        inside = trained.path.resolve().is_relative_to(root)
        if inside and trained.finished and trained.model_path.is_file():
            try:
                write_model_card(trained)
            except OSError as error:  # a read-only folder
                log.warning("report: no model card for %s: %s", trained.path, error)


def _histories(experiment: Experiment) -> dict[tuple[float, float], Any]:
    """Each setting's history, of its first seed that is there."""
    found: dict[tuple[float, float], Any] = {}
    for (strong, weak, _), folder in sorted(experiment.cells.items()):
        if (strong, weak) not in found:
            history = open_run(folder, unfinished=True).history
            if history:
                found[strong, weak] = history
    return found


def _class_series(run: Run, classes: Sequence[str]) -> dict[str, list[float]]:
    series = {}
    for output in ("tagging", "segment"):
        rows = (run.metrics.get(output) or {}).get("class_wise")
        if rows:
            # A class that occurs and is never estimated has F 0 by its counts, though its precision is undefined.
            series[output] = [_class_f(rows.get(name, {})) for name in classes]
    return series


def _class_f(row: dict[str, Any]) -> float:
    if row.get("f_score") is not None:
        return 100.0 * float(row["f_score"])
    return 0.0 if row.get("n_reference") else float("nan")


def _drawings(run: Run, experiment: Experiment | None, scores: ClipScores | None) -> dict[str, str]:
    """The page's figures as inline SVG, by name; empty where there is nothing to draw."""
    drawn = dict.fromkeys(("grid", "settings", "curves", "classes", "confusion", "network"), "")
    classes = run.classes
    if experiment is not None:
        figure, axes = figures.new_figure(9.8, 4.0, n_columns=2)
        figures.plot_loss_weight_grid(loss_weight_values(experiment.table), axes=axes)
        drawn["grid"] = figure_svg(figure, name="grid", label="F-scores and error rate over the loss weights")
        histories = _histories(experiment)
        if len(histories) > 1:
            figure, axes = figures.new_figure(9.8, 3.3, n_columns=2)
            figures.plot_setting_curves(histories, axes=axes)
            drawn["settings"] = figure_svg(figure, name="settings", label="Validation losses of every setting")
    if run.history:
        figure, axes = figures.new_figure(9.8, 3.2, n_columns=2)
        figures.plot_training_curves(run.history, axes=axes, best_epoch=run.best_epoch)
        drawn["curves"] = figure_svg(figure, name="curves", label="Losses of training and validation over the epochs")
    series = _class_series(run, classes)
    if series:
        figure, (ax,) = figures.new_figure(9.8, 1.0 + 0.3 * len(classes))
        rows = (run.metrics.get("tagging") or {}).get("class_wise", {})
        counts = [int(rows.get(name, {}).get("n_reference", 0)) for name in classes]
        figures.plot_class_wise(series, classes=classes, ax=ax, n_reference=counts)
        drawn["classes"] = figure_svg(figure, name="classes", label="F-scores of each class")
    if scores is not None and len(classes) > 1 and len(classes) <= 40:
        size = 2.8 + 0.3 * len(classes)
        figure, (ax,) = figures.new_figure(size + 0.9, size)
        shares = figures.co_occurrence(scores.reference > 0, scores.estimated > 0)
        if np.isfinite(shares).any():
            figures.plot_confusion(shares, classes=classes, ax=ax)
            drawn["confusion"] = figure_svg(figure, name="confusion", label="Classes estimated where others are true")
    n_boxes = 6 + len(run.config.model.pools) + len(run.config.model.gru_units)
    figure, (ax,) = figures.new_figure(8.4, 0.47 * n_boxes)
    figures.draw_architecture(run.config, ax=ax, n_classes=len(run.classes))
    drawn["network"] = figure_svg(figure, name="network", label="The network, layer by layer")
    return drawn


def render_page(run: Run, experiment: Experiment | None, clips: ClipSection, *, embedded: bool = True) -> str:
    """Return the page as text.

    Parameters
    ----------
    run : Run
        Finished; its classes and clips are shown.
    experiment : Experiment, optional
        Its table is shown.
    clips : ClipSection
    embedded : bool
        Whether sound lies in the page (False allows it files beside it).
    """
    from markupsafe import Markup

    shown = experiment or run
    # matplotlib escapes the texts of its drawings; see figure_svg.
    drawings = {name: Markup(svg) for name, svg in _drawings(run, experiment, clips.scores).items()}
    return render(
        "report.html.j2",
        styles=("report.css",),
        scripts=("theme.js", "report.js"),
        files=not embedded,
        name=shown.name,
        kind="experiment" if experiment else "run",
        lead=page_views.experiment_lead(experiment, run) if experiment else page_views.run_lead(run),
        setting="strong {:g}, weak {:g}".format(*run.setting),
        run_name=run.name,
        key_figures=page_views.key_figures(run),
        table=page_views.results_table(experiment.table) if experiment else None,
        run_rows=page_views.run_rows(run),
        has_detection=bool(run.metrics.get("segment")),
        class_rows=page_views.class_rows(run),
        coverage=page_views.coverage_rows(run.data),
        provenance=page_views.sentence(run.data.get("provenance", "")),
        config_sections=page_views.config_sections(run.config),
        config_toml=to_toml(run.config),
        environment=page_views.environment_rows(run.environment),
        drawings=drawings,
        clips=clips,
        badges=page_views.reason_groups,
        citation=paper.CITATION,
    )
