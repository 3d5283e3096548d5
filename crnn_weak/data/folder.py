"""A user's own recordings: a folder of audio, a file of tags or events (docs/formats.md).

A recording's id is its path without suffix. The split is a column of the tag file, or a fifth of the recordings is
drawn for testing, stratified by label. Longer recordings are cut into consecutive clips, ``<name>_<start>_<end>`` in
the cache, if their events are known; tags do not say which part they belong to: ``data.long_clips`` decides.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from crnn_weak.audio import audio_files, load_clip, read_header, write_audio
from crnn_weak.config import Config, FolderData, fingerprint
from crnn_weak.data.base import Clip, Dataset, stratified_split
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.files import lock
from crnn_weak.labels.events import Event, by_time, check_begin_within, class_indices, tag_array
from crnn_weak.labels.names import match_ids, recording_id
from crnn_weak.labels.reading import ListedRecording, read_labels

logger = logging.getLogger(__name__)

_SLACK_SECONDS = 0.1  # encoders pad: a recording may be this much longer than a clip

#: A clip that is a part of a longer recording; that recording, begin and end in it, seconds.
Cut = tuple[Clip, Path, float, float]


def _read(data: FolderData) -> tuple[tuple[str, ...], list[ListedRecording], dict[str, Path]]:
    """Return the classes, the listed recordings under their ids in the folder, and the audio files by id."""
    if not data.root or not (data.metadata or data.events):
        lacking = "data.root (the folder of audio)" if not data.root else "data.metadata (tags) or data.events"
        raise ConfigError(
            f"{lacking} is not set: source 'folder' needs audio and a label file, e.g. --set data.root=FOLDER "
            "--set data.metadata=TAGS.csv."
        )
    root = Path(data.root)
    tags, events = (Path(path) if path else None for path in (data.metadata, data.events))
    paths: dict[str, list[Path]] = {}
    for path in audio_files(root):
        paths.setdefault(recording_id(path.relative_to(root).as_posix()), []).append(path)
    how = {"input_format": data.input_format or None, "label_column": data.label_column or None}
    classes, listed = read_labels(root, tags, events, **how, audio=paths, annotated=data.annotated)
    class_indices(data.annotated, classes, where="data.annotated")
    ids = match_ids([recording.name for recording in listed], paths, where=str(root))
    wanted = [replace(recording, name=ids[recording.name]) for recording in listed]
    for recording in wanted:
        double = paths.get(recording.name, [])
        if len(double) > 1:
            raise DataError(
                f"{root}: {double[0].relative_to(root)} and {double[1].relative_to(root)} differ only in their suffix, "
                "and the label files name this recording; rename or remove one."
            )
    audio = {name: found[0] for name, found in paths.items()}
    n_found = sum(recording.name in audio for recording in wanted)
    if not n_found:
        there = f"the folder has {next(iter(audio.values())).name}" if audio else "the folder has no audio file"
        raise DataError(f"{root}: none of the {len(wanted)} listed recordings, e.g. {wanted[0].name!r}; {there}.")
    if n_found < len(wanted):
        logger.warning("%s: %d of %d listed recordings found.", root, n_found, len(wanted))
    if len(audio) > n_found:
        logger.info("%s: %d audio files are not in the label files and are not used.", root, len(audio) - n_found)
    return classes, wanted, audio


def _duration(path: Path, clip_seconds: float) -> float:
    try:
        seconds = read_header(path)[1]
        # How a long recording is cut follows from its length, so the header's claim is proven first.
        return seconds if seconds <= clip_seconds + _SLACK_SECONDS else read_header(path, decode=True)[1]
    except DataError:
        return 0.0  # counted as unreadable, with the reason, where the features are computed


def _size(path: Path) -> int:
    """Return the size of a file; -1 where the disk does not say it, and the clip will be unreadable."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _cut(clip: Clip, duration: float, clip_seconds: float, classes: tuple[str, ...], folder: Path) -> list[Cut]:
    """Plan the consecutive clips of a long recording; a rest within the slack is not used."""
    assert clip.path is not None  # it has a duration
    timed = {event.label for event in clip.events or ()}
    cuts = []
    for k in range(math.ceil((duration - _SLACK_SECONDS) / clip_seconds)):
        start, end = k * clip_seconds, min((k + 1) * clip_seconds, duration)
        name = f"{clip.clip_id}_{start:.3f}_{end:.3f}"
        events = None if clip.events is None else _cut_events(clip.events, start, end)
        labels = {label for label in clip.tags if label not in timed} | {event.label for event in events or ()}
        tags = tuple(sorted(labels, key=classes.index))
        cuts.append((Clip(name, clip.split, folder / f"{name}.flac", tags, events), clip.path, start, end))
    return cuts


def _cut_events(events: Iterable[Event], start: float, end: float) -> tuple[Event, ...]:
    """Return the events of a part, in its own time; one of zero length belongs to the part that contains it."""
    cut = []
    for event in events:
        onset, offset = max(event.onset, start), min(event.offset, end)
        if offset > onset or (event.duration == 0 and start <= event.onset < end):
            cut.append(Event(round(onset - start, 6), round(offset - start, 6), event.label, event.score))
    return tuple(sorted(cut, key=by_time))


def _write_cut(clip: Clip, source: Path, start: float, end: float) -> None:
    assert clip.path is not None
    if clip.path.is_file():
        return
    try:
        rate, _ = read_header(source)
        audio, _ = load_clip(source, rate, end - start, start_seconds=start)
    except DataError as error:
        logger.warning("%s", error)  # the clip has no file then, and counts as missing
    else:
        write_audio(clip.path, audio, rate)


