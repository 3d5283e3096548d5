"""README and docs: numbers are those of committed files, examples and tutorials run, words are ours."""

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from readme_table import readme_table
from stretched_tags import draw_tags

from crnn_weak.config import PRESETS

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "experiments" / "results"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TUTORIALS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.ipynb"))


def test_readme_is_short_its_table_is_the_committed_one_and_its_example_prints_what_it_shows(capsys):
    assert readme_table() in README
    assert len(README.splitlines()) < 250
    code, shown = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == shown


def test_random_tag_lists_have_the_counts_asked_for_and_no_empty_clip():
    true = np.eye(4, 5, dtype=bool)
    drawn = draw_tags(true, 1, 4, np.random.default_rng(0))
    assert (drawn.sum(), (drawn & true).sum()) == (4, 1)
    assert drawn.any(axis=1).all()


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in RESULTS.glob("*/table.csv")))
def test_every_table_follows_from_its_results(folder):
    from crnn_weak.runs.table import ResultsTable, read_results

    place = RESULTS / folder
    caption = (place / "table.txt").read_text(encoding="utf-8").splitlines()[0]
    baselines = json.loads((place / "baselines.json").read_text(encoding="utf-8"))
    table = ResultsTable(read_results(place / "results.csv"), caption, baselines)
    forms = {"csv": table.to_csv(), "md": table.to_markdown(), "tex": table.to_latex(), "txt": table.to_text()}
    for suffix, text in forms.items():
        assert (place / f"table.{suffix}").read_text(encoding="utf-8") == text, suffix


@pytest.mark.parametrize(
    ("data", "row"), [("scenes", "scenes of real recordings"), ("street", "synthetic street scenes")]
)
def test_the_gains_of_high_energy_targets_are_the_published_ones(data, row):
    from crnn_weak.runs.scores import read_design

    page = (REPOSITORY / "docs" / "beyond.md").read_text(encoding="utf-8")
    curves = read_design(REPOSITORY / "experiments" / "beyond.toml").curves
    settings = [name for curve in curves for name in curve]
    table = (RESULTS / "beyond" / data / "table.md").read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    rows = {name: values[:6] for name, _, *values in lines}  # tag F, segment F, event F, each tuned and untuned
    shown = {"tuned": [], "untuned": []}
    for column, ours in enumerate(rows["high_energy, 50 epochs"]):
        best = max((rows[name][column].split()[0] for name in settings), key=float)
        interval = re.search(r"\(.+: (.+), (.+)\)", ours)
        text = f"{ours.split()[0]} against {best}" + (" [{}, {}]".format(*interval.groups()) if interval else "")
        shown["tuned" if interval else "untuned"].append(text)
    assert f"| {row} | tuned | {' | '.join(shown['tuned'])} |\n| | untuned | {' | '.join(shown['untuned'])} |" in page


def test_the_numbers_of_the_page_beyond_the_paper_are_published():
    from crnn_weak.runs.scores import read_scores

    page = (REPOSITORY / "docs" / "beyond.md").read_text(encoding="utf-8").partition("## What was found")[2]
    tables = [p.read_text(encoding="utf-8") for p in RESULTS.glob("*/*/table.md")]
    cells = [line.strip("| ").split(" | ") for table in tables for line in table.splitlines() if line.startswith("|")]
    triples = {" / ".join(cell.split()[0] for cell in row[2:8:2]) for row in cells if all(row[2:8])}
    for path in (RESULTS / "beyond").glob("*/scores.json.gz"):  # of one seed
        for run in read_scores(path).runs:
            found_in_clips = [run.score.counts[metric] for metric in ("tagging", "segment", "event")]
            totals = [[sum(column) for column in zip(*counts, strict=True)] for counts in found_in_clips]
            triples.add(" / ".join(f"{200 * correct / (real + found):.1f}" for real, found, correct in totals))
    wanted = re.findall(r"\d+\.\d / \d+\.\d / \d+\.\d", page)
    assert len(wanted) > 5
    assert not [triple for triple in wanted if triple not in triples]


