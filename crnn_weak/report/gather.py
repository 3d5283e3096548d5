"""Collects what the page shows of a run's clips: truth, scores, saliency, sound. Only saliency imports Keras."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crnn_weak.errors import ClipError, ConfigError, CrnnWeakError, DataError, ModelFileError, nearest_names
from crnn_weak.report.clip_choice import ClipScores, choose_clips, score_clips
from crnn_weak.report.clip_views import ClipView, build_clip_view, saliency_classes
from crnn_weak.report.media import AUDIO_FORMATS, data_uri, encode_audio
from crnn_weak.runs.run import Run
from crnn_weak.saliency.targets import method as find_method

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

__all__ = ["ClipOptions", "ClipSection", "gather_clips", "true_tags"]

log = logging.getLogger(__name__)

# Bytes of text: a page stays below 15 MB with its figures and tables, which are about half a megabyte. Where it
# would not, saliency gives way before sound does, the last clips first.
_BUDGET = 14_000_000
_PICTURES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What to show of clips.

    Attributes
    ----------
    n_clips : int
        Of each of best, worst and random; 0 shows only the clips of `wanted`.
    wanted : tuple of str
        Clip ids.
    embed : bool
        Put the sound into the page; otherwise into files beside it.
    audio_format : str
        A name of `crnn_weak.report.media.AUDIO_FORMATS`.
    saliency : bool
        Compute overlays where the model can be loaded.
    method : str
        Of saliency, a name of `crnn_weak.saliency.METHODS`.
    seed : int
        Of the random clips.
    """

    n_clips: int = 3
    wanted: tuple[str, ...] = ()
    embed: bool = True
    audio_format: str = "ogg"
    saliency: bool = True
    method: str = "absolute"
    seed: int = 0


@dataclass
class ClipSection:
    """The clips of the page, and what has to be said about them."""

    views: list[ClipView] = field(default_factory=list)
    scores: ClipScores | None = None
    notes: list[str] = field(default_factory=list)
    caption: str = ""


def true_tags(store: FeatureStore) -> dict[str, tuple[str, ...]]:
    """Return the tags of a store's clips by clip id."""
    return {
        clip_id: tuple(name for name, on in zip(store.classes, row, strict=True) if on)
        for clip_id, row in zip(store.clip_ids, store.tags, strict=True)
    }


def _tag_scores(clip_ids: Sequence[str], run: Run, truth: Mapping[str, Sequence[str]]) -> ClipScores:
    from crnn_weak.labels.classes import tag_array

    classes = run.scores.classes
    reference = tag_array([truth.get(clip_id, ()) for clip_id in clip_ids], classes)
    estimated = tag_array([run.tags.get(clip_id, ()) for clip_id in clip_ids], classes)
    both = (reference & estimated).astype(int)
    return ClipScores(tuple(clip_ids), classes, reference.astype(int), estimated.astype(int), both, "tags")


def gather_clips(run: Run, options: ClipOptions, *, sound_folder: Path) -> ClipSection:
    """Collect the clips of a run.

    Parameters
    ----------
    run : Run
    options : ClipOptions
    sound_folder : Path
        Where sound files go unless they are embedded.

    Returns
    -------
    ClipSection
        What is missing (store, recordings, model) is left out and said in its notes.

    Raises
    ------
    ClipError, ConfigError
        A clip that was asked for is not among the run's; an unknown sound format or saliency method.
    """
    section = ClipSection()
    find_method(options.method)  # a misspelt option is refused before anything is computed
    if options.audio_format not in AUDIO_FORMATS:
        raise ConfigError(
            f"audio format {options.audio_format!r} is not known. {nearest_names(options.audio_format, AUDIO_FORMATS)}"
        )
    for clip_id in options.wanted:
        if clip_id not in run.scores.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the run. {nearest_names(clip_id, run.scores.clip_ids)}")
    try:
        store = run.open_store("test")
    except CrnnWeakError as error:
        store, problem = None, f" ({error})"
    else:
        problem = ""
    if store is None:
        section.notes.append(
            f"The feature store of the testing clips was not found{problem}, so there is no clip to show. "
            "Run the grid or the training again; it makes the store anew and keeps the results."
        )
        return section
    with store:
        _fill(section, run, store, options)
    _limit_pictures(section)
    _add_sound(section, run, options, sound_folder)
    return section


def _size(view: ClipView) -> int:
    """Bytes of a clip's pictures on the page."""
    paths = sum(len(lane.path) + 400 for lane in view.lanes)
    return len(view.mel) + paths + sum(len(overlay.strong) + len(overlay.weak) for overlay in view.overlays)


def _limit_pictures(section: ClipSection) -> None:
    n_over = 0
    total = sum(map(_size, section.views))
    for view in reversed(section.views):
        if total <= _PICTURES:
            break
        total -= sum(len(overlay.strong) + len(overlay.weak) for overlay in view.overlays)
        n_over += bool(view.overlays)
        view.overlays = []
    if n_over:
        section.notes.append(
            f"{n_over} of {len(section.views)} clips are without saliency, so that the page stays below 15 MB; "
            "show fewer with --clips."
        )


