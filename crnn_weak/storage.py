"""Safe writes: files that appear under their name only when they are whole, and a lock on a folder.

A grid cell can be started twice, e.g. when a worker is presumed dead but is still running. The second one waits for
the lock of its run folder, and then finds the work done.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from crnn_weak.errors import RunError

try:
    import fcntl
except ImportError:  # Windows: two writers go unnoticed there
    fcntl = None  # type: ignore[assignment]

__all__ = ["own", "write_text"]

log = logging.getLogger(__name__)

_NAME = ".owner"
# Seconds between two lines that say for whom we wait.
_LOG_EVERY = 60.0


def write_text(path: str | Path, text: str) -> None:
    """Write a text file to a temporary name in the same folder, then rename it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def own(folder: str | Path, *, wait_seconds: float = 0.0, poll_seconds: float = 0.5) -> Iterator[None]:
    """Hold a folder as its only writer.

    The lock is the operating system's, on the file ``.owner``: it goes with its process, however that ends, and
    leaves nothing to clean up. It reaches over machines on file systems that lock (NFS 4, Lustre with ``flock``, GPFS);
    on one that does not, a line in the log says so and the folder is held by nobody.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    wait_seconds : float
        How long to wait for another owner; ``math.inf`` waits until it has ended.

    Raises
    ------
    RunError
        Another process still owns the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, own(folder):
    ...     pass  # nobody else is in here
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    # Opened for appending: the file's content is the present owner's until the lock is ours.
    with (folder / _NAME).open("a+", encoding="utf-8") as file:
        began = logged = time.monotonic()
        while not _locked(file.fileno(), folder):
            now = time.monotonic()
            if now - began >= wait_seconds:
                raise RunError(f"{folder}: {_owner(folder)} is writing here. Wait for it, end it, or choose another.")
            if now - logged >= _LOG_EVERY or logged == began:
                logged = now + 1e-9
                log.info("%s: waiting for %s", folder, _owner(folder))
            time.sleep(poll_seconds)
        file.seek(0)
        file.truncate()
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}, file)
        file.flush()
        yield


def _locked(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("%s: this file system has no locks (%s); keep other processes out of the folder", folder, error)
    return True


def _owner(folder: Path) -> str:
    try:
        content = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        return f"process {content['pid']} on {content['host']} (since {content['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"
