"""A Waveform as a stream, so that sound in memory and sound in a file are read alike."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.audio.damage import Damage, DamageMeter
from antiphon.audio.stream import BLOCK_FRAMES, AudioStream
from antiphon.audio.waveform import FloatArray, Waveform


class WaveformStream(AudioStream):
    """The blocks of a waveform; non-numbers are replaced in the blocks, not in the waveform."""

    def __init__(self, waveform: Waveform) -> None:
        self.sample_rate = waveform.sample_rate
        self.channels = waveform.channels
        self.declared_seconds = waveform.duration_seconds
        self._samples = waveform.samples
        self._meter = DamageMeter(waveform.channels)

    def blocks(self) -> Iterator[FloatArray]:
        for start in range(0, self._samples.shape[1], BLOCK_FRAMES):
            block = self._samples[:, start : start + BLOCK_FRAMES].copy()
            self._meter.clean(block)
            yield block

    def damage(self) -> Damage:
        bad = self._meter.nan_samples
        return Damage(
            decoded_seconds=self._meter.frames / self.sample_rate,
            declared_seconds=self.declared_seconds,
            problems=(f"{bad} samples are not numbers; they were replaced by 0",) if bad else (),
            nan_samples=bad,
            clipped_samples=self._meter.clipped_samples,
        )

    def close(self) -> None:
        """Nothing to let go of."""
