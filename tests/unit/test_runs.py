"""Run and grid folders: read as they are, refused in one clear line, continued only as the same run."""

import dataclasses
import math
import shutil

import msgspec
import pytest
from helpers import TINY, make_events, make_store, small_config
from run_factory import make_experiment, make_run, tiny_config

from crnn_weak.config import to_toml
from crnn_weak.errors import RunError
from crnn_weak.files import relative_path, write_json, write_text
from crnn_weak.labels.events import Event
from crnn_weak.run_files import read_history
from crnn_weak.runs.folders import Grid, Run, open_any, open_grid, open_run
from crnn_weak.runs.train import train_and_score

CLASSES = ("bell", "drill")
CONFIG = small_config()


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return open_grid(make_experiment(tmp_path_factory.mktemp("runs"), seeds=(0, 1), sound=True))


def test_a_grid_and_its_runs_say_what_their_files_say(grid):
    assert grid.settings == [(0.02, 1.0), (1.0, 1.0), (1.0, 0.02)]
    assert grid.seeds == [0, 1]
    assert len(grid.runs) == 6
    assert grid.best_setting() == (1.0, 0.02)  # made with the best scores
    assert grid.table.baselines["nothing"]["segment/error_rate"] == 1.0
    assert "11 of 12 clips" in grid.table.caption
    assert "other data" in grid.table.caption
    assert isinstance(open_any(grid.path), Grid)
    assert isinstance(open_any(grid.path / "1_1" / "seed-0"), Run)
    run = grid.run((1.0, 1.0), seed=1)
    assert (run.setting, run.seed, run.best_epoch) == ((1.0, 1.0), 1, 3)
    assert run.name == "experiment/1_1/seed-1"
    assert run.classes == ("bell", "drill", "rain")
    assert len(run.scores) == run.metrics["n_clips"] == 11
    assert set(run.detected_events) <= set(run.scores.clip_ids)
    assert run.audio_path("clip-00000").is_file()
    assert run.audio_path("no such clip") is None
    with run.open_store() as store:
        assert store.n_listed == 12
    with pytest.raises(RunError, match=r"store of split 'train' is gone \(not named"):
        run.open_store("train")


@pytest.mark.parametrize("how", ["link to the folder above", "moved to a link", "moved", "copied", "gone"])
def test_a_store_is_found_behind_links_and_where_it_was_moved(grid, tmp_path, monkeypatch, how):
    """A project with its cache, one of whose folders is a link, or that was moved, or whose run alone was copied."""
    project, disk = tmp_path / "project", tmp_path / "disk"
    (project / "cache" / "features-x").mkdir(parents=True)
    disk.mkdir()
    run, store = project / "runs" / "a", project / "cache" / "features-x" / "test.h5"
    if how == "link to the folder above":
        (project / "runs").symlink_to(disk)
    shutil.copytree(grid.path / "1_1" / "seed-0", run)
    shutil.copyfile(grid.run((1.0, 1.0)).open_store().path, store)
    write_json(run / "data.json", {"test_store": relative_path(store, run.resolve())})
    if how == "moved to a link":
        run.rename(disk / "a")
        run.symlink_to(disk / "a")
    elif how == "moved":
        project.rename(tmp_path / "other")
        run = tmp_path / "other" / "runs" / "a"
    elif how in ("copied", "gone"):
        (disk / "deep").mkdir()
        run = shutil.copytree(run, disk / "deep" / "a")
        monkeypatch.setenv("CRNN_WEAK_CACHE", str(project / ("cache" if how == "copied" else "none")))
    if how == "gone":
        with pytest.raises(RunError, match=r"is gone \(.*test\.h5\)\. Set CRNN_WEAK_CACHE"):
            open_run(run).open_store()
    else:
        assert open_run(run).open_store().n_listed == 12


def test_unfinished_and_missing_folders_are_refused_in_one_line(grid, tmp_path):
    with grid.run((1.0, 1.0)).open_store() as store:
        make_run(tmp_path / "half", store, finished=False)
        make_run(tmp_path / "part" / "1_1" / "seed-0", store)
    (tmp_path / "part" / "1_0.02" / "seed-0").mkdir(parents=True)
    (tmp_path / "part" / "config.toml").write_text(to_toml(tiny_config()))
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("experimnet", r"experimnet: no such run folder"),
        ("empty", r"expected one with config\.toml"),
        ("half", r"not finished \(4 of at most 4 epochs, not scored\)"),
        ("part", r"not finished \(1 of 2"),
    ):
        with pytest.raises(RunError, match=message):
            open_any(tmp_path / name)
    assert not open_run(tmp_path / "half", unfinished=True).metrics
    with pytest.raises(RunError, match=r"no run of strong 3, weak 1, seed 0\. Runs: .*1:0\.02 seed 1"):
        grid.run((3.0, 1.0))


def test_a_history_without_validation_clips_is_read(tmp_path):
    names = "epoch,val_loss,strong_loss,weak_loss,val_strong_loss,val_weak_loss"
    (tmp_path / "history.csv").write_text(f"{names}\n1,,0.5,0.25,,\n")
    assert math.isnan(read_history(tmp_path / "history.csv")["val_loss"][0])


def write_store(folder, *, split="train", classes=CLASSES, **options):
    options = {"seed": 1, "first": 0 if split == "train" else 100, "name": f"{split}.h5", **options}
    with make_store(folder, 8, classes, split=split, **options) as store:
        return str(store.path)


