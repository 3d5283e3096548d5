"""Audio files: find them, read them as one mono array at one rate, write them.

Conventions
-----------
* Samples are float32 in [-1, 1], one channel (the mean of a file's channels), one rate.
* A file is decoded at its own rate and resampled only where the rates differ (soxr, its "HQ" setting).
* A file that cannot be decoded to its end, that is empty, or that holds NaN or infinite samples is a `DataError`
  with one line; nothing is ever replaced by silence.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from crnn_weak import timing
from crnn_weak.errors import DataError

__all__ = ["AUDIO_SUFFIXES", "AudioHeader", "audio_files", "index_audio", "load_clip", "read_header", "write_audio"]

logger = logging.getLogger(__name__)

#: The file name suffixes that count as audio; all are read by libsndfile.
AUDIO_SUFFIXES: tuple[str, ...] = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64",
)  # fmt: skip

# libsndfile's "subtype unknown length": a stream whose header says nothing.
_UNKNOWN_FRAMES = 2**62


class AudioHeader(NamedTuple):
    """What a file's header says of it."""

    sample_rate_hz: int
    n_channels: int
    duration_seconds: float


def _reason(error: Exception) -> str:
    """The tail of libsndfile's message, which repeats the file name in front."""
    text = " ".join(str(error).split()).rstrip(".")
    return text.rpartition(": ")[2] or text


def _open(path: str | Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(os.fspath(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        if not os.path.exists(path):
            raise DataError(f"{path}: no such audio file.") from None
        if os.path.isdir(path):
            raise DataError(f"{path}: is a folder, expected an audio file.") from None
        if os.path.getsize(path) == 0:
            raise DataError(f"{path}: the audio file is empty (0 bytes).") from None
        raise DataError(f"{path}: cannot be read as audio ({_reason(error)}); replace or remove it.") from None


def read_header(path: str | Path) -> AudioHeader:
    """Read rate, channels and duration without decoding.

    Raises
    ------
    DataError
        The file is missing, is not audio, or is empty.
    """
    with _open(path) as file:
        if file.frames <= 0:
            raise DataError(f"{path}: the audio file holds no samples.")
        return AudioHeader(file.samplerate, file.channels, file.frames / file.samplerate)


def load_clip(
    path: str | Path, sample_rate_hz: int, clip_seconds: float | None = None, *, start_seconds: float = 0.0
) -> tuple[np.ndarray, float]:
    """Read an audio file as mono at one rate; pad with zeros, or cut, to a clip's length.

    Parameters
    ----------
    path : path
        Any format and suffix that libsndfile reads.
    sample_rate_hz : int
        The rate to return.
    clip_seconds : float, optional
        The length to return: a shorter file is padded with zeros at its end, of a longer one only the beginning
        is decoded. None returns the whole file as it is.
    start_seconds : float
        Begin here instead of at the file's beginning (only what is wanted is decoded).

    Returns
    -------
    audio : np.ndarray of float32, shape (n_samples,)
        In [-1, 1] (files of floating-point samples may go beyond).
    duration_seconds : float
        The file's own length, before padding and cutting.

    Raises
    ------
    DataError
        The file is missing, not audio, truncated, empty, or holds NaN or infinite samples.
    """
    with _open(path) as file:
        rate, n_stated = file.samplerate, file.frames
        n_skipped = min(round(start_seconds * rate), max(n_stated, 0))
        # A few filter lengths more than the clip, so that the resampler's edge lies outside it.
        n_wanted = -1 if clip_seconds is None else math.ceil(clip_seconds * rate) + rate // 10
        try:
            if n_skipped:
                file.seek(n_skipped)
            # libsndfile's own conversion of 16-bit samples gives the same values in three times the time.
            coarse = file.subtype == "PCM_16"
            samples = file.read(n_wanted, dtype="int16" if coarse else "float32", always_2d=True)
        except (soundfile.SoundFileError, ValueError) as error:
            raise DataError(f"{path}: damaged or truncated audio ({_reason(error)}); replace or remove it.") from None
    if n_stated <= 0 and not len(samples):
        raise DataError(f"{path}: the audio file holds no samples.")
    n_expected = n_stated - n_skipped if n_wanted < 0 else min(n_stated - n_skipped, n_wanted)
    if n_stated < _UNKNOWN_FRAMES and len(samples) < n_expected:
        raise DataError(
            f"{path}: truncated audio, {len(samples)} of {n_expected} samples decoded; replace or remove it."
        )
    if coarse:
        samples = samples.astype(np.float32)
        samples *= np.float32(1 / 32768)
    audio = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not coarse and not np.isfinite(audio).all():
        raise DataError(f"{path}: the audio holds NaN or infinite samples; replace or remove it.")
    if rate != sample_rate_hz:
        import soxr  # after the checks, and not at import: the package's import stays light

        audio = soxr.resample(audio, rate, sample_rate_hz, quality="HQ")
    if clip_seconds is not None:
        n_clip = timing.n_samples(clip_seconds, sample_rate_hz)
        audio = audio[:n_clip] if len(audio) >= n_clip else np.pad(audio, (0, n_clip - len(audio)))
    return np.ascontiguousarray(audio, dtype=np.float32), (
        n_stated if n_stated < _UNKNOWN_FRAMES else len(samples)
    ) / rate


def write_audio(path: str | Path, audio: np.ndarray, sample_rate_hz: int) -> None:
    """Write mono samples as 16-bit FLAC or WAV, by the suffix, under a temporary name first.

    Parameters
    ----------
    path : path
        ``.flac`` or ``.wav``; its folder is made where it is missing.
    audio : np.ndarray, shape (n_samples,)
        Values outside [-1, 1) are clipped. Values on the 16-bit grid (multiples of 1/32768) come back unchanged.
    sample_rate_hz : int

    Raises
    ------
    DataError
        Another suffix, another shape, or NaN or infinite samples.
    """
    path = Path(path)
    kind = {".flac": "FLAC", ".wav": "WAV"}.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: audio is written as .flac or .wav, received suffix {path.suffix!r}.")
    audio = np.asarray(audio)
    if audio.ndim != 1 or not np.isfinite(audio).all():
        what = f"shape {audio.shape}" if audio.ndim != 1 else "NaN or infinite samples"
        raise DataError(f"{path}: expected finite mono samples, shape (n_samples,), received {what}.")
    samples = np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        soundfile.write(os.fspath(temporary), samples, sample_rate_hz, subtype="PCM_16", format=kind)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    subfolders = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                subfolders.append(entry.path)
            elif not entry.name.startswith("."):
                yield entry
    for subfolder in subfolders:
        yield from _walk(subfolder)


def audio_files(folder: str | Path) -> list[Path]:
    """Return the audio files of a folder and its subfolders: a folder before its subfolders, then by name.

    Raises
    ------
    DataError
        There is no such folder.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder of audio files.")
    paths = (Path(entry.path) for entry in _walk(os.fspath(folder)))
    return [path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES]


def index_audio(folder: str | Path) -> dict[str, Path]:
    """Return the audio files of a folder and its subfolders by name without suffix; the folder is read once.

    Of several files of one name the first counts (a folder before its subfolders, then by name); the others are
    logged.

    Raises
    ------
    DataError
        There is no such folder.
    """
    found: dict[str, Path] = {}
    n_double = 0
    for path in audio_files(folder):
        if path.stem in found:
            n_double += 1
            logger.debug("%s: not used, %s has the same name", path, found[path.stem])
        else:
            found[path.stem] = path
    if n_double:
        logger.warning("%s: %d files share a name with another and are not used.", folder, n_double)
    return found
