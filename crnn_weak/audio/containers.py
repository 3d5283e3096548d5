"""Compare what an audio file's header claims with the bytes that follow, and find the audio in the file.

libsndfile raises no error for a WAV, RF64, AIFF or Ogg file that ends early. A WAV whose size was never filled in is
empty to it. It reads only the first of joined Ogg streams, and an MP3 without a frame count up to an estimate.
References: EBU Tech 3306 (RF64), RFC 3533 (Ogg), ISO/IEC 11172-3 (MP3), LAME's "Xing" and "Info" tags.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO, NamedTuple

from crnn_weak.errors import DataError

# First bytes of a chunked file -> the name of the chunk of audio, and how the head of a chunk is packed.
_CHUNKED = dict.fromkeys((b"RIFF", b"RF64", b"BW64"), (b"data", "<4sI")) | {b"FORM": (b"SSND", ">4sI")}
# A file may consist of millions of empty chunks.
_MAX_CHUNKS = 10_000
# Writers to a pipe cannot know the length and leave 0 or one of the largest numbers.
_UNKNOWN_32, _UNKNOWN_64 = 0x7FFF_0000, 2**62
# Some writers count the header's 36 to 44 bytes as audio.
_SLACK_BYTES = 64
_UNFINISHED = "its header was never completed (an interrupted recording?); read to the end of the file"
_TOO_LITTLE = "its header states less audio than the file holds; read to the end of the file"
_TOO_MUCH = "its header states a few bytes more than the file holds"
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
#: What to do with a file of another format.
CONVERT = "convert it first: ffmpeg -i INPUT OUTPUT.wav"
# Formats that are not read, or whose length libsndfile does not check, by the bytes at a place.
_FOREIGN = (
    (4, b"ftyp", "MP4 (m4a, mp4)"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"#!AMR", "AMR"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "WMA"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"riff", "W64"),
    (0, b"RIFX", "WAV with its bytes in reverse order"),
)


class Stream(NamedTuple):
    """The audio of a file, for libsndfile; the begin and end of its bytes; what is odd but readable."""

    view: View
    begin: int
    end: int
    warning: str = ""


class View:
    """A part of a binary file, for libsndfile's callbacks, which must not raise: a seek outside ends at the edge.

    `prefix` comes before the part: a header in place of the file's. `endless` claims more bytes than there are, so that
    libsndfile's estimate of an MP3's length is never short. A seek beyond the true end (libsndfile looks for a tag)
    then reads zeros; a read that continues from the audio ends.
    """

    fault: OSError | None = None  # of the disk

    def __init__(self, file: BinaryIO, begin: int, end: int, *, prefix: bytes = b"", endless: bool = False) -> None:
        self._file, self._begin, self._prefix = file, begin - len(prefix), prefix
        self._size = end - self._begin
        # The bit rates of MP3 are 8 to 320 kbit/s.
        self._claimed = self._size * 64 + 2**20 if endless else self._size
        self._position, self._jumped = 0, False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._claimed}[whence]
        self._position = min(max(start + offset, 0), self._claimed)
        self._jumped = self._position > self._size
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._prefix[self._position : self._position + len(buffer)]
        position = self._position + len(data)
        n_more = min(len(buffer) - len(data), self._size - position)
        if n_more > 0:
            try:
                self._file.seek(self._begin + position)
                data += self._file.read(n_more)
            except OSError as error:
                self.fault = error
        elif self._jumped:
            data = bytes(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def patched_view(file: BinaryIO, begin: int, end: int, at: int, value: bytes, **options: Any) -> View:
    """Return a view of a part in which the bytes from its byte `at` on are others."""
    file.seek(begin)
    return View(file, begin + at + len(value), end, prefix=file.read(at) + value, **options)


def find_stream(file: BinaryIO, where: str) -> Stream:
    """Return the audio of a seekable file; refuse one that is shorter than it claims, or of a foreign format."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise DataError(f"{where}: the audio file is empty (0 bytes).")
    file.seek(0)
    head = file.read(40).ljust(40, b"\0")
    for at, magic, name in _FOREIGN:
        if head[at:].startswith(magic):
            raise DataError(f"{where}: {name} cannot be read; {CONVERT}")
    if head[:4] == b"OggS":
        return _ogg_stream(file, size, where)
    if head[:4] in _CHUNKED:
        return _chunked_stream(file, size, head, where)
    return Stream(View(file, 0, size), _id3_length(file, 0), size)


