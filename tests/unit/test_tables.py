"""The results table: means, spread, differences, views."""

import dataclasses
import math
import re

import pytest

from crnn_weak import paper
from crnn_weak.config import DATA_SETTINGS, preset
from crnn_weak.errors import RunError
from crnn_weak.metrics.summary import find_metric
from crnn_weak.runs import table as tables
from crnn_weak.runs.table import COLUMNS, Result, ResultsTable, read_results, results_of_run


def line(strong, weak, seed, output, metric, value):
    return Result("made", strong, weak, seed, output, metric, value, 10, "0" * 12)


@pytest.fixture
def published():
    """A table whose every figure is the paper's own."""
    lines = []
    for row in paper.RESULTS:
        for column in COLUMNS:
            value = tables.published_value((row.strong, row.weak), column)
            if value is not None:
                lines.append(line(row.strong, row.weak, 0, column.output, column.name, value / column.scale))
    return ResultsTable(lines, "the paper's own 100 % & more")


def test_the_papers_own_values_differ_by_nothing(published):
    assert published.settings == [(row.strong, row.weak) for row in paper.RESULTS]
    for row in published.rows():
        assert row[2] == row[3]
        assert {text.lstrip("+-") for text in row[4::3]} <= {"0.0", "0.00", ""}
    for column in published.columns:
        assert published.rank_correlation(column) == pytest.approx(1.0)


def test_a_column_that_the_paper_lacks_shows_ours_alone(monkeypatch):
    monkeypatch.setattr(tables, "COLUMNS", (find_metric("event", "f_score"),))
    table = ResultsTable([line(1, 1, 0, "event", "f_score", 0.25)])
    assert (table.header()[2:], table.rows()) == (["event F"], [["1", "1", "25.0"]])
    assert "25.0" in table.to_markdown()
    monkeypatch.setattr(tables, "COLUMNS", (find_metric("timing_gain", "f_score"),))
    assert table.header()[2:] == []  # a control that was not measured has no column


def test_several_seeds_give_mean_and_deviation_and_what_is_missing_is_a_dash():
    table = ResultsTable([line(1, 1, seed, "segment", "f_score", value) for seed, value in enumerate((0.2, 0.4))])
    column = COLUMNS[4]
    assert table.mean((1, 1), column) == pytest.approx(30.0)
    assert table.deviation((1, 1), column) == pytest.approx(math.sqrt(200.0))
    assert "30.0 ± 14.1" in table.to_text()
    table = ResultsTable([line(1, 1, 0, "tagging", "precision", math.nan), line(3, 1, 0, "tagging", "recall", 0.5)])
    assert [row[2:5] for row in table.rows()] == [["-", "47.5", "-"], ["-", "-", "-"]]
    assert table.rank_correlation(COLUMNS[0]) is None


def test_the_long_form_round_trips(tmp_path, published):
    path = tmp_path / "results.csv"
    path.write_text(tables.write_results(published.lines))
    for read, written in zip(read_results(path), published.lines, strict=True):
        assert read._replace(value=0) == written._replace(value=0)
        assert read.value == pytest.approx(written.value, rel=1e-5)
    with pytest.raises(RunError, match="Finish the grid first"):
        read_results(tmp_path / "missing.csv")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="not a results file"):
        read_results(path)
    # A run has lines for the outputs and sets that were scored.
    scores = {"precision": 0.5, "recall": 0.5, "f_score": 0.5}
    metrics = {"n_clips": 3, "tagging": scores, "segment": None, "event": None}
    assert {result.output for result in results_of_run("x", (1, 1), 0, metrics, "0")} == {"tagging"}
    metrics["evaluation"] = {"n_clips": 7, "tagging": scores, "segment": None}
    found = {(result.output, result.n_clips) for result in results_of_run("x", (1, 1), 0, metrics, "0")}
    assert found == {("tagging", 3), ("evaluation_tagging", 7)}


@pytest.mark.parametrize(
    ("preset_name", "n_untagged", "text"),
    [
        ("quick", 0, "Tags: weak scores above 0.5, at least the likeliest class of each clip. Tagging"),
        ("recommended", 0, "Tags: weak scores above 0.5. Tagging"),
        ("quick", 3, "likeliest class of each clip; 3 test clips have no true tag. Tagging"),
    ],
)
def test_the_caption_says_how_clips_are_tagged(preset_name, n_untagged, text):
    data = {"coverage": {"test": {"n_clips": 9, "n_listed": 9, "untagged": n_untagged}}}
    assert text in tables.table_caption(preset(preset_name), data, [0])


