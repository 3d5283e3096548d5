"""The recipe for own clips: mixed examples, targets from levels, events and own scores, the level layer."""

import dataclasses
import json
import math

import numpy as np
import pytest
from helpers import TINY, make_store, small_config

from crnn_weak.config import DATA_SETTINGS, PRESETS, FolderData, MixingConfig, OperatingPointConfig, TargetConfig
from crnn_weak.detection.postprocessing import class_thresholds
from crnn_weak.detection.scores import predict_store
from crnn_weak.errors import ConfigError
from crnn_weak.features.build import StoreWriter
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore, StoreHeader
from crnn_weak.labels.events import Event
from crnn_weak.model.archive import ModelMetadata, load_model, save_model
from crnn_weak.model.crnn import build_model
from crnn_weak.model.losses import NO_TARGET
from crnn_weak.training.batches import StoreBatches
from crnn_weak.training.fit import train
from crnn_weak.training.mixing import MixedBatches
from crnn_weak.training.targets import StrongTargets

CLASSES = ("bell", "drill", "rain")
SILENCE = np.log(TINY.log_floor)


def mixed_config(*, mixing=None, targets=None, **training):
    """Return a tiny configuration of mixed examples."""
    settings = {"epochs": 2, "steps": 6, "ema_momentum": 0.9, "schedule": "cosine", **training}
    return dataclasses.replace(
        small_config(),
        training=dataclasses.replace(small_config().training, **settings),
        mixing=MixingConfig(**{"n_recordings": 2, **(mixing or {})}),
        targets=TargetConfig(**{"strong": "loud", "padding": "ignored", "events": "train", **(targets or {})}),
    )


def store_of(folder, clips, *, name="store.h5"):
    """Make a store of clips: id -> (tags, events or None, level of each recorded frame in decibels)."""
    header = StoreHeader(
        features=TINY,
        classes=CLASSES,
        clip_ids=tuple(clips),
        tags=np.array([[label in tags for label in CLASSES] for tags, *_ in clips.values()]),
        events=tuple(events for _, events, _ in clips.values()),
        split="train",
        dataset="made",
        data_fingerprint="made",
        provenance="made",
    )
    writer = StoreWriter(folder / name, header)
    for row, (_, _, levels) in enumerate(clips.values()):
        log_mel = np.full((TINY.n_frames, TINY.n_mels), SILENCE, np.float32)
        log_mel[: len(levels)] = np.array(levels, float)[:, None] * np.log(10) / 20
        writer.write(row, log_mel, status="short", duration=len(levels) * TINY.hop_seconds)
    writer.finish()
    return FeatureStore(folder / name)


BURST = [-60.0] * 10 + [0.0] * 4 + [-60.0] * 6


def test_a_batch_is_a_function_of_seed_epoch_and_index(tmp_path):
    store = make_store(tmp_path, 12)
    found = {}
    for seed in (0, 0, 1):
        config = mixed_config(seed=seed)
        batches = MixedBatches(store, np.arange(12), StrongTargets(store, config), config, n_batches=3)
        for epoch in (1, 0):
            batches.set_epoch(epoch)
            for index in (2, 0):
                log_mel, outputs = batches[index]
                before = found.setdefault((seed, epoch, index), (log_mel, outputs))
                np.testing.assert_array_equal(log_mel, before[0])
                np.testing.assert_array_equal(outputs["strong"], before[1]["strong"])
    assert len({float(log_mel.std()) for log_mel, _ in found.values()}) == len(found) == 8
    assert len(batches) == 3


