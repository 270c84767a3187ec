"""Log-mel spectra as Whisper's feature extractor computes them (Radford et al. 2022), which Audio
Flamingo 3 hears by: 16 kHz, windows of 25 ms every 10 ms, 128 bands."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SAMPLE_RATE, WINDOW, HOP, BANDS = 16_000, 400, 160, 128
WINDOW_SECONDS = 30
WINDOW_FRAMES = WINDOW_SECONDS * SAMPLE_RATE // HOP
_FLOOR = 1e-10
_RANGE = 8.0  # of log10 power below the loudest, 80 dB
# The mel scale of Slaney's Auditory Toolbox (1998): straight to 1 kHz, logarithmic above.
_LINEAR_HZ, _LINEAR_MELS, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def log_mel(samples: FloatArray) -> FloatArray:
    """Samples [T] at 16 kHz to [ceil(T / 160), 128], about -1 to 1; the loudest band of all frames
    decides what is too soft to be told from silence."""
    import scipy.fft  # when it is needed: its import takes as long as ten windows

    frames = -(-len(samples) // HOP)
    half = WINDOW // 2
    # As torch.stft: the sound is mirrored at both ends, where there is enough of it.
    mode = "reflect" if len(samples) > half else "constant"
    padded = np.pad(samples, (half, half), mode=mode)  # type: ignore[call-overload]
    padded = np.pad(padded, (0, max(0, (frames - 1) * HOP + WINDOW - len(padded))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    spectrum = scipy.fft.rfft(windows * _hann(), axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    logs = np.log10(np.maximum(power @ filters(), _FLOOR))
    logs = np.maximum(logs, logs.max(initial=np.log10(_FLOOR)) - _RANGE)
    return np.asarray((logs + 4.0) / 4.0, np.float32)


@cache
def filters() -> FloatArray:
    """[201, 128]: triangles on Slaney's scale up to 8 kHz, of equal area."""
    edges_hz = _edges_hz()
    bins_hz = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (bins_hz - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - bins_hz) / np.diff(edges_hz)[1:]
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * area).astype(np.float32)


def centres_hz() -> NDArray[np.float64]:
    """[128]: where each band is strongest."""
    return _edges_hz()[1:-1]


@cache
def _edges_hz() -> NDArray[np.float64]:
    return _hertz(np.linspace(0.0, _mels(SAMPLE_RATE / 2), BANDS + 2))


@cache
def _hann() -> FloatArray:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW), np.float32)


def _mels(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz * _LINEAR_MELS / _LINEAR_HZ
    return float(_LINEAR_MELS + np.log(hertz / _LINEAR_HZ) / _LOG_STEP)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mels * _LINEAR_HZ / _LINEAR_MELS
    logarithmic = _LINEAR_HZ * np.exp(_LOG_STEP * (np.maximum(mels, _LINEAR_MELS) - _LINEAR_MELS))
    found: NDArray[np.float64] = np.where(mels < _LINEAR_MELS, linear, logarithmic)
    return found
