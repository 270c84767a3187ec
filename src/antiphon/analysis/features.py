"""Sound to the streams that everything musical is measured from: a log-mel spectrogram for rhythm,
form and timbre, the rise of narrow bands for the onsets of soft notes, and fine pitch-class
salience for harmony. Knows no beat and no key.

One pass over blocks of any size; what is kept is about 44 MB an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import scipy.fft
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)

SAMPLE_RATE = 22_050  # Hz; all features are taken at this rate, mono

MEL_WINDOW = 1024  # samples = 46 ms, short enough for drum hits
MEL_HOP = 256  # samples = 11.6 ms
MEL_RATE = SAMPLE_RATE / MEL_HOP  # frames per second
MEL_BANDS = 40
MEL_RANGE_HZ = (30.0, 10_500.0)
MEL_FLOOR_DB = -100.0

NOTE_WINDOW = 2048  # samples = 93 ms: parts quarter tones from about 370 Hz up, semitones below
NOTE_HOP = 512  # samples = 23 ms
NOTE_RATE = SAMPLE_RATE / NOTE_HOP
NOTE_RANGE_HZ = (80.0, 5000.0)
NOTE_BANDS_PER_OCTAVE = 24
NOTE_LAG = 2  # frames compared, 46 ms: half the window

CHROMA_WINDOW = 8192  # samples = 0.37 s, long enough to part neighbouring semitones from A2 up
CHROMA_HOP = 2048  # samples = 93 ms
CHROMA_RATE = SAMPLE_RATE / CHROMA_HOP
CHROMA_RANGE_HZ = (50.0, 2200.0)  # above, most spectral peaks are overtones
PITCH_BINS = 120  # 10 cents each

# Where pitch classes are heard: a bell around middle C for chords, one around E2 for the bass.
TREBLE_CENTRE, TREBLE_WIDTH = 60.0, 14.0  # MIDI pitch
BASS_CENTRE, BASS_WIDTH = 38.0, 6.0

_BATCH_FRAMES = 256


@dataclass(frozen=True, eq=False)
class Features:
    """What one recording leaves behind after its samples are gone.

    log_mel: [F, MEL_BANDS] float16, dB, at MEL_RATE, frame f centred on f * MEL_HOP samples
    note_rise: [N] at NOTE_RATE, how much begins in narrow bands, on no particular scale: a bowed or
        blown note that changes pitch within one mel band is seen here only
    treble, bass: [G, PITCH_BINS] float16, salience of pitch classes in steps of 10 cents, at
        CHROMA_RATE, bin 0 centred on C at A4 = 440 Hz; before any correction of tuning
    tuning_vector: [G] complex64, sum over the frame's peaks of weight * exp(2j pi deviation), the
        deviation from the nearest semitone of A4 = 440 Hz in semitones
    peak_weight: [G] the sum of the same weights
    centroid_hz: magnitude-weighted mean of the spectral centroid, None for digital silence
    duration_seconds: of the samples seen
    """

    log_mel: NDArray[np.float16]
    note_rise: FloatArray
    treble: NDArray[np.float16]
    bass: NDArray[np.float16]
    tuning_vector: NDArray[np.complex64]
    peak_weight: FloatArray
    centroid_hz: float | None
    duration_seconds: float


class Framer:
    """Cuts a stream into overlapping frames centred on multiples of `hop`, as if the signal
    were padded with `window // 2` zeros at both ends."""

    def __init__(self, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._buffer = np.zeros(window // 2, np.float32)

    def push(self, samples: FloatArray) -> Iterator[FloatArray]:
        """Yield batches [n <= 256, window] of the frames that `samples` [T] completes."""
        data = np.concatenate([self._buffer, samples])
        count = max(0, (len(data) - self._window) // self._hop + 1)
        if count:
            frames = np.lib.stride_tricks.sliding_window_view(data, self._window)[:: self._hop]
            for start in range(0, count, _BATCH_FRAMES):
                yield frames[start : min(start + _BATCH_FRAMES, count)]
        self._buffer = data[count * self._hop :].copy()

    def flush(self) -> Iterator[FloatArray]:
        """Yield the last frames, padded with zeros."""
        yield from self.push(np.zeros(self._window - self._window // 2 - 1, np.float32))


class _Rows(Generic[Number]):
    """Rows that grow in one piece of memory.

    Thousands of small arrays would have to be joined by copying, and what they took would not go
    back to the system: of two hours, 85 MB.
    """

    def __init__(self, kind: type[Number], *width: int) -> None:
        self._kind, self._width = kind, width
        self._bytes = bytearray()

    def append(self, rows: NDArray[np.number]) -> None:
        self._bytes += rows.astype(self._kind).tobytes()

    def whole(self) -> NDArray[Number]:
        """All rows [N, *width], without a copy; nothing can be appended any more."""
        return np.frombuffer(self._bytes, self._kind).reshape(-1, *self._width)


class FeatureExtractor:
    """Push mono samples [T] at SAMPLE_RATE block by block, then take `finish()`."""

    def __init__(self) -> None:
        self._mel_framer = Framer(MEL_WINDOW, MEL_HOP)
        self._note_framer = Framer(NOTE_WINDOW, NOTE_HOP)
        self._chroma_framer = Framer(CHROMA_WINDOW, CHROMA_HOP)
        self._before = np.zeros((NOTE_LAG, _NOTE_FILTERS.shape[1]), np.float32)
        self._note_rise = _Rows(np.float32)
        self._log_mel = _Rows(np.float16, MEL_BANDS)
        self._treble = _Rows(np.float16, PITCH_BINS)
        self._bass = _Rows(np.float16, PITCH_BINS)
        self._tuning_vector = _Rows(np.complex64)
        self._peak_weight = _Rows(np.float32)
        self._centroid_sum = 0.0
        self._magnitude_sum = 0.0
        self._samples = 0

    def push(self, samples: FloatArray) -> None:
        self._samples += len(samples)
        for frames in self._mel_framer.push(samples):
            self._take_mel(frames)
        for frames in self._note_framer.push(samples):
            self._take_notes(frames)
        for frames in self._chroma_framer.push(samples):
            self._take_peaks(frames)

    def finish(self) -> Features:
        for frames in self._mel_framer.flush():
            self._take_mel(frames)
        for frames in self._note_framer.flush():
            self._take_notes(frames)
        for frames in self._chroma_framer.flush():
            self._take_peaks(frames)
        return Features(
            log_mel=self._log_mel.whole(),
            note_rise=self._note_rise.whole(),
            treble=self._treble.whole(),
            bass=self._bass.whole(),
            tuning_vector=self._tuning_vector.whole(),
            peak_weight=self._peak_weight.whole(),
            centroid_hz=(
                self._centroid_sum / self._magnitude_sum if self._magnitude_sum > 0 else None
            ),
            duration_seconds=self._samples / SAMPLE_RATE,
        )

    def _take_mel(self, frames: FloatArray) -> None:
        magnitude = np.abs(scipy.fft.rfft(frames * _MEL_TAPER, axis=1))  # [n, 513]
        self._magnitude_sum += float(magnitude.sum())
        self._centroid_sum += float(magnitude.sum(axis=0) @ _MEL_BIN_HZ)
        power = np.square(magnitude, out=magnitude) @ _MEL_FILTERS  # [n, MEL_BANDS]
        log_power = 10.0 * np.log10(power + 10.0 ** (MEL_FLOOR_DB / 10.0))
        self._log_mel.append(log_power)

    def _take_notes(self, frames: FloatArray) -> None:
        magnitude = np.abs(scipy.fft.rfft(frames * _NOTE_TAPER, axis=1)[:, : len(_NOTE_FILTERS)])
        # The root is a loudness-like compression that, unlike a logarithm, needs no floor.
        level = np.concatenate([self._before, np.sqrt(magnitude @ _NOTE_FILTERS)])  # [n + lag, B]
        rise = np.maximum(level[NOTE_LAG:] - level[:-NOTE_LAG], 0.0)
        self._note_rise.append(rise.sum(axis=1))
        self._before = level[-NOTE_LAG:]

    def _take_peaks(self, frames: FloatArray) -> None:
        spectrum = scipy.fft.rfft(frames * _CHROMA_TAPER, axis=1)[:, _CHROMA_BINS]
        magnitude = np.abs(spectrum)  # [n, bins of CHROMA_RANGE_HZ and one neighbour either side]
        centre = magnitude[:, 1:-1]
        is_peak = (centre > magnitude[:, :-2]) & (centre >= magnitude[:, 2:]) & (centre > 1e-5)
        # Peaks 50 dB below the frame's strongest are leakage and hiss.
        is_peak &= centre > centre.max(axis=1, keepdims=True) * 10 ** (-50 / 20)
        frame, column = np.nonzero(is_peak)
        left, peak, right = (magnitude[frame, column + shift] for shift in (0, 1, 2))
        # Parabola through three log magnitudes (Smith & Serra 1987).
        a, b, c = (np.log(np.maximum(m, 1e-12)) for m in (left, peak, right))
        offset = 0.5 * (a - c) / (a - 2.0 * b + c - 1e-12)
        hz = (column + _CHROMA_BINS.start + 1 + offset) * (SAMPLE_RATE / CHROMA_WINDOW)
        pitch = 69.0 + 12.0 * np.log2(hz / 440.0)
        strength = np.sqrt(peak)  # between linear, where the loudest note is all, and log
        treble = strength * np.exp(-0.5 * ((pitch - TREBLE_CENTRE) / TREBLE_WIDTH) ** 2)
        bass = strength * np.exp(-0.5 * ((pitch - BASS_CENTRE) / BASS_WIDTH) ** 2)
        count = len(frames)
        fine_bin = np.round(pitch * (PITCH_BINS / 12)).astype(np.intp) % PITCH_BINS
        cell = frame * PITCH_BINS + fine_bin
        for kept, weight in ((self._treble, treble), (self._bass, bass)):
            salience = np.bincount(cell, weight, count * PITCH_BINS)
            kept.append(salience.reshape(count, PITCH_BINS))
        deviation = 2.0 * np.pi * (pitch - np.round(pitch))
        # Linear magnitude here: the strong peaks are the notes, the many weak ones noise.
        weight = strength * treble
        vector = np.bincount(frame, weight * np.cos(deviation), count) + 1j * np.bincount(
            frame, weight * np.sin(deviation), count
        )
        self._tuning_vector.append(vector)
        self._peak_weight.append(np.bincount(frame, weight, count))


def _taper(window: int) -> FloatArray:
    """Periodic Hann scaled so that a full-scale sine has magnitude 1 in its bin."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return np.asarray(hann / (hann.sum() / 2), np.float32)


