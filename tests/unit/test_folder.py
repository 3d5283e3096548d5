"""A user's own folder: label files as people write them, splits, long recordings, and what goes wrong."""

import dataclasses

import numpy as np
import pytest
from helpers import TINY, changed_at

from crnn_weak.audio import load_clip, write_audio
from crnn_weak.config import Config, FolderData
from crnn_weak.data.base import open_dataset, stratified_split
from crnn_weak.errors import ConfigError, DataError, LabelError
from crnn_weak.labels.events import Event
from crnn_weak.parallel import Work
from crnn_weak.runs.train import prepare

RATE = 8_000


@pytest.fixture
def own(tmp_path):
    for index, name in enumerate(["a", "b", "c", "sub/d", "sub/e"]):
        write_audio(tmp_path / "audio" / f"{name}.flac", np.full(RATE * 2, (index + 1) / 16), RATE)
    return tmp_path


def opened(folder, tags=None, events=None, *, clip_seconds=2.0, classes=None, **data):
    """Open a folder of audio with label files, each given as its text or its path."""
    if classes is not None:
        (folder / "classes.txt").write_text(classes)
    for setting, text in (("metadata", tags), ("events", events)):
        if isinstance(text, str):
            (folder / f"{setting}.tsv").write_text(text)
            text = folder / f"{setting}.tsv"
        data[setting] = str(text or "")
    features = dataclasses.replace(TINY, clip_seconds=clip_seconds)
    data = FolderData(root=str(folder / "audio"), **{"seed": 1, **data})
    return open_dataset(Config(features=features, data=data), folder / "cache")


def clips_of(data):
    return {clip.clip_id: clip for split in data.splits for clip in data.clips(split)}


TAGS = "filename\tlabels\na.flac\tdog,cat\nb.flac\tcat\nc.wav\t\nd\tdog\nsub/e.flac\tbird\n"


def test_tags_alone(own, caplog):
    data = opened(own, TAGS + "gone.wav\tdog\n")
    assert (data.classes, data.splits) == (("bird", "cat", "dog"), ("train", "test"))
    clips = clips_of(data)
    tags = {"a": ("cat", "dog"), "b": ("cat",), "c": (), "sub/d": ("dog",), "sub/e": ("bird",), "gone": ("dog",)}
    assert {name: clip.tags for name, clip in clips.items()} == tags
    assert clips["sub/e"].path == own / "audio" / "sub" / "e.flac"
    assert clips["c"].path == own / "audio" / "c.flac"  # whatever suffix the label file has
    assert clips["gone"].path is None
    assert all(clip.events is None for clip in clips.values())
    assert "6 listed, 5 found, 3 classes" in data.provenance
    assert "5 of 6 listed recordings found" in caplog.text
    with pytest.raises(DataError, match="no split 'evaluation'"):
        data.clips("evaluation")
    for other in (opened(own, TAGS), opened(own, TAGS + "gone.wav\tdog\n", clip_seconds=3.0)):
        assert other.fingerprint != data.fingerprint == opened(own, TAGS + "gone.wav\tdog\n").fingerprint


def test_clips_without_a_tag_are_counted_and_classes_that_training_cannot_learn_named(own, caplog):
    (own / "tags.tsv").write_text(TAGS.replace("a.flac\tdog,cat", "a.flac\t"))
    config = Config(features=TINY, data=FolderData(root=str(own / "audio"), metadata=str(own / "tags.tsv"), seed=1))
    coverage = prepare(config, own / "cache", own / "out", Work())["coverage"].values()
    assert (sum(split["n_clips"] for split in coverage), sum(split["untagged"] for split in coverage)) == (5, 2)
    for label in ("dog", "cat"):  # the first is in every training clip
        opened(own, f"file,label,split\na.flac,dog,train\nb.flac,{label},train\nc.flac,cat,test\nc.flac,dog,test\n")
    wanted = ["no training clip has the class 'cat'", "every training clip has the class 'dog'"]
    assert [text[8:].partition(";")[0] for text in caplog.messages][-3:] == [*wanted, "every training clip has a tag"]


