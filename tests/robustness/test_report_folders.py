"""Reports of damaged and hostile run folders: a whole page, or one line and the old page."""

from __future__ import annotations

import random
import re
import shutil

import pytest
from mutations import damage_file
from run_factory import NASTY, make_experiment

from crnn_weak.errors import CrnnWeakError
from crnn_weak.report.model_card import model_card
from crnn_weak.report.page import write_report
from crnn_weak.runs.folders import open_any

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return make_experiment(tmp_path_factory.mktemp("made"), settings=((1.0, 1.0),), classes=NASTY, n_clips=6)


@pytest.mark.parametrize("seeds", [range(12), pytest.param(range(1000, 1100), marks=pytest.mark.slow)])
def test_a_damaged_folder_gives_a_whole_page_or_one_line(experiment, tmp_path, seeds):
    made, page = tmp_path / "made", tmp_path / "page.html"
    path, n_written = made / experiment.name, 0
    for seed in seeds:
        rng = random.Random(seed)
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(experiment.parent, made)
        damage_file(rng.choice(sorted(file for file in path.rglob("*") if file.is_file())), rng)
        page.write_text("old")
        opened = path if rng.random() < 0.6 else path / "1_1" / "seed-0"
        card = message = ""
        try:
            write_report(opened, out=page, n_clips=1)
            run = open_any(opened)
            card = model_card(run.run(run.best_setting()) if hasattr(run, "best_setting") else run)
        except CrnnWeakError as error:
            message = str(error)
        assert "\n" not in message
        text = page.read_text(encoding="utf-8")
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["made", "page.html"]
        if text != "old":
            n_written += 1
            assert text.rstrip().endswith("</html>")
            assert text.count("<script") == 1
            assert not re.search(r"<[^>]*\son\w+=", text)  # no attribute that would run
            assert "<" not in card
    assert 0.1 * len(seeds) < n_written < 0.9 * len(seeds)
