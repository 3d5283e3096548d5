"""Results in long form, ``results.csv`` with one line per value (fractions), and the table of them in several formats.

Several seeds give mean and standard deviation (n - 1). The best of each column is marked, among ours and the paper's.
"""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from crnn_weak import paper
from crnn_weak.config import Config
from crnn_weak.errors import RunError, visible
from crnn_weak.files import csv_text, markdown_table, read_bytes
from crnn_weak.metrics.summary import METRICS, Metric

#: The weights of the (strong, weak) loss.
Setting = tuple[float, float]

#: The columns of the paper's table; the last are the challenge submissions, scored on the evaluation set.
COLUMNS: tuple[Metric, ...] = (
    *(metric for metric in METRICS if metric.in_table),
    *(
        metric._replace(
            output=f"evaluation_{metric.output}",
            heading=f"challenge {metric.heading.removeprefix('SED ')}",
            published=f"challenge_{metric.published}",
        )
        for metric in METRICS
        if f"challenge_{metric.published}" in paper.CHALLENGE_BEST
    ),
)
_LATEX_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
_LATEX = str.maketrans(
    {sign: rf"\text{name}{{}}" for sign, name in _LATEX_NAMES.items()} | {sign: "\\" + sign for sign in "&%$#_{}"}
)
_CHALLENGE, _CORRELATION = "best of the challenge", "rank correlation"
_NOTE = "Best of the challenge: two different teams. Challenge columns are scores on the evaluation set."


def escape_latex(text: str) -> str:
    """Return the text for LaTeX, without any command of its own.

    >>> escape_latex("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return visible(text).translate(_LATEX)


class Result(NamedTuple):
    """One line of ``results.csv``; `value` is a fraction."""

    experiment: str
    strong_weight: float
    weak_weight: float
    seed: int
    output: str
    metric: str
    value: float
    n_clips: int
    config_fingerprint: str


def results_of_run(
    grid_name: str, setting: Setting, seed: int, metrics: Mapping[str, Any], config_fingerprint: str
) -> list[Result]:
    """Return the lines of one finished run; outputs that the data lack (no events) are skipped."""
    lines = []
    for prefix, of_split in (("", metrics), ("evaluation_", metrics.get("evaluation") or {})):
        for metric in METRICS:
            values = of_split.get(metric.output)
            if values is None:
                continue
            value = values.get(metric.name)
            value = math.nan if value is None else float(value)
            key = (grid_name, *setting, seed, prefix + metric.output, metric.name)
            lines.append(Result(*key, value, int(of_split["n_clips"]), config_fingerprint))
    return lines


def write_results(lines: Iterable[Result]) -> str:
    """Return the text of ``results.csv``."""
    return csv_text(Result._fields, ((*line[:6], f"{line.value:.6g}", *line[7:]) for line in lines))


def read_results(path: str | Path) -> list[Result]:
    """Read ``results.csv``."""
    try:
        text = read_bytes(path, advice="Finish the grid first: the same command resumes it.").decode()
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if tuple(header) != Result._fields:
            raise ValueError(f"its columns are {', '.join(header)}")
        return [msgspec.convert(row, Result, strict=False) for row in rows]
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a results file ({error}).") from None


def table_caption(config: Config, data: Mapping[str, Any], seeds: Sequence[int], tuned: str = "") -> str:
    """Return a table's caption; `tuned` describes an operating point other than that of the configuration."""
    counts = data.get("coverage", {}).items()
    clips = ", ".join(f"{split} {count['n_clips']:,} of {count['n_listed']:,} clips" for split, count in counts)
    provenance = str(data.get("provenance") or config.data.source).rstrip(".")
    point = config.operating_point
    how = f"Tags: weak scores above {point.threshold:g}"
    how += ", at least the likeliest class of each clip" * point.min_tags
    how = f"Operating point: {tuned}" if tuned else how
    untagged = "".join(
        f"; {count['untagged']:,} {split} clips have no true tag" for split, count in counts if count.get("untagged")
    )
    note = " The paper's values are of DCASE 2017 task 4, other data." * (config.data.source in ("street", "scenes"))
    return (
        f"{provenance}; {clips}; preset {config.preset}, head {config.model.weak_head}, {config.training.epochs} "
        f"epochs at most, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}. "
        f"{how}{untagged}. Tagging scored by scikit-learn, detection by sed_eval.{note}"
    )


def published_value(setting: Setting, column: Metric) -> float | None:
    """Return the paper's value, in the unit shown; None if it has none."""
    row = next((row for row in paper.RESULTS if (row.strong, row.weak) == setting), None)
    return getattr(row, column.published) if row is not None and column.published else None


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def _best(column: Metric, values: Iterable[float | None]) -> float | None:
    """Return the best of a column; None where no two differ."""
    pick = max if column.higher_is_better else min
    defined = {value for value in values if value is not None}
    return pick(defined) if len(defined) > 1 else None