def test_names_of_recordings(own):
    for index, folder in enumerate(("siteA", "siteB")):
        write_audio(own / "audio" / folder / "r.flac", np.full(RATE * 2, (index + 1) / 8), RATE)
    clips = clips_of(opened(own, "filename\tlabels\nsiteA/r.flac\tdog\nsiteB/r.flac\tcat\na.flac\tdog\n"))
    assert {name: clip.tags[0] for name, clip in clips.items()} == {"siteA/r": "dog", "siteB/r": "cat", "a": "dog"}
    assert clips["siteB/r"].path == own / "audio" / "siteB" / "r.flac"
    write_audio(own / "audio" / "e\u0301te\u0301.flac", np.zeros(RATE), RATE)  # two Unicode forms of one name
    clips = clips_of(opened(own, "filename\tlabels\n\u00e9t\u00e9.flac\tdog\na.flac\tcat\n"))
    assert clips["\u00e9t\u00e9"].path.name == "e\u0301te\u0301.flac"
    write_audio(own / "audio" / "a.wav", np.zeros(RATE), RATE)
    with pytest.raises(DataError, match=r"a.flac and a.wav differ only in their suffix"):
        opened(own, TAGS)
    assert opened(own, TAGS.replace("a.flac\tdog,cat\n", "")).classes == ("bird", "cat", "dog")


def test_a_split_column(own):
    data = opened(own, "file,label,split\na.flac,dog,training\nb.flac,cat,Test\na.flac,cat,training\nc.flac,cat,val\n")
    assert [clip.clip_id for clip in data.clips("train")] == ["a", "c"]
    assert [clip.clip_id for clip in data.clips("test")] == ["b"]
    assert data.clips("train")[0].tags == ("cat", "dog")
    events = "file,onset,offset,label,split\na.flac,0,1,dog,train\nb.flac,0,1,dog,test\n"
    assert [clip.clip_id for clip in opened(own, events=events).clips("test")] == ["b"]
    # Events of a recording in the folder need no row of tags.
    clips = clips_of(opened(own, "file,label,split\na.flac,dog,train\nb.flac,cat,test\n", "sub/d.flac\t0\t1\tcat\n"))
    splits = {name: (*clip.tags, clip.split) for name, clip in clips.items()}
    assert splits == {"a": ("dog", "train"), "b": ("cat", "test"), "sub/d": ("cat", "train")}
    with pytest.raises(DataError, match="has a column of splits"):
        opened(own, TAGS, events=events)


def test_a_class_list_sets_the_order_and_scores_are_said_to_count(own, caplog):
    data = opened(own, TAGS, classes="dog\nfox\ncat\nbird\n")
    assert (data.classes, clips_of(data)["a"].tags) == (("dog", "fox", "cat", "bird"), ("dog", "cat"))
    opened(own, "file,label,score\na.flac,dog,0.9\nb.flac,cat,0.0\n")
    assert "metadata.tsv: has scores; every row counts" in caplog.text


def test_events_alone_with_tags_and_in_tracks(own):
    clips = clips_of(opened(own, events="a.flac\t0\t0.5\tdog\na.flac\t0.25\t1\tcat\nb.flac\t0\t0\tdog\nc.flac\n"))
    assert clips["a"].tags == ("cat", "dog")
    assert clips["a"].events == (Event(0.0, 0.5, "dog"), Event(0.25, 1.0, "cat"))
    assert (clips["b"].tags, clips["b"].events) == (("dog",), (Event(0.0, 0.0, "dog"),))
    assert (clips["c"].tags, clips["c"].events) == ((), ())
    clips = clips_of(opened(own, TAGS, events="a.flac\t0\t0.5\tfox\nb.flac\n"))
    assert clips["a"].tags == ("fox",)
    assert clips["b"].events == ()
    assert clips["sub/d"].events is None  # the event list does not speak of it
    assert clips["c"].events == ()  # nor of this one, but its tag cell is empty
    (own / "tracks").mkdir()  # of Audacity, edited by hand
    (own / "tracks" / "a.txt").write_text("0.5\t1.5\tdog\n\\\t100\t2000\n")
    (own / "tracks" / "b.txt").write_text("")
    clips = clips_of(opened(own, events=own / "tracks"))
    assert clips["a"].events == (Event(0.5, 1.5, "dog"),)
    assert clips["b"].events == ()
    (own / "tracks" / "classes.txt").write_text("cat\n")
    with pytest.raises(LabelError, match=r"a.txt, line 1: label 'dog'"):
        opened(own, events=own / "tracks")


