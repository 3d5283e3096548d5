"""Compare what an audio file's header claims with the bytes that are there.

libsndfile accepts a WAV, RF64, W64, AIFF, AU, CAF or Ogg file that ends early, without an error. It ends an MP3 without
a frame count at an estimate from the file size and the first frame's bit rate. `missing_audio` finds the former,
`open_mp3` reads past the latter.

References
----------
.. [1] EBU Tech 3306 (RF64), Sony Wave64, Apple's AIFF-C and CAF, Sun's AU, RFC 3533 (Ogg): the layout of the chunks.
.. [2] ISO/IEC 11172-3 (frame headers); the "Xing" and "Info" tags as LAME writes them.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

__all__ = ["View", "missing_audio", "open_mp3"]

# Writers to a pipe cannot know the length and leave 0 or one of the largest numbers there.
_UNKNOWN_32, _UNKNOWN_64 = 0x7FFF_0000, 2**62
# A file may consist of millions of empty chunks.
_MAX_CHUNKS = 10_000
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_OGG_PAGE = 65_307  # bytes, at most


def missing_audio(file: BinaryIO) -> str | None:
    """Return how a file falls short of its header; None where it does not, or where the header states no length.

    Parameters
    ----------
    file : binary file
        Seekable; its position changes.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(40)
    kind, form = head[:4], head[8:12]
    claim = None
    if kind in (b"RIFF", b"RIFX") and form == b"WAVE":
        claim = _chunks(file, size, b"data", "<I" if kind == b"RIFF" else ">I")
    elif kind in (b"RF64", b"BW64") and form == b"WAVE":
        claim = _rf64(file, size, head)
    elif kind == b"FORM" and form[:3] == b"AIF":
        claim = _chunks(file, size, b"SSND", ">I")
    elif head[:16] == _W64_RIFF:
        claim = _chunks(file, size, b"data", "<Q", first=40, n_name=16, n_counted=24, align=8)
    elif kind == b"caff":
        claim = _chunks(file, size, b"data", ">Q", first=8, align=1)
    elif kind in (b".snd", b"dns.") and len(head) >= 12:
        begin, length = struct.unpack(">II" if kind == b".snd" else "<II", head[4:12])
        claim = None if length >= _UNKNOWN_32 else (begin, length)
    elif kind == b"OggS":
        return _ogg(file, size)
    if claim is None or sum(claim) <= size:
        return None
    return f"truncated, {sum(claim) - size} of {claim[1]} bytes of audio are missing"


def _chunks(
    file: BinaryIO,
    size: int,
    wanted: bytes,
    layout: str,
    *,
    first: int = 12,
    n_name: int = 4,
    n_counted: int = 0,
    align: int = 2,
) -> tuple[int, int] | None:
    """Return where a chunk's content begins, and its length in bytes; `n_counted` bytes of its head count as length."""
    position, n_head = first, n_name + struct.calcsize(layout)
    unknown = _UNKNOWN_32 if layout[1] == "I" else _UNKNOWN_64
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(n_head)
        if len(head) < n_head:
            return None
        length = struct.unpack(layout, head[n_name:])[0] - n_counted
        if head.startswith(wanted):
            return None if not 0 <= length < unknown else (position + n_head, length)
        position += n_head + max(length, 0)
        position += -position % align
    return None


def _rf64(file: BinaryIO, size: int, head: bytes) -> tuple[int, int] | None:
    """Return the lengths in an RF64 file's chunk ``ds64``; the other length fields then hold 0xFFFFFFFF."""
    if head[12:16] != b"ds64" or len(head) < 36:
        return None
    length = struct.unpack("<Q", head[28:36])[0]
    position = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        name, n_bytes = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if name == b"data":
            return None if length >= _UNKNOWN_64 else (position + 8, length)
        position += 8 + n_bytes + (n_bytes & 1)
        if position >= size:
            return None
    return None


