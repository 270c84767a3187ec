"""Loudness, true peak, loudness range, dynamics and silence in one streamed pass.

Integrated loudness and its gating: ITU-R BS.1770-4; loudness range: EBU Tech 3342. The gating
is ours because pyloudnorm's takes whole arrays only.
"""

from __future__ import annotations

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from antiphon.facts import SILENCE_FLOOR_DB, Dynamics, Loudness, Silence
from antiphon.loudness import k_weighting

STEP_SECONDS = 0.1  # blocks of 400 ms overlap by 75 %, so everything is a sum over 100 ms
BLOCK_STEPS = 4
SHORT_TERM_STEPS = 30
DYNAMICS_STEPS = 5

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
RANGE_GATE_LU = -20.0
SILENCE_DB = -60.0  # full scale, mean of all channels
MIN_LOUDNESS_RATE = 4000  # Hz; the shelf of the K-weighting lies at 1500 Hz

OVERSAMPLING = 4
HALF_TAPS = 10  # input samples either side of an interpolated one
_ROW = 32  # input samples interpolated by one row of the matrix product

# Surround channels count 1.41-fold, the low-frequency channel not at all (BS.1770-4, table 3).
_CHANNEL_GAINS = {
    4: (1.0, 1.0, 1.0, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41, 1.41, 1.41),
}

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]


