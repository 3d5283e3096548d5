"""Street scenes: layouts, sounds, labels, files (`test_street_golden` has the sound of every seed)."""

import itertools

import numpy as np
import pytest
import soundfile
from helpers import changed_at, contents

from crnn_weak.config import apply_overrides, preset
from crnn_weak.data import synthetic
from crnn_weak.data.base import open_dataset
from crnn_weak.errors import ConfigError
from crnn_weak.files import temporary_path
from crnn_weak.labels.events import DCASE2017_TASK4, Event, tag_array
from crnn_weak.synthesis import scene as street

RATE = 16_000


def one_event(label, onset, offset, seed=0):
    return street.Scene(seed, "test", 0, "clip_0.000_10.000", (Event(onset, offset, label),), {label: 100.0})


def test_the_packaged_statistics_come_from_the_organizers_files(task4_metadata):
    import street_statistics

    committed = street.STATISTICS_PATH.read_text("utf-8")
    assert street_statistics.to_json(street_statistics.derive(task4_metadata)) == committed
    assert street.STATISTICS["classes"] == list(DCASE2017_TASK4)
    for split, n_clips in (("train", 51_172), ("test", 488)):
        assert sum(count for count, _ in street.STATISTICS["tag_sets"][split]) == n_clips
    assert sum(layout["not_heard"] for layout in street.STATISTICS["layouts"].values()) == 35


@pytest.mark.parametrize(("split", "n_clips"), [("train", 51_172), ("test", 488)])
def test_tags_follow_the_real_lists(split, n_clips):
    layouts = [street.draw_layout(np.random.default_rng([7, index]), split, "list") for index in range(4_000)]
    tags = tag_array([{event.label for event in layout} for layout in layouts], DCASE2017_TASK4)
    priors = np.zeros((17, 17))
    for count, labels in street.STATISTICS["tag_sets"][split]:
        priors[np.ix_(labels, labels)] += count / n_clips
    drawn = tags.T.astype(float) @ tags / len(tags)
    # Class priors on the diagonal, pairs off it; five standard errors of a share of 4,000 clips.
    assert np.all(np.abs(drawn - priors) < 5 * np.sqrt(np.maximum(priors, 1e-3) / 4_000))


def test_testing_events_follow_the_real_list():
    layouts = [street.draw_layout(np.random.default_rng([7, index]), "test") for index in range(4_000)]
    for layout in layouts:
        assert layout
        assert all(0 <= event.onset < event.offset <= 10 and event.duration > 0.24 for event in layout)
        assert all(a.label != b.label or a.offset < b.onset for a, b in itertools.pairwise(layout))
    for label, real in street.STATISTICS["layouts"].items():
        clips = [own for layout in layouts if (own := [event for event in layout if event.label == label])]
        counts = {int(n): count for n, count in real["events_per_clip"].items()}
        mean_count = sum(n * count for n, count in counts.items()) / sum(counts.values())
        assert np.mean([len(events) for events in clips]) == pytest.approx(mean_count, abs=0.25), label
        covered = [sum(event.duration for event in events) for events in clips]
        mean_covered = np.trapezoid(real["covered_seconds"], street.QUANTILES)
        assert np.mean(covered) == pytest.approx(mean_covered, abs=0.7), label
        lengths = [event.duration for events in clips for event in events]
        middle = np.interp([0.4, 0.6], street.QUANTILES, real["event_seconds"])
        assert middle[0] - 1.0 < np.median(lengths) < middle[1] + 1.0, label