def _mel_filters() -> FloatArray:
    """Triangles on the mel scale [bins, MEL_BANDS] (O'Shaughnessy's formula), unit sum each."""

    def mel(hz: float) -> float:
        return 2595.0 * float(np.log10(1.0 + hz / 700.0))

    edges = np.linspace(mel(MEL_RANGE_HZ[0]), mel(MEL_RANGE_HZ[1]), MEL_BANDS + 2)
    edges_hz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    bins = _MEL_BIN_HZ[:, None]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    filters = np.maximum(triangles, 0.0)
    return np.asarray(filters / filters.sum(axis=0), np.float32)


def _note_filters() -> FloatArray:
    """Triangles NOTE_BANDS_PER_OCTAVE to the octave [bins, B], unit sum, at least one bin wide."""
    octaves = np.log2(NOTE_RANGE_HZ[1] / NOTE_RANGE_HZ[0])
    steps = np.arange(int(octaves * NOTE_BANDS_PER_OCTAVE)) / NOTE_BANDS_PER_OCTAVE
    centre = NOTE_RANGE_HZ[0] * 2.0**steps
    bin_hz = SAMPLE_RATE / NOTE_WINDOW
    width = np.maximum(centre * (2.0 ** (1 / NOTE_BANDS_PER_OCTAVE) - 1.0), bin_hz)
    bins = np.arange(int(NOTE_RANGE_HZ[1] / bin_hz) + 2)[:, None] * bin_hz
    filters = np.maximum(1.0 - np.abs(bins - centre) / width, 0.0)
    return np.asarray(filters / filters.sum(axis=0), np.float32)


_MEL_TAPER = _taper(MEL_WINDOW)
_MEL_BIN_HZ = (np.arange(MEL_WINDOW // 2 + 1) * SAMPLE_RATE / MEL_WINDOW).astype(np.float32)
_MEL_FILTERS = _mel_filters()
_CHROMA_TAPER = _taper(CHROMA_WINDOW)
_CHROMA_BINS = slice(
    int(CHROMA_RANGE_HZ[0] * CHROMA_WINDOW / SAMPLE_RATE) - 1,
    int(CHROMA_RANGE_HZ[1] * CHROMA_WINDOW / SAMPLE_RATE) + 2,
)
_NOTE_TAPER = _taper(NOTE_WINDOW)
_NOTE_FILTERS = _note_filters()
