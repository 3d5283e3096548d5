"""The package's counts against sed_eval: its committed values for known lists, and its values now for random lists."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from crnn_weak.config import EvaluationConfig
from crnn_weak.labels.events import DCASE2017_TASK4, Event
from crnn_weak.labels.reading import class_list, read_events, read_pair, read_tags
from crnn_weak.labels.rolls import event_roll
from crnn_weak.metrics.controls import score_controls, whole_clip
from crnn_weak.metrics.counting import Scoring, event_metrics, segment_metrics, tagging_metrics
from crnn_weak.metrics.ranking import within_clip_auc
from crnn_weak.metrics.sed_eval import reported_event_metrics, reported_segment_metrics, reported_tagging_metrics

LABELS = ("Air horn, truck horn", "Car", "Fire engine, fire truck (siren)")


def oracle_rates(row):
    """Return rates of the oracle's JSON under our names; null there is NaN here."""
    f_measure, error_rate = row["f_measure"], row["error_rate"]
    rates = {"precision": f_measure["precision"], "recall": f_measure["recall"], "f_score": f_measure["f_measure"]}
    rates |= {name: error_rate[name] for name in ("error_rate", "deletion_rate", "insertion_rate")}
    return {name: math.nan if value is None else value for name, value in rates.items()}


def assert_is_oracle(metrics, oracle):
    """Compare every value of the oracle's JSON; a class never estimated has F 0 here, NaN in sed_eval's averages."""
    average, n_never = oracle_rates(oracle["class_wise_average"]), 0
    for label, row in oracle["class_wise"].items():
        expected, counts = oracle_rates(row), {"n_reference": row["count"]["Nref"], "n_estimated": row["count"]["Nsys"]}
        if counts["n_reference"] and not counts["n_estimated"]:
            n_never += 1
            assert math.isnan(expected["precision"])
            expected |= {"precision": 0.0, "f_score": 0.0}
        ours = {name: value for name, value in metrics.class_wise[label].items() if name != "n_correct"}
        assert ours == pytest.approx(counts | expected, abs=1e-9, nan_ok=True)
    for name in ("precision", "f_score") if n_never else ():
        n_defined = len(metrics.class_wise) - metrics.n_undefined[name]
        average[name] *= (n_defined - n_never) / n_defined
    assert metrics.class_average == pytest.approx(average, abs=1e-9, nan_ok=True)
    overall = oracle_rates(oracle["overall"])
    overall["substitution_rate"] = oracle["overall"]["error_rate"]["substitution_rate"]
    assert {name: getattr(metrics, name) for name in overall} == pytest.approx(overall, abs=1e-9, nan_ok=True)


TASK4_CASES = {
    "segment_1s": ((segment_metrics, reported_segment_metrics), {"clip_seconds": None}),
    "segment_1s_length_10": ((segment_metrics, reported_segment_metrics), {"clip_seconds": 10.0}),
    "event_200ms_50pc": ((event_metrics, reported_event_metrics), {}),
    "event_200ms_onset_only": ((event_metrics, reported_event_metrics), {"onset_only": True}),
}


@pytest.mark.parametrize("rows", ["dropped", "kept"])
@pytest.mark.parametrize("case", TASK4_CASES)
def test_task4_estimate(case, rows, metric_oracle, task4_metadata):
    cases = json.loads((metric_oracle / "task4_testing_oracle.json").read_text())["cases"]
    reference = read_events(task4_metadata / "groundtruth_strong_label_testing_set.csv")
    estimated = read_events(metric_oracle / "task4_testing_estimated.csv")
    if rows == "dropped":
        reference = {clip: [event for event in found if event.duration] for clip, found in reference.items()}
    assert len(reference) == 488
    functions, options = TASK4_CASES[case]
    for function in functions:
        metrics = function(reference, estimated, classes=DCASE2017_TASK4, **options)
        assert_is_oracle(metrics, cases[f"{case}/zero_rows_{rows}"])


PAIRS = (
    ("audioset1", "audioset1_detected"), ("binary1", "binary1_detected"), ("binary2", "binary2_detected"),
    ("binary3", "binary3_detected"), ("binary4", "binary4_detected"), ("binary5", "binary5_detected"),
    ("mini_reference", "mini_detected_a"), ("mini_reference", "mini_detected_b"),
    ("street_fold1_reference", "street_fold1_detected"), ("office_snr0_high_v2", "office_snr0_high_v2_detected"),
    ("office_snr0_med_v2", "office_snr0_med_v2_detected"),
)  # fmt: skip


