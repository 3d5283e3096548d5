"""Blocks of a recording give what the whole gives, and a recording cut anywhere has the same events in its interior."""

import numpy as np
import pytest
from detection_fakes import CLASSES, FEATURES, RATE, TwoSidedModel, bursts, detector
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_weak.config import FeatureConfig
from crnn_weak.detection.scores import predict
from crnn_weak.detection.windows import FrameStream, OverlapAdd, SlidingWindows
from crnn_weak.features.log_mel import LogMelExtractor

HOP, N_HOP = FEATURES.hop_seconds, FEATURES.n_hop
# Beyond it no window holds the cut. The third of a frame keeps it off the frames' edges, where rounding decides.
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
    # The whole begins where one of the piece's frames does: other frames of the sound may differ at a threshold.
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


@pytest.mark.parametrize("n_samples", [1, 199, 200, 201, 4_001, 80_000, 80_123])
def test_frames_of_blocks_are_those_of_the_whole(n_samples):
    audio, extractor = bursts(11.0)[:n_samples], LogMelExtractor(FEATURES)
    cuts = np.random.default_rng(n_samples).integers(0, n_samples + 1, 7)
    stream = FrameStream(np.split(audio, np.sort(cuts)), extractor, FEATURES)
    frames = np.concatenate(list(stream))
    # The extractor refuses what is shorter than half a frame; a stream pads it to one frame.
    whole = extractor(np.pad(audio, (0, max(0, 201 - n_samples))))
    assert stream.n_valid_frames == len(frames) == max(1, round(n_samples / FEATURES.n_hop))
    np.testing.assert_allclose(frames, whole[: len(frames)], atol=2e-6)
    if n_samples < FEATURES.n_clip_samples:  # padded as training clips are
        padded = FrameStream([audio], extractor, FEATURES, min_frames=FEATURES.n_frames)
        whole = extractor(np.pad(audio, (0, FEATURES.n_clip_samples - n_samples)))
        np.testing.assert_allclose(np.concatenate(list(padded)), whole, atol=2e-6)
        assert padded.n_valid_frames == stream.n_valid_frames


def join(windows, frames, model, cuts=()):
    joined = OverlapAdd(windows, frames.shape[1])
    for window in (window for some in windows.cut(np.split(frames, np.sort(cuts).astype(int))) for window in some):
        joined.add(window, model(window.frames), np.full(frames.shape[1], 0.3, np.float32))
    strong, weak = joined.scores(len(frames))
    np.testing.assert_allclose(weak, 0.3, atol=1e-6)
    return strong


WINDOWS = [SlidingWindows(*sizes) for sizes in ((80, 40), (80,), (80, 7), (33, 16), (7,))]


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("n_more", [0, 1, 8, 39, 40, 41, 120, 333])
def test_joining_keeps_every_frame_where_it_was(windows, n_more):
    # A model without memory: its joined scores must be its scores of the whole, frame for frame, from 0 to the end.
    frames = np.random.default_rng(n_more).random((windows.n_window + n_more, 3)).astype(np.float32)
    cuts = np.random.default_rng(1).integers(0, len(frames) + 1, 11)
    np.testing.assert_allclose(join(windows, frames, lambda window: window, cuts), frames, atol=1e-6)


@pytest.mark.parametrize("windows", WINDOWS)
def test_joined_scores_do_not_depend_on_the_blocks(windows):
    frames = np.random.default_rng(0).random((windows.n_window * 5 + 13, 2)).astype(np.float32)

    def edgy(window):  # as bad at the edges as can be
        return window + np.linspace(-1, 1, len(window), dtype=np.float32)[:, None]

    np.testing.assert_array_equal(join(windows, frames, edgy), join(windows, frames, edgy, range(1, len(frames))))


def test_one_window_is_scored_as_one_clip():
    # Detection of a clip of the training length is evaluation of that clip.
    found, audio = detector(), bursts(4.0)
    frames = found.scaler.transform(LogMelExtractor(FEATURES)(audio)).astype(np.float32)[None]
    strong, weak = predict(TwoSidedModel(), frames)
    scores = found.scores((audio, RATE))
    np.testing.assert_array_equal(scores.strong, strong)
    np.testing.assert_array_equal(scores.weak, weak)


def test_an_event_late_in_a_recording_is_found_where_it_is():
    """22,050 Hz and 25 ms are 551.25 samples: with the time of the setting it would be found 0.27 s late."""
    rate, onset = 22_050, 590.0
    features = FeatureConfig(sample_rate_hz=rate, hop_seconds=0.025, window_seconds=0.05, fmax_hz=rate / 2, n_mels=20)
    audio = np.zeros(600 * rate, np.float32)
    audio[round(onset * rate) : round((onset + 2) * rate)] = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * rate)
    fake = detector(TwoSidedModel(memory_seconds=0.01), features=features, window_hop_seconds=5.0)
    events = fake.detect((audio, rate))
    assert sorted(event.label for event in events) == sorted(CLASSES)
    for event in events:
        assert (event.onset, event.offset) == pytest.approx((onset, onset + 2), abs=0.05)
