"""Events from raw PCM while it arrives, with a bounded delay that is stated beforehand.

By default the windows are those of files (`WindowPlan.crossfade`), so a stream gives exactly the events that
`Detector.detect` gives of the same samples. A score is then final when the features behind it have gone on for seven
eighths of a window (8.75 s of 10 s). With `delay_seconds` windows are laid closer together and each gives only the
frames shortly before its end: sooner, at more computation and with less context to the right. Either way nothing
comes before the first whole window has been heard, unless the stream ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from crnn_weak.audio import Resampler
from crnn_weak.audio.reader import SAMPLE_RATES_HZ
from crnn_weak.detection.detector import Detector
from crnn_weak.detection.job import Job
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import Decoder
from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.windows import FrameStream, WindowPlan
from crnn_weak.errors import ConfigError, DataError
from crnn_weak.labels.events import Event

__all__ = ["SAMPLE_FORMATS", "LiveDetector", "PcmBlocks", "PcmFormat"]

#: name -> (NumPy type, value of full scale)
SAMPLE_FORMATS: dict[str, tuple[str, float]] = {"s16le": ("<i2", 32768.0), "f32le": ("<f4", 1.0)}
# The resampler's filter reaches this far ahead; measured below 5 ms, stated generously.
_RESAMPLER_SECONDS = 0.05


@dataclass(frozen=True)
class PcmFormat:
    """Format of raw samples; a raw stream does not state it."""

    sample_rate_hz: int
    n_channels: int = 1
    sample_format: str = "s16le"

    def __post_init__(self) -> None:
        lowest, highest = SAMPLE_RATES_HZ
        if not (lowest <= self.sample_rate_hz <= highest and 1 <= self.n_channels <= 1024):
            raise ConfigError(
                f"raw PCM of {self.sample_rate_hz} Hz, {self.n_channels} channels: expected {lowest} to {highest:,} Hz "
                "and 1 to 1,024 channels, as of files."
            )
        if self.sample_format not in SAMPLE_FORMATS:
            raise ConfigError(f"sample format {self.sample_format!r}: expected {' or '.join(SAMPLE_FORMATS)}.")

    @property
    def n_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return np.dtype(SAMPLE_FORMATS[self.sample_format][0]).itemsize * self.n_channels


@dataclass
class PcmBlocks:
    """The samples of a stream: iterate once, for float32 blocks of shape (n_samples,) at `to_hz`, as they arrive.

    An incomplete last sample is dropped.

    Parameters
    ----------
    stream : binary file
    pcm : PcmFormat
    to_hz : int
        The rate to deliver.
    block_seconds : float
        How much sound is taken at a time.

    Attributes
    ----------
    duration_seconds : float
        What has been read so far.

    Raises
    ------
    DataError
        While iterating: NaN or infinite samples.
    """

    stream: BinaryIO
    pcm: PcmFormat
    to_hz: int
    block_seconds: float = 0.25
    duration_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[np.ndarray]:
        resample = Resampler(self.pcm.sample_rate_hz, self.to_hz)
        for audio in self._mono():
            self.duration_seconds += len(audio) / self.pcm.sample_rate_hz
            yield resample(audio)
        if self.duration_seconds:
            yield resample(np.zeros(0, np.float32), last=True)

    def _mono(self) -> Iterator[np.ndarray]:
        pcm, (kind, scale) = self.pcm, SAMPLE_FORMATS[self.pcm.sample_format]
        n_wanted = max(1, round(self.block_seconds * pcm.sample_rate_hz)) * pcm.n_bytes
        read = getattr(self.stream, "read1", self.stream.read)  # what is there, rather than all that was asked for
        held, ended = bytearray(), False
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
                raise DataError(f"standard input: NaN or infinite samples after {self.duration_seconds:.2f} s.")
            if len(samples):
                yield samples.mean(axis=1, dtype=np.float32)


class LiveDetector:
    """Detect events in a stream.

    Parameters
    ----------
    detector : Detector
    pcm : PcmFormat
    operating_point : OperatingPoint, optional
        By default the detector's.
    classes : sequence of str, optional
        Only these.
    delay_seconds : float, optional
        How long after its end an event may be handed out, in seconds of sound; by default as long as it takes to
        give the events of a file.
    block_seconds : float
        How much sound is taken at a time.

    See Also
    --------
    crnn_weak.detection.detector.Detector : detect in recordings.
    """

    def __init__(
        self,
        detector: Detector,
        pcm: PcmFormat,
        *,
        operating_point: OperatingPoint | None = None,
        classes: Sequence[str] | None = None,
        delay_seconds: float | None = None,
        block_seconds: float = 0.25,
    ) -> None:
        features = detector.features
        self._detector, self._pcm, self._block_seconds = detector, pcm, block_seconds
        self._point = operating_point or detector.operating_point
        self._wanted = detector.default_classes if classes is None else tuple(classes)
        n_fixed = FrameStream(detector.extractor, features).n_context + 1
        n_fixed += Decoder(self._point, features.hop_seconds, classes=detector.classes).n_delay
        # The part of the delay that does not come from windows.
        self._fixed_seconds = n_fixed * features.hop_seconds + block_seconds + _RESAMPLER_SECONDS
        self.plan = detector.plan if delay_seconds is None else self._early(delay_seconds)
        self.duration_seconds = 0.0

    def _early(self, delay_seconds: float) -> WindowPlan:
        features = self._detector.features
        if not math.isfinite(delay_seconds):
            raise ConfigError(f"delay of {delay_seconds} s: expected a finite number.")
        n_frames = math.floor((delay_seconds - self._fixed_seconds) / features.hop_seconds + 1e-6)
        if not 1 <= n_frames <= features.n_frames:
            least = self._fixed_seconds + features.hop_seconds
            most = self._fixed_seconds + features.clip_seconds
            raise ConfigError(
                f"delay of {delay_seconds:g} s: expected {least:.2f} to {most:.2f} s with this operating point "
                "(a median filter and gaps to be closed add theirs)."
            )
        # A third for waiting until the next window is due, the rest for context.
        n_hop = max(1, round(n_frames / 3))
        return WindowPlan.low_delay(features.n_frames, n_delay=n_frames - n_hop, n_hop=n_hop)

    @property
    def delay_seconds(self) -> float:
        """The longest time from an event's end to its being handed out, computation aside, in seconds of sound."""
        return self.plan.n_delay * self._detector.features.hop_seconds + self._fixed_seconds

    def warm_up(self) -> None:
        """Score one empty window, so that the model is compiled before the first window is due."""
        self._detector.predict(np.zeros((1, self.plan.n_window, self._detector.features.n_mels), np.float32))

    def events(self, stream: BinaryIO) -> Iterator[Event]:
        """Yield events as they become certain, until the stream ends."""
        features = self._detector.features
        audio = PcmBlocks(stream, self._pcm, features.sample_rate_hz, self._block_seconds)
        job = Job(
            Recording("stdin", stream),
            audio,
            point=self._point,
            hop_seconds=features.hop_seconds,
            plan=self.plan,
            wanted=self._wanted,
        )
        for frames, n_valid in self._detector.frames(audio):
            self.duration_seconds = audio.duration_seconds
            self._detector.score([(job, first, window) for first, window in job.push(frames, n_valid)])
            job.collect()
            yield from job.take()
