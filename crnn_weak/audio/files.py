"""Find and write audio files, and read them as mono float32 at one rate: a clip at once, or any length in blocks.

Samples are in [-1, 1]; channels are averaged; a file is decoded at its own rate and resampled (soxr, "HQ") only where
the rates differ. A file is whole, or it is a `DataError` of one line: nothing is replaced by silence, and a header's
claim costs no memory. Odd but whole recordings (silence, a constant offset, clipping) are read with a warning.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from crnn_weak.audio.containers import CONVERT, View, find_stream, mp3_stream
from crnn_weak.audio.samples import HIGHEST_HZ, LOWEST_HZ, Levels, array_source, mono, scaled
from crnn_weak.errors import DataError
from crnn_weak.files import replace_file

logger = logging.getLogger(__name__)

#: Suffixes of audio that is read.
AUDIO_SUFFIXES: tuple[str, ...] = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".rf64"
)  # fmt: skip
#: Suffixes of audio that must be converted first.
FOREIGN_SUFFIXES = (
    ".au", ".caf", ".w64", ".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".ac3", ".webm", ".mka", ".mkv", ".amr",
    ".wma", ".wv", ".ape",
)  # fmt: skip
# libsndfile's names of the formats whose length is checked.
_CHECKED_FORMATS = ("WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3")
#: The path that means "a recording on standard input".
STDIN = "-"
# Long enough that the calls cost nothing, short enough that 192 kHz, 8 channels stay under 150 MB.
_BLOCK_SECONDS = 20.0
_BLOCK_VALUES = 2**24  # samples times channels
# Bytes at the end of an MP3 that pass without a warning.
_LONGEST_TAG = 4096
# libsndfile's "length not known", and its error at the end of such a FLAC.
_UNKNOWN_FRAMES = 2**62
_END_OF_UNCOUNTED_FLAC = 39
# Full scale is 1; floating-point files in other units, e.g. those of 16 or 24 bits, go to 2**23.
_LOUDEST = 1e9


def audio_files(folder: str | Path) -> list[Path]:
    """Return the audio files of a folder and its subfolders: a folder before its subfolders, then by name.

    Files that must be converted first are listed as well, so that each gets its message, unless one of the same name
    that can be read is next to them. Hidden names (``._take1.mp3``, ``.git``) and everything that is not a regular
    file are skipped. Links are followed, but each folder is read once, so a link to a parent folder ends there.
    What the disk does not give is skipped with one warning.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder of audio files.")
    found: list[Path] = []
    faults: list[OSError] = []
    seen = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=faults.append):
        status = os.stat(parent)
        is_new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if is_new and not name.startswith("."))
        readable = {os.path.splitext(name)[0] for name in names if name.lower().endswith(AUDIO_SUFFIXES)}
        for name in sorted(names) if is_new else ():
            is_foreign = name.lower().endswith(FOREIGN_SUFFIXES) and os.path.splitext(name)[0] not in readable
            is_audio = is_foreign or name.lower().endswith(AUDIO_SUFFIXES)
            if is_audio and not name.startswith(".") and _is_file(os.path.join(parent, name), faults):
                found.append(Path(parent, name))
    if faults:
        advice = f"{faults[0].filename}: {faults[0].strerror}; check the permissions and the disk."
        if not found:
            raise DataError(advice)
        logger.warning("%s: %d files or folders cannot be read and are skipped, e.g. %s", folder, len(faults), advice)
    return found


