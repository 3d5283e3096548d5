"""A run folder continues, or counts as done, only for the same settings, data, classes and initial model."""

import dataclasses
import logging

import numpy as np
import pytest
from helpers import TINY, make_events

from crnn_weak.config import Config, FeatureConfig, ModelConfig, TrainingConfig, load_config, to_toml
from crnn_weak.errors import RunError
from crnn_weak.features.build import StoreWriter
from crnn_weak.features.store import StoreHeader
from crnn_weak.files import write_json, write_text
from crnn_weak.labels.classes import tag_array
from crnn_weak.labels.events import Event
from crnn_weak.runs.identity import write_identity
from crnn_weak.runs.train_and_score import RunTask, check_tasks, is_done, train_and_score

CLASSES = ("bell", "drill")
CONFIG = Config(
    features=TINY,
    model=ModelConfig(n_filters=2, pools=(2,), gru_units=(2,), dense_units=2),
    training=TrainingConfig(epochs=3, batch_size=4),
)


def store(path, *, split="train", classes=CLASSES, first=0, events=None, provenance="made for tests"):
    """Write a store of eight silent clips, numbered from `first`."""
    listed = make_events(8, classes, clip_seconds=TINY.clip_seconds, seed=1) if events is None else events
    header = StoreHeader(
        features=TINY,
        classes=classes,
        clip_ids=tuple(f"clip-{row}" for row in range(first, first + 8)),
        tags=tag_array([[event.label for event in one] for one in listed], classes),
        events=tuple(listed),
        split=split,
        dataset="made",
        data_fingerprint="made",
        provenance=provenance,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = StoreWriter(path, header)
    for row in range(8):
        writer.write(row, np.zeros((TINY.n_frames, TINY.n_mels), np.float32), status="ok", duration=TINY.clip_seconds)
    writer.finish()
    return str(path)


@pytest.fixture
def task(tmp_path):
    """A run that was begun: its configuration and its identity are in its folder."""
    train = store(tmp_path / "data" / "train.h5")
    test = store(tmp_path / "data" / "test.h5", split="test", first=100)
    task = RunTask(CONFIG, train, test, str(tmp_path / "run"))
    write_text(task.files.config, to_toml(CONFIG))
    write_identity(task.files, task.identity())
    return task


def with_training(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


def refusal(task):
    """Return the message; both ways out are in it, and nothing in the folder has changed."""
    before = {path.name: path.read_bytes() for path in task.files.folder.iterdir()}
    with pytest.raises(RunError, match=r"--out.*--overwrite") as caught:
        check_tasks([task])
    assert {path.name: path.read_bytes() for path in task.files.folder.iterdir()} == before
    return str(caught.value)


def test_the_same_run_is_accepted(task):
    check_tasks([task])


@pytest.mark.parametrize("name", ["tags.tsv", "report.html", "best.keras"])
def test_a_folder_with_files_of_such_names_but_no_run_is_refused(task, tmp_path, name):
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / name).write_text("mine")
    yard = dataclasses.replace(task, folder=str(tmp_path / "yard"))
    for refused in (lambda: check_tasks([yard]), lambda: train_and_score(yard, overwrite=True)):
        with pytest.raises(RunError, match=f"yard: holds {name}, which would be replaced"):
            refused()
    assert (tmp_path / "yard" / name).read_text() == "mine"


def test_an_empty_folder_takes_any_run(task, tmp_path):
    check_tasks([dataclasses.replace(task, folder=str(tmp_path / "new"), config=with_training(epochs=1))])


def test_more_epochs_continue_a_run(task):
    check_tasks([dataclasses.replace(task, config=with_training(epochs=4))])


@pytest.mark.parametrize("planned", [{"schedule": "cosine"}, {"loss_weighting": "linear"}])
def test_more_epochs_of_a_plan_over_all_epochs_are_refused(task, planned):
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **planned))
    write_text(task.files.config, to_toml(config))
    longer = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=4))
    message = refusal(dataclasses.replace(task, config=longer))
    assert f"training.{next(iter(planned))}=" in message
    assert "planned for 3 epochs cannot be extended to 4" in message


