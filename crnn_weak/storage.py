"""Safe writes: files that appear under their name only when they are whole, and a lock on a folder.

A setting of a grid can be started twice, e.g. when a worker is presumed dead but still runs. The second one waits for
the lock of the run folder and then finds the work done.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock

from crnn_weak.errors import RunError

__all__ = [
    "delete_files",
    "lock",
    "make_folder",
    "relative_path",
    "remove_temporary",
    "replace_file",
    "write_json",
    "write_text",
]

log = logging.getLogger(__name__)

_LOCK = ".lock"
_HOLDER = ".lock-holder.json"
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp(\..*)?")
_LEFTOVER_SECONDS = 24 * 3600


def make_folder(path: str | Path) -> Path:
    """Create a folder, and those above it, unless it exists; return its path.

    Raises
    ------
    RunError
        The path, or one above it, is a file.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (path, *path.parents) if os.path.lexists(place))
        raise RunError(f"{file}: is a file, expected a folder. Choose another place.") from None
    return path


@contextlib.contextmanager
def replace_file(path: str | Path, *, suffix: str = "") -> Iterator[Path]:
    """Give a temporary path whose file takes the place of `path` when the block ends without an error.

    The temporary file lies in the same folder, has an unpredictable name and is created exclusively, so nobody can
    place a link there. An error removes it and leaves `path` as it was. A link at `path` is replaced, not followed.

    Parameters
    ----------
    path : path
        The file to write; its folder is created.
    suffix : str
        Of the temporary name, where a library insists on one (``.keras``).

    Yields
    ------
    Path
        An empty file to write to.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp{suffix}"
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary(folder: str | Path) -> None:
    """Remove what killed processes left of `replace_file` in a folder and its subfolders; call it under the lock."""
    delete_files(path for path in Path(folder).rglob(".*.tmp*") if _TEMPORARY.fullmatch(path.name))


def delete_files(paths: Iterable[Path]) -> None:
    """Delete the files that exist, in the order given, so that a folder never looks whole when it is not."""
    for path in paths:
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; line ends stay as they are in `text`."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON document whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def relative_path(path: str | Path, folder: str | Path) -> str:
    """Return a path relative to a folder, with ``/`` on every system; absolute where they are on different drives."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # Windows: another drive
        relative = os.path.abspath(path)
    return relative.replace(os.sep, "/")


@contextlib.contextmanager
def lock(folder: str | Path, *, wait_seconds: float = 0.0, poll_seconds: float = 0.5) -> Iterator[None]:
    """Hold the lock of a folder: one process writes there at a time.

    The lock is the operating system's, on the file ``.lock``: it ends with its process, however that ends.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    wait_seconds : float
        How long to wait for another process; ``math.inf`` waits until it ends.
    poll_seconds : float
        Pause between two tries.

    Raises
    ------
    RunError
        Another process still holds the lock, or the lock file is a link.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, lock(folder):
    ...     pass  # no other process writes here
    """
    folder = make_folder(folder)
    path = folder / _LOCK
    if path.is_symlink():
        raise RunError(f"{path}: is a link. Expected a plain lock file; delete the link.")
    held = filelock.FileLock(path)
    try:
        held.acquire(timeout=0)
    except NotImplementedError as error:
        log.warning("%s: this file system has no locks (%s); keep other processes out of the folder", folder, error)
    except filelock.Timeout:
        if wait_seconds <= 0:
            raise RunError(_is_writing(folder)) from None
        log.info("%s: waiting for %s", folder, _holder(folder))
        try:
            held.acquire(timeout=-1 if math.isinf(wait_seconds) else wait_seconds, poll_interval=poll_seconds)
        except filelock.Timeout:
            raise RunError(_is_writing(folder)) from None
    try:
        _remove_leftovers(folder)
        write_json(
            folder / _HOLDER,
            {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")},
        )
        yield
    finally:
        (folder / _HOLDER).unlink(missing_ok=True)
        held.release()


def _remove_leftovers(folder: Path) -> None:
    """Delete temporary files of processes that were killed; a writer without the lock may still use a recent one."""
    for path in folder.glob(".*.tmp*"):
        with contextlib.suppress(OSError):
            if _TEMPORARY.fullmatch(path.name) and path.lstat().st_mtime < time.time() - _LEFTOVER_SECONDS:
                path.unlink()


def _is_writing(folder: Path) -> str:
    return f"{folder}: {_holder(folder)} is writing here. Wait for it, end it, or choose another folder."


def _holder(folder: Path) -> str:
    try:
        content = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f"process {content['pid']} on {content['host']} (since {content['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
