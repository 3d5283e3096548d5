"""Any names, labels and times in every format: what is written reads back the same, or is refused."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crnn_weak.errors import CrnnWeakError
from crnn_weak.files import write_text
from crnn_weak.labels.events import Event
from crnn_weak.labels.names import nfc, recording_id
from crnn_weak.labels.reading import LabelFile, read_files, read_tags, united
from crnn_weak.labels.writing import EVENT_FORMATS, event_files, tag_text

# Mostly names that a list can hold, among them those that need quotes or look like something else.
words = st.one_of(
    st.sampled_from(
        ["dog", "none", "nan", "1", "1.5", "a, b", "a,b", "a;b", '"x"', 'six" pipe', "#c", "label", "Å", "=1+1", "a\\b"]
    ),
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8),
    st.text(st.characters(), min_size=1, max_size=8),
)
names = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(["", "siteA/"]), words, st.sampled_from(["", ".wav", ".flac"])),
    st.sampled_from(["a_0.000_10.000.wav", "b_30.000_40.000.wav", "1", "2", "r.wav.wav", "onset"]),
)
times = st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)).map(lambda pair: tuple(sorted(pair)))
scores = st.none() | st.integers(0, 10**4).map(lambda n: n / 10**4)


def event_lists(labels, keys, min_size=0):
    event = st.builds(lambda pair, *rest: Event(pair[0] / 1000, pair[1] / 1000, *rest), times, labels, scores)
    return st.dictionaries(keys, st.lists(event, min_size=min_size, max_size=3), min_size=1, max_size=4)


def read_back(folder, name, events):
    """Return the events that were written and read, or None where they were refused."""
    target = folder / ("out" if not EVENT_FORMATS[name].file else "list.csv")
    try:
        for path, text in event_files(target, name, events).items():
            write_text(path, text)
        return by_recording(united(read_files(target), LabelFile.events))
    except CrnnWeakError:
        return None


def expected_of(name, events):
    """Return what a format says of events: without scores or silent recordings where it does not hold them."""
    kind, expected = EVENT_FORMATS[name], {}
    for recording, rows in events.items():
        if rows or kind.lists_silence:
            found = [Event(e.onset, e.offset, nfc(e.label), e.score if kind.holds_scores else None) for e in rows]
            expected[recording_id(recording)] = found
    return by_recording(expected)


def by_recording(events):
    """Return events in an order that does not depend on that of two events of one time."""
    return {name: sorted(rows, key=repr) for name, rows in events.items()}


@pytest.mark.parametrize("name", [name for name in EVENT_FORMATS if name != "jsonl"])
@settings(max_examples=40, deadline=None)
@example(events={"dog": [], "classes": []})
@example(events={"1": [Event(0.0, 0.0, "dog")], "1.wav": []})
@given(events=event_lists(words, names))
def test_events(tmp_path_factory, name, events):
    assert read_back(tmp_path_factory.mktemp("events"), name, events) in (None, expected_of(name, events))


plain = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters='/\\"|;,[]{}()\u037e'), min_size=1, max_size=8
)
letters = plain.map(lambda text: nfc(f"x{text}x"))


@pytest.mark.parametrize("name", EVENT_FORMATS)
@settings(max_examples=25, deadline=None)
@given(events=event_lists(letters, letters.map("{}.wav".format), min_size=1))
def test_ordinary_names_and_labels_are_never_refused(tmp_path_factory, name, events):
    if name == "jsonl":
        (text,) = event_files("list", name, events).values()
        rows = [json.loads(line) for line in text.split("\n")[:-1]]
        listed = [event for found in events.values() for event in found]
        assert [(row["onset"], row["label"]) for row in rows] == [(event.onset, event.label) for event in listed]
    else:
        assert read_back(tmp_path_factory.mktemp("events"), name, events) == expected_of(name, events)


@settings(max_examples=40, deadline=None)
@given(tags=st.dictionaries(names, st.lists(words, max_size=3), min_size=1, max_size=4))
def test_tags(tmp_path_factory, tags):
    path = tmp_path_factory.mktemp("tags") / "list.tsv"
    try:
        write_text(path, tag_text(path, tags))
        found = read_tags(path)
    except CrnnWeakError:
        return
    assert found == {recording_id(name): tuple(dict.fromkeys(map(nfc, labels))) for name, labels in tags.items()}
