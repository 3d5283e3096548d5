"""Print a cross-validation with its controls, untuned: means over folds and seeds, with the range over folds.

``python scripts/folds.py runs/beyond/unmixed`` reads the runs that `crnn-weak beyond` has left; a data set is a fold.
"""

import json
import sys
from pathlib import Path

import numpy as np
from publish import Values, controls_tables


def main() -> None:
    """Print the tables."""
    found: dict[str, dict[tuple[str, str], dict[str, list[float]]]] = {}
    for path in sorted(Path(sys.argv[1]).glob("*/*/seed-*/metrics.json")):
        *_, fold, entry, _, _ = path.parts
        for output, metrics in json.loads(path.read_text(encoding="utf-8")).items():
            for name, value in metrics.items() if isinstance(metrics, dict) else ():
                if isinstance(value, float | int | None):
                    of_fold = found.setdefault(entry, {}).setdefault((output, name), {}).setdefault(fold, [])
                    of_fold.append(np.nan if value is None else value)  # what is undefined leaves its field empty
    rows: dict[str, Values] = {
        entry: {key: [float(np.mean(values)) for values in folds.values()] for key, folds in of_entry.items()}
        for entry, of_entry in found.items()
    }
    print(controls_tables(rows, "entry", lambda folds, n: f" ({min(folds):.{n}f} to {max(folds):.{n}f})"))


if __name__ == "__main__":
    main()
