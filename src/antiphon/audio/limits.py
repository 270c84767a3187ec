"""How much sound may be decoded; checked on the header and again on what comes out."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.errors import AudioDecodeError, AudioLimitError

BYTES_PER_SAMPLE = 4  # everything is decoded to float32


@dataclass(frozen=True)
class Limits:
    """Caps on one read. The defaults suit files of one's own; a server sets smaller ones.

    The header is checked before anything is allocated, and because a header can lie the same caps
    hold while decoding. The two for a child process matter with `isolated=True` only; the memory
    cap and the processor time need an operating system with `setrlimit`.
    """

    max_seconds: float = 4 * 3600.0
    max_decoded_bytes: int = 8 * 2**30  # 4 h of stereo at 48 kHz are 5.5 GB
    max_channels: int = 64
    min_sample_rate: int = 1_000
    max_sample_rate: int = 768_000
    child_timeout_seconds: float = 600.0  # waited for the child in all, not between blocks
    child_memory_bytes: int = 1 * 2**30  # address space, the interpreter and its libraries included

    def check_format(self, name: str, sample_rate: int, channels: int) -> None:
        """Raise AudioDecodeError or AudioLimitError unless rate and channels are acceptable."""
        if channels < 1 or sample_rate < 1:
            raise AudioDecodeError(
                f"{name} declares {channels} channels at {sample_rate} Hz; the header is damaged"
            )
        if channels > self.max_channels:
            raise AudioLimitError(
                f"{name} has {channels} channels; at most {self.max_channels} are accepted"
            )
        if not self.min_sample_rate <= sample_rate <= self.max_sample_rate:
            raise AudioLimitError(
                f"{name} has a sample rate of {sample_rate:,} Hz; expected "
                f"{self.min_sample_rate:,} to {self.max_sample_rate:,} Hz"
            )

    def check_length(self, name: str, frames: int, sample_rate: int, channels: int) -> None:
        """Raise AudioLimitError when `frames` are more than may be decoded."""
        seconds = frames / sample_rate
        if seconds > self.max_seconds:
            raise AudioLimitError(
                f"{name} is {_clock(seconds)} long; at most {_clock(self.max_seconds)} are decoded "
                "at once. Read a part of it (start_seconds, duration_seconds) or raise max_seconds "
                "(of Limits; ANTIPHON_MAX_SECONDS for the commands)"
            )
        size = frames * channels * BYTES_PER_SAMPLE
        if size > self.max_decoded_bytes:
            raise AudioLimitError(
                f"{name} needs {size / 1e9:.1f} GB decoded ({channels} channels at "
                f"{sample_rate:,} Hz for {_clock(seconds)}); at most "
                f"{self.max_decoded_bytes / 1e9:.1f} GB are accepted. Read a part of it or raise "
                "Limits.max_decoded_bytes"
            )


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds: 10:00:00."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
