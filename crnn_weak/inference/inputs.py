"""Recordings in: their samples as mono blocks at the model's rate.

Nothing here holds a whole recording: a block is read, mixed to one channel, checked, resampled (a stream resampler
keeps its filter's state from block to block, so the result is that of resampling the whole) and handed on.

A recording is whole or it is an error. A file that ends before its header says (truncated FLAC, WAV, Ogg, MP3), that
breaks in the middle, or that holds NaN is a `DataError` when the fault is met, and the caller lists the recording
as failed; nothing is replaced by silence. Odd but whole recordings (silence, a constant offset, clipping) are
processed with a warning.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from crnn_weak.errors import DataError
from crnn_weak.inference.recordings import STDIN, Recording

__all__ = ["AudioBlocks", "Resampler"]

logger = logging.getLogger(__name__)

# Seconds per block: long enough that the calls cost nothing, short enough that 192 kHz, 8 channels stay under 150 MB.
_BLOCK_SECONDS = 20.0
# libsndfile's "length not known", e.g. a FLAC that was written to a pipe.
_UNKNOWN_FRAMES = 2**62
# Full scale of 16 bits is 32767/32768; anything above is at the rail.
_FULL_SCALE = 0.9999
_CLIPPED_SHARE = 1e-3


class Resampler:
    """Change the rate of a mono stream, block by block; a pass-through where the rates agree.

    Parameters
    ----------
    from_hz, to_hz : int
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None
        if from_hz != to_hz:
            import soxr  # costs time to load and is needed only here

            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def __call__(self, audio: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Return the samples, shape (n_samples,), that are ready; with `last`, all that remain."""
        if self._stream is None:
            return audio
        resampled: np.ndarray = self._stream.resample_chunk(np.ascontiguousarray(audio, np.float32), last=last)
        return resampled


@dataclass
class AudioBlocks:
    """The samples of one recording: iterate once, for float32 blocks of shape (n_samples,) at `sample_rate_hz`.

    Parameters
    ----------
    recording : Recording
    sample_rate_hz : int
        The rate to deliver.

    Attributes
    ----------
    duration_seconds : float
        What has been read so far, by the recording's own clock.
    stated_seconds : float or None
        What the header says; None where it says nothing. Known once iteration has begun.
    warnings : list of str
        What was odd; complete once iteration has ended.

    Raises
    ------
    DataError
        While iterating: missing, no permission, not audio, empty, truncated, damaged, or NaN or infinite samples.
    """

    recording: Recording
    sample_rate_hz: int
    duration_seconds: float = 0.0
    stated_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[np.ndarray]:
        name, source = self.recording.name, self.recording.source
        if isinstance(source, tuple | list | np.ndarray):
            audio, rate = _checked_array(source, name)
            yield from self._resampled(_array_blocks(audio, rate), rate, name or "the array")
            return
        with contextlib.ExitStack() as stack:
            where = name if source == STDIN or not isinstance(source, str | Path) else str(source)
            file = _open(source, where, stack)
            self.stated_seconds = file.frames / file.samplerate if file.frames < _UNKNOWN_FRAMES else None
            yield from self._resampled(_file_blocks(file, where), file.samplerate, where)

    def _resampled(self, blocks: Iterable[np.ndarray], rate: int, where: str) -> Iterator[np.ndarray]:
        resample = Resampler(rate, self.sample_rate_hz)
        health = _Health()
        for block in blocks:
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            total = float(mono.sum(dtype=np.float64))
            if not np.isfinite(total) and not np.isfinite(mono).all():
                at = self.duration_seconds + int(np.argmin(np.isfinite(mono))) / rate
                raise DataError(f"{where}: NaN or infinite samples at {at:.3f} s; replace or remove the recording.")
            health.add(block, mono, total)
            self.duration_seconds += len(block) / rate
            resampled = resample(mono)
            if resampled.size:
                yield resampled
        if not health.n_samples:
            raise DataError(f"{where}: the recording holds no samples.")
        rest = resample(np.zeros(0, np.float32), last=True)
        if rest.size:
            yield rest
        self.warnings += health.warnings()


class _Health:
    """Running figures that tell an odd recording."""

    def __init__(self) -> None:
        self.n_samples = self.n_clipped = self.n_values = 0
        self.peak = self.sum = self.power = 0.0

    def add(self, block: np.ndarray, mono: np.ndarray, total: float) -> None:
        self.n_samples += len(mono)
        self.sum += total
        self.power += float(np.dot(mono, mono))
        peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
        self.peak = max(self.peak, peak)
        self.n_values += block.size
        if peak >= _FULL_SCALE:
            self.n_clipped += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))

    def warnings(self) -> list[str]:
        found = []
        mean = self.sum / self.n_samples
        variance = max(self.power / self.n_samples - mean * mean, 0.0)
        if self.peak == 0.0:
            found.append("digital silence: every sample is zero")
        elif abs(mean) > 0.01 and mean * mean > variance:
            found.append(f"constant offset (DC) of {mean:+.2f} of full scale, larger than the sound on it")
        if self.n_clipped > _CLIPPED_SHARE * self.n_values:
            found.append(f"clipped: {100 * self.n_clipped / self.n_values:.1f} % of the samples are at full scale")
        return found


def _checked_array(source: Any, name: str) -> tuple[np.ndarray, int]:
    """Return (array of shape (n_samples, n_channels), rate)."""
    expected = (
        f"{name or 'array'}: expected (array, sample_rate_hz), real numbers of shape (n_samples,) or (n_samples, "
        "n_channels) and a rate of 1 or more"
    )
    if not isinstance(source, tuple) or len(source) != 2:
        raise DataError(f"{expected}, received {type(source).__name__} without a rate.")
    audio, rate = np.asarray(source[0]), source[1]
    if not isinstance(rate, int | float | np.number) or rate < 1 or audio.ndim not in (1, 2):
        raise DataError(f"{expected}, received shape {audio.shape} and rate {rate!r}.")
    if audio.dtype.kind not in "fiu":
        raise DataError(f"{expected}, received numbers of type {audio.dtype}.")
    if audio.ndim == 2 and audio.shape[1] > max(audio.shape[0], 1):
        raise DataError(f"{expected}, received shape {audio.shape}: more channels than samples; pass its transpose.")
    return (audio[:, None] if audio.ndim == 1 else audio), int(rate)


def _array_blocks(audio: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    n_block = max(1, int(_BLOCK_SECONDS * rate))
    for first in range(0, len(audio), n_block):
        block = audio[first : first + n_block]
        if block.dtype.kind in "iu":
            signed = block.dtype.kind == "i"
            half = np.iinfo(block.dtype).max + 1 if signed else np.iinfo(block.dtype).max // 2 + 1
            yield ((block.astype(np.float64) - (0 if signed else half)) / half).astype(np.float32)
        else:
            yield block.astype(np.float32)


# --- files -----------------------------------------------------------------------------------------------------------


def _open(source: Any, where: str, stack: contextlib.ExitStack) -> soundfile.SoundFile:
    try:
        if source == STDIN:
            source = stack.enter_context(_spooled(sys.stdin.buffer))
        if isinstance(source, str | Path):
            if os.path.isdir(source):
                raise DataError(f"{where}: is a folder, expected an audio file.")
            source = stack.enter_context(Path(source).open("rb"))  # noqa: SIM115
        if source.seek(0, os.SEEK_END) == 0:
            raise DataError(f"{where}: the file is empty (0 bytes).")
        source.seek(0)
        if whole := _truncation(source):
            raise DataError(f"{where}: {whole}")
        source.seek(0)
        return stack.enter_context(soundfile.SoundFile(source))
    except FileNotFoundError:
        raise DataError(f"{where}: no such file.") from None
    except PermissionError:
        raise DataError(f"{where}: no permission to read it.") from None
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: cannot be read as audio ({_reason(error)}).") from None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text.rpartition(": ")[2] or type(error).__name__


@contextlib.contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Copy a pipe to a temporary file on disk: libsndfile seeks, a pipe cannot."""
    with tempfile.TemporaryFile(prefix="crnn-weak-") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        yield copy  # type: ignore[misc]


def _file_blocks(file: soundfile.SoundFile, where: str) -> Iterator[np.ndarray]:
    n_block = max(1, int(_BLOCK_SECONDS * file.samplerate))
    n_read = 0
    while True:
        try:
            block = file.read(n_block, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
            raise DataError(
                f"{where}: damaged or truncated after {n_read / file.samplerate:.1f} s ({_reason(error)}); "
                "nothing of it is reported."
            ) from None
        if not len(block):
            break
        n_read += len(block)
        yield block
    # The length of an MP3 without an index is an estimate; it may be a few packets off.
    slack = max(0.02 * file.frames, 0.5 * file.samplerate) if file.format == "MP3" else 0
    if file.frames < _UNKNOWN_FRAMES and n_read < file.frames - slack:
        raise DataError(
            f"{where}: truncated, {n_read / file.samplerate:.1f} of {file.frames / file.samplerate:.1f} s can be "
            "decoded; nothing of it is reported."
        )


def _truncation(file: BinaryIO) -> str | None:
    """Find what libsndfile forgives in silence: a WAV, AIFF or Ogg file that ends early."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    kind, form = head[:4], head[8:12]
    if (kind, form) == (b"RIFF", b"WAVE") or (kind, form[:3]) == (b"FORM", b"AIF"):
        return _chunk_truncation(file, size, "<I" if kind == b"RIFF" else ">I")
    if kind == b"OggS":
        file.seek(max(0, size - 0x11000))  # a page has at most 65,307 bytes
        tail = file.read()
        page = tail.rfind(b"OggS")
        if page < 0 or len(tail) < page + 27 or not tail[page + 5] & 4:
            return "truncated Ogg file, its last page is missing; nothing of it is reported."
    return None


def _chunk_truncation(file: BinaryIO, size: int, layout: str) -> str | None:
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = file.read(4), struct.unpack(layout, file.read(4))[0]
        if name in (b"data", b"SSND"):
            # Writers to a pipe cannot know the length and leave 0 or the largest number there.
            missing = position + 8 + length - size
            if missing > 0 and length < 0x7FFF_0000:
                return f"truncated, {missing} of {length} bytes of audio are missing; nothing of it is reported."
            return None
        position += 8 + length + (length & 1)
    return None
