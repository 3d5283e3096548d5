"""Copy the results of a finished grid into a folder that is committed.

``python scripts/publish.py runs/loss_weight_grid/NAME --to experiments/results/NAME`` copies figures, tables,
configuration and environment, and describes the data (with digests of the clip lists). It adds the losses
and the metrics by class of all runs, the controls, and a table with one threshold per class, tuned on validation clips.
No recordings, models or paths.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import io
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak.cli import run_guarded
from crnn_weak.config import Config, load_config, to_dict
from crnn_weak.errors import RunError
from crnn_weak.files import csv_text, markdown_table, write_text

#: (output, metric) -> value of each run.
Values = dict[tuple[str, str], list[float]]
_COPIED = ("figure.png", "figure.pdf", "results.csv", "environment.json")
_OF_CLASSES = {"tagging": "f_score", "segment": "f_score", "event": "f_score", "within_clip": "auc", "loudness": "auc"}
_TUNED = ("strong", "weak", "seed", "tag_F", "tag_F_tuned", "SED_ER", "SED_ER_tuned", "SED_F", "SED_F_tuned")
# Columns of the tables of controls: heading, output and metric in results.csv, factor, digits.
_CONTROLS = {
    "Detection and its controls": (
        ("SED F", "segment", "f_score", 100, 1),
        ("rotated F", "rotated", "f_score", 100, 1),
        ("timing gain F", "timing_gain", "f_score", 100, 2),
        ("own classes, whole clip F", "whole_clip", "f_score", 100, 1),
        ("SED ER", "segment", "error_rate", 1, 2),
        ("rotated ER", "rotated", "error_rate", 1, 2),
        ("event F", "event", "f_score", 100, 1),
        ("within-clip AUC", "within_clip", "auc", 1, 2),
        ("AUC of loudness", "loudness", "auc", 1, 2),
    ),
    "Tags": (
        ("weak output, threshold: F", "tagging_threshold", "f_score", 100, 1),
        ("tags a clip", "tagging_threshold", "tags_per_clip", 1, 2),
        ("weak output, at least one: F", "tagging_at_least_one", "f_score", 100, 1),
        ("tags a clip", "tagging_at_least_one", "tags_per_clip", 1, 2),
        ("strong maximum, threshold: F", "tagging_strong_threshold", "f_score", 100, 1),
        ("tags a clip", "tagging_strong_threshold", "tags_per_clip", 1, 2),
        ("mAP, weak output", "weak_ranking", "mean_average_precision", 100, 1),
        ("mAP, strong maximum", "strong_ranking", "mean_average_precision", 100, 1),
    ),
}
_EXPLANATION = """Values are means over seeds ± half of Student's 95 % interval, 2.5 times the standard deviation of
three seeds. The threshold is 0.5, with preset `recommended` those chosen from tags; nothing else is tuned.
[Which and when](../../../docs/which-and-when.md) explains the controls. The [table](table.md) ends with references of
the same clips. [results.csv](results.csv) has all values.
"""


def publish(folder: str | Path, target: str | Path) -> Path:
    """Copy a finished grid's results and tune its thresholds."""
    from crnn_weak.metrics.summary import plain
    from crnn_weak.runs.folders import open_grid

    folder, target = Path(folder), Path(target)
    missing = [name for name in (*_COPIED, "config.toml", "data.json") if not (folder / name).exists()]
    if missing:
        raise RunError(f"{folder}: not a finished grid, {missing[0]} is not there. Start the grid again to finish it.")
    table = open_grid(folder).table
    target.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        shutil.copyfile(folder / name, target / name)
    # Made again from results.csv, whose values are rounded: a test compares both.
    forms = {"txt": table.to_text(), "csv": table.to_csv(), "md": table.to_markdown(), "tex": table.to_latex()}
    for suffix, text in forms.items():
        write_text(target / f"table.{suffix}", text)
    write_text(target / "baselines.json", json.dumps(plain(table.baselines), indent=1, ensure_ascii=False))
    for path in sorted(folder.glob("saliency/localization.*")):
        shutil.copyfile(path, target / f"saliency_localization{path.suffix}")
    config = load_config(folder / "config.toml")
    # A folder's name says where somebody keeps recordings; the rest is the experiment.
    text = (folder / "config.toml").read_text(encoding="utf-8")
    for value in to_dict(config.data).values():
        if isinstance(value, str) and Path(value).name != value:
            text = text.replace(json.dumps(value, ensure_ascii=False), json.dumps(Path(value).name, ensure_ascii=False))
    write_text(target / "config.toml", text)
    write_text(target / "data.json", json.dumps(_data(folder, config), indent=1, ensure_ascii=False))
    write_text(target / "tuned.csv", _tuned(folder, config))
    names = ("strong", "weak", "seed")
    write_text(target / "history.csv", histories(grid_runs(folder), names))
    write_text(target / "classes.csv", class_metrics(grid_runs(folder), names))
    write_text(target / "controls.md", controls_page(target / "results.csv"))
    return target


def controls_page(results: Path) -> str:
    """Return the controls of ``results.csv`` as Markdown: means ± half of Student's 95 % interval over seeds."""
    from crnn_weak.metrics.summary import half_interval

    found: dict[tuple[float, float], Values] = {}
    with results.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = found.setdefault((float(row["strong_weight"]), float(row["weak_weight"])), {})
            values.setdefault((row["output"], row["metric"]), []).append(float(row["value"]))
    rows = {f"{strong:g}:{weak:g}": found[strong, weak] for strong, weak in sorted(found, key=lambda s: math.atan2(*s))}

    def spread(values: list[float], digits: int) -> str:
        return f" ± {half_interval(values):.{digits}f}" if min(values) < max(values) else ""

    return f"# Controls\n\n{_EXPLANATION}\n{controls_tables(rows, 'strong:weak', spread)}"


