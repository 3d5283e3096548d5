"""The results table: ours beside the published values, as text, CSV, Markdown and LaTeX.

The long form (``results.csv``, one line per figure) is the record; every table is a view of it. Percentages are in
percent as in the paper, error rates as ratios. With several seeds the cells hold mean and standard deviation (n - 1).
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from crnn_weak import paper
from crnn_weak.errors import RunError

__all__ = ["COLUMNS", "Column", "Result", "ResultsTable", "read_results", "results_of_cell", "write_results"]


class Column(NamedTuple):
    """One figure of the table: where it stands in ``metrics.json``, in the paper's rows, and how it is shown."""

    output: str
    metric: str
    title: str
    published: str
    scale: float
    digits: int


COLUMNS: tuple[Column, ...] = (
    Column("tagging", "precision", "tag P", "tagging_precision", 100, 1),
    Column("tagging", "recall", "tag R", "tagging_recall", 100, 1),
    Column("tagging", "f_score", "tag F", "tagging_f", 100, 1),
    Column("segment", "error_rate", "SED ER", "error_rate", 1, 2),
    Column("segment", "f_score", "SED F", "segment_f", 100, 1),
)


class Result(NamedTuple):
    """One line of ``results.csv``; `value` as measured (fractions, not percent)."""

    experiment: str
    strong_weight: float
    weak_weight: float
    seed: int
    output: str
    metric: str
    value: float
    n_clips: int
    config_fingerprint: str


_EXTRA = (
    ("segment", "precision"), ("segment", "recall"), ("segment", "substitution_rate"), ("segment", "deletion_rate"),
    ("segment", "insertion_rate"), ("event", "f_score"), ("event", "error_rate"),
)  # fmt: skip


def results_of_cell(
    experiment: str, weights: tuple[float, float], seed: int, metrics: Mapping[str, Any], config_fingerprint: str
) -> list[Result]:
    """Return the lines of one finished cell; figures that the data cannot give (no events) are left out."""
    lines = []
    for output, metric in [(column.output, column.metric) for column in COLUMNS] + list(_EXTRA):
        if metrics.get(output) is not None:
            value = metrics[output][metric]
            value = math.nan if value is None else float(value)
            lines.append(
                Result(experiment, *weights, seed, output, metric, value, int(metrics["n_clips"]), config_fingerprint)
            )
    return lines


def write_results(lines: Iterable[Result]) -> str:
    """Return the text of ``results.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Result._fields)
    writer.writerows((*line[:6], f"{line.value:.6g}", *line[7:]) for line in lines)
    return text.getvalue()


def read_results(path: str | Path) -> list[Result]:
    """Read ``results.csv``.

    Raises
    ------
    RunError
        The file is missing or is not a results file.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                Result(
                    row["experiment"], float(row["strong_weight"]), float(row["weak_weight"]), int(row["seed"]),
                    row["output"], row["metric"], float(row["value"]), int(row["n_clips"]), row["config_fingerprint"],
                )
                for row in csv.DictReader(file)
            ]  # fmt: skip
    except FileNotFoundError:
        raise RunError(f"{path}: no such results file. Finish the grid first (the same command resumes it).") from None
    except (KeyError, ValueError) as error:
        raise RunError(f"{path}: not a results file ({error}).") from None


