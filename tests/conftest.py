"""Shared fixtures. Material that is not in the repository is looked for and, where missing, skipped by name."""

import logging
import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parents[1]


def _shared_folder(name: str) -> Path:
    root = Path(os.environ.get("CRNN_WEAK_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / name).is_dir():
        pytest.skip(f"{name} is not there (looked in {root}; set CRNN_WEAK_SHARED_DATA)")
    return root / name


@pytest.fixture(scope="session")
def task4_metadata() -> Path:
    """The organizers' label files of DCASE 2017 task 4."""
    return _shared_folder("dcase2017-task4-metadata")


@pytest.fixture(scope="session")
def real_events() -> Path:
    """879 real recordings of single sounds with active regions."""
    return _shared_folder("real-events-17")


@pytest.fixture(scope="session")
def metric_oracle() -> Path:
    """Event lists with what sed_eval says of them."""
    return _shared_folder("metric-oracle")


@pytest.fixture
def refused(capsys):
    """Return a function that calls the command line and returns the one line with which it refuses."""

    def refused(*arguments):
        from crnn_weak.cli import main

        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), (out, err)
        return err

    return refused


@pytest.fixture(autouse=True)
def _logging_as_before():
    """Undo what a call of the command line sets up for its own log lines."""
    yield
    logger = logging.getLogger("crnn_weak")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
