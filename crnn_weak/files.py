"""Files: written whole or not at all, one writer in a folder, JSON and TOML read as declared types, text formats."""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import io
import json
import logging
import math
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from crnn_weak.errors import CrnnWeakError, RunError, visible

if TYPE_CHECKING:
    import filelock
    import h5py
    import numpy as np

log = logging.getLogger(__name__)
T = TypeVar("T")

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp(\..*)?")
_LEFTOVER_SECONDS = 24 * 3600
# Documents of 50,000 clips have some 10 MB; a larger file is another one, and would fill the memory.
_MOST_BYTES = 250_000_000
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_output_folders: list[Path] = []  # that are being written to

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{sign: "\\" + sign for sign in "\\`*_[]|#$~!"}})
_LATEX_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
_LATEX = str.maketrans(
    {sign: rf"\text{name}{{}}" for sign, name in _LATEX_NAMES.items()} | {sign: "\\" + sign for sign in "&%$#_{}"}
)


def make_folder(path: str | Path) -> Path:
    """Create a folder to write in, and those above it; delete what killed processes left there; return its path."""
    path = Path(path)
    refuse_links(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise RunError(f"{file}: is a file, expected a folder. Choose another place.") from None
    _remove_leftovers(path)
    return path


@contextlib.contextmanager
def output_folder(path: str | Path) -> Iterator[None]:
    """Until the block ends, write and delete nothing behind a link inside a folder, which may be a link itself."""
    _output_folders.append(Path(os.path.abspath(path)))
    try:
        yield
    finally:
        _output_folders.pop()


def refuse_links(folder: str | Path) -> None:
    """Refuse a folder to which a link inside an output folder leads."""
    folder = Path(os.path.abspath(folder))
    for place in (folder, *folder.parents):
        if place.is_symlink() and any(outer in place.parents for outer in _output_folders):
            raise RunError(
                f"{place}: is a link inside an output folder, and nothing is changed behind it. Remove it, or choose "
                "another folder."
            )


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a pipe, a device, or an open file of a process, as ``/dev/stdout`` is."""
    place = _place(path)
    return place.parts[1:2] == ("proc",) or (place.exists() and not (place.is_file() or place.is_dir()))


def _place(path: str | Path) -> Path:
    """Return a path without links in its folder; for a link into ``/proc``, the path that it names."""
    place = Path(os.path.realpath(Path(path).parent), Path(path).name)
    target = os.readlink(place) if place.is_symlink() else ""
    return Path(os.path.realpath(Path(target).parent), Path(target).name) if target.startswith("/proc/") else place


def refuse_stream(path: str | Path, what: str) -> None:
    """Refuse a pipe or a device for an output that is no stream of bytes."""
    if is_stream(path):
        raise RunError(f"{path}: is a device or a pipe; {what} needs a file. Choose another --out.")


@contextlib.contextmanager
def replace_file(path: str | Path, *, suffix: str = "") -> Iterator[Path]:
    """Give a temporary file in the same folder that replaces `path` when the block ends without an error.

    A link at `path` is replaced, not followed. A pipe or a device stays, and gets the content. Some libraries insist on
    a `suffix` (``.keras``).
    """
    path = Path(path)
    if path.is_dir() or path.is_block_device():
        raise RunError(f"{path}: is a {'folder' if path.is_dir() else 'disk'}, expected a file. Choose another name.")
    if is_stream(path):
        with tempfile.TemporaryDirectory(prefix="crnn-weak-") as folder:
            temporary = Path(folder) / f"content{suffix}"
            yield temporary
            _write_stream(path, temporary)
        return
    with temporary_path(path.parent, suffix) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _write_stream(path: Path, content: Path) -> None:
    place = _place(path)
    own = place.parent == Path(os.path.realpath("/proc/self/fd"))  # opened again, a file would begin at its start
    if own:
        sys.stdout.flush()
    with content.open("rb") as source, open(os.dup(int(place.name)) if own else path, "wb") as target:
        shutil.copyfileobj(source, target)


@contextlib.contextmanager
def temporary_path(folder: Path, suffix: str = "", *, is_folder: bool = False) -> Iterator[Path]:
    """Give a file or folder, deleted at the end, or after a kill by the next process that writes in `folder`.

    Nobody can place a link at its unpredictable name.
    """
    make_folder(folder)
    with contextlib.ExitStack() as stack:
        while True:
            path = folder / f".{secrets.token_hex(8)}.tmp{suffix}"
            path.mkdir() if is_folder else path.touch(exist_ok=False)
            with contextlib.suppress(FileNotFoundError):  # another process took it for a leftover
                stack.enter_context(_in_use(path))
                if path.exists():
                    break
        stack.callback(_delete, path)
        yield path


@contextlib.contextmanager
def _in_use(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the system's lock of a temporary file, which ends with its process; False where there are no locks.

    Without `wait`, a file that another process holds is a BlockingIOError.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            has_locks = True
        except BlockingIOError:
            raise
        except OSError:
            has_locks = False
        yield has_locks
    finally:
        os.close(descriptor)


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left in a folder; where there are no locks, only what is a day old."""
    for path in folder.glob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name) and not path.is_symlink():
            with contextlib.suppress(OSError), _in_use(path, wait=False) as was_free:
                if was_free or path.stat().st_mtime < time.time() - _LEFTOVER_SECONDS:
                    _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def delete_files(paths: Iterable[Path]) -> None:
    """Delete the files that exist, in the order given, so that a folder never looks whole when it is not."""
    paths = list(paths)
    for folder in {path.parent for path in paths}:
        refuse_links(folder)
    for path in paths:
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; line ends stay as they are in `text`."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON document whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_documents(documents: Mapping[Path, object]) -> None:
    """Write JSON documents, in their order."""
    for path, content in documents.items():
        write_json(path, content)


