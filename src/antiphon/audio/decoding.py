"""Which decoder reads a file, and which goes on where it breaks off. Knows no limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from antiphon.audio.claims import read_claim
from antiphon.audio.damage import LENGTH_TOLERANCE_SECONDS
from antiphon.audio.packets import INSTALL_HINT, PacketDecoder
from antiphon.audio.sndfile import KINDS as SNDFILE_KINDS
from antiphon.audio.sndfile import SoundFileDecoder
from antiphon.audio.sniffing import Identity
from antiphon.audio.sources import behind
from antiphon.audio.waveform import FloatArray
from antiphon.errors import AudioDecodeError, DependencyError


class Decoding:
    """An open recording: libsndfile reads it where it can, FFmpeg (PyAV) the rest.

    `frames` is what the first decoder says will come, `declared_seconds` what the container says;
    either is None when unknown. `problems` grows while `blocks` is walked.
    Raises AudioDecodeError and DependencyError, with the bare reason.
    """

    def __init__(self, file: BinaryIO, identity: Identity) -> None:
        claim = read_claim(file, identity)
        self.problems = list(claim.problems)
        self._kind = identity.kind
        self._file = behind(file, identity.offset)
        self._opened: list[SoundFileDecoder | PacketDecoder] = []
        if identity.offset:
            self.problems.append(f"{identity.offset:,} bytes before the header skipped")
        first: SoundFileDecoder | PacketDecoder = self._packets_for_what_is_beyond(
            claim.beyond
        ) or self._first_decoder(claim.declares_length)
        self._first = first
        self.sample_rate = first.sample_rate
        self.channels = first.channels
        self.frames = first.frames
        self.declared_seconds = claim.seconds
        if claim.seconds is None and first.frames is not None and first.sample_rate > 0:
            self.declared_seconds = first.frames / first.sample_rate

    @property
    def lost_packets(self) -> int:
        return sum(decoder.lost_packets for decoder in self._opened)

    def blocks(self, start_frame: int, expected_seconds: float | None) -> Iterator[FloatArray]:
        """Blocks [C, n] from `start_frame`; from where the first decoder breaks off, FFmpeg's."""
        position = start_frame
        try:
            for block in self._first.blocks(start_frame):
                position += block.shape[1]
                yield block
        except AudioDecodeError as error:
            yield from self._salvaged(position, str(error))
            return
        seconds = (position - start_frame) / self.sample_rate
        if (
            self._kind == "mp3"
            and isinstance(self._first, SoundFileDecoder)
            and expected_seconds is not None
            and seconds < expected_seconds - LENGTH_TOLERANCE_SECONDS
        ):
            # mpg123 takes some garbage for the end and says nothing.
            yield from self._salvaged(position, None)

    def close(self) -> None:
        for decoder in self._opened:
            decoder.close()

    def _packets_for_what_is_beyond(self, beyond: str | None) -> PacketDecoder | None:
        """FFmpeg for a file that holds sound which libsndfile would leave out."""
        if beyond is None:
            return None
        try:
            decoder = self._packet_decoder()
        except DependencyError:
            self.problems.append(f"{beyond}: left out ({INSTALL_HINT} reads it)")
            return None
        self.problems.append(f"{beyond}: read packet by packet")
        return decoder

    def _first_decoder(self, declares_length: bool) -> SoundFileDecoder | PacketDecoder:
        if self._kind not in SNDFILE_KINDS:
            return self._packet_decoder()
        try:
            decoder = SoundFileDecoder(self._file, declares_length)
        except AudioDecodeError as error:
            return self._packets_instead(error)
        self._opened.append(decoder)
        return decoder

    def _packets_instead(self, error: AudioDecodeError) -> PacketDecoder:
        """FFmpeg for a file that libsndfile refuses; `error` is what to say if it does too."""
        try:
            decoder = self._packet_decoder()
        except AudioDecodeError:
            raise error from None
        except DependencyError:
            raise AudioDecodeError(f"{error} ({INSTALL_HINT} may save it)") from error
        self.problems.append(f"damaged ({error}); read packet by packet")
        return decoder

    def _packet_decoder(self) -> PacketDecoder:
        decoder = PacketDecoder(self._file, self._kind)
        self._opened.append(decoder)
        return decoder

    def _salvaged(self, position: int, reason: str | None) -> Iterator[FloatArray]:
        """What FFmpeg finds from `position` on; without a `reason` that may be nothing."""
        damaged = f"damaged at {position / self.sample_rate:.1f} s ({reason or 'ends early'})"
        tolerance = LENGTH_TOLERANCE_SECONDS * self.sample_rate  # frames that decoders differ by
        rescuer, obstacle = self._rescuer()
        found = False
        if rescuer is not None:
            for block in rescuer.blocks(position):
                if not found and (reason or block.shape[1] > tolerance):
                    self.problems.append(f"{damaged}; the rest was read packet by packet")
                found = True
                yield block
        if not found and reason is not None:
            self.problems.append(f"{damaged}; the rest is lost ({obstacle})")

    def _rescuer(self) -> tuple[PacketDecoder | None, str]:
        """FFmpeg on the same file, or None; and why nothing can be saved if nothing is."""
        try:
            rescuer = self._packet_decoder()
        except DependencyError:
            return None, f"{INSTALL_HINT} may save it"
        except AudioDecodeError as error:
            return None, str(error)
        if (rescuer.sample_rate, rescuer.channels) != (self.sample_rate, self.channels):
            return None, "FFmpeg finds another format in it"
        return rescuer, "FFmpeg finds nothing more in it"
