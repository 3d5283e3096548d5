"""The table of compared runs, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from crnn_weak.runs.comparison import METRICS, Estimate, RunScore

__all__ = ["to_csv", "to_markdown"]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def to_markdown(
    estimates: Mapping[str, Mapping[str, Estimate]],
    scores: Mapping[str, Mapping[int, RunScore]],
    baselines: Mapping[str, str],
    provenance: str,
) -> str:
    """Return the table as Markdown.

    Parameters
    ----------
    estimates : mapping of entry to mapping of metric to Estimate
        Of `crnn_weak.runs.comparison.compare`.
    scores : mapping of entry to mapping of seed to the run's scores
    baselines : mapping of metric to entry
        What the differences are taken from.
    provenance : str
        Of the data, for the caption.
    """
    best = "; ".join(f"{METRICS[metric]}: {name}" for metric, name in baselines.items())
    differences = (
        f"; in brackets behind it the difference, at the seeds of both, from the best entry of the curves ({best})"
        if best
        else ""
    )
    lines = [
        f"{provenance}. Percent, mean over seeds [95 % interval over seeds and clips; of one seed, over clips]"
        f"{differences}. "
        "Thresholds, median filter, weak gate and hysteresis chosen on validation clips.",
        "",
        "| entry | seeds | " + " | ".join(METRICS.values()) + " | PSDS1 |",
        "|---|---:|" + "---:|" * (len(METRICS) + 1),
    ]
    for name, row in estimates.items():
        cells = [name, str(len(scores[name]))]
        for metric in METRICS:
            e = row.get(metric)
            text = "-" if e is None else f"{_percent(e.mean)} [{_percent(e.low)}, {_percent(e.high)}]"
            if e is not None and e.difference == e.difference and baselines.get(metric) != name:
                text += f" ({100 * e.difference:+.1f}: {100 * e.difference_low:+.1f}, {100 * e.difference_high:+.1f})"
            cells.append(text)
        psds = [score.psds["psds1"] for score in scores[name].values() if "psds1" in score.psds]
        cells.append(f"{sum(psds) / len(psds):.3f}" if psds else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_csv(estimates: Mapping[str, Mapping[str, Estimate]], scores: Mapping[str, Mapping[int, RunScore]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["entry", "n_seeds", "metric", "mean", "low", "high", "difference", "difference_low",
                     "difference_high", "untuned"])  # fmt: skip
    for name, row in estimates.items():
        for metric, estimate in row.items():
            untuned = sum(score.untuned[metric] for score in scores[name].values()) / len(scores[name])
            values = [f"{value:.5f}" for value in (*estimate, untuned)]
            writer.writerow([name, len(scores[name]), metric, *values])
    return text.getvalue()
