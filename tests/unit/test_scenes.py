"""Scenes mixed of recordings: exact labels, stated ratios, disjoint folds, the same again anywhere."""

import dataclasses
import shutil

import numpy as np
import pytest
from helpers import TINY, contents

from crnn_weak.audio import load_clip, write_audio
from crnn_weak.config import Config, ScenesData
from crnn_weak.data.base import open_dataset
from crnn_weak.data.synthetic import plan_scenes
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.synthesis import mixing
from crnn_weak.synthesis.mixing import Recording, ScenePlan, active_regions, read_recordings, render_scene

RATE = 8_000
HEADER = "filename,fold,category,role,texture,segments,author\n"
REGIONS = {"bark": "0.200-0.500;0.900-1.100", "hum": "0.000-1.500", "rain": "0.000-1.500"}


def burst(regions, seconds=1.5, seed=0, level=0.3):
    audio = np.zeros(round(seconds * RATE))
    rng = np.random.default_rng(seed)
    for part in regions.split(";"):
        on, off = (round(float(x) * RATE) for x in part.split("-"))
        audio[on:off] = rng.uniform(-level, level, off - on)
    return audio


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One recording of each category in each of four folds."""
    root = tmp_path_factory.mktemp("recordings")
    rows = []
    for fold in range(1, 5):
        for k, (category, regions) in enumerate(REGIONS.items()):
            name = f"audio/{fold}-{category}.flac"
            write_audio(root / name, burst(regions, seed=10 * fold + k), RATE)
            role = "background" if category == "rain" else "event"
            rows.append(f"{name},{fold},{category},{role},{int(category == 'hum')},{regions},who{fold}\n")
    (root / "meta.csv").write_text(HEADER + "".join(rows))
    (root / "classes.txt").write_text("hum\nbark\n")
    return root


def config(root, seed=5):
    data = ScenesData(root=str(root), n_train=9, n_test=3, seed=seed)
    return Config(features=dataclasses.replace(TINY, clip_seconds=4.0), data=data)


def test_a_set_is_complete_and_the_same_in_pieces_and_in_any_number_of_processes(folder, tmp_path):
    whole = open_dataset(config(folder), tmp_path / "one", jobs=2)
    assert (whole.classes, whole.splits, whole.clip_seconds) == (("hum", "bark"), ("train", "test"), 4.0)
    assert [len(whole.clips(split)) for split in whole.splits] == [9, 3]
    for clip in (*whole.clips("train"), *whole.clips("test")):
        audio, duration = load_clip(clip.path, RATE)
        assert duration == 4.0
        assert np.abs(audio).max() <= 0.9501
        assert clip.tags
        assert set(clip.tags) == {event.label for event in clip.events}
        assert all(0 <= event.onset < event.offset <= 4.0 for event in clip.events)
    assert "who4" in (whole.folder / "credits.tsv").read_text()
    reference = contents(tmp_path / "one")
    made = open_dataset(config(folder), tmp_path / "two").folder
    assert contents(tmp_path / "two") == reference
    for victim in (next(made.rglob("train-00002*")), made / "credits.tsv"):
        victim.unlink()
    assert open_dataset(config(folder), tmp_path / "two").fingerprint == whole.fingerprint
    assert contents(tmp_path / "two") == reference
    assert open_dataset(config(folder, seed=6), tmp_path / "two").fingerprint != whole.fingerprint
    assert len(list((tmp_path / "two").glob("scenes-*"))) == 2


def test_folds_are_disjoint_and_early_clips_do_not_depend_on_the_number(folder, tmp_path):
    recordings = read_recordings(folder, cache=tmp_path)
    for split, folds in (("train", {1, 2, 3}), ("test", {4})):
        plans = plan_scenes(recordings, split, 40, ScenesData(seed=1), 4.0)
        assert {sound.recording.fold for plan in plans.values() for sound in plan.sounds} == folds
        assert {plan.background.fold for plan in plans.values()} == folds
        assert {len({s.recording.category for s in plan.sounds}) for plan in plans.values()} == {1, 2}
        assert plan_scenes(recordings, split, 5, ScenesData(seed=1), 4.0) == dict(list(plans.items())[:5])
        assert all(len(clip.partition("_")[0]) == 11 for clip in plans)


def scene(snr_db, background_db):
    regions = ((1.0, 1.3), (1.7, 1.9))
    bark = Recording("audio/1-bark.flac", 1, "bark", False, False, ((0.2, 0.5), (0.9, 1.1)))
    rain = Recording("audio/1-rain.flac", 1, "rain", True, False, ((0.0, 1.5),))
    placed = mixing.PlacedSound(bark, 0.2, 1.0, 0.9, snr_db, regions)
    return ScenePlan(4.0, rain, 0.4, background_db, (placed,)), regions


@pytest.mark.parametrize("snr_db", [3.0, 20.0])
@pytest.mark.parametrize("background_db", [-45.0, -25.0])
def test_the_ratio_is_the_events_power_over_the_backgrounds(folder, snr_db, background_db):
    plan, regions = scene(snr_db, background_db)
    mixed = render_scene(plan, RATE, folder).astype(float)
    alone = render_scene(ScenePlan(4.0, plan.background, 0.4, background_db, ()), RATE, folder).astype(float)
    assert 10 * np.log10(np.mean(alone**2)) == pytest.approx(background_db, abs=0.01)
    silent = np.ones(len(mixed), dtype=bool)
    active = ~silent
    for on, off in regions:
        silent[round((on - 0.02) * RATE) : round((off + 0.02) * RATE)] = False
        active[round(on * RATE) : round(off * RATE)] = True
    scale = np.dot(mixed[silent], alone[silent]) / np.dot(alone[silent], alone[silent])  # 1 unless turned down
    np.testing.assert_allclose(mixed[silent], scale * alone[silent], atol=1e-6)
    event = mixed - scale * alone
    ratio = np.mean(event[active] ** 2) / np.mean((scale * alone[active]) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.05)
    assert np.abs(render_scene(scene(60.0, -25.0)[0], RATE, folder)).max() == pytest.approx(0.95)


def test_labels_are_where_the_sound_is_and_textures_of_any_length(folder, tmp_path):
    """Against silence as background, the energy of each sound lies inside its events."""
    plans = plan_scenes(read_recordings(folder, cache=tmp_path), "train", 60, ScenesData(seed=3), 4.0)
    placed = [sound for plan in plans.values() for sound in plan.sounds]
    for sound in placed:
        samples = mixing._sound(sound, folder, RATE, 4 * RATE)
        active = np.zeros(4 * RATE, dtype=bool)
        for on, off in sound.regions:
            active[round(on * RATE) : round(off * RATE)] = True
            assert np.mean(samples[round(on * RATE) : round(off * RATE)] ** 2) > 1e-3
        assert np.sum(samples[~active] ** 2) < 0.01 * np.sum(samples**2)
    hums = [sound for sound in placed if sound.recording.category == "hum"]
    longest = max(hums, key=lambda hum: hum.length_seconds)
    assert min(hum.length_seconds for hum in hums) >= 2.0
    assert longest.length_seconds > 3.5  # the recording has 1.5 s
    ((on, off),) = longest.regions
    assert off - on == pytest.approx(longest.length_seconds, abs=0.0015)
    samples = mixing._sound(longest, folder, RATE, 4 * RATE)[round(on * RATE) : round(off * RATE)]
    power = np.square(samples[: len(samples) // 800 * 800]).reshape(-1, 800).mean(axis=1)
    assert power.max() / power.min() < 1.5  # no gap, no bump at the joints


def test_recordings_longer_than_the_scene_are_cut_and_those_above_20_khz_resampled(folder, tmp_path):
    recordings = read_recordings(folder, cache=tmp_path)
    for plan in plan_scenes(recordings, "test", 20, ScenesData(seed=3), 0.5).values():
        assert all(0 <= event.onset < event.offset <= 0.5 for event in plan.events)
        assert render_scene(plan, RATE, folder).shape == (4000,)
    rng = np.random.default_rng(0)
    rows = []
    for fold in (1, 2, 3, 4):
        for category, role in (("hiss", "event"), ("rain", "background")):
            write_audio(tmp_path / "in" / f"{fold}{category}.wav", rng.uniform(-0.5, 0.5, 44_100), 44_100)
            rows.append(f"{fold}{category}.wav,{fold},{category},{role},1,0-1,me\n")
    (tmp_path / "in" / "meta.csv").write_text(HEADER + "".join(rows))
    data = ScenesData(root=str(tmp_path / "in"), n_train=1, n_test=1)
    made = open_dataset(Config(data=data), tmp_path / "cache")  # 44.1 kHz
    audio, _ = load_clip(made.clips("train")[0].path, 44_100)
    power = np.abs(np.fft.rfft(audio)) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / 44_100)
    assert power[hertz > 10_100].mean() < 1e-6 * power[(hertz > 1000) & (hertz < 8000)].mean()


def test_the_plain_esc50_layout(tmp_path):
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for category, regions in (("dog", "0.2-0.5;1.2-1.4"), ("engine", "0-1.5"), ("wind", "0-1.5")):
        rows.append(f"1-{category}.wav,1,0,{category},False,7,A")
        write_audio(tmp_path / "audio" / f"1-{category}.wav", burst(regions), RATE)
    write_audio(tmp_path / "audio" / "1-silence.wav", np.zeros(RATE), RATE)
    (tmp_path / "audio" / "1-damaged.wav").write_bytes(b"RIFF")
    rows += [f"1-{name}.wav,1,0,cat,False,7,A" for name in ("silence", "damaged")]  # both are skipped
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n")
    found = read_recordings(tmp_path, cache=tmp_path / "cache")
    assert found.classes == ("dog", "engine")
    dog, engine, wind = found.recordings
    np.testing.assert_allclose(dog.regions, [(0.2, 0.5), (1.2, 1.4)], atol=0.021)
    assert (dog.texture, engine.texture, wind.background, dog.background) == (False, True, True, False)
    assert len(list((tmp_path / "cache").glob("recordings-*/*.json"))) == 1
    assert read_recordings(tmp_path, cache=tmp_path / "cache") == found
    regions = active_regions(burst("0.1-0.3;0.5-0.7;1.2-1.3"), RATE)
    np.testing.assert_allclose(regions, [(0.1, 0.7), (1.2, 1.3)], atol=0.021)
    assert active_regions(np.zeros(RATE), RATE) == ()


GOOD = "a.wav,1,dog,event,0,0.1-0.2,x\n"


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("filename,fold\na.wav,1\n", "lacks category"),
        (HEADER, "lists no recording"),
        (HEADER + GOOD + "a.wav,1,dog\n", "line 3: 3 columns"),
        (HEADER + "a.wav,one,dog,event,0,0.1-0.2,x\n", "line 2: fold 'one'"),
        (HEADER + "a.wav,1,dog,event,0,0.3-0.2,x\n", "line 2: segment '0.3-0.2'"),
        (HEADER + "a.wav,1,dog,event,0,,x\n", "line 2: a.wav has no active segment"),
        (HEADER + "a.wav,1,dog,noise,0,0.1-0.2,x\n", "line 2: role 'noise'"),
        (HEADER + "a.wav,1,dog,event,yes,0.1-0.2,x\n", "line 2: texture 'yes', expected 0 or 1"),
        (HEADER + "a.wav,1,,event,0,0.1-0.2,x\n", "line 2: a.wav has no category"),
        (HEADER + GOOD.replace("a.wav", "b.wav"), "1 of 1 listed recordings are missing, e.g. b.wav"),
        (HEADER + "a.wav,1,dog,event,0,100-300,x\n", "active until 300 s and has 1.50 s; segments are seconds"),
    ],
)
def test_bad_folders_of_recordings(tmp_path, meta, says):
    write_audio(tmp_path / "a.wav", burst("0.1-0.3"), RATE)
    (tmp_path / "meta.csv").write_text(meta)
    with pytest.raises(DataError, match=says):
        read_recordings(tmp_path, cache=tmp_path)


def test_what_the_source_needs(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"data\.root is not set"):
        open_dataset(config(""), tmp_path)
    for root, says in ((tmp_path / "nowhere", "no such folder of recordings"), (tmp_path, r"expected meta\.csv")):
        with pytest.raises(DataError, match=says):
            open_dataset(config(root), tmp_path)
    rows = (folder / "meta.csv").read_text().splitlines(keepends=True)
    for absent, says in (("4-bark", "fold 4 .* no recording of 'bark'"), ("4-rain", "fold 4 .* serves as background")):
        copy = shutil.copytree(folder, tmp_path / absent)
        (copy / "meta.csv").write_text("".join(row for row in rows if absent not in row))
        with pytest.raises(DataError, match=says):
            open_dataset(config(copy), tmp_path / "cache")
    (copy / "classes.txt").write_text("hum\n")
    with pytest.raises(DataError, match=r"category 'bark' .* is not listed"):
        open_dataset(config(copy), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("scenes-*"))


def test_damaged_recordings_are_skipped_named_and_counted_and_read_when_replaced(tmp_path, folder, caplog):
    folder = shutil.copytree(folder, tmp_path / "folder")
    damaged = folder / "audio" / "1-bark.flac"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        found = read_recordings(folder, cache=tmp_path / "cache")
        assert len(found.recordings) == 11
        assert "audio/1-bark.flac" not in {recording.name for recording in found.recordings}
        assert "1 damaged recordings are skipped" in caplog.text
        assert "1-bark.flac: damaged or truncated" in caplog.text
    damaged.write_bytes(data)
    assert len(read_recordings(folder, cache=tmp_path / "cache").recordings) == 12
