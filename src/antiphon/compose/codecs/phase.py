"""Phase from magnitudes: a phase-vocoder start, then fast Griffin-Lim, block after block.

A short-time spectrum here has N frames, one every `hop` samples. Frame n is centred on the middle
of the samples [n * hop, (n + 1) * hop), so that N frames belong to exactly N * hop samples.
Knows no codec. Letters: N frames, T samples.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from antiphon.analysis.mel import hann
from antiphon.errors import EngineError

FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]

BLOCK_FRAMES = 64  # whose phases are settled at a time
AHEAD_FRAMES = 8  # computed with them and thrown away: a window of 1024 at a hop of 160 is 6.4
_MOMENTUM = np.float32(0.99)  # of fast Griffin-Lim: the best in Perraudin et al. 2013
_SILENCE = np.float32(1e-16)  # power below which a phase means nothing
_LEAST_COVER = np.float32(1e-4)  # of squared windows, where only the end of one reaches


def margin(window: int, hop: int) -> int:
    """Samples by which the first frame begins before sample 0, and the last one ends too late."""
    return (window - hop) // 2


def analyse(samples: FloatArray, window: int, hop: int) -> FloatArray:
    """Samples [margin + N * hop + margin] to magnitudes [N, window / 2 + 1] by a Hann window."""
    frames = sliding_window_view(samples, window)[::hop]
    magnitudes: FloatArray = np.abs(scipy.fft.rfft(frames * hann(window), axis=1))
    return magnitudes


class PhaseStream:
    """Magnitudes in, samples out: Griffin & Lim 1984 in blocks, one overlap-add for the whole.

    A block of BLOCK_FRAMES is computed together with AHEAD_FRAMES more. Then its own phases are
    settled, and those of the frames ahead are thrown away: they had no future. What comes next
    starts from the settled phases and must fit to the settled frames, which reach into it. All
    that comes out is the sum of settled frames, each faded by its window: a joint cannot click.
    Blocks begin at fixed frames, so what comes out does not depend on how it was fed.
    """

    def __init__(self, window: int, hop: int, iterations: int) -> None:
        """`window` and `hop` are even numbers of samples, hop <= window / 2."""
        self._window, self._hop, self._iterations = window, hop, iterations
        self._taper = hann(window)
        self._square = np.square(self._taper)
        bins = window // 2 + 1
        self._waiting = np.zeros((0, bins), np.float32)  # magnitudes that are not settled
        self._angle = np.zeros(bins, np.float32)  # of the last settled frame, at its centre
        self._position = np.arange(bins, dtype=np.float32)  # and the frequencies it had, in bins
        # What the settled frames add to the samples from the first open frame on, and their
        # squared windows.
        self._tail = np.zeros(window - hop, np.float32)
        self._cover = np.zeros(window - hop, np.float32)
        self._cover[: margin(window, hop)] = np.inf  # silence before the first sample
        self._to_drop = margin(window, hop)  # samples before the first one
        self._finished = False

    def feed(self, magnitudes: FloatArray) -> FloatArray:
        """Magnitudes [N, bins] to all samples [T] that are settled by now.

        Raises EngineError after `finish`.
        """
        self._check_open()
        self._waiting = np.concatenate([self._waiting, magnitudes])
        pieces = [np.zeros(0, np.float32)]
        while len(self._waiting) >= BLOCK_FRAMES + AHEAD_FRAMES:
            block = self._waiting[: BLOCK_FRAMES + AHEAD_FRAMES]
            pieces.append(self._settle(block, BLOCK_FRAMES))
            self._waiting = self._waiting[BLOCK_FRAMES:]
        return np.concatenate(pieces)

    def finish(self) -> FloatArray:
        """The rest [T]: with it, there are `hop` samples for each frame.

        Raises EngineError the second time.
        """
        self._check_open()
        self._finished = True
        if len(self._waiting) == 0:
            last = np.zeros(0, np.float32)
        else:
            last = self._settle(self._waiting, len(self._waiting))
        rest = _evened(self._tail, self._cover)[: margin(self._window, self._hop)]
        return np.concatenate([last, rest])[self._to_drop :]

    def _check_open(self) -> None:
        if self._finished:
            raise EngineError("this stream is finished; expected a new one for what follows")

    def _settle(self, magnitudes: FloatArray, count: int) -> FloatArray:
        """Find phases for a block and settle `count` frames; the samples that become complete."""
        spectrum = self._refined(magnitudes, self._start(magnitudes))[:count]
        self._angle = np.angle(_centred(spectrum[-1]))
        buffer = self._added(spectrum)
        cover = self._covered(count)
        complete = count * self._hop
        self._tail, self._cover = buffer[complete:], cover[complete:]
        samples = _evened(buffer[:complete], cover[:complete])
        dropped = min(self._to_drop, complete)
        self._to_drop -= dropped
        return samples[dropped:]

    def _start(self, magnitudes: FloatArray) -> ComplexArray:
        """Phases [N, bins] of a phase vocoder (Laroche & Dolson 1999), as unit spectra: a bin goes
        on from where the last frame was at the spectral peak nearest to it, at the frequency of
        that peak."""
        peaks, positions = nearest_peaks(magnitudes)
        advance = np.float32(np.pi * self._hop / self._window)  # of half a hop, per bin
        angles = np.empty_like(magnitudes)
        angle, position = self._angle, self._position
        for n, peak in enumerate(peaks):
            angle = angle[peak] + advance * (position[peak] + positions[n])
            angles[n], position = angle, positions[n]
        return _centred(np.exp(1j * angles).astype(np.complex64))

    def _refined(self, magnitudes: FloatArray, spectrum: ComplexArray) -> ComplexArray:
        """Fast Griffin-Lim: spectra [N, bins] of these magnitudes that fit to each other and to
        the settled frames. `spectrum` gives the phases to start from."""
        spectrum *= magnitudes
        cover = self._covered(len(magnitudes))
        before: ComplexArray | None = None
        for _ in range(self._iterations):
            samples = _evened(self._added(spectrum), cover)
            frames = sliding_window_view(samples, self._window)[:: self._hop] * self._taper
            consistent = scipy.fft.rfft(frames, axis=1)
            ahead = consistent if before is None else consistent + _MOMENTUM * (consistent - before)
            before = consistent
            power = np.square(ahead.real) + np.square(ahead.imag) + _SILENCE
            spectrum = ahead * (magnitudes / np.sqrt(power))
        return spectrum

    def _added(self, spectrum: ComplexArray) -> FloatArray:
        """The settled frames and spectra [N, bins], overlapping: [(N - 1) * hop + window]."""
        frames = scipy.fft.irfft(spectrum, self._window, axis=1) * self._taper
        return _overlap_add(frames, self._tail, self._hop)

    def _covered(self, count: int) -> FloatArray:
        """The squared windows of the settled frames and `count` more, overlapping alike; endless
        where there must be silence, outside of the piece: sound there would be cut off."""
        frames = np.broadcast_to(self._square, (count, self._window))
        cover = _overlap_add(frames, self._cover, self._hop)
        if self._finished:
            cover[-margin(self._window, self._hop) :] = np.inf
        return cover


def nearest_peaks(magnitudes: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """For magnitudes [N, bins] the bin of the nearest peak, and its exact position in bins.

    A parabola through three log magnitudes gives the position (Smith & Serra 1987).
    """
    logs = np.log(magnitudes + np.float32(1e-5))
    bins = np.arange(logs.shape[1])
    left, centre, right = logs[:, :-2], logs[:, 1:-1], logs[:, 2:]
    is_peak = np.ones(logs.shape, bool)  # the outermost ones serve where there is no other
    is_peak[:, 1:-1] = (centre > left) & (centre >= right)
    curvature = np.minimum(left - 2 * centre + right, np.float32(-1e-6))
    positions = np.broadcast_to(bins.astype(np.float32), logs.shape).copy()
    positions[:, 1:-1] += np.clip(0.5 * (left - right) / curvature, -0.5, 0.5)
    below = np.maximum.accumulate(np.where(is_peak, bins, 0), axis=1)
    above = np.where(is_peak, bins, bins[-1])[:, ::-1]
    above = np.minimum.accumulate(above, axis=1)[:, ::-1]
    peaks = np.where(bins - below <= above - bins, below, above)
    return peaks, np.take_along_axis(positions, peaks, axis=1)


def _evened(total: FloatArray, cover: FloatArray) -> FloatArray:
    """Overlapping frames without the weight of their windows: the least-squares sound."""
    return np.asarray(total / np.maximum(cover, _LEAST_COVER), np.float32)


def _centred(spectrum: ComplexArray) -> ComplexArray:
    """Phases at the first sample of a frame to phases at its centre, or back: a delay of half a
    window turns every other bin round."""
    turned = spectrum.copy()
    turned[..., 1::2] *= -1
    return turned


def _overlap_add(frames: FloatArray, tail: FloatArray, hop: int) -> FloatArray:
    """Frames [N, window] and what came before [window - hop] to [(N - 1) * hop + window]."""
    count, window = frames.shape
    parts = -(-window // hop)
    sliced = np.zeros((count, parts * hop), np.float32)
    sliced[:, :window] = frames
    sliced = sliced.reshape(count, parts, hop)
    total = np.zeros((count + parts - 1, hop), np.float32)
    total.reshape(-1)[: len(tail)] = tail
    for part in range(parts):
        total[part : part + count] += sliced[:, part]
    return total.reshape(-1)[: (count - 1) * hop + window]