@pytest.fixture
def run(tmp_path):
    """A run that was begun: its configuration and its identity are in its folder."""
    data = {f"{split}_store": write_store(tmp_path, split=split) for split in ("train", "test")}
    run = Run(tmp_path / "run", CONFIG, data, tmp_path)
    write_text(run.files.config, to_toml(CONFIG))
    write_json(run.files.identity, msgspec.to_builtins(run.identity))
    return run


def with_data(run, **stores):
    return dataclasses.replace(run, data={**run.data, **stores})


def refusal(run):
    """Return the message; nothing in the folder may change."""
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(RunError, match=r"--out.*--overwrite") as caught:
        run.check_continues()
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    return str(caught.value)


def test_the_same_run_a_longer_one_and_an_empty_folder_are_accepted(run, tmp_path):
    run.check_continues()
    dataclasses.replace(run, config=small_config(epochs=4)).check_continues()
    dataclasses.replace(run, path=tmp_path / "new", config=small_config(epochs=1)).check_continues()


@pytest.mark.parametrize("name", ["tags.tsv", "report.html", "best.keras"])
def test_a_folder_with_files_of_such_names_but_no_run_is_refused(run, tmp_path, name):
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / name).write_text("mine")
    yard = dataclasses.replace(run, path=tmp_path / "yard")
    for refused in (yard.check_continues, lambda: train_and_score(yard, overwrite=True)):
        with pytest.raises(RunError, match=f"yard: holds {name}, which would be replaced"):
            refused()
    assert (tmp_path / "yard" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("stored", "changes", "named"),
    [
        ({}, {"epochs": 2}, "training.epochs 3, now 2. A run can be given more epochs, not fewer"),
        ({}, {"seed": 1}, "training.seed 3, now 1"),
        ({}, {"epochs": 9, "batch_size": 8}, "training.batch_size 4, now 8"),
        ({"schedule": "cosine"}, {"epochs": 4}, "training.schedule=cosine depends on the number of epochs"),
        ({"loss_weighting": "linear"}, {"epochs": 4}, "3 epochs cannot be extended to 4"),
    ],
)
def test_other_settings_are_refused_by_name(run, stored, changes, named):
    write_text(run.files.config, to_toml(small_config(**stored)))
    assert named in refusal(dataclasses.replace(run, config=small_config(**stored, **changes)))


@pytest.mark.parametrize(("split", "words"), [("train", "training"), ("test", "test")])
@pytest.mark.parametrize("change", ["onset", "label", "clips", "no events"])
def test_other_data_are_refused(run, tmp_path, split, words, change):
    events = make_events(8, CLASSES, clip_seconds=TINY.clip_seconds, seed=1)
    (event, *others), options = events[0], {}
    if change == "onset":
        events[0] = (Event(event.onset + 0.01, event.offset, event.label), *others)
    elif change == "label":
        other = {"bell": "drill", "drill": "bell"}
        events[0] = tuple(Event(one.onset, one.offset, other[one.label]) for one in events[0])
    elif change == "no events":
        events[0] = ()
    else:
        options["first"] = 1 if split == "train" else 101
    (tmp_path / "other").mkdir()
    path = write_store(tmp_path / "other", split=split, events=events, **options)
    assert f"differs in its {words} clips or" in refusal(with_data(run, **{f"{split}_store": path}))


def test_clips_that_changed_sides_and_renamed_classes_are_refused_and_a_copy_of_the_data_is_not(run, tmp_path):
    for classes, firsts, named in (
        (CLASSES, (100, 0), "its training clips or their labels and its test clips"),
        (("bell", "hammer"), (0, 100), "its classes or their order"),
        (CLASSES, (0, 100), None),
    ):
        folder = tmp_path / f"{classes[1]}-{firsts[0]}"
        folder.mkdir()
        train = write_store(folder, classes=classes, first=firsts[0], provenance="in another folder")
        test = write_store(folder, split="test", classes=classes, first=firsts[1])
        other = with_data(run, train_store=train, test_store=test)
        if named is None:
            other.check_continues()
        else:
            assert named in refusal(other).replace("and in", "and")


def test_another_model_to_start_from_or_teacher_is_refused_and_a_copy_of_the_same_is_not(run, tmp_path):
    for name, content in (("a.keras", b"weights"), ("copy.keras", b"weights"), ("b.keras", b"other")):
        (tmp_path / name).write_bytes(content)
    names = ("a", "copy", "b")
    a, copy, b = (dataclasses.replace(run, initial_model=str(tmp_path / f"{name}.keras")) for name in names)
    assert "the model that it starts from (--from)" in refusal(a)
    write_json(run.files.identity, msgspec.to_builtins(a.identity))
    copy.check_continues()
    for other in (b, run):
        assert "--from" in refusal(other)
    write_json(run.files.identity, msgspec.to_builtins(run.identity) | {"teacher": "d" * 32})
    assert "strong targets (targets.teacher)" in refusal(run)
    write_json(run.files.identity, {"classes": 3})
    assert "identity.json: " in refusal(run)


def test_a_run_is_up_to_date_when_all_that_its_data_name_is_scored(run):
    assert not run.is_up_to_date()
    metrics = {"n_clips": 8, "n_listed": 8, "tagging": {"precision": 0, "recall": 0, "f_score": 0, "class_wise": {}}}
    write_json(run.files.metrics, metrics)
    assert run.is_up_to_date()
    assert not dataclasses.replace(run, config=small_config(epochs=4)).is_up_to_date()
    with_evaluation = with_data(run, evaluation_store="evaluation.h5")
    assert not with_evaluation.is_up_to_date()
    write_json(run.files.metrics, metrics | {"evaluation": metrics})
    assert with_evaluation.is_up_to_date()
