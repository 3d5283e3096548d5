"""A recording cut and joined at arbitrary points gives the same events in the interior, within one frame."""

import numpy as np
from detection_fakes import FEATURES, RATE, TwoSidedModel, bursts, detector
from hypothesis import given, settings
from hypothesis import strategies as st

HOP, N_HOP = FEATURES.hop_seconds, FEATURES.n_hop
# What is further from a cut than a window is in no window with it. The third of a frame keeps the border off the
# frames' edges, where rounding would put an event on either side of it.
MARGIN = FEATURES.clip_seconds + HOP / 3


def interior(events, edges, shift=0.0):
    """Return the shifted events that keep the margin from every edge, as (label, onset, offset)."""
    rows = [(event.label, event.onset + shift, event.offset + shift) for event in events]
    return sorted(row for row in rows if all(row[2] < edge - MARGIN or row[1] > edge + MARGIN for edge in edges))


def assert_same(mine, theirs):
    """The same labels in the same order, within one frame."""
    assert [row[0] for row in mine] == [row[0] for row in theirs]
    times, others = (np.array([row[1:] for row in rows]) for rows in (mine, theirs))
    np.testing.assert_allclose(times, others, rtol=0, atol=HOP + 1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1_000), st.integers(RATE, 39 * RATE))
def test_cut_at_an_arbitrary_sample(seed, cut):
    # Where the cut falls between two frames' edges, the piece's frames are other frames of the sound, and a score that
    # hovers at its threshold may differ for that alone. Hence the same frames on both sides: the whole recording
    # without its first samples, as many as the cut is after an edge.
    audio, fake = bursts(40.0, seed), detector()
    n_rest, edges = cut % N_HOP, [cut / RATE, 40.0]
    piece = interior(fake.detect((audio[cut:], RATE)), edges, cut / RATE)
    whole = interior(fake.detect((audio[n_rest:], RATE)), edges, n_rest / RATE)
    assert_same(piece, [row for row in whole if row[1] > cut / RATE])


class ClipWideModel:
    """The worst case: what it says of any frame depends on the whole window (as after training with clip labels)."""

    def predict_on_batch(self, windows):
        windows = np.asarray(windows)
        half = windows.shape[2] // 2
        loud = np.stack([windows[..., :half].mean(-1), windows[..., half:].mean(-1)], axis=-1)  # (n, frames, 2)
        share = (loud > 0).mean(axis=1)
        strong = np.repeat(np.clip(2.5 * share, 0, 1)[:, None], windows.shape[1], axis=1)
        return {"strong": strong.astype(np.float32), "weak": strong[:, 0].astype(np.float32)}


def largest_difference(fake, audio, first):
    """Return how much the scores differ in the interior from those without the first frames."""
    whole, piece = (fake.scores((audio[k * N_HOP :], RATE)).strong[0] for k in (0, first))
    margin = FEATURES.n_frames + 1
    return np.abs(whole[first + margin : -margin] - piece[margin:-margin]).max()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1_000), st.integers(1, 500))
def test_a_window_at_every_frame_leaves_no_seam_whatever_the_model(seed, first):
    fake = detector(ClipWideModel(), window_hop_seconds=HOP)
    assert largest_difference(fake, bursts(40.0, seed), first) < 1e-5


def test_half_overlapping_windows_show_their_positions_and_the_default_does_not():
    # The same model with windows every half window differs by a third of the range.
    fake = detector(ClipWideModel(), window_hop_seconds=FEATURES.clip_seconds / 2)
    assert largest_difference(fake, bursts(60.0, 5), 17) > 0.1
    # A window at every other frame (the paper's preset: every fifth), with a memory of 0.2 s in windows of 4 s.
    fake = detector(TwoSidedModel(memory_seconds=0.2), window_hop_seconds=2 * HOP)
    for first in (21, 340):
        assert largest_difference(fake, bursts(60.0, 5), first) < 0.005, first
