"""What is wrong with a recording: non-numbers, clipping, missing seconds. Knows no codec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from antiphon.audio.waveform import FloatArray

CLIP_LEVEL = 0.9999  # the top three codes of 16 bits
CLIP_RUN = 3  # samples; one or two at full scale are a peak, not clipping
MAX_LEVEL = 1e6  # +120 dBFS: beyond this a float sample is no sound, and its square overflows

LENGTH_TOLERANCE_SECONDS = 0.1  # codec delay and padding stay below this


@dataclass(frozen=True)
class Damage:
    """What reading a recording brought to light; `problems` is empty when all is well.

    `decoded_seconds` counts what was read (a part, if a part was asked for), `declared_seconds` is
    the header's word for the whole recording, None when it says nothing. `clipped_samples` counts
    samples, over all channels, in runs of at least three at or above 0.9999 of full scale.
    """

    decoded_seconds: float
    declared_seconds: float | None
    problems: tuple[str, ...] = ()
    nan_samples: int = 0
    clipped_samples: int = 0


class DamageMeter:
    """Counts what is wrong in blocks [C, n] that arrive in order."""

    def __init__(self, channels: int) -> None:
        self.frames = 0
        self.nan_samples = 0
        self.clipped_samples = 0
        self._runs = [0] * channels  # full-scale samples at the end of the block before

    def clean(self, block: FloatArray) -> None:
        """Count and replace by 0, in place, every sample that is not a number or no sound."""
        # max and min hand NaN on, so two passes find NaN, infinity and clipping at once.
        high, low = float(block.max()), float(block.min())
        if not (high <= MAX_LEVEL and low >= -MAX_LEVEL):
            bad = ~(np.abs(block) <= MAX_LEVEL)
            self.nan_samples += int(np.count_nonzero(bad))
            block[bad] = 0.0
            high, low = float(block.max()), float(block.min())
        if high >= CLIP_LEVEL or low <= -CLIP_LEVEL:
            for channel, samples in enumerate(block):
                self._count_clipped(channel, samples)
        else:
            self._runs = [0] * len(self._runs)
        self.frames += block.shape[1]

    def _count_clipped(self, channel: int, samples: FloatArray) -> None:
        """Count runs in one channel's samples [n], joined to the run that ended the last block."""
        full = np.flatnonzero(np.abs(samples) >= CLIP_LEVEL)
        carried = self._runs[channel]
        self._runs[channel] = 0
        if not full.size:
            return
        breaks = np.flatnonzero(np.diff(full) > 1) + 1
        starts = full[np.concatenate(([0], breaks))]
        lengths = np.diff(np.concatenate(([0], breaks, [full.size])))
        # Samples of the joined run that were counted already: all or none of those carried over.
        counted = 0
        if starts[0] == 0 and carried:
            lengths[0] += carried
            counted = carried if carried >= CLIP_RUN else 0
        self.clipped_samples += int(lengths[lengths >= CLIP_RUN].sum()) - counted
        if starts[-1] + lengths[-1] - (carried if starts[-1] == 0 else 0) == samples.size:
            self._runs[channel] = int(lengths[-1])


def length_problem(decoded_seconds: float, expected_seconds: float) -> str | None:
    """A sentence when what was decoded is not as long as what was declared, else None."""
    if decoded_seconds < expected_seconds - LENGTH_TOLERANCE_SECONDS:
        return f"ends after {decoded_seconds:.1f} of {expected_seconds:.1f} s"
    if decoded_seconds > expected_seconds + LENGTH_TOLERANCE_SECONDS:
        return f"holds {decoded_seconds:.1f} s where its header says {expected_seconds:.1f} s"
    return None