def test_a_mix_is_the_sum_of_powers_over_a_low_floor(tmp_path):
    store = store_of(tmp_path, {"a": (("bell",), (Event(1.0, 1.4, "bell"),), BURST[:15])})
    config = mixed_config(mixing={"n_recordings": 1, "gain_db": (0, 0), "floor_db": (-90, -90), "tilt_db": 0})
    batches = MixedBatches(store, np.array([0]), StrongTargets(store, config), config, n_batches=1)
    starts = set()
    for log_mel, strong in zip(batches[0][0], batches[0][1]["strong"], strict=True):
        active = np.flatnonzero(strong[:, 0] == 1)
        assert len(active) == 4
        assert (strong[:, 1:] == 0).all()
        np.testing.assert_array_equal(np.flatnonzero(log_mel.max(axis=1) > log_mel.max() - 1), active)
        starts.add(int(active[0]))
    assert starts <= set(range(10, 16))  # 15 recorded frames of 20 may begin at frames 0 to 5; padding is never used
    assert len(starts) > 1


def test_a_long_recording_gives_parts_across_its_rows_and_short_ones_keep_their_tags(tmp_path):
    both = {"yard_0.000_2.000": (("bell",), None, [0.0] * 20), "yard_2.000_4.000": (("bell",), None, [0.0] * 20)}
    store = store_of(tmp_path, {**both, "short": (("drill",), (), [0.0] * 5), "shorter": (("bell",), None, [0.0] * 4)})
    config = mixed_config(mixing={"n_recordings": 1}, targets={"own_scores_from": 1.0}, batch_size=300)
    batches = MixedBatches(store, np.arange(4), StrongTargets(store, config), config, n_batches=1)
    assert [rows.tolist() for rows in batches.recordings] == [[0, 1], [2], [3]]
    lengths = [int((strong[:, 0] == 1).sum()) for strong in batches[0][1]["strong"]]
    # Classes are even; of bells, the long recording is drawn as often as two clips.
    assert [lengths.count(n) for n in (0, 4, 20)] == pytest.approx([150, 50, 100], abs=25)
    assert len(set(lengths)) == 3
    assert (batches[0][1]["strong"][..., 1] == 0).all()  # its events are known: none


def test_loud_frames_carry_the_tag_however_short_and_several_tags_wait_for_scores(tmp_path):
    store = store_of(tmp_path, {"one": (("bell",), None, BURST), "two": (("bell", "rain"), None, BURST)})
    targets = StrongTargets(store, mixed_config())
    rows = np.arange(2)
    strong = targets(rows, store.read(rows))
    assert np.flatnonzero(strong[0, :, 0]).tolist() == [10, 11, 12, 13]
    assert (strong[0, :, 1:] == 0).all()
    assert (strong[1, 10:14][:, [0, 2]] == NO_TARGET).all()
    assert (strong[1, :, 1] == 0).all()
    scores = np.zeros((20, 3), np.float16)
    scores[10:12, 0], scores[12:16, 2] = 0.9, 0.02  # rain is loud in two frames of four
    targets.scores = {1: scores}
    strong = targets(rows, store.read(rows))
    assert np.flatnonzero(strong[1, :, 0] == 1).tolist() == [10, 11]
    assert np.flatnonzero(strong[1, :, 2] == 1).tolist() == [12, 13]
    assert (strong[1] >= 0).all()
    assert targets.active_frames(rows).tolist() == [3.0, 0.0, 2.0]


def test_events_replace_the_targets_and_classes_that_are_not_annotated_have_none(tmp_path):
    clips = {"a": (("bell", "rain"), (Event(0.0, 0.5, "bell"),), BURST), "b": (("bell",), None, BURST)}
    store = store_of(tmp_path, clips)
    config = dataclasses.replace(mixed_config(), data=FolderData(annotated=("bell", "drill")))
    strong = StrongTargets(store, config)(np.arange(2), store.read([0, 1]))
    assert np.flatnonzero(strong[0, :, 0]).tolist() == [0, 1, 2, 3, 4]
    assert (strong[0, :, 2] == NO_TARGET).all()
    assert np.flatnonzero(strong[1, :, 0]).tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize("name", PRESETS)
