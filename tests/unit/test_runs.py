"""Run and grid folders: read as they are, refused in one clear line."""

import json

import pytest
from run_factory import make_experiment, make_run, tiny_config

from crnn_weak.config import to_toml
from crnn_weak.errors import RunError
from crnn_weak.runs.folders import Grid, Run, open_any, open_grid, open_run
from crnn_weak.runs.scores import detected_events


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return open_grid(make_experiment(tmp_path_factory.mktemp("runs"), seeds=(0, 1), sound=True))


def test_a_grid_says_what_its_files_say(grid):
    assert grid.settings == [(0.02, 1.0), (1.0, 1.0), (1.0, 0.02)]
    assert grid.seeds == [0, 1]
    assert len(grid.runs) == 6
    assert grid.best_setting() == (1.0, 0.02)  # made with the best scores
    assert grid.table.baselines["nothing"]["segment/error_rate"] == 1.0
    assert "11 of 12 clips" in grid.table.caption
    assert "other data" in grid.table.caption
    assert isinstance(open_any(grid.path), Grid)
    assert isinstance(open_any(grid.path / "1_1" / "seed-0"), Run)


def test_a_run_opens_its_files_when_asked(grid):
    run = grid.run((1.0, 1.0), seed=1)
    assert run.setting == (1.0, 1.0)
    assert (run.seed, run.is_scored(), run.best_epoch) == (1, True, 3)
    assert run.name == "experiment/1_1/seed-1"
    assert run.classes == ("bell", "drill", "rain")
    assert len(run.scores) == run.metrics["n_clips"] == 11
    assert set(detected_events(run)) <= set(run.scores.clip_ids)
    assert run.audio_path("clip-00000").is_file()
    assert run.audio_path("no such clip") is None
    with run.open_store() as store:
        assert store.n_listed == 12
    with pytest.raises(RunError, match=r"store of split 'train' is gone \(not named"):
        run.open_store("train")


def test_unfinished_and_missing_folders_are_refused_in_one_line(grid, tmp_path):
    with pytest.raises(RunError, match=r"experimnet: no such run folder"):
        open_any(grid.path.parent / "experimnet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"holds no config\.toml"):
        open_any(tmp_path / "empty")
    with grid.run((1.0, 1.0)).open_store() as store:
        make_run(tmp_path / "half", store, finished=False)
        make_run(tmp_path / "part" / "1_1" / "seed-0", store)
    with pytest.raises(RunError, match=r"not finished \(4 of at most 4 epochs, not scored\)"):
        open_any(tmp_path / "half")
    assert not open_run(tmp_path / "half", unfinished=True).is_scored()
    (tmp_path / "part" / "1_0.02" / "seed-0").mkdir(parents=True)
    (tmp_path / "part" / "config.toml").write_text(to_toml(tiny_config()))
    with pytest.raises(RunError, match=r"not finished \(1 of 2"):
        open_any(tmp_path / "part")
    with pytest.raises(RunError, match=r"no run of strong 3, weak 1, seed 0\. Runs: .*1:0\.02 seed 1"):
        grid.run((3.0, 1.0))


def test_damaged_files_are_named(grid, tmp_path):
    run = grid.run((1.0, 1.0))
    (tmp_path / "config.toml").write_bytes((run.path / "config.toml").read_bytes())
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"metrics\.json: input data was truncated"):
        open_run(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps({"tagging": {}}))
    with pytest.raises(RunError, match=r"metrics\.json: .*missing required field"):
        open_run(tmp_path)
    (tmp_path / "metrics.json").write_bytes((run.path / "metrics.json").read_bytes())
    (tmp_path / "history.csv").write_text("epoch,loss\n1,high\n")
    with pytest.raises(RunError, match=r"history\.csv: not a history"):
        assert open_run(tmp_path).history