@dataclass(frozen=True)
class ResultsTable:
    """The seven-row table (or any rows) of results."""

    lines: Sequence[Result]
    caption: str = ""
    baselines: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)  # by name, "output/metric"
    published: str = "the paper"  # what its values are called; "": none are shown
    short: bool = False  # fits a page's width

    @classmethod
    def of_data(
        cls, config: Config, data: Mapping[str, Any], lines: Sequence[Result], *args: Any, tuned: str = ""
    ) -> ResultsTable:
        """Return the table of a run or a grid on these data (`RunData`); own clips have no published values."""
        other = dict.fromkeys(("street", "scenes"), "the paper, other data")
        published = {"dcase2017_task4": "the paper", **other}.get(config.data.source, "")
        table = cls(lines, "", *args)
        return dataclasses.replace(table, published=published, caption=table_caption(config, data, table.seeds, tuned))

    @property
    def settings(self) -> list[Setting]:
        """The (strong, weak) weights that occur, by ascending ratio of strong to weak."""
        found = {(line.strong_weight, line.weak_weight) for line in self.lines}
        return sorted(found, key=lambda setting: setting[0] / setting[1] if setting[1] else math.inf)

    @property
    def seeds(self) -> list[int]:
        """The seeds that occur, ascending."""
        return sorted({line.seed for line in self.lines})

    def values(self, setting: Setting, output: str, metric: str) -> list[float]:
        """Return one metric of one setting as fractions, seed by seed."""
        return [
            line.value
            for line in self.lines
            if (line.strong_weight, line.weak_weight, line.output, line.metric) == (*setting, output, metric)
            and not math.isnan(line.value)
        ]

    def mean(self, setting: Setting, column: Metric) -> float | None:
        """Return the mean over seeds, in the unit shown, or None if it was not measured."""
        values = self.values(setting, column.output, column.name)
        return statistics.fmean(values) * column.scale if values else None

    def deviation(self, setting: Setting, column: Metric) -> float | None:
        """Return the standard deviation over seeds (n - 1), or None for fewer than two seeds."""
        values = self.values(setting, column.output, column.name)
        return statistics.stdev(values) * column.scale if len(values) > 1 else None

    def rank_correlation(self, column: Metric) -> float | None:
        """Return Spearman's rank correlation of a column with the paper's, over the settings that both have."""
        pairs = []
        for setting in self.settings:
            published, ours = published_value(setting, column), self.mean(setting, column)
            if published is not None and ours is not None:
                pairs.append((published, ours))
        if len(pairs) < 3 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
            return None
        from scipy.stats import spearmanr

        return float(spearmanr(*zip(*pairs, strict=True)).statistic)

    @property
    def columns(self) -> dict[Metric, tuple[str, ...]]:
        """The columns and their parts: ours, the paper's, the difference; without published values ours alone.

        A challenge column that was not measured has the paper's alone. The short table has the paper's columns.
        """
        measured = {(line.output, line.metric) for line in self.lines}
        found: dict[Metric, tuple[str, ...]] = {}
        for column in COLUMNS:
            is_measured = (column.output, column.name) in measured
            if not self.published:
                if is_measured and (column.published or not self.short):
                    found[column] = ("ours",)
            elif self.short:
                if column in METRICS and column.published:
                    found[column] = ("ours", "paper") if column.name in ("f_score", "error_rate") else ("ours",)
            elif column.published and (column in METRICS or is_measured):
                found[column] = ("ours", "paper", "diff")
            elif column.published or is_measured:
                found[column] = ("paper",) if column.published else ("ours",)
        return found

    def header(self) -> list[str]:
        """Return the titles of `rows`."""
        titles = ["strong", "weak"]
        for column, parts in self.columns.items():
            titles += [f"{column.heading}, paper"] if parts == ("paper",) else [column.heading, *parts[1:]]
        return titles

    def rows(self, best: str = "{}", plus_minus: str = " ± ") -> list[list[str]]:
        """Return for each setting: strong, weak, then the parts of each column; `best` is the format of best values."""
        rows = [[f"{strong:g}", f"{weak:g}"] for strong, weak in self.settings]
        for column, parts in self.columns.items():
            digits = column.digits
            means = [self.mean(setting, column) for setting in self.settings]
            published = [published_value(setting, column) for setting in self.settings]
            best_mean, best_published = _best(column, means), _best(column, published)
            for row, setting, ours, theirs in zip(rows, self.settings, means, published, strict=True):
                text, published_text = _number(ours, digits), _number(theirs, digits)
                spread = self.deviation(setting, column)
                if spread is not None and not self.short:
                    text += f"{plus_minus}{spread:.{digits}f}"
                if ours is not None and ours == best_mean:
                    text = best.format(text)
                if theirs is not None and theirs == best_published:
                    published_text = best.format(published_text)
                difference = None if ours is None or theirs is None else ours - theirs
                texts = {"ours": text, "paper": published_text, "diff": _number(difference, digits, "+")}
                row += [texts[part] for part in parts]
        return rows

    def foot(self) -> list[list[str]]:
        """Return the rows below the settings: best of the challenge, baselines, rank correlation with the paper."""
        names = [_CHALLENGE, *self.baselines, _CORRELATION]
        rows = [[name, ""] for name in names]
        for column, parts in self.columns.items():
            challenge_best = paper.CHALLENGE_BEST.get(column.published)
            texts = [{"paper": "" if challenge_best is None else _number(challenge_best, column.digits)}]
            texts += [{"ours": column.format(values.get(column.key))} for values in self.baselines.values()]
            texts += [{"ours": _number(self.rank_correlation(column), 2, "+") if column.published else ""}]
            for row, text in zip(rows, texts, strict=True):
                row += [text.get(part, "") for part in parts]
        absent = {_CHALLENGE} if self.short else set()
        absent |= set() if self.published else {_CHALLENGE, _CORRELATION}
        shown = {column.key for column in self.columns}  # fewer in the short layout
        absent |= {name for name, values in self.baselines.items() if values and not shown & values.keys()}
        return [row for row in rows if row[0] not in absent]

    @property
    def note(self) -> str:
        """A sentence below the table, if it has columns of the challenge."""
        return _NOTE if self.published and not self.short else ""

    def to_text(self) -> str:
        """Return the table for a terminal; ``*`` marks the best values."""
        header, body, foot = self.header(), self.rows(best="{}*"), self.foot()
        name_width = max([len("strong  weak"), *(len(row[0]) for row in foot)])  # names of the foot span the weights
        widths = [max(len(text.rstrip("*")) for text in column) for column in zip(header, *body, *foot, strict=True)]

        def line(name: str, row: Sequence[str]) -> str:
            cells = []
            for text, width in zip(row, widths, strict=True):
                cells.append(text.rstrip("*").rjust(width) + ("*" if text.endswith("*") else " "))
            groups, index = [name.ljust(name_width)], 2
            for parts in self.columns.values():
                group = " ".join(cells[index : index + len(parts)])
                groups.append(group[:-1] if "diff" in parts else group)  # differences are never marked
                index += len(parts)
            return " | ".join(groups)

        head = line("strong  weak", header)
        rule = "-" * len(head)
        lines = textwrap.wrap(self.caption, len(head) if self.short else len(self.caption) + 1)
        lines += [head, rule, *(line(f"{row[0]:>6}  {row[1]:>4}", row) for row in body)]
        lines += [rule, *(line(row[0], row) for row in foot), f"* best of its column. {self.note}"]
        return "\n".join(text.rstrip() for text in lines) + "\n"

    def to_csv(self) -> str:
        """Return the table as CSV, means and deviations in columns of their own."""
        header = ["strong", "weak"]
        for column in self.columns:
            header += [f"{column.output}_{column.name}_{part}" for part in ("mean", "sd", "n")]
            header += [f"{column.output}_{column.name}_paper"] if self.published else []
        rows = []
        for setting in self.settings:
            row: list[Any] = [f"{weight:g}" for weight in setting]
            for column in self.columns:
                values = self.mean(setting, column), self.deviation(setting, column)
                row += ["" if value is None else f"{value:.4f}" for value in values]
                row.append(len(self.values(setting, column.output, column.name)))
                row += [published_value(setting, column)] if self.published else []
            rows.append(row)
        return csv_text(header, rows)

    def to_markdown(self) -> str:
        """Return the table as Markdown; the best values are bold."""
        rows = [[_plain_markdown(row[0]), *row[1:]] for row in [*self.rows(best="**{}**"), *self.foot()]]
        caption = f"{_plain_markdown(self.caption)}\n\n" if self.caption else ""
        return f"{caption}{markdown_table(self.header(), rows)}\n{self.note}\n"

    def to_latex(self) -> str:
        """Return the table as LaTeX (package booktabs); the best values are bold."""

        def lines(rows: Iterable[Sequence[str]]) -> list[str]:
            return [" & ".join([escape_latex(row[0]), *row[1:]]) + r" \\" for row in rows]

        header, body = self.header(), self.rows(best=r"\textbf{{{}}}", plus_minus=r"$\pm$")
        caption = escape_latex(f"{self.caption} {self.note}".strip())
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

        body = "".join(line(row) for row in [*self.rows(best="<b>{}</b>"), *self.foot()])
        caption = html.escape(f"{self.caption} {self.note}".strip())
        head = line(self.header(), "th")
        return f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"


def _plain_markdown(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
