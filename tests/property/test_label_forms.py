"""Any names, labels, times and encodings in every form: what is written reads back the same, or is refused."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crnn_weak.errors import CrnnWeakError, DataError
from crnn_weak.labels.events import Event, by_time
from crnn_weak.labels.files import events_of, read_files, tags_of
from crnn_weak.labels.forms import FORMS
from crnn_weak.labels.names import nfc, recording_id
from crnn_weak.labels.old_writing import write_labels

anything = st.text(st.characters(), min_size=1, max_size=8)
# Mostly names that a list can hold, among them those that need quotes or look like something else.
words = st.one_of(
    st.sampled_from(
        [
            "dog",
            "none",
            "nan",
            "1",
            "1.5",
            "a, b",
            "a,b",
            "a;b",
            '"x"',
            'six" pipe',
            "#c",
            "filename",
            "label",
            "Å",
            "犬",
        ]
    ),
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8),
    anything,
)
names = st.one_of(
    st.builds(
        "{}{}{}".format, st.sampled_from(["", "siteA/", "siteB/"]), words, st.sampled_from(["", ".wav", ".flac"])
    ),
    st.sampled_from(["a_0.000_10.000.wav", "b_30.000_40.000.wav", "1", "2", "r.wav.wav", "onset"]),
)
times = st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)).map(lambda pair: tuple(sorted(pair)))
events = st.builds(lambda pair, label: Event(pair[0] / 1000, pair[1] / 1000, label), times, words)
event_lists = st.dictionaries(names, st.lists(events, max_size=3), min_size=1, max_size=4)
tag_lists = st.dictionaries(names, st.lists(words, unique=True, max_size=3), min_size=1, max_size=4)
EVENT_FORMS = [form.name for form in FORMS.values() if form.kind == "events"]
TAG_FORMS = [form.name for form in FORMS.values() if form.kind == "tags"]


def written(folder, form, labels):
    """Return where the labels were written, or None where they were refused and nothing was written."""
    target = folder / ("out" if FORMS[form].one_recording else "list.csv")
    try:
        write_labels(target, form, labels)
    except DataError as error:
        message = str(error)
    else:
        return target
    assert message.isprintable()
    assert not target.exists()
    return None


def read_back(path, form, of):
    """Return the labels that a file says, or None where it is refused."""
    try:
        return {name: rows for file in read_files(path, form=form) for name, rows in of(file).items()}
    except CrnnWeakError:
        return None


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("form", EVENT_FORMS)
@settings(max_examples=30)
@example(labels={"dog": [], "classes": []})
@example(labels={"1": [Event(0.0, 0.0, "dog")], "1.wav": []})
@given(labels=event_lists)
def test_events(tmp_path_factory, form, named, labels):
    path = written(tmp_path_factory.mktemp("forms"), form, labels)
    if path is None:
        return
    found = read_back(path, form if named else None, events_of)
    kept = {name: rows for name, rows in labels.items() if rows or form in ("desed", "dcase", "audacity", "jams")}
    expected = {
        recording_id(name): tuple(sorted((Event(e.onset, e.offset, nfc(e.label)) for e in rows), key=by_time))
        for name, rows in kept.items()
    }
    assert found is None or found == expected


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("form", TAG_FORMS)
@settings(max_examples=30)
@example(labels={"0;": []})
@given(labels=tag_lists)
def test_tags(tmp_path_factory, form, named, labels):
    path = written(tmp_path_factory.mktemp("forms"), form, labels)
    if path is None:
        return
    found = read_back(path, form if named else None, tags_of)
    kept = {name: rows for name, rows in labels.items() if rows or form in ("desed-tags", "dcase-tags")}
    expected = {recording_id(name): set(map(nfc, rows)) for name, rows in kept.items()}
    assert found is None or {name: set(rows) for name, rows in found.items()} == expected


plain = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters='/\\"'), min_size=1, max_size=8)


plain_events = st.builds(lambda pair, label: Event(pair[0] / 1000, pair[1] / 1000, nfc(label)), times, plain)
plain_names = plain.map(lambda text: nfc(f"r{text}.wav"))


@pytest.mark.parametrize("form", ["desed", "dcase", "raven", "birdnet", "audioset"])
@settings(max_examples=30)
@given(labels=st.dictionaries(plain_names, st.lists(plain_events, min_size=1, max_size=3), min_size=1, max_size=3))
def test_ordinary_names_and_labels_are_never_refused(tmp_path_factory, form, labels):
    path = written(tmp_path_factory.mktemp("forms"), form, labels)
    assert path is not None
    expected = {recording_id(name): tuple(sorted(rows, key=by_time)) for name, rows in labels.items()}
    assert read_back(path, form, events_of) == expected


@settings(max_examples=30)
@example(labels={"a_0.000_10.000.wav": [Event(0.0, 0.0, "\u00c2\u00a1")]}, encoding="latin-1")
@given(
    labels=event_lists, encoding=st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"])
)
def test_encodings(tmp_path_factory, labels, encoding):
    path = written(tmp_path_factory.mktemp("forms"), "desed", labels)
    if path is None:
        return
    before = read_back(path, "desed", events_of)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding, "replace"))
    after = read_back(path, "desed", events_of)
    # Bytes that are valid UTF-8 are read as UTF-8: "?" for what the encoding lacks, or "\u00c2\u00a1" in Latin-1.
    is_ambiguous = encoding in ("latin-1", "cp1252") and is_utf8(path.read_bytes())
    assert after is None or after == before or is_ambiguous


def is_utf8(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
