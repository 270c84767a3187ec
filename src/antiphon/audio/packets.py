"""Decode what libsndfile cannot, or not any more, with FFmpeg (PyAV), packet by packet.

A packet that does not decode is left out and counted: that saves most of a damaged file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.audio.waveform import FloatArray
from antiphon.errors import AudioDecodeError, DependencyError

if TYPE_CHECKING:
    import av

INSTALL_HINT = "pip install 'antiphon[codecs]'"
MAX_LOST_IN_A_ROW = 1_000  # then it is noise, not a damaged recording

# Demuxers that guess the length of a stream from its bit rate.
_GUESSING = ("mp3", "aac")


class PacketDecoder:
    """One open file; `frames` is None when the header does not say how many there are.

    `kind` is the demuxer's name: FFmpeg is never left to guess, so no playlist or concatenation
    can make it open another file. Bytes come from `file` alone, through no protocol.
    Raises DependencyError without PyAV, and AudioDecodeError with the bare reason.
    """

    def __init__(self, file: BinaryIO, kind: str) -> None:
        try:
            import av
        except ImportError as error:
            raise DependencyError(f"PyAV is not installed; {INSTALL_HINT}") from error
        self._errors = (av.FFmpegError, OSError, ValueError, IndexError)
        file.seek(0)
        try:
            self._container = av.open(
                file, "r", format=kind, options={"protocol_whitelist": "pipe"}
            )
        except self._errors as error:
            raise AudioDecodeError(_reason(error)) from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioDecodeError("it holds no sound, only other streams")
        self._stream = self._container.streams.audio[0]
        codec: av.AudioCodecContext | None = self._stream.codec_context
        if codec is None:  # PyAV's types do not say so, but a codec may be unknown
            self._container.close()
            raise AudioDecodeError("its codec is not known to FFmpeg")
        codec.thread_count = 1
        self.sample_rate = int(codec.sample_rate or 0)
        self.channels = int(codec.channels or 0)
        if self.sample_rate < 1 or self.channels < 1:
            self._container.close()
            raise AudioDecodeError("its header declares no sample rate or no channels")
        self.frames = self._declared_frames(kind)
        self.lost_packets = 0

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """Blocks [C, n] from `start_frame`, found by decoding: FFmpeg's seeking is not exact."""
        block = np.empty((self.channels, BLOCK_FRAMES), np.float32)
        filled = 0
        skip = start_frame
        for frame in self._frames():
            samples = _to_float(frame, self.channels)
            at = min(skip, samples.shape[1])
            skip -= at
            while at < samples.shape[1]:
                count = min(samples.shape[1] - at, BLOCK_FRAMES - filled)
                block[:, filled : filled + count] = samples[:, at : at + count]
                at += count
                filled += count
                if filled == BLOCK_FRAMES:
                    yield block
                    block = np.empty((self.channels, BLOCK_FRAMES), np.float32)
                    filled = 0
        if filled:
            yield block[:, :filled].copy(order="C")

    def close(self) -> None:
        self._container.close()

    def _declared_frames(self, kind: str) -> int | None:
        if kind in _GUESSING:
            return None
        frames = 0
        if self._stream.duration is not None and self._stream.time_base is not None:
            frames = round(self._stream.duration * self._stream.time_base * self.sample_rate)
        elif self._container.duration is not None:
            frames = round(self._container.duration * self.sample_rate / 1_000_000)
        return frames if frames > 0 else None  # damaged headers give negative ones

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Every frame that decodes, in the declared rate and number of channels."""
        lost_in_a_row = 0
        packets = self._container.demux(self._stream)
        while lost_in_a_row < MAX_LOST_IN_A_ROW:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except self._errors:
                # The generator ends with its error; a new one goes on behind the damage.
                packets = self._container.demux(self._stream)
                self.lost_packets += 1
                lost_in_a_row += 1
                continue
            for frame in frames:
                if (frame.sample_rate, frame.layout.nb_channels) == (
                    self.sample_rate,
                    self.channels,
                ):
                    lost_in_a_row = 0
                    yield frame
                else:
                    self.lost_packets += 1


def _to_float(frame: av.AudioFrame, channels: int) -> FloatArray:
    """A frame's samples as [C, n], full scale at 1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T  # [C, n]
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    middle = 128.0 if samples.dtype.kind == "u" else 0.0
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return ((samples - middle) / full_scale).astype(np.float32)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
