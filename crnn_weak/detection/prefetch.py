"""Run an iterator in a second thread, a few items ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prefetched"]

_Item = TypeVar("_Item")


def prefetched(items: Iterator[_Item], *, depth: int) -> Generator[_Item, None, None]:
    """Yield the items in order, from a second thread that is at most `depth` of them ahead.

    Reading, resampling and features spend their time outside Python's lock, so they run beside the model. An exception
    of the items is raised here.

    Examples
    --------
    >>> list(prefetched(iter(range(3)), depth=2))
    [0, 1, 2]
    """
    end = object()
    with ThreadPoolExecutor(1, "crnn-weak-reader") as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
