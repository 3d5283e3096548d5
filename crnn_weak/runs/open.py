"""Run and experiment folders, as objects: what was asked, what came out.

A *run* is one trained model (``config.toml``, ``history.csv``, ``metrics.json``, ``best.keras`` ...). An *experiment*
is a folder of runs with a table over them. Nothing here trains or counts, and nothing imports Keras.
"""

from __future__ import annotations

from pathlib import Path

from crnn_weak.runs.grid import Experiment, cell_folders, open_experiment
from crnn_weak.runs.run import Run, check_folder, open_run

__all__ = ["Experiment", "Run", "open_any", "open_experiment", "open_run"]


def open_any(path: str | Path) -> Run | Experiment:
    """Open a run or an experiment, whichever the folder holds.

    Raises
    ------
    RunError
        It is neither, or it is not finished.
    """
    path = Path(path)
    check_folder(path)
    if (path / "results.csv").is_file() or cell_folders(path):
        return open_experiment(path)
    return open_run(path)
