"""Write the table of docs/fidelity.md from the settings: ``python scripts/fidelity_table.py``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from crnn_weak.config import DATA_SETTINGS, preset

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fidelity.md"
_HEADER = "| setting | `paper` | `authors_code` | source | why |\n|---|---|---|---|---|\n"


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return every setting in reading order: name, value of preset `paper`, another of `authors_code`, source, note."""
    config, other = preset("paper"), preset("authors_code")
    found = []
    for section in dataclasses.fields(config):
        if section.name not in ("preset", "data"):
            found += _rows_of(getattr(config, section.name), getattr(other, section.name), section.name)
    why = "dcase2017_task4 is the paper's data; street needs no download"
    found.append(("data.source", json.dumps(config.data.source), "", "chosen", why))
    for source, kind in DATA_SETTINGS.items():
        found += [(*row[:4], f"{source}: {row[4]}") for row in _rows_of(kind(), kind(), "data")]
    return found


def _rows_of(section: object, other: object, name: str) -> list[tuple[str, str, str, str, str]]:
    found = []
    for item in dataclasses.fields(section):
        value, theirs = (json.dumps(getattr(one, item.name)) for one in (section, other))
        differs = f"`{theirs}`" if theirs != value else ""
        found.append((f"{name}.{item.name}", value, differs, item.metadata["source"], item.metadata["note"]))
    return found


def table() -> str:
    """Return the table as Markdown."""
    return _HEADER + "".join(f"| `{name}` | `{value}` | {' | '.join(others)} |\n" for name, value, *others in rows())


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, _, after = text.partition(_HEADER)
    _, blank, rest = after.partition("\n\n")
    PAGE.write_text(before + table() + blank[1:] + rest, encoding="utf-8")
