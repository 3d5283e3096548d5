"""Write the table of docs/fidelity.md from the settings: ``python scripts/fidelity_table.py``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from crnn_weak.config import DATA_SETTINGS, preset

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fidelity.md"
_HEADER = "| setting | preset `paper` | source | why |\n|---|---|---|---|\n"


def rows() -> list[tuple[str, str, str, str]]:
    """Return (setting, default of preset `paper`, source, note) for every setting, in reading order."""
    config = preset("paper")
    found = []
    for section in dataclasses.fields(config):
        if section.name not in ("preset", "data"):
            found += _rows_of(getattr(config, section.name), section.name)
    why = "dcase2017_task4 is the paper's data; street needs no download"
    found.append(("data.source", json.dumps(config.data.source), "chosen", why))
    for source, kind in DATA_SETTINGS.items():
        found += [(name, value, mark, f"{source}: {why}") for name, value, mark, why in _rows_of(kind(), "data")]
    return found


def _rows_of(section: object, name: str) -> list[tuple[str, str, str, str]]:
    return [
        (f"{name}.{item.name}", json.dumps(getattr(section, item.name)), item.metadata["source"], item.metadata["note"])
        for item in dataclasses.fields(section)
    ]


def table() -> str:
    """Return the table as Markdown."""
    return _HEADER + "".join(f"| `{name}` | `{value}` | {source} | {note} |\n" for name, value, source, note in rows())


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, _, after = text.partition(_HEADER)
    _, blank, rest = after.partition("\n\n")
    PAGE.write_text(before + table() + blank[1:] + rest, encoding="utf-8")
