"""Tables of results: rows rendered as text, CSV, Markdown, LaTeX and HTML.

In the results table, percentages are in percent as in the paper, error rates are ratios. Several seeds give mean and
standard deviation (n - 1). The best value of each column is marked, among ours and among the paper's.
"""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crnn_weak.files import csv_text, escape_latex, markdown_table
from crnn_weak.runs.results import COLUMNS, Column, Result, Setting

#: Marks one text as the best of its column, or leaves it.
Mark = Callable[[str, bool], str]
_NOTE = "Best of the challenge: two different teams. Challenge columns are scores on the evaluation set."


def _mark_nothing(text: str, is_best: bool) -> str:
    return text


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{digits}f}"


@dataclass(frozen=True)
class ResultsTable:
    """The seven-row table (or any rows) of results.

    `baselines`, shown below the settings: name -> {"output/metric": value}.
    """

    lines: Sequence[Result]
    caption: str = ""
    baselines: Mapping[str, Mapping[str, float | None]] | None = None

    # --- values ------------------------------------------------------------------------------------------------------

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
        """Return the mean over seeds, in the unit shown, or None if it was not measured."""
        values = self.values(setting, column.output, column.metric.name)
        return statistics.fmean(values) * column.metric.scale if values else None

    def deviation(self, setting: Setting, column: Column) -> float | None:
        """Return the standard deviation over seeds (n - 1), or None for fewer than two seeds."""
        values = self.values(setting, column.output, column.metric.name)
        return statistics.stdev(values) * column.metric.scale if len(values) > 1 else None

    def best(self, column: Column) -> tuple[float | None, float | None]:
        """Return the best of ours and of the paper's values in a column; None where fewer than two compare."""
        ours = [self.mean(setting, column) for setting in self.settings]
        published = [column.published_value(setting) for setting in self.settings]
        bests = []
        for values in (ours, published):
            defined = [value for value in values if value is not None]
            bests.append(column.metric.best(defined) if len(defined) > 1 else None)
        return bests[0], bests[1]

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

    # --- rows --------------------------------------------------------------------------------------------------------

    def shows_ours(self, column: Column) -> bool:
        """Return whether a column has three parts: ours, the paper's, the difference; else it has the paper's alone."""
        return column.split == "test" or any(line.output == column.output for line in self.lines)

    def header(self) -> list[str]:
        """Return the titles of `rows`."""
        titles = ["strong", "weak"]
        for column in COLUMNS:
            titles += [column.heading, "paper", "diff"] if self.shows_ours(column) else [f"{column.heading}, paper"]
        return titles

    def rows(self, mark: Mark = _mark_nothing, plus_minus: str = " ± ") -> list[list[str]]:
        """Return for each setting: strong, weak, then for each column ours, the paper's, the difference."""
        rows = []
        for setting in self.settings:
            row = [f"{setting[0]:g}", f"{setting[1]:g}"]
            for column in COLUMNS:
                ours, published = self.mean(setting, column), column.published_value(setting)
                best, best_published = self.best(column)
                spread, digits = self.deviation(setting, column), column.metric.digits
                text = _number(ours, digits) + ("" if spread is None else f"{plus_minus}{spread:.{digits}f}")
                parts = [mark(_number(published, digits), published is not None and published == best_published)]
                if self.shows_ours(column):
                    difference = None if ours is None or published is None else ours - published
                    parts = [mark(text, ours is not None and ours == best), *parts, _number(difference, digits, "+")]
                row += parts
            rows.append(row)
        return rows

    def foot(self) -> list[list[str]]:
        """Return the rows below the settings: best of the challenge, baselines, rank correlation with the paper."""
        challenge, ranks = ["best of the challenge", ""], ["rank correlation", ""]
        baselines = {name: [name, ""] for name in self.baselines or {}}
        for column in COLUMNS:
            best, rank = column.challenge_best, self.rank_correlation(column)
            best_text = "" if best is None else f"{best:.{column.metric.digits}f}"
            if not self.shows_ours(column):
                challenge.append(best_text)
                for row in (*baselines.values(), ranks):
                    row.append("")
                continue
            challenge += ["", best_text, ""]
            for name, row in baselines.items():
                value = (self.baselines or {})[name].get(column.key)
                row += [column.metric.format(value), "", ""]
            ranks += [_number(rank, 2, "+"), "", ""]
        return [challenge, *baselines.values(), ranks]

    # --- views -------------------------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """Return the table for a terminal; ``*`` marks the best values."""
        header, foot = self.header(), self.foot()
        body = self.rows(lambda text, is_best: f"{text}*" if is_best else text)
        name_width = max([len("strong  weak"), *(len(row[0]) for row in foot)])  # names of the foot span the weights

        def cell(row: Sequence[str], index: int) -> str:
            text = row[index].rstrip("* ")
            width = max(len(other[index].rstrip("* ")) for other in (header, *body, *foot))
            return text.rjust(width) + ("*" if row[index].endswith("*") else " ")

        def line(name: str, row: Sequence[str]) -> str:
            groups, index = [name.ljust(name_width)], 2
            for column in COLUMNS:
                n_parts = 3 if self.shows_ours(column) else 1
                cells = [cell(row, index + part) for part in range(n_parts)]
                groups.append(" ".join(cells)[:-1] if n_parts == 3 else cells[0])  # differences are never marked
                index += n_parts
            return " | ".join(groups)

        head = line("strong  weak", header)
        lines = [self.caption] if self.caption else []
        lines += [head, "-" * len(head)]
        lines += [line(f"{row[0]:>6}  {row[1]:>4}", row) for row in body]
        lines += ["-" * len(head), *(line(row[0], row) for row in foot), f"* best of its column. {_NOTE}"]
        return "\n".join(text.rstrip() for text in lines) + "\n"

    def to_csv(self) -> str:
        """Return the table as CSV, means and deviations in columns of their own."""
        header = ["strong", "weak"]
        for column in COLUMNS:
            header += [f"{column.output}_{column.metric.name}_{part}" for part in ("mean", "sd", "n", "paper")]
        rows = []
        for setting in self.settings:
            row: list[Any] = [f"{setting[0]:g}", f"{setting[1]:g}"]
            for column in COLUMNS:
                mean, spread = self.mean(setting, column), self.deviation(setting, column)
                published = column.published_value(setting)
                row.append("" if mean is None else f"{mean:.4f}")
                row.append("" if spread is None else f"{spread:.4f}")
                row.append(len(self.values(setting, column.output, column.metric.name)))
                row.append("" if published is None else published)
            rows.append(row)
        return csv_text(header, rows)

    def to_markdown(self) -> str:
        """Return the table as Markdown; the best values are bold."""
        body = [*self.rows(lambda text, is_best: f"**{text}**" if is_best else text), *self.foot()]
        rows = [[_plain_markdown(row[0]), *row[1:]] for row in body]
        caption = f"{_plain_markdown(self.caption)}\n\n" if self.caption else ""
        return f"{caption}{markdown_table(self.header(), rows)}\n{_NOTE}\n"

    def to_latex(self) -> str:
        """Return the table as LaTeX (package booktabs); the best values are bold."""

        def lines(rows: Iterable[Sequence[str]]) -> list[str]:
            return [" & ".join([escape_latex(row[0]), *row[1:]]) + r" \\" for row in rows]

        header = self.header()
        body = self.rows(lambda text, is_best: f"\\textbf{{{text}}}" if is_best else text, plus_minus=r"$\pm$")
        caption = escape_latex(f"{self.caption} {_NOTE}".strip())
        parts = [
            r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{'r' * len(header)}}}", r"\toprule",
            *lines([header]), r"\midrule", *lines(body), r"\midrule", *lines(self.foot()), r"\bottomrule",
            r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}",
        ]  # fmt: skip
        return "\n".join(parts) + "\n"

    def _repr_html_(self) -> str:
        def line(row: Sequence[str], tag: str = "td") -> str:
            cells = [html.escape(row[0]), *row[1:]]
            return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in cells) + "</tr>"

        rows = [*self.rows(lambda text, is_best: f"<b>{text}</b>" if is_best else text), *self.foot()]
        head, body = line(self.header(), "th"), "".join(map(line, rows))
        caption = html.escape(f"{self.caption} {_NOTE}".strip())
        return f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"


def _plain_markdown(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
