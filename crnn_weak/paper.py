"""The published numbers, as data.

Adavanne & Virtanen, "Sound event detection using weakly labeled dataset with stacked convolutional and recurrent
neural network", DCASE 2017 workshop, arXiv:1710.02998; the table is from the authors' slides.
"""

from __future__ import annotations

from typing import NamedTuple

CITATION = (
    'S. Adavanne and T. Virtanen, "Sound event detection using weakly labeled dataset with stacked convolutional '
    'and recurrent neural network", DCASE 2017 workshop, arXiv:1710.02998'
)


class PaperRow(NamedTuple):
    """One row of the published table, in percent except the error rates.

    The challenge columns are of the authors' four submissions, on the evaluation set (the organizers' results page).
    """

    strong: float
    weak: float
    tagging_precision: float
    tagging_recall: float
    tagging_f: float
    error_rate: float
    segment_f: float
    challenge_tagging_f: float | None
    challenge_error_rate: float | None
    challenge_tagging_precision: float | None = None
    challenge_tagging_recall: float | None = None


RESULTS: tuple[PaperRow, ...] = (
    PaperRow(0.002, 1, 44.9, 37.0, 40.5, 1.38, 10.9, None, None),
    PaperRow(0.02, 1, 44.2, 36.5, 40.0, 1.13, 17.0, None, None),
    PaperRow(0.2, 1, 47.5, 39.6, 43.2, 0.84, 38.1, 46.6, 0.80, 58.0, 38.9),
    PaperRow(1, 1, 47.5, 39.7, 43.3, 0.84, 38.8, 45.5, 0.81, 57.2, 37.9),
    PaperRow(1, 0.2, 47.3, 39.5, 43.0, 0.84, 38.6, 44.5, 0.82, 55.8, 37.1),
    PaperRow(1, 0.02, 25.5, 20.6, 22.8, 0.81, 41.1, None, None),
    PaperRow(1, 0.002, 20.5, 16.5, 18.3, 0.81, 42.4, 26.3, 0.79, 33.2, 21.8),
)

#: Best of the challenge on the evaluation set, by two different teams: tagging by a gated CRNN with attention (Surrey
#: CVSSP), detection by an ensemble of CNNs.
CHALLENGE_BEST = {"challenge_tagging_f": 55.6, "challenge_error_rate": 0.66}
