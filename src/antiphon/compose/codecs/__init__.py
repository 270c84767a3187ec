"""What a composer asks of a codec: sound to codes and back, whole or as it comes.

Knows no codec; `encodec.py` has one. Letters: C channels, T samples, K codebooks, F code frames.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from antiphon.compose.patterns import Codes
from antiphon.errors import ConfigError, EngineError

Samples = NDArray[np.float32]


class DecodingStream(Protocol):
    """Codes in, samples out. All that comes out is what `AudioCodec.decode` gives for all that
    went in, however it was cut."""

    def feed(self, codes: Codes) -> Samples:
        """Take codes [K, f], give all samples [C, t] that can be known by now; it may be none.

        The caller chooses between waiting and computing: each feed costs its context, too.
        Raises EngineError for codes that are none, or after `finish`.
        """
        ...

    def finish(self) -> Samples:
        """The rest, [C, t]: no more codes follow. Raises EngineError the second time."""
        ...


class AudioCodec(Protocol):
    """Sound as K rows of codes, F frames a second; `hop` samples per frame."""

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        ...

    @property
    def frame_rate(self) -> int:
        """Code frames per second."""
        ...

    @property
    def hop(self) -> int:
        """Samples per code frame."""
        ...

    @property
    def channels(self) -> int: ...

    @property
    def codebooks(self) -> int:
        """Codes per frame."""
        ...

    @property
    def codebook_size(self) -> int:
        """A code is below this."""
        ...

    def encode(self, waveform: Samples) -> Codes:
        """Waveform [C, T], between -1 and 1, to codes [K, ceil(T / hop)].

        Raises EngineError for a waveform of another shape.
        """
        ...

    def decode(self, codes: Codes) -> Samples:
        """Codes [K, F] to samples [C, F * hop]. Raises EngineError for codes that are none."""
        ...

    def stream(self) -> DecodingStream:
        """A new stream."""
        ...


class StereoCodec:
    """Two sides by one codec for mono sound, as in the stereo checkpoints of MusicGen.

    The codebooks alternate: rows 0, 2, 4, ... are the left side, 1, 3, 5, ... the right.
    """

    channels = 2

    def __init__(self, mono: AudioCodec) -> None:
        """Raises ConfigError if the codec is not for mono sound."""
        if mono.channels != 1:
            raise ConfigError(f"a side is mono; the codec has {mono.channels} channels, expected 1")
        self._mono = mono
        self.sample_rate = mono.sample_rate
        self.frame_rate = mono.frame_rate
        self.hop = mono.hop
        self.codebooks = 2 * mono.codebooks
        self.codebook_size = mono.codebook_size

    def encode(self, waveform: Samples) -> Codes:
        check_waveform(waveform, self.channels)
        sides = [self._mono.encode(side[None]) for side in waveform]
        return np.stack(sides, axis=1).reshape(self.codebooks, -1)  # [K, 2, F] -> [2K, F]

    def decode(self, codes: Codes) -> Samples:
        check_codes(codes, self)
        return np.concatenate([self._mono.decode(codes[side::2]) for side in (0, 1)])

    def stream(self) -> DecodingStream:
        return _StereoStream(self, (self._mono.stream(), self._mono.stream()))


class _StereoStream:
    def __init__(self, codec: StereoCodec, sides: tuple[DecodingStream, DecodingStream]) -> None:
        self._codec = codec
        self._sides = sides

    def feed(self, codes: Codes) -> Samples:
        check_codes(codes, self._codec)
        return np.concatenate([side.feed(codes[n::2]) for n, side in enumerate(self._sides)])

    def finish(self) -> Samples:
        return np.concatenate([side.finish() for side in self._sides])


def check_codes(codes: Codes, codec: AudioCodec) -> None:
    """Raise EngineError unless they are [K, F], whole numbers, each below the codebook size."""
    if codes.ndim != 2 or len(codes) != codec.codebooks or codes.dtype.kind not in "iu":
        raise EngineError(
            f"codes have the shape {codes.shape} and the type {codes.dtype}; "
            f"expected [{codec.codebooks}, frames] and int64"
        )
    if codes.size == 0:
        return
    lowest, highest = codes.min(), codes.max()
    if lowest < 0 or highest >= codec.codebook_size:
        raise EngineError(
            f"codes run from {lowest} to {highest}; expected 0 to {codec.codebook_size - 1}"
        )


def check_waveform(waveform: Samples, channels: int) -> None:
    """Raise EngineError unless it is [C, T] of finite floats."""
    if waveform.ndim != 2 or len(waveform) != channels or waveform.dtype.kind != "f":
        raise EngineError(
            f"the waveform has the shape {waveform.shape} and the type {waveform.dtype}; "
            f"expected [{channels}, samples] and float32"
        )
    if not np.isfinite(waveform).all():
        raise EngineError("the waveform holds values that are not finite; expected -1 to 1")
