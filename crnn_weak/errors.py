"""The exception family, and the wording of misspelled names and names from outside.

Every error that a user can cause derives from `CrnnWeakError`. The command line prints its message as one line
and exits with 2; any other exception is a bug and keeps its traceback. A message says what was wrong, where,
what was expected and what to do next.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

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


def nearest_names(name: str, known: Iterable[str], *, n: int = 3) -> str:
    """Return the tail of an error message: the known names nearest to `name`, or the list of them.

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


def _code_points(name: str, other: str) -> str:
    """Return a sentence on how two names that look alike differ, or "" where a reader sees the difference.

    >>> _code_points("C\\u0430r", "Car")
    'They differ in U+0430 CYRILLIC SMALL LETTER A against U+0061 LATIN SMALL LETTER A.'
    >>> _code_points("Bar", "Car")
    ''
    """
    opcodes = difflib.SequenceMatcher(None, name, other, autojunk=False).get_opcodes()
    differing = [(name[a:b], other[c:d]) for tag, a, b, c, d in opcodes if tag != "equal"]
    changed = "".join(left + right for left, right in differing)
    if len(changed) > 8 or all(sign.isascii() and not sign.isspace() for sign in changed):
        return ""

    def spell(text: str) -> str:
        return " ".join(f"U+{ord(sign):04X} {unicodedata.name(sign, '')}".strip() for sign in text) or "nothing"

    return f"They differ in {', '.join(f'{spell(left)} against {spell(right)}' for left, right in differing)}."


def visible(text: str) -> str:
    """Return the text in one line, with control and format characters as Python escapes.

    >>> visible("dog\\x1b[31m\\ncat")
    'dog\\\\x1b[31m\\\\ncat'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
