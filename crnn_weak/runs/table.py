"""The results table: ours beside the published values, as text, CSV, Markdown, LaTeX and HTML.

Percentages are in percent as in the paper, error rates as ratios. With several seeds the cells hold mean and standard
deviation (n - 1). The best value of each column is marked, among ours and among the paper's.
"""

from __future__ import annotations

import csv
import html
import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crnn_weak.files import escape_latex
from crnn_weak.runs.results import COLUMNS, Column, Result

__all__ = ["Entry", "ResultsTable"]

Setting = tuple[float, float]
_CHALLENGE_NOTE = "Best of the challenge: two different teams. Challenge columns are scores on the evaluation set."


def _escape_markdown(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


class Entry(NamedTuple):
    """One column of one setting, as text: ours, the paper's, the difference; "-" where there is no value."""

    ours: str
    published: str
    difference: str
    is_best: bool
    is_best_published: bool


@dataclass(frozen=True)
class ResultsTable:
    """The seven-row table (or any rows) of results.

    Attributes
    ----------
    lines : sequence of Result
    caption : str
        See `crnn_weak.runs.results.table_caption`.
    baselines : mapping, optional
        Name -> {"output/metric": value}, shown below the settings.
    """

    lines: Sequence[Result]
    caption: str = ""
    baselines: Mapping[str, Mapping[str, float | None]] | None = None

    # --- values ----------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> list[Setting]:
        """The (strong, weak) weights that occur, by ascending ratio of strong to weak."""
        found = {(line.strong_weight, line.weak_weight) for line in self.lines}
        return sorted(found, key=lambda setting: setting[0] / setting[1] if setting[1] else math.inf)

    def values(self, setting: Setting, output: str, metric: str) -> list[float]:
        """Return one metric of one setting, seed by seed."""
        return [
            line.value
            for line in self.lines
            if (line.strong_weight, line.weak_weight, line.output, line.metric) == (*setting, output, metric)
            and not math.isnan(line.value)
        ]

    def mean(self, setting: Setting, column: Column) -> float | None:
        """Return the mean over seeds, in the paper's unit, or None where there is no value."""
        values = self.values(setting, column.key, column.metric)
        return statistics.fmean(values) * column.scale if values else None

    def deviation(self, setting: Setting, column: Column) -> float | None:
        """Return the standard deviation over seeds (n - 1), or None for fewer than two seeds."""
        values = self.values(setting, column.key, column.metric)
        return statistics.stdev(values) * column.scale if len(values) > 1 else None

    def best(self, column: Column) -> tuple[float | None, float | None]:
        """Return the best of ours and of the paper's values in a column; None where fewer than two compare."""
        bests = []
        for values in (
            [self.mean(setting, column) for setting in self.settings],
            [column.published_value(setting) for setting in self.settings],
        ):
            known = [value for value in values if value is not None]
            bests.append(column.best(known) if len(known) > 1 else None)
        return bests[0], bests[1]

    def error_rates(self, setting: Setting) -> dict[str, float | None]:
        """Return the error rate's parts, mean over seeds: ``S``, ``D`` and ``I`` (substitutions and so on)."""
        parts = {}
        for name, metric in (("S", "substitution_rate"), ("D", "deletion_rate"), ("I", "insertion_rate")):
            values = self.values(setting, "segment", metric)
            parts[name] = statistics.fmean(values) if values else None
        return parts

    def rank_correlation(self, column: Column) -> float | None:
        """Return Spearman's rank correlation of a column with the paper's, over the settings that both have."""
        pairs = []
        for setting in self.settings:
            published, ours = column.published_value(setting), self.mean(setting, column)
            if published is not None and ours is not None:
                pairs.append((published, ours))
        if len(pairs) < 3 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
            return None
        from scipy.stats import spearmanr

        return float(spearmanr(*zip(*pairs, strict=True)).statistic)

    # --- cells -----------------------------------------------------------------------------------------------------

    def entry(self, setting: Setting, column: Column, plus_minus: str = " ± ") -> Entry:
        """Return one column of one setting as text."""
        ours, theirs = self.mean(setting, column), column.published_value(setting)
        best, best_published = self.best(column)
        spread = self.deviation(setting, column)
        text = "-" if ours is None else f"{ours:.{column.digits}f}"
        if spread is not None:
            text += f"{plus_minus}{spread:.{column.digits}f}"
        return Entry(
            text,
            "-" if theirs is None else f"{theirs:.{column.digits}f}",
            "-" if ours is None or theirs is None else f"{ours - theirs:+.{column.digits}f}",
            ours is not None and ours == best,
            theirs is not None and theirs == best_published,
        )

    def rows(self, plus_minus: str = " ± ", mark: Callable[[str], str] = str) -> list[list[str]]:
        """Return the table's rows: strong, weak, then for each column ours, the paper's, the difference.

        Parameters
        ----------
        plus_minus : str
            Separates mean and standard deviation.
        mark : callable
            Applied to the best values.
        """
        rows = []
        for setting in self.settings:
            row = [f"{setting[0]:g}", f"{setting[1]:g}"]
            for column in COLUMNS:
                cell = self.entry(setting, column, plus_minus)
                row.append(mark(cell.ours) if cell.is_best else cell.ours)
                row.append(mark(cell.published) if cell.is_best_published else cell.published)
                row.append(cell.difference)
            rows.append(row)
        return rows

    @property
    def header(self) -> list[str]:
        """The titles of the columns."""
        return ["strong", "weak", *(text for column in COLUMNS for text in (column.title, "paper", "diff"))]

    def foot(self) -> list[list[str]]:
        """Return the rows below the settings: best of the challenge, baselines, rank correlation with the paper."""
        rows = [["best of the challenge", ""], *([name, ""] for name in self.baselines or {}), ["rank correlation", ""]]
        for column in COLUMNS:
            best = column.challenge_best
            rows[0] += ["", "" if best is None else f"{best:.{column.digits}f}", ""]
            for row, values in zip(rows[1:], (self.baselines or {}).values(), strict=False):
                value = values.get(f"{column.key}/{column.metric}")
                missing = value is None or math.isnan(value)
                row += ["-" if missing else f"{value * column.scale:.{column.digits}f}", "", ""]
            correlation = self.rank_correlation(column)
            rows[-1] += ["-" if correlation is None else f"{correlation:+.2f}", "", ""]
        return rows

    def _shown(self) -> list[int]:
        """Return the positions of the shown columns: challenge columns without any value are hidden."""
        body = [*self.rows(), *self.foot()]
        return [
            index
            for index in range(len(self.header))
            if index < 2
            or COLUMNS[(index - 2) // 3].split == "test"
            or any(row[index] not in ("", "-") for row in body)
        ]

    # --- views -----------------------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """Return the table for a terminal; ``*`` marks the best values."""
        shown, header = self._shown(), self._titles()
        body, foot = self.rows(mark=lambda text: f"{text}*"), self.foot()
        name_width = max([len("strong  weak"), *(len(row[0]) for row in foot)])  # names of the foot span the weights
        widths = {i: max(len(row[i].rstrip("*")) for row in [header, *body, *foot]) for i in shown}

        def cell(text: str, index: int) -> str:
            kind = (index - 2) % 3
            end = "" if kind == 2 else "*" if text.endswith("*") else " "
            return text.rstrip("*").rjust(widths[index]) + end

        def line(name: str, row: Sequence[str]) -> str:
            groups: dict[int, list[str]] = {}
            for index in shown[2:]:
                groups.setdefault((index - 2) // 3, []).append(cell(row[index], index))
            return f"{name.ljust(name_width)} | " + " | ".join(" ".join(group) for group in groups.values())

        head = line("strong  weak", header)
        lines = [self.caption] if self.caption else []
        lines += [head.rstrip(), "-" * len(head)]
        lines += [line(f"{row[0]:>6}  {row[1]:>4}", row) for row in body]
        lines.append("-" * len(head))
        lines += [line(row[0], row) for row in foot]
        lines.append(f"* best of its column. {_CHALLENGE_NOTE}")
        return "\n".join(text.rstrip() for text in lines) + "\n"

    def to_csv(self) -> str:
        """Return the table as CSV, means and deviations in columns of their own."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [f"{column.key}_{column.metric}" for column in COLUMNS]
        parts = ("mean", "sd", "n", "paper")
        writer.writerow(["strong", "weak", *(f"{name}_{part}" for name in names for part in parts)])
        for setting in self.settings:
            row: list[Any] = [f"{setting[0]:g}", f"{setting[1]:g}"]
            for column in COLUMNS:
                mean, spread = self.mean(setting, column), self.deviation(setting, column)
                published = column.published_value(setting)
                row.append("" if mean is None else f"{mean:.4f}")
                row.append("" if spread is None else f"{spread:.4f}")
                row.append(len(self.values(setting, column.key, column.metric)))
                row.append("" if published is None else published)
            writer.writerow(row)
        return text.getvalue()

    def _titles(self) -> list[str]:
        """Return the header; where ours is hidden, the paper's column carries the title."""
        header, shown = list(self.header), self._shown()
        for index in range(2, len(header), 3):
            if index not in shown:
                header[index + 1] = f"{header[index]}, paper"
        return header

    def _view(self, escaped: Callable[[str], str], **options: Any) -> list[list[list[str]]]:
        """Return header, rows and foot without the hidden columns; names are escaped."""
        shown = self._shown()
        parts = ([self._titles()], self.rows(**options), self.foot())
        return [[[escaped(row[0]), *(row[i] for i in shown[1:])] for row in rows] for rows in parts]

    def to_markdown(self) -> str:
        """Return the table as Markdown; the best values are bold."""
        (header,), rows, foot = self._view(_escape_markdown, mark=lambda text: f"**{text}**")
        lines = ["| " + " | ".join(row) + " |" for row in [header, *rows, *foot]]
        lines.insert(1, "|" + "|".join(["---:"] * len(header)) + "|")
        caption = [_escape_markdown(self.caption), ""] if self.caption else []
        return "\n".join([*caption, *lines, "", _CHALLENGE_NOTE]) + "\n"

    def to_latex(self) -> str:
        """Return the table as LaTeX (package booktabs); the best values are bold."""
        (header,), rows, foot = self._view(escape_latex, plus_minus=r"$\pm$", mark=lambda text: f"\\textbf{{{text}}}")
        lines = [
            r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{'r' * len(header)}}}", r"\toprule",
            " & ".join(header) + r" \\", r"\midrule", *(" & ".join(row) + r" \\" for row in rows), r"\midrule",
            *(" & ".join(row) + r" \\" for row in foot), r"\bottomrule", r"\end{tabular}",
            rf"\caption{{{escape_latex(f'{self.caption} {_CHALLENGE_NOTE}'.strip())}}}", r"\end{table}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> str:
        def cells(row: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in row) + "</tr>"

        (header,), rows, foot = self._view(html.escape, mark=lambda text: f"<b>{text}</b>")
        body = "".join(cells(row, "td") for row in [*rows, *foot])
        caption = html.escape(f"{self.caption} {_CHALLENGE_NOTE}".strip())
        return f"<table><caption>{caption}</caption><thead>{cells(header, 'th')}</thead><tbody>{body}</tbody></table>"
