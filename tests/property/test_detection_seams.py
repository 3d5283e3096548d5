"""A recording cut and joined at arbitrary points gives the same events in the interior, within one frame."""

import numpy as np
from detection_fakes import FEATURES, RATE, TwoSidedModel, bursts, detector
from hypothesis import given, settings
from hypothesis import strategies as st

HOP = FEATURES.hop_seconds
# What lies further from a cut than a window is in no window with it. The third of a frame keeps the border off the
# frames' edges, where rounding would put an event on either side of it.
MARGIN = FEATURES.clip_seconds + HOP / 3


def interior(events, edges):
    """The events that keep the margin from every edge."""
    return sorted(
        (event.label, event.onset, event.offset)
        for event in events
        if all(event.offset < edge - MARGIN or event.onset > edge + MARGIN for edge in edges)
    )


def assert_same(got, want):
    """The same labels in the same order, within one frame."""
    assert [row[0] for row in got] == [row[0] for row in want]
    for mine, theirs in zip(got, want, strict=True):
        assert abs(mine[1] - theirs[1]) <= HOP + 1e-6, (mine, theirs)
        assert abs(mine[2] - theirs[2]) <= HOP + 1e-6, (mine, theirs)


class Shifted:
    def __init__(self, event, by):
        self.label, self.onset, self.offset = event.label, event.onset + by, event.offset + by


def joined_events(found, audio, cuts):
    joined = []
    for begin, piece in zip([0, *cuts], np.split(audio, cuts), strict=True):
        joined += [Shifted(event, begin / RATE) for event in found.detect((piece, RATE))]
    return interior(joined, [cut / RATE for cut in cuts])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.lists(st.integers(20, 780), min_size=1, max_size=4, unique=True))
def test_cut_at_arbitrary_frames(seed, cuts):
    audio, found = bursts(40.0, seed), detector()
    cuts = [cut * FEATURES.n_hop for cut in sorted(cuts)]
    whole = interior(found.detect((audio, RATE)), [cut / RATE for cut in cuts])
    assert_same(joined_events(found, audio, cuts), whole)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.integers(RATE, 39 * RATE))
def test_cut_at_an_arbitrary_sample(seed, cut):
    # Where the cut falls between two frames' edges, the piece's frames are other frames of the sound, and a score that
    # hovers at its threshold may differ for that alone. Hence the same frames on both sides: the whole recording
    # without its first samples, as many as the cut lies behind an edge.
    audio, found = bursts(40.0, seed), detector()
    n_rest = cut % FEATURES.n_hop
    piece, whole = found.detect((audio[cut:], RATE)), found.detect((audio[n_rest:], RATE))
    edges = [cut / RATE, 40.0]
    mine = interior([Shifted(event, cut / RATE) for event in piece], edges)
    theirs = interior([Shifted(event, n_rest / RATE) for event in whole], edges)
    assert_same(mine, [row for row in theirs if row[1] > cut / RATE])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1_000), st.integers(1, 9 * RATE), st.integers(1, 9 * RATE))
def test_joined_to_other_sound(seed, n_before, n_behind):
    # The windows' grid now lies elsewhere over the recording; the frames' grid again the same on both sides.
    audio, found = bursts(20.0, seed), detector()
    noise = 0.05 * np.random.default_rng(seed).standard_normal(n_before + n_behind).astype(np.float32)
    joined = found.detect((np.concatenate([noise[:n_before], audio, noise[n_before:]]), RATE))
    n_rest = n_before % FEATURES.n_hop
    alone = found.detect((np.concatenate([noise[n_before - n_rest : n_before], audio]), RATE))
    edges = [0.0, 20.0]
    shifted = [Shifted(event, -n_before / RATE) for event in joined]
    mine = [row for row in interior(shifted, edges) if 0 < row[1] < 20]
    assert_same(mine, interior([Shifted(event, -n_rest / RATE) for event in alone], edges))


class ClipWideModel:
    """The worst case: what it says of any frame hangs on the whole window (as after training with clip labels)."""

    def predict_on_batch(self, windows):
        windows = np.asarray(windows)
        half = windows.shape[2] // 2
        loud = np.stack([windows[..., :half].mean(-1), windows[..., half:].mean(-1)], axis=-1)  # (n, frames, 2)
        share = (loud > 0).mean(axis=1)
        strong = np.repeat(np.clip(2.5 * share, 0, 1)[:, None], windows.shape[1], axis=1)
        return {"strong": strong.astype(np.float32), "weak": strong[:, 0].astype(np.float32)}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1_000), st.lists(st.integers(20, 780), min_size=1, max_size=3, unique=True))
def test_a_window_at_every_frame_leaves_no_seam_whatever_the_model(seed, cuts):
    found = detector(ClipWideModel(), window_hop_seconds=HOP)
    audio = bursts(40.0, seed)
    scores = found.scores((audio, RATE)).strong[0]
    margin = FEATURES.n_frames
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 800], strict=True):
        piece = found.scores((audio[first * FEATURES.n_hop : last * FEATURES.n_hop], RATE)).strong[0]
        begin = margin if first else 0
        end = len(piece) - (margin if last < 800 else 0)
        if end > begin:
            np.testing.assert_allclose(piece[begin:end], scores[first + begin : first + end], atol=1e-5)


def test_half_overlapping_windows_show_where_they_lie():
    # What the default is for: the same model with windows every half window differs by a third of the range.
    audio = bursts(60.0, 5)
    margin = FEATURES.n_frames
    largest = {}
    for hop in (FEATURES.clip_seconds / 2, HOP):
        found = detector(ClipWideModel(), window_hop_seconds=hop)
        whole, piece = (found.scores((audio[first * FEATURES.n_hop :], RATE)).strong[0] for first in (0, 17))
        largest[hop] = np.abs(whole[17 + margin : -margin] - piece[margin:-margin]).max()
    assert largest[HOP] < 1e-5
    assert largest[FEATURES.clip_seconds / 2] > 0.1


def test_the_scores_of_a_piece_are_those_of_the_whole():
    # A window at every other frame (the paper's preset: every fifth), with a memory of 0.2 s in windows of 4 s.
    audio, found = bursts(60.0, 5), detector(TwoSidedModel(memory_seconds=0.2), window_hop_seconds=2 * HOP)
    scores = found.scores((audio, RATE)).strong[0]
    margin = round(MARGIN / HOP)
    for first in (21, 133, 340, 801):
        piece = found.scores((audio[first * FEATURES.n_hop :], RATE)).strong[0]
        difference = np.abs(scores[first + margin : -margin] - piece[margin:-margin])
        assert difference.max() < 0.005, first
