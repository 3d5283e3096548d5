"""The clips of a page: their truth, scores, saliency and sound, gathered from a run's folder.

A run's folder may come from a stranger: of the recordings that its ``data.json`` names, only those are opened that
really lie, links resolved, under a folder that the user named. Keras is imported only for saliency.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.errors import ClipError, CrnnWeakError, DataError, ModelFileError, RunError, nearest_names
from crnn_weak.files import replace_file
from crnn_weak.labels.classes import tag_array, tag_names
from crnn_weak.report.clip_choice import ClipScores, choose_clips, score_clips
from crnn_weak.report.clip_views import ClipData, ClipView, build_clip_view, saliency_classes
from crnn_weak.report.media import Sound, data_uri, encode_audio
from crnn_weak.runs.run import Run
from crnn_weak.saliency.targets import method as find_method

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

__all__ = ["ClipOptions", "ClipSection", "gather_clips"]

log = logging.getLogger(__name__)

# Bytes of text: a page stays below 15 MB with its figures and tables, which are about half a megabyte. Where it
# would not, saliency gives way before sound does, the last clips first.
_BUDGET = 14_000_000
_PICTURES = 8_000_000

#: Saliency maps of one clip: class -> (strong, weak), each of shape (n_frames, n_mels).
Maps = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """The clips that a page shows, and how.

    Attributes
    ----------
    n_clips : int
        Of each of best, worst and random; 0 shows only the clips of `wanted`.
    wanted : tuple of str
        Clip ids.
    audio_folders : tuple of path
        Folders whose recordings may be opened, beside the run's own folder. Recordings elsewhere stay silent.
    embed : bool
        Put the sound into the page; otherwise into files beside it.
    saliency : bool
        Compute overlays where the model can be loaded.
    method : str
        Of saliency, a name of `crnn_weak.saliency.METHODS`.
    seed : int
        Of the random clips.
    """

    n_clips: int = 3
    wanted: tuple[str, ...] = ()
    audio_folders: tuple[str | Path, ...] = ()
    embed: bool = True
    saliency: bool = True
    method: str = "absolute"
    seed: int = 0


@dataclass
class ClipSection:
    """The clips of the page, and the notes that go with them."""

    views: list[ClipView] = field(default_factory=list)
    scores: ClipScores | None = None
    notes: list[str] = field(default_factory=list)
    caption: str = ""


def gather_clips(run: Run, options: ClipOptions, *, sound_folder: Path) -> ClipSection:
    """Collect the clips of a run.

    Parameters
    ----------
    run : Run
    options : ClipOptions
    sound_folder : Path
        For sound files, unless they are embedded.

    Returns
    -------
    ClipSection
        A missing store, recording or model is skipped, and its notes say so.

    Raises
    ------
    ClipError, ConfigError
        A clip that was asked for is not among the run's; an unknown saliency method.
    """
    section = ClipSection()
    find_method(options.method)  # a misspelled option is refused before anything is computed
    for clip_id in options.wanted:
        if clip_id not in run.scores.clip_ids:
            raise ClipError(f"clip {clip_id!r} is not in the run. {nearest_names(clip_id, run.scores.clip_ids)}")
    problem = ""
    try:
        store = run.open_store("test")
    except CrnnWeakError as error:
        store, problem = None, f" ({error})"
    if store is None:
        section.notes.append(
            f"The feature store of the test clips was not found{problem}, so there is no clip to show. "
            "Run the grid or the training again; it makes the store anew and keeps the results."
        )
        return section
    with store:
        section.scores = _score(run, store)
        if section.scores.unit == "tags":
            section.notes.append("The onsets and offsets of these clips are not known: no truth is drawn over time.")
        _add_views(section, run, store, options)
    _limit_pictures(section)
    _add_sound(section, run, options, sound_folder)
    return section


def _score(run: Run, store: FeatureStore) -> ClipScores:
    """Count each clip's correct segments, or its correct tags where onsets are not known."""
    known = set(store.clip_ids)
    clip_ids = [clip_id for clip_id in run.scores.clip_ids if clip_id in known]
    classes = run.scores.classes
    if store.has_events:
        return score_clips(
            clip_ids,
            classes,
            store.events,
            run.events,
            clip_seconds=run.config.features.clip_seconds,
            segment_seconds=run.config.evaluation.segment_seconds,
        )
    tags = _true_tags(store)
    reference = tag_array([tags[clip_id] for clip_id in clip_ids], classes)
    estimated = tag_array([run.tags.get(clip_id, ()) for clip_id in clip_ids], classes)
    both = (reference & estimated).astype(int)
    return ClipScores(tuple(clip_ids), classes, reference.astype(int), estimated.astype(int), both, "tags")


def _true_tags(store: FeatureStore) -> dict[str, tuple[str, ...]]:
    return {clip_id: tag_names(row, store.classes) for clip_id, row in zip(store.clip_ids, store.tags, strict=True)}


def _add_views(section: ClipSection, run: Run, store: FeatureStore, options: ClipOptions) -> None:
    assert section.scores is not None
    chosen = choose_clips(section.scores, n_clips=options.n_clips, wanted=options.wanted, seed=options.seed)
    if not chosen:
        return
    clips = _read_clips(run, store, list(chosen))
    maps = _saliency(section, run, clips, options.method) if options.saliency else [{} for _ in clips]
    f_scores = dict(zip(section.scores.clip_ids, section.scores.f_scores().tolist(), strict=True))
    stored = run.metrics.get("operating_point") or run.metrics.get("decisions")  # its name in earlier versions
    point = None if stored is None else OperatingPoint.from_dict(stored)
    thresholds = {} if point is None else dict(zip(point.classes, point.thresholds, strict=True))
    for number, (clip, found) in enumerate(zip(clips, maps, strict=True), start=1):
        view = build_clip_view(
            number, clip, features=run.config.features, classes=run.scores.classes, thresholds=thresholds, maps=found
        )
        view.reasons = chosen[clip.clip_id]
        view.set_f_score(f_scores.get(clip.clip_id, np.nan))
        section.views.append(view)


