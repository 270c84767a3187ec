"""Decode in this process: libsndfile first, FFmpeg where it must, limits and damage all along."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from antiphon.audio.claims import Claim, read_claim
from antiphon.audio.damage import LENGTH_TOLERANCE_SECONDS, Damage, DamageMeter, length_problem
from antiphon.audio.limits import Limits
from antiphon.audio.packets import INSTALL_HINT, PacketDecoder
from antiphon.audio.sndfile import KINDS as SNDFILE_KINDS
from antiphon.audio.sndfile import SoundFileDecoder
from antiphon.audio.sniffing import identify
from antiphon.audio.sources import OpenSource, behind
from antiphon.audio.stream import AudioStream
from antiphon.audio.waveform import FloatArray
from antiphon.errors import AudioDecodeError, AudioError, AudioTooShortError, DependencyError


class DirectStream(AudioStream):
    """A recording decoded in this process; takes the source over, also when it cannot be opened."""

    def __init__(
        self,
        source: OpenSource,
        start_seconds: float,
        duration_seconds: float | None,
        limits: Limits,
    ) -> None:
        self._source = source
        self._name = source.name
        self._limits = limits
        self._problems: list[str] = []
        self._decoders: list[SoundFileDecoder | PacketDecoder] = []
        self._walked = False
        self._broken = False
        try:
            self._open()
            self._plan(start_seconds, duration_seconds)
        except BaseException:
            self.close()
            raise
        self._meter = DamageMeter(self.channels)

    def _open(self) -> None:
        identity = identify(self._source.file, self._name)
        claim = read_claim(self._source.file, identity)
        self._kind = identity.kind
        self._file = behind(self._source.file, identity.offset)
        if identity.offset:
            self._problems.append(f"{identity.offset:,} bytes before the header skipped")
        self._problems.extend(claim.problems)
        decoder = self._first_decoder(claim)
        self.sample_rate = decoder.sample_rate
        self.channels = decoder.channels
        self._limits.check_format(self._name, self.sample_rate, self.channels)
        self._frames = decoder.frames
        self.declared_seconds = claim.seconds
        if claim.seconds is None and decoder.frames is not None:
            self.declared_seconds = decoder.frames / self.sample_rate

    def _first_decoder(self, claim: Claim) -> SoundFileDecoder | PacketDecoder:
        if self._kind not in SNDFILE_KINDS:
            return self._packets_or_raise()
        if claim.beyond:
            try:
                decoder = self._packet_decoder()
            except DependencyError:
                self._problems.append(f"{claim.beyond}: left out ({INSTALL_HINT} reads it)")
            else:
                self._problems.append(f"{claim.beyond}: read packet by packet")
                return decoder
        try:
            first = SoundFileDecoder(self._file, claim.declares_length)
        except AudioDecodeError as error:
            try:
                decoder = self._packet_decoder()
            except AudioDecodeError:
                raise AudioDecodeError(f"{self._name} cannot be decoded: {error}") from error
            except DependencyError:
                raise AudioDecodeError(
                    f"{self._name} cannot be decoded: {error} ({INSTALL_HINT} may save it)"
                ) from error
            self._problems.append(f"damaged ({error}); read packet by packet")
            return decoder
        self._decoders.append(first)
        return first

    def _packet_decoder(self) -> PacketDecoder:
        decoder = PacketDecoder(self._file, self._kind)
        self._decoders.append(decoder)
        return decoder

    def _packets_or_raise(self) -> PacketDecoder:
        try:
            return self._packet_decoder()
        except AudioDecodeError as error:
            raise AudioDecodeError(f"{self._name} cannot be decoded: {error}") from error
        except DependencyError as error:
            raise DependencyError(
                f"{self._name} cannot be decoded ({self._kind}): {error}"
            ) from error

    def _plan(self, start_seconds: float, duration_seconds: float | None) -> None:
        """Fix the range in frames, and refuse on the header's word what exceeds the limits."""
        rate = self.sample_rate
        self._start = round(start_seconds * rate)
        self._wanted = None if duration_seconds is None else max(1, round(duration_seconds * rate))
        self._expected_seconds: float | None = None
        if self._frames is not None:
            if 0 < self._frames <= self._start:
                raise AudioTooShortError(
                    f"start_seconds is {start_seconds}, but {self._name} ends at "
                    f"{self._frames / rate:.1f} s"
                )
            to_come = self._frames - self._start
            if self._wanted is not None:
                to_come = min(to_come, self._wanted)
            self._limits.check_length(self._name, to_come, rate, self.channels)
        if self.declared_seconds is not None:
            self._expected_seconds = self.declared_seconds - self._start / rate
            if self._wanted is not None:
                self._expected_seconds = min(self._expected_seconds, self._wanted / rate)

    def blocks(self) -> Iterator[FloatArray]:
        if self._walked:
            raise ValueError("blocks() was walked before; open the recording again")
        self._walked = True
        meter = self._meter
        for block in self._decoded():
            if self._wanted is not None and block.shape[1] > self._wanted - meter.frames:
                block = np.ascontiguousarray(block[:, : self._wanted - meter.frames])
            meter.clean(block)
            self._limits.check_length(self._name, meter.frames, self.sample_rate, self.channels)
            yield block
            if meter.frames == self._wanted:
                break
        if not meter.frames:
            raise self._nothing()

    def _nothing(self) -> AudioError:
        """The error for a recording of which no sample was decoded."""
        kind = AudioDecodeError if self._broken else AudioTooShortError
        return kind("; ".join([f"{self._name} holds no sound (0 samples)", *self._problems]))

    def _decoded(self) -> Iterator[FloatArray]:
        """Blocks of the first decoder and, from where it breaks off, of FFmpeg."""
        position = self._start
        try:
            for block in self._decoders[0].blocks(position):
                position += block.shape[1]
                yield block
        except AudioDecodeError as error:
            yield from self._salvaged(position, str(error))
            return
        if self._kind == "mp3" and self._ends_early(position):
            # mpg123 takes some garbage for the end, without an error.
            yield from self._salvaged(position, None)

    def _ends_early(self, position: int) -> bool:
        if self._expected_seconds is None:
            return False
        decoded_seconds = (position - self._start) / self.sample_rate
        return decoded_seconds < self._expected_seconds - LENGTH_TOLERANCE_SECONDS

    def _salvaged(self, position: int, reason: str | None) -> Iterator[FloatArray]:
        """What FFmpeg finds from `position` on; without a `reason` it may be nothing."""
        self._broken = True
        damaged = f"damaged at {position / self.sample_rate:.1f} s ({reason or 'ends early'})"
        lost = ""
        try:
            rescuer = self._packet_decoder()
            if (rescuer.sample_rate, rescuer.channels) != (self.sample_rate, self.channels):
                lost = "FFmpeg finds another format in it"
        except DependencyError:
            lost = f"{INSTALL_HINT} may save it"
        except AudioDecodeError as error:
            lost = str(error)
        if not lost:
            for block in rescuer.blocks(position):
                if damaged:
                    self._problems.append(f"{damaged}; the rest was read packet by packet")
                    damaged = ""
                yield block
        elif reason is not None:
            self._problems.append(f"{damaged}; the rest is lost ({lost})")

    def damage(self) -> Damage:
        meter = self._meter
        problems = list(self._problems)
        seconds = meter.frames / self.sample_rate
        if self._expected_seconds is not None:
            problem = length_problem(seconds, self._expected_seconds)
            problems += [problem] if problem else []
        lost = sum(decoder.lost_packets for decoder in self._decoders)
        if lost:
            problems.append(f"packets that could not be decoded, left out: {lost:,}")
        if meter.nan_samples:
            problems.append(f"samples that are no numbers, replaced by 0: {meter.nan_samples:,}")
        return Damage(
            decoded_seconds=seconds,
            declared_seconds=self.declared_seconds,
            problems=tuple(problems),
            nan_samples=meter.nan_samples,
            clipped_samples=meter.clipped_samples,
        )

    def close(self) -> None:
        for decoder in self._decoders:
            decoder.close()
        self._source.close()