def test_challenge_columns_show_the_papers_values_and_the_best_of_the_challenge():
    table = ResultsTable([line(row.strong, row.weak, 0, "tagging", "f_score", 0.5) for row in paper.RESULTS])
    assert [row[-2] for row in table.rows()] == ["-", "-", "46.6", "45.5", "44.5", "-", "26.3"]
    assert [row[-1] for row in table.rows()] == ["-", "-", "0.80", "0.81", "0.82", "-", "0.79"]
    assert [row[-2:] for row in table.foot()] == [["55.6", "0.66"], ["", ""]]
    assert table.header()[-2:] == ["challenge tag F, paper", "challenge ER, paper"]
    for view in (table.to_text(), table.to_markdown(), table.to_latex(), table._repr_html_()):
        assert all(value in view for value in ("46.6", "45.5", "44.5", "26.3", "0.82", "55.6", "0.66"))
        assert "two different teams" in view
    # Ours, where the evaluation set was scored.
    table = ResultsTable([line(0.2, 1, seed, "evaluation_tagging", "f_score", 0.5 + seed / 10) for seed in (0, 1)])
    assert table.rows()[0][-4:-1] == ["55.0 ± 7.1", "46.6", "+8.4"]
    assert "challenge tag F" in table.header()


def test_the_best_of_each_column_is_marked_in_every_view(published):
    text = published.to_text()
    assert "0.81*" in text
    assert "42.4*" in text
    assert "41.1*" not in text
    assert "**42.4**" in published.to_markdown()
    assert r"\textbf{42.4}" in published.to_latex()
    assert "<b>42.4</b>" in published._repr_html_()
    error_rates = [row[11:13] for row in published.rows(best="{}*")]  # ours, the paper's
    assert error_rates[-2:] == [["0.81*", "0.81*"]] * 2  # the lowest; two settings share it
    assert not any(text.endswith("*") for row in error_rates[:-2] for text in row)
    alone = ResultsTable([line(1, 1, 0, "segment", "f_score", 0.5)])  # one setting has no best, nor have equal ones
    zeros = ResultsTable([line(1, weak, 0, "tagging", "f_score", 0.0) for weak in (1, 2)])
    for table in (alone, zeros):
        assert not any(text.endswith("*") for row in table.rows(best="{}*") for text in row[:8])


def test_the_short_table_fits_a_page_and_own_clips_have_no_published_values(published):
    baselines = {"nothing": {"segment/error_rate": 1.0}}
    seeds = [line._replace(seed=seed) for seed in (0, 1) for line in published.lines]
    other = dataclasses.replace(published, lines=seeds, baselines=baselines, published="the paper, other data")
    short = dataclasses.replace(other, short=True, caption="words " * 40)
    assert " ".join(short.header()) == "strong weak tag P tag R tag F paper SED ER paper SED F paper"
    assert max(map(len, short.to_text().splitlines())) <= 90
    assert "pm" in other.to_latex()
    assert "pm" not in short.to_latex()  # no deviations
    assert [row[0] for row in short.foot()] == ["nothing", "rank correlation"]
    measured = [line for line in seeds if not line.output.startswith("evaluation")]
    own = dataclasses.replace(other, lines=measured, published="", caption="")
    for table in (own, dataclasses.replace(own, short=True)):
        for view in (table.to_text(), table.to_markdown(), table.to_latex(), table.to_csv(), table._repr_html_()):
            assert not re.search("paper|challenge|rank correlation", view)
        assert [row[0] for row in table.foot()] == ["nothing"]
    config = preset("quick")
    names = {}
    for source, settings in DATA_SETTINGS.items():
        table = ResultsTable.of_data(dataclasses.replace(config, data=settings()), {}, published.lines)
        names[source] = (table.published, "other data" in table.caption)
    other_data = ("the paper, other data", True)
    assert names == {
        "street": other_data, "scenes": other_data, "dcase2017_task4": ("the paper", False), "folder": ("", False)
    }  # fmt: skip


def test_names_and_captions_cannot_forge_cells_or_markup():
    baselines = {"a | b & c_{\\x} <script>\n| d": {}}
    caption = "<script>alert(1)</script>\n| forged \\input{x}"
    table = ResultsTable([line(1, 1, 0, "segment", "f_score", 0.5)], caption, baselines)
    markdown, latex = table.to_markdown(), table.to_latex()
    assert markdown.count("\n|") == 6
    assert r"a | b \& c\_\{\textbackslash{}x\}" in latex
    assert "<script" not in markdown + table._repr_html_()
    assert not [text for text in markdown.splitlines() if text.startswith("| forged")]
    assert "\\input" not in latex
