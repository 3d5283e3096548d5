"""Raw PCM as it arrives: the events of a file, soon enough, whatever the reads."""

import io

import numpy as np
import pytest
from detection_fakes import CLASSES, FEATURES, RATE, bursts, detector

from crnn_weak.config import OperatingPointConfig
from crnn_weak.detection.live import LiveDetector, PcmBlocks, PcmFormat
from crnn_weak.errors import ConfigError, DataError


class Dribble(io.RawIOBase):
    """Gives odd numbers of bytes, and counts them."""

    def __init__(self, data, seed=0):
        self.data, self.n_given = data, 0
        self.rng = np.random.default_rng(seed)

    def readable(self):
        return True

    def read(self, size=-1):
        n = int(min(max(1, self.rng.integers(1, 3000)), size if size > 0 else 3000))
        piece = self.data[self.n_given : self.n_given + n]
        self.n_given += len(piece)
        return piece


def s16(audio):
    return np.round(audio * 32767).astype("<i2").tobytes()


def rows(events):
    return sorted((event.onset, event.offset, event.label) for event in events)


def test_the_events_of_a_stream_are_those_of_the_file():
    audio = np.round(bursts(31.3) * 32767).astype(np.int16)
    point = OperatingPointConfig(low_threshold=0.3, median_seconds=0.15, min_gap_seconds=0.2, min_duration_seconds=0.2)
    found = detector(operating_point=point)
    live = LiveDetector(found, PcmFormat(RATE))
    events = list(live.events(Dribble(audio.tobytes())))
    assert rows(events) == rows(found.detect((audio, RATE)))
    assert len(events) > 5
    assert live.duration_seconds == pytest.approx(31.3)


@pytest.mark.parametrize("delay", [None, 2.0, 1.2])
def test_events_come_within_the_stated_delay(delay):
    audio = bursts(60.0, 3)
    live = LiveDetector(
        detector(operating_point=OperatingPointConfig(median_seconds=0.15, min_gap_seconds=0.2)),
        PcmFormat(RATE),
        delay_seconds=delay,
    )
    stream = Dribble(s16(audio))
    n_late = 0
    for event in live.events(stream):
        heard = stream.n_given / 2 / RATE
        if heard > FEATURES.clip_seconds + live.delay_seconds and heard < 60.0:
            assert heard - event.offset <= live.delay_seconds
            n_late += 1
    assert n_late > 10
    if delay is not None:
        assert live.delay_seconds == pytest.approx(delay, abs=FEATURES.hop_seconds)
        assert live.delay_seconds <= delay + 1e-6


def test_a_shorter_delay_finds_the_same_events_nearly():
    audio = bursts(40.0, 4)
    found = detector()
    early = rows(LiveDetector(found, PcmFormat(RATE), delay_seconds=1.5).events(io.BytesIO(s16(audio))))
    late = rows(found.detect((audio, RATE)))
    assert len(early) == len(late)
    np.testing.assert_allclose([row[:2] for row in early], [row[:2] for row in late], atol=0.051)


def test_another_rate_two_channels_floats():
    audio = bursts(20.0, 1, rate=44_100)
    stereo = np.stack([audio, audio], axis=1).astype("<f4")
    found = detector()
    live = LiveDetector(found, PcmFormat(44_100, 2, "f32le"), classes=CLASSES[:1])
    events = list(live.events(Dribble(stereo.tobytes() + b"\0\0\0")))  # an incomplete sample at the end
    assert rows(events) == [row for row in rows(found.detect((audio, 44_100))) if row[2] == CLASSES[0]]


def test_a_stream_shorter_than_a_window_gives_its_events_at_the_end():
    audio = bursts(2.5)
    found = detector()
    assert rows(LiveDetector(found, PcmFormat(RATE)).events(io.BytesIO(s16(audio)))) == rows(
        found.detect((np.round(audio * 32767).astype(np.int16), RATE))
    )


def test_an_empty_stream_has_no_events():
    live = LiveDetector(detector(), PcmFormat(RATE))
    assert list(live.events(io.BytesIO(b""))) == []
    assert live.duration_seconds == 0


def test_nan_in_a_stream_is_an_error():
    data = np.full(RATE, np.nan, "<f4").tobytes()
    with pytest.raises(DataError, match="NaN"):
        list(PcmBlocks(io.BytesIO(data), PcmFormat(RATE, 1, "f32le"), RATE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate_hz": 0},
        {"sample_rate_hz": 10**20},
        {"n_channels": 0},
        {"n_channels": 10**18},
        {"sample_format": "u8"},
    ],
)
def test_an_impossible_format_is_refused(wrong):
    with pytest.raises(ConfigError):
        PcmFormat(**{"sample_rate_hz": RATE, **wrong})


@pytest.mark.parametrize("delay", [0.0, -1.0, 0.3, 6.0, float("nan"), float("inf")])
def test_an_impossible_delay_is_refused(delay):
    with pytest.raises(ConfigError, match="delay"):
        LiveDetector(detector(), PcmFormat(RATE), delay_seconds=delay)