def _ogg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - _OGG_PAGE - 1000))
    tail = file.read()
    page = tail.rfind(b"OggS")
    # The page says that it is the last one, and is there to its end.
    whole = page >= 0 and len(tail) >= page + 27 and tail[page + 5] & 4
    if whole:
        sizes = tail[page + 27 : page + 27 + tail[page + 26]]
        whole = len(sizes) == tail[page + 26] and len(tail) >= page + 27 + len(sizes) + sum(sizes)
    return None if whole else "truncated Ogg file, its last page is missing"


# --- MP3 -------------------------------------------------------------------------------------------------------------


class View:
    """A binary file for libsndfile's callbacks, which must not raise: a seek out of the file ends at its edge.

    Parameters
    ----------
    file : binary file
    endless : bool
        Claim to be longer than the file is, so that libsndfile's estimate of an MP3's length is never short. After a
        seek beyond the true end (libsndfile looks for a tag), zeros are read; a read that runs on from the audio ends.
    count_at : int, optional
        Where the frame count of an MP3's tag is; it is replaced by a large one.
    """

    def __init__(self, file: BinaryIO, *, endless: bool = False, count_at: int | None = None) -> None:
        self._file, self._count_at = file, count_at
        self._size = _without_zeros(file) if endless else file.seek(0, os.SEEK_END)
        # The bit rates of MP3 lie within 8 and 320 kbit/s.
        self._claimed = self._size * 64 + 2**20 if endless else self._size
        self._position, self._jumped = 0, False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the new position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._claimed}[whence]
        self._position = min(max(start + offset, 0), self._claimed)
        self._jumped = self._position > self._size
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, n_bytes: int) -> bytes:
        """Return at most `n_bytes` bytes; none at the end."""
        if self._position < self._size:
            self._file.seek(self._position)
            data = self._file.read(min(n_bytes, self._size - self._position))
        else:
            data = bytes(n_bytes) if self._jumped else b""
        if self._count_at is not None and self._position <= self._count_at < self._position + len(data):
            at = self._count_at - self._position
            data = (data[:at] + b"\x7f\xff\xff\xff" + data[at + 4 :])[: len(data)]
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, and return the number of bytes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: bytes) -> int:
        """Refuse; libsndfile asks for the method."""
        raise OSError("not writable")


def open_mp3(file: BinaryIO) -> tuple[View | None, str | None]:
    """Return a view from which libsndfile reads an MP3 to its end, and how the file is truncated; each may be None.

    A file whose tag counts frames and bytes, and that has these bytes and nothing after them, needs no such view: its
    length is exact, without the encoder's padding.
    """
    size = file.seek(0, os.SEEK_END)
    first = _first_frame(file)
    file.seek(first)
    head = file.read(200)
    at = max(head.find(b"Xing", 0, 60), head.find(b"Info", 0, 60))
    flags = struct.unpack(">I", head[at + 4 : at + 8])[0] if 0 <= at <= len(head) - 16 else 0
    if flags & 3 != 3:
        return View(file, endless=True, count_at=first + at + 8 if flags & 1 else None), None
    n_bytes = struct.unpack(">I", head[at + 12 : at + 16])[0]
    if n_bytes > size - first:
        missing = n_bytes - (size - first)
        return None, f"truncated, {missing} of {n_bytes} bytes of audio are missing"
    file.seek(first + n_bytes)
    after = file.read(3)
    goes_on = after == b"ID3" or (len(after) == 3 and after[0] == 0xFF and after[1] & 0xE0 == 0xE0)
    return (View(file, endless=True, count_at=first + at + 8) if goes_on else None), None


def _first_frame(file: BinaryIO) -> int:
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _without_zeros(file: BinaryIO) -> int:
    """Return the file's size without a padding of zeros, of which the decoder would make an error."""
    size = end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - 2**16)
        file.seek(begin)
        block = file.read(end - begin).rstrip(b"\0")
        if block:
            end = begin + len(block)
            break
        end = begin
    # Fewer may be the end of the last frame.
    return end if size - end > 1000 else size
