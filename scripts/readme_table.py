"""Print README's table from the committed results of `make grid ARGS="--seeds 0 1 2"`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "experiments" / "results" / "street-10-epochs" / "table.csv"
_COLUMNS = (("tagging_f_score", ".1f"), ("segment_error_rate", ".2f"), ("segment_f_score", ".1f"))


def readme_table() -> str:
    """Return the seven rows and the baselines in Markdown; mean ± standard deviation over seeds."""
    lines = ["| strong, weak | tagging F | SED ER | SED F | the paper's |", "|---:|---:|---:|---:|---:|"]
    with RESULTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value = {column: float(text) for column, text in row.items() if text}
            ours = [f"{value[f'{name}_mean']:{form}} ± {value[f'{name}_sd']:{form}}" for name, form in _COLUMNS]
            papers = ", ".join(f"{value[f'{name}_paper']:{form}}" for name, form in _COLUMNS)
            lines.append(f"| {row['strong']}, {row['weak']} | {' | '.join(ours)} | {papers} |")
    baselines = json.loads((RESULTS.parent / "baselines.json").read_text(encoding="utf-8"))
    for title, values in baselines.items():
        cells = []
        for name, form in _COLUMNS:
            value = values[name.replace("_", "/", 1)]
            cells.append("-" if value is None else f"{value * (100 if form == '.1f' else 1):{form}}")
        lines.append(f"| {title} | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(readme_table(), end="")