def test_the_differences_by_seed_of_that_page_follow_from_the_published_scores():
    from crnn_weak.runs.scores import compare, read_scores

    page = " ".join((REPOSITORY / "docs" / "beyond.md").read_text(encoding="utf-8").split())

    def differences(path, entry, base):
        entries = {}
        for run in read_scores(RESULTS / path / "scores.json.gz").runs:
            entries.setdefault(run.entry, {})[run.seed] = run.score
        pair, names = {name: entries[name] for name in (base, entry)}, ("tagging", "segment", "event")
        found = compare(pair, baselines=dict.fromkeys(names, base), n_resamples=1)
        rows = [(found[base][name].mean, *found[entry][name]) for name in names]
        return [
            [100 * value for value in (old, new, change, high - change)] for old, new, _, _, change, _, high in rows
        ]

    for n_clips in (50, 100, 200, 400):
        tags, segments, _ = differences("fine_tuning/scenes", f"tuned {n_clips}", f"scratch {n_clips}")
        row = [str(n_clips)]
        for old, new, change, half in (tags, segments):
            row += [f"{old:.1f}", f"{new:.1f}", f"{change:+.1f} ± {half:.1f}"]
        assert f"| {' | '.join(row)} |" in page
    rows = differences("beyond/street", "high_energy, 50 epochs", "max 0.2:1, 50 epochs")
    assert "{} ± {}, {} ± {} and {} ± {} points".format(*(f"{x:.1f}" for row in rows for x in row[2:])) in page


def test_the_page_on_training_length_shows_the_published_values():
    rows = {}
    for folder in ("street-paper-max_dense", "street-paper-max_dense-not-stopped"):  # a later one replaces
        with (RESULTS / folder / "table.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                names = ("tagging_f_score", "segment_error_rate", "segment_f_score")
                ours = [float(row[f"{name}_mean"]) for name in names]
                rows[f"{row['strong']}, {row['weak']}"] = "{:.1f} | {:.2f} | {:.1f}".format(*ours)
    page = (RESULTS / "training-length.md").read_text(encoding="utf-8").partition("### Not stopped")[2]
    shown = re.findall(r"^\| ([\d.]+, [\d.]+) \| (.+?) \| \d+ \(\d+\) \|", page, re.MULTILINE)
    assert len(shown) >= 5
    assert {name: rows[name] for name, _ in shown} == dict(shown)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_parameter_counts_are_those_of_the_models(preset):
    from crnn_weak.model.crnn import build_model

    page = (REPOSITORY / "docs" / "presets.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{preset}` |")]
    counts = [int(text.replace(",", "")) for text in re.findall(r"\d{2,3},\d{3}", row)]
    built = [
        sum(math.prod(weight.shape) for weight in build_model(preset, head=head).trainable_weights)
        for head in ("max", "max_dense")
    ]
    assert counts == built


def test_the_tables_of_benchmarks_and_plan_are_what_the_scripts_printed():
    summary = [sys.executable, str(REPOSITORY / "benchmarks" / "summary.py")]
    made = subprocess.run(summary, capture_output=True, text=True, check=True).stdout.strip()
    assert len(made.splitlines()) > 10
    assert made in (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8")
    printed = (REPOSITORY / "benchmarks" / "results" / "cost_model.txt").read_text(encoding="utf-8")
    page = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) == 18
    assert [row for row in rows if row not in page] == []


def test_every_link_leads_somewhere():
    for page in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("experiments/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:][^):]*)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}, which is not there"


def _pages():
    names = ("docs", "benchmarks", "experiments")
    return [*REPOSITORY.glob("*.md"), *(path for name in names for path in (REPOSITORY / name).rglob("*.md"))]


def test_sentences_are_short():
    lengths, long = [], []
    for path in _pages():
        if "table" in path.name:  # written by the package
            continue
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for block in re.split(r"\n\s*\n|\n(?=\s*[-*] )", text):
            if block.lstrip().startswith(("|", "#", "<", "!")):
                continue
            # A link is its text; what is quoted as code is one word.
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`[^`]*`", lambda found: found[1] or "x", " ".join(block.split()))
            for sentence in re.split(r"(?<=[.!?:])\s+(?=[A-Z*])", plain):
                lengths.append(len(sentence.split()))
                if lengths[-1] > 35:
                    long.append(f"{path.relative_to(REPOSITORY)}: {lengths[-1]} words: {sentence[:80]}")
    assert len(lengths) > 500
    assert long == []
    assert sum(lengths) / len(lengths) < 18


def test_no_word_to_avoid_is_used():
    lines = (REPOSITORY / "tests" / "words_to_avoid.txt").read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if line and not line.startswith("#")]
    assert words
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})s?\b", re.IGNORECASE)
    package = [path for suffix in ("py", "j2", "js") for path in (REPOSITORY / "crnn_weak").rglob(f"*.{suffix}")]
    found = [
        f"{path.relative_to(REPOSITORY)}:{number} {line.strip()[:100]}"
        for path in (*package, *_pages())
        if path.name != "CHANGELOG.md"  # it names earlier words
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_are_stored_with_the_outputs_of_one_run(path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert "image/png" in {kind for output in outputs for kind in output.get("data", ())}
    assert "error" not in {output["output_type"] for output in outputs}


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in str(output)]