def refuse_existing(paths: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse to replace files, unless that was asked for; a pipe or a device is never replaced."""
    for path in paths:
        refuse_links(Path(path).parent)
        if os.path.lexists(path) and not (overwrite or is_stream(path)):
            raise RunError(f"{path}: exists. Give --overwrite, or choose another name.")


def relative_path(path: str | Path, folder: str | Path) -> str:
    """Return a path relative to a folder, with ``/`` on every system; absolute where they are on different drives."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # Windows: another drive
        relative = os.path.abspath(path)
    return relative.replace(os.sep, "/")


def open_hdf5(path: str | Path) -> h5py.File:
    """Open a finished HDF5 file to read, without a lock, which read-only file systems refuse."""
    import h5py

    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("not a regular file")
    return h5py.File(path, "r", locking=False)


def write_names(file: h5py.File, name: str, names: Sequence[str]) -> None:
    """Write names as strings of one length; damage to strings of many lengths crashes the HDF5 library."""
    import h5py
    import numpy as np

    encoded = [text.encode() for text in names]
    length = max([1, *map(len, encoded)])
    file.create_dataset(name, data=np.array(encoded, h5py.string_dtype(length=length)))


def read_array(dataset: h5py.Dataset) -> np.ndarray:
    """Read a dataset of numbers, or of names by `write_names`; damage may state a shape that takes all memory."""
    if dataset.dtype.kind not in "biufS":
        raise ValueError(f"{dataset.name} has the type {dataset.dtype}")
    n_bytes = dataset.file.id.get_filesize()
    if dataset.compression:  # deflate stores at most 1032 bytes in one
        n_bytes = 2**20 + 1100 * min(n_bytes, dataset.id.get_storage_size())
    if dataset.nbytes > n_bytes:
        raise ValueError(f"{dataset.name} states {dataset.nbytes:,} bytes")
    array: np.ndarray = dataset.asstr()[:] if dataset.dtype.kind == "S" else dataset[:]
    return array


class HdfWriter:
    """A new HDF5 file on a disk that may be full; `file` is the open `h5py.File`. Call `check` after larger steps.

    HDF5 retries a failed write whenever one of its objects is released, and then ends the process with a segmentation
    fault. Here it writes through a Python file that accepts every write and keeps the first error.
    """

    def __init__(self, path: str | Path) -> None:
        import h5py

        self._raw = _ForgivingFile(path, "wb+")
        self.file = h5py.File(self._raw, "w")

    def check(self) -> None:
        """Raise the disk's first error, an OSError."""
        if self._raw.error is not None:
            raise self._raw.error

    def close(self) -> None:
        """Finish the file; raises as `check` does."""
        self.file.close()
        self._raw.close()
        self.check()


class _ForgivingFile(io.FileIO):
    """A file whose writes never fail; `error` is the first one that did."""

    error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        n_read = super().readinto(buffer) or 0
        buffer[n_read:] = bytes(len(buffer) - n_read)  # of a write that failed
        return len(buffer)

    def write(self, data: Any) -> int:
        n_written = 0
        try:
            while self.error is None and n_written < len(data):
                n_written += super().write(data[n_written:])
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


@contextlib.contextmanager
def lock(folder: str | Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of a folder, creating the folder; the system releases it when its process ends, however it ends.

    A process that has waited must look again: the work may be done. ``math.inf`` waits until the other process ends.
    """
    import filelock  # not at import: --help needs this module

    with output_folder(folder):
        folder = make_folder(folder)
        path, holder = folder / ".lock", folder / ".lock-holder"
        if path.is_symlink():
            raise RunError(f"{path}: is a link. Expected a plain lock file; delete the link.")
        held = filelock.FileLock(path, fallback_to_soft=False)
        try:
            _acquire(held, folder, holder, wait_seconds)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _warn_of_no_locks()
        try:
            _remove_leftovers.cache_clear()  # a worker may have been killed since
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            write_text(holder, f"process {os.getpid()} on {socket.gethostname()} (since {since})")
            yield
        finally:
            holder.unlink(missing_ok=True)
            held.release()


@functools.cache  # once
def _warn_of_no_locks() -> None:
    log.warning("this file system has no locks; let no other process write to the same folders")


def _acquire(held: filelock.BaseFileLock, folder: Path, holder: Path, wait_seconds: float) -> None:
    import filelock

    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        other = "another process"
        with contextlib.suppress(OSError):
            other = holder.read_text(encoding="utf-8", errors="replace")[:200]
        if wait_seconds > 0:
            log.info("%s: waiting for %s", folder, other)
        try:
            held.acquire(timeout=-1 if math.isinf(wait_seconds) else wait_seconds, poll_interval=0.2)
        except filelock.Timeout:
            raise RunError(
                f"{folder}: {other} is writing here. Wait for it, end it, or choose another folder."
            ) from None


#: What msgspec and tomllib raise, also for numbers of too many digits (ValueError) and for too many levels.
_FAULTS = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


def convert_document(
    content: object, kind: type[T], where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError
) -> T:
    """Check plain content (dicts, lists, numbers, strings) against a declared type, e.g. a `msgspec.Struct`.

    The first fault is raised as `error`, in one line: `where` (the document), the field, what was found and expected,
    and the `advice` what to do about it.
    """
    try:
        return msgspec.convert(content, kind)
    except _FAULTS as fault:
        raise error(f"{where}: {_reason(fault)}. {advice}".rstrip()) from None


def decode_json(
    data: bytes, kind: type[T], where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError
) -> T:
    """Parse and check a JSON document; the parameters are those of `convert_document`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except _FAULTS as fault:
        raise error(f"{where}: {_reason(fault)}. {advice}".rstrip()) from None


def decode_toml(data: bytes, where: str, *, error: type[CrnnWeakError] = RunError) -> dict[str, Any]:
    """Parse a TOML document; check the result with `convert_document`."""
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # Windows' editors write a byte order mark
    except _FAULTS as fault:
        raise error(f"{where}: not a TOML document ({_reason(fault)}).") from None


def read_json(path: str | Path, kind: type[T], *, advice: str = "", error: type[CrnnWeakError] = RunError) -> T:
    """Read and check a JSON file; the parameters are those of `convert_document`."""
    return decode_json(read_bytes(path, advice=advice, error=error), kind, str(path), advice=advice, error=error)


def read_toml(path: str | Path, *, error: type[CrnnWeakError] = RunError) -> dict[str, Any]:
    """Read a TOML file; check the result with `convert_document`."""
    return decode_toml(read_bytes(path, error=error), str(path), error=error)


def read_bytes(path: str | Path, *, advice: str = "", error: type[CrnnWeakError] = RunError) -> bytes:
    """Read a document: a regular file, as a pipe would be waited for, of at most 250 MB."""
    fault = ""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            fault = "not a regular file"
        elif status.st_size > _MOST_BYTES:
            fault = f"{status.st_size / 1e6:,.0f} MB; expected a document of at most {_MOST_BYTES / 1e6:.0f} MB"
        else:
            return Path(path).read_bytes()
    except OSError as failed:
        fault = f"cannot be read ({failed.strerror or failed})"
    raise error(f"{path}: {fault}. {advice}".rstrip())


def _reason(fault: Exception) -> str:
    """Return msgspec's message in the package's words: ``training.epochs: expected int, got str``."""
    reason, _, path = " ".join(str(fault).split()).partition(" - at `$")
    path = path.strip("`.")
    reason = reason[:1].lower() + reason[1:]
    return f"{path}: {reason}" if path else reason


def escape_markdown(text: str) -> str:
    """Return the text for a line or a table cell of Markdown, without any markup of its own.

    >>> escape_markdown("<b>a|b</b>")
    '&lt;b&gt;a\\\\|b&lt;/b&gt;'
    """
    return visible(text).translate(_MARKDOWN)


def escape_latex(text: str) -> str:
    """Return the text for LaTeX, without any command of its own.

    >>> escape_latex("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return visible(text).translate(_LATEX)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a Markdown table; `align` has ``l`` or ``r`` for each column, the last letter for all that follow."""
    align = (align or "r").ljust(len(header), (align or "r")[-1])
    rule = ["---:" if side == "r" else "---" for side in align]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(rule) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
