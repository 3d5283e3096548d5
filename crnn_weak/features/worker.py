"""Set up a worker process. Imports nothing heavy: it must run before NumPy is loaded there."""

from __future__ import annotations

import os
import threading
import time

from crnn_weak.parallel.local import limit_threads

__all__ = ["begin_worker"]


def begin_worker(parent: int) -> None:
    """Hold this process to one thread, and end it when its parent is gone.

    Without that, workers whose parent was killed would wait for minutes for work that never comes.
    """
    limit_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