def test_a_run_is_done_when_all_that_the_task_names_is_scored(task):
    assert not is_done(task)
    metrics = {"n_clips": 8, "n_listed": 8, "tagging": {"precision": 0, "recall": 0, "f_score": 0, "class_wise": {}}}
    write_json(task.files.metrics, metrics)
    assert is_done(task)
    assert not is_done(dataclasses.replace(task, config=with_training(epochs=4)))
    with_evaluation = dataclasses.replace(task, evaluation_store=task.test_store)
    assert not is_done(with_evaluation)
    write_json(task.files.metrics, metrics | {"evaluation": metrics})
    assert is_done(with_evaluation)


def test_fewer_epochs_are_refused(task):
    message = refusal(dataclasses.replace(task, config=with_training(epochs=2)))
    assert "training.epochs 3, now 2" in message
    assert "fewer do not" in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 1}, "training.seed 0, now 1"), ({"epochs": 9, "batch_size": 8}, "training.batch_size 4, now 8")],
)
def test_other_settings_are_refused_by_name(task, changes, named):
    assert named in refusal(dataclasses.replace(task, config=with_training(**changes)))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("change", ["onset", "label", "clips", "no events"])
def test_other_data_are_refused(task, tmp_path, split, change):
    first = 0 if split == "train" else 100
    events = make_events(8, CLASSES, clip_seconds=TINY.clip_seconds, seed=1)
    if change == "onset":
        event = events[0][0]
        events[0] = (Event(event.onset + 0.01, event.offset, event.label), *events[0][1:])
    elif change == "label":
        other = {"bell": "drill", "drill": "bell"}
        events[0] = tuple(Event(event.onset, event.offset, other[event.label]) for event in events[0])
    elif change == "no events":
        events[0] = ()
    path = store(tmp_path / "other" / "x.h5", split=split, first=first + (change == "clips"), events=events)
    assert f"differs in {dict(train='training', test='test')[split]} clips or" in refusal(
        dataclasses.replace(task, **{f"{split}_store": path})
    )


def test_clips_that_changed_sides_are_refused(task, tmp_path):
    train = store(tmp_path / "other" / "train.h5", first=100)
    test = store(tmp_path / "other" / "test.h5", split="test")
    message = refusal(dataclasses.replace(task, train_store=train, test_store=test))
    assert "training clips" in message
    assert "test clips" in message


def test_a_renamed_class_is_refused_with_both_names(task, tmp_path):
    renamed = ("bell", "hammer")
    train = store(tmp_path / "other" / "train.h5", classes=renamed)
    test = store(tmp_path / "other" / "test.h5", split="test", first=100, classes=renamed)
    message = refusal(dataclasses.replace(task, train_store=train, test_store=test))
    assert "'drill'" in message
    assert "'hammer'" in message


def test_a_model_to_start_from_that_was_added_is_refused(task, tmp_path):
    (tmp_path / "first.keras").write_bytes(b"weights")
    assert "--from" in refusal(dataclasses.replace(task, initial_model=str(tmp_path / "first.keras")))


def test_another_model_to_start_from_is_refused_and_the_same_one_elsewhere_is_not(task, tmp_path):
    for name, content in (("a.keras", b"weights"), ("copy.keras", b"weights"), ("b.keras", b"other")):
        (tmp_path / name).write_bytes(content)
    tuned = dataclasses.replace(task, initial_model=str(tmp_path / "a.keras"))
    write_identity(task.files, tuned.identity())
    check_tasks([dataclasses.replace(task, initial_model=str(tmp_path / "copy.keras"))])
    assert "--from" in refusal(dataclasses.replace(task, initial_model=str(tmp_path / "b.keras")))
    assert "--from" in refusal(task)


def test_the_same_data_in_another_folder_are_the_same(task, tmp_path):
    moved = store(tmp_path / "elsewhere" / "train.h5", provenance="made for tests, in another folder")
    check_tasks([dataclasses.replace(task, train_store=moved)])


def test_a_run_of_an_earlier_version_is_accepted_with_a_warning(task, caplog):
    task.files.identity.unlink()
    with caplog.at_level(logging.WARNING):
        check_tasks([task])
    assert "earlier version" in caplog.text


def test_other_features_are_a_setting_that_differs(task):
    features = FeatureConfig(**{**dataclasses.asdict(TINY), "log_floor": 1e-6})
    stored = load_config(task.files.config)
    assert stored.features != features
    assert "features.log_floor" in refusal(
        dataclasses.replace(task, config=dataclasses.replace(CONFIG, features=features))
    )
