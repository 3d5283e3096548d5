"""A run folder continues, or counts as up to date, only with the same settings, data, classes and models."""

import dataclasses

import msgspec
import numpy as np
import pytest
from helpers import TINY, make_events

from crnn_weak.config import Config, ModelConfig, TrainingConfig, to_toml
from crnn_weak.errors import RunError
from crnn_weak.features.build import StoreWriter
from crnn_weak.features.store import StoreHeader
from crnn_weak.files import write_json, write_text
from crnn_weak.labels.events import Event, tag_array
from crnn_weak.runs.folders import Run
from crnn_weak.runs.train import train_and_score

CLASSES = ("bell", "drill")
CONFIG = Config(
    features=TINY,
    model=ModelConfig(n_filters=2, pools=(2,), gru_units=(2,), dense_units=2),
    training=TrainingConfig(epochs=3, batch_size=4),
)


def write_store(path, *, split="train", classes=CLASSES, first=0, events=None, provenance="made for tests"):
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
def run(tmp_path):
    """A run that was begun: its configuration and its identity are in its folder."""
    train = write_store(tmp_path / "data" / "train.h5")
    test = write_store(tmp_path / "data" / "test.h5", split="test", first=100)
    run = Run(tmp_path / "run", CONFIG, {"train_store": train, "test_store": test}, tmp_path)
    write_text(run.files.config, to_toml(CONFIG))
    write_json(run.files.identity, msgspec.to_builtins(run.identity))
    return run


def with_training(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


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
    dataclasses.replace(run, config=with_training(epochs=4)).check_continues()
    dataclasses.replace(run, path=tmp_path / "new", config=with_training(epochs=1)).check_continues()


@pytest.mark.parametrize("name", ["tags.tsv", "report.html", "best.keras"])
def test_a_folder_with_files_of_such_names_but_no_run_is_refused(run, tmp_path, name):
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / name).write_text("mine")
    yard = dataclasses.replace(run, path=tmp_path / "yard")
    for refused in (lambda: yard.check_continues(), lambda: train_and_score(yard, overwrite=True)):
        with pytest.raises(RunError, match=f"yard: holds {name}, which would be replaced"):
            refused()
    assert (tmp_path / "yard" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("stored", "changes", "named"),
    [
        ({}, {"epochs": 2}, "training.epochs 3, now 2. A run can be given more epochs, not fewer"),
        ({}, {"seed": 1}, "training.seed 0, now 1"),
        ({}, {"epochs": 9, "batch_size": 8}, "training.batch_size 4, now 8"),
        ({"schedule": "cosine"}, {"epochs": 4}, "training.schedule=cosine depends on the number of epochs"),
        ({"loss_weighting": "linear"}, {"epochs": 4}, "3 epochs cannot be extended to 4"),
    ],
)
def test_other_settings_are_refused_by_name(run, stored, changes, named):
    write_text(run.files.config, to_toml(with_training(**stored)))
    assert named in refusal(dataclasses.replace(run, config=with_training(**stored, **changes)))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("change", ["onset", "label", "clips", "no events"])
def test_other_data_are_refused(run, tmp_path, split, change):
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
    path = write_store(tmp_path / "other" / "x.h5", split=split, first=first + (change == "clips"), events=events)
    message = refusal(with_data(run, **{f"{split}_store": path}))
    assert f"differs in its {dict(train='training', test='test')[split]} clips or" in message


def test_clips_that_changed_sides_and_renamed_classes_are_refused_and_a_copy_of_the_data_is_not(run, tmp_path):
    for classes, firsts, named in (
        (CLASSES, (100, 0), "its training clips or their labels and its test clips"),
        (("bell", "hammer"), (0, 100), "its classes or their order"),
    ):
        folder = tmp_path / classes[1]
        train = write_store(folder / "train.h5", classes=classes, first=firsts[0])
        test = write_store(folder / "test.h5", split="test", classes=classes, first=firsts[1])
        assert named in refusal(with_data(run, train_store=train, test_store=test)).replace("and in", "and")
    moved = write_store(tmp_path / "moved" / "train.h5", provenance="made for tests, in another folder")
    with_data(run, train_store=moved).check_continues()


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
    assert not dataclasses.replace(run, config=with_training(epochs=4)).is_up_to_date()
    with_evaluation = with_data(run, evaluation_store="evaluation.h5")
    assert not with_evaluation.is_up_to_date()
    write_json(run.files.metrics, metrics | {"evaluation": metrics})
    assert with_evaluation.is_up_to_date()