@pytest.mark.parametrize(("reference", "estimated"), PAIRS)
def test_every_list_of_sed_evals_own_tests(reference, estimated, metric_oracle, tmp_path):
    paths = []
    for name in (reference, estimated):
        path = metric_oracle / "sed_eval" / "sound_event" / f"{name}.txt"
        if "audioset" in name:  # ids of classes in the place of files, which need a header
            (tmp_path / path.name).write_text("filename\tonset\toffset\tlabel\n" + path.read_text())
            path = tmp_path / path.name
        paths.append(path)
    pair = read_pair(*paths)
    assert pair.kind == "events"
    assert_same_as_official(pair.reference, pair.estimated, class_list(pair.reference, pair.estimated))


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("perfect_prediction.csv", "output_perfect_prediction.csv"),
        ("precision_affected_prediction.csv", "precision_affected_output.txt"),
        ("recall_affected_prediction.csv", "recall_affected_output.txt"),
        ("imperfect_prediction.csv", "imperfect_prediction_output.csv"),
    ],
)
def test_organizers_made_up_taggings(name, output, task4_metadata):
    said = dict(
        line.replace(" Score", "").split(" = ")
        for line in (task4_metadata / "evaluation" / "output" / output).read_text().splitlines()
    )
    reference = read_tags(task4_metadata / "groundtruth_weak_label_testing_set.csv")
    estimated = read_tags(task4_metadata / "evaluation" / "prediction" / name)
    metrics = tagging_metrics(reference, estimated, classes=class_list(reference, estimated))
    assert metrics.n_clips == int(said["Number of Audio Files"])
    for figure, value in (("Precision", metrics.precision), ("Recall", metrics.recall), ("F1", metrics.f_score)):
        assert 100 * value == pytest.approx(float(said[figure]), abs=1e-9)


# Few distinct times, so that events meet: on segment boundaries, at equal onsets, exactly a collar apart, of length 0.
times = st.one_of(
    st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.8, 1.0, 1.0000001, 2.0, 2.999999, 3.0, 9.999, 10.0, 10.5]),
    st.floats(0, 12, allow_nan=False).map(lambda x: round(x, 3)),
)
events = st.builds(lambda a, b, label: Event(min(a, b), max(a, b), label), times, times, st.sampled_from(LABELS))
event_lists = st.lists(events, max_size=8)


def assert_same_as_official(reference, estimated, classes):
    for length in (None, 10.0):
        for resolution in (1.0, 0.3):
            options = {"classes": classes, "clip_seconds": length}
            ours = segment_metrics(reference, estimated, segment_seconds=resolution, **options)
            evaluation = EvaluationConfig(segment_seconds=resolution)
            assert_same(ours, reported_segment_metrics(reference, estimated, evaluation=evaluation, **options))
    assert_same_events(reference, estimated, classes)


def assert_same_events(reference, estimated, classes):
    for onset_only in (False, True):
        ours = event_metrics(reference, estimated, classes=classes, onset_only=onset_only)
        assert_same(ours, reported_event_metrics(reference, estimated, classes=classes, onset_only=onset_only))


def assert_same(ours, theirs):
    ours, theirs = ours.to_dict(), theirs.to_dict()
    for content in (ours, theirs):
        rows = content.pop("class_wise") | {"average": content.pop("class_average")}
        content |= {f"{label}: {name}": value for label, row in rows.items() for name, value in row.items()}
    assert ours.pop("n_undefined") == theirs.pop("n_undefined")
    assert ours == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(event_lists, event_lists), min_size=1, max_size=3))
def test_random_lists(clips):
    reference = {str(clip): pair[0] for clip, pair in enumerate(clips)}
    assert_same_as_official(reference, {str(clip): pair[1] for clip, pair in enumerate(clips)}, LABELS)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=2, max_size=10),
    st.lists(st.integers(0, 8), min_size=2, max_size=10),
    st.lists(st.sampled_from(LABELS[:2]), min_size=20, max_size=20),
)
def test_crowds_of_near_onsets(first, second, labels):
    """Onsets 0.1 s apart with a collar of 0.2 s: every event has several partners, and choices decide what is left."""
    lists = [
        [Event(round(1 + 0.1 * place, 1), 4.0, label) for place, label in zip(places, names, strict=False)]
        for places, names in ((first, labels[:10]), (second, labels[10:]))
    ]
    assert_same_events({"a": lists[0]}, {"a": lists[1]}, LABELS)