def test_long_recordings_with_events_are_cut(own):
    ramp = np.arange(RATE * 5) / (RATE * 10)
    write_audio(own / "audio" / "long.wav", ramp, RATE)
    events = "long.wav\t1.5\t2.5\tdog\nlong.wav\t4\t4\tcat\nlong.wav\t4.5\t9\tcat\na.flac\t0\t1\tdog\n"
    clips = clips_of(opened(own, events=events))
    assert {name: clip.events for name, clip in clips.items() if name != "a"} == {
        "long_0.000_2.000": (Event(1.5, 2.0, "dog"),),
        "long_2.000_4.000": (Event(0.0, 0.5, "dog"),),
        "long_4.000_5.000": (Event(0.0, 0.0, "cat"), Event(0.5, 1.0, "cat")),
    }
    assert clips["long_4.000_5.000"].tags == ("cat",)
    assert len({clip.split for name, clip in clips.items() if name.startswith("long")}) == 1
    for start, seconds in ((0, 2), (2, 2), (4, 1)):
        audio, duration = load_clip(clips[f"long_{start}.000_{start + seconds}.000"].path, RATE)
        assert duration == seconds
        np.testing.assert_allclose(audio, ramp[start * RATE : (start + seconds) * RATE], atol=1e-4)
    cut = [clip.path for clip in clips.values() if clip.clip_id != "a"]
    before = changed_at(cut)
    opened(own, events=events)
    assert changed_at(cut) == before
    (own / "audio" / "long.wav").write_bytes((own / "audio" / "long.wav").read_bytes()[:-9000])
    assert clips_of(opened(own, events=events))["long"].path.name == "long.wav"  # left for the features to skip


def test_events_decide_and_replace_tags_and_long_recordings_with_tags_are_cut_or_skipped(own, caplog):
    caplog.set_level("INFO")
    (own / "tracks").mkdir()
    for name, text in (("a", "0\t1\tdog\n"), ("b", "")):
        (own / "tracks" / f"{name}.txt").write_text(text)
    clips = clips_of(opened(own, TAGS, own / "tracks"))
    assert [clips[name].tags for name in ("a", "b", "sub/d")] == [("dog",), (), ("dog",)]
    assert "the events of 2 recordings replace their tags" in caplog.text
    assert clips_of(opened(own, TAGS, own / "tracks", annotated=("dog",)))["a"].tags == ("cat", "dog")
    write_audio(own / "audio" / "b.flac", np.full(RATE * 3, 0.1), RATE)
    cut = clips_of(opened(own, TAGS, long_clips="cut"))
    assert cut["b_2.000_3.000"].tags == cut["b_0.000_2.000"].tags == ("cat",)
    assert cut["b_0.000_2.000"].events is None
    assert "1 recordings are longer than a clip of 2 s" in caplog.text
    assert "each part inherits the tags, perhaps wrongly" in caplog.text
    skipped = opened(own, TAGS, long_clips="skip", test_fraction=0.0)
    assert sorted(clips_of(skipped)) == ["a", "c", "sub/d", "sub/e"]
    assert skipped.splits == ("train",)


