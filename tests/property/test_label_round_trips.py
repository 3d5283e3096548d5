"""What is written reads back equal, for any ids, labels and times."""

from hypothesis import given
from hypothesis import strategies as st

from crnn_weak.labels import files as annotations
from crnn_weak.labels import task4 as task4_files
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.events import Event
from crnn_weak.labels.names import nfc

plain = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters='/\\"')
ids = st.text(plain, min_size=1, max_size=12).map(lambda text: nfc("-" + text))
labels = st.one_of(
    st.sampled_from(DCASE2017_TASK4),
    st.text(st.one_of(plain, st.just(" "), st.just(","), st.just(";"), st.just('"')), min_size=1)
    .map(lambda text: nfc(text).strip())
    .filter(bool),
)


def events(decimals, label=labels):
    times = st.tuples(st.integers(0, 10 ** (decimals + 2)), st.integers(0, 10 ** (decimals + 2))).map(sorted)
    return st.builds(lambda t, name: Event(t[0] / 10**decimals, t[1] / 10**decimals, name), times, label)


def ordered(found):
    return tuple(sorted(found, key=lambda event: (event.onset, event.offset, event.label)))


@given(st.dictionaries(ids, st.lists(events(3), max_size=4), max_size=5), st.sampled_from("\t,;"))
def test_event_lists(tmp_path_factory, lists, separator):
    path = tmp_path_factory.mktemp("events") / "e.tsv"
    annotations.write_events(path, lists, separator=separator)
    # A header names the columns, so that commas, tabs and quotes in labels are safe.
    assert annotations.read_events(path) == {clip: ordered(found) for clip, found in lists.items()}


@given(st.lists(events(6, labels.filter(lambda text: "\t" not in text)), max_size=6))
def test_audacity_tracks(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("tracks") / "a.txt"
    annotations.write_audacity(path, found)
    assert annotations.read_audacity(path) == ordered(found)


@given(st.dictionaries(ids, st.lists(labels.filter(lambda text: ";" not in text), unique=True, max_size=4), max_size=5))
def test_tags(tmp_path_factory, tags):
    path = tmp_path_factory.mktemp("tags") / "t.tsv"
    annotations.write_tags(path, tags)
    assert annotations.read_tags(path) == {clip: tuple(found) for clip, found in tags.items()}


cuts = st.builds(
    lambda name, start: f"{name.replace(',', '')}_{start / 1000:.3f}_{start / 1000 + 10:.3f}",
    ids,
    st.integers(0, 10**6),
)
task_labels = st.lists(st.sampled_from(DCASE2017_TASK4), unique=True, min_size=1, max_size=3)


@given(st.dictionaries(cuts, task_labels, max_size=5))
def test_the_organizers_set_and_weak_forms(tmp_path_factory, tags):
    folder = tmp_path_factory.mktemp("task4")
    expected = {clip: tuple(found) for clip, found in tags.items()}
    task4_files.write_set_csv(folder / "set.csv", tags)
    assert task4_files.read_set_csv(folder / "set.csv") == expected
    task4_files.write_weak_tsv(folder / "weak.csv", tags)
    assert task4_files.read_weak_tsv(folder / "weak.csv") == expected


@given(st.dictionaries(cuts, st.lists(events(3, st.sampled_from(DCASE2017_TASK4)), min_size=1, max_size=3), max_size=5))
def test_the_organizers_strong_form(tmp_path_factory, lists):
    path = tmp_path_factory.mktemp("task4") / "strong.csv"
    task4_files.write_strong_tsv(path, lists)
    assert task4_files.read_strong_tsv(path) == {clip: ordered(found) for clip, found in lists.items()}


@given(st.dictionaries(cuts, st.integers(0, 10**7).map(lambda n: n / 10**6), max_size=5))
def test_the_organizers_durations(tmp_path_factory, durations):
    path = tmp_path_factory.mktemp("task4") / "durations.csv"
    task4_files.write_durations(path, {f"{'x' * 10}{clip}": value for clip, value in durations.items()})
    assert list(task4_files.read_durations(path).values()) == list(durations.values())
