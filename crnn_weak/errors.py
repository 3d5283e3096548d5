"""Errors that a user can cause (one line, exit code 2; all others are bugs with a traceback), and their wording."""

from __future__ import annotations

import difflib
import logging
import sys
import warnings
from collections.abc import Iterable


class CrnnWeakError(Exception):
    """Base of all errors that the user can correct; the message is one line of at most 1,000 characters."""

    def __str__(self) -> str:
        text = " ".join(super().__str__().split())
        return text if len(text) <= 1000 else f"{text[:650]} ... {text[-300:]}"  # the advice stands at the end


class ConfigError(CrnnWeakError, ValueError):
    """A setting is unknown, of the wrong type, or out of its range."""


class DataError(CrnnWeakError, ValueError):
    """A label file, an audio file or an array does not contain what it should."""


class LabelError(DataError):
    """A label is not in the class list."""


class ClipError(DataError):
    """A clip id is not in the data set, store or run."""


class FeatureStoreError(CrnnWeakError, OSError):
    """A feature store is missing, damaged, or belongs to another configuration."""


class ModelFileError(CrnnWeakError, OSError):
    """A model file is missing, damaged, or does not fit its use."""


class RunError(CrnnWeakError, RuntimeError):
    """A run folder is missing, unfinished, or belongs to another configuration."""


class DependencyError(CrnnWeakError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


def nearest_names(name: str, known: Iterable[str]) -> str:
    """Return the tail of an error message: the known names nearest to `name`, or the list of them.

    >>> nearest_names("epoch", ["epochs", "seed"]), nearest_names("zzz", ["epochs"])
    ("Did you mean 'epochs'?", "Known: 'epochs'.")
    """
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    near = [folded[key] for key in difflib.get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.6)]
    if near:
        # Letters that look alike, e.g. a Cyrillic one, are spelled out.
        spelled = "" if name.isascii() and near[0].isascii() else f" Yours is {name!a}."
        return f"Did you mean {' or '.join(map(repr, near))}?{spelled}"
    shown = ", ".join(map(repr, known[:20]))
    more = f", ... ({len(known)} in all)" if len(known) > 20 else ""
    return f"Known: {shown}{more}."


def visible(text: object) -> str:
    """Return the text in one line, with control and format characters as Python escapes.

    >>> visible("dog\\x1b[31m\\ncat")
    'dog\\\\x1b[31m\\\\ncat'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


class LogFormatter(logging.Formatter):
    """One line for each message: it may hold names from outside."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message without control characters."""
        return visible(super().formatMessage(record))


def prepare_messages() -> None:
    """Let ``PYTHONWARNINGS=error`` stop this package only, as libraries warn; log what a worker says in one line."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LogFormatter())
    if sys.warnoptions:
        warnings.filterwarnings("ignore", module=r"(?!crnn_weak\b)")
