"""Run an iterator in a second thread, a few items ahead.

Reading, resampling and features spend their time outside Python's lock, so they run beside the model.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

__all__ = ["prefetched"]

_Item = TypeVar("_Item")
_END = object()


def prefetched(items: Iterable[_Item], *, depth: int) -> Generator[_Item, None, None]:
    """Yield the items in order; at most `depth` of them wait. An exception of theirs is raised here.

    The thread ends when the items end or the generator is closed.

    Examples
    --------
    >>> list(prefetched(range(3), depth=2))
    [0, 1, 2]
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(entry: Any) -> bool:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as raised:
            error = raised
        put((_END, error))

    thread = threading.Thread(target=work, name="crnn-weak-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if item is _END:
                if error is not None:
                    raise error
                return
            yield item
    finally:
        stop.set()
        thread.join(timeout=5.0)
