"""Which clips a page shows."""

import numpy as np

from crnn_weak.labels.events import Event
from crnn_weak.report.clip_choice import choose_clips, score_clips
from crnn_weak.report.clip_views import ClipData, saliency_classes, score_path

CLASSES = ("bell", "drill")
REFERENCE = {
    "perfect": (Event(0, 4, "bell"),),
    "half": (Event(0, 2, "bell"), Event(2, 4, "drill")),
    "wrong": (Event(0, 4, "drill"),),
    "wrong and little": (Event(0, 1, "drill"),),
    "silent": (),
}
ESTIMATED = {
    "perfect": (Event(0, 4, "bell"),),
    "half": (Event(0, 2, "bell"),),
    "wrong": (Event(0, 4, "bell"),),
}


def scores():
    return score_clips(tuple(REFERENCE), CLASSES, REFERENCE, ESTIMATED, clip_seconds=4.0)


def test_clip_f_scores_by_hand():
    found = dict(zip(REFERENCE, scores().f_scores(), strict=True))
    assert found["perfect"] == 1.0
    assert found["half"] == 2 * 2 / (4 + 2)
    assert found["wrong"] == 0.0
    assert np.isnan(found["silent"])  # nothing true, nothing found: no score, and never the best


def test_best_worst_and_each_class():
    chosen = choose_clips(scores(), n_clips=1)
    assert "best" in chosen["perfect"]
    assert "worst" in chosen["wrong"]  # of the two with F 0 the one with more to find
    by_class = {reason: clip for clip, reasons in chosen.items() for reason in reasons if reason.startswith("class")}
    assert by_class["class: drill"] == "wrong"  # the middle of 0, 0 and 0, in the order of the list
    assert sum("random" in reasons for reasons in chosen.values()) == 1


def test_wanted_clips_come_first_and_none_more_when_none_are_asked_for():
    assert next(iter(choose_clips(scores(), n_clips=1, wanted=["silent"]))) == "silent"
    assert choose_clips(scores(), n_clips=0, wanted=["half"]) == {"half": ["chosen"]}


def test_the_random_clips_are_the_same_every_time():
    assert choose_clips(scores(), n_clips=1, seed=3) == choose_clips(scores(), n_clips=1, seed=3)


def test_more_clips_than_there_are_shows_each_once():
    chosen = choose_clips(scores(), n_clips=50)
    assert sorted(chosen) == sorted(REFERENCE)


def test_score_path_is_closed_and_written_by_changes():
    path = score_path(np.array([0.2, 0.2, 1.5, np.float32(0.0)]))
    assert path == "M0 100V80H2V0H3V100H4V100Z"  # scores beyond 1 are cut


def test_saliency_is_of_the_true_classes_first():
    def clip(true, found):
        events = [Event(0, 1, label) for label in found]
        return ClipData("a", np.zeros((4, 2)), np.zeros((4, 2)), np.array([0.1, 0.9]), None, true, events, ())

    assert saliency_classes(clip(["drill"], ["bell"]), CLASSES) == ["drill", "bell"]
    assert saliency_classes(clip([], []), CLASSES) == ["drill"]