@dataclass(frozen=True)
class ResultsTable:
    """The seven-row table (or any rows) made of results.

    Attributes
    ----------
    lines : sequence of Result
    caption : str
        What the figures are of: data, clips, preset, head, seeds.
    baselines : mapping
        Name -> {(output, metric): value}, to read the results against.
    """

    lines: Sequence[Result]
    caption: str = ""
    baselines: Mapping[str, Mapping[tuple[str, str], float]] | None = None

    @property
    def settings(self) -> list[tuple[float, float]]:
        """The (strong, weak) weights that occur, from the weakest strong loss to the strongest."""
        found = {(line.strong_weight, line.weak_weight) for line in self.lines}
        return sorted(found, key=lambda setting: setting[0] / setting[1] if setting[1] else math.inf)

    def values(self, setting: tuple[float, float], output: str, metric: str) -> list[float]:
        """Return one figure of one setting, seed by seed."""
        return [
            line.value
            for line in self.lines
            if (line.strong_weight, line.weak_weight, line.output, line.metric) == (*setting, output, metric)
            and not math.isnan(line.value)
        ]

    def mean(self, setting: tuple[float, float], column: Column) -> float | None:
        """Return the mean over seeds, in the paper's unit, or None where there is no value."""
        values = self.values(setting, column.output, column.metric)
        return statistics.fmean(values) * column.scale if values else None

    def deviation(self, setting: tuple[float, float], column: Column) -> float | None:
        """Return the standard deviation over seeds (n - 1), or None for fewer than two seeds."""
        values = self.values(setting, column.output, column.metric)
        return statistics.stdev(values) * column.scale if len(values) > 1 else None

    def rank_correlation(self, column: Column) -> float | None:
        """Return Spearman's rank correlation of a column with the paper's, over the settings that both have."""
        pairs = []
        for setting in self.settings:
            published, ours = paper.paper_row(*setting), self.mean(setting, column)
            if published is not None and ours is not None:
                pairs.append((getattr(published, column.published), ours))
        if len(pairs) < 3 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
            return None
        from scipy.stats import spearmanr

        return float(spearmanr(*zip(*pairs, strict=True)).statistic)

    # --- views -----------------------------------------------------------------------------------------------------

    def _cell(self, setting: tuple[float, float], column: Column, plus_minus: str) -> tuple[str, str, str]:
        """Return ours, the paper's and the difference, as text."""
        ours, published = self.mean(setting, column), paper.paper_row(*setting)
        theirs = None if published is None else getattr(published, column.published)
        spread = self.deviation(setting, column)
        text = "-" if ours is None else f"{ours:.{column.digits}f}"
        if spread is not None:
            text += f"{plus_minus}{spread:.{column.digits}f}"
        difference = "-" if ours is None or theirs is None else f"{ours - theirs:+.{column.digits}f}"
        return text, "-" if theirs is None else f"{theirs:.{column.digits}f}", difference

    def rows(self, plus_minus: str = " ± ") -> list[list[str]]:
        """Return the table's rows: strong, weak, then for each figure ours, the paper's, the difference."""
        return [
            [f"{strong:g}", f"{weak:g}"]
            + [text for column in COLUMNS for text in self._cell((strong, weak), column, plus_minus)]
            for strong, weak in self.settings
        ]

    @property
    def header(self) -> list[str]:
        """The titles of the columns."""
        return ["strong", "weak", *(text for column in COLUMNS for text in (column.title, "paper", "diff"))]

    def foot(self) -> list[list[str]]:
        """Return the rows below the settings: baselines, and the rank correlation with the paper's column."""
        rows = []
        for name, values in (self.baselines or {}).items():
            row = [name, ""]
            for column in COLUMNS:
                value = values.get((column.output, column.metric), math.nan)
                row += ["-" if math.isnan(value) else f"{value * column.scale:.{column.digits}f}", "", ""]
            rows.append(row)
        row = ["rank correlation", ""]
        for column in COLUMNS:
            correlation = self.rank_correlation(column)
            row += ["-" if correlation is None else f"{correlation:+.2f}", "", ""]
        rows.append(row)
        return rows

    def to_text(self) -> str:
        """Return the table for a terminal."""
        body, foot = self.rows(), self.foot()
        # Names of the foot span the two weight columns.
        name_width = max([len("strong  weak"), *(len(row[0]) for row in foot)])
        widths = [max(len(row[i]) for row in [self.header, *body, *foot]) for i in range(2, len(self.header))]
        lines = [self.caption] if self.caption else []

        def line(name: str, cells: Sequence[str]) -> str:
            groups = []
            for first in range(0, len(cells), 3):
                groups.append(" ".join(cells[i].rjust(widths[i]) for i in range(first, first + 3)))
            return f"{name.ljust(name_width)} | " + " | ".join(groups)

        lines.append(line("strong  weak", self.header[2:]))
        rule = "-" * len(lines[-1])
        lines.append(rule)
        lines += [line(f"{row[0]:>6}  {row[1]:>4}", row[2:]) for row in body]
        lines.append(rule)
        lines += [line(row[0], row[2:]) for row in foot]
        return "\n".join(text.rstrip() for text in lines) + "\n"

    def to_csv(self) -> str:
        """Return the table as CSV, means and deviations in columns of their own."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [f"{column.output}_{column.metric}" for column in COLUMNS]
        parts = ("mean", "sd", "n", "paper")
        writer.writerow(["strong", "weak", *(f"{name}_{part}" for name in names for part in parts)])
        for setting in self.settings:
            row: list[Any] = [f"{setting[0]:g}", f"{setting[1]:g}"]
            published = paper.paper_row(*setting)
            for column in COLUMNS:
                mean, spread = self.mean(setting, column), self.deviation(setting, column)
                row.append("" if mean is None else f"{mean:.4f}")
                row.append("" if spread is None else f"{spread:.4f}")
                row.append(len(self.values(setting, column.output, column.metric)))
                row.append("" if published is None else getattr(published, column.published))
            writer.writerow(row)
        return text.getvalue()

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        header = "| " + " | ".join(self.header) + " |"
        rule = "|" + "|".join(["---:"] * len(self.header)) + "|"
        rows = ["| " + " | ".join(row) + " |" for row in [*self.rows(), *self.foot()]]
        return "\n".join([*([self.caption, ""] if self.caption else []), header, rule, *rows]) + "\n"

    def to_latex(self) -> str:
        """Return the table as LaTeX (package booktabs)."""

        def escape(text: str) -> str:
            for sign in "&%_#$":
                text = text.replace(sign, "\\" + sign)
            return text

        titles = [f"\\multicolumn{{3}}{{c}}{{{escape(column.title)}}}" for column in COLUMNS]
        parts = " & ".join(["ours & paper & diff."] * len(COLUMNS))
        rows = [" & ".join(map(escape, row)) + r" \\" for row in self.rows("$\\pm$")]
        rows = [row.replace(r"\$\pm\$", r"$\pm$") for row in rows]
        foot = [" & ".join(map(escape, row)) + r" \\" for row in self.foot()]
        lines = [
            r"\begin{table}", r"\centering", r"\begin{tabular}{rr" + "rrr" * len(COLUMNS) + "}", r"\toprule",
            " & & " + " & ".join(titles) + r" \\", "strong & weak & " + parts + r" \\", r"\midrule", *rows, r"\midrule",
            *foot, r"\bottomrule", r"\end{tabular}", rf"\caption{{{escape(self.caption)}}}", r"\end{table}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> str:
        import html

        def cells(row: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in row) + "</tr>"

        body = "".join(cells(row, "td") for row in [*self.rows(), *self.foot()])
        caption = html.escape(self.caption)
        return (
            f"<table><caption>{caption}</caption><thead>{cells(self.header, 'th')}</thead><tbody>{body}</tbody></table>"
        )