def controls_tables(rows: Mapping[str, Values], title: str, spread: Callable[[list[float], int], str]) -> str:
    """Return the tables of detection and tags, a row for each name; `spread` follows a mean with its digits."""
    parts = []
    for heading, columns in _CONTROLS.items():
        lines = []
        for name, found in rows.items():
            cells = [name]
            for _, output, metric, factor, digits in columns:
                values = [factor * value for value in found.get((output, metric), [math.nan])]
                is_known = not np.isnan(values).any()
                cells.append(f"{np.mean(values):.{digits}f}{spread(values, digits)}" if is_known else "")
            lines.append(cells)
        parts.append(f"## {heading}\n\n{markdown_table([title, *(column[0] for column in columns)], lines)}")
    return "\n".join(parts)


def grid_runs(folder: Path) -> dict[tuple[str, ...], Path]:
    """Return the runs of a grid, by strong weight, weak weight and seed."""
    runs = sorted(folder.glob("*_*/seed-*"))
    return {(*run.parent.name.split("_"), run.name.removeprefix("seed-")): run for run in runs}


def histories(runs: Mapping[tuple[str, ...], Path], names: Sequence[str]) -> str:
    """Return the losses of all runs as CSV, with the values of `names` before each epoch."""
    header, rows = [], []
    for begin, run in runs.items():
        header, *epochs = csv.reader(io.StringIO((run / "history.csv").read_text(encoding="utf-8")))
        rows += [[*begin, *epoch] for epoch in epochs]
    return csv_text([*names, *header], rows)


def class_metrics(runs: Mapping[tuple[str, ...], Path], names: Sequence[str]) -> str:
    """Return metrics by class of all runs as CSV, as fractions, with the values of `names` before each class."""
    rows = []
    for begin, run in runs.items():
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        for label in metrics["tagging"]["class_wise"]:
            found = [(metrics.get(output) or {}).get("class_wise", {}).get(label, {}) for output in _OF_CLASSES]
            values = [row.get(name) for row, name in zip(found, _OF_CLASSES.values(), strict=True)]
            rows.append([*begin, label, *("" if value is None else f"{value:.4g}" for value in values)])
    return csv_text([*names, "class", *map("_".join, _OF_CLASSES.items())], rows)


def _data(folder: Path, config: Config) -> dict[str, Any]:
    from crnn_weak.features.store import FeatureStore

    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    kept = {name: data[name] for name in ("provenance", "classes", "coverage")}
    for split in ("train", "test"):
        with FeatureStore(folder / data[f"{split}_store"], config.features) as store:
            listed = "\n".join(sorted(store.clip_ids))
            kept["coverage"][split]["clip_ids_sha256"] = hashlib.sha256(listed.encode()).hexdigest()
    return kept


def _tuned(folder: Path, config: Config) -> str:
    rows = [tuned_row(run) for run in sorted(folder.glob("*_*/seed-*")) if (run / "metrics.json").exists()]
    rows.sort(key=lambda row: (row["seed"], row["strong"] / row["weak"] if row["weak"] else float("inf")))
    return csv_text(_TUNED, [[f"{row[name]:g}" for name in _TUNED] for row in rows])


def tuned_row(run: str | Path) -> dict[str, float]:
    """Return a run's metrics on the test clips, at its own operating point and tuned on validation clips.

    One threshold per class: for tagging the one with the best micro F1, for detection the one with the best segment
    F1 (its error rate is reported, not searched). Percent, but for the error rate.
    """
    from crnn_weak.detection.postprocessing import OperatingPoint
    from crnn_weak.detection.tuning import Objective, tune
    from crnn_weak.runs.scores import open_scores

    config = load_config(Path(run) / "config.toml")
    metrics = json.loads((Path(run) / "metrics.json").read_text(encoding="utf-8"))
    held_out, testing = open_scores(str(run), "validation"), open_scores(str(run), "test")
    row = {"strong": config.loss_weights.strong, "weak": config.loss_weights.weak, "seed": config.training.seed}
    row["tag_F"] = round(100 * metrics["tagging"]["f_score"], 2)
    start = OperatingPoint.from_config(config.operating_point, held_out.scores.classes)
    tuned = functools.partial(tune, held_out.scores, held_out.reference, per_class=True, operating_point=start)

    def value(metric: str, point: OperatingPoint) -> float:
        return Objective(testing.scores, testing.reference, metric).value(point)

    row["tag_F_tuned"] = round(100 * value("tagging_f1", tuned(metric="tagging_f1").operating_point), 2)
    row |= dict.fromkeys(("SED_ER", "SED_ER_tuned", "SED_F", "SED_F_tuned"), float("nan"))
    if metrics["segment"] is not None and held_out.events is not None:
        point = tuned(metric="segment_f1").operating_point
        row["SED_ER"] = round(metrics["segment"]["error_rate"], 4)
        row["SED_F"] = round(100 * metrics["segment"]["f_score"], 2)
        row["SED_ER_tuned"] = round(value("error_rate", point), 4)
        row["SED_F_tuned"] = round(100 * value("segment_f1", point), 2)
    return row


def main() -> None:
    """Run ``python scripts/publish.py``."""
    parser = argparse.ArgumentParser(description="Keep the results of a finished grid.")
    parser.add_argument("grid", metavar="GRID", help="folder of the grid")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="e.g. experiments/results/street")
    args = parser.parse_args()
    print(publish(args.grid, args.to))


if __name__ == "__main__":
    sys.exit(run_guarded("publish", main))