def _chunked_stream(file: BinaryIO, size: int, head: bytes, where: str) -> Stream:
    """Compare the size of the chunk of audio with the bytes that follow; the first 40 bytes are the `head`."""
    wanted, layout = _CHUNKED[head[:4]]
    begin, stated = _audio_chunk(file, size, wanted, layout)
    is_long, unknown = head[12:16] == b"ds64", _UNKNOWN_32
    if is_long:  # the first chunk of an RF64 has the true size
        unknown, stated = _UNKNOWN_64, struct.unpack("<Q", head[28:36])[0]
    missing = begin + stated - size
    if stated >= unknown > size or (missing < 0 and _audio_follows(file, begin, stated, size, layout)):
        warning = _TOO_LITTLE if 0 < stated < unknown else _UNFINISHED
        if is_long:
            view = patched_view(file, 0, size, 28, struct.pack("<Q", size - begin))
        elif head[:4] == b"FORM":
            view = patched_view(file, 0, size, begin - 4, struct.pack(">I", size - begin))
        else:  # libsndfile reads an unfinished WAV of any length to its end, which has these two sizes
            file.seek(8)
            view = View(file, begin, size, prefix=b"RIFF\x08\0\0\0" + file.read(begin - 12) + bytes(4))
        return Stream(view, begin, size, warning)
    if missing > _SLACK_BYTES:
        raise DataError(f"{where}: truncated, {missing} of {stated} bytes of audio are missing; replace or remove it.")
    return Stream(View(file, 0, size), begin, min(begin + stated, size), _TOO_MUCH if missing > 0 else "")


def _audio_chunk(file: BinaryIO, size: int, wanted: bytes, layout: str) -> tuple[int, int]:
    """Return where the audio begins and its length in bytes as stated; all of the file where no chunk has audio."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack(layout, head)
        if name == wanted:
            return position + 8, length
        position += 8 + length + length % 2
    return 0, size


def _audio_follows(file: BinaryIO, begin: int, stated: int, size: int, layout: str) -> bool:
    """Return whether more audio follows the stated bytes: neither a chunk nor a tag, a padding or a few bytes."""
    end = begin + stated
    for position in (end + stated % 2, end):  # some writers leave out the byte that makes a length even
        file.seek(position)
        head = file.read(8).ljust(8, b"\0")
        name, length = struct.unpack(layout, head)
        is_name = all(32 <= character < 127 for character in name)
        if head.startswith(_TAGS) or (is_name and position + 8 + length <= size + _SLACK_BYTES):
            return False
    if stated == 0:
        return True
    file.seek(end)
    while size - end > _SLACK_BYTES and (block := file.read(2**20)):
        if block.strip(b"\0"):
            return True
    return False


def _ogg_stream(file: BinaryIO, size: int, where: str) -> Stream:
    """Walk the pages: all of one stream, the last one whole; it should say that it is the last."""
    position, has_ended = 0, False
    while position < size:
        file.seek(position)
        head = file.read(27)
        sizes = file.read(head[26]) if len(head) == 27 and head.startswith(b"OggS") else b""
        length = 27 + len(sizes) + sum(sizes)
        if not sizes or position + length > size:
            if has_ended:  # a tag, or padding
                break
            raise DataError(f"{where}: truncated or damaged Ogg file at byte {position}; replace or remove it.")
        if head[5] & 2 and position:
            raise DataError(f"{where}: several Ogg files joined in one, or with several tracks; {CONVERT}")
        has_ended = bool(head[5] & 4)
        position += length
    warning = "" if has_ended else "its last page is not marked as the last; is it complete?"
    return Stream(View(file, 0, position), 0, position, warning)


def mp3_stream(file: BinaryIO, begin: int, end: int, where: str) -> View | None:
    """Return a view from which libsndfile reads an MP3 to its end; None where its tag states the exact length.

    The tag does when it counts frames and bytes, the bytes are there, and no further MP3 follows.
    """
    first = begin + _id3_length(file, begin)
    file.seek(first)
    head = file.read(200)
    at = max(head.find(b"Xing", 0, 60), head.find(b"Info", 0, 60))
    flags = struct.unpack(">I", head[at + 4 : at + 8])[0] if 0 <= at <= len(head) - 16 else 0
    has_frames = flags & 1
    if has_frames and flags & 2:  # and bytes
        n_bytes = struct.unpack(">I", head[at + 12 : at + 16])[0]
        missing = first + n_bytes - end
        if missing > 0:
            raise DataError(f"{where}: truncated, {missing} of {n_bytes} bytes of audio are missing; replace it.")
        file.seek(first + n_bytes)
        after = file.read(3)
        if after != b"ID3" and not (len(after) == 3 and after[0] == 0xFF and after[1] & 0xE0 == 0xE0):
            return None
    # The decoder would report a padding of zeros as an error; fewer may be the end of the last frame.
    tail = max(begin, end - 2**20)
    file.seek(tail)
    n_zeros = end - tail - len(file.read(end - tail).rstrip(b"\0"))
    end -= n_zeros if n_zeros > 1000 else 0
    if has_frames:  # a large count in place of the tag's
        return patched_view(file, begin, end, first + at + 8 - begin, b"\x7f\xff\xff\xff", endless=True)
    return View(file, begin, end, endless=True)


def _id3_length(file: BinaryIO, begin: int) -> int:
    file.seek(begin)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)