def _usable(
    recordings: list[ListedRecording], seconds: Mapping[str, float], clip_seconds: float, how: str
) -> list[ListedRecording]:
    """Return the recordings without those that are longer than a clip, have tags without times, and are not cut."""
    too_long = []
    for recording in recordings:
        timed = {event.label for event in recording.events or ()}
        if seconds.get(recording.name, 0.0) > clip_seconds + _SLACK_SECONDS and not timed.issuperset(recording.tags):
            too_long.append(recording)
    if not too_long:
        return recordings
    longest = max(too_long, key=lambda recording: seconds[recording.name])
    text = (
        f"{len(too_long)} recordings are longer than a clip of {clip_seconds:g} s and have tags without times; the "
        f"longest is {longest.name}, {seconds[longest.name]:.1f} s"
    )
    if how == "refuse" or (how == "skip" and len(too_long) == len(recordings)):
        raise DataError(
            f"{text}. Give their events, or --set data.long_clips=cut (each part inherits the tags, perhaps wrongly) "
            f"or skip, or --set features.clip_seconds={math.ceil(seconds[longest.name])}."
        )
    end = "each part inherits the tags, perhaps wrongly" if how == "cut" else "they are not used"
    logger.warning("folder: %s: %s (data.long_clips = %s).", text, end, how)
    return recordings if how == "cut" else [recording for recording in recordings if recording not in too_long]


def _splits(recordings: Sequence[ListedRecording], classes: tuple[str, ...], data: FolderData) -> dict[str, str]:
    """Return the split of each recording: of its label file, else at random."""
    if recordings[0].split:
        split_of = {recording.name: recording.split for recording in recordings}
        for split in ("train", "test") if data.test_fraction else ("train",):
            if split not in split_of.values():
                raise DataError(
                    f"the column of splits has no {split!r}; give some recordings that split, or remove the column: a "
                    "part is drawn for testing then. --set data.test_fraction=0 trains without a test."
                )
        return split_of
    if not data.test_fraction:
        return dict.fromkeys([recording.name for recording in recordings], "train")
    if len(recordings) < 2:
        raise DataError("one recording only: expected at least two, to train and to test with.")
    tags = tag_array([recording.tags for recording in recordings], classes)
    tested = set(stratified_split(tags, data.test_fraction, data.seed, cover_classes=True)[1].tolist())
    return {recording.name: "test" if row in tested else "train" for row, recording in enumerate(recordings)}


def _warn_of_classes(clips: Sequence[Clip], classes: tuple[str, ...]) -> None:
    """Name what the training clips cannot teach."""
    for n_clips, which, add in ((0, "no", "with"), (len(clips), "every", "without")):
        named = [label for label in classes if sum(label in clip.tags for clip in clips) == n_clips]
        if named:
            names = ", ".join(map(repr, named))
            logger.warning("folder: %s training clip has the class %s; add clips %s it", which, names, add)
    # benchmarks/README.md, "Few clips": segment F 50 instead of 26. `named` are now the classes of every clip, which
    # have their line already.
    if not named and all(clip.tags for clip in clips):
        logger.warning("folder: every training clip has a tag; add clips of other sounds, with none")


def open_folder(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Dataset:
    """Open a user's folder; recordings that are longer than a clip are cut first, where their events are known."""
    data, clip_seconds = config.data, config.features.clip_seconds
    assert isinstance(data, FolderData)  # the registry of sources opens it by this type
    classes, recordings, audio = _read(data)
    found = [recording.name for recording in recordings if recording.name in audio]
    durations = Parallel(n_jobs=jobs, prefer="threads")(delayed(_duration)(audio[name], clip_seconds) for name in found)
    seconds = dict(zip(found, durations, strict=True))
    how = data.long_clips
    if how == "auto":  # a mixed example takes a random part of the recording
        how = "cut" if config.is_mixed else "refuse"
    recordings = _usable(recordings, seconds, clip_seconds, how)
    split_of = _splits(recordings, classes, data)
    content = []
    for recording in recordings:
        events = None if recording.events is None else [(e.onset, e.offset, e.label) for e in recording.events]
        content.append((recording.name, split_of[recording.name], recording.tags, events))
    sizes = [(name, _size(audio[name])) for name in found]
    identity = fingerprint(classes, clip_seconds, content, sizes)
    folder = cache / f"folder-{identity}"
    clips: list[Clip] = []
    cuts: list[Cut] = []
    for recording in recordings:
        name, tags = recording.name, tuple(sorted(recording.tags, key=classes.index))
        clip = Clip(name, split_of[name], audio.get(name), tags, recording.events)
        duration = seconds.get(name, 0.0)
        if duration:
            check_begin_within(clip.events or (), duration, str(clip.path))
        if duration <= clip_seconds + _SLACK_SECONDS:
            clips.append(clip)
        else:
            of_clip = _cut(clip, duration, clip_seconds, classes, folder)
            cuts += of_clip
            clips += [part for part, *_ in of_clip]
    _warn_of_classes([clip for clip in clips if clip.split == "train"], classes)
    if cuts:
        logger.info("folder: recordings longer than %g s are cut into %d clips.", clip_seconds, len(cuts))
    missing = [cut for cut in cuts if cut[0].path is None or not cut[0].path.is_file()]
    if missing:
        with lock(folder, wait=True):  # another process may be cutting the same
            bar = tqdm(missing, desc="cutting", unit="clip", disable=not progress)
            Parallel(n_jobs=jobs, prefer="threads")(delayed(_write_cut)(*cut) for cut in bar)
    clips_of = {split: [clip for clip in clips if clip.split == split] for split in ("train", "test")}
    clips_of = {split: of_split for split, of_split in clips_of.items() if of_split}
    provenance = f"own recordings: {len(recordings)} listed, {len(found)} found, {len(classes)} classes"
    return Dataset("folder", classes, clip_seconds, provenance, identity, clips_of, folder)
