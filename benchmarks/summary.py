"""The table of ratios in `benchmarks/README.md`, from what the scripts printed (``benchmarks/results/*.txt``).

    python benchmarks/summary.py

A script's whole output goes into ``results/NAME.txt``; its JSON lines are read here. A test keeps README's table equal
to what this prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import table

RESULTS = Path(__file__).parent / "results"
HEADER = ["output", "what", "ours", "rival", "", "ratio"]
# What of a result tells two runs of one script apart.
_SETTINGS = ("threads", "preset", "batch", "clips", "runs", "epochs")


def lines() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name of the output, content of a JSON line)."""
    for path in sorted(RESULTS.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("{"):
                yield path.stem, json.loads(line)


def rows() -> Iterator[list[Any]]:
    """Yield the rows of the table: one for each rival that was measured."""
    for name, result in lines():
        if name == "features":
            for case in result["rows"]:
                what = f"decoding and log mel, {case['case']}"
                ours, theirs = (f"{case[f'{who} / ms']:.2f} ms" for who in ("ours", "librosa"))
                yield [name, what, ours, "librosa", theirs, f"{case['ratio']:.2f}"]
            continue
        if not any("ratio" in rival for rival in result.get("rivals", {}).values()):
            continue
        (mine,) = (values for values in result["rivals"].values() if "ratio" not in values)
        stated = (f"{key} {result[key]}" for key in _SETTINGS if key in result and f"{key} " not in result["benchmark"])
        what = ", ".join([result["benchmark"], *stated])
        for rival, theirs in result["rivals"].items():
            if "ratio" in theirs:
                rates = [_rate(values["median"], result["unit"]) for values in (mine, theirs)]
                yield [name, what, rates[0], rival, rates[1], f"{theirs['ratio']:.2f}"]


def _rate(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


if __name__ == "__main__":
    print(table(list(rows()), HEADER))
