"""Events from raw PCM while it arrives, with a bounded delay that is stated beforehand.

By default the windows are those of files (`WindowPlan.crossfade`), so a stream gives exactly the events that
`Detector.detect` gives of the same samples. A score is then final when the features behind it have gone on for seven
eighths of a window (8.75 s of 10 s). With `delay_seconds` windows are laid closer together and each gives only the
frames shortly before its end: sooner, at more computation and with less context to the right. Either way nothing
comes before the first whole window has been heard, unless the stream ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from crnn_weak.errors import ConfigError, DataError
from crnn_weak.events.operating_point import ClassDecisions
from crnn_weak.events.stream import EventStream
from crnn_weak.inference.detector import Detector
from crnn_weak.inference.engine import within
from crnn_weak.inference.inputs import Resampler
from crnn_weak.inference.windows import FrameStream, ScoreJoiner, WindowPlan
from crnn_weak.labels.events import Event

__all__ = ["SAMPLE_FORMATS", "LiveDetector", "PcmFormat", "pcm_blocks"]

#: name -> (NumPy type, value of full scale)
SAMPLE_FORMATS: dict[str, tuple[str, float]] = {"s16le": ("<i2", 32768.0), "f32le": ("<f4", 1.0)}
# The resampler's filter reaches this far ahead; measured below 5 ms, stated generously.
_RESAMPLER_SECONDS = 0.05


@dataclass(frozen=True)
class PcmFormat:
    """What raw samples mean: nothing in the stream says it."""

    sample_rate_hz: int
    n_channels: int = 1
    sample_format: str = "s16le"

    def __post_init__(self) -> None:
        if self.sample_rate_hz < 1 or self.n_channels < 1:
            raise ConfigError(
                f"raw PCM of {self.sample_rate_hz} Hz, {self.n_channels} channels: expected 1 or more of both."
            )
        if self.sample_format not in SAMPLE_FORMATS:
            raise ConfigError(f"sample format {self.sample_format!r}: expected {' or '.join(SAMPLE_FORMATS)}.")

    @property
    def n_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return np.dtype(SAMPLE_FORMATS[self.sample_format][0]).itemsize * self.n_channels


def pcm_blocks(stream: BinaryIO, pcm: PcmFormat, *, block_seconds: float = 0.25) -> Iterator[np.ndarray]:
    """Yield mono blocks, float32 of shape (n_samples,), as soon as `block_seconds` of sound are there.

    An incomplete last sample is dropped.

    Raises
    ------
    DataError
        NaN or infinite samples.
    """
    kind, scale = SAMPLE_FORMATS[pcm.sample_format]
    n_wanted = max(1, round(block_seconds * pcm.sample_rate_hz)) * pcm.n_bytes
    read = getattr(stream, "read1", stream.read)  # what is there, rather than all that was asked for
    held, n_done, ended = bytearray(), 0, False
    while not ended:
        data = read(max(n_wanted - len(held), 1))
        ended = not data
        held += data or b""
        if len(held) < n_wanted and not ended:
            continue
        n_whole = len(held) // pcm.n_bytes * pcm.n_bytes
        samples = np.frombuffer(bytes(held[:n_whole]), kind).astype(np.float32).reshape(-1, pcm.n_channels) / scale
        del held[:n_whole]
        if not np.isfinite(samples).all():
            raise DataError(f"standard input: NaN or infinite samples after {n_done / pcm.sample_rate_hz:.2f} s.")
        n_done += len(samples)
        if len(samples):
            yield samples.mean(axis=1, dtype=np.float32)


class LiveDetector:
    """Detect events in a stream.

    Parameters
    ----------
    detector : Detector
    pcm : PcmFormat
    decisions : ClassDecisions, optional
        By default the detector's.
    classes : sequence of str, optional
        Only these.
    delay_seconds : float, optional
        How long after its end an event may be handed out, in seconds of sound; by default as long as it takes to
        give the events of a file.
    block_seconds : float
        How much sound is taken at a time.
    """

    def __init__(
        self,
        detector: Detector,
        pcm: PcmFormat,
        *,
        decisions: ClassDecisions | None = None,
        classes: Any = None,
        delay_seconds: float | None = None,
        block_seconds: float = 0.25,
    ) -> None:
        features = detector.features
        self._detector, self._pcm, self._block_seconds = detector, pcm, block_seconds
        self._wanted = detector.classes if classes is None else tuple(classes)
        self._frames = FrameStream(detector.extractor, features)
        self._stream = EventStream(detector.classes, features.hop_seconds, decisions or detector.decisions)
        self.plan = detector.plan if delay_seconds is None else self._early(delay_seconds)
        self._joiner = ScoreJoiner(self.plan)
        self._resample = Resampler(pcm.sample_rate_hz, features.sample_rate_hz)
        self.duration_seconds = 0.0

    @property
    def _fixed_seconds(self) -> float:
        """What the windows cannot change of the delay: features, decisions, blocks, resampling."""
        n_frames = self._frames.n_context + self._stream.n_delay + 1
        return n_frames * self._detector.features.hop_seconds + self._block_seconds + _RESAMPLER_SECONDS

    def _early(self, delay_seconds: float) -> WindowPlan:
        features = self._detector.features
        n_frames = math.floor((delay_seconds - self._fixed_seconds) / features.hop_seconds + 1e-6)
        if not 1 <= n_frames <= features.n_frames:
            least = self._fixed_seconds + features.hop_seconds
            most = self._fixed_seconds + features.clip_seconds
            raise ConfigError(
                f"delay of {delay_seconds:g} s: expected {least:.2f} to {most:.2f} s with these decisions "
                "(a median filter and gaps to be closed add theirs)."
            )
        # A third for waiting until the next window is due, the rest for context.
        n_hop = max(1, round(n_frames / 3))
        return WindowPlan.low_delay(features.n_frames, n_delay=n_frames - n_hop, n_hop=n_hop)

    @property
    def delay_seconds(self) -> float:
        """The longest time from an event's end to its being handed out, computation aside, in seconds of sound."""
        return self.plan.n_delay * self._detector.features.hop_seconds + self._fixed_seconds

    def events(self, stream: BinaryIO) -> Iterator[Event]:
        """Yield events as they become certain, until the stream ends."""
        features, joiner = self._detector.features, self._joiner
        n_samples = 0
        for audio in pcm_blocks(stream, self._pcm, block_seconds=self._block_seconds):
            self.duration_seconds += len(audio) / self._pcm.sample_rate_hz
            resampled = self._resample(audio)
            n_samples += len(resampled)
            joiner.push(self._detector.standardised(self._frames.push(resampled)))
            yield from self._scored()
        if not self.duration_seconds:
            return
        rest = self._resample(np.zeros(0, np.float32), last=True)
        n_samples += len(rest)
        joiner.push(self._detector.standardised(self._frames.push(rest)))
        joiner.push(self._detector.standardised(self._frames.finish(at_least=features.n_frames)))
        joiner.finish(max(1, round(n_samples / features.n_hop)))
        yield from self._scored()
        yield from self._kept(self._stream.finish())

    def _scored(self) -> Iterator[Event]:
        windows = self._joiner.windows()
        if windows:
            strong, weak = self._detector.predict(np.stack([frames for _, frames in windows]))
            for (first, _), strong_scores, weak_scores in zip(windows, strong, weak, strict=True):
                self._joiner.accept(first, strong_scores, weak_scores)
        yield from self._kept(self._stream.push(*self._joiner.take()))

    def _kept(self, events: list[Event]) -> Iterator[Event]:
        yield from within(events, self.duration_seconds, self._wanted)