def test_only_own_events_train_by_default_and_only_in_the_recipe_for_own_clips(name):
    configs = {source: dataclasses.replace(PRESETS[name], data=kind()) for source, kind in DATA_SETTINGS.items()}
    trained = [source for source, config in configs.items() if config.trains_events]
    assert trained == (["folder"] if name == "recommended" else [])


def test_the_mask_of_padded_frames_moves_with_the_clip_and_they_are_not_scored(tmp_path):
    store = store_of(tmp_path, {str(k): (("bell",), None, [0.0] * 8) for k in range(4)})
    config = dataclasses.replace(small_config(), targets=TargetConfig(padding="ignored"))
    scaler, targets = Scaler.identity(8), StrongTargets(store, config)
    how = {"targets": targets, "augmentation": dataclasses.replace(config.augmentation, time_shift=True)}
    features, outputs = StoreBatches(store, np.arange(4), scaler, batch_size=4, seed=1, **how)[0]
    is_padded = (features < SILENCE + 1).all(axis=2)
    assert is_padded.sum(axis=1).tolist() == [12] * 4
    assert len({tuple(row) for row in is_padded.tolist()}) > 1
    np.testing.assert_array_equal(outputs["strong"][..., 0] == NO_TARGET, is_padded)
    strong = predict_store(build_model(config, n_classes=3), ModelMetadata(CLASSES, config, scaler), store).strong
    np.testing.assert_array_equal((strong[0] > 0).all(axis=1), np.arange(20) < 8)


@pytest.mark.parametrize(("padding", "loud"), [("active", 8), ("ignored", 2)])
def test_with_padding_ignored_the_floor_of_high_energy_is_that_of_recorded_sound(tmp_path, padding, loud):
    store = store_of(tmp_path, {"a": (("bell",), None, [-30.0] * 5 + [0.0] * 2 + [20 * SILENCE / np.log(10)])})
    targets = TargetConfig(strong="high_energy", quiet_is_inactive=True, padding=padding)
    config = dataclasses.replace(PRESETS["paper"], targets=targets)
    strong = StrongTargets(store, config)(np.array([0]), store.read([0]))[0, :, 0]
    assert (strong == 1).sum() == (loud if padding == "ignored" else 7)
    assert (strong == NO_TARGET).sum() == (12 if padding == "ignored" else 0)


def test_the_level_of_the_input_does_not_matter_and_padding_does_not_shift_it(tmp_path):
    network = dataclasses.replace(small_config().model, time_pools=(2, 1), n_filters=(4, 6))
    config = dataclasses.replace(mixed_config(), model=network)
    metadata = ModelMetadata(CLASSES, config, Scaler.identity(8))
    save_model(build_model(config, n_classes=3), tmp_path / "m.keras", metadata)
    model = load_model(tmp_path / "m.keras")[0]
    log_mel = np.random.default_rng(0).normal(-8, 1, (2, 20, 8)).astype(np.float32)
    whole = model.predict(log_mel, verbose=0)["strong"]
    assert whole.shape == (2, 20, 3)
    assert (whole[:, ::2] == whole[:, 1::2]).all()
    np.testing.assert_allclose(model.predict(log_mel + 2, verbose=0)["strong"], whole, atol=1e-5)
    padded = np.concatenate([log_mel[:, :10], np.full((2, 10, 8), SILENCE, np.float32)], axis=1)
    level = model.get_layer("level")
    np.testing.assert_allclose(level(padded)[:, :10], level(log_mel[:, :10]), atol=1e-5)
    assert float(np.min(level(padded))) == -2
    with pytest.raises(ConfigError, match="15 frames are not a multiple of 2"):
        build_model(config, n_classes=3, n_frames=15)


