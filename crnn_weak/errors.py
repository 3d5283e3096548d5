"""The exception family, and the one place that words a misspelled name.

Every error that a user can cause derives from `CrnnWeakError`. The command line prints its message as one line
and exits with 2; any other exception is a bug and keeps its traceback. A message says what was wrong, where,
what was expected and what to do next.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

__all__ = [
    "ClipError",
    "ConfigError",
    "CrnnWeakError",
    "DataError",
    "DependencyError",
    "FeatureStoreError",
    "LabelError",
    "ModelFileError",
    "RunError",
    "nearest_names",
]


#: Longest message; a damaged file's content in it is cut in the middle, since the advice stands at the end.
_LONGEST = 1000


class CrnnWeakError(Exception):
    """Base of all errors that the user can correct; the message is one line."""

    def __str__(self) -> str:
        text = " ".join(super().__str__().split())
        return text if len(text) <= _LONGEST else f"{text[:650]} ... {text[-300:]}"


class ConfigError(CrnnWeakError, ValueError):
    """A setting is unknown, of the wrong type, or out of its range."""


class DataError(CrnnWeakError, ValueError):
    """A label file, an audio file or an array does not hold what it should."""


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


def _code_points(name: str, other: str) -> str:
    """Return a sentence on how two names that look alike differ, or "" where a reader sees the difference.

    Examples
    --------
    >>> _code_points("C\\u0430r", "Car")
    'They differ in U+0430 CYRILLIC SMALL LETTER A against U+0061 LATIN SMALL LETTER A.'
    >>> _code_points("Bar", "Car")
    ''
    """
    differing = [
        (name[a:b], other[c:d])
        for tag, a, b, c, d in difflib.SequenceMatcher(None, name, other, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    changed = "".join(left + right for left, right in differing)
    if len(changed) > 8 or all(sign.isascii() and not sign.isspace() for sign in changed):
        return ""

    def spell(text: str) -> str:
        return " ".join(f"U+{ord(sign):04X} {unicodedata.name(sign, '')}".strip() for sign in text) or "nothing"

    return f"They differ in {', '.join(f'{spell(left)} against {spell(right)}' for left, right in differing)}."


def nearest_names(name: str, known: Iterable[str], *, n: int = 3) -> str:
    """Return the tail of an error message that offers the known names nearest to `name`.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.
    n : int
        The most names to offer.

    Returns
    -------
    str
        ``"Did you mean 'epochs'?"``, or the list of the known names where none is near.

    Examples
    --------
    >>> nearest_names("epoch", ["epochs", "seed"])
    "Did you mean 'epochs'?"
    >>> nearest_names("zzz", ["epochs", "seed"])
    "Known: 'epochs', 'seed'."
    """
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    near = [folded[key] for key in difflib.get_close_matches(name.casefold(), list(folded), n=n, cutoff=0.6)]
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}? {_code_points(name, near[0])}".rstrip()
    shown = ", ".join(map(repr, known[:20]))
    more = f", ... ({len(known)} in all)" if len(known) > 20 else ""
    return f"Known: {shown}{more}."
