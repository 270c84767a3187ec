"""The magnitude codec: codes for log-magnitudes of a short-time spectrum, phases by Griffin-Lim.

A code frame is a few STFT frames: a ConvNeXt encoder makes a latent of them, a residual vector
quantiser (Zeghidour et al. 2021) K codes of it, a decoder their log-magnitudes again; `phase.py`
finds phases for these. The codes need not spell how phases advance, so a steady chord is a steady
code, and few bits a second go far. What was in the phases is lost: the waveform does not come back,
only what is heard of it.
Letters: C channels, T samples, K codebooks, F code frames, N STFT frames, V entries of a codebook,
L latent width.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from antiphon.compose.checkpoint import codec_part, read_codec_config
from antiphon.compose.codecs import (
    DecodingStream,
    Samples,
    check_codes,
    check_waveform,
    magnitude_graph,
)
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.codecs.phase import AHEAD_FRAMES, BLOCK_FRAMES, PhaseStream, analyse, margin
from antiphon.compose.patterns import Codes
from antiphon.errors import EngineError
from antiphon.graphs import kept, open_graph
from antiphon.weights import FINGERPRINTS_NAME, Float32, Weights, fingerprint, weight_files

_PIECE_FRAMES = 50  # code frames encoded at a time


def load_magnitude_codec(
    folder: Path, config: MagnitudeConfig, *, cache: Path, threads: int = 1
) -> MagnitudeCodec:
    """The codec of a folder, by itself or the part of a MusicGen; `cache` keeps its graphs.

    Raises ModelError for a folder that holds no such tensors, StorageError.
    """
    with Weights(weight_files(folder)) as everything:
        weights = codec_part(everything)
        weights.require(magnitude_graph.shapes(config))
        content = fingerprint(weights.files, cache / FINGERPRINTS_NAME)
        graphs = kept(
            cache,
            f"magnitude {config} {content}",
            lambda place: magnitude_graph.build(place, weights, config),
        )
        codebooks = weights.read(magnitude_graph.CODEBOOKS)
    return MagnitudeCodec(config, graphs, codebooks, threads)


def read_codebooks(folder: Path) -> Float32:
    """The codebooks [K, V, L] of a codec, by itself or a part of a MusicGen. Raises ModelError."""
    with Weights(weight_files(folder)) as everything:
        return codec_part(everything).read(magnitude_graph.CODEBOOKS)


def magnitude_checksum(folder: Path) -> str:
    """Of what its codes depend on, and not of how they are decoded, of a codec by itself or the
    part of a MusicGen, however the values are stored."""
    config = read_codec_config(folder)
    assert isinstance(config, MagnitudeConfig), "a magnitude codec"
    shape = (config.sample_rate, config.window, config.stft_hop, config.frames_per_code)
    digest = hashlib.sha256(repr((shape, config.log_floor)).encode())
    with Weights(weight_files(folder)) as everything:
        weights = codec_part(everything)
        for name in sorted(magnitude_graph.shapes(config)):
            if not name.startswith("decoder."):
                digest.update(weights.read(name).tobytes())
    return digest.hexdigest()


class MagnitudeCodec:
    """An `AudioCodec`. A stream belongs to one thread; several streams may run at once."""

    channels = 1

    def __init__(
        self, config: MagnitudeConfig, graphs: Path, codebooks: Float32, threads: int
    ) -> None:
        """`graphs` is the folder that `magnitude_graph.build` filled; codebooks are [K, V, L]."""
        self.config = config
        self.sample_rate = config.sample_rate
        self.frame_rate = config.sample_rate // config.hop
        self.hop = config.hop
        self.codebooks = config.codebooks
        self.codebook_size = config.codebook_size
        self._codebooks = codebooks
        self._graphs = graphs
        self._threads = threads

    @property
    def look_ahead_frames(self) -> int:
        """Code frames after a frame that must be fed before all its samples come out, at most.

        They are those the decoder sees, those of a block of phases and ahead of it, and those whose
        windows reach into the frame.
        """
        per_code = self.config.frames_per_code
        reach = margin(self.config.window, self.config.stft_hop)
        return (
            magnitude_graph.decoder_context(self.config)
            + _ceil(BLOCK_FRAMES, per_code)
            + _ceil(AHEAD_FRAMES, per_code)
            + _ceil(reach, self.hop)
            - 1
        )

    def encode(self, waveform: Samples) -> Codes:
        """See `AudioCodec.encode`. Done in pieces, so that memory does not grow with the length."""
        check_waveform(waveform, self.channels)
        config, samples = self.config, waveform[0]
        frames = _ceil(len(samples), self.hop)
        context = magnitude_graph.encoder_context(config)
        reach = margin(config.window, config.stft_hop)
        codes = np.zeros((self.codebooks, frames), np.int64)
        for start in range(0, frames, _PIECE_FRAMES):
            stop = min(start + _PIECE_FRAMES, frames)
            first, end = max(start - context, 0), min(stop + context, frames)
            piece = _with_zeros(samples, first * self.hop - reach, end * self.hop + reach)
            magnitudes = analyse(piece, config.window, config.stft_hop)
            latents = self._encoder.run(None, {"magnitude": magnitudes[None]})[0][0]
            codes[:, start:stop] = self._quantise(latents[start - first : stop - first])
        return codes

    def decode(self, codes: Codes) -> Samples:
        """See `AudioCodec.decode`. Done in pieces, so that memory does not grow with the length."""
        stream = self.stream()
        return np.concatenate([stream.feed(codes), stream.finish()], axis=1)

    def stream(self) -> DecodingStream:
        """See `AudioCodec.stream`. Samples come in blocks of BLOCK_FRAMES STFT frames, computed
        when all that they need is there: smaller feeds cost nothing more."""
        return _Stream(self)

    def log_magnitudes(self, codes: Codes) -> Float32:
        """Codes [K, F] of a whole piece to ln(magnitude + log floor) [N, bins]: all at once."""
        latents = np.zeros((codes.shape[1], self.config.latent_width), np.float32)
        for table, row in zip(self._codebooks, codes, strict=True):
            latents += table[row]
        found: Float32 = self._decoder.run(None, {"latent": latents[None]})[0][0]
        return found

    def _quantise(self, latents: Float32) -> Codes:
        """[F, L] -> [K, F]: each codebook takes the entry nearest to what the ones before left."""
        codes = np.zeros((self.codebooks, len(latents)), np.int64)
        rest = latents.copy()
        for row, table in zip(codes, self._codebooks, strict=True):
            # |x - e|^2 = |x|^2 - 2 (x e - |e|^2 / 2)
            row[:] = (rest @ table.T - np.square(table).sum(axis=1) / 2).argmax(axis=1)
            rest -= table[row]
        return codes

    # A composer seldom encodes: what is not used takes no memory.

    @cached_property
    def _encoder(self) -> onnxruntime.InferenceSession:
        return open_graph(self._graphs, "encoder", self._threads)

    @cached_property
    def _decoder(self) -> onnxruntime.InferenceSession:
        return open_graph(self._graphs, "decoder", self._threads)


class _Stream:
    """A `DecodingStream`: the decoder and the phases advance by the same blocks, at fixed frames,
    so that the same is computed however the codes were fed."""

    def __init__(self, codec: MagnitudeCodec) -> None:
        self._codec = codec
        config = codec.config
        self._context = magnitude_graph.decoder_context(config)
        self._block = _ceil(BLOCK_FRAMES, config.frames_per_code)  # code frames
        self._ahead = _ceil(AHEAD_FRAMES, config.frames_per_code)
        self._phases = PhaseStream(config.window, config.stft_hop, config.griffin_lim_iterations)
        self._codes = np.zeros((codec.codebooks, 0), np.int64)  # context, and those not decoded
        self._decoded = 0  # code frames so far
        self._first = 0  # code frame that `_codes` begins with
        self._finished = False

    def feed(self, codes: Codes) -> Samples:
        check_codes(codes, self._codec)
        self._check_open()
        self._codes = np.concatenate([self._codes, codes], axis=1)
        pieces = [np.zeros(0, np.float32)]
        while self._received() >= self._next() + self._context:
            pieces.append(self._phases.feed(self._decode_to(self._next())))
        return np.concatenate(pieces)[None]

    def finish(self) -> Samples:
        self._check_open()
        self._finished = True
        pieces = [np.zeros(0, np.float32)]
        while self._decoded < self._received():
            stop = min(self._next(), self._received())
            pieces.append(self._phases.feed(self._decode_to(stop)))
        return np.concatenate([*pieces, self._phases.finish()])[None]

    def _check_open(self) -> None:
        if self._finished:
            raise EngineError("this stream is finished; expected a new one for what follows")

    def _received(self) -> int:
        """Code frames."""
        return self._first + self._codes.shape[1]

    def _next(self) -> int:
        """The code frame up to which to decode next: the first time, with what is ahead."""
        return self._decoded + (self._block if self._decoded else self._block + self._ahead)

    def _decode_to(self, stop: int) -> Float32:
        """Magnitudes [N, bins] of the code frames from the last one decoded to `stop`."""
        start, config = self._decoded - self._first, self._codec.config
        piece = self._codes[:, : stop + self._context - self._first]
        logs = self._codec.log_magnitudes(piece)
        per_code = config.frames_per_code
        logs = logs[start * per_code : (stop - self._first) * per_code]
        self._decoded = stop
        kept = max(stop - self._context - self._first, 0)
        self._codes = self._codes[:, kept:]
        self._first += kept
        loud = np.exp(np.minimum(logs, np.float32(magnitude_graph.LOUDEST_LOG)))
        return np.maximum(loud - np.float32(config.log_floor), 0)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _with_zeros(samples: Float32, start: int, stop: int) -> Float32:
    """Samples [start, stop) of [T], with zeros where there are none."""
    inside = samples[max(start, 0) : stop]
    before = max(-start, 0)
    return np.pad(inside, (before, stop - start - before - len(inside))).astype(np.float32)
