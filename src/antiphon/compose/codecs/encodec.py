"""EnCodec (Défossez et al. 2022) on onnxruntime: the codec of MusicGen, and EnCodec by itself.

Decoding is exact in pieces: the state of the LSTM is carried from piece to piece, and the
convolutions are given as many frames of context as they see (`encodec_layers.Window`), so
the reflection at the ends of a piece touches only what is thrown away.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from antiphon.compose.checkpoint import CodecConfig, codec_part
from antiphon.compose.codecs import (
    DecodingStream,
    Samples,
    check_codes,
    check_waveform,
    encodec_graph,
    encodec_layers,
)
from antiphon.compose.codecs.encodec_layers import Half
from antiphon.compose.patterns import Codes
from antiphon.errors import ConfigError, EngineError
from antiphon.graphs import kept, open_graph
from antiphon.weights import FINGERPRINTS_NAME, Float32, Weights, fingerprint, weight_files

_LONGEST_FRAMES = 50  # computed at a time: 8 MB for each of the largest arrays at 32 kHz


def load_encodec(
    folder: Path,
    config: CodecConfig,
    *,
    cache: Path,
    threads: int = 1,
    bandwidth_kbps: float | None = None,
    codebooks: int | None = None,
) -> EncodecCodec:
    """The codec of a folder, by itself or the part of a MusicGen; `cache` keeps its graphs.

    `bandwidth_kbps`, or their number, chooses how many codebooks are used, the first ones: those
    of the widest bandwidth for None.
    Raises ConfigError for a bandwidth that is not offered, ModelError for a checkpoint that is
    none, StorageError.
    """
    if bandwidth_kbps is not None and bandwidth_kbps not in config.bandwidths_kbps:
        offered = ", ".join(f"{kbps:g}" for kbps in config.bandwidths_kbps)
        raise ConfigError(
            f"the codec of {folder} has no bandwidth of {bandwidth_kbps:g} kbit/s; "
            f"expected one of {offered}"
        )
    files = weight_files(folder)
    with Weights(files) as everything:
        weights = codec_part(everything)
        norm = encodec_graph.weight_norm(weights, config)
        weights.require(encodec_layers.shapes(config, norm))
        content = fingerprint(files, cache / FINGERPRINTS_NAME)
        graphs = kept(
            cache,
            f"encodec {config} {content}",
            lambda place: encodec_graph.build(place, weights, config),
        )
        used = [
            weights.read(encodec_layers.codebook_name(number))
            for number in range(codebooks or config.codebooks(bandwidth_kbps))
        ]
    return EncodecCodec(config, graphs, used, threads)


class EncodecCodec:
    """An `AudioCodec`. A stream belongs to one thread; several streams may run at once."""

    def __init__(
        self, config: CodecConfig, graphs: Path, codebooks: list[Float32], threads: int
    ) -> None:
        """`graphs` is the folder that `encodec_graph.build` filled; a codebook is [V, N]."""
        self.sample_rate = config.sample_rate
        self.frame_rate = config.frame_rate
        self.hop = config.hop
        self.channels = config.channels
        self.codebooks = len(codebooks)
        self.codebook_size = config.codebook_size
        self._config = config
        self._graphs = graphs
        self._codebooks = codebooks
        self._threads = threads

    @property
    def look_ahead_frames(self) -> int:
        """Frames that must follow a frame before its samples are known: 4 with the kernels of the
        32 kHz codec of MusicGen, 0 with a causal one.

        At the very beginning it can be more: the reflection there waits for its frames, 6 more in
        the 24 kHz codec.
        """
        return self._decoder.half.look_ahead_frames

    def encode(self, waveform: Samples) -> Codes:
        """See `AudioCodec.encode`. Done in pieces, so that memory does not grow with the length."""
        check_waveform(waveform, self.channels)
        passage = _Passage(self._encoder)
        signal = waveform.astype(np.float32, copy=False)[None]
        embeddings = np.concatenate([passage.feed(signal), passage.finish()], axis=1)
        return self._quantise(embeddings.T)

    def decode(self, codes: Codes) -> Samples:
        """See `AudioCodec.decode`. Done in pieces, so that memory does not grow with the length."""
        stream = self.stream()
        return np.concatenate([stream.feed(codes), stream.finish()], axis=1)

    def stream(self) -> DecodingStream:
        """See `AudioCodec.stream`. What is ready is all but the last `look_ahead_frames`.

        A feed is computed with its frames of context, 2 in the 32 kHz codec of MusicGen: a second
        takes one core 77 ms in pieces of 50 frames, 79 in pieces of 25, 310 in single ones.
        """
        return _Stream(self, self._decoder)

    def embed(self, codes: Codes) -> Float32:
        """The sum of the entries of codes [K, F]: [1, N, F]."""
        embeddings = np.zeros((codes.shape[1], self._config.hidden), np.float32)
        for table, row in zip(self._codebooks, codes, strict=True):
            embeddings += table[row]
        return np.ascontiguousarray(embeddings.T[None])

    def _quantise(self, embeddings: Float32) -> Codes:
        """[F, N] -> [K, F]: each codebook takes the entry nearest to what the ones before left."""
        codes = np.zeros((self.codebooks, len(embeddings)), np.int64)
        halves = [np.square(table).sum(axis=1) / 2 for table in self._codebooks]
        for start in range(0, len(embeddings), _LONGEST_FRAMES):
            rest = embeddings[start : start + _LONGEST_FRAMES].copy()
            for row, table, half in zip(codes, self._codebooks, halves, strict=True):
                # |x - e|^2 = |x|^2 - 2 (x e - |e|^2 / 2)
                nearest = (rest @ table.T - half).argmax(axis=1)
                row[start : start + _LONGEST_FRAMES] = nearest
                rest -= table[nearest]
        return codes

    # A composer seldom encodes: what is not used takes no memory.

    @cached_property
    def _encoder(self) -> _Engine:
        half = encodec_layers.encoder(self._config)
        return _Engine(half, self._config.lstm_layers, self._graphs, self._threads)

    @cached_property
    def _decoder(self) -> _Engine:
        half = encodec_layers.decoder(self._config)
        return _Engine(half, self._config.lstm_layers, self._graphs, self._threads)


class _Engine:
    """The two graphs of a half, as `encodec_graph.build` has written them."""

    def __init__(self, half: Half, lstm_layers: int, graphs: Path, threads: int) -> None:
        self._reading = open_graph(graphs, f"{half.name}_reading", threads)
        self._writing = open_graph(graphs, f"{half.name}_writing", threads)
        self.half = half
        self.reading_window = half.reading_window()
        self.writing_window = half.writing_window()
        self.no_state = np.zeros((2 * lstm_layers, 1, half.width), np.float32)

    def read(
        self, signal: Float32, first: int, end: int, state: Float32
    ) -> tuple[Float32, Float32]:
        """The frames [first, end) of a piece [1, N, T]: [1, D, end - first], and the next state."""
        frames = {"first": np.array([first]), "end": np.array([end])}
        hidden, state = self._reading.run(None, {"signal": signal, "state": state, **frames})
        return hidden, state

    def write(self, hidden: Float32) -> Float32:
        """[1, D, F] -> [N, T]"""
        return cast(Float32, self._writing.run(None, {"hidden": hidden})[0][0])


class _Passage:
    """A signal on its way through a half, in pieces; three counts of code frames, each at most the
    one before: received, read (through the LSTM), written."""

    def __init__(self, engine: _Engine) -> None:
        half = engine.half
        self._engine = engine
        self._steps = self._read = self._written = 0
        self._finished = False
        # Of both the last frames only, as many as are still needed.
        self._signal = np.zeros((1, half.channels_in, 0), np.float32)
        self._hidden = np.zeros((1, half.width, 0), np.float32)
        self._state = engine.no_state

    def feed(self, signal: Float32) -> Float32:
        """[1, N, t] -> [M, u], as far as it can be known."""
        self._check_open()
        self._signal = np.concatenate([self._signal, signal], axis=2)
        self._steps += signal.shape[2]
        engine = self._engine
        read = engine.reading_window.ready(self._steps // engine.half.steps_in)
        ready = engine.writing_window.ready(read)
        pieces = [np.zeros((engine.half.channels_out, 0), np.float32)]
        while self._written < ready:
            pieces.append(self._write_to(min(ready, self._written + _LONGEST_FRAMES)))
        return np.concatenate(pieces, axis=1)

    def finish(self) -> Float32:
        """The rest, [M, u]; a last frame may be cut short."""
        self._check_open()
        self._finished = True
        # In one piece: it is short, and were it cut again, the reflection at the end of a frame
        # that is cut short could reach beyond the context of the last piece.
        if self._written == self._frames():
            return np.zeros((self._engine.half.channels_out, 0), np.float32)
        return self._write_to(self._frames())

    def _check_open(self) -> None:
        if self._finished:
            raise EngineError("this stream is finished; expected a new one for what follows")

    def _frames(self) -> int:
        """Received; one that is cut short counts."""
        return -(-self._steps // self._engine.half.steps_in)

    def _write_to(self, stop: int) -> Float32:
        window, steps = self._engine.writing_window, self._engine.half.steps_out
        self._read_to(min(window.needed(stop), self._frames()))
        offset = self._read - self._hidden.shape[2]  # the frame `_hidden` begins with
        written = self._engine.write(self._hidden)
        piece = written[:, (self._written - offset) * steps : (stop - offset) * steps]
        self._written = stop
        self._hidden = self._hidden[:, :, max(stop - window.before - offset, 0) :]
        return piece

    def _read_to(self, stop: int) -> None:
        if stop == self._read:
            return
        window, steps = self._engine.reading_window, self._engine.half.steps_in
        offset = (self._steps - self._signal.shape[2]) // steps  # the frame `_signal` begins with
        signal = self._signal[:, :, : (window.needed(stop) - offset) * steps]
        hidden, self._state = self._engine.read(
            signal, self._read - offset, stop - offset, self._state
        )
        self._hidden = np.concatenate([self._hidden, hidden], axis=2)
        self._read = stop
        self._signal = self._signal[:, :, max(stop - window.before - offset, 0) * steps :]


class _Stream:
    """A `DecodingStream`."""

    def __init__(self, codec: EncodecCodec, decoder: _Engine) -> None:
        self._codec = codec
        self._passage = _Passage(decoder)

    def feed(self, codes: Codes) -> Samples:
        check_codes(codes, self._codec)
        return self._passage.feed(self._codec.embed(codes))

    def finish(self) -> Samples:
        return self._passage.finish()