def _fill(section: ClipSection, run: Run, store: FeatureStore, options: ClipOptions) -> None:
    scores, classes = run.scores, run.scores.classes
    tags = true_tags(store)
    known = [clip_id for clip_id in scores.clip_ids if clip_id in tags]
    events = store.events if store.has_events else None
    if events is not None:
        section.scores = score_clips(
            known,
            classes,
            events,
            run.events,
            clip_seconds=run.config.features.clip_seconds,
            segment_seconds=run.config.evaluation.segment_seconds,
        )
    else:
        section.scores = _tag_scores(known, run, tags)
        section.notes.append("The onsets and offsets of these clips are not known: no truth is drawn over time.")
    chosen = choose_clips(section.scores, n_clips=options.n_clips, wanted=options.wanted, seed=options.seed)
    if not chosen:
        return
    rows = [store.row(clip_id) for clip_id in chosen]
    log_mels = store.read(rows)
    at = [scores.row(clip_id) for clip_id in chosen]
    wanted = [
        saliency_classes(
            tags[clip_id], [event.label for event in run.events.get(clip_id, ())], scores.weak[row], classes
        )
        for clip_id, row in zip(chosen, at, strict=True)
    ]
    maps: list[dict[str, Any]] = [{} for _ in chosen]
    if options.saliency:
        maps = _saliency(section, run, log_mels, wanted, options.method)
    f_scores = dict(zip(section.scores.clip_ids, section.scores.f_scores(), strict=True))
    decisions = run.metrics.get("decisions") or {}
    thresholds = dict(zip(decisions.get("classes", ()), decisions.get("thresholds", ()), strict=False))
    for number, (clip_id, reasons) in enumerate(chosen.items(), start=1):
        index = number - 1
        section.views.append(
            build_clip_view(
                number,
                clip_id,
                reasons,
                features=run.config.features,
                classes=classes,
                log_mel=log_mels[index],
                strong=scores.strong[at[index]],
                weak=scores.weak[at[index]],
                reference=None if events is None else events.get(clip_id, ()),
                reference_tags=tags[clip_id],
                estimated=run.events.get(clip_id, ()),
                estimated_tags=run.tags.get(clip_id, ()),
                thresholds=thresholds,
                f_score=float(f_scores.get(clip_id, np.nan)),
                maps=maps[index],
            )
        )


def _saliency(
    section: ClipSection, run: Run, log_mels: np.ndarray, wanted: Sequence[Sequence[str]], method: str
) -> list[dict[str, Any]]:
    """Return for each clip the maps of its classes: name -> (strong, weak); empty where there is no model."""
    nothing: list[dict[str, Any]] = [{} for _ in wanted]
    try:
        from crnn_weak.model.archive import load_model
        from crnn_weak.saliency import Explainer, Target

        model, metadata = load_model(run.model_path)
        explainer = Explainer(
            model, classes=metadata.classes, hop_seconds=run.config.features.hop_seconds, scaler=metadata.scaler
        )
        pairs = [(row, name) for row, names in enumerate(wanted) for name in names]
        inputs = metadata.scaler.transform(log_mels[[row for row, _ in pairs]]).astype(np.float32)
        found = {}
        for output in ("strong", "weak"):
            targets = [Target(output, name) for _, name in pairs]
            found[output] = explainer.explain(inputs, targets, method=method).maps
        section.caption = find_method(method).caption()
    except (ModelFileError, DataError, ImportError) as error:
        section.notes.append(f"No saliency: {' '.join(str(error).split())}")
        log.warning("report: no saliency: %s", error)
        return nothing
    for index, (row, name) in enumerate(pairs):
        nothing[row][name] = (found["strong"][index], found["weak"][index])
    return nothing


def _add_sound(section: ClipSection, run: Run, options: ClipOptions, folder: Path) -> None:
    features = run.config.features
    n_missing = n_over = 0
    spent = sum(map(_size, section.views))
    for view in section.views:
        path = run.audio_path(view.clip_id)
        if path is None:
            view.audio_note = "The recording was not found."
            n_missing += 1
            continue
        try:
            content, name = encode_audio(
                path,
                audio_format=options.audio_format,
                sample_rate_hz=features.sample_rate_hz,
                clip_seconds=view.duration,
            )
        except DataError as error:
            view.audio_note = "The recording cannot be read."
            log.warning("report: %s", error)
            n_missing += 1
            continue
        _, _, media_type, suffix = AUDIO_FORMATS[name]
        if options.embed:
            if spent + len(content) * 4 / 3 > _BUDGET:
                view.audio_note = "The sound is left out, so that the page stays below 15 MB."
                n_over += 1
                continue
            view.audio = data_uri(content, media_type)
            spent += len(view.audio)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"clip-{view.number}.{suffix}"  # never a name from the data: it may hold anything
            temporary = target.with_name(f".{target.name}.tmp")
            temporary.write_bytes(content)
            os.replace(temporary, target)
            view.audio = f"{folder.name}/{target.name}"
        view.audio_type = media_type
    if n_missing:
        section.notes.append(f"{n_missing} of {len(section.views)} recordings were not found: pictures without sound.")
    if n_over:
        section.notes.append(
            f"{n_over} of {len(section.views)} clips are without sound, so that the page stays below 15 MB. "
            "Use --no-embed, fewer --clips, or --audio-format ogg."
        )
