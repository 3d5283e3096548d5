"""Print README's table of street scenes from the published results, ours and the paper's side by side."""

import csv
import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "experiments" / "results" / "street-max_dense-3-seeds" / "table.csv"
# Metric, format, and whether the paper reports it.
_COLUMNS = (
    ("tagging/f_score", ".1f", True),
    ("segment/error_rate", ".2f", True),
    ("segment/f_score", ".1f", True),
    ("timing_gain/f_score", ".1f", False),
    ("within_clip/auc", ".2f", False),
)


def readme_table() -> str:
    """Return the seven rows and the baselines in Markdown; mean ± standard deviation over seeds."""
    titles = "strong, weak | tagging F | paper | SED ER | paper | SED F | paper | timing gain | within-clip AUC"
    lines = [f"| {titles} |", f"|{'---:|' * 9}"]
    with RESULTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value = {column: float(text) for column, text in row.items() if text}
            shown = [f"{row['strong']}, {row['weak']}"]
            for key, form, is_reported in _COLUMNS:
                name = key.replace("/", "_")
                shown.append(f"{value[f'{name}_mean']:{form}} ± {value[f'{name}_sd']:{form}}")
                if is_reported:
                    shown.append(f"{value[f'{name}_paper']:{form}}")
            lines.append(f"| {' | '.join(shown)} |")
    baselines = json.loads((RESULTS.parent / "baselines.json").read_text(encoding="utf-8"))
    for title, values in baselines.items():
        shown = [title]
        for key, form, is_reported in _COLUMNS:
            value = values.get(key)
            shown.append("" if value is None else f"{value * (100 if form == '.1f' else 1):{form}}")
            shown += [""] * is_reported
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(readme_table(), end="")