class LevelMeter:
    """Push blocks [C, n] of any length in order, then read the properties."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._gains = np.array(_CHANNEL_GAINS.get(channels, (1.0,) * channels))
        self._weighs = sample_rate >= MIN_LOUDNESS_RATE
        self._numerator, self._denominator = k_weighting(max(sample_rate, MIN_LOUDNESS_RATE))
        self._state = np.zeros((channels, len(self._numerator) - 1))
        self._weighted = _StepEnergy(sample_rate)
        self._plain = _StepEnergy(sample_rate)
        self._peak = TruePeakMeter(channels, OVERSAMPLING if sample_rate < 96_000 else 2)
        self._frames = 0

    def push(self, block: FloatArray) -> None:
        if self._weighs:
            weighted, self._state = scipy.signal.lfilter(
                self._numerator, self._denominator, block, axis=1, zi=self._state
            )
            np.square(weighted, out=weighted)
            self._weighted.push(self._gains @ weighted)
        power = np.square(block).mean(axis=0)
        self._plain.push(power)
        self._peak.push(block)
        self._frames += block.shape[1]

    def loudness(self) -> Loudness:
        peak = self._peak.finish()
        true_peak_dbtp = round(20.0 * float(np.log10(peak)), 2) if peak > 0 else None
        if not self._weighs:
            reason = f"{self._rate} Hz is too low a rate; loudness needs {MIN_LOUDNESS_RATE} Hz"
            return Loudness(None, true_peak_dbtp, None, reason)
        blocks = self._block_power(BLOCK_STEPS)
        if not blocks.size:
            seconds = self._frames / self._rate
            reason = f"{seconds:.2f} s is shorter than the 0.4 s of one measuring block"
            return Loudness(None, true_peak_dbtp, None, reason)
        loud = blocks[_lufs(blocks) >= ABSOLUTE_GATE_LUFS]
        if not loud.size:
            return Loudness(None, true_peak_dbtp, None, "nothing is louder than -70 LUFS")
        gate_lufs = float(_lufs(loud.mean())) + RELATIVE_GATE_LU
        integrated = float(_lufs(loud[_lufs(loud) > gate_lufs].mean()))
        return Loudness(round(integrated, 2), true_peak_dbtp, *self._range())

    def _range(self) -> tuple[float | None, str | None]:
        """Loudness range in LU, or None and the reason."""
        short_term = self._block_power(SHORT_TERM_STEPS)
        loud = short_term[_lufs(short_term) >= ABSOLUTE_GATE_LUFS]
        if loud.size < 2:
            return None, "loudness range needs two stretches of 3 s that are louder than -70 LUFS"
        loud = loud[_lufs(loud) >= float(_lufs(loud.mean())) + RANGE_GATE_LU]
        low, high = np.percentile(_lufs(loud), (10, 95))
        return round(float(high - low), 2), None

    def dynamics(self) -> Dynamics:
        """Level per half second; a last stretch of less than half a step is left out."""
        energy, samples = self._plain.finish()
        step = DYNAMICS_STEPS
        starts = np.arange(0, len(energy), step)
        if len(starts) > 1 and len(energy) % step in range(1, step // 2 + 1):
            starts = starts[:-1]
            energy, samples = energy[: len(starts) * step], samples[: len(starts) * step]
        if not len(starts):
            return Dynamics(STEP_SECONDS * step, ())
        power = np.add.reduceat(energy, starts) / np.add.reduceat(samples, starts)
        return Dynamics(STEP_SECONDS * step, tuple(_level_db(power).round(1).tolist()))

    def silence(self) -> Silence:
        """Share of 100 ms steps below -60 dB full scale."""
        energy, samples = self._plain.finish()
        quiet = _level_db(energy / np.maximum(samples, 1)) < SILENCE_DB
        return Silence(round(float(samples[quiet].sum() / max(1, samples.sum())), 4))

    def _block_power(self, steps: int) -> DoubleArray:
        """Mean weighted power of every run of `steps` whole steps."""
        energy, samples = self._weighted.finish()
        whole = samples >= int(STEP_SECONDS * self._rate)
        energy, samples = energy[whole], samples[whole]
        if len(energy) < steps:
            return np.empty(0)
        window = np.ones(steps)
        return np.convolve(energy, window, "valid") / np.convolve(samples, window, "valid")


class _StepEnergy:
    """Sums a power signal over steps of STEP_SECONDS; step j begins at sample int(j * step)."""

    def __init__(self, sample_rate: int) -> None:
        self._samples_per_step = STEP_SECONDS * sample_rate
        self._sums: list[DoubleArray] = []
        self._open_sum = 0.0
        self._closed = 0
        self._position = 0

    def push(self, power: NDArray[np.floating]) -> None:
        """Take power [n]."""
        end = self._position + len(power)
        last = int(end / self._samples_per_step) + 2
        edges = (np.arange(self._closed + 1, last) * self._samples_per_step).astype(np.intp)
        edges = edges[edges <= end] - self._position
        starts = np.concatenate([[0], edges])
        starts = starts[starts < len(power)]
        if len(starts):
            sums = np.add.reduceat(power, starts, dtype=np.float64)
            sums[0] += self._open_sum
            self._open_sum = 0.0
            if len(starts) > len(edges):  # the last sum goes on in the next block
                self._open_sum = float(sums[-1])
                sums = sums[:-1]
            self._sums.append(sums)
            self._closed += len(sums)
        self._position = end

    def finish(self) -> tuple[DoubleArray, NDArray[np.intp]]:
        """Sum and number of samples of each step; the last may be short."""
        edges = (np.arange(self._closed + 1) * self._samples_per_step).astype(np.intp)
        sums = np.concatenate([*self._sums, np.empty(0)])
        if self._position > edges[-1]:
            edges = np.append(edges, self._position)
            sums = np.append(sums, self._open_sum)
        return sums, np.diff(edges)


class TruePeakMeter:
    """Largest magnitude of the signal interpolated `factor` times (BS.1770-4, annex 2).

    The polyphase filter runs as a matrix product over rows of samples, and only over rows that
    could hold a new maximum: an interpolated value cannot exceed the largest input near it times
    the filter's absolute sum. The result is exact.
    """

    def __init__(self, channels: int, factor: int = OVERSAMPLING) -> None:
        half = HALF_TAPS * factor
        taps = factor * scipy.signal.firwin(2 * half + 1, 1.0 / factor, window=("kaiser", 5.0))
        # Column p * _ROW + i: phase p of the output for input sample i of the row.
        matrix = np.zeros((_ROW + 2 * HALF_TAPS, (factor - 1) * _ROW), np.float32)
        for phase in range(1, factor):
            kernel = taps[phase::factor][::-1]
            for i in range(_ROW):
                matrix[i + 1 : i + 1 + len(kernel), (phase - 1) * _ROW + i] = kernel
        self._matrix = matrix
        self._bound = float(np.abs(matrix).sum(axis=0).max())
        self._tail = np.zeros((channels, 2 * HALF_TAPS), np.float32)
        self._maximum = 0.0

    def push(self, block: FloatArray) -> None:
        """Take a block [C, n]."""
        self._maximum = max(self._maximum, float(block.max()), -float(block.min()))
        data = np.concatenate([self._tail, block], axis=1)
        rows = (data.shape[1] - 2 * HALF_TAPS) // _ROW
        for channel in data:
            self._scan(channel, rows)
        self._tail = data[:, rows * _ROW :].copy()

    def finish(self) -> float:
        """The true peak so far, linear; what is pending is interpolated against silence."""
        for channel in self._tail:
            padded = np.concatenate([channel, np.zeros(_ROW + 2 * HALF_TAPS, np.float32)])
            self._scan(padded, (len(padded) - 2 * HALF_TAPS) // _ROW)
        return self._maximum

    def _scan(self, samples: FloatArray, rows: int) -> None:
        if rows < 1:
            return
        width = _ROW + 2 * HALF_TAPS
        largest = np.abs(samples[: rows * _ROW]).reshape(rows, _ROW).max(axis=1)
        after = float(np.abs(samples[rows * _ROW : rows * _ROW + 2 * HALF_TAPS]).max())
        reach = np.maximum(largest, np.append(largest[1:], after))
        candidates = np.flatnonzero(reach * self._bound > self._maximum)
        if not candidates.size:
            return
        windows = np.lib.stride_tricks.sliding_window_view(samples, width)[::_ROW]
        interpolated = windows[candidates] @ self._matrix  # [rows, (factor - 1) * _ROW]
        self._maximum = max(self._maximum, float(interpolated.max()), -float(interpolated.min()))


def _lufs(power: DoubleArray | np.floating) -> DoubleArray:
    return np.asarray(-0.691 + 10.0 * np.log10(np.maximum(power, 1e-30)))


def _level_db(power: DoubleArray) -> DoubleArray:
    floor = 10.0 ** (SILENCE_FLOOR_DB / 10.0)
    return np.asarray(10.0 * np.log10(np.maximum(power, floor)))
