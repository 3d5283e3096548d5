"""Files: written whole or not at all, one writer in a folder, JSON and TOML read as declared types, text formats."""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import hashlib
import io
import json
import logging
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from crnn_weak.errors import CrnnWeakError, RunError, visible

log = logging.getLogger(__name__)
_warn_once = functools.cache(log.warning)
T = TypeVar("T")

#: What msgspec and tomllib raise, also for numbers of too many digits (ValueError) and for too many levels.
_FAULTS = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
# Documents of 50,000 clips have some 10 MB; a larger file is another one, and would fill the memory.
_MOST_BYTES = 250_000_000
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_STANDARD_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2, "/proc/self/fd/1": 1}
_MACHINE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
# Of `temporary_path`, with the process.
_TEMPORARY = re.compile(rf"\.[0-9a-f]{{16}}\.{_MACHINE}\.([0-9]{{1,9}})\.tmp")
_output_folders: list[Path] = []  # that are being written to

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{sign: "\\" + sign for sign in "\\`*_[]|#$~!"}})


def make_folder(path: str | Path) -> Path:
    """Create a folder to write in, and those above it; return its path."""
    path = Path(path)
    refuse_links(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise RunError(f"{file}: is a file, expected a folder. Choose another place.") from None
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
    """Return whether a path is a pipe, a device, standard output or standard error."""
    path = Path(path)
    return str(path) in _STANDARD_STREAMS or (path.exists() and not (path.is_file() or path.is_dir()))


def refuse_stream(path: str | Path, what: str) -> None:
    """Refuse a pipe or a device for an output that needs a file."""
    if is_stream(path):
        raise RunError(f"{path}: is a device or a pipe; {what} needs a file. Choose another --out.")


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary file of the same suffix that replaces `path` when the block ends without an error.

    A link at `path` is replaced, not followed. A pipe or a device stays, and gets the content.
    """
    path = Path(path)
    if path.is_dir() or path.is_block_device():
        raise RunError(f"{path}: is a {'folder' if path.is_dir() else 'disk'}, expected a file. Choose another name.")
    if is_stream(path):
        with tempfile.TemporaryDirectory(prefix="crnn-weak-") as folder:
            temporary = Path(folder, f"content{path.suffix}")
            yield temporary
            sys.stdout.flush()
            number = _STANDARD_STREAMS.get(str(path))  # opened by its name, a file would be written from its start
            with temporary.open("rb") as source, open(path if number is None else os.dup(number), "wb") as target:
                shutil.copyfileobj(source, target)
        return
    with temporary_path(path) as temporary:
        temporary.touch(exist_ok=False)  # not through a link that somebody has placed there
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Give a path next to `path` for its new content, which is deleted at the end.

    It names this process: of two that write `path`, the last one wins, and what a killed one has left is known.
    """
    _delete_leftovers(make_folder(path.parent).absolute())
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # a long name may have no room for more
    temporary = path.with_name(f".{digest}.{_MACHINE}.{os.getpid()}.tmp{path.suffix[:16]}")
    _delete(temporary)
    try:
        yield temporary
    finally:
        _delete(temporary)


@functools.cache  # once for each folder, which may hold thousands of clips
def _delete_leftovers(folder: Path) -> None:
    """Delete temporary files in a folder whose processes, of this machine, have ended."""
    for path in folder.iterdir() if os.name == "posix" else ():  # on Windows, signal 0 ends a process
        match = _TEMPORARY.match(path.name)
        try:
            if match:
                os.kill(int(match[1]), 0)
        except ProcessLookupError:
            _delete(path)
        except PermissionError:
            continue  # another user's


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
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


@contextlib.contextmanager
def lock(folder: str | Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, creating the folder; the system releases it when its process ends, however it ends.

    Refuse a folder that another process holds, or `wait`, and then look again: the work may be done.
    """
    import filelock  # not at import: --help needs this module

    with output_folder(folder):
        folder = make_folder(folder)
        path, holder = folder / ".lock", folder / ".lock-holder"
        if path.is_symlink():
            raise RunError(f"{path}: is a link. Expected a plain lock file; delete the link.")
        held = filelock.FileLock(path, fallback_to_soft=False)
        try:
            try:
                held.acquire(timeout=0)
            except filelock.Timeout:
                other = "another process"
                with contextlib.suppress(OSError):
                    other = holder.read_text(encoding="utf-8", errors="replace")[:200]
                if not wait:
                    raise RunError(
                        f"{folder}: {other} is writing here. Wait for it, end it, or choose another folder."
                    ) from None
                log.info("%s: waiting for %s", folder, other)
                held.acquire(poll_interval=0.2)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _warn_once("this file system has no locks; let no other process write to the same folders")
        try:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            write_text(holder, f"process {os.getpid()} on {socket.gethostname()} (since {since})")
            yield
        finally:
            holder.unlink(missing_ok=True)
            held.release()


def convert_document(
    content: object, kind: type[T], where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError
) -> T:
    """Check plain content (dicts, lists, numbers, strings) against a declared type, e.g. a `msgspec.Struct`.

    The first fault is raised as `error`, in one line: `where` (the document), the field, what was found and expected,
    and the `advice` what to do about it.
    """
    with _one_line(where, advice, error):
        return msgspec.convert(content, kind)


@contextlib.contextmanager
def _one_line(where: str, advice: str, error: type[CrnnWeakError]) -> Iterator[None]:
    """Raise a fault of a document as `error`: ``where: training.epochs: expected int, got str. advice``."""
    try:
        yield
    except _FAULTS as fault:
        reason, _, place = " ".join(str(fault).split()).partition(" - at `$")
        place = place.strip("`.") and f"{place.strip('`.')}: "
        raise error(f"{where}: {place}{reason[:1].lower()}{reason[1:]}. {advice}".rstrip()) from None


def decode_json(
    data: bytes, kind: type[T], where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError
) -> T:
    """Parse and check a JSON document; the parameters are those of `convert_document`."""
    with _one_line(where, advice, error):
        return msgspec.json.decode(data, type=kind)


def decode_toml(data: bytes, where: str, *, error: type[CrnnWeakError] = RunError) -> dict[str, Any]:
    """Parse a TOML document; check the result with `convert_document`."""
    with _one_line(where, "Expected a TOML document.", error):
        return tomllib.loads(data.decode("utf-8-sig"))  # Windows' editors write a byte order mark


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


def escape_markdown(text: str) -> str:
    """Return the text for a line or a table cell of Markdown, without any markup of its own.

    >>> escape_markdown("<b>a|b</b>")
    '&lt;b&gt;a\\\\|b&lt;/b&gt;'
    """
    return visible(text).translate(_MARKDOWN)


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
