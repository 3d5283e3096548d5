"""The page of a run or a grid: one HTML file, the same bytes whenever it is made from the same folder.

A folder may come from a stranger: of the recordings that its ``data.json`` names, only those inside a folder that the
user named are opened, links resolved.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak import paper
from crnn_weak.config import to_toml
from crnn_weak.errors import ClipError, CrnnWeakError, DataError, RunError, nearest_names
from crnn_weak.features.store import FeatureStore
from crnn_weak.figures.clip import clip_figure
from crnn_weak.figures.results import class_figure, loss_weight_figure, setting_figure, training_figure
from crnn_weak.files import write_text
from crnn_weak.labels.events import tag_names
from crnn_weak.metrics.counting import Scoring, count_segments, count_tags
from crnn_weak.metrics.summary import Counts, divide, rates
from crnn_weak.report.html import Picture, audio_uri, figure_uri, render
from crnn_weak.report.model_card import class_table, class_values, facts
from crnn_weak.run_files import RunFiles, refuse_foreign_page
from crnn_weak.runs.folders import Grid, Run, open_any, open_run
from crnn_weak.runs.table import ResultsTable, results_of_run

log = logging.getLogger(__name__)


def write_report(
    path: str | Path,
    *,
    out: str | Path | None = None,
    setting: tuple[float, float] | None = None,  # of a grid, by default the one with the best detection F-score
    n_clips: int = 3,  # of each of best, worst and random
    wanted: Sequence[str] = (),  # further clips
    audio_folders: Sequence[str | Path] = (),  # recordings may be opened here, too
    overwrite: bool = False,
) -> Path:
    """Write the page of a run's or a grid's folder; return the page's path.

    Unless `overwrite`, a page that others wrote stays, and so does one with players where the new one has none.
    """
    target = RunFiles(path).report if out is None else Path(out)
    if out is None:
        refuse_foreign_page(target, overwrite=overwrite)
    opened = open_any(path)
    if isinstance(opened, Grid):
        if not opened.runs:
            raise RunError(f"{opened.path}: has a table, but its runs' folders are gone. Rerun the grid.")
        run = opened.run(setting or opened.best_setting())
        table, runs = opened.table, [open_run(folder, unfinished=True) for folder in opened.runs.values()]
    else:
        run, runs = opened, [opened]
        lines = results_of_run(run.name, run.setting, run.seed, run.results, "")
        tuned = facts(run)["operating point"] if run.files.operating_point.is_file() else ""
        table = ResultsTable.of_data(run.config, run.data, lines, tuned=tuned)
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
    for note in notes:
        log.warning("%s", note)
    is_silent = bool(clips) and not any(clip["sound"] for clip in clips)
    if is_silent and out is None and not overwrite and target.exists() and "<audio" in target.read_text("utf-8"):
        raise RunError(f"{target}: has players, and the new page would have none: {notes[-1]} Or give --overwrite.")
    write_text(target, page)
    return target


def _drawings(opened: Run | Grid, run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """Return the page's figures by name, as addresses; those without values are omitted."""
    bars = {
        output: 100 * np.array(class_values(run, output, "f_score"), dtype=float)
        for output in ("tagging", "segment")
        if run.results.get(output)
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


def count_clips(run: Run, store: FeatureStore, clip_ids: Sequence[str]) -> Counts:
    """Count segments of test clips, or tags where onsets are not known."""
    classes = run.scores.classes
    if not store.has_events:
        tags = store.named_tags(set(clip_ids))
        true_tags = {clip: tags[clip] for clip in clip_ids}
        return count_tags(true_tags, {clip: run.estimated_tags.get(clip, ()) for clip in clip_ids}, classes=classes)
    reference = {clip: store.events.get(clip, ()) for clip in clip_ids}
    estimated = {clip: run.detected_events.get(clip, ()) for clip in clip_ids}
    return count_segments(reference, estimated, Scoring.of_config(run.config, classes))


def clip_f_scores(counts: Counts) -> np.ndarray:
    """Return each clip's F-score, shape (n_clips,); NaN where nothing is true and nothing estimated."""
    n_reference, n_estimated, n_correct = (array.sum(axis=1) for array in counts[:3])
    return divide(2 * n_correct, n_reference + n_estimated)


def choose_clips(
    counts: Counts, clip_ids: Sequence[str], classes: Sequence[str], *, n_clips: int = 3, wanted: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Return the clips to show, in this order, each with its reasons: chosen, best, worst, random, ``class: NAME``."""
    reasons: dict[str, list[str]] = {clip_id: ["chosen"] for clip_id in wanted}
    if n_clips <= 0:
        return reasons

    def add(row: int, reason: str) -> None:
        reasons.setdefault(clip_ids[row], []).append(reason)

    f_scores, n_true = clip_f_scores(counts), counts.n_reference.sum(axis=1)
    scored = np.flatnonzero(np.isfinite(f_scores)).tolist()
    for row in sorted(scored, key=lambda row: (-f_scores[row], -n_true[row]))[:n_clips]:
        add(row, "best")
    for row in sorted(scored, key=lambda row: (f_scores[row], -n_true[row]))[:n_clips]:
        add(row, "worst")
    others = [row for row, clip_id in enumerate(clip_ids) if clip_id not in reasons]
    for row in np.random.default_rng(0).permutation(others)[:n_clips].tolist():
        add(row, "random")
    for name, by_class in zip(classes, rates(*counts[:3])["f_score"].T, strict=True):
        rows = np.flatnonzero(np.isfinite(by_class))
        if len(rows):
            # Not the best one, so that the page is representative.
            middle = rows[np.argsort(by_class[rows], kind="stable")][(len(rows) - 1) // 2]
            add(int(middle), f"class: {name}")
    return reasons


def gather_clips(
    run: Run, *, n_clips: int, wanted: Sequence[str], audio_folders: Sequence[str | Path]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the clips of a run for the template, and notes; a missing store or recording is a note."""
    for clip_id in wanted:
        if clip_id not in run.scores.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the run. {nearest_names(clip_id, run.scores.clip_ids)}")
    try:
        store = run.open_store("test")
    except CrnnWeakError as error:
        return [], [f"No clip is shown: {error}"]
    folders = [Path(folder).resolve() for folder in (run.data_folder, *audio_folders)]
    point, _ = run.operating_point(run.scores.classes)
    clips, silent = [], []
    with store:
        stored = set(store.clip_ids)
        clip_ids = [clip_id for clip_id in run.scores.clip_ids if clip_id in stored]
        counts = count_clips(run, store, clip_ids)
        f_scores = dict(zip(clip_ids, clip_f_scores(counts).tolist(), strict=True))
        chosen = choose_clips(counts, clip_ids, run.scores.classes, n_clips=n_clips, wanted=wanted)
        for clip_id, reasons in chosen.items():
            sound, problem = _sound(run, clip_id, folders)
            f_score = f_scores.get(clip_id, np.nan)
            text = f"{100 * f_score:.0f} %" if np.isfinite(f_score) else "–"
            clip = {"clip_id": clip_id, "reasons": reasons, "f_score": text, "sound": sound}
            clips.append(clip | _draw_clip(run, store, clip_id, point.levels()))
            silent += [problem] if problem else []
        notes = []
        if not store.has_events:
            notes.append("The onsets and offsets of these clips are not known: no true events are drawn.")
    for problem, count in Counter(silent).items():
        notes.append(f"{count} of {len(clips)} clips have no sound: {problem}")
    return clips, notes


def _draw_clip(
    run: Run, store: FeatureStore, clip_id: str, thresholds: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    """Return picture, length and description of a clip."""
    row, stored_row, features = run.scores.clip_ids.index(clip_id), store.row(clip_id), run.config.features
    figure = clip_figure(
        store.read([stored_row])[0],
        run.scores.strong[row],
        run.scores.weak[row],
        features=features,
        classes=run.scores.classes,
        thresholds=thresholds,
        reference=store.events.get(clip_id, ()),
        estimated=run.detected_events.get(clip_id, ()),
    )
    true_tags = tag_names(store.tags[stored_row], store.classes)
    tags = run.estimated_tags.get(clip_id, ())
    description = f"true: {', '.join(true_tags) or 'nothing'}; tagged: {', '.join(tags) or 'nothing'}"
    return {"picture": Picture.of(figure), "seconds": features.clip_seconds, "description": description}


def _sound(run: Run, clip_id: str, folders: Sequence[Path]) -> tuple[str, str]:
    """Return a clip's sound as an address, and otherwise in a sentence why there is none."""
    path = run.audio_path(clip_id)
    if path is None:
        return "", "the recording was not found."
    if not any(path.resolve().is_relative_to(folder) for folder in folders):
        folder = getattr(run.config.data, "root", "") or path.parent
        return "", f"the recording is outside the folders that may be opened; add --audio {folder}."
    features = run.config.features
    try:
        return audio_uri(path, sample_rate_hz=features.sample_rate_hz, clip_seconds=features.clip_seconds), ""
    except DataError as error:
        log.warning("report: %s", error)
        return "", "the recording is unreadable."