def test_thresholds_follow_from_the_mean_active_time_of_each_class():
    untagged = np.zeros((0, 4)), np.zeros((0, 4), bool)
    point = class_thresholds(OperatingPointConfig(), ("a", "b", "c", "d"), np.array([10.0, 30.0, 0.0, 1.0]), *untagged)
    odds = np.array([math.sqrt(10 * 3 / 41), math.sqrt(30 * 3 / 41), 1, math.sqrt(3 / 41)])
    assert point.thresholds == pytest.approx(2 * odds / (1 + 2 * odds))
    assert point.low_thresholds == pytest.approx(odds / (2 + odds))
    assert point.tag_thresholds == (0.5,) * 4


def test_all_thresholds_move_to_where_tags_made_of_frames_agree_with_the_validation_tags():
    highest = np.array([[0.9, 0.3], [0.7, 0.8], [0.75, 0.2]])
    tags = np.array([[True, False], [False, True], [False, False]])
    point = class_thresholds(OperatingPointConfig(threshold=0.2), ("a", "b"), np.array([5.0, 5.0]), highest, tags)
    # Odds of 1/4 times a factor; only between 0.75 and 0.8, at factors of 12 to 16, is every tag right.
    assert point.thresholds[0] == point.thresholds[1]
    odds = point.thresholds[0] / (1 - point.thresholds[0])
    assert 2 * 0.25 * math.sqrt(12) < odds < 2 * 0.25 * math.sqrt(16)


@pytest.mark.parametrize("events", ["train", "ignore"])
def test_moved_events_change_the_weights_where_they_train_and_nothing_where_they_do_not(tmp_path, events):
    config = mixed_config(targets={"events": events}, epochs=1, steps=2)
    config = dataclasses.replace(config, operating_point=OperatingPointConfig(class_thresholds=True))
    weights = []
    for shift in (0.0, 0.7):
        store = make_store(tmp_path, 10, name=f"{shift}.h5")
        for name, found in store.events.items():
            store.events[name] = tuple(Event(shift, shift + 1, event.label) for event in found)
        folder = tmp_path / f"run-{shift}"
        weights.append(load_model(train(config, store, folder))[0].get_weights())
        n_active = json.loads((folder / "state.json").read_text())["active_frames"]
        assert all(0 < n <= TINY.n_frames for n in n_active)
    same = [np.array_equal(one, other) for one, other in zip(*weights, strict=True)]
    assert all(same) if events == "ignore" else not same[0]


def test_all_clips_may_train(tmp_path):
    store = make_store(tmp_path, 10)
    config = mixed_config(epochs=1, steps=1, validation_fraction=0.0)
    assert load_model(train(config, store, tmp_path / "run"))[1].provenance["epoch"] == 1
    part = store.only({"clip-00003", "clip-00001"}, "validation")
    assert (part.clip_ids, part.coverage, len(part)) == (("clip-00001", "clip-00003"), "2 of 2 clips", 2)
    np.testing.assert_array_equal(part.read([1]), store.read([3]))


@pytest.mark.parametrize(
    ("section", "settings", "says"),
    [
        ("mixing", {"n_recordings": 4}, "mixing.n_recordings = 4"),
        ("mixing", {"gain_db": (3.0, -3.0)}, "mixing.gain_db .* the lower end first"),
        ("model", {"time_pools": (2,)}, "model.time_pools .* none, or 3, one per block"),
        ("model", {"n_filters": (4, 0, 4)}, "model.n_filters"),
        ("model", {"n_filters": (4, 4)}, "model.n_filters .* or 3, one per block"),
        ("training", {"steps": 10}, "training.steps = 10: counts mixed examples"),
        ("training", {"validation_fraction": 0.0}, "training.patience = 10: expected 0 without validation clips"),
        ("targets", {"events": "teach"}, "targets.events = 'teach' is not known"),
    ],
)
def test_settings_that_contradict_each_other_are_one_clear_line(section, settings, says):
    config = PRESETS["paper"]
    with pytest.raises(ConfigError, match=says) as error:
        dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **settings)})
    assert "\n" not in str(error.value)