def _is_file(path: str, faults: list[OSError]) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:  # a link that leads nowhere
        return False
    except OSError as error:
        faults.append(error)
        return False


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
    try:
        soundfile.write(encoded, samples, sample_rate_hz, subtype="PCM_16", format=kind)
    except soundfile.SoundFileError as error:  # FLAC goes to 655,350 Hz
        raise DataError(f"{path}: cannot be written at {sample_rate_hz} Hz ({_reason(error)}).") from None
    with replace_file(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


class _Source:
    """An open audio file: its samples in blocks, at its own rate."""

    def __init__(self, file: BinaryIO, where: str, stack: contextlib.ExitStack) -> None:
        stream = find_stream(file, where)
        self.warnings = [stream.warning] if stream.warning else []
        self._bytes, self._where, self._stack = file, where, stack
        self._begin, self._end = stream.begin, stream.end
        self._position, is_counted = 0, True
        self._open(stream.view)
        if self._file.format not in _CHECKED_FORMATS:
            raise DataError(f"{where}: the format {self._file.format} is not read; {CONVERT}")
        if self._file.subtype.startswith("MPEG_LAYER"):
            endless = mp3_stream(file, stream.begin, stream.end, where)
            if endless is not None:
                is_counted = False
                self._open(endless)
        self.rate, self.n_channels = int(self._file.samplerate), int(self._file.channels)
        if not LOWEST_HZ <= self.rate <= HIGHEST_HZ:
            raise DataError(
                f"{where}: a sample rate of {self.rate} Hz; expected {LOWEST_HZ} to {HIGHEST_HZ}. "
                "The header is damaged; replace or remove the file."
            )
        # Without a count in the header only reading tells.
        is_counted = is_counted and self._file.frames < _UNKNOWN_FRAMES
        self._n_stated = self._file.frames if is_counted else None
        self.stated_seconds = None if self._n_stated is None else self._n_stated / self.rate
        self._is_uncounted_flac = self._file.format == "FLAC" and not is_counted

    def _open(self, view: View) -> None:
        self._view = view
        try:
            self._file = self._stack.enter_context(soundfile.SoundFile(view))
        finally:
            self._check_disk()

    def skip(self, n_samples: int) -> None:
        """Move forward by `n_samples`, at most to the end."""
        if self._is_uncounted_flac:
            for _ in self.blocks(n_samples):
                pass
        elif n_samples > 0:
            with self._faults():
                self._position = self._file.seek(min(n_samples, max(self._file.frames, 0)))

    def blocks(self, n_wanted: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples, float32 of shape (n_samples, n_channels), to the end, or until there are `n_wanted`."""
        n_block = max(1, min(int(_BLOCK_SECONDS * self.rate), _BLOCK_VALUES // self.n_channels))
        n_left = math.inf if n_wanted is None else n_wanted
        while n_left > 0:
            with self._faults():
                block = self._read(int(min(n_block, n_left)))
            if not len(block):
                self._check_end()
                break
            if block.dtype == np.int16:
                # libsndfile's own conversion gives the same values in three times the time.
                block = block.astype(np.float32)
                block *= np.float32(1 / 32768)
            else:
                _check_values(block, self.rate, self._position, self._where)
            self._position += len(block)
            n_left -= len(block)
            yield block

    def _read(self, n_samples: int) -> np.ndarray:
        """Return at most `n_samples` samples, float32 or int16 of shape (n_samples, n_channels); none at the end."""
        if self._is_uncounted_flac:
            # Its end is an error for libsndfile, after the last samples.
            filled = np.full((n_samples, self.n_channels), np.nan, np.float32)
            try:
                filled = self._file.read(out=filled)
            except soundfile.LibsndfileError as error:
                if error.code != _END_OF_UNCOUNTED_FLAC:
                    raise
            return filled[~np.isnan(filled[:, 0])]
        # A tag after the last sample of a FLAC would be reported as damage.
        n_left = n_samples if self._n_stated is None else min(n_samples, self._n_stated - self._position)
        dtype = "int16" if self._file.subtype == "PCM_16" else "float32"
        block: np.ndarray = self._file.read(n_left, dtype=dtype, always_2d=True)
        return block

    def _check_end(self) -> None:
        """Refuse a file of which fewer samples than stated, or none, could be decoded, or not all of its bytes."""
        if self._n_stated is not None and self._position < self._n_stated:
            raise DataError(
                f"{self._where}: truncated, {self._position / self.rate:.1f} of {self.stated_seconds:.1f} s can be "
                "decoded; replace or remove it."
            )
        if not self._position:
            raise DataError(f"{self._where}: the recording holds no samples.")
        n_unread = self._end - self._view.tell()
        if self._file.format == "FLAC":
            self._bytes.seek(max(self._begin + 4, self._view.tell() - 2**16))
            if b"fLaC\0\0\0\x22" in self._bytes.read(2**20):
                raise DataError(f"{self._where}: several FLAC files joined in one; split it at the markers fLaC.")
            if n_unread > _LONGEST_TAG:
                raise DataError(f"{self._where}: holds more than its header states (a large tag?); {CONVERT}")
        elif self._n_stated and self._file.format == "MP3" and n_unread > _LONGEST_TAG:
            self.warnings.append(f"not read to its end: {n_unread} bytes follow (a tag, or a wrong header?)")

    def _check_disk(self) -> None:
        """Raise what the view has kept, as libsndfile's callbacks must not raise."""
        if self._view.fault is not None:
            raise DataError(_disk_fault(self._where, self._view.fault))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
            self._check_disk()
        except (soundfile.SoundFileError, RuntimeError, ValueError, OSError) as error:
            self._check_disk()
            raise DataError(
                f"{self._where}: damaged or truncated after {self._position / self.rate:.1f} s ({_reason(error)}); "
                "replace or remove it."
            ) from None


@contextlib.contextmanager
def _opened(source: Any, where: str) -> Iterator[_Source]:
    """Open a path, a binary file or standard input."""
    with contextlib.ExitStack() as stack:
        try:
            opened = _Source(_binary_file(source, where, stack), where, stack)
        except DataError:
            raise
        except FileNotFoundError:
            advice = "download it, and name the file" if "://" in where else "check the path"
            raise DataError(f"{where}: no such audio file; {advice}.") from None
        except PermissionError:
            raise DataError(f"{where}: no permission to read it.") from None
        except OSError as error:
            raise DataError(_disk_fault(where, error)) from None
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            reason = _reason(error)
            raise DataError(f"{where}: cannot be read as audio ({reason}); remove it, or {CONVERT}") from None
        yield opened


def _binary_file(source: Any, where: str, stack: contextlib.ExitStack) -> BinaryIO:
    """Return a file that can be read and sought: libsndfile seeks, and a pipe is copied first."""
    file = source
    if source == STDIN:
        file = sys.stdin.buffer
    elif isinstance(source, str | bytes | os.PathLike):
        path = os.fsdecode(source)
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "is a folder" if stat.S_ISDIR(mode) else "is not a regular file (a pipe or a device)"
            raise DataError(f"{where}: {what}, expected an audio file.")
        return stack.enter_context(Path(path).open("rb"))
    elif getattr(source, "closed", False) or isinstance(source.read(0), str):
        raise DataError(f"{where}: a closed file, or one opened as text; expected a file opened in mode 'rb'.")
    with contextlib.suppress(OSError, AttributeError, TypeError):
        file.seek(0)
        return file
    copy = stack.enter_context(tempfile.TemporaryFile(prefix="crnn-weak-"))  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(file, copy, 1 << 20)
    return copy


def _disk_fault(where: str, error: OSError) -> str:
    return f"{where}: cannot be read ({error.strerror or error}); check the disk and rerun."


def _reason(error: Exception) -> str:
    """Return the tail of libsndfile's message, which repeats the file name first."""
    text = " ".join(str(error).split()).rstrip(".")
    return text.rpartition(": ")[2] or type(error).__name__


def _check_values(block: np.ndarray, rate: int, position: int, where: str) -> None:
    if block.min(initial=0.0) >= -_LOUDEST and block.max(initial=0.0) <= _LOUDEST:  # NaN compares false
        return
    row, channel = np.argwhere(~(np.abs(block) <= _LOUDEST))[0]
    value = block[row, channel]
    found = f"a sample of {value:.1e}" if np.isfinite(value) else "NaN or infinite samples"
    raise DataError(f"{where}: {found} at {(position + row) / rate:.3f} s; replace or remove the recording.")


def read_header(path: str | Path, *, decode: bool = False) -> tuple[int, float]:
    """Read rate (hertz) and duration (seconds); decode to the end with `decode`, or where no length is stated."""
    with _opened(path, str(path)) as source:
        seconds = source.stated_seconds
        if decode or seconds is None:
            seconds = sum(map(len, source.blocks())) / source.rate
        if seconds <= 0:
            raise DataError(f"{path}: the audio file holds no samples.")
        return source.rate, seconds


def load_clip(
    path: str | Path,
    sample_rate_hz: int,
    clip_seconds: float | None = None,
    *,
    start_seconds: float = 0.0,
    warnings: list[str] | None = None,
) -> tuple[np.ndarray, float]:
    """Read an audio file from `start_seconds` on as mono at one rate, padded with zeros or cut to a clip's length.

    Without `clip_seconds` the rest of the file is read as it is; else no more than needed is decoded. Returns float32
    of shape (n_samples,), in [-1, 1] unless the file's floating-point samples go beyond, and the file's own length in
    seconds. `warnings` takes what is odd about the file and the part that is read.
    """
    levels, parts = Levels(), []
    with _opened(path, str(path)) as source:
        rate, n_skipped = source.rate, round(start_seconds * source.rate)
        # A few filter lengths more than the clip, so that the resampler's edge is outside it.
        n_wanted = None if clip_seconds is None else math.ceil(clip_seconds * rate) + rate // 10
        source.skip(n_skipped)
        for block in source.blocks(n_wanted):
            parts.append(mono(block))
            levels.add(block, parts[-1])
        n_read = n_skipped + sum(map(len, parts))
        duration = n_read / rate if source.stated_seconds is None else source.stated_seconds
    if warnings is not None:
        warnings += [*source.warnings, *levels.warnings()]
    audio = np.concatenate(parts) if len(parts) != 1 else parts[0]
    if rate != sample_rate_hz:
        audio = soxr.resample(audio, rate, sample_rate_hz, quality="HQ")
    if clip_seconds is not None:
        n_clip = round(clip_seconds * sample_rate_hz)
        audio = audio[:n_clip] if len(audio) >= n_clip else np.pad(audio, (0, n_clip - len(audio)))
    return np.ascontiguousarray(audio, dtype=np.float32), duration


@dataclass
class AudioBlocks:
    """The samples of one recording: iterate once, for float32 blocks of shape (n_samples,) at `sample_rate_hz`.

    The source is a path, ``"-"``, a binary file, (array, rate in hertz) or a mapping with "array" and "sampling_rate"
    (`crnn_weak.audio.samples`). No more than a block is in memory. `duration_seconds` is what has been read so far, by
    the recording's own clock of `rate_hz`; `warnings` are complete at the end.
    """

    source: Any
    sample_rate_hz: int
    name: str = ""  # for messages about sources other than paths
    rate_hz: int = 0
    duration_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[np.ndarray]:
        is_path = isinstance(self.source, str | bytes | os.PathLike) and self.source != STDIN
        where = os.fsdecode(self.source) if is_path else self.name or "the recording"
        array = array_source(self.source, where)
        if array is not None:
            samples, self.rate_hz = array
            n_block = int(_BLOCK_SECONDS * self.rate_hz)
            starts = range(0, len(samples), n_block)
            yield from self._resampled(scaled(samples[start : start + n_block]) for start in starts)
            return
        with _opened(self.source, where) as source:
            self.rate_hz = source.rate
            yield from self._resampled(source.blocks())
            self.warnings += source.warnings

    def _resampled(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        stream = None
        if self.rate_hz != self.sample_rate_hz:
            # The filter keeps its state from block to block, so the result is that of resampling the whole.
            stream = soxr.ResampleStream(self.rate_hz, self.sample_rate_hz, 1, dtype="float32", quality="HQ")
        levels, n_samples = Levels(), 0
        for block in blocks:
            mixed = mono(block)
            levels.add(block, mixed)
            n_samples += len(mixed)
            self.duration_seconds = n_samples / self.rate_hz
            ready = mixed if stream is None else stream.resample_chunk(np.ascontiguousarray(mixed))
            if ready.size:
                yield ready
        if stream is not None:
            rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            if rest.size:
                yield rest
        self.warnings += levels.warnings()
