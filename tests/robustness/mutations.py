"""Seeded damage to documents and files: the ways in which strangers' files differ from those that the package wrote."""

from __future__ import annotations

import copy
import json
import random
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


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double, zero or insert bytes."""
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 4, 64, 1024))
    before, part, after = data[:place], data[place : place + length], data[place + length :]
    kind = rng.randrange(6)
    if kind < 5:
        changed = (b"", bytes(len(part)) + after, rng.randbytes(length) + part + after, after, part * 2 + after)
        return before + changed[kind]
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 8, 64))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, delete or rename a value anywhere in a JSON document, or damage its bytes."""
    if rng.random() < 0.1:
        return damage_bytes(data, rng)
    content = copy.deepcopy(json.loads(data))
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


def damage_toml(data: bytes, rng: random.Random) -> bytes:
    """Replace, delete, double or rename a line of a TOML document, or damage its bytes."""
    if rng.random() < 0.15:
        return damage_bytes(data, rng)
    lines = data.decode().splitlines()
    place = rng.choice([number for number, line in enumerate(lines) if line.strip()])
    kind = rng.randrange(5)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[place])
    elif kind == 2 or "=" not in lines[place]:
        lines[place] = "x" + lines[place]
    else:
        lines[place] = f"{lines[place].split('=')[0]}= {rng.choice(VALUES)}"
    return "\n".join(lines).encode()


def damage_table(data: bytes, rng: random.Random) -> bytes:
    """Replace a field, or delete a field, a column, a row or the header, of a table with commas or tabs."""
    if rng.random() < 0.15:
        return damage_bytes(data, rng)
    lines = data.decode().splitlines()
    separator = "\t" if "\t" in lines[0] else ","
    rows = [line.split(separator) for line in lines]
    row, kind = rng.choice(rows), rng.randrange(5)
    column = rng.randrange(len(row))
    if kind == 0:
        rows.remove(row)
    elif kind == 1:
        del row[column]
    elif kind == 2:
        rows = [fields[:column] + fields[column + 1 :] for fields in rows]
    else:
        row[column] = rng.choice((*VALUES, "", "-", "x"))
    return "\n".join(separator.join(fields) for fields in rows).encode()


DAMAGE = {".json": damage_json, ".toml": damage_toml, ".csv": damage_table, ".tsv": damage_table}


def damage_file(path: Path, rng: random.Random) -> None:
    """Damage a file in a way that suits its kind; sometimes delete or empty it, or put a folder in its place."""
    data, kind = path.read_bytes(), rng.random()
    if kind < 0.08:
        path.unlink()
        if kind < 0.03:
            path.mkdir()
    elif kind < 0.12:
        path.write_bytes(b"")
    else:
        path.write_bytes(DAMAGE.get(path.suffix, damage_bytes)(data, rng))


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
    elif kind < 0.08:
        members[name] = bytes(30_000_000)
    else:
        members[name] = DAMAGE.get(Path(name).suffix, damage_bytes)(members[name], rng)
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