# Any string is a label, those too that dcase_util reads as nothing or as a number.
strange = st.sampled_from(["none", "None", "nan", "NA", "", "1", "1.5", "a, b", "é", "-", "null", "True"])
strange_events = st.builds(lambda a, b, label: Event(min(a, b), max(a, b), label), times, times, strange)


@settings(max_examples=50, deadline=None)
@given(st.lists(strange_events, max_size=6), st.lists(strange_events, max_size=6))
def test_any_string_is_a_label(first, second):
    classes = tuple(sorted({event.label for event in (*first, *second)})) or ("none",)
    assert_same_as_official({"none": first}, {"none": second}, classes)


tag_lists = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from(("none", "1", "Car"))), min_size=1)


@settings(max_examples=100, deadline=None)
@given(tag_lists, tag_lists, st.sampled_from([("none", "1", "Car"), ("Car", "1", "none", "absent"), ("Car",)]))
def test_tags_are_scored_as_scikit_learn_does(reference, estimated, classes):
    estimated = {clip: tags & {*classes} for clip, tags in estimated.items() if clip in reference}
    reference = {clip: tags & {*classes} for clip, tags in reference.items()}
    ours = tagging_metrics(reference, estimated, classes=classes)
    assert_same(ours, reported_tagging_metrics(reference, estimated, classes=classes))


def rotated_lists(events, k, n):
    """Return the events of clips of n segments of one second, rotated by k segments, as lists of whole segments."""
    rotated = {}
    for clip, found in events.items():
        places = {(segment, e.label) for e in found for segment in range(math.floor(e.onset), math.ceil(e.offset))}
        moved = [((segment + k) % n, label) for segment, label in sorted(places) if segment < n]
        rotated[clip] = [Event(segment, segment + 1.0, label) for segment, label in moved]
    return rotated


@pytest.mark.parametrize("kept", [False, True])
def test_rotated_scores_are_the_mean_of_sed_evals_over_all_rotations(kept):
    rng, n = np.random.default_rng(3), 4
    lists = []
    for _ in range(2):
        clips = {}
        for clip in "abcdefgh":
            onsets, lengths, labels = rng.uniform(0, 3.9, 3), rng.uniform(0, 2, 3), rng.choice(LABELS, 3)
            columns = zip(onsets, lengths, labels, strict=True)
            clips[clip] = [Event(onset, onset + length, str(label)) for onset, length, label in columns]
        lists.append(clips)
    reference, estimated = lists[0], lists[0] if kept else lists[1]
    options = {"classes": LABELS, "clip_seconds": float(n), "evaluation": EvaluationConfig()}
    scores = [reported_segment_metrics(reference, rotated_lists(estimated, k, n), **options) for k in range(n)]
    found = score_controls(reference, estimated, Scoring(**options))
    for name in ("f_score", "error_rate", "substitution_rate", "deletion_rate", "insertion_rate"):
        assert found["rotated"][name] == pytest.approx(np.mean([getattr(score, name) for score in scores]))
    own = reported_segment_metrics(reference, estimated, **options)
    for name in ("f_score", "error_rate"):
        assert found["timing_gain"][name] == pytest.approx(getattr(own, name) - found["rotated"][name])
    stretched = whole_clip({clip: {event.label for event in rows} for clip, rows in estimated.items()}, float(n))
    whole = reported_segment_metrics(reference, stretched, **options)
    assert (found["whole_clip"]["f_score"], found["whole_clip"]["error_rate"]) == (whole.f_score, whole.error_rate)


def test_areas_inside_clips_are_scikit_learns():
    rng = np.random.default_rng(4)
    strong = rng.integers(0, 6, (5, 30, 3)) / 8  # with ties
    events = {str(clip): [Event(clip, clip + 4.0, LABELS[clip % 3]), Event(2.0, 9.0, LABELS[0])] for clip in range(5)}
    found = within_clip_auc(strong, events, clip_ids=list(events), classes=LABELS, hop_seconds=0.5)
    areas = []
    for row, rows in enumerate(events.values()):
        roll = event_roll(rows, LABELS, hop_seconds=0.5, n_frames=30)
        areas += [roc_auc_score(roll[:, c], strong[row, :, c]) for c in np.flatnonzero(roll.any(axis=0))]
    assert (found["auc"], found["n_pairs"]) == (pytest.approx(np.mean(areas)), len(areas))