def _read_clips(run: Run, store: FeatureStore, clip_ids: Sequence[str]) -> list[ClipData]:
    tags = _true_tags(store)
    log_mels = store.read([store.row(clip_id) for clip_id in clip_ids])
    rows = [run.scores.row(clip_id) for clip_id in clip_ids]
    return [
        ClipData(
            clip_id,
            log_mel,
            strong=run.scores.strong[row],
            weak=run.scores.weak[row],
            reference=store.events.get(clip_id, ()) if store.has_events else None,
            reference_tags=tags[clip_id],
            estimated=run.events.get(clip_id, ()),
            estimated_tags=run.tags.get(clip_id, ()),
        )
        for clip_id, row, log_mel in zip(clip_ids, rows, log_mels, strict=True)
    ]


def _saliency(section: ClipSection, run: Run, clips: Sequence[ClipData], method: str) -> list[Maps]:
    """Return the maps of each clip; none where there is no model, and a note that says so."""
    maps: list[Maps] = [{} for _ in clips]
    try:
        from crnn_weak.model.archive import load_model
        from crnn_weak.saliency import Explainer, Target

        model, metadata = load_model(run.model_path)
        explainer = Explainer(
            model, classes=metadata.classes, hop_seconds=run.config.features.hop_seconds, scaler=metadata.scaler
        )
        pairs = [(row, name) for row, clip in enumerate(clips) for name in saliency_classes(clip, metadata.classes)]
        inputs = metadata.scaler.transform(np.stack([clips[row].log_mel for row, _ in pairs])).astype(np.float32)
        strong, weak = (
            explainer.explain(inputs, [Target(output, name) for _, name in pairs], method=method).maps
            for output in ("strong", "weak")
        )
        section.caption = find_method(method).caption()
    except (ModelFileError, DataError, ImportError) as error:
        section.notes.append(f"No saliency: {' '.join(str(error).split())}")
        log.warning("report: no saliency: %s", error)
        return maps
    for index, (row, name) in enumerate(pairs):
        maps[row][name] = (strong[index], weak[index])
    return maps


def _limit_pictures(section: ClipSection) -> None:
    """Drop saliency, the last clips first, until the pictures keep to their share of the page."""
    n_over, total = 0, sum(view.size for view in section.views)
    for view in reversed(section.views):
        if total <= _PICTURES:
            break
        n_over += bool(view.overlays)
        total -= view.size
        view.overlays = []
        total += view.size
    if n_over:
        section.notes.append(
            f"{n_over} of {len(section.views)} clips are without saliency, so that the page stays below 15 MB; "
            "show fewer with --clips."
        )


# --- sound ---------------------------------------------------------------------------------------------------------


def _is_inside(path: Path, folders: Sequence[Path]) -> bool:
    """Return whether a file lies in one of the folders, links resolved."""
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def _encoded(run: Run, view: ClipView, folders: Sequence[Path]) -> Sound | str:
    """Return a clip's sound, or in a few words why there is none."""
    path = run.audio_path(view.clip_id)
    if path is None:
        return "not found"
    if not _is_inside(path, folders):
        return "outside the folders that may be opened"
    rate = run.config.features.sample_rate_hz
    try:
        return encode_audio(path, sample_rate_hz=rate, clip_seconds=view.duration)
    except DataError as error:
        log.warning("report: %s", error)
        return "unreadable"


def _add_sound(section: ClipSection, run: Run, options: ClipOptions, sound_folder: Path) -> None:
    folders = [run.data_folder, *map(Path, options.audio_folders)]
    spent = sum(view.size for view in section.views)
    silent: dict[str, int] = {}
    for view in section.views:
        sound = _encoded(run, view, folders)
        if isinstance(sound, Sound) and options.embed and spent + len(sound.content) * 4 / 3 > _BUDGET:
            sound = "omitted, so that the page stays below 15 MB"
        if isinstance(sound, str):
            view.audio_note = f"The recording was {sound}."
            silent[sound] = silent.get(sound, 0) + 1
        elif options.embed:
            view.audio = data_uri(sound.content, sound.media_type)
            spent += len(view.audio)
        else:
            view.audio = _write_sound(sound, view.number, sound_folder)
    section.notes += _sound_notes(silent, len(section.views))


def _write_sound(sound: Sound, number: int, folder: Path) -> str:
    if folder.is_symlink():
        raise RunError(f"{folder}: is a link, and sound files would be written where it leads. Delete the link.")
    name = f"clip-{number}.{sound.suffix}"  # never a name from the data: it may hold anything
    with replace_file(folder / name) as temporary:
        temporary.write_bytes(sound.content)
    return f"{folder.name}/{name}"


def _sound_notes(silent: Mapping[str, int], n_clips: int) -> list[str]:
    advice = {"outside the folders that may be opened": " Name their folder with --audio to hear them."}
    return [
        f"{count} of {n_clips} recordings were {why}: pictures without sound.{advice.get(why, '')}"
        for why, count in silent.items()
    ]
