"""Building blocks of sounds. ``draw(rng)`` draws a source and returns ``play(studio, rng)``, called for each event.

Signals are float32 at ``studio.rate``, *controls* float64 at `CONTROL_HZ`: every draw is the same at any sample rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from scipy import fft

CONTROL_HZ = 500
#: Levels are measured up to here, half the lowest sample rate that the package's presets use.
REFERENCE_HZ = 8_000.0
_TABLE = 16_384
_CURVE_GRID = np.concatenate([[0.0], np.geomspace(10.0, 96_000.0, 400)])

Play = Callable[["Studio", Generator], np.ndarray]
#: A gain over frequency: amplitudes on `_CURVE_GRID`, flat beyond the ends.
Curve = np.ndarray


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw from [low, high), every ratio alike: for frequencies and rates."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def curve(*points: tuple[float, float]) -> Curve:
    """Return the gain through ``(hertz, decibels)`` points, straight lines over the logarithm of frequency."""
    hertz, decibels = np.array(points, dtype=float).T
    grid = np.interp(np.log(np.maximum(_CURVE_GRID, 1.0)), np.log(hertz), decibels)
    return 10 ** (grid / 20)


def peaks(*resonances: tuple[float, float, float], floor: float = -40.0) -> Curve:
    """Return a gain with resonances ``(hertz, width in octaves, decibels)`` over a floor in decibels."""
    octaves = np.log2(np.maximum(_CURVE_GRID, 1.0))
    gains = np.full(len(octaves), 10 ** (floor / 20))
    for hertz, width, decibels in resonances:
        gains = gains + 10 ** (decibels / 20) / (1 + ((octaves - math.log2(hertz)) / (width / 2)) ** 2)
    return gains


def smooth(control: np.ndarray, seconds: float) -> np.ndarray:
    """Return the moving average of a control, to round the edges of what is switched."""
    n = max(int(seconds * CONTROL_HZ), 1)
    return np.convolve(np.pad(control, (n // 2, n - 1 - n // 2), mode="edge"), np.full(n, 1 / n), mode="valid")


def _cycles(hertz: np.ndarray, start: float) -> np.ndarray:
    """Return the phase, in cycles, of a pitch control."""
    return start + np.concatenate([[0.0], np.cumsum(hertz[:-1] + hertz[1:]) / (2 * CONTROL_HZ)])


class Studio:
    """Signals of one event at one sample rate: `n_samples` long; `time` (n_controls,), seconds, is that of controls."""

    def __init__(self, rate: int, seconds: float) -> None:
        self.rate, self.seconds = rate, seconds
        self.n_samples = self.length(seconds)
        self.time = np.arange(math.ceil(seconds * CONTROL_HZ) + 2) / CONTROL_HZ

    def length(self, seconds: float) -> int:
        return round(seconds * self.rate)

    def audio(self, control: np.ndarray) -> np.ndarray:
        """Bring a control to the sample rate; float64, shape (n_samples,)."""
        positions = np.arange(self.n_samples) * (CONTROL_HZ / self.rate)
        return np.interp(positions, np.arange(len(control)), control)

    def wander(self, rng: Generator, hertz: float, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """Return a random control with about `hertz` independent values in a second."""
        n = math.ceil(self.time[-1] * hertz) + 3
        start = rng.random()
        return np.interp(self.time * hertz + start, np.arange(n + 1), rng.uniform(low, high, n + 1))

    def crossings(self, hertz: np.ndarray, start: float = 0.0) -> np.ndarray:
        """Return the times at which the phase of a rate control passes whole numbers: when an engine fires."""
        cycles = _cycles(hertz, start)
        whole = np.arange(math.ceil(cycles[0]), math.floor(cycles[-1]) + 1)
        return np.interp(whole, cycles, self.time)

    def shaped(self, signal: np.ndarray, gain: Curve) -> np.ndarray:
        """Filter a signal by a gain over frequency, without delay."""
        n = fft.next_fast_len(len(signal) + self.length(0.05), real=True)
        spectrum = fft.rfft(signal.astype(np.float32, copy=False), n)
        spectrum *= np.interp(fft.rfftfreq(n, 1 / self.rate), _CURVE_GRID, gain).astype(np.float32)
        return fft.irfft(spectrum, n)[: len(signal)]

    def noise(self, rng: Generator, gain: Curve) -> np.ndarray:
        """Return Gaussian noise with a spectrum, of root mean square 1 between 0 Hz and `REFERENCE_HZ`."""
        # Half seconds: lengths that the Fourier transform likes, and the same frequencies at every rate.
        n = self.length(math.ceil(self.seconds * 2) / 2)
        # A stream of its own: the number of draws depends on the rate, and what is drawn next must not.
        draws = rng.spawn(1)[0].standard_normal((n // 2 + 1, 2), dtype=np.float32)
        hertz = fft.rfftfreq(n, 1 / self.rate)
        gains = np.interp(hertz, _CURVE_GRID, gain).astype(np.float32)
        gains[0] = 0.0
        power = 2 * float(np.sum(gains[hertz <= REFERENCE_HZ] ** 2))
        signal = fft.irfft(draws.view(np.complex64)[:, 0] * gains, n) * np.float32(n / math.sqrt(2 * max(power, 1e-30)))
        return signal[: self.n_samples]

    def tone(self, hertz: np.ndarray, harmonics: Sequence[float] | np.ndarray, start: float = 0.0) -> np.ndarray:
        """Return a tone of pitch `hertz` (a control), its phase `start` in cycles; harmonics that alias are omitted."""
        room = int(0.49 * self.rate / max(float(hertz.max()), 1.0))
        amplitudes = np.zeros(_TABLE // 2 + 1, dtype=complex)
        audible = np.asarray(harmonics, dtype=float)[:room]
        # Quadratic phases spread the peaks, as in any real horn.
        order = np.arange(1, len(audible) + 1)
        amplitudes[1 : len(audible) + 1] = audible * np.exp(1j * np.pi * order**2 / max(len(audible), 1))
        table = fft.irfft(amplitudes, _TABLE).astype(np.float32) * (_TABLE / 2)
        index = (self.audio(_cycles(hertz, start)) * _TABLE).astype(np.int64) & (_TABLE - 1)
        return table[index]

    def pulses(self, times: np.ndarray, amplitudes: np.ndarray | float, kernel: np.ndarray) -> np.ndarray:
        """Return `kernel` begun at each of `times` (seconds; those outside are dropped), scaled by `amplitudes`."""
        n = self.n_samples
        train = np.zeros(n + 1, dtype=np.float32)
        position = times * self.rate
        inside = (position >= 0) & (position < n - 1)
        position, amplitudes = position[inside], np.broadcast_to(amplitudes, times.shape)[inside]
        whole = position.astype(np.int64)
        part = position - whole
        np.add.at(train, whole, (amplitudes * (1 - part)).astype(np.float32))
        np.add.at(train, whole + 1, (amplitudes * part).astype(np.float32))
        size = fft.next_fast_len(n + len(kernel), real=True)
        spectrum = fft.rfft(train, size) * fft.rfft(kernel.astype(np.float32), size)
        return fft.irfft(spectrum, size)[:n]

    def ring(self, modes: Sequence[tuple[float, float, float]]) -> np.ndarray:
        """Return a struck body: modes of (hertz, seconds to -60 dB, amplitude); a kernel for `pulses`."""
        seconds = max(decay for _, decay, _ in modes)
        time = np.arange(self.length(seconds)) / self.rate
        body = np.zeros(len(time))
        for hertz, decay, amplitude in modes:
            if hertz < 0.49 * self.rate:
                body += amplitude * np.exp(-6.9 / decay * time) * np.sin(2 * np.pi * hertz * time)
        return body.astype(np.float32)

    def burst(
        self, rng: Generator, gain: Curve, decay: float, attack: float = 0.001, amplitude: float = 1.0
    ) -> np.ndarray:
        """Return a puff of noise that falls to -60 dB in `decay` seconds; a kernel for `pulses`."""
        time = np.arange(self.length(decay)) / self.rate
        envelope = np.minimum(time / attack, 1.0) * np.exp(-6.9 / decay * time)
        return (amplitude * envelope * Studio(self.rate, decay).noise(rng, gain)).astype(np.float32)

    def faded(self, signal: np.ndarray, attack: float, release: float) -> np.ndarray:
        """Return a signal with raised-cosine edges of `seconds` (no edge for 0)."""
        signal = signal.copy()
        for seconds, view in ((attack, signal), (release, signal[::-1])):
            n = min(self.length(seconds), len(signal) // 2)
            if n > 0:
                view[:n] *= (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
        return signal


def unit(signal: np.ndarray) -> np.ndarray:
    """Return a signal scaled to a root mean square of 1 (silence stays silence)."""
    return signal / np.float32(np.sqrt(np.mean(np.square(signal, dtype=np.float64)) + 1e-20))


def layered(*parts: np.ndarray) -> np.ndarray:
    """Return the sum of kernels of different lengths."""
    total = np.zeros(max(map(len, parts)), dtype=np.float32)
    for part in parts:
        total[: len(part)] += part
    return total
