"""JSON and TOML documents, read into declared types.

Every document of the package (configuration, model metadata, run documents, operating points) is a `msgspec.Struct`
that states its fields, types and ranges once. Reading checks a document against the declaration and reports the first
fault as one line: the file, the path of the field, what was found, what was expected. Documents come from strangers
too, so their size, their depth and the length of their numbers are bounded before they are parsed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from crnn_weak.errors import CrnnWeakError, RunError

__all__ = ["convert", "decode_json", "decode_toml", "read_json", "read_toml"]

T = TypeVar("T")

#: A document of a data set of a million clips is smaller.
MAX_BYTES = 256 * 2**20
#: Deepest nesting of brackets; the deepest document of the package has 6.
MAX_DEPTH = 64
#: Longest run of digits; a double has 17 that count, an exact one up to 309.
MAX_DIGITS = 400

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_LONG_NUMBER = re.compile(rb"[0-9]{%d,}" % (MAX_DIGITS + 1))


def _check_bounds(data: bytes, where: str, error: type[CrnnWeakError]) -> None:
    if len(data) > MAX_BYTES:
        raise error(f"{where}: {len(data):,} bytes. Expected a document of at most {MAX_BYTES:,}.")
    outside = _STRINGS.sub(b"", data)
    if _LONG_NUMBER.search(outside):
        raise error(f"{where}: holds a number of more than {MAX_DIGITS} digits. Expected numbers in their usual form.")
    depth = deepest = 0
    for bracket in re.findall(rb"[\[{\]}]", outside):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise error(f"{where}: nested {deepest} levels deep. Expected at most {MAX_DEPTH}.")


def _reason(fault: Exception) -> str:
    """Return msgspec's message in the package's words: ``training.epochs: expected int, got str``."""
    text = " ".join(str(fault).split())
    reason, _, path = text.partition(" - at `$")
    path = path.strip("`.")
    reason = reason[:1].lower() + reason[1:]
    return f"{path}: {reason}" if path else reason


def convert(
    content: object, kind: type[T], where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError
) -> T:
    """Check plain content (dicts, lists, numbers, strings) against a declared type.

    Parameters
    ----------
    content : object
        As a JSON or TOML parser returns it.
    kind : type
        A `msgspec.Struct`, or any type that msgspec knows.
    where : str
        The document's name in messages.
    advice : str
        What to do about a fault; the end of the message.
    error : type
        The class of the error.

    Raises
    ------
    CrnnWeakError
        Of class `error`: the content is not of that type.
    """
    try:
        return msgspec.convert(content, kind, strict=True)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError) as fault:
        raise error(f"{where}: {_reason(fault)}. {advice}".rstrip()) from None


def decode_json(
    data: bytes, kind: type[T], where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError
) -> T:
    """Parse and check a JSON document; the parameters are those of `convert`."""
    _check_bounds(data, where, error)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as fault:
        raise error(f"{where}: {_reason(fault)}. {advice}".rstrip()) from None
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as fault:
        raise error(f"{where}: not a JSON document ({_reason(fault)}). {advice}".rstrip()) from None


def decode_toml(data: bytes, where: str, *, advice: str = "", error: type[CrnnWeakError] = RunError) -> dict[str, Any]:
    """Parse a TOML document; check the result with `convert`."""
    _check_bounds(data, where, error)
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # Windows' editors write a mark
    except (ValueError, OverflowError, RecursionError) as fault:  # both of TOML's and UTF-8's are ValueErrors
        raise error(f"{where}: not a TOML document ({_reason(fault)}). {advice}".rstrip()) from None


def _read(path: Path, advice: str, error: type[CrnnWeakError]) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: not a regular file. {advice}".rstrip())
        return path.read_bytes()
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror or fault}). {advice}".rstrip()) from None


def read_json(path: str | Path, kind: type[T], *, advice: str = "", error: type[CrnnWeakError] = RunError) -> T:
    """Read and check a JSON file; the parameters are those of `convert`.

    Raises
    ------
    CrnnWeakError
        Of class `error`: the file cannot be read, is no JSON, or is not of that type.
    """
    path = Path(path)
    return decode_json(_read(path, advice, error), kind, str(path), advice=advice, error=error)


def read_toml(path: str | Path, *, advice: str = "", error: type[CrnnWeakError] = RunError) -> dict[str, Any]:
    """Read a TOML file; check the result with `convert`."""
    path = Path(path)
    return decode_toml(_read(path, advice, error), str(path), advice=advice, error=error)
