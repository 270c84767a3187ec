"""AudioStream: blocks of sound that arrive in order. Knows no codec and no file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from antiphon.audio.damage import Damage
from antiphon.audio.waveform import FloatArray

BLOCK_FRAMES = 65_536  # 1.5 s at 44.1 kHz; 0.5 MB in stereo, which stays in the cache


class AudioStream(ABC):
    """A recording that is being decoded; a context manager, walked once.

    `declared_seconds` is the header's word for the whole recording, None when it says nothing.
    """

    sample_rate: int
    channels: int
    declared_seconds: float | None

    @abstractmethod
    def blocks(self) -> Iterator[FloatArray]:
        """Float32 blocks [C, n], n <= 65,536, every sample finite; each is the caller's to keep.

        Raises AudioDecodeError when nothing can be decoded, AudioTooShortError when there is no
        sample, AudioLimitError when more comes out than the limits allow.
        """

    @abstractmethod
    def damage(self) -> Damage:
        """What was found; complete once `blocks()` is exhausted."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; again is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
