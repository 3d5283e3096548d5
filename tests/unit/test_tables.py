"""The results table: means, spread, differences, views."""

import csv
import math

import pytest

from crnn_weak import paper
from crnn_weak.errors import RunError
from crnn_weak.runs.results import COLUMNS, Result, ResultsTable, read_results, results_of_cell, write_results


def line(strong, weak, seed, output, metric, value):
    return Result("made", strong, weak, seed, output, metric, value, 10, "0" * 12)


@pytest.fixture
def published():
    """A table whose every figure is the paper's own."""
    lines = []
    for row in paper.RESULTS:
        for column in COLUMNS:
            value = getattr(row, column.published) / column.scale
            lines.append(line(row.strong, row.weak, 0, column.output, column.metric, value))
    return ResultsTable(lines, "the paper's own 100 % & more")


def test_the_papers_own_values_differ_by_nothing(published):
    for row in published.rows():
        assert row[2] == row[3]
        assert {text.lstrip("+-") for text in row[4::3]} <= {"0.0", "0.00"}
    for column in COLUMNS:
        assert published.rank_correlation(column) == pytest.approx(1.0)


def test_settings_run_from_the_weakest_strong_loss_to_the_strongest(published):
    assert published.settings == [(row.strong, row.weak) for row in paper.RESULTS]


def test_several_seeds_give_mean_and_deviation():
    table = ResultsTable([line(1, 1, seed, "segment", "f_score", value) for seed, value in enumerate((0.2, 0.4))])
    column = COLUMNS[-1]
    assert table.mean((1, 1), column) == pytest.approx(30.0)
    assert table.deviation((1, 1), column) == pytest.approx(math.sqrt(200.0))
    assert "30.0 ± 14.1" in table.to_text()


def test_what_is_not_a_number_or_not_there_is_a_dash():
    table = ResultsTable([line(1, 1, 0, "tagging", "precision", math.nan), line(3, 1, 0, "tagging", "recall", 0.5)])
    assert [row[2:5] for row in table.rows()] == [["-", "47.5", "-"], ["-", "-", "-"]]
    assert table.rank_correlation(COLUMNS[0]) is None


def test_the_long_form_round_trips(tmp_path, published):
    path = tmp_path / "results.csv"
    path.write_text(write_results(published.lines))
    for read, written in zip(read_results(path), published.lines, strict=True):
        assert read._replace(value=0) == written._replace(value=0)
        assert read.value == pytest.approx(written.value, rel=1e-5)
    with pytest.raises(RunError, match="no such results file"):
        read_results(tmp_path / "missing.csv")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="not a results file"):
        read_results(path)


def test_a_cell_without_events_has_no_detection_lines():
    metrics = {
        "n_clips": 3,
        "tagging": {"precision": 0.5, "recall": 0.5, "f_score": 0.5},
        "segment": None,
        "event": None,
    }
    assert {result.output for result in results_of_cell("x", (1, 1), 0, metrics, "0")} == {"tagging"}


def test_views_hold_every_row(published):
    assert len(list(csv.reader(published.to_csv().splitlines()))) == 8
    assert published.to_markdown().count("\n|") >= 9
    latex = published.to_latex()
    assert r"100 \% \& more" in latex
    assert latex.count(r"\\") == 2 + 7 + 1
    assert "&amp;" in published._repr_html_()


def test_baselines_stand_below():
    sticks = {"nothing": {("segment", "error_rate"): 1.0, ("segment", "f_score"): 0.0}}
    text = ResultsTable([line(1, 1, 0, "segment", "error_rate", 0.5)], baselines=sticks).to_text()
    assert text.splitlines()[-2].split("|")[0].strip() == "nothing"
    assert "1.00" in text.splitlines()[-2]
