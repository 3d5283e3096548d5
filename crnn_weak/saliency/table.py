"""The table of localisation statistics, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crnn_weak.saliency.localisation import LocalisationSummary

__all__ = ["Row", "to_csv", "to_markdown"]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    source : str
        ``network``, or a baseline: ``untrained``, ``loudness``.
    strong, weak : float or None
        Loss weights; None for a baseline.
    seed : str
        A number, or ``all``: the mean over the seeds of each pair.
    output, method : str
    summary : LocalisationSummary
    """

    source: str
    strong: float | None
    weak: float | None
    seed: str
    output: str
    method: str
    summary: LocalisationSummary


def to_csv(rows: Sequence[Row]) -> str:
    """Return the table as CSV, one line for each row, shares as fractions."""
    buffer = io.StringIO()
    columns = list(rows[0].summary.to_dict())
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["source", "strong_weight", "weak_weight", "seed", "output", "method", *columns])
    for row in rows:
        values = [f"{v:.6g}" if isinstance(v, float) else v for v in row.summary.to_dict().values()]
        weights = ["" if w is None else f"{w:g}" for w in (row.strong, row.weak)]
        writer.writerow([row.source, *weights, row.seed, row.output, row.method, *values])
    return buffer.getvalue()


def to_markdown(rows: Sequence[Row], *, caption: str, notes: Mapping[str, str] = {}) -> str:
    """Return the table as Markdown, in percent; of several seeds only their mean."""
    lines = [
        caption,
        "",
        "| strong | weak | output | map | share inside | chance | gain (95 %) | ratio "
        "| pointing game | gain (95 %) | pairs |",
        "|---:|---:|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    pooled = {(row.strong, row.weak) for row in rows if row.seed == "all"}
    for row in rows:
        if row.seed not in ("", "all") and (row.strong, row.weak) in pooled:
            continue
        s = row.summary
        first = ["", ""] if row.strong is None else [f"{row.strong:g}", f"{row.weak:g}"]
        name = row.output if row.source == "network" else f"{row.output} ({row.source})".strip()
        cells = [
            *first,
            name.replace("(loudness)", "loudness"),
            row.method or "-",
            f"{100 * s.share:.1f}",
            f"{100 * s.coverage:.1f}",
            f"{100 * s.share_gain:+.1f} ({100 * s.share_gain_low:+.1f} to {100 * s.share_gain_high:+.1f})",
            f"{s.share_ratio:.2f}",
            f"{100 * s.hit:.1f}",
            f"{100 * s.hit_gain:+.1f} ({100 * s.hit_gain_low:+.1f} to {100 * s.hit_gain_high:+.1f})",
            f"{s.n_pairs}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {name}: {text}" for name, text in notes.items())]
    return "\n".join(lines) + "\n"
