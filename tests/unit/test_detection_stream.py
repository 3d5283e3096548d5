"""Streams in pieces give what the whole gives."""

import numpy as np
import pytest
from detection_fakes import FEATURES, RATE, TwoSidedModel, bursts, detector

from crnn_weak.detection.predict import predict
from crnn_weak.detection.windows import FrameStream, ScoreJoiner, WindowPlan
from crnn_weak.errors import ConfigError
from crnn_weak.features.log_mel import LogMelExtractor


def pieces(array, cuts):
    return np.split(array, sorted(cuts))


@pytest.mark.parametrize("n_samples", [1, 199, 200, 201, 4_001, 80_000, 80_123])
def test_frames_of_blocks_are_those_of_the_whole(n_samples):
    audio = bursts(11.0)[:n_samples]
    extractor = LogMelExtractor(FEATURES)
    stream = FrameStream(extractor, FEATURES)
    rng = np.random.default_rng(n_samples)
    got = [stream.push(block) for block in pieces(audio, rng.integers(0, n_samples + 1, 7))] + [stream.finish()]
    # The extractor refuses what is shorter than half a frame; a stream pads it to one frame.
    whole = extractor(np.pad(audio, (0, max(0, 201 - n_samples))))
    assert stream.n_frames == max(1, round(n_samples / FEATURES.n_hop))
    np.testing.assert_allclose(np.concatenate(got), whole[: stream.n_frames], atol=2e-6)


def test_a_short_recording_is_padded_as_training_clips_are():
    audio = bursts(1.3)
    stream = FrameStream(LogMelExtractor(FEATURES), FEATURES)
    frames = np.concatenate([stream.push(audio), stream.finish(at_least=FEATURES.n_frames)])
    padded = np.pad(audio, (0, FEATURES.n_clip_samples - audio.size))
    np.testing.assert_allclose(frames, LogMelExtractor(FEATURES)(padded), atol=2e-6)


def join(plan, frames, model, cuts=()):
    joiner = ScoreJoiner(plan)
    got = []

    def score():
        for first, window in joiner.windows():
            out = model(window)
            joiner.accept(first, out, out.max(axis=0))
        strong, _ = joiner.take()
        if len(strong):
            got.append(strong)

    for block in pieces(frames, cuts):
        joiner.push(block)
        score()
    joiner.finish()
    score()
    return np.concatenate(got)


PLANS = [
    WindowPlan.crossfade(80, 40),
    WindowPlan.crossfade(80),
    WindowPlan.crossfade(80, 7),
    WindowPlan.crossfade(33, 16),
    WindowPlan.crossfade(7),
    WindowPlan.low_delay(80, n_delay=20, n_hop=9),
    WindowPlan.low_delay(80, n_delay=0, n_hop=80),
    WindowPlan.low_delay(80, n_delay=500, n_hop=10),
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("n_more", [0, 1, 8, 39, 40, 41, 120, 333])
def test_joining_keeps_every_frame_where_it_was(plan, n_more):
    # A model without memory: its joined scores must be its scores of the whole, frame for frame, from 0 to the end.
    frames = np.random.default_rng(n_more).random((plan.n_window + n_more, 3)).astype(np.float32)
    cuts = np.random.default_rng(1).integers(0, len(frames) + 1, 11)
    np.testing.assert_allclose(join(plan, frames, lambda window: window, cuts), frames, atol=1e-6)


@pytest.mark.parametrize("plan", PLANS)
def test_joined_scores_do_not_depend_on_the_blocks(plan):
    frames = np.random.default_rng(0).random((plan.n_window * 5 + 13, 2)).astype(np.float32)

    def edgy(window):  # as bad at the edges as can be
        return window + np.linspace(-1, 1, len(window), dtype=np.float32)[:, None]

    whole = join(plan, frames, edgy)
    every = join(plan, frames, edgy, range(1, len(frames)))
    np.testing.assert_array_equal(whole, every)


def test_crossfade_has_no_seams():
    # A score that depends on the place in the window alone shows the joins: no step may exceed the ramp's.
    plan = WindowPlan.crossfade(80, 40)
    joined = join(plan, np.zeros((800, 1), np.float32), lambda w: np.linspace(0, 1, 80, dtype=np.float32)[:, None])
    inner = joined[80:-80, 0]
    assert np.abs(np.diff(inner)).max() < 0.03
    sums = plan.weights[:40] + plan.weights[40:]
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)


def test_scores_come_within_the_stated_delay():
    for plan in PLANS[:7]:
        joiner = ScoreJoiner(plan)
        taken = 0
        for n_known in range(1, plan.n_window * 4):
            joiner.push(np.zeros((1, 1), np.float32))
            for first, window in joiner.windows():
                joiner.accept(first, window, window[0])
            taken += len(joiner.take()[0])
            if n_known > plan.n_window + plan.n_hop:
                assert n_known - taken <= plan.n_delay + 1


def test_memory_does_not_grow():
    plan = WindowPlan.crossfade(80)
    joiner = ScoreJoiner(plan)
    for _ in range(300):
        joiner.push(np.zeros((30, 1), np.float32))
        for first, window in joiner.windows():
            joiner.accept(first, window, window[0])
        joiner.take()
    assert len(joiner._frames) <= 2 * plan.n_window
    assert len(joiner._sums) <= 6 * plan.n_window


def test_a_plan_that_leaves_frames_out_is_refused():
    with pytest.raises(ConfigError, match="neighboring weights"):
        WindowPlan(10, 6, np.r_[np.zeros(5), np.ones(5)].astype(np.float32))


def test_one_window_is_scored_as_one_clip():
    # Detection of a clip of the training length is evaluation of that clip.
    found = detector()
    audio = bursts(4.0)
    frames = found.scaler.transform(LogMelExtractor(FEATURES)(audio)).astype(np.float32)[None]
    strong, weak = predict(TwoSidedModel(), frames)
    scores = found.scores((audio, RATE))
    np.testing.assert_array_equal(scores.strong, strong)
    np.testing.assert_array_equal(scores.weak, weak)