@pytest.mark.parametrize("label", DCASE2017_TASK4)
def test_labels_are_where_the_sound_is(label):
    onset, offset = 2.0, 7.5
    audio = street.render(one_event(label, onset, offset), RATE).astype(float)
    power = np.mean(audio.reshape(-1, RATE // 20) ** 2, axis=1)  # of frames of 0.05 s
    levels = 10 * np.log10(power / power.max() + 1e-12)
    times = (np.arange(len(levels)) + 0.5) * 0.05
    loud = times[levels > -40]
    assert [loud.min(), loud.max()] == [pytest.approx(onset, abs=0.2), pytest.approx(offset, abs=0.25)]
    assert levels[(times < onset - 0.05) | (times > offset + 0.05)].max() < -40


def test_events_stand_above_the_background_as_asked():
    scene = one_event("Bus", 0.0, 10.0, seed=2)
    loud, equal, quiet = (street.render(scene, RATE, snr_db=snr) for snr in (40.0, 0.0, -60.0))
    # At 0 dB the clip is 3 dB above its background; the gain of the mix is the same in both.
    assert 20 * np.log10(street.loudness(equal, RATE) / street.loudness(quiet, RATE)) == pytest.approx(3.0, abs=0.3)
    assert np.abs(loud).max() <= 0.98


def test_a_clip_is_the_same_scene_at_another_rate():
    soxr = pytest.importorskip("soxr")

    def octaves(audio):
        power = np.abs(np.fft.rfft(audio.reshape(-1, RATE))) ** 2  # of each second, in steps of 1 Hz
        bands = [power[:, low : 2 * low].sum(axis=1) for low in (125, 250, 500, 1_000, 2_000)]
        return 10 * np.log10(np.array(bands) / RATE + 1e-12)

    for index in range(4):
        scene = street.draw_scene(3, "train", index)
        high = soxr.resample(street.render(scene, 44_100), 44_100, RATE, quality="VHQ")
        difference = octaves(street.render(scene, RATE)) - octaves(high)
        # Up to one gain for the clip: peaks, and with them the limit against clipping, depend on the bandwidth.
        assert np.abs(difference - np.median(difference)).max() < 2.0
        assert np.abs(np.median(difference)) < 4.0


def opened(cache, *overrides, n_train=5, **options):
    sizes = ["data.seed=3", f"data.n_train={n_train}", "data.n_test=3", f"features.sample_rate_hz={RATE}"]
    return open_dataset(apply_overrides(preset("quick"), [*sizes, *overrides]), cache, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("street"))


def test_an_interrupted_set_is_completed_and_a_damaged_one_repaired(made, tmp_path, monkeypatch):
    written = []

    def stop_after_three(path, audio, rate):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, audio, rate)

    write = synthetic.write_audio
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "write_audio", stop_after_three)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path)
    folder = tmp_path / made.folder.name
    assert not list(folder.glob("*.csv"))  # nobody takes it for whole
    kept = changed_at(written)
    opened(tmp_path)
    assert (contents(folder), changed_at(written)) == (contents(made.folder), kept)
    clips = sorted((folder / "audio").rglob("*.flac"))
    clips[0].unlink()
    clips[1].write_bytes(b"")
    soundfile.write(clips[2], np.zeros(RATE, dtype=np.int16), RATE)
    kept = changed_at(clips[3:])
    (folder / "testing_set.csv").unlink()
    (folder / "street.json").unlink()
    with temporary_path(clips[0]) as left:
        pass
    left.write_bytes(b"half a clip")  # of a killed process
    (folder / "audio" / ".notes.tmp").write_text("the user's")
    opened(tmp_path)
    assert contents(folder) == contents(made.folder) | {"audio/.notes.tmp": b"the user's"}
    assert changed_at(clips[3:]) == kept
    before = changed_at(folder.rglob("*"))
    assert changed_at(opened(tmp_path).folder.rglob("*")) == before  # a finished set is not written to


def test_the_reader_of_the_real_data_serves_the_set_that_any_number_of_processes_makes(made, tmp_path):
    assert (made.name, made.classes, made.splits) == ("street", DCASE2017_TASK4, ("train", "test"))
    for split, n_clips in (("train", 5), ("test", 3)):
        scenes = [street.draw_scene(3, split, index) for index in range(n_clips)]
        for clip, scene in zip(made.clips(split), scenes, strict=True):
            assert (clip.clip_id, clip.path.name) == (scene.clip_id, f"Y{scene.clip_id}.flac")
            assert set(clip.events) == set(scene.events)
            assert clip.tags == tuple(dict.fromkeys(event.label for event in scene.events))
    assert "seed 3" in made.provenance
    assert made.fingerprint == opened(made.folder.parent).fingerprint
    assert opened(tmp_path, "data.priors=list").folder.name != made.folder.name
    larger = opened(tmp_path, n_train=9, jobs=2)  # begins with the smaller one
    assert larger.folder.name != made.folder.name
    assert contents(made.folder / "audio").items() < contents(larger.folder / "audio").items()


def test_what_street_cannot_make_is_refused(tmp_path):
    for overrides in (["features.clip_seconds=5.0"], ["features.fmax_hz=3000.0", "features.sample_rate_hz=7000"]):
        with pytest.raises(ConfigError, match="street"):
            opened(tmp_path, *overrides)
