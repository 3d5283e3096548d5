"""Blocks of a recording give what the whole gives: frames, windows, joined scores."""

import numpy as np
import pytest
from detection_fakes import FEATURES, RATE, TwoSidedModel, bursts, detector

from crnn_weak.detection.scores import predict
from crnn_weak.detection.windows import FrameStream, OverlapAdd, SlidingWindows
from crnn_weak.features.log_mel import LogMelExtractor


def blocks(array, cuts):
    return np.split(array, sorted(cuts))


@pytest.mark.parametrize("n_samples", [1, 199, 200, 201, 4_001, 80_000, 80_123])
def test_frames_of_blocks_are_those_of_the_whole(n_samples):
    audio, extractor = bursts(11.0)[:n_samples], LogMelExtractor(FEATURES)
    cuts = np.random.default_rng(n_samples).integers(0, n_samples + 1, 7)
    stream = FrameStream(blocks(audio, cuts), extractor, FEATURES)
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
    for window in (window for some in windows.cut(blocks(frames, cuts)) for window in some):
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