@pytest.mark.parametrize(
    ("tags", "events", "more", "says"),
    [
        ("filename\tlabels\n", None, {}, r"metadata.tsv: lists no recording"),
        ("filename\tlabel\na.flac\t\nb.flac\t\n", None, {}, "no clip has a label"),
        ("x.wav\tdog\ny.wav\tcat\n", None, {}, "none of the 2 listed recordings, e.g. 'x'; the folder has a.flac"),
        ("a.flac\tdog\n", None, {}, "one recording only"),
        ("file,label,split\na.flac,dog,trian\n", None, {}, "line 2: split 'trian' is not known. Did you mean 'train'"),
        ("file,label,split\na.flac,dog,train\nb.flac,dog,\n", None, {}, "line 3: no split, which other rows have"),
        ("file,label,split\na.flac,dog,train\na.flac,cat,test\n", None, {}, "line 3: a is in two splits"),
        ("file,label,split\na.flac,dog,test\n", None, {}, "the column of splits has no 'train'; give"),
        ("file,label,split\na.flac,dog,train\n", None, {}, "the column of splits has no 'test'; give some"),
        (None, "", {}, "events.tsv: lists no recording"),
        (None, "a.flac\t700\t900\tdog\nb.flac\t0\t1\tdog\n", {}, "begins at 700 s, after its end at 2.0 s"),
        (TAGS, "z.flac\t0\t0.5\tfox\n", {}, "recording 'z' is neither in the tag file nor in .*audio"),
        (TAGS, None, {"classes": "dog\ncat\n"}, "metadata.tsv, line 6: label 'bird' .* Known: 'cat', 'dog'"),
        (None, "a.flac\t0\t1\tbat\n", {"classes": "dog\ncat\n"}, "events.tsv, line 1: label 'bat' .*'cat'"),
        (TAGS, None, {"clip_seconds": 1.0}, "4 recordings are longer .* longest is a, 2.0 s.*features.clip_seconds=2"),
        ("a.flac\tdog\nb.flac\tcat\n", None, {"clip_seconds": 1.0, "long_clips": "skip"}, "2 recordings are longer"),
        ("a.flac\tdog\n", "b.flac\t0\t1\tdog\n", {"annotated": ("dog",)}, "'b' has no row in the tag file"),
        (TAGS, "a.flac\t0\t0.5\tdog\n", {"annotated": ("fox",)}, "data.annotated: .*'fox'"),
    ],
)
def test_bad_label_files_are_one_clear_line(own, tags, events, more, says):
    with pytest.raises(DataError, match=says) as error:
        opened(own, tags, events, **more)
    assert "\n" not in str(error.value)
    assert not (own / "cache").exists()


def test_bad_settings(tmp_path):
    for root, says in (("", r"data\.root"), ("audio", r"data\.metadata")):
        with pytest.raises(ConfigError, match=says):
            open_dataset(Config(data=FolderData(root=root)), tmp_path / "cache")


def random_tags(n_clips=2000, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n_clips, 6)) < np.array([0.5, 0.2, 0.1, 0.05, 0.01, 0.002])


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_every_class_has_its_share(fraction):
    tags = random_tags()
    common = stratified_split(tags[:400, :4], fraction, seed=1)[1]
    assert abs(len(common) - fraction * 400) <= 1
    assert abs(tags[common, 3].sum() - fraction * tags[:400, 3].sum()) <= 1
    rest, drawn = stratified_split(tags, fraction, seed=3, cover_classes=True)
    assert sorted([*rest, *drawn]) == list(range(2000))
    shares = tags[drawn].sum(axis=0) / tags.sum(axis=0)
    np.testing.assert_allclose(shares[:5], fraction, atol=0.05)
    assert len(drawn) == pytest.approx(fraction * 2000, abs=4)
    for part in (rest, drawn):
        assert (tags[part].sum(axis=0) >= 1).all()
    untagged = ~tags.any(axis=1)
    assert untagged[drawn].sum() / untagged.sum() == pytest.approx(fraction, abs=0.02)


def test_a_class_of_two_is_on_both_sides_a_class_of_one_in_the_rest_and_a_single_clip_refused():
    tags = np.zeros((3, 2), dtype=bool)
    tags[:2, 0] = tags[2, 1] = True
    rest, drawn = stratified_split(tags, 0.1, seed=0, cover_classes=True)
    assert drawn.tolist() in ([0], [1])
    assert 2 in rest
    with pytest.raises(DataError, match="at least 2"):
        stratified_split(tags[:1], 0.1, 0)


def test_a_split_depends_on_the_seed_alone_and_no_recording_is_on_both_sides():
    tags = random_tags(60)
    recordings = [f"r{row % 7}" for row in range(60)]
    rest, drawn = stratified_split(tags, 0.3, 5, recordings)
    assert sorted([*rest, *drawn]) == list(range(60))
    assert {recordings[row] for row in rest}.isdisjoint(recordings[row] for row in drawn)
    assert len({recordings[row] for row in drawn}) == 2
    alone = stratified_split(tags, 0.3, 5)[1].tolist()
    for names in ([str(row) for row in range(60)], ["r"] * 60):  # one clip each, or nothing to keep apart
        assert stratified_split(tags, 0.3, 5, names)[1].tolist() == alone
    assert stratified_split(tags, 0.3, 5)[1].tolist() == alone != stratified_split(tags, 0.3, 6)[1].tolist()
