"""Find audio files in folders, and write one."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import numpy as np
import soundfile

from crnn_weak.errors import DataError
from crnn_weak.files import replace_file

logger = logging.getLogger(__name__)

#: The file name suffixes of audio that is read.
AUDIO_SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".rf64")
#: Those of audio that must be converted first.
FOREIGN_SUFFIXES = (".au", ".caf", ".w64", ".m4a", ".mp4", ".aac", ".webm", ".amr", ".wma")


def audio_files(folder: str | Path) -> list[Path]:
    """Return the audio files of a folder and its subfolders: a folder before its subfolders, then by name.

    Hidden names (``._take1.mp3``, ``.git``) and everything that is not a regular file are skipped. Links are
    followed, but each folder is read once, so a link to a parent folder ends there.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder of audio files.")
    found: list[Path] = []
    foreign: list[Path] = []
    seen = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        is_new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if is_new and not name.startswith("."))
        for name in sorted(names) if is_new else ():
            is_audio, is_foreign = name.lower().endswith(AUDIO_SUFFIXES), name.lower().endswith(FOREIGN_SUFFIXES)
            if (is_audio or is_foreign) and not name.startswith(".") and os.path.isfile(os.path.join(parent, name)):
                (found if is_audio else foreign).append(Path(parent, name))
    if foreign:
        logger.warning(
            "%s: %d files, e.g. %s, must be converted first: ffmpeg -i INPUT OUTPUT.wav",
            folder, len(foreign), foreign[0].name,
        )  # fmt: skip
    return found


def write_audio(path: str | Path, audio: np.ndarray, sample_rate_hz: int) -> None:
    """Write mono samples, shape (n_samples,), as 16-bit FLAC or WAV (by the suffix), whole or not at all.

    Values outside [-1, 1) are clipped; values on the 16-bit grid (multiples of 1/32768) come back unchanged.
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
    encoded = io.BytesIO()  # libsndfile hides why a disk does not take its bytes
    soundfile.write(encoded, samples, sample_rate_hz, subtype="PCM_16", format=kind)
    with replace_file(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
