"""Seeded damage to documents and files: the ways in which strangers' files differ from those that the package wrote."""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Written for a value; each once broke a reader somewhere. Raw texts, as JSON's own writer refuses some of them.
VALUES = (
    "null", "true", "-1", "0", "1e308", "1e999", "-1e999", "NaN", "Infinity", "1.5", "9" * 5000, "1" + "0" * 300,
    "1000000000", "4294967296", '""', '"nan"', '"' + "x" * 70_000 + '"', '"\\u0000"', '"../../x"', '"\\ud800"',
    "[]", "[[]]", "[null]", "{}", '{"a": {"b": []}}', "[" * 3000 + "]" * 3000, '{"a":' * 500 + "1" + "}" * 500,
)  # fmt: skip
_PLACE = "\x00place\x00"


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double, zero or insert bytes."""
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 4, 64, 1024))
    before, part, after = data[:place], data[place : place + length], data[place + length :]
    flipped = bytes(byte ^ (1 << rng.randrange(8)) for byte in part)
    changed = (b"", bytes(len(part)) + after, rng.randbytes(length) + part + after, after, part * 2 + after)
    return before + rng.choice((*changed, flipped + after))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, delete or rename a value anywhere in a JSON document."""
    content = json.loads(data)
    places = list(_places(content))
    if not places or rng.random() < 0.03:
        return rng.choice(VALUES).encode()
    *above, key = rng.choice(places)
    holder = content
    for step in above:
        holder = holder[step]
    kind = rng.random()
    if kind < 0.2:
        del holder[key]
    elif kind < 0.3 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = _PLACE
    return json.dumps(content).replace(json.dumps(_PLACE), rng.choice(VALUES)).encode()


def damage_lines(data: bytes, rng: random.Random) -> bytes:
    """Delete, double or rename a line of a TOML document or a table, or replace one of its fields."""
    lines = data.decode().splitlines()
    place = rng.choice([number for number, line in enumerate(lines) if line.strip()])
    kind = rng.randrange(5)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[place])
    elif kind == 2:
        lines[place] = "x" + lines[place]
    else:
        fields = re.split(r"(= |,|\t)", lines[place])
        fields[rng.randrange(0, len(fields), 2)] = rng.choice((*VALUES, "", "-", "x"))
        lines[place] = "".join(fields)
    return "\n".join(lines).encode()


DAMAGE = {".json": damage_json, ".toml": damage_lines, ".csv": damage_lines, ".tsv": damage_lines}


def damage(data: bytes, name: str, rng: random.Random) -> bytes:
    """Damage the content of a file in a way that suits its name, or its bytes."""
    return damage_bytes(data, rng) if rng.random() < 0.12 else DAMAGE.get(Path(name).suffix, damage_bytes)(data, rng)


def damage_file(path: Path, rng: random.Random) -> None:
    """Damage a file; sometimes delete or empty it, or put a folder in its place."""
    kind = rng.random()
    if kind < 0.08:
        path.unlink()
        if kind < 0.03:
            path.mkdir()
    else:
        path.write_bytes(b"" if kind < 0.12 else damage(path.read_bytes(), path.name, rng))


def damage_model(path: Path, rng: random.Random) -> None:
    """Damage one member of a ``.keras`` archive, or the archive."""
    if rng.random() < 0.1:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name, kind = rng.choice(sorted(members)), rng.random()
    if kind < 0.05:
        del members[name]
    else:
        members[name] = bytes(30_000_000) if kind < 0.08 else damage(members[name], name, rng)
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
