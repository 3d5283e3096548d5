"""Which clips a page shows."""

import numpy as np

from crnn_weak.report.clips import ClipScores, choose_clips

CLASSES = ("bell", "drill")
# Segments of each clip: true, estimated, correct; one column per class.
CLIPS = {
    "perfect": ((4, 0), (4, 0), (4, 0)),
    "half": ((2, 2), (2, 0), (2, 0)),
    "wrong": ((0, 4), (4, 0), (0, 0)),
    "wrong and little": ((0, 1), (0, 0), (0, 0)),
    "silent": ((0, 0), (0, 0), (0, 0)),
}
SCORES = ClipScores(tuple(CLIPS), CLASSES, *(np.array(counts) for counts in zip(*CLIPS.values(), strict=True)))


def test_clip_f_scores_by_hand():
    found = dict(zip(CLIPS, SCORES.f_scores(), strict=True))
    assert found["perfect"] == 1.0
    assert found["half"] == 2 * 2 / (4 + 2)
    assert found["wrong"] == 0.0
    assert np.isnan(found["silent"])  # nothing true, nothing found: no score, and never the best


def test_best_worst_and_each_class():
    chosen = choose_clips(SCORES, n_clips=1)
    assert "best" in chosen["perfect"]
    assert "worst" in chosen["wrong"]  # of the two with F 0 the one with more to find
    by_class = {reason: clip for clip, reasons in chosen.items() for reason in reasons if reason.startswith("class")}
    assert by_class["class: drill"] == "wrong"  # the middle of 0, 0 and 0, in the order of the list
    assert sum("random" in reasons for reasons in chosen.values()) == 1
    assert choose_clips(SCORES, n_clips=1) == chosen  # the same every time
    assert sorted(choose_clips(SCORES, n_clips=50)) == sorted(CLIPS)


def test_wanted_clips_come_first_and_alone_if_no_others_are_asked_for():
    assert next(iter(choose_clips(SCORES, n_clips=1, wanted=["silent"]))) == "silent"
    assert choose_clips(SCORES, n_clips=0, wanted=["half"]) == {"half": ["chosen"]}
